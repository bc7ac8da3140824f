"""Answers of REST calls: how many one person may have under way, until their client has taken them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from collab_server.domain.tallies import Tally
from collab_server.errors import RateLimited

SLICE_BYTES = 65_536


class OpenRequests:
    """Counts in `tally` each person's calls that are not answered yet, or whose answer its client does not take."""

    def __init__(self, most: int, tally: Tally) -> None:
        self._most = most
        self._tally = tally

    def begin(self, user_id: str) -> Callable[[], None]:
        """One more; returns what has to be called at its end.

        Raises `RateLimited` when there are too many.
        """
        if self._tally.of(user_id) >= self._most:
            raise RateLimited(f"expected at most {self._most} open requests of one user", retry_after=1)
        self._tally.more(user_id)
        return partial(self._tally.less, user_id)


class Answer(Response):
    """An answer in JSON that is over when its client has taken it, but for what waits in the network."""

    def __init__(self, text: str, status: int, on_end: Callable[[], None]) -> None:
        super().__init__(text, status, media_type="application/json")
        self._on_end = on_end

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it in slices: a web server waits with the next while its client does not take the last."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            body = memoryview(self.body)
            while len(body) > SLICE_BYTES:
                await send(
                    {"type": "http.response.body", "body": bytes(body[:SLICE_BYTES]), "more_body": True}
                )
                body = body[SLICE_BYTES:]
            await send({"type": "http.response.body", "body": bytes(body)})
        finally:
            self._on_end()
