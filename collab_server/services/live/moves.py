"""Moves: who of this node's listeners watches which topics, and which of those have moved since they were told.

A topic moves for everybody when its log goes on, for one person when their read mark does. What has moved is noted
here, by whoever hears of it first, and worked off by `watches`. To be told of a topic that nobody watches costs a look
into a dict; nothing here waits or raises, and nothing runs.

A listener whose watch is just being answered is *held*: what moves meanwhile is kept for it until `release`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Iterable, Sequence

from collab_server.domain.jsontext import JsonText
from collab_server.services.hub import Listener

EVERYBODY: None = None
NOBODY: Collection[str] = frozenset()


class Moves:
    """See the module. `noted` is set when there is something to be told, or to look for (`is_suspect`)."""

    def __init__(self) -> None:
        self.watched: dict[str, dict[Listener, None]] = {}
        self.heads: dict[str, int] = {}
        """Up to which `seq` all who watch a topic have been told, as far as it is known."""
        self.noted = asyncio.Event()
        self.is_suspect = False
        self._moved: dict[str, set[str] | None] = {}
        self._held: dict[Listener, set[str]] = {}
        self._known: dict[Listener, dict[str, int]] = {}  # a hash of what each was told last

    # --- what has moved

    def note(self, topic: str) -> None:
        """The log of a topic has gone on."""
        if topic in self.watched:
            self._moved[topic] = EVERYBODY
            self.noted.set()

    def note_of(self, user_id: str, topic: str) -> None:
        """Somebody's read mark on a topic has moved, or they may be told of it now."""
        if topic in self.watched:
            users = self._moved.setdefault(topic, set())
            if users is not EVERYBODY:
                users.add(user_id)
            self.noted.set()

    def note_again(self, topic: str, users: Collection[str] | None) -> None:
        """It could not be told."""
        if users is EVERYBODY:
            self.note(topic)
        else:
            for user_id in users:
                self.note_of(user_id, topic)

    def suspect(self) -> None:
        """Something may have been missed."""
        self.is_suspect = True
        self.noted.set()

    def told(self, topic: str, seq: int) -> None:
        """Everybody who watches the topic has been told of it up to there, or will be."""
        if topic in self.watched:
            self.heads[topic] = max(seq, self.heads.get(topic, 0))

    def saw(self, topic: str, seq: int) -> bool:
        """Somebody was told the head of a topic as it was read: where others have not heard of it, they are to be told.

        False where others know more.
        """
        known = self.heads.get(topic)
        if known is None or seq > known:
            self.heads[topic] = seq
            if known is not None:
                self.note(topic)
        return known is None or seq >= known

    @property
    def moved(self) -> Sequence[str]:
        """The topics that have moved."""
        return list(self._moved)

    def take(self, topic: str) -> Collection[str] | None:
        """For whom the topic has moved; from now on it has not."""
        return self._moved.pop(topic, NOBODY)

    def listeners(self, topic: str, users: Collection[str] | None) -> dict[str, list[Listener]]:
        """Those who watch the topic and for whom it has moved, by user; who is held waits."""
        found: dict[str, list[Listener]] = {}
        for listener in self.watched.get(topic, ()):
            user_id = listener.who.user.id
            if users is not EVERYBODY and user_id not in users:
                continue
            held = self._held.get(listener)
            if held is not None:
                held.add(topic)
            else:
                found.setdefault(user_id, []).append(listener)
        return found

    # --- who watches

    def of(self, listener: Listener) -> Sequence[str]:
        """The topics that a listener watches."""
        return list(self._known.get(listener, ()))

    def is_news(self, listener: Listener, topic: str, summary: JsonText) -> bool:
        """Whether a listener watches the topic, and is told something else by this than before; it is told now."""
        known = self._known.get(listener, {})
        told = hash(summary)
        if topic not in known or known[topic] == told:
            return False
        known[topic] = told
        return True

    def hold(self, listener: Listener, topics: Iterable[str]) -> list[str]:
        """Let a listener watch these topics too, held back until `release`; returns those that it did not."""
        self._held.setdefault(listener, set())
        known = self._known.setdefault(listener, {})
        new = [sys.intern(topic) for topic in topics if topic not in known]
        for topic in new:
            known[topic] = 0
            self.watched.setdefault(topic, {})[listener] = None
        return new

    def release(self, listener: Listener) -> None:
        """Let come what moved meanwhile: the listener has been told all up to then."""
        for topic in self._held.pop(listener, ()):
            self.note_of(listener.who.user.id, topic)

    def forget(self, listener: Listener, topics: Iterable[str]) -> bool:
        """Let a listener watch these no more. Whether it watched any."""
        known = self._known.get(listener)
        if known is None:
            return False
        before = len(known)
        for topic in topics:
            if known.pop(topic, None) is None:
                continue
            watching = self.watched[topic]
            del watching[listener]
            if not watching:
                del self.watched[topic]
                self._moved.pop(topic, None)
                self.heads.pop(topic, None)
        is_less = len(known) < before
        if not known:
            del self._known[listener]
        return is_less

    def leave(self, listener: Listener) -> None:
        """A listener has gone."""
        self.forget(listener, self.of(listener))
        self._held.pop(listener, None)
