"""A websocket of ASGI is carried by two tasks, of which one reads and the other writes: when either ends, so does the
other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any

__all__ = ["Receive", "Send", "say", "until_either_ends"]

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MOST_TOLD = 20
"""So many errors are told by a process, each with its place once: who can provoke one can do so again and again."""

_told: set[tuple[type[BaseException], str, int]] = set()


async def say(send: Send, message: dict[str, Any]) -> None:
    """Send it. Raises an `OSError` where the client has gone.

    In this moment, that is: while we do not know of it, servers take what is still said for a mistake.
    """
    try:
        await send(message)
    except RuntimeError as error:
        raise ConnectionResetError from error


async def until_either_ends(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait, then end those that are left. An error is a bug: it ends its connection, and the log tells it once."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
            elif not task.cancelled() and (error := task.exception()) is not None:
                _tell(error)


def _tell(error: BaseException) -> None:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = ("", 0) if at is None else (at.tb_frame.f_code.co_filename, at.tb_lineno)
    place = (type(error), *where)
    if place not in _told and len(_told) < MOST_TOLD:
        _told.add(place)
        log.error("a websocket was ended by a bug; the next of the kind are not told", exc_info=error)
