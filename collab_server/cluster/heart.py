"""The heartbeat: each second this node tells the others that it is alive, what it is, and how much it has heard.

It goes the way of everything else, and its own echo is what proves that Redis works (`cluster.proof`); the answers to
it prove that the others live (`cluster.peers`). An empty one is a goodbye.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from collab_server.cluster.outbox import Outbox
from collab_server.cluster.peers import Peers
from collab_server.cluster.proof import Proof
from collab_server.domain.hints import Kind
from collab_server.ports import Announcement

__all__ = ["Heart"]

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0


class Heart:
    """Beats when it is looked at, and at once when it is told to."""

    def __init__(
        self,
        announcement: Announcement,
        *,
        outbox: Outbox,
        peers: Peers,
        proof: Proof,
        clock: Callable[[], float],
    ) -> None:
        self._announcement = announcement
        self._outbox = outbox
        self._peers = peers
        self._proof = proof
        self._clock = clock
        self._due_at = 0.0

    def look(self) -> None:
        """Beat, if it is time to; several times a second."""
        if self._clock() >= self._due_at:
            self.beat()

    def beat(self, *, asks: bool = False) -> None:
        """A heartbeat; before the epoch is known, a PING. With `asks` the other nodes answer it at once."""
        self._due_at = self._clock() + HEARTBEAT_SECONDS
        if not self._outbox.has_channel:
            self._outbox.ping(self._answered)
            return
        try:
            payload = json.dumps(self._announcement.facts()).encode()
        except Exception:
            log.exception("this node cannot describe itself")
            payload = b"{}"
        self._peers.tell_heard(asks=asks)
        self._proof.sent(self._outbox.backlog.next_number)
        self._outbox.publish(Kind.CANARY, payload)

    def say_goodbye(self) -> None:
        """The last one."""
        self._outbox.publish(Kind.CANARY, b"")

    def _answered(self) -> None:
        if not self._outbox.has_channel:
            self._proof.proved()
