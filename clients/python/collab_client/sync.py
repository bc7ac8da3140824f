"""The same for scripts, without `await`: the client runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Self, TypeVar

from typing_extensions import override

from collab_client.client import Client
from collab_client.connection import Auth
from collab_client.following import Gap
from collab_client.refused import Refused
from collab_client.wire import SyncCommands, TopicEvent, User

_Result = TypeVar("_Result")


class SyncClient(SyncCommands):
    """`with SyncClient(…) as client:` is a `Client` that is let in, within `timeout` seconds.

    Raises `Refused` when one is not let in, `TimeoutError` when nobody is there. To be used by one thread.
    """

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        outbox: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 30,
    ) -> None:
        self._arguments = (url, auth, outbox, tls)
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="collab-client", daemon=True)
        self._client: Client | None = None

    @property
    def me(self) -> User:
        """Who is signed in."""
        me = self._there().me
        assert me is not None
        return me

    def follow(
        self, topic: str, *, after: int | None = None, epoch: str | None = None, idle: float | None = None
    ) -> Iterator[TopicEvent | Gap]:
        """The events of a topic, as `Client.follow` gives them. Ends after `idle` seconds without one, if that is
        given."""
        events = aiter(self._there().follow(topic, after=after, epoch=epoch))

        async def after_that() -> TopicEvent | Gap | None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(idle):
                    return await anext(events, None)
            return None

        try:
            while (event := self._run(after_that())) is not None:
                yield event
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                self._run(close())

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._begin())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._client is not None:
            self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @override
    def _ask(self, name: str, payload: Mapping[str, Any]) -> Any:
        return self._run(self._there()._ask(name, payload))

    @override
    def _change(self, name: str, payload: Mapping[str, Any], topic: str | None) -> Any:
        there = self._there()

        async def change() -> Any:
            return await there._change(name, payload, topic)

        return self._run(change())

    async def _begin(self) -> None:
        url, auth, outbox, tls = self._arguments
        self._client = Client(url, auth, outbox=outbox, tls=tls)
        self._client.sign_in()
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.live()
        except TimeoutError:
            problem = self._client.problem
            why = "" if problem is None else f": {problem.message}"
            raise TimeoutError(f"not let in within {self._timeout:g} s{why}") from None

    def _there(self) -> Client:
        if self._loop.is_closed():
            raise Refused("closed", "The client is closed.")
        if self._client is None:
            raise RuntimeError("with SyncClient(…) as client: …")
        return self._client

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
