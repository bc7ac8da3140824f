"""The feed: whatever order events come in, each client gets each once and in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import pytest_asyncio

from collab_server.domain.events import Event, event_of
from collab_server.domain.jsontext import NOTHING
from collab_server.errors import Paused
from collab_server.realtime.engine.sending import Sending
from collab_server.services.live import feed as feed_module
from collab_server.services.live import repair as repair_module
from collab_server.services.live.feed import Feed
from collab_server.services.live.repair import Repair
from collab_server.storage import event_log
from collab_server.telemetry.metrics import Metrics
from tests.harness.waiting import until

TOPIC = "content:1:1"
AT = datetime(2026, 11, 23, tzinfo=UTC)


def event(seq: int, topic: str = TOPIC) -> Event:
    return event_of(topic, seq, "comment.added", AT, NOTHING, NOTHING)


def events(*seqs: int) -> list[Event]:
    return [event(seq) for seq in seqs]


class Mailbox:
    """Outlet: what each client got."""

    def __init__(self) -> None:
        self.got: dict[str, list[int]] = {}

    def deliver(self, clients: Iterable[str], event: Event) -> None:
        for client in clients:
            self.got.setdefault(client, []).append(event.seq)

    def put_out(self, clients: Sequence[str], event: Event) -> Sequence[str]:
        """Nobody is put out here."""
        return ()


class FakeDatabase:
    """Heads and gaps from memory. `stored` is topic → last seq; `is_away` makes it refuse."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {}
        self.is_away = False
        self.reads: list[str] = []

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        if self.is_away:
            raise Paused
        if sql is event_log._HEADS:
            self.reads.append("heads")
            return [
                {"name": name, "last_seq": self.stored[name]} for name in arguments[0] if name in self.stored
            ]
        assert sql is event_log._GAPS
        self.reads.append("gaps")
        topics, afters, limit = arguments
        return [
            {"name": name, "seq": seq, "type": "comment.added", "at": AT, "actor": "{}", "data": "{}"}
            for name, after in zip(topics, afters, strict=True)
            for seq in range(after + 1, self.stored.get(name, 0) + 1)[:limit]
        ]


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest_asyncio.fixture
async def feed(
    mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Feed]:
    monkeypatch.setattr(repair_module, "REPAIR_SECONDS", 60.0)
    feed = Feed(mailbox, Sending({}, logging.getLogger()).roster)
    async with repaired(feed, database):
        yield feed


@contextlib.asynccontextmanager
async def repaired(feed: Feed, database: FakeDatabase) -> AsyncIterator[None]:
    """What the feed misses is read in the database meanwhile."""
    task = asyncio.create_task(Repair(cast("Any", database), feed, Metrics()).run())
    yield
    task.cancel()


def subscribe(feed: Feed, client: str, head: int, topic: str = TOPIC) -> None:
    """As a door does it, without anything in between."""
    feed.hold(client, topic)
    feed.learn(client, topic, head)
    feed.release(client, topic, head)


# --- order


async def test_the_next_event_is_delivered_at_once(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0)
    subscribe(feed, "b", 0)
    feed.offer(events(1, 2))
    assert mailbox.got == {"a": [1, 2], "b": [1, 2]}
    assert feed.delivered == 4


async def test_what_was_delivered_is_dropped(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 3)
    feed.offer(events(1, 2, 3, 4, 4, 3, 5, 5))
    assert mailbox.got == {"a": [4, 5]}


async def test_whoever_follows_from_here_on_gets_what_is_beyond_what_they_are_told(
    feed: Feed, mailbox: Mailbox
) -> None:
    assert feed.follow("first", TOPIC) is None
    feed.hold("first", TOPIC)
    assert feed.follow("second", TOPIC) is None, "nobody knows the head yet"
    assert not feed.follows("second", TOPIC)
    feed.learn("first", TOPIC, 4)
    feed.release("first", TOPIC, 4)
    feed.offer(events(6))
    assert feed.follow("second", TOPIC) == 4
    feed.offer(events(5))
    assert mailbox.got == {"first": [5, 6], "second": [5, 6]}


async def test_an_early_event_waits_for_those_before_it(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(3, 2))
    assert mailbox.got == {}
    feed.offer(events(1))
    assert mailbox.got == {"a": [1, 2, 3]}
    assert database.reads == []


@pytest.mark.parametrize("seed", range(20))
async def test_any_order_any_number_of_times(feed: Feed, mailbox: Mailbox, seed: int) -> None:
    chance = random.Random(seed)
    seqs = [*range(1, 31), *chance.choices(range(1, 31), k=30)]
    chance.shuffle(seqs)
    subscribe(feed, "a", 0)
    for seq in seqs:
        feed.offer(events(seq))
    assert mailbox.got == {"a": list(range(1, 31))}


async def test_a_gap_that_stays_is_read(feed: Feed, mailbox: Mailbox, database: FakeDatabase) -> None:
    subscribe(feed, "a", 0)
    database.stored[TOPIC] = 5
    feed.offer(events(5, 1, 4))
    assert mailbox.got == {"a": [1]}
    await until(lambda: mailbox.got == {"a": [1, 2, 3, 4, 5]})
    assert database.reads == ["gaps"]


async def test_a_gap_is_noted_once_whatever_else_comes_too_early(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(feed.missing, "note", noted.append)
    subscribe(feed, "a", 0)
    feed.offer(events(3, 4))
    feed.offer(events(6))
    await asyncio.sleep(2 * feed_module.GAP_WAIT_SECONDS)
    assert noted == [TOPIC]


async def test_a_long_gap_is_read_in_stretches(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "EVENTS_A_GAP", 10)
    subscribe(feed, "a", 0)
    database.stored[TOPIC] = 35
    feed.hint(TOPIC, 35)
    await until(lambda: mailbox.got == {"a": list(range(1, 36))})
    assert database.reads == ["gaps"] * 4


async def test_no_more_wait_than_are_kept(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WAITING_EVENTS", 5)
    subscribe(feed, "a", 0)
    feed.offer(events(*range(2, 40)))
    database.stored[TOPIC] = 40
    await until(lambda: mailbox.got == {"a": list(range(1, 41))})


async def test_a_hint_without_its_event_is_read(feed: Feed, mailbox: Mailbox, database: FakeDatabase) -> None:
    subscribe(feed, "a", 0)
    database.stored[TOPIC] = 2
    feed.hint(TOPIC, 2)
    await until(lambda: mailbox.got == {"a": [1, 2]})
    feed.hint(TOPIC, 2)
    feed.hint("content:9:9", 7)
    await asyncio.sleep(0)
    assert database.reads == ["gaps"]


async def test_a_hint_that_comes_before_the_first_head_is_read_as_soon_as_that_is_known(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    feed.hold("a", TOPIC)
    database.stored[TOPIC] = 3
    feed.hint(TOPIC, 3)
    feed.learn("a", TOPIC, 2)
    feed.release("a", TOPIC, 2)
    await until(lambda: mailbox.got == {"a": [3]})


async def test_topics_do_not_mix(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0, "t1")
    subscribe(feed, "b", 0, "t2")
    feed.offer([event(1, "t2"), event(1, "t3")])
    assert mailbox.got == {"b": [1]}
    assert not feed.is_followed("t3")


# --- repair


async def test_every_round_compares_all_heads_in_two_queries(
    mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "REPAIR_SECONDS", 0.05)
    feed = Feed(mailbox, Sending({}, logging.getLogger()).roster)
    async with repaired(feed, database):
        topics = [f"t{number}" for number in range(50)]
        for topic in topics:
            subscribe(feed, topic, 0, topic)
            database.stored[topic] = 3
        await until(lambda: mailbox.got == {topic: [1, 2, 3] for topic in topics})
        assert database.reads[:2] == ["heads", "gaps"]
        assert database.reads.count("gaps") == 1


async def test_suspicion_compares_at_once(feed: Feed, mailbox: Mailbox, database: FakeDatabase) -> None:
    subscribe(feed, "a", 1)
    database.stored[TOPIC] = 2
    feed.suspect()
    await until(lambda: mailbox.got == {"a": [2]})


async def test_repair_goes_on_when_the_database_is_back(
    mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "REPAIR_SECONDS", 0.05)
    feed = Feed(mailbox, Sending({}, logging.getLogger()).roster)
    async with repaired(feed, database):
        subscribe(feed, "a", 0)
        database.is_away, database.stored[TOPIC] = True, 2
        feed.offer(events(2))
        await asyncio.sleep(0.2)
        assert mailbox.got == {}
        database.is_away = False
        await until(lambda: mailbox.got == {"a": [1, 2]})


async def test_nothing_is_asked_while_nobody_follows_anything(
    mailbox: Mailbox, database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair_module, "REPAIR_SECONDS", 0.01)
    feed = Feed(mailbox, Sending({}, logging.getLogger()).roster)
    async with repaired(feed, database):
        await asyncio.sleep(0.05)
    assert database.reads == []


# --- subscribing


async def test_a_held_client_gets_nothing_until_its_release(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "other", 0)
    feed.hold("a", TOPIC)
    feed.offer(events(1, 2))
    feed.learn("a", TOPIC, 1)
    feed.offer(events(3))
    assert mailbox.got == {"other": [1, 2, 3]}
    feed.release("a", TOPIC, 1)
    assert mailbox.got["a"] == [2, 3]
    feed.offer(events(4))
    assert mailbox.got["a"] == [2, 3, 4]


async def test_events_before_the_first_head_is_known_are_kept(feed: Feed, mailbox: Mailbox) -> None:
    feed.hold("a", TOPIC)
    feed.offer(events(7, 8, 6))
    feed.learn("a", TOPIC, 6)
    feed.release("a", TOPIC, 6)
    assert mailbox.got == {"a": [7, 8]}


async def test_a_client_that_knows_more_than_the_node_gets_nothing_twice(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    subscribe(feed, "old", 0)
    feed.hold("new", TOPIC)
    feed.learn("new", TOPIC, 2)
    feed.release("new", TOPIC, 2)
    feed.offer(events(1))
    feed.offer(events(2))
    assert mailbox.got == {"old": [1, 2]}
    feed.offer(events(3))
    assert mailbox.got == {"old": [1, 2, 3], "new": [3]}


async def test_what_a_client_knows_more_is_read_for_the_others(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    """A hint got lost, and only somebody's subscription shows it."""
    subscribe(feed, "old", 0)
    database.stored[TOPIC] = 3
    subscribe(feed, "new", 3)
    await until(lambda: mailbox.got == {"old": [1, 2, 3]})
    feed.offer(events(4))
    assert mailbox.got == {"old": [1, 2, 3, 4], "new": [4]}


async def test_an_older_head_read_late_changes_nothing(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0)
    feed.hold("b", TOPIC)
    feed.offer(events(1, 2))
    feed.learn("b", TOPIC, 0)
    feed.release("b", TOPIC, 0)
    assert mailbox.got == {"a": [1, 2], "b": [1, 2]}


async def test_a_head_behind_what_another_client_has_begun_from_is_to_be_read_again(
    feed: Feed, mailbox: Mailbox
) -> None:
    """Two read the head of a topic that nobody here has followed yet, and the later answer comes first."""
    feed.hold("early", TOPIC)
    feed.offer(events(8))
    feed.hold("late", TOPIC)
    feed.offer(events(9))
    assert feed.learn("late", TOPIC, 9)
    assert not feed.learn("early", TOPIC, 7)
    feed.offer(events(10))
    assert feed.learn("early", TOPIC, 9)
    feed.release("early", TOPIC, 9)
    assert mailbox.got == {"early": [10]}


async def test_whoever_subscribes_twice_at_once_gets_all_that_is_beyond_the_first_answer(
    feed: Feed, mailbox: Mailbox
) -> None:
    """In whatever order the two are answered, and whatever comes meanwhile."""
    subscribe(feed, "other", 5)
    feed.hold("a", TOPIC)
    feed.offer(events(6))
    feed.hold("a", TOPIC)
    feed.offer(events(7))
    for known in (5, 7):
        assert feed.learn("a", TOPIC, known)
        feed.bring_up("a", TOPIC, known)
        mailbox.got.setdefault("a", []).append(-known)
        feed.release("a", TOPIC, known)
    feed.offer(events(8))
    assert mailbox.got["a"] == [-5, 6, 7, -7, 8]


async def test_where_the_second_is_answered_first_nothing_is_missing_either(
    feed: Feed, mailbox: Mailbox
) -> None:
    subscribe(feed, "other", 5)
    feed.hold("a", TOPIC)
    feed.hold("a", TOPIC)
    feed.offer(events(6))
    for known in (6, 5):
        feed.bring_up("a", TOPIC, known)
        feed.release("a", TOPIC, known)
    feed.offer(events(7))
    assert mailbox.got["a"] == [6, 7]


async def test_subscribing_again_holds_and_goes_on_without_a_hole(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(1))
    feed.hold("a", TOPIC)
    feed.offer(events(2))
    assert mailbox.got == {"a": [1]}
    feed.learn("a", TOPIC, 2)
    feed.bring_up("a", TOPIC, 2)
    assert mailbox.got == {"a": [1, 2]}
    feed.release("a", TOPIC, 2)
    feed.offer(events(3))
    assert mailbox.got == {"a": [1, 2, 3]}


async def test_whoever_subscribes_again_is_brought_up_only_to_what_the_answer_says(
    feed: Feed, mailbox: Mailbox
) -> None:
    subscribe(feed, "a", 0)
    feed.hold("a", TOPIC)
    feed.learn("a", TOPIC, 1)
    feed.offer(events(1, 2))
    feed.bring_up("a", TOPIC, 1)
    assert mailbox.got == {"a": [1]}
    feed.release("a", TOPIC, 1)
    assert mailbox.got == {"a": [1, 2]}


async def test_whoever_subscribes_again_before_this_node_has_heard_misses_nothing(
    feed: Feed, mailbox: Mailbox
) -> None:
    subscribe(feed, "a", 0)
    feed.hold("a", TOPIC)
    feed.learn("a", TOPIC, 2)
    feed.bring_up("a", TOPIC, 2)
    feed.release("a", TOPIC, 2)
    feed.offer(events(1, 2, 3))
    assert mailbox.got == {"a": [1, 2, 3]}


async def test_whoever_is_put_out_while_subscribing_again_is_not_brought_up_beyond_that(
    feed: Feed, mailbox: Mailbox
) -> None:
    mailbox.put_out = lambda clients, event: clients  # type: ignore[method-assign]
    subscribe(feed, "a", 0)
    feed.hold("a", TOPIC)
    feed.offer([event_of(TOPIC, 1, "member.removed", AT, NOTHING, NOTHING), event(2)])
    feed.bring_up("a", TOPIC, 2)
    assert mailbox.got == {"a": [1]}
    assert not feed.follows("a", TOPIC)


async def test_a_subscription_that_fails_gives_the_earlier_one_back(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(1))
    feed.hold("a", TOPIC)
    feed.offer(events(2, 3))
    assert feed.give_back("a", TOPIC)
    assert mailbox.got == {"a": [1, 2, 3]}


async def test_the_earlier_one_is_given_back_even_if_it_knew_more_than_the_node(
    feed: Feed, mailbox: Mailbox
) -> None:
    subscribe(feed, "old", 0)
    subscribe(feed, "a", 2)
    feed.hold("a", TOPIC)
    assert feed.give_back("a", TOPIC)
    feed.offer(events(1, 2, 3))
    assert mailbox.got == {"old": [1, 2, 3], "a": [3]}


async def test_a_first_subscription_that_fails_leaves_nothing(feed: Feed) -> None:
    feed.hold("a", TOPIC)
    assert not feed.give_back("a", TOPIC)
    assert not feed.is_followed(TOPIC)
    feed.learn("a", TOPIC, 5)
    feed.release("a", TOPIC, 5)
    assert feed.topics == []


async def test_of_two_first_subscriptions_one_may_fail(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "other", 0)
    feed.hold("a", TOPIC)
    feed.hold("a", TOPIC)
    feed.offer(events(1))
    assert feed.give_back("a", TOPIC)
    assert "a" not in mailbox.got
    feed.release("a", TOPIC, 0)
    assert mailbox.got["a"] == [1]


async def test_whoever_leaves_while_held_gets_nothing(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "other", 0)
    feed.hold("a", TOPIC)
    feed.offer(events(1))
    assert feed.leave("a", TOPIC)
    feed.release("a", TOPIC, 0)
    feed.offer(events(2))
    assert mailbox.got == {"other": [1, 2]}
    assert not feed.follows("a", TOPIC)


async def test_whoever_leaves_gets_nothing_more(feed: Feed, mailbox: Mailbox, database: FakeDatabase) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(1, 3))
    assert feed.leave("a", TOPIC)
    assert not feed.leave("a", TOPIC)
    feed.offer(events(2))
    await asyncio.sleep(2 * feed_module.GAP_WAIT_SECONDS)
    assert mailbox.got == {"a": [1]}
    assert (feed.topics, database.reads) == ([], [])


async def test_a_topic_followed_again_starts_from_its_new_head(feed: Feed, mailbox: Mailbox) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(1))
    feed.leave("a", TOPIC)
    feed.offer(events(2, 3))
    subscribe(feed, "a", 3)
    feed.offer(events(4))
    assert mailbox.got == {"a": [1, 4]}


async def test_whoever_comes_back_soon_goes_on_from_where_the_node_is(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    subscribe(feed, "a", 0)
    feed.offer(events(1))
    assert feed.leave("a", TOPIC, may_come_back=True)
    feed.offer(events(2))
    feed.forget_left()
    assert feed.follow("b", TOPIC) == 2
    feed.offer(events(3))
    assert mailbox.got == {"a": [1], "b": [3]}
    assert database.reads == []


async def test_a_topic_to_which_nobody_has_come_back_is_forgotten(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in ("left", "again", "again and left"):
        subscribe(feed, "a", 1, topic)
        feed.leave("a", topic, may_come_back=True)
    monkeypatch.setattr(feed_module, "KEPT_SECONDS", 0.0)
    subscribe(feed, "b", 1, "again")
    subscribe(feed, "b", 1, "again and left")
    feed.leave("b", "again and left")
    feed.forget_left()
    assert feed.topics == ["again"]
    assert feed.follow("a", "left") is None
    feed.leave("b", "again", may_come_back=True)
    feed.forget_left()
    assert feed.topics == []


async def test_what_was_never_read_is_not_kept_for_those_who_may_come_back(feed: Feed) -> None:
    feed.hold("a", TOPIC)
    feed.leave("a", TOPIC, may_come_back=True)
    assert feed.topics == []


# --- putting out


async def test_an_event_puts_out_just_those_whom_it_reaches(feed: Feed, mailbox: Mailbox) -> None:
    """Also one who subscribes meanwhile; but not one who knows more than this node, and so is back already."""

    mailbox.put_out = lambda clients, event: clients  # type: ignore[method-assign]
    subscribe(feed, "live", 1)
    feed.hold("before", TOPIC)
    feed.hold("after", TOPIC)
    feed.release("after", TOPIC, 3)
    feed.offer([event_of(TOPIC, 2, "member.removed", AT, NOTHING, NOTHING), event(3)])
    feed.release("before", TOPIC, 1)
    feed.offer(events(4))
    assert mailbox.got == {"live": [2], "before": [2], "after": [4]}
    assert list(feed.clients_of(TOPIC)) == ["after"]


async def test_a_head_behind_what_was_delivered_makes_the_node_doubt_the_database(
    feed: Feed, database: FakeDatabase
) -> None:
    feed.hold("a", TOPIC)
    feed.learn("a", TOPIC, 3, "the third")
    feed.release("a", TOPIC, 3)
    database.stored[TOPIC] = 3
    repair = Repair(cast("Any", database), feed, Metrics())
    await repair._repair(set(), is_full=True)
    assert not feed.witness.doubts.is_set()
    assert [(claim.seq, claim.identity) for claim in feed.heads()] == [(3, "the third")]
    database.stored[TOPIC] = 2
    await repair._repair(set(), is_full=True)
    assert feed.witness.doubts.is_set()


async def test_a_subscriber_who_is_told_less_than_was_delivered_makes_the_node_doubt(feed: Feed) -> None:
    feed.hold("a", TOPIC)
    feed.learn("a", TOPIC, 3)
    feed.hold("b", TOPIC)
    assert not feed.learn("b", TOPIC, 2)
    assert feed.witness.doubts.is_set()


async def test_the_head_is_that_of_the_last_delivered_event_and_a_new_epoch_forgets_it(feed: Feed) -> None:
    feed.hold("a", TOPIC)
    feed.learn("a", TOPIC, 1, "the first")
    feed.offer(events(2))
    assert [(claim.seq, claim.identity) for claim in feed.heads()] == [(2, event(2).identity)]
    feed.reset()
    assert feed.heads() == []


async def test_nothing_of_the_epoch_before_reaches_whoever_follows_in_the_new_one(
    feed: Feed, mailbox: Mailbox, database: FakeDatabase
) -> None:
    """An event that came too early, and a hint of one, are of a past that is not stored."""
    subscribe(feed, "before", 1)
    feed.offer(events(3))
    feed.hold("early", "content:2:2")
    feed.hint("content:2:2", 5)
    feed.reset()
    subscribe(feed, "after", 2)
    subscribe(feed, "late", 0, "content:2:2")
    assert mailbox.got == {}
    assert feed.position(TOPIC) == 2
    assert feed.missing.take() == (set(), False)
