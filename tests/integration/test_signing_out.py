"""A sign-in ends when it ends: for all its connections and tokens, at both doors, on every node."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.ends import mark_of
from collab_server.services import ends
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import Client, LibraryUser, Refused, new_session
from tests.harness.cluster import ROOT, Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase, World
from tests.integration.scene import ANN

SIGN_INS = "collab_server.realtime.sign_ins"
ASKING_OFTEN = hurried({"collab_server.services.sign_in.authenticator": {"ASKED_SECONDS": 1.0}})


@pytest_asyncio.fixture(scope="module")
async def pair(world: World) -> AsyncIterator[Cluster]:
    """Two nodes; everybody begins sign-ins of their own."""
    async with Cluster(world.new_database(), world.library, world.valkey.url, nodes=2) as cluster:
        yield cluster


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(
    cluster: Cluster, node: int, method: str, path: str, headers: dict[str, str]
) -> tuple[int, Any]:
    """Status and JSON of a REST answer."""
    async with (
        new_session(keeps_cookies=False) as http,
        http.request(method, f"{cluster[node].url}/api{path}", headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def statuses(cluster: Cluster, token: str) -> list[int]:
    """How each node answers a request with this resume token."""
    return [(await ask(cluster, node, "GET", "/me", bearer(token)))[0] for node in range(len(cluster))]


async def is_refused(cluster: Cluster, token: str) -> bool:
    """Whether the resume token is refused by every node, at both doors."""
    if set(await statuses(cluster, token)) != {401}:
        return False
    for node in cluster.nodes:
        with pytest.raises(Refused) as refusal:
            await Client.connect(node.url, resume_token=token)
        assert refusal.value.code == "unauthenticated"
    return True


def refused(cluster: Cluster, *tokens: str) -> Callable[[], Awaitable[bool]]:
    async def are() -> bool:
        return all([await is_refused(cluster, token) for token in tokens])

    return are


async def is_told(client: Client, reason: str = "session_ended", timeout: float = 8) -> None:
    """The client is signed out, and cut off."""
    said = await client.wait_for("server.signed_out", timeout=timeout)
    assert said.data == {"reason": reason}
    await client.wait_until_closed()


def ended_at(client: Client) -> float:
    """When it was told that it is signed out."""
    return next(event.received_at for event in client.events if event.name == "server.signed_out")


async def sign_in(cluster: Cluster, node: int, login: str) -> Client:
    person = await cluster.person(login)
    return await Client.connect(cluster[node].url, identity_token=await person.identity_token())


# --- one's own


@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_to_sign_out_ends_all_of_the_sign_in_and_nothing_else(pair: Cluster, door: str) -> None:
    identity_token = await (await pair.person("ann")).identity_token()
    first = await Client.connect(pair[0].url, identity_token=identity_token)
    token = first.hello["resumeToken"]
    second = await Client.connect(pair[1].url, resume_token=token)
    other = await sign_in(pair, 1, "ann")
    younger = second.hello["resumeToken"]
    assert await statuses(pair, token) == await statuses(pair, younger) == [200, 200]

    if door == "socket":
        assert await first.call("session.end", {"requestId": "out"}) == {}
    else:  # though a sign-in of hers was ended under this id before
        headers = {**bearer(token), "Idempotency-Key": "out"}
        assert await ask(pair, 0, "DELETE", "/session", headers) == (200, {})
    for client in (first, second):
        await is_told(client)
        await client.close()
    for shown in (token, younger):
        assert await is_refused(pair, shown)
    for node in (0, 1):
        assert (await ask(pair, node, "GET", "/me", {"X-MSTR-IdentityToken": identity_token}))[0] == 401
        for shown in (token, younger):  # as often as it may be sent, it is answered as it was
            assert await ask(pair, node, "DELETE", "/session", bearer(shown)) == (200, {})

    assert (await other.call("me"))["user"]["id"] == ANN
    assert await statuses(pair, other.hello["resumeToken"]) == [200, 200]
    await other.close()


async def test_nothing_more_is_done_for_whoever_has_signed_out(pair: Cluster) -> None:
    """Of what was sent after it, not even what came in the same breath."""
    bob = await sign_in(pair, 0, "bob")
    topic = f"content:{'F' * 31}1:{'DA'.ljust(31, '0')}1"
    ended = asyncio.ensure_future(bob.ask("session.end"))
    said = [
        asyncio.ensure_future(bob.ask("comment.add", {"topic": topic, "text": f"late {number}"}))
        for number in range(5)
    ]
    assert (await ended)["ok"]
    await is_told(bob)
    await bob.close()
    for answer in said:
        answer.cancel()
    await asyncio.gather(*said, return_exceptions=True)
    assert pair.database.sql("SELECT count(*) FROM collab.comments WHERE text LIKE 'late %'") == "0"


async def test_to_end_an_auth_token_ends_what_was_begun_with_it(pair: Cluster) -> None:
    carol = await LibraryUser.sign_in(pair.library.url, "carol")
    shown = {"X-MSTR-AuthToken": carol.auth_token, "Cookie": carol.cookie_header}
    other = await sign_in(pair, 1, "carol")
    client = await Client.connect(
        pair[1].url, auth_token=carol.auth_token, headers={"Cookie": carol.cookie_header}
    )
    token = client.hello["resumeToken"]
    assert (await ask(pair, 0, "GET", "/me", shown))[0] == 200
    assert await ask(pair, 0, "DELETE", "/session", shown) == (200, {})
    await is_told(client)
    await client.close()
    assert await is_refused(pair, token)
    for node in (0, 1):
        for headers in (shown, {"X-MSTR-AuthToken": carol.auth_token}, bearer(carol.auth_token)):
            assert (await ask(pair, node, "GET", "/me", headers))[0] == 401
            assert await ask(pair, node, "DELETE", "/session", headers) == (200, {})
        with pytest.raises(Refused) as refusal:
            await Client.connect(pair[node].url, auth_token=carol.auth_token)
        assert refusal.value.code == "unauthenticated"
    assert (await other.call("me"))["user"]["id"] == carol.id
    await other.close()
    # At Library the session lives: it is the browser's.
    assert (await ask(pair, 0, "GET", "/me", {"X-MSTR-IdentityToken": await carol.identity_token()}))[
        0
    ] == 200


async def test_to_end_an_identity_token_ends_what_was_begun_with_it(pair: Cluster) -> None:
    token = await (await pair.person("dan")).identity_token()
    client = await Client.connect(pair[1].url, identity_token=token)
    for headers in ({"X-MSTR-IdentityToken": token}, bearer(token)):
        assert await ask(pair, 0, "DELETE", "/session", headers) == (200, {})
    await is_told(client)
    assert await is_refused(pair, client.hello["resumeToken"])
    await client.close()
    for node in (0, 1):
        for headers in ({"X-MSTR-IdentityToken": token}, bearer(token)):
            assert (await ask(pair, node, "GET", "/me", headers))[0] == 401


async def test_an_end_needs_no_redis_and_is_known_to_a_node_that_starts_later(
    make_cluster: MakeCluster, own_valkey: EmbeddedValkey
) -> None:
    cluster = await make_cluster(nodes=2, redis_url=own_valkey.url)
    first = await sign_in(cluster, 0, "ann")
    token = first.hello["resumeToken"]
    second = await Client.connect(cluster[1].url, resume_token=token)
    other = await sign_in(cluster, 1, "ann")
    await asyncio.to_thread(own_valkey.stop)
    assert await first.call("session.end") == {}
    assert (await statuses(cluster, token))[0] == 401, "where it was ended, at once"
    await is_told(second)
    for client in (first, second):
        await client.close()
    assert await is_refused(cluster, token)
    late = cluster.add_node()
    late.spawn()

    async def answers() -> int | None:
        try:
            status, _ = await ask(cluster, 2, "GET", "/me", bearer(other.hello["resumeToken"]))
        except OSError:
            return None
        return status if status == 200 else None

    await until(answers, 20, "a sign-in that goes on opens the new node")
    assert await is_refused(cluster, token)
    await other.close()


# --- its time


async def test_a_sign_in_lasts_no_longer_than_it_may(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(
        nodes=2, overrides={"sessionHours": 6 / 3600}, env=hurried({SIGN_INS: {"RENEWAL_ROUND_SECONDS": 0.2}})
    )
    first, stays = await sign_in(cluster, 0, "ann"), await sign_in(cluster, 0, "bob")
    token = first.hello["resumeToken"]
    second = await Client.connect(cluster[1].url, resume_token=token)
    for client in (first, second):
        left = datetime.fromisoformat(client.hello["expiresAt"]) - datetime.now(UTC)
        assert left < timedelta(seconds=7), "a younger token lasts no longer"
    bob = await cluster.person("bob")
    await asyncio.sleep(1.5)  # a part of its time
    await stays.call("session.refresh", {"identityToken": await bob.identity_token()})
    for client in (first, second):
        await is_told(client, "session_expired")
        for event in client.events:
            if event.name == "server.hello":
                assert await is_refused(cluster, event.data["resumeToken"])
        await client.close()
    status, error = await ask(cluster, 1, "GET", "/me", bearer(token))
    assert (status, error["code"]) == (401, "unauthenticated")
    await is_told(stays, "session_expired")
    longer = ended_at(stays) - ended_at(first)
    assert longer > 1, "a fresh token of Library begins another one"
    await stays.close()
    async with await sign_in(cluster, 0, "ann") as again:
        assert (await again.call("me"))["user"]["id"] == ANN


# --- its session at Library


async def end_at_library(library: StandInLibrary, login: str) -> None:
    async with (
        new_session() as http,
        http.post(f"{library.root}/standin/end-sessions", json={"person": login}) as answer,
    ):
        assert answer.status in (200, 204)


async def test_a_session_that_library_ended_is_over_everywhere(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    cluster = await make_cluster(nodes=2, library=own_library, env=ASKING_OFTEN)
    away = await sign_in(cluster, 0, "ann")
    token = away.hello["resumeToken"]
    assert await statuses(cluster, token) == [200, 200]
    await away.close()
    await end_at_library(own_library, "ann")
    await until(refused(cluster, token), 15, "though nobody is connected, it is found out")

    carol = await LibraryUser.sign_in(own_library.url, "carol")
    async with await Client.connect(cluster[0].url, identity_token=await carol.identity_token()) as away:
        token = away.hello["resumeToken"]
    await asyncio.sleep(1.1)  # until it is asked again
    async with await Client.connect(cluster[1].url, resume_token=token) as again:
        token = again.hello["resumeToken"]
    await end_at_library(own_library, "carol")
    await asyncio.sleep(1.1)
    for node in cluster.nodes:
        with pytest.raises(Refused) as refusal:
            await Client.connect(node.url, resume_token=token)
        assert refusal.value.code == "unauthenticated"

    # What one node finds out the others know at once, long before they would ask.
    first = await Client.connect(
        cluster[0].url,
        identity_token=await (await LibraryUser.sign_in(own_library.url, "bob")).identity_token(),
    )
    token = first.hello["resumeToken"]
    second = await Client.connect(cluster[1].url, resume_token=token)
    await first.close()
    await end_at_library(own_library, "bob")

    async def is_found() -> bool:
        return (await ask(cluster, 0, "GET", "/me", bearer(token)))[0] == 401

    await until(is_found, 10, "a request of the first node finds it out")
    await is_told(second, timeout=5)
    await second.close()
    assert await is_refused(cluster, token)


async def test_a_silent_library_ends_nothing(make_cluster: MakeCluster, own_library: StandInLibrary) -> None:
    cluster = await make_cluster(nodes=1, library=own_library, env=ASKING_OFTEN)
    ann = await sign_in(cluster, 0, "ann")
    token = ann.hello["resumeToken"]
    await ann.close()
    await asyncio.to_thread(own_library.stop)
    await asyncio.sleep(1.2)  # until it is asked at each request
    for _ in range(3):
        assert await statuses(cluster, token) == [200]
    assert await ask(cluster, 0, "DELETE", "/session", bearer(token)) == (200, {})
    assert await statuses(cluster, token) == [401]


# --- by the operator, and of the version before


def of_the_version_before(database: TestDatabase, token: str) -> str:
    """The token as the version before would have sealed it, which knows of no sign-ins."""
    key = bytes.fromhex(database.sql("SELECT encode(seal_key, 'hex') FROM collab.installation"))
    fernet = Fernet(base64.urlsafe_b64encode(key))
    content = json.loads(fernet.decrypt(token))
    del content["begun"]
    return fernet.encrypt(json.dumps(content).encode()).decode()


async def test_the_operator_signs_somebody_out(pair: Cluster) -> None:
    config = pair[0].folder / "config.json"
    clients = [await sign_in(pair, node, "eve") for node in (0, 1)]
    bystander = await sign_in(pair, 1, "bob")
    tokens = [client.hello["resumeToken"] for client in clients]
    tokens.append(of_the_version_before(pair.database, tokens[0]))
    eve = await pair.person("eve")
    assert await statuses(pair, tokens[-1]) == [200, 200]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "collab_server", "sign-out", eve.id.lower(), "--config", str(config)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said
    assert f"All that {eve.id} had begun until now is ended" in said.decode()
    for client in clients:
        await is_told(client)
        await client.close()
    await until(refused(pair, *tokens), 10, "no token of hers opens")
    assert (await bystander.call("me"))["user"]["id"] == (await pair.person("bob")).id
    await bystander.close()
    again = await sign_in(pair, 0, "eve")
    assert await statuses(pair, again.hello["resumeToken"]) == [200, 200], "Library lets her in again"
    await again.close()


async def test_a_sign_in_of_the_version_before_ends_too(pair: Cluster) -> None:
    dan = await LibraryUser.sign_in(pair.library.url, "dan")
    client = await Client.connect(
        pair[0].url, auth_token=dan.auth_token, headers={"Cookie": dan.cookie_header}
    )
    before = of_the_version_before(pair.database, client.hello["resumeToken"])
    came = await Client.connect(pair[1].url, resume_token=before)
    younger = came.hello["resumeToken"]
    assert await came.call("session.end") == {}
    await is_told(came)
    for token in (before, younger):
        assert await is_refused(pair, token)
    for one in (came, client):
        await one.close()


# --- bounds


async def test_of_one_person_only_so_many_ends_are_kept(
    database: TestDatabase, make_cluster: MakeCluster
) -> None:
    """Those before the latest hundred become one, that ends all that was begun before them; though there is one of a
    server whose clock was an hour ahead."""
    database.sql(
        "INSERT INTO collab.ended_sessions (mark, user_id, ended_at, kept_until)"
        " VALUES (decode(repeat('ab', 32), 'hex'), 'B', now() + interval '1 hour', now() + interval '1 day')"
    )
    cluster = await make_cluster(nodes=1)
    early = await sign_in(cluster, 0, "ann")
    stored = Database(Server(**database.connect_arguments()))
    await stored.start()
    await stored.until_up()
    try:
        for number in range(ends.MOST_OF_ONE + 20):
            mark = mark_of("sign-in", f"{number}")
            await stored.run(partial(ends._store, user_id=ANN, marks=[mark], kept=ends.GRACE))
    finally:
        await stored.stop()
    assert (
        int(database.sql(f"SELECT count(*) FROM collab.ended_sessions WHERE user_id = '{ANN}'"))
        == ends.MOST_OF_ONE + 1
    )
    kept = database.sql(f"SELECT encode(mark, 'hex') FROM collab.ended_sessions WHERE user_id = '{ANN}'")
    latest = range(20, ends.MOST_OF_ONE + 20)
    assert {mark_of("sign-in", f"{number}").hex() for number in latest} <= {*str(kept).split()}
    await is_told(early)
    await early.close()
    late = await sign_in(cluster, 0, "ann")
    assert await statuses(cluster, late.hello["resumeToken"]) == [200]
    await late.close()
