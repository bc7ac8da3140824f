"""The Socket.IO door with nothing behind it: what becomes of commands whose client goes while they are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.config import Limits
from collab_server.domain.addresses import Addresses
from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.domain.sign_ins import RefreshSession
from collab_server.domain.subscriptions import Subscribe, Unsubscribe
from collab_server.domain.topics import content_topic
from collab_server.realtime import server
from collab_server.realtime.client import Client
from collab_server.realtime.server import Door
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.table import OfConnection
from collab_server.services.commands.turns import Turns
from collab_server.services.live.presence import Presence
from collab_server.services.sign_in import Credentials, SessionUse, SignIn
from collab_server.status import Counters
from collab_server.storage import topics
from collab_server.storage.topics import Snapshot

LATER = datetime(2026, 11, 27, tzinfo=UTC)


def identity(token: str) -> Identity:
    session = LibrarySession(token, None, is_delegated=True)
    return Identity(User("A" * 32, "Ann", "A"), session, is_administrator=False, expires_at=LATER)


class FakeAuthenticator:
    """Accepts every token once `may_answer`; `attached` are the sessions in use."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.attached: set[str] = set()

    async def sign_in(self, credentials: Credentials) -> SignIn:
        await self.may_answer.wait()
        return SignIn(identity(str(credentials.resume_token or credentials.auth_token)), "sealed", LATER)

    def attach(self, who: Identity, on_ended: Callable[[Any], None]) -> SessionUse:
        token = who.session.auth_token
        self.attached.add(token)
        return SessionUse(on_ended, lambda _: self.attached.discard(token))

    def seconds_left(self, who: Identity) -> float:
        return 3600.0


@pytest.fixture
def authenticator() -> FakeAuthenticator:
    return FakeAuthenticator()


@pytest.fixture
def door(authenticator: FakeAuthenticator) -> Door:
    presence = Presence(node="node1", tell=lambda *signal: None)
    limiter = RateLimiter(per_second=1000, burst=1000)
    door = Door(
        node="node1",
        database=cast("Any", None),
        backends=cast("Any", SimpleNamespace(presence=presence, epoch=lambda: "epoch")),
        commands=cast("Any", None),
        authenticator=cast("Any", authenticator),
        limits=Limits(),
        limiter=limiter,
        turns=Turns(limiter),
        counters=Counters(),
        is_origin_allowed=lambda origin, environ: True,
        addresses=Addresses(),
    )
    manager = SimpleNamespace(eio_sid_from_sid=lambda sid, namespace: f"eio-{sid}")
    engine = SimpleNamespace(send_text=lambda eio_sid, text: None)
    door.server = cast("Any", SimpleNamespace(manager=manager, eio=engine))
    return door


async def test_a_session_is_not_used_for_ever_by_who_left_while_refreshing_it(
    door: Door, authenticator: FakeAuthenticator
) -> None:
    authenticator.may_answer.set()
    await door.sign_in("ann", {}, {"resumeToken": "first"})
    client: Client = door._clients["eio-ann"]
    assert authenticator.attached == {"first"}
    authenticator.may_answer.clear()
    refreshing = door.spawn(door._refresh_session(client, 1, RefreshSession(auth_token="second")))
    await asyncio.sleep(0)
    await door.forget("ann")
    authenticator.may_answer.set()
    await refreshing
    assert authenticator.attached == set()


async def test_a_subscription_under_way_ends_with_its_client_and_not_with_the_next_one_on_its_transport(
    door: Door, authenticator: FakeAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, may_read = content_topic("F" * 32, "D" * 32), asyncio.Event()

    async def access_topic(*_: Any) -> Any:
        return topic, "viewer"

    async def snapshots(_database: Any, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
        await may_read.wait()
        return [Snapshot(name, 1, 0, 0, 0, False, 0, is_member=False) for name, _ in asked]

    monkeypatch.setattr(server, "access_topic", access_topic)
    monkeypatch.setattr(topics, "snapshots", snapshots)
    authenticator.may_answer.set()
    subscribing = []
    for _ in range(2):
        await door.sign_in("ann", {}, {"resumeToken": "first"})
        client = door._clients["eio-ann"]
        subscribing.append(door.spawn(door._subscribe(client, 1, Subscribe(topic.name))))
        await asyncio.sleep(0.03)
        if len(subscribing) == 1:
            await door.forget("ann")
            assert door.feed.topics == []
    may_read.set()
    await asyncio.gather(*subscribing)
    assert list(door.feed.clients_of(topic.name)) == ["eio-ann"]
    await door.forget("ann")
    assert door.feed.topics == []


async def test_what_a_client_still_had_to_unsubscribe_from_is_left_to_the_next_one_on_its_transport(
    door: Door, authenticator: FakeAuthenticator
) -> None:
    authenticator.may_answer.set()
    topic, is_done = content_topic("F" * 32, "D" * 32).name, asyncio.Event()
    await door.sign_in("ann", {}, {"resumeToken": "first"})

    async def wait() -> None:
        await is_done.wait()

    entry = OfConnection("topic.unsubscribe")
    unsubscribing = door.spawn(
        door._clients["eio-ann"]._answer_in_turn(1, entry, Unsubscribe(topic), door.spawn(wait()))
    )
    await door.forget("ann")
    await door.sign_in("ann", {}, {"resumeToken": "first"})
    door.feed.hold("eio-ann", topic)
    is_done.set()
    await unsubscribing
    assert door.feed.follows("eio-ann", topic)


async def test_what_waits_is_bounded_in_bytes_too(door: Door) -> None:
    said: list[str] = []
    door.server.eio = cast("Any", SimpleNamespace(send_text=lambda eio_sid, text: said.append(text)))
    client = Client(door, "eio-a", "a", identity("session"))
    large = door.limits.packetBytes
    for number in range(3):
        client.receive(number, ["comment.add", {}], large)
    client.receive(3, ["comment.add", {}], 1)
    assert [text.partition("[")[0] for text in said] == ["32", "33"]
    assert all('"code":"rate_limited"' in text for text in said)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
