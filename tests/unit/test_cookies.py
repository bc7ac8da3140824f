"""What is read out of a Cookie header, what a session keeps of what Library's side sets, and what goes there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab_server.authority.library.cookies import (
    MOST_BYTES,
    MOST_COOKIES,
    MOST_NAMES,
    Cookies,
    Jar,
)
from collab_server.domain.cookies import Cookie, find_cookie, is_sendable_cookie, read_cookies
from collab_server.domain.people import AuthoritySession

ANN = AuthoritySession("token-of-ann", "ann", is_delegated=True)
BOB = AuthoritySession("token-of-bob", "bob", is_delegated=True)
BASE = "https://library.example.com/MicroStrategyLibrary/api"


class Moment:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


def kept_after(*set_cookies: str, base: str = BASE, jar: Jar | None = None) -> Cookies:
    """Ann's cookies after an answer of Library's side."""
    cookies, jar = Cookies(base, now=Moment()), jar or Jar()
    cookies.hear(set_cookies, jar, is_librarys=True)
    cookies.put(ANN, jar)
    return cookies


# --- reading


@pytest.mark.parametrize(
    "beside",
    [
        'prefs={"theme":"dark","n":[1,2]}',
        "a=b=c==",
        "nameless",
        "=value",
        "=",
        "",
        "bad name=1",
        "müller=ß",
        'quoted="a, b"',
        'open="a',
        "$Version=1",
        "a[b]=(c)",
        "expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "x=\\a\\0\\\\",
        "\tx =\t1 ",
        "JSESSIONIDX=no",
        "XJSESSIONID=no",
        "jsessionid=no",
        "x=JSESSIONID=no",
        "JSESSIONID",
    ],
)
def test_the_session_cookie_is_found_beside_any_other(beside: str) -> None:
    for header in (
        f"{beside}; JSESSIONID=yes.node1",
        f"JSESSIONID=yes.node1; {beside}",
        f"{beside};JSESSIONID=yes.node1;{beside}",
    ):
        assert find_cookie(header, "JSESSIONID") == "yes.node1"


@given(st.text(alphabet='ab=;"\\ \t,{}$é', max_size=60), st.text(alphabet='ab="\\,{}$é ', max_size=30))
def test_no_other_cookie_hides_one_or_makes_one(header: str, value: str) -> None:
    wanted = value.strip(" \t")
    assert find_cookie(f"{header}; JSESSIONID={value}", "JSESSIONID") == wanted
    assert find_cookie(header, "JSESSIONID") is None
    for found, _ in read_cookies(header):
        assert ";" not in found + _


@pytest.mark.parametrize(
    "header",
    [
        'JSESSIONID="' + "\\a" * 30_000,
        "\\" * 60_000,
        ";" * 60_000,
        "=" * 60_000,
        " " * 60_000,
        "a=;" * 20_000,
        '"' * 60_000,
        "JSESSIONID" * 6_000,
        "JSESSIONID;" * 6_000,
    ],
)
def test_sixty_kilobytes_are_read_in_milliseconds(header: str) -> None:
    cookies = kept_after("LB=1", "a=2")
    began = time.process_time()
    find_cookie(header, "JSESSIONID")
    cookies.pick(header)
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize("value", ["", "a; b=c", "a\r\nX: y", "é", "a b", "x" * 5000])
def test_what_cannot_be_a_session_cookie_is_not_sent(value: str) -> None:
    assert not is_sendable_cookie(value)


# --- keeping


def test_what_is_set_is_sent_and_a_renewed_one_replaces_the_older() -> None:
    cookies = kept_after("AWSALB=one; Expires=Wed, 09 Jun 2100 10:18:14 GMT; Path=/", "other=x;Path=/")
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=ann; AWSALB=one; other=x"
    jar = cookies.of(ANN)
    cookies.hear(["AWSALB=two; Path=/"], jar, is_librarys=False)
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=ann; other=x; AWSALB=two"


@pytest.mark.parametrize(
    "removal",
    ["LB=; Max-Age=0", "LB=x; max-age=-1; Path=/", "LB=; Expires=Thu, 01-Jan-1970 00:00:10 GMT; Path=/"],
)
def test_what_is_taken_away_or_has_run_out_is_not_sent(removal: str) -> None:
    cookies = kept_after("LB=1; Path=/")
    cookies.hear([removal], cookies.of(ANN), is_librarys=True)
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=ann"


def test_a_cookie_lives_as_long_as_was_said() -> None:
    moment = Moment()
    cookies, jar = Cookies(BASE, now=moment), Jar()
    cookies.hear(["LB=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], jar, is_librarys=True)
    cookies.put(ANN, jar)
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=ann; LB=1"
    moment.seconds += 61
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=ann"
    assert cookies.kept(ANN) == []


@pytest.mark.parametrize(
    ("path", "sent_with"),
    [
        ("", {"/sessions", "/auth/logout"}),
        ("Path=/", {"/sessions", "/auth/logout"}),
        ("Path=/MicroStrategyLibrary", {"/sessions", "/auth/logout"}),
        ("path=/MicroStrategyLibrary/api/", {"/sessions", "/auth/logout"}),
        ("Path=relative", {"/sessions", "/auth/logout"}),
        ("Path=/MicroStrategyLibrary/api/auth", {"/auth/logout"}),
        ("Path=/MicroStrategyLib", set()),
        ("Path=/other", set()),
    ],
)
def test_a_path_counts(path: str, sent_with: set[str]) -> None:
    cookies = kept_after(f"LB=1; {path}")
    found = {call for call in ("/sessions", "/auth/logout") if "LB=1" in (cookies.header(ANN, call) or "")}
    assert found == sent_with


def test_secure_counts_and_a_domain_does_not() -> None:
    set_cookies = ("safe=1; Secure", "wide=2; Domain=.example.org")
    assert kept_after(*set_cookies).header(ANN, "/x") == "JSESSIONID=ann; safe=1; wide=2"
    plain = kept_after(*set_cookies, base=BASE.replace("https", "http"))
    assert plain.header(ANN, "/x") == "JSESSIONID=ann; wide=2"


def test_only_library_itself_renews_the_session_cookie() -> None:
    cookies = kept_after("JSESSIONID=renewed; Path=/MicroStrategyLibrary")
    jar = cookies.of(ANN)
    for header in ("JSESSIONID=; Max-Age=0", "JSESSIONID=gone; Expires=Thu, 01 Jan 1970 00:00:00 GMT"):
        cookies.hear([header], jar, is_librarys=True)
    cookies.hear(["JSESSIONID=anonymous"], jar, is_librarys=False)
    assert cookies.header(ANN, "/sessions") == "JSESSIONID=renewed"


@pytest.mark.parametrize(
    "header",
    ["", ";", "=x", "novalue", "a b=1", "a=é", "a=\r\nX: y", "a=\x00", "x" * 300 + "=1", "a=" + "x" * 5000],
)
def test_what_is_no_cookie_is_passed_over(header: str) -> None:
    cookies = kept_after(header, "LB=1")
    assert cookies.header(ANN, "/x") == "JSESSIONID=ann; LB=1"


@pytest.mark.parametrize("size", [MOST_BYTES - 4, MOST_BYTES - 1, MOST_BYTES, 10 * MOST_BYTES])
def test_a_cookie_that_is_too_large_by_itself_takes_no_others_place(size: int) -> None:
    cookies = kept_after("LB=1", "big=" + "x" * size)
    assert cookies.header(ANN, "/x") == "JSESSIONID=ann; LB=1"


def test_a_session_keeps_no_more_than_is_allowed() -> None:
    cookies = kept_after(*(f"c{number}={number}" for number in range(40)), "last=1")
    assert len(cookies.kept(ANN)) == MOST_COOKIES
    cookies.hear([f"big{number}={'x' * 1000}" for number in range(9)], cookies.of(ANN), is_librarys=True)
    header = cookies.header(ANN, "/x") or ""
    assert len(header) <= MOST_BYTES
    assert "big8=" in header
    assert header.startswith("JSESSIONID=ann; ")


def test_everybody_has_a_jar_of_their_own_and_those_in_use_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab_server.authority.library.cookies.MOST_JARS", 10)
    cookies = Cookies(BASE)
    for session, value in ((ANN, "1"), (BOB, "2")):
        cookies.put(session, Jar([Cookie("LB", value)]))
    cookies.pin(ANN)
    for number in range(20):
        cookies.put(AuthoritySession(f"t{number}", None, is_delegated=False), Jar([Cookie("LB", "x")]))
    assert cookies.header(ANN, "/x") == "JSESSIONID=ann; LB=1"
    assert cookies.header(BOB, "/x") == "JSESSIONID=bob"
    cookies.unpin(ANN)
    assert cookies.header(ANN, "/x") == "JSESSIONID=ann; LB=1"
    cookies.forget(ANN)
    assert cookies.header(ANN, "/x") == "JSESSIONID=ann"


# --- what a browser shows


def test_only_cookies_whose_names_library_has_set_are_picked() -> None:
    shown = 'JSESSIONID=s; theme=dark; AWSALB=mine; prefs={"a":1}; AWSALB=second; awsalb=3; gone=4'
    assert Cookies(BASE).pick(shown) == []
    cookies = kept_after("AWSALB=of-the-node; Path=/", "gone=; Max-Age=0", "elsewhere=1; Path=/other")
    assert cookies.pick(shown + "; elsewhere=5") == [Cookie("AWSALB", "mine")]


def test_picked_cookies_are_bounded_and_so_are_the_names() -> None:
    cookies = kept_after(*(f"n{number}=1" for number in range(45)))
    picked = cookies.pick("; ".join(f"n{number}={'x' * 300}" for number in range(45)))
    assert 0 < sum(cookie.size for cookie in picked) <= MOST_BYTES
    assert len(cookies.pick("; ".join(f"n{number}=1" for number in range(45)))) <= MOST_NAMES
