"""The way of an envelope in: opened, in order, once, believed - and then told to those who listen.

Whoever has Redis can do nothing but delay and lose. What does not open is dropped, counted and logged once a minute,
and makes the listeners look at Postgres at most every 1.5 s, for it may be what another version had to say. What opens
is believed once, in order, and only from a node that has just shown that it is alive (`cluster.peers`). A jump in a
node's numbers is a gap.

Nothing runs here: `receive` is called in the read callback of a connection, and never raises.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from collab_server.cluster.backlog import ENVELOPE_BYTES, MAX_QUEUED_BYTES
from collab_server.cluster.beside import Beside
from collab_server.cluster.counters import Counters
from collab_server.cluster.envelope import (
    OWN_KINDS,
    Message,
    UnreadableEnvelope,
    count_messages,
    unpack_messages,
)
from collab_server.cluster.listeners import Listeners
from collab_server.cluster.peers import Peers, Start
from collab_server.cluster.proof import Proof
from collab_server.cluster.seal import OtherLayout, Seal
from collab_server.domain.hints import Kind

__all__ = ["COMPLAINT_SECONDS", "Reception"]

log = logging.getLogger(__name__)

MAX_ENVELOPE_BYTES = MAX_QUEUED_BYTES + ENVELOPE_BYTES
COMPLAINT_SECONDS = 60.0


class Reception:
    """Takes what comes off the subscription, this node's own echo included."""

    def __init__(
        self,
        *,
        seal: Seal,
        proof: Proof,
        peers: Peers,
        listeners: Listeners,
        beside: Beside,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._seal = seal
        self._proof = proof
        self._peers = peers
        self._listeners = listeners
        self._beside = beside
        self._counters = counters
        self._clock = clock
        self._handled: Start | None = None
        self._complaint_at = 0.0

    @property
    def longest_delay_seconds(self) -> float:
        """How long at most the message that is being handled was under way."""
        return self._clock() - self._handled.alive_at if self._handled is not None else 0.0

    def receive(self, data: bytes) -> None:
        """One envelope. Never raises."""
        try:
            if len(data) > MAX_ENVELOPE_BYTES:
                raise UnreadableEnvelope("larger than any of ours")
            opened = self._seal.open(data)
            if opened.sender == self._seal.sender:
                if self._proof.came_back(opened.first + count_messages(opened.inside)):
                    self._beside.was_deaf(self._clock())
                    self._peers.was_deaf()
                return
            node, messages = unpack_messages(opened.inside)
        except UnreadableEnvelope as error:
            self._cannot_open(data, error)
            return
        start = self._peers.notice(opened, node)
        if opened.sealing <= start.sealing:
            # Recorded and played again, or late through a connection that its sender had given up: later ones
            # have brought all of it.
            self._counters.repeated += 1
            return
        start.sealing = opened.sealing
        end = opened.first + len(messages)
        if opened.first > start.expected:
            if start.is_met:
                self._counters.missed += opened.first - start.expected
                self._listeners.gap()
        elif opened.first < start.expected:
            messages = messages[start.expected - opened.first :]  # sent again because its answer got lost
        start.expected = max(start.expected, end)
        self._handled = start
        try:
            self._handle(opened.sender, start, messages)
        finally:
            self._handled = None

    def _handle(self, sender: bytes, start: Start, messages: list[Message]) -> None:
        """The messages of an envelope, in order: those that follow the proof that their sender is alive."""
        peers, tell, node = self._peers, self._listeners.tell, start.node
        is_believed = peers.is_alive(start)
        believed = unbelieved = 0
        for kind, payload, trace in messages:
            if kind not in OWN_KINDS:
                if is_believed:
                    believed += 1
                    tell(kind, node, payload, trace)
                else:
                    unbelieved += 1
            elif kind == Kind.HEARD:
                peers.take_heard(sender, start, payload)
                is_believed = peers.is_alive(start)
            elif not is_believed:
                continue
            elif kind == Kind.CANARY:
                self._take_heartbeat(sender, start, payload)
                is_believed = start.is_met
            else:
                self._listeners.gap()
        peers.heard(sender, start, is_believed)
        self._counters.received += believed
        if unbelieved:
            self._counters.unbelieved += unbelieved
            self._listeners.perhaps_gap()

    def _take_heartbeat(self, sender: bytes, start: Start, payload: bytes) -> None:
        if not payload:
            self._peers.forget(sender)  # goodbye
            return
        try:
            info = json.loads(payload)
        except ValueError:
            info = None
        self._peers.announced(start, info if isinstance(info, dict) else {})

    def _cannot_open(self, data: bytes, error: UnreadableEnvelope) -> None:
        """Somebody else's, or of another version: then Postgres has what it says."""
        now = self._clock()
        if self._beside.hear(data, now):
            return
        if isinstance(error, OtherLayout):
            self._counters.unknown_version += 1
        else:
            self._counters.unopened += 1
        if now >= self._complaint_at:
            self._complaint_at = now + COMPLAINT_SECONDS
            log.warning(
                "what comes over the bus was not sealed by this version and installation; it is dropped",
                extra={
                    "why": str(error),
                    "unopened": self._counters.unopened,
                    "unknown_version": self._counters.unknown_version,
                },
            )
        self._listeners.perhaps_gap()
