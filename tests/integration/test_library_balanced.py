"""Library as the product's help sets it up: members behind a load balancer that keeps sessions by a cookie of its own.

The balancer is NGINX, which takes no header line above 8 KB; the members do not share their sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.types import ASGIApp, Receive, Scope, Send

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from collab_server.demo.serving import LoopbackServer
from collab_server.demo.standin import Person, create_members
from collab_server.domain.cookies import read_cookies
from tests.harness.clients import Client, Failed, LibraryUser, Refused, Rest
from tests.harness.cluster import Cluster
from tests.harness.world import World, fresh_topic, test_data
from tests.integration.doors import Raw

NGINX = """\
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    large_client_header_buffers 4 8k;
    upstream library {{
        zone library 64k;
        server {0};
        server {1};
        sticky cookie Balancer.Of+Library expires=1h path=/;
    }}
    server {{
        listen 127.0.0.1:{2};
        location / {{ proxy_pass http://library; proxy_set_header Host $http_host; }}
    }}
}}
"""
OTHERS = "; ".join(f"app{number}={'x' * 1000}" for number in range(60))
"""60 KB of what other applications on the host have set."""
LOGINS = [f"user{number}" for number in range(10)]


class Listening:
    """In front of a member: notes which cookies it is sent, and how large the largest head was."""

    def __init__(self, app: ASGIApp, names: set[str], sizes: list[int]) -> None:
        self._app, self._names, self._sizes = app, names, sizes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope["headers"]:
            if name == b"cookie":
                self._names.update(name for name, _ in read_cookies(value.decode("latin-1")))
        self._sizes.append(sum(len(name) + len(value) for name, value in scope["headers"]))
        await self._app(scope, receive, send)


class BalancedLibrary:
    """Two members and NGINX. `names`, `sizes`: of the cookies and heads that came to a member."""

    def __init__(self, folder: Path) -> None:
        data = test_data()
        people = [
            Person(login=login, id=f"{number:032X}", fullName=login, initials="U")
            for number, login in enumerate(LOGINS, 1)
        ]
        data = data.model_copy(update={"people": (*data.people, *people)})
        self.names: set[str] = set()
        self.sizes: list[int] = []
        members = create_members(2, data, identity_token_seconds=600)
        # One loop for both: they share who may open what.
        self._members = [LoopbackServer(Listening(app, self.names, self.sizes)) for app in members]
        self._folder = folder
        self._running = ExitStack()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/MicroStrategyLibrary/api"

    def __enter__(self) -> BalancedLibrary:
        for member in self._members:
            self._running.enter_context(member)
        config = NGINX.format(*(member.address for member in self._members), self.port)
        self._running.enter_context(EmbeddedNginx(config, self._folder, port=self.port))
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BalancedLibrary]:
    with BalancedLibrary(tmp_path_factory.mktemp("library") / "nginx") as library:
        yield library


@pytest_asyncio.fixture(scope="module")
async def pair(world: World, balanced: BalancedLibrary) -> AsyncIterator[Cluster]:
    """Two nodes of that Library."""
    async with Cluster(world.new_database(), balanced, world.valkey.url, nodes=2) as cluster:  # type: ignore[arg-type]
        yield cluster


async def test_ten_people_at_once_sign_in_with_either_token_at_either_door(
    pair: Cluster, balanced: BalancedLibrary
) -> None:
    people = await asyncio.gather(*(LibraryUser.sign_in(balanced.url, login) for login in LOGINS))
    topic = fresh_topic()

    async def come(person: LibraryUser) -> None:
        shown = {"Cookie": f"{OTHERS}; {person.cookie_header}"}
        auth = {"auth_token": person.auth_token, "headers": shown}
        identity = {"identity_token": await person.identity_token()}
        for number, given in enumerate((auth, identity, auth, identity)):
            async with await Client.connect(pair[number % 2].url, **given) as client:  # type: ignore[arg-type]
                assert client.hello["user"]["id"] == person.id
                await client.call("topic.subscribe", {"topic": topic})
                found = await client.call("recipients.find", {"search": person.login})
                assert person.id in {one["id"] for one in found["items"]}
                resumed = await Client.connect(
                    pair[1 - number % 2].url, resume_token=client.hello["resumeToken"]
                )
                assert len(client.hello["resumeToken"]) < 8192
            async with resumed:  # its session is at one of the members: this node has to know at which
                assert (await resumed.call("topic.get", {"topic": fresh_topic()}))["seq"] == 0
                assert resumed.hello["user"]["id"] == person.id
        async with Rest.open(pair[0].url, auth_token=person.auth_token) as rest:
            assert (await rest.get("/me", headers=shown))["user"]["id"] == person.id
        async with Rest.open(pair[1].url, **identity) as rest:
            assert (await rest.get("/me"))["user"]["id"] == person.id

    await asyncio.gather(*map(come, people))
    assert balanced.names == {"JSESSIONID", "Balancer.Of+Library"}
    assert max(balanced.sizes) < 8192


async def test_nobody_gets_in_with_somebody_elses_cookies(pair: Cluster, balanced: BalancedLibrary) -> None:
    ann, bob = [await LibraryUser.sign_in(balanced.url, login) for login in ("ann", "bob")]
    with pytest.raises(Refused) as refusal:
        await Client.connect(pair[0].url, auth_token=ann.auth_token, headers={"Cookie": bob.cookie_header})
    assert refusal.value.code == "unauthenticated"
    async with await Client.connect(
        pair[0].url, auth_token=ann.auth_token, headers={"Cookie": ann.cookie_header}
    ) as client:
        assert client.hello["user"]["id"] == ann.id


@pytest.mark.parametrize("beside", ['prefs={"theme":"dark"}', "müller=ß", 'a="', "=;;=", "x=\\a\\a"])
async def test_odd_cookies_hide_nothing_at_either_door(
    pair: Cluster, balanced: BalancedLibrary, beside: str
) -> None:
    carol = await LibraryUser.sign_in(balanced.url, "carol")
    header = f"{beside}; {carol.cookie_header}".encode().decode("latin-1")
    async with Rest.open(pair[1].url, auth_token=carol.auth_token) as rest:
        assert (await rest.get("/me", headers={"Cookie": header}))["user"]["id"] == carol.id
    async with await Raw.open(pair[0].url, {"authToken": carol.auth_token}, {"Cookie": header}) as raw:
        await raw.send('421["me"]')
        assert (await raw.answer(1))["data"]["user"]["id"] == carol.id


async def test_backslashes_cost_nothing_at_either_door(pair: Cluster) -> None:
    """With the `http.cookies` of an old Python a node would stand still for seconds."""
    header = {"Cookie": 'JSESSIONID="' + "\\a" * 30_000}
    async with Rest.open(pair[0].url, auth_token="x") as rest:
        with pytest.raises(Failed) as refusal:
            await rest.get("/me", headers=header)
        assert refusal.value.status == 401
    with pytest.raises(Refused) as refused:
        await Client.connect(pair[0].url, auth_token="x", headers=header)
    assert refused.value.code == "unauthenticated"
