"""The connection by which one home is asked: many requests at once, each answered when the home has an answer.

What it promises
    `ask` never waits. What cannot be handed over is answered at once: 503 where more is under way than may be, and
    otherwise that the session is unknown, which is what the protocol has for a session that is gone: the client begins
    anew and catches up. So is all that is under way when the connection ends, for what the home has said to that may
    be lost. A home that says nothing for `SILENT_LOOKS` looks is taken for gone.
What runs
    Nothing: it is looked at by `elsewhere`, which also connects it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from collab_server.realtime.engine.requests import NO_ROOM, UNKNOWN_SID
from collab_server.realtime.engine.session import Exchange, Refusal
from collab_server.realtime.handover.channel import Channel
from collab_server.realtime.handover.words import NUMBER, Garbled, Said, pack_request, unpack_answer

__all__ = ["Figures", "Link", "Refuse"]

MOST_UNDER_WAY = 20_000
"""Requests to one home that have no answer yet: each polling client has one."""
MOST_HELD_BYTES = 16_000_000
"""What may wait to be sent to one home, connected or not."""
SILENT_LOOKS = 3
POLL_SECONDS = 0.25
"""So long a poll may wait for its answer while this node is about to stop."""

Refuse = Callable[[Exchange, Refusal], None]


@dataclass(slots=True)
class Figures:
    """What is counted, over all links."""

    requests: int = 0
    websockets: int = 0
    refused_full: int = 0
    refused_lost: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    exchange: Exchange
    refuse: Refuse


class Link:
    """To one home. Until `use` was called, what is asked waits for that."""

    def __init__(self, figures: Figures) -> None:
        self.is_lost = False
        self._figures = figures
        self._channel: Channel | None = None
        self._next_number = 0
        self._under_way: dict[int, _Asked] = {}
        self._waiting_bytes = 0  # of bodies, until it is connected
        self._silent_looks = 0
        self._is_leaving = False

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def is_open(self) -> bool:
        """Whether requests go out."""
        return self._channel is not None and not self.is_lost

    def use(self, channel: Channel) -> None:
        """It is connected: what has waited for that is asked."""
        self._channel = channel
        channel.hearer = self
        waiting, self._under_way = self._under_way, {}
        for asked in waiting.values():
            self.ask(asked.exchange, asked.refuse)

    def ask(self, exchange: Exchange, refuse: Refuse) -> None:
        """Have the home answer this request, whose body is whole."""
        channel = self._channel
        if self.is_lost:
            self._figures.refused_lost += 1
            refuse(exchange, UNKNOWN_SID)
            return
        held_bytes = self._waiting_bytes if channel is None else channel.held_bytes
        if len(self._under_way) >= MOST_UNDER_WAY or held_bytes > MOST_HELD_BYTES:
            self._figures.refused_full += 1
            refuse(exchange, NO_ROOM)
            return
        self._next_number = number = (self._next_number + 1) & 0xFFFF_FFFF
        self._under_way[number] = _Asked(exchange, refuse)
        exchange.waiter = _Waiter(self, number)
        if channel is None:
            self._waiting_bytes += len(exchange.body)
        else:
            self._figures.requests += 1
            channel.send(Said.REQUEST, *pack_request(number, exchange.scope, exchange.body))
            exchange.body = b""
            if self._is_leaving and exchange.scope["method"] == "GET":
                asyncio.get_running_loop().call_later(POLL_SECONDS, self.let_go, number)

    def cancel(self, number: int) -> None:
        """Its client has gone."""
        if self._under_way.pop(number, None) is not None and self._channel is not None:
            self._channel.send(Said.CANCEL, NUMBER.pack(number))

    def let_go(self, number: int) -> None:
        """An answer is wanted soon, if only an empty one: its connection is about to end."""
        if number in self._under_way and self._channel is not None:
            self._channel.send(Said.LET_GO, NUMBER.pack(number))

    def leave(self) -> None:
        """This node is about to stop: have the polls answered that wait, and those that still come soon."""
        self._is_leaving = True
        for number, asked in list(self._under_way.items()):
            if asked.exchange.scope["method"] == "GET":
                self.let_go(number)

    # --- what the home says

    def heard(self, kind: int, payload: bytes) -> None:
        """A message of the home."""
        if kind != Said.ANSWER:
            return  # a PONG, or of a later version
        try:
            answer = unpack_answer(payload)
        except Garbled:
            self.end()
            return
        asked = self._under_way.pop(answer.number, None)
        if asked is not None:
            exchange = asked.exchange
            exchange.waiter = None
            exchange.is_trusted = answer.is_trusted
            exchange.respond(answer.status, answer.headers, answer.body)
            if self._channel is not None:
                self._channel.send(Said.TAKEN, NUMBER.pack(answer.number))

    def lost(self) -> None:
        """The connection is no more, or there never was one: nobody knows what came of what is under way."""
        self.is_lost = True
        under_way, self._under_way = self._under_way, {}
        for asked in under_way.values():
            asked.exchange.waiter = None
            self._figures.refused_lost += 1
            asked.refuse(asked.exchange, UNKNOWN_SID)

    def pause(self) -> None:
        """What waits is bounded by `ask`."""

    def resume(self) -> None:
        """Nothing to do."""

    # --- looking after it

    def look(self) -> None:
        """See whether the home is alive, and ask it to say so."""
        channel = self._channel
        if channel is None or self.is_lost:
            return
        self._silent_looks = 0 if channel.has_heard else self._silent_looks + 1
        channel.has_heard = False
        if self._silent_looks >= SILENT_LOOKS or not channel.is_good:
            self.end()
            return
        channel.send(Said.PING)

    def end(self) -> None:
        """It is of no use any more."""
        if self._channel is not None:
            self._channel.abort()
        self.lost()


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Of one request."""

    link: Link
    number: int

    def cancel(self) -> None:
        self.link.cancel(self.number)

    def let_go(self) -> None:
        self.link.let_go(self.number)
