"""Signing in, coming back and being signed out, at both doors."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from multidict import CIMultiDict

from tests.harness.clients import Client, Failed, LibraryUser, Refused, Rest, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch
from tests.harness.world import StandInLibrary, World
from tests.integration.doors import Raw

SESSION_SECONDS = 6
"""How long Library's sessions live here; the nodes look after them every two seconds at most then."""


@pytest.fixture(scope="module")
def brief_library() -> Iterator[StandInLibrary]:
    server = StandInLibrary(
        session_timeout_seconds=SESSION_SECONDS, identity_token_seconds=4, balanced=3
    ).start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module")
async def brief(world: World, brief_library: StandInLibrary) -> AsyncIterator[Cluster]:
    """Two nodes whose Library has short sessions, and members behind a balancer that goes by a cookie.

    Nobody is kept signed in: use `LibraryUser.sign_in`.
    """
    async with Cluster(world.new_database(), brief_library, world.valkey.url, nodes=2) as cluster:
        yield cluster


async def at_standin(library: StandInLibrary, method: str, path: str, body: Any = None) -> Any:
    async with (
        new_session() as http,
        http.request(method, f"{library.root}/standin{path}", json=body) as answer,
    ):
        assert answer.status in (200, 204)
        return await answer.json() if answer.status == 200 else None


# --- ways in


async def test_hello_says_what_a_client_needs_to_know(cluster: Cluster) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    for client, login in ((ann, "ann"), (bob, "bob")):
        hello, person = client.hello, await cluster.person(login)
        assert list(hello) == ["user", "node", "epoch", "inboxSeq", "resumeToken", "expiresAt", "knows"]
        assert hello["knows"] == ["ofName", "ofRevision"]
        assert hello["user"] == {"id": person.id, "name": person.name, "initials": person.initials}
        assert type(hello["inboxSeq"]) is int
        expires_in = datetime.fromisoformat(hello["expiresAt"]) - datetime.now(UTC)
        assert timedelta(minutes=25) < expires_in < timedelta(minutes=31)
        assert client.events[0].name == "server.hello"
    assert ann.hello["epoch"] == bob.hello["epoch"]
    assert ann.hello["node"] != bob.hello["node"]


async def test_hello_follows_the_answer_to_connect(cluster: Cluster) -> None:
    token = await (await cluster.person("ann")).identity_token()
    async with await Raw.open(cluster[0].url) as ann:
        await ann.send("40" + json.dumps({"identityToken": token}))
        assert str(await ann.next()).startswith('40{"sid":')
        assert str(await ann.next()).startswith('42["server.hello",{')


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("kind", ["identity_token", "auth_token", "auth_token and cookie", "resume_token"])
async def test_sockets_sign_in_with_any_token(cluster: Cluster, kind: str, transport: Any) -> None:
    person = await cluster.person("carol")
    headers = {}
    given: dict[str, Any]
    match kind:
        case "identity_token":
            given = {"identity_token": await person.identity_token()}
        case "resume_token":
            given = {"resume_token": (await cluster.client(1, "carol")).hello["resumeToken"]}
        case _:
            given = {"auth_token": person.auth_token}
            headers = {"Cookie": f"JSESSIONID={person.cookie}"} if "cookie" in kind else {}
    async with await Client.connect(cluster[0].url, **given, headers=headers, transport=transport) as carol:
        assert (await carol.call("me"))["user"]["id"] == person.id


async def test_an_auth_token_with_a_foreign_cookie_is_refused(cluster: Cluster) -> None:
    ann, bob = await cluster.person("ann"), await cluster.person("bob")
    with pytest.raises(Refused) as refusal:
        await Client.connect(
            cluster[0].url, auth_token=ann.auth_token, headers={"Cookie": f"JSESSIONID={bob.cookie}"}
        )
    assert refusal.value.code == refusal.value.error["code"] == "unauthenticated"


async def test_people_are_not_mixed_up_however_they_come_at_once(cluster: Cluster) -> None:
    people = [await cluster.person(login) for login in ("ann", "bob", "carol", "dan", "eve")]

    async def come(person: LibraryUser, number: int) -> None:
        cookie = {"Cookie": f"JSESSIONID={person.cookie}"}
        if number % 2:
            client = await Client.connect(cluster[0].url, auth_token=person.auth_token, headers=cookie)
        else:
            client = await Client.connect(cluster[0].url, identity_token=await person.identity_token())
        async with client, Rest.open(cluster[0].url, auth_token=person.auth_token) as rest:
            seen = [
                client.hello["user"],
                (await client.call("me"))["user"],
                (await rest.get("/me", headers=cookie))["user"],
            ]
            assert [user["id"] for user in seen] == [person.id] * 3

    await asyncio.gather(*(come(person, number) for number in range(4) for person in people))


async def test_one_identity_token_opens_every_node_at_once(cluster: Cluster) -> None:
    token = await (await cluster.person("eve")).identity_token()
    clients = await asyncio.gather(
        *(Client.connect(cluster[node % 3].url, identity_token=token) for node in range(6))
    )
    assert len({client.hello["user"]["id"] for client in clients}) == 1
    await asyncio.gather(*(client.close() for client in clients))


async def test_rest_takes_each_token_in_its_header_or_as_bearer(cluster: Cluster) -> None:
    person = await cluster.person("dan")
    resume_token = (await cluster.client(1, "dan")).hello["resumeToken"]
    async with Rest.open(cluster[0].url) as rest:
        for headers in (
            {"X-MSTR-IdentityToken": await person.identity_token()},
            {"X-MSTR-AuthToken": person.auth_token},
            {"X-MSTR-AuthToken": person.auth_token, "Cookie": f"JSESSIONID={person.cookie}"},
            {"Authorization": f"Bearer {await person.identity_token()}"},
            {"Authorization": f"bearer {person.auth_token}"},
            {"Authorization": f"Bearer {resume_token}"},
        ):
            assert (await rest.get("/me", headers=headers))["user"]["id"] == person.id


async def test_rest_takes_one_token_and_no_two_of_any_kinds(cluster: Cluster) -> None:
    person, other = await cluster.person("dan"), await cluster.person("ann")
    shown = [
        ("X-MSTR-IdentityToken", await person.identity_token()),
        ("X-MSTR-AuthToken", other.auth_token),
        ("Authorization", f"Bearer {await person.identity_token()}"),
    ]
    async with new_session(keeps_cookies=False) as http:
        for headers in itertools.product(shown, repeat=2):
            async with http.get(f"{cluster[0].url}/api/me", headers=CIMultiDict(headers)) as answer:
                assert answer.status == 401, [name for name, _ in headers]
        basic = CIMultiDict([("Authorization", "Basic eDp5"), shown[0]])  # as a gateway may add
        async with http.get(f"{cluster[0].url}/api/me", headers=basic) as answer:
            assert (await answer.json())["user"]["id"] == person.id


# --- coming back


async def test_a_resume_token_opens_another_node_without_asking_library(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    ann = await LibraryUser.sign_in(brief_library.url, "ann")
    async with await Client.connect(brief[0].url, identity_token=await ann.identity_token()) as first:
        resume_token = first.hello["resumeToken"]
    asking = ("POST /auth/delegate", "GET /sessions/userInfo", "GET /sessions")
    before = await at_standin(brief_library, "GET", "/calls")
    for node in (1, 0, 1):
        async with await Client.connect(brief[node].url, resume_token=resume_token) as again:
            assert again.hello["user"]["id"] == ann.id
            resume_token = again.hello["resumeToken"]
    after = await at_standin(brief_library, "GET", "/calls")
    assert [after.get(call) for call in asking] == [before.get(call) for call in asking]


async def test_while_library_is_away_known_people_come_back_and_nobody_else(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    ann, bob = [await LibraryUser.sign_in(brief_library.url, login) for login in ("ann", "bob")]
    bobs_token = await bob.identity_token()
    shown = {"Cookie": ann.cookie_header}
    first = await Client.connect(brief[0].url, auth_token=ann.auth_token, headers=shown)
    try:
        await asyncio.to_thread(brief_library.stop)
        again = await Client.connect(brief[1].url, resume_token=first.hello["resumeToken"])
        await again.close()
        assert (await first.call("me"))["user"]["id"] == ann.id
        with pytest.raises(Refused) as refusal:
            await Client.connect(brief[0].url, identity_token=bobs_token)
        assert refusal.value.code == refusal.value.error["code"] == "unavailable"
        assert refusal.value.error["retryAfter"] > 0
        async with Rest.open(brief[0].url, identity_token=bobs_token) as rest:
            status, error, headers = await rest.request("GET", "/me")
            assert (status, error["code"]) == (503, "unavailable")
            assert int(headers["Retry-After"]) >= 1
        assert (await brief[0].status())["state"] == "running"
    finally:
        await asyncio.to_thread(brief_library.start)
        await first.close()


async def test_a_token_that_was_tampered_with_is_refused(cluster: Cluster) -> None:
    token = (await cluster.client(0, "ann")).hello["resumeToken"]
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    for bad in (token[:-10], token[:middle] + other + token[middle + 1 :], token.lower()):
        with pytest.raises(Refused) as refusal:
            await Client.connect(cluster[1].url, resume_token=bad)
        assert refusal.value.code == "unauthenticated"


# --- the end of a session


async def test_whoever_is_signed_out_at_library_is_told_and_disconnected(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    ann, carol = [await LibraryUser.sign_in(brief_library.url, login) for login in ("ann", "carol")]
    other = await Client.connect(brief[0].url, identity_token=await carol.identity_token())
    async with await Raw.open(brief[0].url, {"identityToken": await ann.identity_token()}) as raw:
        await at_standin(brief_library, "POST", "/end-sessions", {"person": "ann"})
        signed_out = await raw.next(SESSION_SECONDS + 4)
        assert signed_out == '42["server.signed_out",{"reason":"session_ended"}]'
        assert await raw.next() == "41"
        await raw.send('421["me"]')
        assert not [frame for frame in await raw.wait_until_closed(15) if str(frame).startswith("43")]
    assert (await other.call("me"))["user"]["id"] == carol.id
    await other.close()


async def test_a_resume_token_ends_with_its_session(brief: Cluster, brief_library: StandInLibrary) -> None:
    bob = await LibraryUser.sign_in(brief_library.url, "bob")
    client = await Client.connect(brief[0].url, identity_token=await bob.identity_token())
    resume_token = client.hello["resumeToken"]
    await at_standin(brief_library, "POST", "/end-sessions", {"person": "bob"})
    await client.wait_for("server.signed_out", timeout=SESSION_SECONDS + 4)
    assert await client.wait_until_closed()
    await client.close()
    with pytest.raises(Refused) as refusal:
        await Client.connect(brief[0].url, resume_token=resume_token)
    assert refusal.value.code == "unauthenticated"
    # The other node does not know yet: it lets the client in, notices and puts it out again.
    try:
        again = await Client.connect(brief[1].url, resume_token=resume_token)
    except Refused as at_once:
        code = at_once.code
    else:
        await again.wait_for("server.signed_out", timeout=SESSION_SECONDS + 4)
        code = "unauthenticated" if await again.wait_until_closed() else ""
        await again.close()
    assert code == "unauthenticated"


async def test_sessions_live_as_long_as_somebody_uses_them(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    """The node keeps a session alive for its clients, so that nobody is put out while connected."""
    dan = await LibraryUser.sign_in(brief_library.url, "dan")
    async with await Client.connect(brief[0].url, identity_token=await dan.identity_token()) as client:
        calls = (await at_standin(brief_library, "GET", "/calls")).get("PUT /sessions", 0)

        async def was_kept_alive(times: int) -> None:
            async with asyncio.timeout(3 * SESSION_SECONDS):
                while (await at_standin(brief_library, "GET", "/calls")).get(
                    "PUT /sessions", 0
                ) < calls + times:
                    await asyncio.sleep(0.1)

        await was_kept_alive(4)
        assert client.is_connected
        assert (await client.call("me"))["user"]["id"] == dan.id


# --- a fresh session on an open connection


@pytest.mark.parametrize("kind", ["identityToken", "authToken"])
async def test_a_session_is_refreshed_on_the_open_connection(cluster: Cluster, kind: str) -> None:
    ann = await cluster.client(0, "ann")
    person = await cluster.person("ann")
    token = await person.identity_token() if kind == "identityToken" else person.auth_token
    answer = await ann.call("session.refresh", {kind: token})
    assert list(answer) == ["user", "resumeToken", "expiresAt"]
    assert answer["user"] == ann.hello["user"]
    async with await Client.connect(cluster[1].url, resume_token=answer["resumeToken"]) as again:
        assert again.hello["user"] == ann.hello["user"]


async def test_a_session_is_not_refreshed_with_somebody_elses_token(cluster: Cluster) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.person("bob")
    for payload, code in (
        ({"identityToken": await bob.identity_token()}, "forbidden"),
        ({"authToken": bob.auth_token}, "forbidden"),
        ({"identityToken": "nonsense"}, "unauthenticated"),
        ({"identityToken": "a", "authToken": "b"}, "unauthenticated"),
    ):
        with pytest.raises(Failed) as refusal:
            await ann.call("session.refresh", payload)
        assert refusal.value.code == code
    assert (await ann.call("me"))["user"] == ann.hello["user"]


async def test_a_refreshed_connection_outlives_its_first_session(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    first = await LibraryUser.sign_in(brief_library.url, "eve")
    second = await LibraryUser.sign_in(brief_library.url, "eve", earlier=first)
    shown = {
        "Cookie": first.cookie_header
    }  # of the handshake: the JSESSIONID is not that of the second session
    stays = await Client.connect(brief[0].url, auth_token=first.auth_token, headers=shown)
    goes = await Client.connect(brief[0].url, auth_token=first.auth_token, headers=shown)
    await stays.call("session.refresh", {"authToken": second.auth_token})
    await first.sign_out()
    await goes.wait_for("server.signed_out", timeout=SESSION_SECONDS + 4)
    assert (await stays.call("me"))["user"]["id"] == second.id
    assert stays.is_connected
    await stays.close()
    await goes.close()


async def test_a_connection_is_refreshed_though_its_session_turns_out_to_be_over(
    brief: Cluster, brief_library: StandInLibrary
) -> None:
    dan = await LibraryUser.sign_in(brief_library.url, "dan")
    client = await Client.connect(brief[0].url, identity_token=await dan.identity_token())
    await at_standin(brief_library, "POST", "/end-sessions", {"person": "dan"})
    dan = await LibraryUser.sign_in(brief_library.url, "dan")
    await client.call("session.refresh", {"identityToken": await dan.identity_token()})
    assert (await client.call("me"))["user"]["id"] == dan.id
    assert client.is_connected
    await client.close()


async def test_a_client_may_leave_and_sign_in_again_without_a_new_transport(cluster: Cluster) -> None:
    person = await cluster.person("bob")
    connect = {"identityToken": await person.identity_token()}
    async with await Raw.open(cluster[0].url, connect) as bob:
        await bob.send("41", f"40{json.dumps(connect)}")
        assert str(await bob.next()).startswith('40{"sid"')
        assert str(await bob.next()).startswith('42["server.hello"')
        await bob.send('421["me"]')
        assert (await bob.answer(1))["data"]["user"]["id"] == person.id


# --- not signing in


async def test_whoever_does_not_sign_in_is_put_out_after_ten_seconds(cluster: Cluster) -> None:
    loop = asyncio.get_running_loop()
    started, watch = loop.time(), Stopwatch()

    async def lurk(*frames: str) -> tuple[float, float]:
        async with await Raw.open(cluster[0].url) as somebody:
            await somebody.send(*frames)
            await somebody.wait_until_closed(20)
            return loop.time() - started, watch.seconds

    silent, refused = await asyncio.gather(lurk(), lurk('40{"identityToken":"x"}'))
    assert silent[0] > 8
    assert silent[1] < 13
    assert refused[1] < 13
