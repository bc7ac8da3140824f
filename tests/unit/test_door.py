"""The Socket.IO door with nothing behind it: what becomes of commands whose client goes while they are under way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.cluster.alone import Alone
from collab_server.config import Limits
from collab_server.contract.rows import Incomplete
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.domain.sign_ins import RefreshSession
from collab_server.domain.subscriptions import Subscribe, Unsubscribe
from collab_server.domain.topics import content_topic
from collab_server.realtime.client import Client
from collab_server.realtime.door import Door
from collab_server.realtime.engine.sending import Sending
from collab_server.realtime.sign_ins import SignIns
from collab_server.services.commands import table
from collab_server.services.commands.figures import Figures
from collab_server.services.commands.gate import CommandGate, Passage
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.table import OfConnection
from collab_server.services.commands.turns import Turns
from collab_server.services.epoch import Epoch
from collab_server.services.hub import Hub
from collab_server.services.live import subscriptions
from collab_server.services.live.audience import Audience
from collab_server.services.live.feed import Feed
from collab_server.services.live.moves import Moves
from collab_server.services.live.presence import Presence
from collab_server.services.live.subscriptions import Subscriptions
from collab_server.services.live.watches import Watches
from collab_server.services.sign_in import Credentials, SessionUse, SignIn
from collab_server.status import Counters
from collab_server.storage import topics
from collab_server.storage.topics import Snapshot
from collab_server.telemetry.journal import Journal
from collab_server.telemetry.metrics import Metrics

LATER = datetime(2026, 11, 27, tzinfo=UTC)


def identity(token: str) -> Identity:
    session = AuthoritySession(token, None, is_delegated=True)
    return Identity(User("A" * 32, "Ann", "A"), session, is_administrator=False, expires_at=LATER)


class FakeAuthenticator:
    """Accepts every token once `may_answer`; `attached` are the sessions in use."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.attached: set[str] = set()
        self.shown: list[Credentials] = []

    async def sign_in(self, credentials: Credentials) -> SignIn:
        self.shown.append(credentials)
        await self.may_answer.wait()
        return SignIn(identity(str(credentials.resume_token or credentials.auth_token)), "sealed", LATER)

    def sign_in_at_once(self, credentials: Credentials) -> SignIn | None:
        token = credentials.resume_token
        if token == "broken":
            raise RuntimeError("broken")
        return SignIn(identity(token), "sealed", LATER) if token == "known" else None

    def attach(self, who: Identity, on_ended: Callable[[Any], None]) -> SessionUse:
        token = who.session.auth_token
        self.attached.add(token)
        return SessionUse(on_ended, lambda _: self.attached.discard(token))

    def seconds_left(self, who: Identity) -> float:
        return 3600.0


@pytest.fixture
def authenticator() -> FakeAuthenticator:
    return FakeAuthenticator()


class FakeServer:
    """Takes what is sent; nobody is connected to it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.manager = SimpleNamespace(eio_sid_from_sid=lambda sid, namespace: f"eio-{sid}")
        self.eio = SimpleNamespace(send_text=lambda eio_sid, text: self.texts.append(text))

    def serve(self, door: Door) -> None: ...

    def tell(self, connections: Iterable[str], name: str, data: str) -> None: ...

    def close_all(self, reason: str) -> None: ...


class House:
    """The door with what stands below it, without a database and without Library."""

    def __init__(self, authenticator: FakeAuthenticator) -> None:
        self.server = FakeServer()
        self.hub = Hub(self.server, Metrics())
        presence = Presence("node1", self.hub, Alone())
        audience = Audience(self.hub, presence, moves := Moves())
        self.feed = Feed(audience, Sending({}, logging.getLogger()).roster)
        self.limiter = RateLimiter(per_second=1000, burst=1000)
        backends = SimpleNamespace(presence=presence, epoch=Epoch("epoch"), limits=Limits())
        watches = Watches(cast("Any", backends), self.hub, audience, moves, self.limiter)
        self.subscriptions = Subscriptions(
            cast("Any", None), cast("Any", backends), self.hub, self.feed, audience, self.limiter, watches
        )
        self.sign_ins = SignIns(
            "node1",
            self.hub,
            cast("Any", authenticator),
            self.subscriptions,
            cast("Any", SimpleNamespace(arrived=lambda user_id: None)),
            Epoch("epoch"),
            Journal(),
        )
        commands = SimpleNamespace(limits=Limits(), check_text=lambda text: None)
        self.door = Door(
            cast("Any", self.server),
            self.hub,
            self.sign_ins,
            self.subscriptions,
            CommandGate(
                "socketio", cast("Any", commands), Turns(self.limiter), Figures(Metrics()), Journal()
            ),
            Counters(),
            Journal(),
        )

    def client(self) -> Client:
        return cast("Client", self.hub.listeners["eio-ann"])


@pytest.fixture
def house(authenticator: FakeAuthenticator) -> House:
    return House(authenticator)


def test_a_door_that_lacks_a_command_of_a_connection_is_not_built(
    monkeypatch: pytest.MonkeyPatch, authenticator: FakeAuthenticator
) -> None:
    monkeypatch.setattr(table, "TABLE", {**table.TABLE, "topic.poke": OfConnection("topic.poke")})
    with pytest.raises(Incomplete, match=r"without a handler: topic\.poke"):
        House(authenticator)


@pytest.fixture
def door(house: House) -> Door:
    return house.door


async def test_who_is_known_is_greeted_at_once_where_their_inbox_is_followed(
    house: House, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def snapshots(_database: Any, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
        return [Snapshot(name, 1, 7, 0, False, 0, 0, is_member=False) for name, _ in asked]

    monkeypatch.setattr(topics, "snapshots", snapshots)
    for number, eio_sid in enumerate(("one", "two")):
        signed_in = door.prove_at_once({}, {"resumeToken": "known"})
        assert signed_in is not None
        greeting = door.come_in(eio_sid, f"sid-{eio_sid}", {}, {"resumeToken": "known"}, signed_in)
        assert (greeting is None) is (number == 1)
        if greeting is not None:
            await greeting
        assert len(house.server.texts) == number + 1
    assert all(text.startswith('2["server.hello",{"user":{"id":"AAAA') for text in house.server.texts)
    assert all('"inboxSeq":7,' in text for text in house.server.texts)


async def test_who_is_asked_about_or_has_to_wait_is_not_let_in_at_once(house: House, door: Door) -> None:
    for token in ("unknown", "broken"):
        assert door.prove_at_once({}, {"resumeToken": token}) is None
    assert door.prove_at_once({}, {"resumeToken": "known", "authToken": "x"}) is None
    user_id = identity("known").user.id
    house.limiter.charge(user_id, 1000)
    assert door.prove_at_once({}, {"resumeToken": "known"}) is None


async def test_a_session_is_not_used_for_ever_by_who_left_while_refreshing_it(
    house: House, door: Door, authenticator: FakeAuthenticator
) -> None:
    authenticator.may_answer.set()
    await door.sign_in("ann", {}, {"resumeToken": "first"})
    client = house.client()
    assert authenticator.attached == {"first"}
    authenticator.may_answer.clear()
    refreshing = asyncio.create_task(house.sign_ins.refresh(client, RefreshSession(auth_token="second")))
    await asyncio.sleep(0)
    door.forget("ann")
    authenticator.may_answer.set()
    await refreshing
    assert authenticator.attached == set()


async def test_a_token_that_is_brought_later_counts_where_the_connection_came_from(
    house: House, door: Door, authenticator: FakeAuthenticator
) -> None:
    authenticator.may_answer.set()
    came_with = {"REMOTE_ADDR": "192.0.2.7", "HTTP_COOKIE": "route=1"}
    await door.sign_in("ann", came_with, {"resumeToken": "first"})
    await house.sign_ins.refresh(house.client(), RefreshSession(auth_token="second"))
    assert authenticator.shown == [
        Credentials(resume_token="first", address="192.0.2.7", cookie_header="route=1"),
        Credentials(auth_token="second", address="192.0.2.7", cookie_header="route=1", are_cookies_old=True),
    ]


async def test_a_subscription_under_way_ends_with_its_client_and_not_with_the_next_one_on_its_transport(
    house: House, door: Door, authenticator: FakeAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, may_read = content_topic("F" * 32, "D" * 32), asyncio.Event()

    async def access_topic(*_: Any) -> Any:
        return topic, "viewer"

    async def snapshots(_database: Any, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
        await may_read.wait()
        return [Snapshot(name, 1, 0, 0, False, 0, 0, is_member=False) for name, _ in asked]

    monkeypatch.setattr(subscriptions, "access_topic", access_topic)
    monkeypatch.setattr(topics, "snapshots", snapshots)
    authenticator.may_answer.set()
    subscribing = []
    for _ in range(2):
        await door.sign_in("ann", {}, {"resumeToken": "first"})
        client = house.client()
        subscribing.append(
            door.spawn(house.subscriptions.subscribe(client, Subscribe(topic.name), lambda answer: None))
        )
        await asyncio.sleep(0.03)
        if len(subscribing) == 1:
            door.forget("ann")
            assert house.feed.topics == []
    may_read.set()
    await asyncio.gather(*subscribing)
    assert list(house.feed.clients_of(topic.name)) == ["eio-ann"]
    door.forget("ann")
    assert house.feed.topics == []


async def test_what_a_client_still_had_to_unsubscribe_from_is_left_to_the_next_one_on_its_transport(
    house: House, door: Door, authenticator: FakeAuthenticator
) -> None:
    authenticator.may_answer.set()
    topic, is_done = content_topic("F" * 32, "D" * 32).name, asyncio.Event()
    await door.sign_in("ann", {}, {"resumeToken": "first"})

    async def wait() -> None:
        await is_done.wait()

    passage = Passage("A" * 32, OfConnection("topic.unsubscribe"), Unsubscribe(topic), 0.0)
    unsubscribing = door.spawn(house.client().commands.answer_in_turn(1, passage, door.spawn(wait())))
    door.forget("ann")
    await door.sign_in("ann", {}, {"resumeToken": "first"})
    house.feed.hold("eio-ann", topic)
    is_done.set()
    await unsubscribing
    assert house.feed.follows("eio-ann", topic)


async def test_what_waits_is_bounded_in_bytes_too(house: House, door: Door) -> None:
    said = house.server.texts
    client = Client(door, "eio-a", "a", identity("session"))
    large = door.limits.packetBytes
    for number in range(3):
        client.commands.take(number, ["comment.add", {}], large)
    client.commands.take(3, ["comment.add", {}], 1)
    assert [text.partition("[")[0] for text in said] == ["32", "33"]
    assert all('"code":"rate_limited"' in text for text in said)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
