"""Clients which are connected to no namespace (yet): how long, how many, how much of them, how many tries.

Nothing here closes a connection: who has to go is returned, or told to `give_up`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collab_server.domain.addresses import network_of
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.requests import head_bytes, unusual_bytes
from collab_server.realtime.sockets.packets import MalformedPacket
from collab_server.realtime.strangers import StrangerLimits, Strangers

STRANGER_WEIGHT = 2_000
"""Bytes that a session takes besides its handshake's head, which is kept twice, and its target, kept four times."""


@dataclass(slots=True)
class _Newcomer:
    head_bytes: int  # what its session takes, but for what it sends
    tries: int = 0  # CONNECT packets


class Newcomers:
    """See the module.

    Args:
        limits: what they may take.
        seconds: one that is connected to no namespace by then is told to `give_up`.
        give_up: puts a client out, by its session's id.
    """

    def __init__(self, limits: StrangerLimits, seconds: float, give_up: Callable[[str], None]) -> None:
        self._limits = limits
        self._waiting: Lane[str] = Lane(seconds, lambda eio_sid, due: give_up(eio_sid))
        self._known: dict[str, _Newcomer] = {}
        self.strangers: Strangers[str] = Strangers(
            most=limits.most, most_per_address=limits.most_per_address, most_bytes=limits.most_bytes
        )

    def enter(self, eio_sid: str, environ: dict[str, Any]) -> list[str]:
        """One more, with what its handshake brought; returns those who have to go."""
        self._waiting.start(eio_sid)
        weight = STRANGER_WEIGHT
        if "asgi.scope" in environ:
            scope = environ["asgi.scope"]
            weight += 2 * head_bytes(scope) + unusual_bytes(scope["headers"])
        weight += 4 * (len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", "")))
        self._known[eio_sid] = _Newcomer(weight)
        return self.strangers.add(eio_sid, network_of(environ.get("REMOTE_ADDR", "")), weight)

    def weigh(self, eio_sid: str, held_bytes: int) -> list[str]:
        """So much is kept of what one sends; returns those who have to go."""
        newcomer = self._known.get(eio_sid)
        return [] if newcomer is None else self.strangers.weigh(eio_sid, newcomer.head_bytes + held_bytes)

    def count_try(self, eio_sid: str, size: int) -> None:
        """One asks to be connected, by a packet of this size.

        Raises:
            MalformedPacket: it is too large, or one too many.
        """
        limits = self._limits
        if limits.packet_bytes is not None and size > limits.packet_bytes:
            raise MalformedPacket("too large a CONNECT packet")
        newcomer = self._known.get(eio_sid)
        if newcomer is None:
            return  # no stranger
        newcomer.tries += 1
        if limits.tries is not None and newcomer.tries > limits.tries:
            raise MalformedPacket("too many CONNECT packets")

    def wait(self, eio_sid: str) -> None:
        """One that asks waits for the answer: it goes later than those who have not asked."""
        self.strangers.has_shown_a_token(eio_sid)

    def leave(self, eio_sid: str) -> None:
        """One is connected, or has gone."""
        if self._known.pop(eio_sid, None) is not None:
            self._waiting.stop(eio_sid)
            self.strangers.remove(eio_sid)
