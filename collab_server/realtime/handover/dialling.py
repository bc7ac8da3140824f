"""How a node connects to the home of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collab_server.realtime.handover.channel import Channel, Dialled
from collab_server.realtime.handover.keys import HandoverKeys
from collab_server.realtime.handover.places import Place, connect
from collab_server.realtime.handover.words import For, Said, pack_hello

__all__ = ["CONNECT_SECONDS", "Unreachable", "dial"]

CONNECT_SECONDS = 2.0
"""For each of a home's places."""


class Unreachable(Exception):
    """None of the home's places leads to it; in words for an administrator."""


class _Waiting:
    """Hears the home's welcome."""

    def __init__(self) -> None:
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self, kind: int, payload: bytes) -> None:
        if not self.welcomed.done():
            if kind == Said.WELCOME:
                self.welcomed.set_result(None)
            else:
                self.welcomed.set_exception(ConnectionResetError("it is no node of this version"))

    def lost(self) -> None:
        if not self.welcomed.done():
            self.welcomed.set_exception(ConnectionResetError("it is another node, or has another key"))

    def pause(self) -> None: ...

    def resume(self) -> None: ...


async def dial(places: Sequence[Place], keys: HandoverKeys, home: bytes, purpose: For) -> Channel:
    """A channel to the home, by the first of its places that leads to it.

    Raises `Unreachable`.
    """
    problems = []
    for place in places:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await _dial(place, keys, home, purpose)
        except TimeoutError:
            problems.append(f"{place}: no answer within {CONNECT_SECONDS:g} s")
        except OSError as error:
            problems.append(f"{place}: {error.strerror or error}")
    raise Unreachable("; ".join(problems) or "it does not say where")


async def _dial(place: Place, keys: HandoverKeys, home: bytes, purpose: For) -> Channel:
    channel = Dialled(keys)
    waiting = _Waiting()
    channel.hearer = waiting
    try:
        await connect(place, lambda: channel)
        await channel.shaken
        channel.send(Said.HELLO, pack_hello(purpose, home))
        await waiting.welcomed
    except BaseException:
        channel.abort()
        for future in (channel.shaken, waiting.welcomed):
            _forget(future)
        raise
    return channel


def _forget(future: asyncio.Future[None]) -> None:
    """Nobody waits for it any more, and nothing is to be said of it."""
    if future.done():
        if not future.cancelled():
            future.exception()
    else:
        future.cancel()
