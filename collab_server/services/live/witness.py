"""What this node knows as committed: the events that were acknowledged, heard of or read here last.

A database can go back in time: a standby takes over that lacked the last commits, a backup is put back. What it has
lost is gone, but whoever saw it still knows, and two different events under one `seq` tell it too. The witness keeps
the identities of the last events, of any topic, whether or not anybody follows it. It holds at least `EVENTS` of them,
at most twice as many, some 300 bytes each.

Everything here is synchronous, and cheap: it is on the way of every event.
"""

from __future__ import annotations

import asyncio

from collab_server.domain.events import Event
from collab_server.storage.event_log import Claim

EVENTS = 2048

_Key = tuple[str, int]


class Witness:
    """Remembers events, and notices what cannot be. `doubts` is set while the database has to be asked."""

    __slots__ = ("_older", "_younger", "doubts")

    def __init__(self) -> None:
        self._younger: dict[_Key, str] = {}
        self._older: dict[_Key, str] = {}
        self.doubts = asyncio.Event()

    def note(self, event: Event) -> str:
        """Remember that this event was committed; returns its identity."""
        identity = event.identity
        self.note_identity(event.topic, event.seq, identity)
        return identity

    def note_identity(self, topic: str, seq: int, identity: str) -> None:
        """Remember that this event was committed; of an event without an identity nothing can be told."""
        if not identity:
            return
        key = (topic, seq)
        known = self._younger.get(key) or self._older.get(key)
        if known is not None:
            if known != identity:
                self.doubts.set()  # one of the two is not stored any more; keep the older one, which was seen
            return
        self._younger[key] = identity
        if len(self._younger) >= EVENTS:
            self._older, self._younger = self._younger, {}

    def doubt(self) -> None:
        """The database may have gone back: ask it."""
        self.doubts.set()

    def claims(self) -> list[Claim]:
        """All that is remembered, oldest first."""
        return [
            Claim(topic, seq, identity)
            for known in (self._older, self._younger)
            for (topic, seq), identity in known.items()
        ]

    def forget(self) -> None:
        """The epoch is new: what was known is of another time."""
        self._older, self._younger = {}, {}
