"""Who the other nodes are, and whether they are alive.

How a node shows that it is alive. With each heartbeat it tells how much it has heard of every other node (HEARD). A
node that finds itself in there knows that all that follows was sealed after its own heartbeat of that number, and
believes it for 15 s. A recording never says so, for what was said before the stranger was heard first does not count.
So a node is met (`on_node_found`) when it answers for the first time, some milliseconds after it came; nobody's clock
matters, and Postgres knows nothing of it.

    new    HEARD nobody, tell at once            ──►  old    new is a stranger; nothing of it is believed
    old    HEARD new up to 1, tell at once       ──►  new    old is a stranger
    new    HEARD old up to 7, tell at once       ──►  old    has met new, believes what follows
    old    HEARD new up to 2                     ──►  new    has met old, believes what follows

A node is lost when it says goodbye, starts anew, or is silent for `FORGOTTEN_AFTER_SECONDS` while others are heard.
Strangers are at most `MAX_STRANGERS`. Nothing runs here but the timer that gathers what is to be told at once; `close`
cancels it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from collab_server.cluster.envelope import UnreadableEnvelope, pack_heard, unpack_heard
from collab_server.cluster.listeners import Listeners
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.seal import Opened
from collab_server.domain.hints import Kind
from collab_server.ports import Peer

__all__ = ["Peers", "Start"]

log = logging.getLogger(__name__)

BELIEVED_SECONDS = 15.0
"""How long a node is believed after it has shown that it is alive. What is told of rights adds to its age what the
message may have been held up for (`longest_delay_seconds`)."""
FORGOTTEN_AFTER_SECONDS = 5.0
PROMPT_SECONDS = 0.05
MAX_STRANGERS = 32
MAX_PEERS_TOLD = 512
MAX_TOLD = 64

_NEVER = float("-inf")


@dataclass(slots=True)
class Start:
    """What is known of one start of another node: a stranger until it is met.

    `expected` is the number of its next message, `sealing` that of the last envelope. `alive_at` is when our own
    heartbeat went out that it has answered, one numbered `noticed` or later; `asked_at` when it was asked to answer.
    """

    node: str
    expected: int
    noticed: int
    heard_at: float
    sealing: int = -1
    is_met: bool = False
    alive_at: float = _NEVER
    asked_at: float = _NEVER
    seen_at: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)


class Peers:
    """All starts of other nodes that are known, by their sender: those that were met, and strangers."""

    def __init__(
        self, sender: bytes, outbox: Outbox, listeners: Listeners, clock: Callable[[], float]
    ) -> None:
        self.met: dict[bytes, Start] = {}
        self.strangers: dict[bytes, Start] = {}
        self._sender = sender
        self._outbox = outbox
        self._listeners = listeners
        self._clock = clock
        self._told: deque[tuple[int, float]] = deque(maxlen=MAX_TOLD)  # number of a HEARD, sent at
        self._prompt_due: asyncio.TimerHandle | None = None
        self._is_asking = False
        self._is_open = False

    def open(self) -> None:
        """Answer those who ask, from now on."""
        self._is_open = True

    def close(self) -> None:
        """Tell nobody anything any more."""
        self._is_open = False
        if self._prompt_due is not None:
            self._prompt_due.cancel()
            self._prompt_due = None

    def nodes(self) -> dict[str, Peer]:
        """Those that were met, by name."""
        return {start.node: Peer(start.info, start.seen_at) for start in self.met.values()}

    # --- who is there

    def notice(self, opened: Opened, node: str) -> Start:
        """Whose envelope this is. One that is not known is of a node that has just come, or of one that has gone."""
        start = self.met.get(opened.sender) or self.strangers.get(opened.sender)
        if start is None:
            if len(self.strangers) >= MAX_STRANGERS:
                del self.strangers[next(iter(self.strangers))]
            noticed = self._outbox.backlog.next_number
            start = Start(node, opened.first, noticed=noticed, heard_at=self._clock())
            self.strangers[opened.sender] = start
        return start

    def is_alive(self, start: Start) -> bool:
        """Whether what it says now is believed."""
        return start.is_met and self._clock() - start.alive_at <= BELIEVED_SECONDS

    def heard(self, sender: bytes, start: Start, is_believed: bool) -> None:
        """An envelope of it was read to its end. One that is not believed is asked to show that it is alive: at once,
        and then with each heartbeat.
        """
        now = self._clock()
        if is_believed:
            start.heard_at = now
        elif sender in self.met or sender in self.strangers:  # it has not just said goodbye
            if now - start.asked_at > FORGOTTEN_AFTER_SECONDS:
                start.asked_at = now
                self._tell_heard_soon(asks=True)

    def take_heard(self, sender: bytes, start: Start, payload: bytes) -> None:
        """What another node has heard; of a heartbeat of ours, if it is alive, and then it is met."""
        try:
            asks, heard = unpack_heard(payload)
        except UnreadableEnvelope:
            return  # of a later version, which knows what it does
        number = heard.get(self._sender, 0)
        was_believed = self.is_alive(start)
        for told, at in self._told:
            if start.noticed <= told < number:
                start.alive_at = max(start.alive_at, at)
        if not was_believed and self._clock() - start.alive_at <= BELIEVED_SECONDS:
            if start.is_met:
                self._listeners.gap()  # what it said meanwhile was not believed
            else:
                self._meet(sender, start)
        if asks:
            self._tell_heard_soon(asks=False)

    @staticmethod
    def announced(start: Start, info: dict[str, Any]) -> None:
        """It has told what it is."""
        start.info = info
        start.seen_at = time.time()

    def forget(self, sender: bytes) -> None:
        """It has gone."""
        start = self.met.pop(sender, None)
        if start is None:
            return
        start.is_met = False
        log.info("lost a node", extra={"lost_node": start.node})
        self._listeners.lost(start.node)

    def forget_all(self) -> None:
        """They are of another epoch."""
        for sender in list(self.met):
            self.forget(sender)
        self.strangers.clear()

    def forget_silent(self, *, is_hearing: bool) -> None:
        """Those that say nothing any more have gone, unless it is we who do not hear."""
        now = self._clock()
        if is_hearing:
            for sender, start in list(self.met.items()):
                if now - start.heard_at > FORGOTTEN_AFTER_SECONDS:
                    self.forget(sender)
        for sender, start in list(self.strangers.items()):
            if now - start.heard_at > FORGOTTEN_AFTER_SECONDS:
                del self.strangers[sender]

    def was_deaf(self) -> None:
        """We have not listened until now: they need not have been silent."""
        now = self._clock()
        for start in self.met.values():
            start.heard_at = now

    def stood_still(self, seconds: float) -> None:
        """The whole process did: when we could not listen, nobody was silent."""
        for start in self.met.values():
            start.heard_at += seconds

    def _meet(self, sender: bytes, start: Start) -> None:
        """A stranger has answered: it is alive, and so is whatever it says from here on."""
        self.strangers.pop(sender, None)
        for other, known in list(self.met.items()):
            if known.node == start.node:
                self.forget(other)  # it started anew
        self._listeners.gap()  # what it said before was not believed
        start.is_met = True
        start.heard_at, start.seen_at = self._clock(), time.time()
        self.met[sender] = start
        self.tell_heard(asks=False)  # before all that the callbacks say: for the other to believe it
        log.info("found a node", extra={"found_node": start.node})
        self._listeners.found(start.node)

    # --- what they are told

    def tell_heard(self, *, asks: bool) -> None:
        """How much was heard of whom: those who are met first, then the strangers. With `asks` they answer at once."""
        known = islice(chain(self.met.items(), self.strangers.items()), MAX_PEERS_TOLD)
        self._told.append((self._outbox.backlog.next_number, self._clock()))
        self._outbox.publish(
            Kind.HEARD, pack_heard(asks, [(sender, start.expected) for sender, start in known])
        )

    def _tell_heard_soon(self, *, asks: bool) -> None:
        """The same, gathered with what else makes it due."""
        self._is_asking |= asks
        if self._prompt_due is None and self._is_open:
            last = self._told[-1][1] if self._told else _NEVER
            pause = max(0.0, last + PROMPT_SECONDS - self._clock())
            self._prompt_due = asyncio.get_running_loop().call_later(pause, self._prompt)

    def _prompt(self) -> None:
        self._prompt_due = None
        asks, self._is_asking = self._is_asking, False
        self.tell_heard(asks=asks)
