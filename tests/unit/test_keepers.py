"""Of a node's workers one asks Library for a person: three of them in one process, and Library as the test says."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from collab_server.authority.library.calls import SessionGone
from collab_server.authority.library.cookies import Jar
from collab_server.authority.library.keepers import ANSWERS
from collab_server.authority.library.library import Library
from collab_server.authority.library.replies import Members, PrivilegeInfo, SessionInfo
from collab_server.authority.library.words import silent
from collab_server.domain.commenting import Circle
from collab_server.domain.contents import ContentInfo
from collab_server.domain.cookies import Cookie
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import Unauthenticated
from collab_server.ports import ContentAnswer, Silent
from tests.harness.waiting import until

ANN = User("A" * 32, "Ann", "A")
PROJECT, OBJECT, GROUP = "B" * 32, "C" * 32, "D" * 32
OF_ANN = AuthoritySession("browser", "cookie", is_delegated=False)
PATIENCE = 20


class Librarian:
    """Stands in for Library's API; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.alive: set[AuthoritySession] = {OF_ANN}
        self.may_open = True
        self.is_away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._numbers = itertools.count(1)

    async def _ask(self, what: str, session: AuthoritySession) -> None:
        self.asked[what] += 1
        await self.may_answer.wait()
        if self.is_away:
            raise silent()
        if session not in self.alive:
            raise SessionGone(session)

    async def delegate(self, _token: str) -> AuthoritySession:
        self.alive.add(session := AuthoritySession(f"delegated {next(self._numbers)}", None, True))
        await self._ask("delegate", session)
        return session

    async def user_info(self, session: AuthoritySession, _jar: Any = None) -> User:
        await self._ask("user_info", session)
        return ANN

    async def session_info(self, session: AuthoritySession, _jar: Any = None) -> SessionInfo:
        await self._ask("session_info", session)
        return SessionInfo(ANN, 1800.0)

    async def keep_alive(self, session: AuthoritySession) -> None:
        await self._ask("keep_alive", session)

    async def logout(self, session: AuthoritySession) -> None:
        await self._ask("logout", session)
        self.alive.discard(session)

    async def content(
        self, session: AuthoritySession, _project_id: str, object_id: str, type: int
    ) -> ContentInfo | None:
        await self._ask(f"content {type}", session)
        return ContentInfo(object_id, "Sales", type) if self.may_open else None

    async def user(self, session: AuthoritySession, user_id: str) -> User | None:
        await self._ask("user", session)
        return User(user_id, "Bob", "B") if user_id == GROUP else None

    async def group_name(self, session: AuthoritySession, _group_id: str) -> str:
        await self._ask("group_name", session)
        return "Sales"

    async def group_members(
        self, session: AuthoritySession, _group_id: str, _offset: int, _limit: int
    ) -> Members:
        await self._ask("group_members", session)
        return Members((ANN, User(GROUP, "Bob", "B")))

    async def privilege(self, session: AuthoritySession, _privilege_id: str) -> PrivilegeInfo:
        await self._ask("privilege", session)
        return PrivilegeInfo(everywhere=False, projects=frozenset({PROJECT}))

    async def recipients(self, session: AuthoritySession, _search: str, _offset: int, _limit: int) -> Any:
        await self._ask("recipients", session)
        return (Recipient("user", GROUP, "Bob"), Recipient("group", GROUP, "Sales"))


@dataclass
class Node:
    """Three workers whose keeper is `keeper` (None: they do not hear each other), and what the bus would carry."""

    librarian: Librarian = field(default_factory=Librarian)
    keeper: int | None = 0
    now: float = 1000.0
    on_the_way: Callable[[], None] = lambda: None
    """Called when an answer is on its way back."""
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workers = [Worker(self, number) for number in range(3)]

    async def stop(self) -> None:
        for worker in self.workers:
            await worker.library.stop()


class Worker:
    def __init__(self, node: Node, number: int) -> None:
        self._node, self._number = node, number
        self.refused: list[ContentAnswer] = []
        self.ended: list[bytes] = []
        self.library = Library(
            "http://127.0.0.1:9/api",
            clock=lambda: node.now,
            ended=self._end,
            siblings=self,
        )
        self.library.questions.on_refused(self.refused.append)
        self.library.sessions._turns.api = cast("Any", node.librarian)
        self.library.sessions.adopt(OF_ANN, 1800.0, 0.0)

    def _end(self, digest: bytes) -> None:
        self.ended.append(digest)
        for other in self._node.workers:
            if other is not self:
                other.library.hear_ended("another", digest)

    # --- ports.Siblings

    async def ask(self, _name: str, question: bytes, *, is_another: bool = False) -> bytes | None:
        keeper = self._node.keeper
        if is_another and keeper == self._number:
            keeper = (keeper + 1) % len(self._node.workers)
        if keeper is None or keeper == self._number:
            return None
        answer = await self._node.workers[keeper].answer(question)
        self._node.on_the_way()
        return answer

    def tell(self, word: bytes) -> None:
        for other in self._node.workers if self._node.keeper is not None else ():
            if other is not self:
                other.hear(word)

    def listen(self, answer: Callable[[bytes], Awaitable[bytes]], hear: Callable[[bytes], None]) -> None:
        self.answer, self.hear = answer, hear

    # --- what the tests ask

    async def opens(self, at_most: float = float("inf"), session: AuthoritySession = OF_ANN) -> bool:
        who = identity(session)
        opened = await self.library.questions.may_open(who, PROJECT, OBJECT, at_most_seconds_old=at_most)
        return opened is not None

    async def signs_in(self) -> AuthoritySession:
        return (await self.library.sessions.sign_in_with_identity_token("token")).session


def identity(session: AuthoritySession = OF_ANN) -> Identity:
    return Identity(ANN, session, is_administrator=False, expires_at=datetime.max.replace(tzinfo=UTC))


@pytest.fixture
def node() -> Node:
    return Node()


async def together(*asking: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*asking)


# --- questions


async def test_what_all_workers_ask_at_a_time_is_asked_once_and_known_to_all(node: Node) -> None:
    node.librarian.may_answer.clear()
    asking = [asyncio.create_task(worker.opens()) for worker in node.workers * 2]
    await until(lambda: node.librarian.asked["content 55"], PATIENCE)
    node.librarian.may_answer.set()
    assert await together(*asking) == [True] * 6
    node.keeper = None
    assert await together(*(worker.opens() for worker in node.workers)) == [True] * 3
    assert node.librarian.asked == {"content 55": 1}


async def test_the_keeper_does_not_ask_again_what_it_has_just_asked_for_another(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, one, _ = node.workers
    has_come, may_go = asyncio.Event(), asyncio.Event()

    async def ask(_name: str, _question: bytes, *, is_another: bool = False) -> bytes | None:
        has_come.set()
        await may_go.wait()
        return None

    monkeypatch.setattr(keeper, "ask", ask)
    asking = asyncio.create_task(keeper.opens())
    await has_come.wait()
    assert await one.opens()
    may_go.set()
    assert await asking
    assert node.librarian.asked == {"content 55": 1}


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"refused":"else","why":""}', b'{"value":7,"saidAt":0,"session":7,"user":7}'],
)
async def test_whose_answer_is_not_understood_is_done_without(
    node: Node, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = node.workers[1]

    async def ask(_name: str, _question: bytes, *, is_another: bool = False) -> bytes | None:
        return answer

    monkeypatch.setattr(one, "ask", ask)
    assert await one.opens()
    assert await one.signs_in()
    assert node.librarian.asked["content 55"] == 1
    await node.stop()


async def test_what_is_shown_is_asked_about_again_by_one_for_all(node: Node) -> None:
    await together(*(worker.opens() for worker in node.workers))
    node.now += 40
    await together(*(worker.opens(at_most=36) for worker in node.workers))
    assert node.librarian.asked["content 55"] == 2
    node.now += 30
    await together(*(worker.opens(at_most=36) for worker in node.workers))
    assert node.librarian.asked["content 55"] == 2, "nothing is as old as that"


async def test_an_answer_is_as_old_as_it_is_whoever_gave_it_and_whatever_held_it_up(node: Node) -> None:
    keeper, one, _ = node.workers
    assert await keeper.opens()
    node.now += 50
    assert await one.opens()
    assert node.librarian.asked["content 55"] == 1
    node.librarian.may_open = False
    node.now += 11
    assert not await one.opens(), "61 s after it was said"
    assert [answer.object_id for answer in one.refused] == [OBJECT]

    def stand_still() -> None:
        node.now += 100

    node.librarian.may_open = True
    node.now += 10
    node.on_the_way = stand_still
    assert await one.opens()
    node.on_the_way = lambda: None
    node.librarian.may_open = False
    node.keeper = None
    assert not await one.opens(), "it was too old when it came"


@pytest.mark.parametrize("may_open", [True, False])
async def test_what_is_heard_while_an_answer_is_on_its_way_is_later_than_it(
    node: Node, may_open: bool
) -> None:
    one = node.workers[1]

    def tell() -> None:
        node.now += 1
        content = ContentInfo(OBJECT, "Sales", 55) if may_open else None
        one.library.questions.hear(ContentAnswer(ANN.id, PROJECT, OBJECT, content))

    node.librarian.may_open = not may_open
    node.on_the_way = tell
    assert await one.opens() is may_open
    assert bool(one.refused) is not may_open


async def test_what_another_node_was_told_is_believed_no_longer_than_there(node: Node) -> None:
    worker = node.workers[0]
    opened = ContentInfo(OBJECT, "Sales", 55)
    worker.library.questions.hear(ContentAnswer(ANN.id, PROJECT, OBJECT, opened, age_seconds=50.0))
    assert worker.library.questions.content_age_seconds(ANN.id, PROJECT, OBJECT) == 50.0
    assert await worker.opens()
    assert not node.librarian.asked
    node.now += 11
    assert await worker.opens()
    assert node.librarian.asked["content 55"] == 1


async def test_without_a_keeper_each_asks_itself(node: Node) -> None:
    node.keeper = None
    assert await together(*(worker.opens() for worker in node.workers)) == [True] * 3
    assert node.librarian.asked["content 55"] == 3


async def test_a_session_that_is_over_is_over_for_all_who_use_it(node: Node) -> None:
    told: list[tuple[int, str]] = []
    for number, worker in enumerate(node.workers):
        worker.library.sessions.attach(OF_ANN, 1800, lambda why, number=number: told.append((number, why)))  # type: ignore[misc]
    node.librarian.alive.clear()
    with pytest.raises(Unauthenticated):
        await node.workers[1].opens()
    assert sorted(told) == [(number, "session_ended") for number in range(3)]
    with pytest.raises(Unauthenticated):
        await node.workers[2].opens()
    assert node.librarian.asked["content 55"] == 1
    await node.stop()


async def test_a_session_that_library_accepts_again_is_over_no_more_for_its_keeper(node: Node) -> None:
    keeper, one, _ = node.workers
    for ends_at in (one, keeper):
        node.librarian.alive.discard(OF_ANN)
        node.now += 70
        with pytest.raises(Unauthenticated):
            await ends_at.opens()
        node.librarian.alive.add(OF_ANN)
        node.now += 1
        await one.library.sessions.sign_in_with_auth_token(OF_ANN.auth_token, OF_ANN.cookie)
        assert await one.opens()
        assert await keeper.opens()


async def test_a_session_is_over_for_its_keeper_whatever_was_so_before(node: Node) -> None:
    keeper, one, _ = node.workers
    assert await one.library.sessions.confirm(OF_ANN)
    node.now += 1
    known = keeper.library._known.find(OF_ANN)
    assert known is not None
    keeper.library.hear_ended("another", known.digest)  # and the other worker has not heard it yet
    with pytest.raises(Unauthenticated):
        await one.opens()
    assert not node.librarian.asked["content 55"]
    assert one.library.sessions.is_ended(OF_ANN)


def is_silent(worker: Worker) -> bool:
    return worker.library.questions.is_silent


async def test_a_silent_library_is_silent_for_all_and_what_was_said_before_holds(node: Node) -> None:
    one, other = node.workers[1:]
    assert await one.opens()
    node.librarian.is_away = True
    node.now += 70
    assert await one.opens(), "as far as this worker remembers"
    assert is_silent(one)
    assert await other.opens(), "as far as the keeper does"
    with pytest.raises(Silent):
        await one.library.questions.user(identity(), GROUP)
    node.librarian.is_away = False
    assert await one.library.questions.user(identity(), OBJECT) is None
    assert not is_silent(one), "it has told the keeper something"
    node.librarian.is_away = True
    node.now += 15 * 60
    for worker in (one, other):
        with pytest.raises(Silent):
            await worker.opens()
        assert is_silent(worker), "nobody who comes next has to wait for it"


CIRCLES = (Circle("privilege", "7"), Circle("group", GROUP))
QUESTIONS: dict[str, list[Callable[[Library], Awaitable[Any]]]] = {
    "content": [lambda library: library.questions.may_open(identity(), PROJECT, OBJECT)],
    "circles": [
        lambda library: library.questions.is_in_one(identity(), PROJECT, CIRCLES),
        lambda library: library.questions.is_in_one(identity(), PROJECT, ()),
    ],
    "user": [
        lambda library: library.questions.user(identity(), GROUP),
        lambda library: library.questions.user(identity(), OBJECT),
    ],
    "members": [
        lambda library: library.questions.group_members(identity(), GROUP),
        lambda library: library.questions.group_members(identity(), GROUP, 5),
    ],
    "group": [lambda library: library.questions.group_name(identity(), GROUP)],
    "recipients": [
        lambda library: library.questions.recipients(identity(), "b", kind="user"),
        lambda library: library.questions.recipients(identity(), "b", offset=50, limit=7),
    ],
}


@pytest.mark.parametrize("kind", sorted(ANSWERS))
async def test_every_question_is_answered_by_the_keeper_as_by_library(node: Node, kind: str) -> None:
    keeper, one, _ = node.workers
    for ask in QUESTIONS[kind]:
        told = await ask(one.library)
        asked = node.librarian.asked.total()
        assert told == await ask(keeper.library) == await ask(one.library)
        assert node.librarian.asked.total() == asked, "both know it"


# --- sessions


async def test_a_person_has_one_session_however_many_workers_they_sign_in_at(node: Node) -> None:
    sessions = await together(*(worker.signs_in() for worker in node.workers * 2))
    assert len(set(sessions)) == 1
    await until(lambda: len(node.librarian.alive) == 2, PATIENCE, "the surplus is logged out")
    assert node.librarian.alive == {OF_ANN, sessions[0]}
    await node.stop()
    assert sessions[0] in node.librarian.alive, "others of the node may go on with it"


async def test_a_new_keeper_knows_the_session_also_one_that_has_just_been_started(node: Node) -> None:
    first = await node.workers[1].signs_in()
    node.keeper = 2
    assert await node.workers[0].signs_in() == first
    await node.workers[0].library.stop()
    node.workers[0] = Worker(node, 0)
    node.keeper = 0
    assert await node.workers[0].signs_in() == first, "it asks who was the keeper before"
    node.workers[2] = Worker(node, 2)
    node.keeper = 2
    assert await node.workers[1].signs_in() == first, "it is told by whoever brings a sign-in"
    await node.stop()


async def test_without_a_keeper_one_signs_in_all_the_same(node: Node) -> None:
    node.keeper = None
    sessions = await together(*(worker.signs_in() for worker in node.workers))
    assert len(set(sessions)) == 3
    node.keeper = 0
    assert await node.workers[1].signs_in() == sessions[0]
    await node.stop()


async def test_a_session_that_library_has_ended_is_not_given_to_anybody(node: Node) -> None:
    first = await node.workers[1].signs_in()
    node.librarian.alive.discard(first)
    second = await node.workers[2].signs_in()
    assert second != first
    assert node.workers[1].library.sessions.is_ended(first)
    assert await node.workers[1].signs_in() == second
    await node.stop()


async def test_a_use_is_told_with_the_cookies_so_that_one_keeps_the_session_alive(node: Node) -> None:
    one, other, _ = (worker.library for worker in node.workers)
    node.now += 30
    cookie = Cookie("route", "new")
    one._known._cookies.adopt(OF_ANN, [cookie])
    await one.sessions.confirm(OF_ANN)
    assert other.sessions.age_seconds(OF_ANN) == 0.0
    assert list(other.sessions.cookies(OF_ANN)) == [cookie]
    one._known._cookies.put(OF_ANN, Jar([newer := Cookie("route", "newer")]))
    node.now += 1
    await one.sessions.confirm(OF_ANN)
    assert list(other.sessions.cookies(OF_ANN)) == [newer]
    node.now += 4
    await one.sessions.confirm(OF_ANN)
    assert other.sessions.age_seconds(OF_ANN) == 4.0, "that says nothing new"
    node.now += 16
    assert other.sessions.age_seconds(OF_ANN) == 20.0
    known = other._known.find(OF_ANN)
    assert known is not None
    digest = known.digest
    assert other._known.hear_used(digest, node.now - 25) is None, "what is older says nothing"
    other._known.hear_used(digest, node.now + 1000)
    assert other.sessions.age_seconds(OF_ANN) == 0.0, "what has not been yet is not believed"


async def test_what_others_go_on_with_is_not_logged_out_by_a_worker_that_ends(node: Node) -> None:
    session = await node.workers[1].signs_in()
    node.workers[2] = Worker(node, 2)  # it has not heard when the session was begun
    assert await node.workers[2].signs_in() == session
    await node.workers[2].library.stop()
    assert session in node.librarian.alive


async def test_what_a_keeper_may_have_taken_is_not_logged_out_where_its_answer_is_lost(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, one, other = node.workers
    node.keeper = None
    earlier = await other.signs_in()
    node.keeper = 0

    async def lose(_name: str, question: bytes, *, is_another: bool = False) -> bytes | None:
        if is_another:
            return await other.answer(question)
        await keeper.answer(question)
        return b""

    async def ask_nobody(_name: str, _question: bytes, *, is_another: bool = False) -> bytes | None:
        return None

    monkeypatch.setattr(one, "ask", lose)
    monkeypatch.setattr(one, "hear", lambda _word: None)
    monkeypatch.setattr(keeper, "ask", ask_nobody)
    assert await one.signs_in() == earlier
    taken = await keeper.signs_in()
    assert taken != earlier, "the keeper has taken what was brought to it"
    await node.stop()
    assert {earlier, taken} <= node.librarian.alive


async def test_what_a_keeper_may_have_taken_is_not_logged_out_where_whoever_signs_in_has_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, one, _ = node.workers
    has_taken = asyncio.Event()

    async def ask(_name: str, question: bytes, *, is_another: bool = False) -> bytes | None:
        if is_another:
            return None
        await keeper.answer(question)
        has_taken.set()
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(one, "ask", ask)
    monkeypatch.setattr(one, "hear", lambda _word: None)
    signing_in = asyncio.create_task(one.signs_in())
    await has_taken.wait()
    taken = await keeper.signs_in()
    signing_in.cancel()
    await asyncio.gather(signing_in, return_exceptions=True)
    await one.library.stop()
    assert taken in node.librarian.alive
