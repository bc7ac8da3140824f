"""Tokens that can be judged without asking Library."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from typing_extensions import override

from collab_server.authority.library import words
from collab_server.authority.library.cookies import Jar
from collab_server.authority.library.library import Library
from collab_server.domain.budgets import AddressBudget
from collab_server.domain.cookies import Cookie
from collab_server.domain.ends import mark_of
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.errors import Paused, Unauthenticated, Unavailable
from collab_server.ports import NOBODY, Origin, SignedIn, SignsIn, Silent
from collab_server.services.sign_in import Authenticator, Credentials, SignInOver, exchange

KEY = b"k" * 32
ANN = User("A" * 32, "Ann Archer", "AA")
SESSION = AuthoritySession("secret-token", "secret-cookie", is_delegated=True)


class Clock:
    """The time of day, and the monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


def an_authenticator(
    clock: Clock, *, key: bytes | None = KEY, administrators: tuple[str, ...] = ()
) -> Authenticator:
    authenticator = Authenticator(
        Library(None, clock=clock).as_authority(), administrators=administrators, now=clock.now
    )
    if key is not None:
        authenticator.use_keys(KeyRing.of(key))
    return authenticator


def a_resume_token(
    clock: Clock,
    *,
    timeout_seconds: float = 1800,
    key: bytes = KEY,
    session: AuthoritySession = SESSION,
    cookies: tuple[Cookie, ...] = (),
) -> str:
    library = Library(None, clock=clock)
    library.sessions.adopt(session, timeout_seconds, 0, cookies)
    authenticator = Authenticator(library.as_authority(), now=clock.now)
    authenticator.use_keys(KeyRing.of(key))
    signed_in = authenticator.renew(Identity(ANN, session, False, clock.now()))
    assert signed_in is not None
    return signed_in.resume_token


@pytest.mark.parametrize(
    "token",
    ["", " ", "a\r\nX-Evil: 1", "a\x00b", "tökën", "日本", "\ud800", "x" * 8193, "a b", "gAAAAA", "gAAAAA\n"],
)
@pytest.mark.parametrize("kind", ["identity_token", "auth_token", "resume_token", "bearer"])
async def test_what_cannot_be_a_token_is_unauthenticated(kind: str, token: str) -> None:
    authenticator = an_authenticator(Clock())
    if kind in ("identity_token", "auth_token") and token == "gAAAAA":
        pytest.skip("this one could be Library's")
    shown: dict[str, Any] = {kind: token}
    with pytest.raises(Unauthenticated):
        await authenticator.sign_in(Credentials(**shown))
    with pytest.raises(Unauthenticated):
        await authenticator.identify(Credentials(**shown))


async def test_nothing_shown_is_unauthenticated() -> None:
    with pytest.raises(Unauthenticated):
        await an_authenticator(Clock()).identify(Credentials(cookie="only-a-cookie"))


@pytest.mark.parametrize("cookie", ["a; JSESSIONID=b", "a\r\nX: y", "", "é", "x" * 9000])
async def test_a_cookie_that_could_smuggle_something_in_is_unauthenticated(cookie: str) -> None:
    with pytest.raises(Unauthenticated):
        await an_authenticator(Clock()).identify(Credentials(auth_token="token", cookie=cookie))


async def test_library_is_named_where_it_is_who_signs_people_in() -> None:
    with pytest.raises(Unauthenticated, match=r"^Library does not accept this token$"):
        await an_authenticator(Clock()).identify(Credentials(identity_token="no token"))
    assert (words.silent().message, words.silent().retry_after) == ("Library does not answer", 5)
    assert (words.busy().message, words.busy().retry_after) == (
        "too many questions wait for Library just now",
        1,
    )


async def test_without_a_library_every_token_of_its_is_unavailable() -> None:
    authenticator = an_authenticator(Clock())
    with pytest.raises(Unavailable):
        await authenticator.sign_in(Credentials(identity_token="token"))
    with pytest.raises(Unavailable):
        await authenticator.identify(Credentials(bearer="token"))


async def test_a_resume_token_is_accepted_without_asking_as_long_as_the_session_can_live() -> None:
    clock = Clock()
    token = a_resume_token(clock, timeout_seconds=1800)
    clock.seconds += 1799
    signed_in = await an_authenticator(clock).sign_in(Credentials(resume_token=token))
    assert signed_in.identity.user == ANN
    assert signed_in.identity.session == SESSION
    assert signed_in.expires_at == clock.now() + timedelta(seconds=1)
    assert (await an_authenticator(clock).identify(Credentials(bearer=token))).user == ANN


async def test_coming_back_does_not_make_a_session_younger() -> None:
    clock = Clock()
    token = a_resume_token(clock, timeout_seconds=100)
    for _ in range(3):
        clock.seconds += 30
        token = (await an_authenticator(clock).sign_in(Credentials(resume_token=token))).resume_token
    clock.seconds += 11
    with pytest.raises(Unavailable):  # there is no Library to confirm it
        await an_authenticator(clock).sign_in(Credentials(resume_token=token))


async def test_a_token_sealed_with_another_key_is_unauthenticated() -> None:
    clock = Clock()
    token = a_resume_token(clock, key=b"x" * 32)
    with pytest.raises(Unauthenticated):
        await an_authenticator(clock).sign_in(Credentials(resume_token=token))


async def test_a_changed_resume_token_is_unauthenticated() -> None:
    clock = Clock()
    token = a_resume_token(clock)
    changed = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    with pytest.raises(Unauthenticated):
        await an_authenticator(clock).sign_in(Credentials(resume_token=changed))


async def test_a_resume_token_has_one_spelling() -> None:
    clock = Clock()
    ends = set()
    for size in (1, 17, 33):  # a block of the cipher more each
        session = AuthoritySession("x" * size, "cookie", True)
        token = a_resume_token(clock, session=session)
        authenticator = an_authenticator(clock)
        assert (await authenticator.identify(Credentials(bearer=token))).user == ANN
        ends.add(token.count("="))
        *others, last = list(token.rstrip("="))
        near = chr(ord(last) + 1)  # the same bytes, where the last letter has bits to spare
        spellings = [
            token + token,
            token + "=",
            token + "====",
            token + "x",
            token + " x",
            f"{token}=x",
            token + "\n",
        ]
        spellings += [
            token[:40] + between + token[40:] for between in ("\n", "\t", " ", "!", "=", "\xe9", "日")
        ]
        spellings += [
            "".join(others) + near + "=" * token.count("="),
            token.rstrip("="),
            token.replace("=", "%3D"),
        ]
        spellings += [token.replace("-", "+").replace("_", "/")]
        for spelling in {*spellings} - {token}:
            for shown in (Credentials(bearer=spelling), Credentials(resume_token=spelling)):
                with pytest.raises(Unauthenticated):
                    await authenticator.identify(shown)
    assert ends == {0, 1, 2}


async def test_before_there_is_a_key_sockets_and_resume_tokens_are_paused() -> None:
    clock = Clock()
    token = a_resume_token(clock)
    authenticator = an_authenticator(clock, key=None)
    with pytest.raises(Paused):
        await authenticator.sign_in(Credentials(identity_token="token"))
    with pytest.raises(Paused):
        await authenticator.identify(Credentials(resume_token=token))


async def test_who_is_an_administrator_is_decided_by_the_node_and_not_sealed() -> None:
    clock = Clock()
    token = a_resume_token(clock)
    node = an_authenticator(clock, administrators=(ANN.id,))
    assert (await node.identify(Credentials(resume_token=token))).is_administrator
    assert not (await an_authenticator(clock).identify(Credentials(resume_token=token))).is_administrator


async def test_no_secret_is_in_a_repr_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    token = a_resume_token(clock)
    shown = Credentials("secret-1", "secret-2", token, "secret-3", "secret-4")
    signed_in = await an_authenticator(clock).sign_in(shown)
    said = repr(shown) + repr(signed_in) + caplog.text
    assert "secret" not in said
    assert token[10:40] not in said


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        an_authenticator(Clock(), key=b"k" * size)


# --- the cookies of the session


def opened(token: str) -> dict[str, Any]:
    """What is sealed in a token."""
    sealed: dict[str, Any] = json.loads(Fernet(base64.urlsafe_b64encode(KEY)).decrypt(token))
    return sealed


def sealed(content: dict[str, Any]) -> str:
    """A token with that in it."""
    return Fernet(base64.urlsafe_b64encode(KEY)).encrypt(json.dumps(content).encode()).decode()


async def test_the_cookies_of_a_session_come_along_to_another_node() -> None:
    clock = Clock()
    cookies = (
        Cookie("AWSALB", "x", None, 4e9),
        Cookie("deep", "y", "/api/auth"),
        Cookie("JSESSIONID", "new"),
    )
    token = a_resume_token(clock, cookies=cookies)
    library = Library(None, clock=clock)
    node = Authenticator(library.as_authority(), now=clock.now)
    node.use_keys(KeyRing.of(KEY))
    identity = await node.identify(Credentials(resume_token=token))
    assert identity.session == SESSION
    assert tuple(library.sessions.cookies(identity.session)) == cookies
    # What the node has heard from Library since is younger than what an older token says.
    library.sessions._cookies.put(SESSION, Jar([Cookie("AWSALB", "younger")]))
    await node.identify(Credentials(resume_token=token))
    assert library.sessions.cookies(SESSION) == [Cookie("AWSALB", "younger")]


async def test_the_version_before_reads_what_this_one_seals_and_the_other_way() -> None:
    """What the version before does is written out here, for its code is gone."""
    clock = Clock()
    content = opened(a_resume_token(clock, cookies=(Cookie("AWSALB", "x"),)))
    assert content["cookies"] == [["AWSALB", "x", None, None]]
    assert content["v"] == 1
    assert User(*content["user"]) == ANN
    assert AuthoritySession(*content["session"]) == SESSION
    assert float(content["timeout"]) == 1800
    assert datetime.fromtimestamp(content["issuedAt"], UTC) == clock.now()

    before = {name: content[name] for name in ("v", "user", "session", "issuedAt", "timeout")}
    assert opened(a_resume_token(clock)).keys() == before.keys() | {"begun"}
    identity = await an_authenticator(clock).identify(Credentials(resume_token=sealed(before)))
    assert (identity.user, identity.session) == (ANN, SESSION)


@pytest.mark.parametrize("cookies", [5, [5], [["a"]], [["a", "b", "c", "d"]], {"a": 1}, [None]])
async def test_cookies_that_are_none_are_no_token_of_ours(cookies: object) -> None:
    clock = Clock()
    token = sealed({**opened(a_resume_token(clock)), "cookies": cookies})
    with pytest.raises(Unauthenticated):
        await an_authenticator(clock).identify(Credentials(resume_token=token))


@pytest.mark.parametrize("letter", ["x", '"', "\\"])
@pytest.mark.parametrize("size", [1, 60, 1000, 4000])
async def test_a_resume_token_stays_below_eight_kilobytes(size: int, letter: str) -> None:
    clock = Clock()
    cookies = tuple(Cookie(f"cookie{number}", letter * size) for number in range(30))
    session = AuthoritySession("t" * 1000, "c" * 100, is_delegated=True)
    token = a_resume_token(clock, session=session, cookies=cookies)
    assert len(token) < 8192
    assert (await an_authenticator(clock).identify(Credentials(resume_token=token))).session == session
    kept = opened(token).get("cookies", [])
    if kept:
        assert kept[-1][0] == "cookie29"  # the youngest ones are those that matter


class RefusingSessions(SignsIn):
    """Refuses all tokens, and notes where they came from."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []

    @override
    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        self.origins.append(origin)
        raise Unauthenticated("no")


async def test_tokens_from_where_too_many_were_not_accepted_are_asked_about_by_and_by() -> None:
    clock, library = Clock(), RefusingSessions()
    authenticator = Authenticator(
        replace(Library(None).as_authority(), sessions=library),
        failures=AddressBudget(burst=20, per_second=1, clock=clock),
        now=clock.now,
    )

    async def show(number: int, address: str | None) -> Origin:
        with pytest.raises(Unauthenticated):
            await authenticator.identify(Credentials(identity_token=f"junk{number}", address=address))
        return library.origins[-1]

    seen = [await show(number, f"2001:db8::{number}") for number in range(25)]
    assert [origin.is_distrusted for origin in seen] == [False] * 20 + [True] * 5
    assert len({origin.address for origin in seen}) == 1, "of IPv6, all of a /64 is one address"
    assert not (await show(100, "192.0.2.1")).is_distrusted
    assert await show(101, None) == NOBODY
    clock.seconds += 30
    assert not (await show(102, "2001:db8::1")).is_distrusted


class ChangingSessions(SignsIn):
    """Says of every identity token what it is told to say; whatever it has said counts no longer than the moment."""

    is_silent = False

    def __init__(self) -> None:
        self.says: SignedIn | Exception = SignedIn(ANN, SESSION, 1800)

    @override
    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    @override
    def is_ended(self, session: AuthoritySession) -> bool:
        return False

    @override
    def age_seconds(self, session: AuthoritySession) -> float | None:
        return None


async def test_a_token_that_was_refused_opens_nothing_while_the_authority_is_silent_but_one_that_was_not_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(exchange, "REFUSAL_SECONDS", 0.0)
    clock, sessions = Clock(), ChangingSessions()
    authenticator = Authenticator(replace(Library(None).as_authority(), sessions=sessions), now=clock.now)
    shown = Credentials(identity_token="of-library")
    assert (await authenticator.identify(shown)).user == ANN
    sessions.says = Silent("silent")
    assert (await authenticator.identify(shown)).user == ANN
    sessions.says = Unauthenticated("no")
    with pytest.raises(Unauthenticated):
        await authenticator.identify(shown)
    sessions.says = Silent("silent")
    with pytest.raises(Unavailable):
        await authenticator.identify(shown)


# --- the end


class Known:
    """What was ended, as a node knows it; the time is the clock's."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now
        self.latest = 0
        self.marks: dict[bytes, int] = {}

    def end(self, mark: bytes, at: int) -> None:
        self.marks[mark] = at
        self.latest = max(self.latest, at)

    def ended_at(self, mark: bytes) -> int:
        return self.marks.get(mark, 0)


class WillingLibrary(Library):
    """Accepts all identity tokens."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(None, clock=clock)
        self.asked = 0
        self.sessions.sign_in_with_identity_token = self._sign_in  # type: ignore[method-assign]

    async def _sign_in(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        self.asked += 1
        self.sessions.adopt(SESSION, 7200, 0)
        return SignedIn(ANN, SESSION, 7200)


def with_ends(clock: Clock, known: Known, *, hours: float = 12) -> tuple[Authenticator, WillingLibrary]:
    library = WillingLibrary(clock)
    authenticator = Authenticator(library.as_authority(), ends=known, session_hours=hours, now=clock.now)
    authenticator.use_keys(KeyRing.of(KEY))
    return authenticator, library


async def test_a_sign_in_lasts_as_long_as_it_may_however_often_it_is_renewed() -> None:
    clock = Clock()
    node, _ = with_ends(clock, Known(clock), hours=1)
    signed_in = await node.sign_in(Credentials(identity_token="of-library"))
    began, over = signed_in.identity.begun, clock.now() + timedelta(hours=1)
    tokens = [signed_in.resume_token]
    for _ in range(5):
        clock.seconds += 600
        again = await node.sign_in(Credentials(resume_token=tokens[-1]))
        renewed = node.renew(again.identity)
        assert renewed is not None
        assert again.identity.begun == renewed.identity.begun == began
        assert again.expires_at <= over
        assert renewed.expires_at <= over
        tokens += [again.resume_token, renewed.resume_token]
    clock.seconds += 599
    assert node.why_over((await node.sign_in(Credentials(resume_token=tokens[0]))).identity) is None
    clock.seconds += 1
    assert node.why_over(signed_in.identity) == "session_expired"
    for token in tokens:
        for door in (node.sign_in, node.identify):
            with pytest.raises(SignInOver):
                await door(Credentials(resume_token=token))


async def test_two_connections_with_one_token_of_library_begin_two_sign_ins() -> None:
    clock = Clock()
    known = Known(clock)
    node, library = with_ends(clock, known)
    first, second = [await node.sign_in(Credentials(identity_token="of-library")) for _ in range(2)]
    assert library.asked == 1
    known.end(mark_of("sign-in", first.identity.begun.id), 5)
    assert node.why_over(first.identity) == "session_ended"
    with pytest.raises(SignInOver):
        await node.identify(Credentials(bearer=first.resume_token))
    assert (await node.identify(Credentials(bearer=second.resume_token))).user == ANN
    known.end(second.identity.begun.token_mark, 6)
    with pytest.raises(SignInOver):
        await node.identify(Credentials(bearer=second.resume_token))
    with pytest.raises(SignInOver):
        await node.identify(Credentials(identity_token="of-library"))
    for none in ("\ud800", "é", "x" * 9000):
        with pytest.raises(Unauthenticated):
            await node.identify(Credentials(bearer=none))


async def test_who_is_known_signs_in_at_once_and_nobody_else_does() -> None:
    clock = Clock()
    known = Known(clock)
    node, library = with_ends(clock, known)
    shown = Credentials(identity_token="of-library")
    assert node.sign_in_at_once(shown) is None
    first = await node.sign_in(shown)
    again = node.sign_in_at_once(shown)
    assert again is not None
    assert (again.identity.user, library.asked) == (ANN, 1)
    assert again.identity.begun.id != first.identity.begun.id
    back = node.sign_in_at_once(Credentials(resume_token=first.resume_token))
    assert back is not None
    assert back.identity.begun == first.identity.begun
    assert node.sign_in_at_once(Credentials(auth_token="unknown")) is None
    both = Credentials(resume_token=first.resume_token, identity_token="unknown")
    assert node.sign_in_at_once(both) is not None, "the first kind decides"
    clock.seconds += 61
    assert node.sign_in_at_once(Credentials(resume_token=first.resume_token)) is None, "Library is asked"
    known.end(mark_of("sign-in", first.identity.begun.id), 5)
    with pytest.raises(SignInOver):
        node.sign_in_at_once(Credentials(resume_token=first.resume_token))
    with pytest.raises(Unauthenticated):
        node.sign_in_at_once(Credentials(identity_token="\ud800"))
    with pytest.raises(Unauthenticated):
        node.sign_in_at_once(Credentials())
    with pytest.raises(Paused):
        an_authenticator(clock, key=None).sign_in_at_once(shown)


async def test_all_of_a_person_is_ended_that_began_before_and_library_is_asked_anew() -> None:
    clock = Clock()
    known = Known(clock)
    node, library = with_ends(clock, known)
    known.end(mark_of("person", "B" * 32), 5)
    before = await node.sign_in(Credentials(identity_token="of-library"))
    token = sealed({name: value for name, value in opened(before.resume_token).items() if name != "begun"})
    assert (await node.identify(Credentials(resume_token=token))).user == ANN
    known.end(mark_of("person", ANN.id), 6)
    assert node.why_over(before.identity) == "session_ended"
    for shown in (before.resume_token, token):
        with pytest.raises(SignInOver):
            await node.sign_in(Credentials(resume_token=shown))
    after = await node.sign_in(Credentials(identity_token="of-library"))
    assert library.asked == 2, "what was believed before is not any more"
    assert node.why_over(after.identity) is None
    assert (await node.identify(Credentials(resume_token=after.resume_token))).user == ANN


@pytest.mark.parametrize("timeout", [1e9, 1e18, 1e300, float("inf"), float("nan"), -1.0, 0.0])
async def test_a_session_never_lives_unused_for_more_than_a_day(timeout: float) -> None:
    clock = Clock()
    node, _ = with_ends(clock, Known(clock), hours=700)
    token = sealed({**opened(a_resume_token(clock)), "timeout": timeout})
    clock.seconds += 24 * 3600 + 1
    with pytest.raises((Unavailable, Unauthenticated)):
        await node.sign_in(Credentials(resume_token=token))
    library = Library(None, clock=clock)
    library.sessions.adopt(SESSION, timeout, 0)
    assert not (library.sessions.timeout_seconds(SESSION) or 0) > 24 * 3600


@pytest.mark.parametrize(
    "begun",
    [
        None,
        5,
        [],
        ["", 0, 0, ""],
        ["zz", 0, 0, ""],
        ["00" * 16, 1e300, 0, ""],
        ["00" * 16, "x", 0, ""],
        [1, 2, 3, 4],
    ],
)
async def test_a_token_whose_sign_in_is_none_is_not_one_of_ours(begun: object) -> None:
    clock = Clock()
    token = sealed({**opened(a_resume_token(clock)), "begun": begun})
    with pytest.raises(Unauthenticated):
        await an_authenticator(clock).identify(Credentials(resume_token=token))


@pytest.mark.parametrize("issued_at", [1e300, -1e300, float("inf"), float("nan"), 253402300799.0])
async def test_a_token_of_no_time_is_not_one_of_ours(issued_at: float) -> None:
    clock = Clock()
    token = sealed({**opened(a_resume_token(clock)), "issuedAt": issued_at})
    with pytest.raises((Unauthenticated, Unavailable)):
        await an_authenticator(clock).identify(Credentials(resume_token=token))
