"""Every error code of the contract, through both doors, for its own reason and in its own shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from collab_server.errors import CODES
from tests.faults.proxy import Proxy
from tests.harness.clients import Client, Refused, Rest, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import World, fresh_topic
from tests.integration.doors import BOARD, STATUS, Door, DoorName
from tests.integration.scene import BOB, added, created

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

PRODUCED_HERE = {
    *("invalid", "unauthenticated", "forbidden", "not_found", "unknown_command", "conflict", "too_large"),
    *("rate_limited", "unavailable", "paused", "internal"),
}


class Fragile:
    """One node that finds its database and Library through proxies, and lets a person do 40 things at once."""

    def __init__(self, cluster: Cluster, postgres: Proxy, library: Proxy) -> None:
        self.cluster, self.postgres, self.library = cluster, postgres, library


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_fragile(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fragile]:
    folder: Path = tmp_path_factory.mktemp("fragile")
    database = world.new_database()
    host, _, port = world.library.address.rpartition(":")
    with Proxy((world.postgres.host, world.postgres.port)) as postgres, Proxy((host, int(port))) as library:
        cluster = Cluster(database, world.library, None, nodes=0, folder=folder)
        limits = {"commandsPerSecond": 2, "commandsBurst": 40}
        cluster.add_node(postgres=postgres.address, library=library.address, overrides={"limits": limits})
        await cluster.start()
        yield Fragile(cluster, postgres, library)
        await cluster.close(may_trace_back=("UndefinedColumnError",))
    database.drop()


@pytest_asyncio.fixture
async def fragile(shared_fragile: Fragile) -> AsyncIterator[Fragile]:
    yield shared_fragile
    shared_fragile.postgres.heal()
    shared_fragile.library.heal()
    await shared_fragile.cluster[0].wait_for_state("running")
    await shared_fragile.cluster.close_clients()


def test_every_code_is_produced_here() -> None:
    assert set(CODES) == PRODUCED_HERE == set(STATUS)
    assert {code: error.http_status for code, error in CODES.items()} == STATUS


@BOTH
async def test_invalid_names_the_field(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": "x", "anchor": {"pageKey": 1}})
    assert (error["code"], error["field"]) == ("invalid", "anchor.pageKey")
    assert "expected" in error["message"]


async def test_unauthenticated_by_rest(cluster: Cluster) -> None:
    for headers in ({}, {"X-MSTR-AuthToken": "x"}, {"Authorization": "Basic eDp5"}):
        rest = Rest.open(cluster[0].url)
        async with rest:
            status, error, _ = await rest.request("GET", "/me", headers=headers)
        assert (status, error["code"]) == (401, "unauthenticated")
        assert error.keys() == {"code", "message", "ticketId"}


async def test_unauthenticated_by_socket(cluster: Cluster) -> None:
    with pytest.raises(Refused) as refusal:
        await Client.connect(cluster[0].url, auth_token="x")
    assert refusal.value.code == "unauthenticated"
    assert refusal.value.error is not None
    assert refusal.value.error.keys() == {"code", "message", "ticketId"}
    ann = await cluster.client(0, "ann")
    for tokens in ({}, {"identityToken": "x"}, {"authToken": "x"}):
        assert (await ann.ask("session.refresh", tokens))["error"]["code"] == "unauthenticated"
    assert (await ann.call("me"))["user"]["id"] == ann.hello["user"]["id"]


@BOTH
async def test_forbidden_is_for_what_one_may_see(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    comment = await added(ann, topic, "Mine")
    assert (await bob.refusal("comment.delete", {"commentId": comment["id"]}))["code"] == "forbidden"
    discussion = await created(ann, BOB)
    assert (await bob.refusal("discussion.delete", {"discussionId": discussion["id"]}))["code"] == "forbidden"


@BOTH
async def test_not_found_does_not_say_whether_it_is_there(cluster: Cluster, door: DoorName) -> None:
    dan = await Door.open(cluster, door, "dan")
    hidden = await dan.refusal("topic.get", {"topic": BOARD})
    absent = await dan.refusal("topic.get", {"topic": BOARD[:-1] + "F"})
    assert hidden["code"] == "not_found"
    assert {**hidden, "ticketId": ""} == {**absent, "ticketId": ""}


async def test_unknown_command_by_socket(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    assert (await ann.ask("comment.shout", {"text": "x"}))["error"]["code"] == "unknown_command"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/comments/x/y/z", 404, "not_found"),
        ("POST", "/me", 405, "unknown_command"),
        ("PATCH", "/discussions", 405, "unknown_command"),
    ],
)
async def test_calls_that_rest_does_not_know(
    cluster: Cluster, method: str, path: str, status: int, code: str
) -> None:
    rest = await cluster.rest(0, "ann")
    answer, error, headers = await rest.request(method, path)
    assert (answer, error["code"]) == (status, code)
    assert {"code", "message", "ticketId"} == error.keys()
    assert (status == 405) == ("Allow" in headers)


@BOTH
async def test_conflict_is_about_the_state_of_things(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    comment = await added(ann, topic, "Gone", requestId=f"id-{uuid4()}")
    await ann.call("comment.delete", {"commentId": comment["id"]})
    error = await ann.refusal("comment.edit", {"commentId": comment["id"], "text": "x"})
    assert error["code"] == "conflict"
    id = f"id-{uuid4()}"
    await added(ann, topic, "One", requestId=id)
    error = await ann.refusal("comment.add", {"topic": topic, "text": "Two", "requestId": id})
    assert (error["code"], error["field"]) == ("conflict", "requestId")


@BOTH
async def test_too_large_names_the_limit(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": "x" * 10_001})
    assert (error["code"], error["field"]) == ("too_large", "text")
    assert "10000" in error["message"]


async def test_a_body_over_the_limit_is_too_large(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    status, error, _ = await rest.request("POST", f"/topics/{topic}/comments", {"text": "x" * 1_000_001})
    assert (status, error["code"]) == (413, "too_large")


@BOTH
async def test_rate_limited_says_when_to_come_again(fragile: Fragile, door: DoorName) -> None:
    login = {"socket": "eve", "rest": "dan"}[door]
    somebody = await Door.open(fragile.cluster, door, login)
    for _ in range(200):
        answer = await somebody.ask("me")
        if not answer["ok"]:
            break
    assert answer["error"]["code"] == "rate_limited"
    assert 0 < answer["error"]["retryAfter"] <= 1
    other = await Door.open(fragile.cluster, door, "ann")
    assert (await other.ask("me"))["ok"]


@BOTH
async def test_unavailable_while_library_is_away(fragile: Fragile, door: DoorName) -> None:
    somebody = await Door.open(fragile.cluster, door, "bob")
    await somebody.call("me")
    fragile.library.refuse()
    fragile.library.cut()
    error = await somebody.refusal("topic.get", {"topic": fresh_topic()})
    assert error["code"] == "unavailable"
    assert error["retryAfter"] > 0
    assert (await somebody.call("discussion.list"))["items"] == []  # what needs no Library goes on


async def test_unavailable_for_who_comes_while_library_is_away(fragile: Fragile) -> None:
    carol = await fragile.cluster.person("carol")
    token = await carol.identity_token()
    fragile.library.refuse()
    fragile.library.cut()
    with pytest.raises(Refused) as refusal:
        await Client.connect(fragile.cluster[0].url, identity_token=token)
    assert refusal.value.code == "unavailable"
    async with new_session(keeps_cookies=False) as http:
        url, headers = f"{fragile.cluster[0].url}/api/me", {"X-MSTR-IdentityToken": token}
        async with http.get(url, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0


@BOTH
async def test_paused_while_the_database_is_away(fragile: Fragile, door: DoorName) -> None:
    topic = fresh_topic()
    somebody = await Door.open(fragile.cluster, door, "bob")
    await added(somebody, topic, "Before")
    fragile.postgres.refuse()
    fragile.postgres.cut()
    await until(lambda: _is_paused(somebody, topic), what="writes are refused")
    error = await somebody.refusal("comment.add", {"topic": topic, "text": "During"})
    assert (error["code"], error["outcome"]) == ("paused", "none")
    assert error["retryAfter"] > 0
    assert (await somebody.refusal("topic.get", {"topic": topic}))["code"] == "paused"
    fragile.postgres.heal()
    await fragile.cluster[0].wait_for_state("running")
    assert (await somebody.call("topic.get", {"topic": topic}))["comments"] == 1


async def _is_paused(door: Door, topic: str) -> bool:
    answer = await door.ask("topic.read", {"topic": topic, "seq": 1})
    return not answer["ok"] and answer["error"]["code"] == "paused"


@BOTH
async def test_internal_shows_nothing_but_a_ticket(fragile: Fragile, door: DoorName) -> None:
    """A bug of ours is one that the database shows: a column that is not there."""
    topic = fresh_topic()
    somebody = await Door.open(fragile.cluster, door, "carol")
    await added(somebody, topic, "Before")
    fragile.cluster.database.sql("ALTER TABLE collab.read_marks RENAME COLUMN muted TO silenced")
    try:
        for command, payload in (
            ("topic.get", {"topic": topic}),
            ("topic.mute", {"topic": topic, "muted": True}),
        ):
            error = await somebody.refusal(command, payload)
            assert error["code"] == "internal"
            assert error.keys() == {"code", "message", "ticketId"}
            assert "muted" not in error["message"]
            await until(
                partial(lambda id: id in fragile.cluster[0].log, error["ticketId"]),
                what="the ticket is in the log",
            )
    finally:
        fragile.cluster.database.sql("ALTER TABLE collab.read_marks RENAME COLUMN silenced TO muted")
    assert (await somebody.call("topic.get", {"topic": topic}))["muted"] is False
