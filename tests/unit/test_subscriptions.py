"""Subscriptions and the watch over rights, on a real hub and feed: an outlet, a gate and a database that tests hold."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typing_extensions import override

from collab_server.cluster.alone import Alone
from collab_server.config import Limits
from collab_server.domain.commenting import CommentingRules
from collab_server.domain.contents import ContentInfo
from collab_server.domain.events import Event, event_of
from collab_server.domain.jsontext import NOTHING, JsonText, dumps
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.domain.permissions import Standing
from collab_server.domain.presence import SetTyping
from collab_server.domain.subscriptions import Subscribe, Unsubscribe, WatchTopics
from collab_server.domain.topics import Topic, content_topic, inbox_topic
from collab_server.errors import Forbidden, NotFound, Paused, TooLarge, Unavailable
from collab_server.ports import ContentAnswer, Gate
from collab_server.realtime.engine.sending import Sending
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.weights import BYTES_OUT, weight_of_answer
from collab_server.services.commenting import Commenting
from collab_server.services.epoch import Epoch
from collab_server.services.hub import Hub
from collab_server.services.live import rights_watch
from collab_server.services.live import watches as watches_module
from collab_server.services.live.audience import Audience
from collab_server.services.live.feed import Feed
from collab_server.services.live.moves import Moves
from collab_server.services.live.presence import Presence
from collab_server.services.live.rights_watch import RightsWatch
from collab_server.services.live.subscriptions import Subscriptions
from collab_server.services.live.watches import Watches
from collab_server.storage import event_log, topics
from collab_server.storage.topics import Snapshot, Summary
from collab_server.telemetry.metrics import Metrics
from tests.harness.waiting import until

AT = datetime(2026, 11, 23, tzinfo=UTC)
ANN, BOB = "A" * 32, "B" * 32
PROJECT = "F" * 32


def content(number: int) -> str:
    return content_topic(PROJECT, f"{number:032X}").name


SALES, COSTS, STOCK = map(content, range(3))


class Listening:
    """A listener, and what it has got: answers as (topic, seq), signals as (name, topic), events as numbers."""

    def __init__(self, user_id: str, connection: str) -> None:
        session = AuthoritySession(user_id, None, is_delegated=True)
        self.who = Identity(User(user_id, user_id, "A"), session, False, AT)
        self.connection = connection
        self.topics: dict[str, Standing] = {}
        self.is_closed = False
        self.got: list[Any] = []

    def acknowledge(self, answer: JsonText) -> None:
        told = json.loads(answer)
        self.got.append((told["topic"], told["seq"]) if told else "done")

    def renew_token_soon(self) -> None: ...

    def look_at_sign_in(self) -> None: ...


class Doorman(Gate):
    """Opens what is in `open`, as (user, topic); `may_answer` holds the answers back."""

    def __init__(self) -> None:
        self.open: set[tuple[str, str]] = set()
        self.ages: dict[tuple[str, str], float] = {}
        self.asked: list[tuple[str, str]] = []
        self.is_away = False
        self.callbacks: list[Callable[[ContentAnswer], None]] = []

    @property
    @override
    def is_silent(self) -> bool:
        return self.is_away

    @override
    async def may_open(
        self, who: Identity, project_id: str, object_id: str, *, at_most_seconds_old: float = math.inf
    ) -> ContentInfo | None:
        about = (who.user.id, content_topic(project_id, object_id).name)
        self.asked.append(about)
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable
        if about in self.open:
            return ContentInfo(object_id, "Sales", 55)
        self.refuse(*about)
        return None

    def refuse(self, user_id: str, topic: str) -> None:
        _, project_id, object_id = topic.split(":")
        for callback in self.callbacks:
            callback(ContentAnswer(user_id, project_id, object_id, None))

    @override
    def content_age_seconds(self, user_id: str, project_id: str, object_id: str) -> float | None:
        return self.ages.get((user_id, content_topic(project_id, object_id).name))

    @override
    def on_refused(self, callback: Callable[[ContentAnswer], None]) -> None:
        self.callbacks.append(callback)


class Live:
    """The live parts of a node, and what its listeners got. `heads` is what the database has: topic → last seq."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heads: dict[str, int] = {}
        self.reads: list[str] = []
        self.is_away = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        monkeypatch.setattr(topics, "snapshots", self._snapshots)
        self.listeners: dict[str, Listening] = {}
        self.metrics = Metrics()
        self.hub, self.gate = Hub(self, self.metrics), Doorman()
        self.presence = presence = Presence("n1", self.hub, Alone())
        self.moves = moves = Moves()
        audience = Audience(self.hub, presence, moves)
        self.feed = Feed(audience, Sending({}, logging.getLogger()).roster)
        commenting = Commenting(CommentingRules(), self.gate)
        backends = SimpleNamespace(
            presence=presence,
            epoch=Epoch("e1"),
            limits=Limits(topicsPerConnection=2),
            gate=self.gate,
            database=None,
            commenting=commenting,
            authority_name="Library",
        )
        self.limiter = limiter = RateLimiter(per_second=1000, burst=1000)
        watches = Watches(cast("Any", backends), self.hub, audience, moves, limiter)
        self.subscriptions = Subscriptions(
            cast("Any", None), cast("Any", backends), self.hub, self.feed, audience, limiter, watches
        )
        self.watches = watches
        self.watch = RightsWatch(
            self.hub,
            self.gate,
            self.subscriptions,
            commenting,
            audience,
            chance=lambda least, most: most,
        )

    async def _snapshots(self, _database: Any, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
        self.reads += [name for name, _ in asked]
        found = [(name, self.heads.get(name, 0)) for name, _ in asked]
        await self.may_read.wait()
        if self.is_away:
            raise Paused
        return [Snapshot(name, 1, seq, 0, False, 0, 0, is_member=False) for name, seq in found]

    def tell(self, connections: Iterable[str], name: str, data: JsonText) -> None:
        """The outlet. Who is present is not told of here."""
        for connection in connections:
            told = json.loads(data)
            if name == "topic.closed":
                self.listeners[connection].got.append((told["reason"], told["topic"]))
            elif name.startswith("comment"):
                self.listeners[connection].got.append(told["seq"])

    def close_all(self, reason: str) -> None: ...

    def enter(self, user_id: str = ANN, connection: str = "a") -> Listening:
        listener = self.listeners[connection] = Listening(user_id, connection)
        self.hub.enter(listener)
        self.gate.open |= {(user_id, name) for name in (SALES, COSTS, STOCK)}
        return listener

    def publish(self, topic: str) -> None:
        seq = self.heads[topic] = self.heads.get(topic, 0) + 1
        self.feed.offer([event_of(topic, seq, "comment.added", AT, dumps({"id": "X"}), dumps({}))])

    async def subscribe(self, listener: Listening, topic: str = SALES, *, after: int | None = None) -> None:
        await self.subscriptions.subscribe(listener, Subscribe(topic, after=after), listener.acknowledge)

    def present(self, topic: str = SALES) -> list[str]:
        """Who is shown there, by their ids; to somebody who is not."""
        return [user["id"] for user in json.loads(self.presence.present(topic, "nobody"))]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    return Live(monkeypatch)


# --- subscribing


async def test_what_comes_while_the_head_is_read_follows_the_answer_each_once(live: Live) -> None:
    ann = live.enter()
    live.publish(SALES)
    live.may_read.clear()
    subscribing = asyncio.create_task(live.subscribe(ann))
    await until(lambda: live.reads)
    live.publish(SALES)
    live.publish(SALES)
    live.may_read.set()
    await subscribing
    live.publish(SALES)
    assert ann.got == [(SALES, 1), 2, 3, 4]


async def test_of_what_somebody_may_not_open_nothing_is_read(live: Live) -> None:
    ann = live.enter()
    live.gate.open.clear()
    with pytest.raises(NotFound):
        await live.subscribe(ann)
    live.publish(SALES)
    assert (ann.got, ann.topics, live.reads, live.feed.topics) == ([], {}, [], [])


async def test_a_subscription_that_is_asked_for_again_goes_on_when_that_fails(live: Live) -> None:
    ann = live.enter()
    await live.subscribe(ann)
    live.may_read.clear()
    live.is_away = True
    again = asyncio.create_task(live.subscribe(ann))
    await until(lambda: len(live.reads) == 2)
    live.publish(SALES)
    live.may_read.set()
    with pytest.raises(Paused):
        await again
    live.publish(SALES)
    assert ann.got == [(SALES, 0), 1, 2]


async def test_one_that_fails_at_first_leaves_nothing(live: Live) -> None:
    ann = live.enter()
    live.is_away = True
    with pytest.raises(Paused):
        await live.subscribe(ann)
    assert (ann.topics, live.feed.topics) == ({}, [])


async def test_no_more_topics_than_the_limit_also_of_those_that_are_asked_for_at_once(live: Live) -> None:
    ann = live.enter()
    results = await asyncio.gather(
        *(live.subscribe(ann, topic) for topic in (SALES, COSTS, STOCK)), return_exceptions=True
    )
    assert [type(result) for result in results].count(TooLarge) == 1
    assert len(live.feed.topics) == len(ann.topics) == 2


async def test_nothing_follows_the_answer_to_unsubscribing(live: Live) -> None:
    ann, bob = live.enter(), live.enter(BOB, "b")
    await live.subscribe(ann)
    await live.subscribe(bob)
    await live.subscriptions.unsubscribe(ann, Unsubscribe(SALES), ann.acknowledge)
    live.publish(SALES)
    assert (ann.got, bob.got) == ([(SALES, 0), "done"], [(SALES, 0), 1])
    with pytest.raises(NotFound):
        await live.subscriptions.unsubscribe(ann, Unsubscribe(SALES), ann.acknowledge)


async def test_nobody_types_where_they_are_not_subscribed(live: Live) -> None:
    ann = live.enter()
    with pytest.raises(Forbidden):
        await live.subscriptions.set_typing(ann, SetTyping(SALES, True), ann.acknowledge)
    await live.subscribe(ann)
    await live.subscriptions.set_typing(ann, SetTyping(SALES, True), ann.acknowledge)
    assert ann.got[-1] == "done"


async def test_whoever_leaves_leaves_nothing_behind(live: Live) -> None:
    ann, bob = live.enter(), live.enter(BOB, "b")
    for listener in (ann, bob):
        seq = await live.subscriptions.hold_inbox(listener)
        assert seq is not None
        live.subscriptions.release_inbox(listener, seq)
        await live.subscribe(listener)
    assert len(live.feed.topics) == 3, "a dashboard and two inboxes"
    live.subscriptions.leave_all(ann, is_for_good=True)
    assert (len(live.feed.topics), live.present()) == (2, [BOB])
    live.subscriptions.leave_all(bob, is_for_good=True)
    assert (live.feed.topics, live.present()) == ([], [])


async def test_whoever_comes_back_soon_follows_their_inbox_at_once(live: Live) -> None:
    inbox = inbox_topic(ANN).name
    for is_for_good, is_known in ((False, True), (True, False)):
        ann = live.enter()
        seq = await live.subscriptions.hold_inbox(ann)
        assert seq is not None
        live.subscriptions.release_inbox(ann, seq)
        live.subscriptions.leave_all(ann, is_for_good=is_for_good)
        live.publish(inbox)
        found = live.subscriptions.follow_inbox(live.enter(ANN, "back"))
        assert found == (live.heads[inbox] if is_known else None)
        live.subscriptions.leave_all(live.listeners["back"], is_for_good=is_for_good)
    assert live.reads == [inbox], "once, for it was known when she came again"


async def test_what_somebody_has_missed_costs_what_it_weighs(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: Any, **__: Any) -> list[Event]:
        return [event_of(SALES, 2, "comment.added", AT, NOTHING, dumps({"text": "x" * 3 * BYTES_OUT}))]

    monkeypatch.setattr(event_log, "read", read)
    live.heads[SALES] = 2
    ann, bob = live.enter(), live.enter(BOB, "b")
    await live.subscribe(ann, after=1)
    await live.subscribe(bob, after=2)
    assert live.limiter.report() == dumps({ANN: 3}).encode()


# --- rights


async def test_a_refusal_ends_the_subscription_at_once_and_nobody_elses(live: Live) -> None:
    ann, tab, bob = live.enter(), live.enter(ANN, "a2"), live.enter(BOB, "b")
    for listener in (ann, tab, bob):
        await live.subscribe(listener)
    await live.subscribe(ann, COSTS)
    live.gate.refuse(ANN, SALES)
    live.publish(SALES)
    live.publish(COSTS)
    assert ann.got == [(SALES, 0), (COSTS, 0), ("rights lost", SALES), 1]
    assert tab.got == [(SALES, 0), ("rights lost", SALES)]
    assert bob.got == [(SALES, 0), 1]
    assert live.present() == [BOB], "whoever is put out is seen no more, not even for a while"


async def test_a_round_asks_once_for_each_person_and_topic_about_what_was_not_said_lately(live: Live) -> None:
    ann, tab, bob = live.enter(), live.enter(ANN, "a2"), live.enter(BOB, "b")
    for listener in (ann, tab, bob):
        await live.subscribe(listener)
    live.gate.ages = {(ANN, SALES): rights_watch.RENEWED_AFTER_SECONDS[1] + 1, (BOB, SALES): 1.0}
    live.gate.asked.clear()
    live.gate.open.discard((ANN, SALES))
    await live.watch.renew()
    assert live.gate.asked == [(ANN, SALES)]
    assert ann.got[-1] == tab.got[-1] == ("rights lost", SALES)
    assert bob.got == [(SALES, 0)]


async def test_while_the_authority_is_silent_only_what_it_had_said_holds(live: Live) -> None:
    ann, bob = live.enter(), live.enter(BOB, "b")
    await live.subscribe(ann)
    await live.subscribe(bob)
    live.gate.is_away = True
    live.gate.ages = {(ANN, SALES): 300.0}
    await live.watch.renew()
    live.publish(SALES)
    assert ann.got == [(SALES, 0), 1]
    assert bob.got == [(SALES, 0), ("rights lost", SALES)]


async def test_whoever_is_put_out_while_they_subscribe_is_refused(live: Live) -> None:
    ann = live.enter()
    live.may_read.clear()
    subscribing = asyncio.create_task(live.subscribe(ann))
    await until(lambda: live.reads)
    live.gate.refuse(ANN, SALES)
    live.may_read.set()
    with pytest.raises(NotFound):
        await subscribing
    live.publish(SALES)
    assert ann.got == [("rights lost", SALES)]
    assert ann.topics == {}


# --- watching


async def test_a_watch_that_is_refused_leaves_the_one_before_as_it_was(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shown_summaries(_backends: Any, _who: Identity, asked: Sequence[Topic]) -> list[Summary]:
        live.publish(SALES)  # meanwhile
        live.moves.note(SALES)
        if live.is_away:
            raise Unavailable
        return [Summary(topic.name, 1, 1, 0, 0, AT) for topic in asked]

    monkeypatch.setattr(watches_module, "shown_summaries", shown_summaries)
    ann = live.enter()
    answers: list[JsonText] = []
    await live.watches.watch(cast("Any", ann), WatchTopics([SALES]), answers.append)
    live.is_away = True
    with pytest.raises(Unavailable):
        await live.watches.watch(cast("Any", ann), WatchTopics([SALES, COSTS]), answers.append)
    assert len(answers) == 1
    assert live.moves.of(cast("Any", ann)) == [SALES]
    to_be_told = live.moves.listeners(SALES, live.moves.take(SALES))
    assert to_be_told == {ANN: [ann]}, "nothing is held back any more"


async def test_what_is_watched_is_charged_for_told_at_its_pace_and_again_where_it_could_not_be(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shown_summaries(_backends: Any, _who: Identity, asked: Sequence[Topic]) -> list[Summary]:
        return [Summary(topic.name, 1, 1, 0, 0, AT) for topic in asked]

    charged: list[tuple[str, int]] = []
    monkeypatch.setattr(live.limiter, "charge", lambda who, units: charged.append((who, units)))
    monkeypatch.setattr(watches_module, "shown_summaries", shown_summaries)
    ann, inbox, answers = live.enter(), f"inbox:{ANN}", list[JsonText]()
    await live.watches.watch(cast("Any", ann), WatchTopics([inbox]), answers.append)
    assert charged == [(ANN, weight_of_answer(len(answers[0])))]

    async def reads_at(seconds: float) -> int:
        live.moves.note_of(ANN, inbox)
        before = len(live.reads)
        await live.watches._tell_due(seconds)
        return len(live.reads) - before

    assert [await reads_at(seconds) for seconds in (100.0, 100.5, 101.5, 102.5, 103.0)] == [1, 0, 0, 1, 0]
    live.is_away = True
    with pytest.raises(Paused):
        await reads_at(105.0)
    assert live.moves.take(inbox) == {ANN}


async def test_of_whoever_leaves_while_their_watch_is_read_nothing_is_kept(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shown_summaries(_backends: Any, who: Identity, asked: Sequence[Topic]) -> list[Summary]:
        [listener] = live.hub.of(who.user.id)
        cast("Any", listener).is_closed = True
        live.hub.leave(listener)
        live.subscriptions.leave_all(listener, is_for_good=False)
        return [Summary(topic.name, 1, 1, 0, 0, AT) for topic in asked]

    monkeypatch.setattr(watches_module, "shown_summaries", shown_summaries)
    live.enter()
    ann = live.listeners.pop("a")
    answers: list[JsonText] = []
    await live.watches.watch(cast("Any", ann), WatchTopics([SALES]), answers.append)
    assert answers == []
    kept = weakref.ref(ann)
    del ann
    gc.collect()
    assert kept() is None, "or a node would know everybody for ever who left in such a moment"


# --- figures


async def test_the_metrics_tell_how_many_people_and_subscriptions_there_are(live: Live) -> None:
    ann, tab, bob = live.enter(), live.enter(ANN, "a2"), live.enter(BOB, "b")
    for listener in (ann, tab, bob):
        await live.subscribe(listener)
    await live.subscribe(bob, COSTS)
    live.hub.leave(tab)
    figures = live.metrics.render().decode().splitlines()
    assert {"collab_users_current 2.0", "collab_subscriptions_current 3.0"} <= set(figures)
