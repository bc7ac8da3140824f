"""The feed: every topic's events, in order, each once, to the clients of this node.

What it is. For each topic that a client of this node follows, a `_Log` remembers up to which `seq` the node has
delivered (`applied`). Events come in from the publisher, of this node and of others, and from Postgres, in any order
and any number of times; they leave in order of `seq`, without gaps or repetitions.

What it promises.
- The next event is delivered at once. One that comes too early waits 30 ms for those before it, then Postgres is
  read. One that was delivered before is dropped.
- Every 1.5 s at most the heads of all followed topics are compared with Postgres and all gaps are read: two queries,
  whatever the number of topics. So hints may be lost: by Redis, by a node that dies between COMMIT and publish.
- What cannot be - a head behind what was delivered, two events under one `seq` - is told to the `witness`: the
  database may have gone back in time (`epoch_watch`).
- Between subscribing and its acknowledgement nothing of the topic reaches the client; after it comes every event
  beyond the acknowledged `seq`. A client that follows the topic already, or asks for it several times at once, misses
  nothing by that: what is held and acknowledged reaches it before the acknowledgement (`bring_up`).
- A topic whose last client may come back (`leave`) goes on for `KEPT_SECONDS`, for nobody: whoever follows it then need
  not ask Postgres.

What runs concurrently: nothing; all of it is synchronous on one event loop. What is missing is read by `repair`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from typing_extensions import override

from collab_server.domain.events import Event
from collab_server.services.hub import Roster
from collab_server.services.live.witness import Witness
from collab_server.storage.event_log import Claim

GAP_WAIT_SECONDS = 0.03
WAITING_EVENTS = 2000
"""How many events that came too early a topic keeps; Postgres has the others."""
KEPT_SECONDS = 15.0
"""Official clients that have lost their connection try three times in this time."""
PUTTING_OUT = frozenset({"member.removed", "discussion.deleted"})

log = logging.getLogger(__name__)


class Outlet(Protocol):
    """Where delivered events go: the audience."""

    def deliver(self, clients: Collection[str], event: Event) -> None:
        """Send the event to these clients. Never waits, never raises."""

    def put_out(self, clients: Sequence[str], event: Event) -> Iterable[str]:
        """An event that ends somebody's part in the topic was delivered to these. Returns whom nothing after it may
        reach."""


class _Held:
    """A client whose events must not reach it yet: so many times it is `asking` for the topic now. `known` is up to
    where it has got its events, or was told of them, since it asked before; None: it did not.

    `events` has everything after `since`; None while the node does not know the topic's head.
    """

    __slots__ = ("asking", "events", "known", "since")

    def __init__(self, since: int | None, known: int | None) -> None:
        self.asking = 0
        self.events: list[Event] = []
        self.known = known
        self.since = since


class _Bell(list[Event]):
    """Keeps no event, but tells that there is one."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    @override
    def append(self, event: Event) -> None:
        self._ring()


class _Log:
    """What this node knows of a topic. A client is in `live` or in `held`, never in both."""

    __slots__ = ("applied", "gap_timer", "head", "held", "hinted", "live", "name", "waiting")

    def __init__(self, name: str, live: Roster) -> None:
        self.name = name
        self.applied: int | None = None  # None until the first subscriber has read the head
        self.head = ""  # the identity of the event `applied`, if it is known
        self.waiting: dict[int, Event] = {}
        self.hinted = 0  # the last of which it is known, while `applied` is not, that it exists
        self.live = live
        self.held: dict[str, _Held] = {}
        self.gap_timer: asyncio.TimerHandle | None = None


class Missing:
    """What has to be read in Postgres: topics with a gap, or all of them, for nobody knows."""

    def __init__(self) -> None:
        self.noted = asyncio.Event()
        self._topics: set[str] = set()
        self._is_all = False

    def note(self, topic: str) -> None:
        """An event of this topic is missing."""
        self._topics.add(topic)
        self.noted.set()

    def note_all(self) -> None:
        """Something may be missing anywhere."""
        self._is_all = True
        self.noted.set()

    def take(self) -> tuple[set[str], bool]:
        """The topics, and whether it is all of them, to be read now."""
        taken = self._topics, self._is_all
        self._topics, self._is_all = set(), False
        self.noted.clear()
        return taken


class Logs:
    """Which topics are followed on this node, by whom, and how far they were delivered."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    def follows(self, client: str, topic: str) -> bool:
        """Whether the client follows the topic, held or live."""
        followed = self._logs.get(topic)
        return followed is not None and (client in followed.live or client in followed.held)

    def is_followed(self, topic: str) -> bool:
        """Whether any client of this node follows the topic."""
        return topic in self._logs

    def position(self, topic: str) -> int | None:
        """Up to which `seq` this node has delivered a followed topic; None while it does not know."""
        followed = self._logs.get(topic)
        return followed.applied if followed is not None else None

    def lacks(self, client: str, topic: str, known: int) -> bool:
        """Whether there are events up to `known` that have not come here yet, and that a client should have got by what
        it has asked for before."""
        followed = self._logs.get(topic)
        held = followed.held.get(client) if followed else None
        if followed is None or followed.applied is None or held is None or held.known is None:
            return False
        return max(followed.applied, held.known) < known

    def heads(self) -> list[Claim]:
        """Up to where each followed topic was delivered, as far as it is known which event that is."""
        return [
            Claim(name, followed.applied, followed.head)
            for name, followed in self._logs.items()
            if followed.applied and followed.head
        ]

    def clients_of(self, topic: str) -> Iterable[str]:
        """The clients that receive the topic's events now."""
        followed = self._logs.get(topic)
        return followed.live if followed is not None else ()

    def positions(self) -> dict[str, int]:
        """Up to which `seq` each followed topic was delivered, as far as that is known."""
        return {name: entry.applied for name, entry in self._logs.items() if entry.applied is not None}

    @property
    def topics(self) -> Sequence[str]:
        """The names of the topics that clients of this node follow."""
        return list(self._logs)


class Feed(Logs):
    """Delivers to `outlet`, a topic's events to one roster. What is missing it notes in `missing`, for `Repair`."""

    def __init__(self, outlet: Outlet, new_roster: Callable[[], Roster]) -> None:
        super().__init__()
        self._outlet = outlet
        self._new_roster = new_roster
        self.missing = Missing()
        self.witness = Witness()
        # Topics without a client, and since when, in order. To find the first of a plain dict takes the longer, the
        # more were taken out before it.
        self._left: OrderedDict[str, float] = OrderedDict()
        self.delivered = 0

    # --- events in

    def offer(self, events: Iterable[Event]) -> None:
        """Take events from wherever they come. Never waits, never raises."""
        for event in events:
            identity = self.witness.note(event)
            followed = self._logs.get(event.topic)
            if followed is not None:
                self._take(followed, event, identity)

    def hint(self, topic: str, seq: int) -> None:
        """Take notice that an event exists, without the event: it is read from Postgres."""
        followed = self._logs.get(topic)
        if followed is None:
            return
        if followed.applied is None:
            followed.hinted = max(followed.hinted, seq)
        elif seq > followed.applied:
            self.missing.note(followed.name)

    def suspect(self) -> None:
        """Something may have been missed: compare every topic with Postgres now."""
        self.missing.note_all()

    def _take(self, followed: _Log, event: Event, identity: str) -> None:
        applied = followed.applied
        if applied is not None and event.seq <= applied:
            return
        if applied is not None and event.seq == applied + 1:
            self._apply(followed, event, identity)
            seq = event.seq + 1
            while (early := followed.waiting.pop(seq, None)) is not None:
                self._apply(followed, early, early.identity)
                seq += 1
        else:
            if len(followed.waiting) < WAITING_EVENTS:
                followed.waiting[event.seq] = event
            if applied is not None and followed.gap_timer is None:
                loop = asyncio.get_running_loop()
                followed.gap_timer = loop.call_later(GAP_WAIT_SECONDS, self._check_gap, followed)

    def _check_gap(self, followed: _Log) -> None:
        followed.gap_timer = None
        if followed.waiting:
            self.missing.note(followed.name)

    def _apply(self, followed: _Log, event: Event, identity: str) -> None:
        followed.applied = event.seq
        followed.head = identity
        if followed.live:
            self._deliver(followed.live, event)
        if followed.held:
            for held in followed.held.values():
                held.events.append(event)
            self._release_ready(followed)

    def _deliver(self, clients: Collection[str], event: Event) -> None:
        self.delivered += len(clients)
        self._outlet.deliver(clients, event)
        if event.type in PUTTING_OUT:
            # Just those whom it reached: who subscribed after it, while this node was late, is a member again.
            for client in self._outlet.put_out(tuple(clients), event):
                self.leave(client, event.topic)

    # --- clients

    def hold(self, client: str, topic: str) -> None:
        """Follow a topic for a client, holding its events back until `release` or `give_back`.

        A client that follows it already gets nothing more of it until then, either. Held several times it waits for
        the last.
        """
        followed = self._logs.get(topic)
        if followed is None:
            followed = self._logs[topic] = _Log(topic, self._new_roster())
        held = followed.held.get(client)
        if held is None:
            known = followed.applied if client in followed.live else None
            held = followed.held[client] = _Held(followed.applied, known)
            followed.live.discard(client)
        held.asking += 1

    def follow(self, client: str, topic: str) -> int | None:
        """Follow a topic for a client that has not followed it, from where this node has delivered it, which is
        returned; None, and nothing is done, where that is not known.

        As `hold` and `release` in one: tell the client up to where before anything else can happen.
        """
        followed = self._logs.get(topic)
        if followed is None or followed.applied is None:
            return None
        followed.live.add(client)
        return followed.applied

    def watch(self, client: str, topic: str, ring: Callable[[], None]) -> None:
        """Call `ring` for every event of a topic from now on, until the client leaves; it must not wait nor raise.

        What has passed by before is known once somebody has learned the head.
        """
        self.hold(client, topic)
        self._logs[topic].held[client].events = _Bell(ring)

    def learn(self, client: str, topic: str, seq: int, head: str = "") -> bool:
        """The head of a topic, as somebody has just read it in Postgres for a client that is held.

        `head` is the identity of that event. False: it is behind what others have read meanwhile, and the events
        between the two will not come; read it again.
        """
        followed = self._logs.get(topic)
        if followed is None:
            return True
        if followed.applied is None:
            followed.applied = seq
            followed.head = head
            for other in followed.held.values():
                other.since = seq
            early = sorted(followed.waiting.values(), key=lambda event: event.seq)
            followed.waiting.clear()
            for event in early:
                self._take(followed, event, event.identity)
            self._release_ready(followed)
        if max(seq, followed.hinted) > followed.applied:
            self.missing.note(followed.name)
        held = followed.held.get(client)
        is_behind = held is not None and held.since is not None and seq < held.since
        if is_behind:
            self.witness.doubt()
        return not is_behind

    def bring_up(self, client: str, topic: str, known: int) -> None:
        """The client is about to be told everything up to `known`: whatever it has asked for before gets the events up
        to there as it gets all others, before they are passed over by what comes after the acknowledgement."""
        followed = self._logs.get(topic)
        held = followed.held.get(client) if followed else None
        if followed is None or held is None or held.known is None:
            return
        for event in held.events:
            if held.known < event.seq <= known and followed.held.get(client) is held:
                held.known = event.seq
                self._deliver((client,), event)

    def release(self, client: str, topic: str, known: int) -> None:
        """Let the held events go: the client has been told everything up to `known`.

        Call `bring_up` right before the acknowledgement is queued, and this right after.
        """
        followed = self._logs.get(topic)
        held = followed.held.get(client) if followed else None
        if followed is not None and held is not None:
            held.asking -= 1
            held.known = known if held.known is None else min(held.known, known)
            self._let_go(followed, client, held)

    def give_back(self, client: str, topic: str) -> bool:
        """A subscription has failed: one of before, or another one that is under way, goes on as if it had not been.
        False where there is none."""
        followed = self._logs.get(topic)
        held = followed.held.get(client) if followed else None
        if followed is None or held is None:
            return False
        held.asking -= 1
        if held.asking == 0 and held.known is None:
            self.leave(client, topic)
            return False
        self._let_go(followed, client, held)
        return True

    def _release_ready(self, followed: _Log) -> None:
        for client, held in tuple(followed.held.items()):
            self._let_go(followed, client, held)

    def _let_go(self, followed: _Log, client: str, held: _Held) -> None:
        """Let a client's events go, if they may by now; thousands may be held who have come together, so that each
        looks at itself alone."""
        known, applied = held.known, followed.applied
        # A client may know more than this node yet: then what is on its way here must not reach it twice.
        if held.asking > 0 or known is None or applied is None or known > applied:
            return
        if followed.held.get(client) is not held:
            return
        del followed.held[client]
        followed.live.add(client)
        for event in held.events:
            if event.seq > known and client in followed.live:
                self._deliver((client,), event)

    def leave(self, client: str, topic: str, *, may_come_back: bool = False) -> bool:
        """End a client's following; nothing of the topic reaches it any more. False when there was none.

        Where it `may_come_back`, or another one of its user's, the topic goes on for a while.
        """
        followed = self._logs.get(topic)
        if followed is None or not self.follows(client, topic):
            return False
        followed.live.discard(client)
        followed.held.pop(client, None)
        if not followed.live and not followed.held:
            if may_come_back and followed.applied is not None:
                self._left.pop(topic, None)
                self._left[topic] = asyncio.get_running_loop().time()
            else:
                self._forget(followed)
        return True

    def _forget(self, followed: _Log) -> None:
        if followed.gap_timer is not None:
            followed.gap_timer.cancel()
        del self._logs[followed.name]

    def forget_left(self) -> None:
        """Forget topics to whom nobody has come back. To be called every few seconds."""
        too_long = asyncio.get_running_loop().time() - KEPT_SECONDS
        while self._left:
            topic, since = next(iter(self._left.items()))
            if since > too_long:
                return
            del self._left[topic]
            followed = self._logs.get(topic)
            if followed is not None and not followed.live and not followed.held:
                self._forget(followed)

    def reset(self) -> None:
        """Forget how far every topic was delivered: the epoch is new. The clients of before must be sent away."""
        for followed in self._logs.values():
            followed.applied = None
            followed.head = ""
            followed.hinted = 0
            followed.waiting.clear()
