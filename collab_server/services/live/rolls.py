"""Who is where, as each node says it: a roll per node, kept alike on all of them over the bus.

What it promises. A change of this node's roll is told to the others at once. What gets lost on the way is found: each
node tells its digests every 5 s, and at once when a node appears or the bus may have missed something; whoever holds
something else asks for just the parts that differ. The roll of a node that was lost is dropped after a grace, in
which its people may come back through another node.

Nothing is stored in Redis. A message is a JSON list, its name first; unknown ones are left alone.

    ["in", topic, [userId, name, initials, since]]      somebody came to a topic through the sender
    ["out", topic, userId]                              and left
    ["digest?"]                                         all nodes: tell your digests
    ["digest", [number, …]]                             one for each of the sender's `BUCKETS` buckets
    ["state?", node, [bucket, …]]                       to `node`: tell these of your buckets
    ["state", bucket, part, parts, [[topic, [[userId, name, initials, since], …]], …]]

A topic belongs to one bucket. The parts of a bucket are sent in one go, so that no change comes between them.

What runs concurrently: nothing but callbacks of one event loop. `stop` cancels its timers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Protocol
from zlib import crc32

from collab_server.domain.jsontext import dumps
from collab_server.domain.people import User
from collab_server.domain.presence import GRACE_SECONDS, Present

BUCKETS = 64
PEOPLE_A_PART = 500
DIGEST_SECONDS = 5.0
GATHER_SECONDS = 0.05
"""Digests that several nodes ask for within this time are told once."""
BUCKET_SECONDS = 0.005
"""The pause between two buckets that were asked for, so that a large roll delays nothing else."""


class Timer(Protocol):
    """What `CallLater` returns."""

    def cancel(self) -> None: ...


CallLater = Callable[..., Timer]
"""`call_later(seconds, function, *arguments)`, as of an event loop."""

OnChange = Callable[[str, str, str, Present | None], None]
"""`on_change(node, topic, user id, what that node says now)`."""

_Topics = dict[str, dict[str, Present]]


class _Roll:
    """The people of one node: topic to user id to `Present`, in buckets. A bucket's digest is the XOR of its marks."""

    __slots__ = ("buckets", "digests")

    def __init__(self) -> None:
        self.buckets: list[_Topics] = [{} for _ in range(BUCKETS)]
        self.digests = [0] * BUCKETS

    def get(self, topic: str, user_id: str) -> Present | None:
        return self.buckets[_bucket_of(topic)].get(topic, {}).get(user_id)

    def put(self, topic: str, present: Present) -> None:
        self.drop(topic, present.user.id)
        bucket = _bucket_of(topic)
        self.buckets[bucket].setdefault(topic, {})[present.user.id] = present
        self.digests[bucket] ^= _mark(topic, present)

    def drop(self, topic: str, user_id: str) -> bool:
        bucket = _bucket_of(topic)
        people = self.buckets[bucket].get(topic, {})
        present = people.pop(user_id, None)
        if present is None:
            return False
        if not people:
            del self.buckets[bucket][topic]
        self.digests[bucket] ^= _mark(topic, present)
        return True

    def people(self, bucket: int) -> Iterator[tuple[str, Present]]:
        for topic, people in self.buckets[bucket].items():
            for present in people.values():
                yield topic, present


class _Other:
    """What is known of another node's roll, and the parts of a bucket that have come so far."""

    __slots__ = ("bucket", "forgetting", "part", "parts", "roll")

    def __init__(self) -> None:
        self.roll = _Roll()
        self.forgetting: Timer | None = None
        self.bucket = -1
        self.part = 0
        self.parts: list[tuple[str, Present]] = []


class Rolls:
    """This node's roll and those of the others; `on_change` hears of every change in any of them.

    `publish` sends to all other nodes. While there are any, they are told digests.
    """

    def __init__(
        self,
        *,
        node: str,
        publish: Callable[[bytes], None],
        call_later: CallLater,
        on_change: OnChange,
    ) -> None:
        self._node = node
        self._publish = publish
        self._call_later = call_later
        self._on_change = on_change
        self._own = _Roll()
        self._others: dict[str, _Other] = {}
        self._owed: dict[int, None] = {}  # buckets of our own that somebody asked for
        self._state_timer: Timer | None = None
        self._digest_timer: Timer | None = None
        self._round_timer: Timer | None = None

    def stop(self) -> None:
        """Cancel all timers."""
        forgetting = (other.forgetting for other in self._others.values())
        for timer in (self._round_timer, self._digest_timer, self._state_timer, *forgetting):
            if timer is not None:
                timer.cancel()

    # --- this node's roll

    def put(self, topic: str, present: Present) -> None:
        """Somebody is on a topic through this node."""
        self._own.put(topic, present)
        self.say("in", topic, _pack(present))
        self._on_change(self._node, topic, present.user.id, present)

    def drop(self, topic: str, user_id: str) -> None:
        """Somebody is not on a topic through this node any more."""
        if self._own.drop(topic, user_id):
            self.say("out", topic, user_id)
            self._on_change(self._node, topic, user_id, None)

    def say(self, *message: Any) -> None:
        """Send a message, its name first, to all other nodes. Never waits, never raises."""
        self._publish(dumps(message).encode())

    # --- the others

    def node_found(self, node: str) -> None:
        """Another node appeared, or came back."""
        other = self._others.setdefault(node, _Other())
        if other.forgetting is not None:
            other.forgetting.cancel()
            other.forgetting = None
        if self._round_timer is None:
            self._round_timer = self._call_later(DIGEST_SECONDS, self._begin_round)
        self.compare()

    def node_lost(self, node: str) -> None:
        """Another node has gone. Its people are dropped a little later: they may be on their way to this one."""
        other = self._others.get(node)
        if other is not None and other.forgetting is None:
            other.forgetting = self._call_later(GRACE_SECONDS, self._forget, node)

    def _forget(self, node: str) -> None:
        other = self._others.pop(node)
        for bucket in range(BUCKETS):
            for topic, present in other.roll.people(bucket):
                self._on_change(node, topic, present.user.id, None)

    def compare(self) -> None:
        """Something may have been missed, here or there: let all nodes tell their digests."""
        self.say("digest?")
        self._owe_digests()

    def hear(self, node: str, message: Any) -> None:
        """Take a message of another node. Raises what a malformed one raises."""
        other = self._others.get(node)
        if other is None:
            return  # it has said goodbye
        match message:
            case ["in", str(topic), packed]:
                self._put(node, other.roll, topic, _unpack(packed))
            case ["out", str(topic), str(user_id)]:
                self._drop(node, other.roll, topic, user_id)
            case ["digest?"]:
                self._owe_digests()
            case ["digest", list(digests)] if len(digests) == BUCKETS:
                pairs = zip(digests, other.roll.digests, strict=True)
                differing = [bucket for bucket, (theirs, known) in enumerate(pairs) if theirs != known]
                if differing:
                    self.say("state?", node, differing)
            case ["state?", self._node, list(buckets)]:
                self._owed.update((int(bucket) % BUCKETS, None) for bucket in buckets)
                if self._owed and self._state_timer is None:
                    self._state_timer = self._call_later(BUCKET_SECONDS, self._tell_state)
            case ["state", int(bucket), int(part), int(parts), list(topics)]:
                self._take_part(node, other, bucket, part, parts, topics)

    def _put(self, node: str, roll: _Roll, topic: str, present: Present) -> None:
        if roll.get(topic, present.user.id) != present:
            roll.put(topic, present)
            self._on_change(node, topic, present.user.id, present)

    def _drop(self, node: str, roll: _Roll, topic: str, user_id: str) -> None:
        if roll.drop(topic, user_id):
            self._on_change(node, topic, user_id, None)

    def _take_part(
        self, node: str, other: _Other, bucket: int, part: int, parts: int, topics: list[Any]
    ) -> None:
        if part == 0:
            other.bucket, other.part, other.parts = bucket, 0, []
        elif (bucket, part) != (other.bucket, other.part):
            return  # a part got lost; the next digest will tell
        other.part += 1
        other.parts += [(topic, _unpack(packed)) for topic, people in topics for packed in people]
        if other.part < parts:
            return
        told, other.parts = other.parts, []
        remaining = {(topic, present.user.id) for topic, present in told}
        for topic, present in list(other.roll.people(bucket)):
            if (topic, present.user.id) not in remaining:
                self._drop(node, other.roll, topic, present.user.id)
        for topic, present in told:
            self._put(node, other.roll, topic, present)

    # --- digests and state

    def _begin_round(self) -> None:
        self._round_timer = None
        if self._others:
            self._round_timer = self._call_later(DIGEST_SECONDS, self._begin_round)
            self._owe_digests()

    def _owe_digests(self) -> None:
        if self._digest_timer is None:
            self._digest_timer = self._call_later(GATHER_SECONDS, self._tell_digests)

    def _tell_digests(self) -> None:
        self._digest_timer = None
        self.say("digest", self._own.digests)

    def _tell_state(self) -> None:
        bucket = next(iter(self._owed))
        del self._owed[bucket]
        self._state_timer = self._call_later(BUCKET_SECONDS, self._tell_state) if self._owed else None
        people = list(self._own.people(bucket))
        starts = range(0, max(len(people), 1), PEOPLE_A_PART)
        for part, start in enumerate(starts):
            topics: dict[str, list[Any]] = {}
            for topic, present in people[start : start + PEOPLE_A_PART]:
                topics.setdefault(topic, []).append(_pack(present))
            self.say("state", bucket, part, len(starts), list(topics.items()))


def _bucket_of(topic: str) -> int:
    return crc32(topic.encode()) % BUCKETS


def _mark(topic: str, present: Present) -> int:
    text = f"{topic} {present.user.id} {present.since}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _pack(present: Present) -> list[Any]:
    return [present.user.id, present.user.name, present.user.initials, present.since]


def _unpack(packed: list[Any]) -> Present:
    id, name, initials, since = packed
    return Present(User(str(id), str(name), str(initials)), int(since))
