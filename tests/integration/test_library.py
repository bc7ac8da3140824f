"""The Library client, sessions and sign-in, over real HTTP with the stand-in.

Where a test does not say otherwise that is three members behind a balancer which goes by a cookie of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Refused, SessionGone, trust
from collab_server.authority.library.cookies import Jar
from collab_server.authority.library.library import Library, Timing
from collab_server.demo.standin import create_standin, load_data
from collab_server.domain.cookies import Cookie, without_cookie
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import AuthoritySession, Identity
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import Ended, SignedIn
from collab_server.services.sign_in import Authenticator, Credentials
from tests.harness.waiting import Stopwatch, until

KEY = b"k" * 32
DATA = load_data()
RETAIL, LOGISTICS = DATA.projects
OVERVIEW, STORES, BOARD, ORDERS = RETAIL.objects
PEOPLE = {person.login: person for person in DATA.people}
SALES = DATA.groups[0]


class FreezingGate:
    """In front of an app: while `is_frozen`, requests are accepted and get no answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.is_frozen = False
        self.waiting = 0
        self.most_waiting = 0
        self.calls: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append(f"{scope['method']} {scope['path'].removeprefix('/MicroStrategyLibrary/api')}")
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        while self.is_frozen:
            await asyncio.sleep(0.02)
        self.waiting -= 1
        await self.app(scope, receive, send)


class StandIn:
    """The stand-in on a loopback port, in a thread of its own."""

    def __init__(
        self,
        session_timeout_seconds: float = 1800,
        identity_token_seconds: float = 60,
        certificate: Path | None = None,
        balanced: int | None = 3,
    ) -> None:
        app = create_standin(
            session_timeout_seconds=session_timeout_seconds,
            identity_token_seconds=identity_token_seconds,
            balanced=balanced,
        )
        self.gate = FreezingGate(app)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.root = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = self.root + "/MicroStrategyLibrary/api"
        config = uvicorn.Config(
            self.gate,
            log_level="warning",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._http = httpx2.Client(base_url=self.root, trust_env=False)

        if certificate is not None:
            self.url = self.url.replace("http:", "https:")

    def __enter__(self) -> StandIn:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self._server.started
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.is_frozen = False
        self._http.close()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    def calls(self) -> dict[str, int]:
        calls: dict[str, int] = self._http.get("/standin/calls").json()
        return calls

    def open_sessions(self, login: str) -> int:
        count: int = self._http.get("/standin/sessions").json()["byPerson"].get(login, 0)
        return count

    def let_open(self, object_id: str, logins: list[str] | None) -> None:
        body = {"objectId": object_id, "openTo": logins}
        assert self._http.post("/standin/access", json=body).status_code == 204

    def end_sessions(self, login: str) -> None:
        assert self._http.post("/standin/end-sessions", json={"person": login}).status_code == 204


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@contextlib.asynccontextmanager
async def a_client(standin: StandIn) -> AsyncIterator[LibraryApi]:
    client = LibraryApi(standin.url)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


@contextlib.asynccontextmanager
async def a_library(url: str, timing: Timing | None = None) -> AsyncIterator[Library]:
    library = Library(url, timing=timing)
    await library.start()
    try:
        yield library
    finally:
        await library.stop()


def an_authenticator(library: Library) -> Authenticator:
    authenticator = Authenticator(library.as_authority(), administrators=[PEOPLE["admin"].id])
    authenticator.use_keys(KeyRing.of(KEY))
    return authenticator


def cookies_of(client: LibraryApi, session: AuthoritySession) -> str:
    """What the browser of that session would show, were it beside the node."""
    return client.cookies.header(session, "/") or ""


async def identity_token(client: LibraryApi, login: str) -> str:
    return await client.make_identity_token(await client.login(login, login))


def who(signed_in: SignedIn) -> Identity:
    later = datetime.now(UTC) + timedelta(seconds=signed_in.timeout_seconds)
    return Identity(signed_in.user, signed_in.session, is_administrator=False, expires_at=later)


async def until_called(standin: StandIn, call: str, times: int) -> None:
    async def is_called() -> bool:
        return (await asyncio.to_thread(standin.calls)).get(call, 0) >= times

    await until(is_called, what=f"{call} is called {times} times")


# --- the bare calls


@pytest.mark.parametrize("balanced", [None, 3])
async def test_every_call_of_library_is_understood(balanced: int | None) -> None:
    with StandIn(balanced=balanced) as standin:
        await make_every_call(standin)


async def make_every_call(standin: StandIn) -> None:
    async with a_client(standin) as client:
        session = await client.login("ann", "ann")
        ann = PEOPLE["ann"]
        token = await client.make_identity_token(session)
        assert await client.is_identity_token(token)
        assert not await client.is_identity_token("nonsense")
        delegated = await client.delegate(token)
        assert delegated.is_delegated
        info = await client.session_info(delegated)
        assert (info.user.id, info.user.name, info.user.initials) == (ann.id, ann.fullName, ann.initials)
        assert info.timeout_seconds == 1800
        assert await client.user_info(delegated) == info.user
        await client.keep_alive(delegated)

        dashboard = await client.content(delegated, RETAIL.id.lower(), BOARD.id.lower(), 55)
        assert dashboard is not None
        assert (dashboard.id, dashboard.name, dashboard.type) == (BOARD.id, BOARD.name, 55)
        assert await client.content(delegated, RETAIL.id, ORDERS.id, 55) is None
        assert await client.content(delegated, LOGISTICS.id, BOARD.id, 55) is None

        assert await client.user(delegated, ann.id) == info.user
        assert await client.user(delegated, "0" * 32) is None
        assert [user.name for user in await client.users(delegated, "Bob", 0, 10)] == ["Bob Baker"]
        members = await client.group_members(delegated, SALES.id, 0, 10)
        assert members is not None
        assert [member.name for member in members.users] == ["Ann Archer", "Bob Baker", "Carol Chen"]
        assert members.groups == ()
        assert await client.group_members(delegated, "0" * 32, 0, 10) is None
        assert await client.group_name(delegated, SALES.id) == "Sales"
        assert await client.group_name(delegated, "0" * 32) is None
        found = await client.recipients(delegated, "sales", 0, 10)
        assert [(one.kind, one.name) for one in found] == [("group", "Sales")]

        await client.logout(delegated)
        with pytest.raises(SessionGone):
            await client.user_info(delegated)
        with pytest.raises(Refused):
            await client.login("ann", "wrong")


async def test_two_users_interleaved_never_get_each_others_session(standin: StandIn) -> None:
    async with a_client(standin) as client:
        ann, bob = await client.login("ann", "ann"), await client.login("bob", "bob")
        assert ann.cookie != bob.cookie
        # The stand-in refuses a token that comes with the other's cookie.
        users = await asyncio.gather(*(client.user_info(ann if i % 2 else bob) for i in range(40)))
        assert [user.name for user in users] == ["Bob Baker", "Ann Archer"] * 20
        with pytest.raises(SessionGone):
            await client.user_info(AuthoritySession(ann.auth_token, bob.cookie, is_delegated=False))


async def test_a_certificate_counts_only_when_it_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, root = tmp_path / "server.pem", tmp_path / "root.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(root)
    with StandIn(certificate=certificate) as standin:
        trusting, doubting = LibraryApi(standin.url, ssl_context=trust([root])), LibraryApi(standin.url)
        for client in (trusting, doubting):
            await client.start()
        session = await trusting.login("ann", "ann")
        assert (await trusting.user_info(session)).name == "Ann Archer"
        with pytest.raises(Unavailable):
            await doubting.user_info(session)
        for client in (trusting, doubting):
            await client.stop()


# --- what the services ask


async def test_a_dashboard_and_a_report_are_both_found_and_a_closed_one_is_not(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        carol = who(await library.sessions.sign_in_with_identity_token(await identity_token(client, "carol")))
        overview = await library.questions.may_open(carol, RETAIL.id, OVERVIEW.id)
        orders = await library.questions.may_open(carol, RETAIL.id, ORDERS.id)
        assert overview is not None
        assert overview.type == 55
        assert orders is not None
        assert orders.type == 3
        assert await library.questions.may_open(carol, RETAIL.id, BOARD.id) is None
        members = await library.questions.group_members(carol, SALES.id)
        assert members is not None
        assert len(members) == 3
        users = await library.questions.recipients(carol, "a", kind="user")
        assert {one.kind for one in users} == {"user"}
        bob = await library.questions.user(carol, PEOPLE["bob"].id)
        assert bob is not None
        assert bob.name == "Bob Baker"


async def test_hundred_askers_make_one_call_and_a_cancelled_one_does_not_disturb(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        ann = who(await library.sessions.sign_in_with_identity_token(await identity_token(client, "ann")))
        standin.gate.is_frozen = True
        asking = [
            asyncio.create_task(library.questions.may_open(ann, RETAIL.id, BOARD.id)) for _ in range(100)
        ]
        await asyncio.sleep(0)
        asking[0].cancel()
        standin.gate.is_frozen = False
        answers = await asyncio.gather(*asking[1:])
        assert all(answer is not None for answer in answers)
        await library.questions.may_open(ann, RETAIL.id, BOARD.id)
        assert standin.calls()["GET /objects/{id}"] == 1


async def test_an_answer_is_kept_and_asked_again_when_it_is_old(standin: StandIn) -> None:
    timing = Timing(fresh=0.2, refusal=0.2)
    async with a_client(standin) as client, a_library(standin.url, timing) as library:
        carol = who(await library.sessions.sign_in_with_identity_token(await identity_token(client, "carol")))
        assert await library.questions.may_open(carol, RETAIL.id, STORES.id) is not None
        assert library.questions.last_answer(carol, RETAIL.id, STORES.id) is not None
        standin.let_open(STORES.id, ["ann"])

        async def is_refused() -> bool:
            return await library.questions.may_open(carol, RETAIL.id, STORES.id) is None

        await until(is_refused)
        assert library.questions.last_answer(carol, RETAIL.id, STORES.id) is None
        standin.let_open(STORES.id, None)

        async def is_let_in() -> bool:
            return not await is_refused()

        await until(is_let_in)


async def test_a_question_of_one_users_two_sessions_survives_the_end_of_one(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        first, second = await client.login("ann", "ann"), await client.login("ann", "ann")
        one, two = [
            who(
                await library.sessions.sign_in_with_auth_token(
                    mine.auth_token, mine.cookie, cookies_of(client, mine)
                )
            )
            for mine in (first, second)
        ]
        await client.logout(first)
        answers = await asyncio.gather(
            library.questions.may_open(one, RETAIL.id, BOARD.id),
            library.questions.may_open(two, RETAIL.id, BOARD.id),
            return_exceptions=True,
        )
        assert isinstance(answers[0], Unauthenticated)
        assert not isinstance(answers[1], BaseException)
        assert answers[1] is not None


async def test_one_user_has_at_most_sixteen_calls_in_flight(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        ann = who(await library.sessions.sign_in_with_identity_token(await identity_token(client, "ann")))
        bob = who(await library.sessions.sign_in_with_identity_token(await identity_token(client, "bob")))
        standin.gate.is_frozen, standin.gate.most_waiting = True, 0
        asking = [asyncio.create_task(library.questions.recipients(ann, str(i))) for i in range(40)]
        await until(lambda: standin.gate.waiting == 16)
        asking.append(asyncio.create_task(library.questions.recipients(bob, "a")))
        await until(lambda: standin.gate.waiting == 17)
        standin.gate.is_frozen = False
        await asyncio.gather(*asking)
        assert standin.gate.most_waiting == 17


# --- delegated sessions and auth tokens


async def test_a_second_identity_token_is_proved_and_its_session_logged_out(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        browser = await client.login("ann", "ann")
        tokens = [await client.make_identity_token(browser) for _ in range(3)]
        first = await library.sessions.sign_in_with_identity_token(tokens[0])
        second = await library.sessions.sign_in_with_identity_token(tokens[1])
        assert second.session == first.session
        third = await library.sessions.sign_in_with_identity_token(tokens[2])
        assert third.session == first.session
        await until_called(standin, "POST /auth/logout", 2)
        assert standin.calls()["POST /auth/delegate"] == 3
        assert standin.open_sessions("ann") == 2  # the browser's and ours
        assert (await client.user_info(browser)).name == "Ann Archer"


async def test_sign_ins_at_the_same_time_agree_on_one_session(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        browser = await client.login("ann", "ann")
        tokens = [await client.make_identity_token(browser) for _ in range(8)]
        signed_in = await asyncio.gather(*map(library.sessions.sign_in_with_identity_token, tokens))
        assert len({one.session for one in signed_in}) == 1
        await until_called(standin, "POST /auth/logout", 7)
        assert standin.open_sessions("ann") == 2


async def test_a_dead_first_session_is_replaced_by_the_second(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        first = await library.sessions.sign_in_with_identity_token(await identity_token(client, "ann"))
        standin.end_sessions("ann")
        second = await library.sessions.sign_in_with_identity_token(await identity_token(client, "ann"))
        assert second.session != first.session
        assert library.sessions.is_ended(first.session)
        with pytest.raises(Unauthenticated):
            await library.questions.may_open(who(first), RETAIL.id, BOARD.id)
        assert await library.questions.may_open(who(second), RETAIL.id, BOARD.id) is not None


async def test_at_the_end_only_delegated_sessions_that_nobody_holds_are_logged_out(standin: StandIn) -> None:
    async with a_client(standin) as client:
        async with a_library(standin.url) as library:
            authenticator = an_authenticator(library)
            carol = await client.login("carol", "carol")
            await authenticator.sign_in(Credentials(identity_token=await identity_token(client, "ann")))
            await authenticator.identify(Credentials(identity_token=await identity_token(client, "bob")))
            await authenticator.sign_in(
                Credentials(auth_token=carol.auth_token, cookie_header=cookies_of(client, carol))
            )
        assert standin.open_sessions("ann") == 2  # sealed into a resume token: another node may use it
        assert standin.open_sessions("bob") == 1  # only the browser's is left
        assert standin.open_sessions("carol") == 1
        assert (await client.user_info(carol)).name == "Carol Chen"


async def test_an_identity_token_runs_out() -> None:
    with StandIn(identity_token_seconds=0.05) as standin:
        async with a_client(standin) as client, a_library(standin.url) as library:
            token = await identity_token(client, "ann")

            async def has_run_out() -> bool:
                return not await client.is_identity_token(token)

            await until(has_run_out)
            with pytest.raises(Unauthenticated):
                await library.sessions.sign_in_with_identity_token(token)


async def test_an_auth_token_with_anothers_cookie_is_refused_and_ends_nobodys_session(
    standin: StandIn,
) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        authenticator = an_authenticator(library)
        ann, bob = await client.login("ann", "ann"), await client.login("bob", "bob")
        cookies = cookies_of(client, ann)
        right = Credentials(auth_token=ann.auth_token, cookie_header=cookies)
        assert (await authenticator.identify(right)).user.name == "Ann Archer"
        wrong = Credentials(auth_token=ann.auth_token, cookie=bob.cookie, cookie_header=cookies)
        with pytest.raises(Unauthenticated):
            await authenticator.identify(wrong)
        assert (await authenticator.identify(right)).user.name == "Ann Archer"
        others = without_cookie(cookies, "JSESSIONID")
        without = await authenticator.identify(Credentials(auth_token=ann.auth_token, cookie_header=others))
        assert without.user.name == "Ann Archer"


async def test_a_first_sign_in_teaches_which_cookies_are_librarys(standin: StandIn) -> None:
    """Nothing is known of Library yet, and each call without its balancer's cookie goes to another member."""
    shown = "; ".join(f"app{number}={'x' * 1000}" for number in range(60))
    async with a_client(standin) as client:
        for login in ("ann", "bob", "carol", "dan"):
            session = await client.login(login, login)
            library = Library(standin.url)
            assert library._api is not None
            await library._api.start()  # and not itself, for it would ask something first
            async with contextlib.AsyncExitStack() as ends:
                ends.push_async_callback(library.stop)
                header = f"{shown}; {cookies_of(client, session)}"
                credentials = Credentials(auth_token=session.auth_token, cookie_header=header)
                identity = await an_authenticator(library).identify(credentials)
                assert identity.user.id == PEOPLE[login].id
                assert await library.questions.may_open(identity, RETAIL.id, OVERVIEW.id) is not None


async def test_a_cookie_that_is_set_on_answers_to_post_alone_is_learnt_too(standin: StandIn) -> None:
    """As HAProxy does with `postonly`; a node that is shown auth tokens asks by GET."""
    balancer = standin.gate.app

    async def set_on_posts_alone(scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] != "POST":
                headers = [pair for pair in message["headers"] if not pair[1].startswith(b"LIBRARYROUTE=")]
                message = {**message, "headers": headers}
            await send(message)

        await balancer(scope, receive, pass_on)

    standin.gate.app = set_on_posts_alone
    logins = ["ann", "bob", "carol", "dan"] * 2
    async with a_client(standin) as client, a_library(standin.url) as library:
        sessions = [await client.login(login, login) for login in logins]
        shown = [Credentials(auth_token=s.auth_token, cookie_header=cookies_of(client, s)) for s in sessions]
        authenticator = an_authenticator(library)
        identities = await asyncio.gather(*map(authenticator.identify, shown))
        assert [identity.user.id for identity in identities] == [PEOPLE[login].id for login in logins]
        for identity in identities * 2:  # whoever found their member by chance would be lost by now
            assert await library.questions.may_open(identity, RETAIL.id, OVERVIEW.id) is not None
        asked = standin.gate.calls.count("POST /auth/identityToken")
        for number in range(5):
            with pytest.raises(Unauthenticated):
                await authenticator.identify(Credentials(auth_token=f"guess{number}", cookie_header="app=1"))
        assert standin.gate.calls.count("POST /auth/identityToken") == asked == 1


async def test_whatever_bytes_and_cookies_answers_have_harms_nobody(standin: StandIn) -> None:
    balancer = standin.gate.app
    odd = [
        *("m\xfcll=\xdf; Path=/", "utf=\u00c3\u00bc", "=;=;", "", "twice=1", "twice=2", 'quoted="a b"'),
        *("big=" + "x" * 4093, "huge=" + "x" * 50_000, "gone=1; Max-Age=0", "elsewhere=1; Path=/other"),
        *(f"many{number}={number}" for number in range(15)),
    ]

    async def add_odd_ones(scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(b"set-cookie", one.encode("latin-1")) for one in odd]
                message = {**message, "headers": [*message["headers"], (b"x-name", b"M\xfcller"), *more]}
            await send(message)

        await balancer(scope, receive, pass_on)

    standin.gate.app = add_odd_ones
    async with a_client(standin) as client, a_library(standin.url) as library:
        ann = await client.login("ann", "ann")
        authenticator = an_authenticator(library)
        for credentials in (
            Credentials(auth_token=ann.auth_token, cookie_header=cookies_of(client, ann)),
            Credentials(identity_token=await client.make_identity_token(ann)),
        ):
            signed_in = await authenticator.sign_in(credentials)
            assert signed_in.identity.user.name == "Ann Archer"
            assert len(signed_in.resume_token) < 8192
            kept = {
                cookie.name: cookie.value for cookie in library.sessions.cookies(signed_in.identity.session)
            }
            assert kept["twice"] == "2"
            assert not kept.keys() & {"big", "huge", "gone", "elsewhere"}
            assert await library.questions.may_open(signed_in.identity, RETAIL.id, OVERVIEW.id) is not None


async def test_a_session_goes_on_whatever_cookies_its_user_shows(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        session = await client.login("ann", "ann")
        cookies = cookies_of(client, session)
        told: list[Ended] = []
        signed_in = await library.sessions.sign_in_with_auth_token(
            session.auth_token, session.cookie, cookies
        )
        use = library.sessions.attach(signed_in.session, 1000, told.append)
        right = dict(pair.split("=", 1) for pair in cookies.split("; "))["LIBRARYROUTE"]
        for member in {"0", "1", "2"} - {right[0]}:
            for header in ("", f"LIBRARYROUTE={member}.x"):
                again = await library.sessions.sign_in_with_auth_token(
                    session.auth_token, session.cookie, header
                )
                assert again.session == signed_in.session
        use.detach()
        assert told == []
        # And what is kept here may be of no use any more while the browser's is.
        library.sessions._cookies.put(signed_in.session, Jar([Cookie("LIBRARYROUTE", "nowhere")]))
        for _ in range(3):
            await library.sessions.sign_in_with_auth_token(session.auth_token, session.cookie, cookies)
        assert await library.questions.may_open(who(signed_in), RETAIL.id, OVERVIEW.id) is not None


async def test_another_node_reaches_the_member_that_has_the_session(standin: StandIn) -> None:
    async with a_client(standin) as client:
        tokens = [await identity_token(client, login) for login in ("ann", "bob", "carol", "dan")]
        async with a_library(standin.url) as one, a_library(standin.url) as other:
            for token in tokens:
                first = await an_authenticator(one).sign_in(Credentials(identity_token=token))
                resumed = await an_authenticator(other).sign_in(Credentials(resume_token=first.resume_token))
                assert await other.questions.may_open(resumed.identity, RETAIL.id, OVERVIEW.id) is not None
                assert await one.questions.may_open(first.identity, RETAIL.id, STORES.id) is not None


# --- the authenticator


async def test_the_same_token_goes_to_library_once(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        authenticator = an_authenticator(library)
        token = await identity_token(client, "ann")
        await asyncio.gather(*(authenticator.identify(Credentials(identity_token=token)) for _ in range(20)))
        await authenticator.sign_in(Credentials(identity_token=token))
        assert standin.calls()["POST /auth/delegate"] == 1
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                await authenticator.identify(Credentials(identity_token="nonsense"))
        assert standin.calls()["POST /auth/delegate"] == 2


async def test_a_bearer_token_may_be_of_any_kind(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        authenticator = an_authenticator(library)
        admin = await client.login("admin", "admin")
        as_identity = await client.make_identity_token(admin)
        signed_in = await authenticator.sign_in(Credentials(bearer=as_identity))
        assert signed_in.identity.is_administrator
        cookies = cookies_of(client, admin)
        for bearer in (as_identity, admin.auth_token, signed_in.resume_token):
            identity = await authenticator.identify(Credentials(bearer=bearer, cookie_header=cookies))
            assert identity.user.id == PEOPLE["admin"].id
        before = standin.calls()
        await authenticator.identify(Credentials(bearer=admin.auth_token, cookie_header=cookies))
        assert standin.calls() == before
        with pytest.raises(Unauthenticated):
            await authenticator.identify(Credentials(bearer="nonsense"))


async def test_another_node_resumes_without_any_call(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as one, a_library(standin.url) as other:
        token = await identity_token(client, "ann")
        first = await an_authenticator(one).sign_in(Credentials(identity_token=token))
        before = standin.calls()
        resumed = await an_authenticator(other).sign_in(Credentials(resume_token=first.resume_token))
        assert resumed.identity.user == first.identity.user
        assert resumed.identity.session == first.identity.session
        assert abs((resumed.expires_at - first.expires_at).total_seconds()) < 1
        assert standin.calls() == before
        assert await other.questions.may_open(resumed.identity, RETAIL.id, BOARD.id) is not None


async def test_an_old_resume_token_is_accepted_only_when_library_confirms_it(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as one, a_library(standin.url) as other:
        token = await identity_token(client, "ann")
        first = await an_authenticator(one).sign_in(Credentials(identity_token=token))
        tomorrow = Authenticator(
            other.as_authority(), session_hours=48, now=lambda: datetime.now(UTC) + timedelta(days=1)
        )
        tomorrow.use_keys(KeyRing.of(KEY))
        # The session is still there: other clients of hers have kept it alive.
        resumed = await tomorrow.sign_in(Credentials(resume_token=first.resume_token))
        assert resumed.identity.user == first.identity.user
        assert standin.calls()["GET /sessions/userInfo"] == 2

    async with a_library(standin.url) as third:
        standin.end_sessions("ann")
        tomorrow = Authenticator(
            third.as_authority(), session_hours=48, now=lambda: datetime.now(UTC) + timedelta(days=1)
        )
        tomorrow.use_keys(KeyRing.of(KEY))
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await tomorrow.sign_in(Credentials(resume_token=first.resume_token))
        standin.gate.is_frozen = True
        with pytest.raises(Unauthenticated):  # it is known to be over: nothing is asked
            await an_authenticator(third).sign_in(Credentials(resume_token=first.resume_token))


@pytest.mark.parametrize("seconds", [1e10, 1e17, 10**400])
async def test_a_time_out_beyond_all_dates_is_a_day(seconds: float) -> None:
    with StandIn(session_timeout_seconds=seconds) as standin:
        async with a_client(standin) as client, a_library(standin.url) as library:
            authenticator = Authenticator(library.as_authority(), session_hours=100)
            authenticator.use_keys(KeyRing.of(KEY))
            signed_in = await authenticator.sign_in(
                Credentials(identity_token=await identity_token(client, "ann"))
            )
            again = await authenticator.sign_in(Credentials(resume_token=signed_in.resume_token))
            assert again.expires_at - datetime.now(UTC) < timedelta(days=1, seconds=1)


# --- sessions in use


async def test_the_end_of_a_session_is_told_once_to_each_of_its_clients(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url, Timing(check=0.2)) as library:
        authenticator = an_authenticator(library)
        token = await identity_token(client, "ann")
        identity = (await authenticator.sign_in(Credentials(identity_token=token))).identity
        told: list[tuple[str, Ended]] = []
        authenticator.attach(identity, lambda why: told.append(("phone", why)))
        authenticator.attach(identity, lambda why: told.append(("desktop", why)))
        authenticator.attach(identity, lambda why: told.append(("gone", why))).detach()
        await until_called(standin, "PUT /sessions", 2)
        assert told == []
        standin.end_sessions("ann")
        await until(lambda: len(told) == 2)
        assert sorted(told) == [("desktop", "session_ended"), ("phone", "session_ended")]
        authenticator.attach(identity, lambda why: told.append(("late", why)))
        await until(lambda: len(told) == 3)
        assert authenticator.renew(identity) is None


async def test_a_resumed_session_is_checked_like_any_other(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as one:
        token = await identity_token(client, "ann")
        first = await an_authenticator(one).sign_in(Credentials(identity_token=token))
        standin.end_sessions("ann")
        async with a_library(standin.url, Timing(check=0.2)) as other:
            authenticator = an_authenticator(other)
            resumed = await authenticator.sign_in(Credentials(resume_token=first.resume_token))
            told: list[Ended] = []
            authenticator.attach(resumed.identity, told.append)
            await until(lambda: told == ["session_ended"])
            with pytest.raises(Unauthenticated):
                await authenticator.sign_in(Credentials(resume_token=first.resume_token))


async def test_a_session_in_use_outlives_its_time_out_and_lapses_when_nobody_uses_it() -> None:
    with StandIn(session_timeout_seconds=1) as standin:
        async with a_client(standin) as client, a_library(standin.url) as library:
            authenticator = an_authenticator(library)
            token = await identity_token(client, "ann")
            signed_in = await authenticator.sign_in(Credentials(identity_token=token))
            told: list[Ended] = []
            use = authenticator.attach(signed_in.identity, told.append)
            await until_called(standin, "PUT /sessions", 5)
            assert told == []
            renewed = authenticator.renew(signed_in.identity)
            assert renewed is not None
            assert renewed.expires_at > signed_in.expires_at
            use.detach()
            await until(lambda: standin.open_sessions("ann") == 0)


# --- Library is silent


async def test_a_frozen_library_is_unavailable_within_three_seconds(standin: StandIn) -> None:
    async with a_client(standin) as client, a_library(standin.url) as library:
        authenticator = an_authenticator(library)
        ann = (
            await authenticator.sign_in(Credentials(identity_token=await identity_token(client, "ann")))
        ).identity
        bob, carol = await identity_token(client, "bob"), await client.login("carol", "carol")
        standin.gate.is_frozen = True
        watch = Stopwatch()
        answers = await asyncio.gather(
            authenticator.sign_in(Credentials(identity_token=bob)),
            authenticator.identify(Credentials(bearer=carol.auth_token)),
            library.questions.may_open(ann, RETAIL.id, OVERVIEW.id),
            library.questions.group_members(ann, SALES.id),
            return_exceptions=True,
        )
        assert watch.seconds < 3
        assert all(isinstance(answer, Unavailable) for answer in answers), answers


async def test_nobody_listening_is_unavailable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with a_library(f"http://127.0.0.1:{port}/api") as library:
        watch = Stopwatch()
        with pytest.raises(Unavailable):
            await library.sessions.sign_in_with_identity_token("token")
        assert watch.seconds < 1


@pytest.mark.parametrize("breaks", [1, 2])
async def test_a_connection_that_breaks_as_it_is_opened_is_tried_once_more(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, breaks: int
) -> None:
    """The HTTP client then asks a socket that is gone for its peer, and says so in its own way."""
    send, sent = httpx2.AsyncClient.send, []

    async def break_off(http: httpx2.AsyncClient, request: httpx2.Request, **how: Any) -> httpx2.Response:
        sent.append(request)
        if len(sent) <= breaks:
            raise AttributeError("'NoneType' object has no attribute 'getpeername'")
        return await send(http, request, **how)

    async with a_client(standin) as client, a_library(standin.url) as library:
        token = await identity_token(client, "ann")
        monkeypatch.setattr(httpx2.AsyncClient, "send", break_off)
        if breaks == 1:
            assert await library.sessions.sign_in_with_identity_token(token)
        else:
            with pytest.raises(Unavailable):
                await library.sessions.sign_in_with_identity_token(token)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", b"garbage\r\n\r\n"]
)
async def test_an_answer_without_sense_is_unavailable(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with a_library(f"http://127.0.0.1:{port}/api") as library:
            with pytest.raises(Unavailable):
                await library.sessions.sign_in_with_auth_token("token", None)


async def test_rights_and_sessions_that_are_held_go_on_while_library_is_silent(standin: StandIn) -> None:
    timing = Timing(fresh=0.05, patience=0.1, check=0.2)
    async with a_client(standin) as client, a_library(standin.url, timing) as library:
        authenticator = an_authenticator(library)
        browser = await client.login("ann", "ann")
        shown = Credentials(auth_token=browser.auth_token, cookie_header=cookies_of(client, browser))
        ann = (await authenticator.sign_in(shown)).identity
        told: list[Ended] = []
        authenticator.attach(ann, told.append)
        assert await library.questions.may_open(ann, RETAIL.id, BOARD.id) is not None
        await until(lambda: library.questions.last_answer(ann, RETAIL.id, BOARD.id) is None)

        standin.gate.is_frozen = True
        assert await library.questions.may_open(ann, RETAIL.id, BOARD.id) is not None
        assert library.questions.is_silent
        watch = Stopwatch()
        assert await library.questions.may_open(ann, RETAIL.id, BOARD.id) is not None
        assert watch.seconds < 1  # once it is known to be silent, nobody waits long
        with pytest.raises(Unavailable):
            await library.questions.may_open(ann, RETAIL.id, OVERVIEW.id)
        assert told == []

        standin.gate.is_frozen = False
        await until(lambda: not library.questions.is_silent)
        standin.let_open(BOARD.id, ["bob"])

        async def may_not() -> bool:
            return await library.questions.may_open(ann, RETAIL.id, BOARD.id) is None

        await until(may_not)


async def test_a_session_runs_out_while_library_is_silent() -> None:
    with StandIn(session_timeout_seconds=1) as standin:
        async with a_client(standin) as client, a_library(standin.url) as library:
            authenticator = an_authenticator(library)
            token = await identity_token(client, "ann")
            identity = (await authenticator.sign_in(Credentials(identity_token=token))).identity
            told: list[Ended] = []
            authenticator.attach(identity, told.append)
            standin.gate.is_frozen = True
            await until(lambda: told == ["session_expired"])


async def test_no_token_is_ever_logged(standin: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_client(standin) as client, a_library(standin.url) as library:
        authenticator = an_authenticator(library)
        browser = await client.login("ann", "ann")
        tokens = [await client.make_identity_token(browser) for _ in range(2)]
        for token in tokens:
            await authenticator.sign_in(Credentials(identity_token=token))
        standin.end_sessions("ann")
        with pytest.raises(Unauthenticated) as refusal:
            await authenticator.sign_in(Credentials(identity_token=tokens[0] + "x"))
        for secret in (*tokens, browser.auth_token, browser.cookie or ""):
            assert secret not in caplog.text
            assert secret not in repr(refusal.value) + str(refusal.value.as_wire())
