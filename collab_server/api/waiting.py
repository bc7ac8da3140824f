"""`wait`: a call that is answered when there is something to answer, instead of being made over and over."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive

from collab_server.contract.rows import WAIT
from collab_server.domain.topics import MOST_WAIT_SECONDS
from collab_server.errors import Invalid
from collab_server.services.live.waiting import Waiting

_SECONDS = re.compile(r"[0-9]{1,2}")
EMPTY_CHARACTERS = 1000
"""More than an answer has that holds no event."""

Ask = Callable[[], Awaitable[str]]


def take_seconds(payload: dict[str, Any]) -> int:
    """For how long a call is to wait, taken out of what it came with.

    Raises `Invalid`.
    """
    text = payload.pop(WAIT, "0")
    if not _SECONDS.fullmatch(text) or int(text) > MOST_WAIT_SECONDS:
        raise Invalid(f"expected whole seconds, 0 to {MOST_WAIT_SECONDS}", field=WAIT)
    return int(text)


async def answer_in_time(
    ask: Ask,
    admit: Callable[[], None],
    waiting: Waiting,
    user_id: str,
    payload: dict[str, Any],
    seconds: int,
    receive: Receive,
) -> str:
    """What `ask` answers once there are events after those that the caller has; after so many seconds, or when the
    caller has gone or the node is about to go, what it answered last. The caller was let in to ask once; `admit` lets
    them in each further time.

    Raises what the two raise, and `RateLimited` when too many wait.
    """
    until = asyncio.get_running_loop().time() + seconds
    with waiting.on(user_id, payload["topic"]) as wait:
        answer = await ask()
        if wait is None:
            return answer
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            while (seq := _seq_of_empty(answer)) == payload.get("after", 0) and not waiting.is_over:
                wait.learn(seq)
                rung = asyncio.ensure_future(wait.rung())
                left = until - asyncio.get_running_loop().time()
                try:
                    await asyncio.wait((rung, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    rung.cancel()
                if gone.done() or waiting.is_over or not rung.done():
                    break
                admit()
                answer = await ask()
        finally:
            gone.cancel()
    return answer


def _seq_of_empty(answer: str) -> int:
    """The head of the topic, of an answer without events; -1 of another one."""
    if len(answer) > EMPTY_CHARACTERS:
        return -1
    told = json.loads(answer)
    seq: int = told["seq"]
    return -1 if told["events"] else seq


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
