"""The functions that are called when a client connects, says something or has gone.

They are registered by python-engineio's API and are plain functions or coroutine functions. A plain one is called at
once, without a task; one for `message` or `disconnect` may return something that has to be waited for before the next.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engineio import packet as eio_packet

EVENTS = ("connect", "disconnect", "message")


class Handlers:
    """Calls them.

    Args:
        registered: event → function, as python-engineio keeps them.
        run: python-engineio's own way to call one; waits for it, or with `run_async` starts a task.
        logger: is told of those that fail.
    """

    def __init__(
        self,
        registered: Mapping[str, Callable[..., Any]],
        run: Callable[..., Awaitable[Any]],
        logger: logging.Logger,
    ) -> None:
        self._registered = registered
        self._run = run
        self._logger = logger
        self._is_async = dict.fromkeys(EVENTS, False)
        self._may_overtake = False

    def note(self, event: str, function: Callable[..., Any], *, may_overtake: bool) -> None:
        """A function was registered; calls of a coroutine function for `message` may overtake each other."""
        self._is_async[event] = inspect.iscoroutinefunction(function)
        if event == "message":
            self._may_overtake = may_overtake

    def is_async(self, event: str) -> bool:
        """Whether the handler is a coroutine function, which `run` calls."""
        return self._is_async[event]

    def call(self, event: str, *args: Any) -> Any:
        """Call a handler that is a plain function; False if it raises."""
        handler = self._registered.get(event)
        try:
            return handler(*args) if handler is not None else None
        except Exception:
            self._logger.exception("%s handler error", event)
            return False

    async def run(self, event: str, *args: Any) -> Any:
        """Call a handler of either kind, and wait for it; False for a connect handler that raises."""
        return await self._run(event, *args, run_async=False)

    def hand_in(self, sid: str, packet: str | bytes) -> Awaitable[Any] | None:
        """Call the handler of messages; what is left to be waited for, if anything.

        A coroutine handler begins as a task of its own where handlers may overtake each other.
        """
        message = decode_message(packet) if isinstance(packet, str) else packet
        if self._is_async["message"] and self._may_overtake:
            return self._run("message", sid, message, run_async=True)
        work = self.call("message", sid, message)
        return work if work is not None and inspect.isawaitable(work) else None

    def part(self, sid: str, reason: str) -> Awaitable[Any] | None:
        """Call the disconnect handler; what is left to be waited for, if anything."""
        if self._is_async["disconnect"]:
            return self.run("disconnect", sid, reason)
        work = self.call("disconnect", sid, reason)
        return work if work is not None and inspect.isawaitable(work) else None

    async def finish(self, work: Awaitable[Any]) -> None:
        """Wait for what `hand_in` or `part` has left."""
        try:
            await work
        except Exception:
            self._logger.exception("handler error")


def decode_message(packet: str) -> Any:
    """A message as python-engineio hands it to a handler: JSON decoded, where it is JSON; what begins with a number,
    as a packet of Socket.IO does, never is.
    """
    if packet[1:2].isnumeric():
        return packet[1:]
    try:
        return eio_packet.Packet(encoded_packet=packet).data
    except RecursionError:
        return packet[1:]
