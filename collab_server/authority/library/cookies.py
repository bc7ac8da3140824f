"""Cookies: what browsers show, and what Library and the balancer before it set.

Library's side may need more of a session than its token: its HTTP sessions live on one member each, and the balancer
before them knows the member by a cookie of its own. So every session has a `Jar` beside it, with what was set on the
answers to its calls, and sends that with the next ones. Token and `JSESSIONID` stay the session's identity; what is in
the jar changes, and belongs to the session alone, whoever uses it.

A browser shows the cookies of every application on its host. Those whose *names* Library's side has been seen to set
go on to Library, the others never do: they are not Library's business, and many servers take heads of 8 KB at most.
The names are learnt from any answer, and by this node alone: the first question of a node teaches them, and a sign-in
that is refused before that is tried again with what the refusal has taught, and the answer to a POST, on which alone
some balancers set their cookie.

Bounded in every direction: 4 KB and 20 cookies a session, 32 names, jars for the sessions in use and for the 20,000
used last. Reading is linear in what is read. Belongs to one event loop; waits for nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cachetools import LRUCache

from collab_server.domain.cookies import SESSION_COOKIE, Cookie, read_cookies
from collab_server.domain.people import AuthoritySession

__all__ = ["Cookies", "Jar"]

MOST_BYTES = 4096
"""Of one session, and of the cookies that go with one call."""
MOST_COOKIES = 20
MOST_NAMES = 32
MOST_SET_AT_ONCE = 50
MOST_JARS = 20_000


class Jar:
    """The cookies of one session beside `JSESSIONID`; or in place of it, where Library has renewed that."""

    __slots__ = ("_cookies",)

    def __init__(self, cookies: Iterable[Cookie] = ()) -> None:
        self._cookies: dict[tuple[str, str | None], Cookie] = {}  # the one set last comes last
        for cookie in cookies:
            self.put(cookie)

    def put(self, cookie: Cookie) -> None:
        """Keep it in place of an older one; the oldest others go where it would be too much."""
        if not cookie.is_valid():
            return
        key = cookie.name, cookie.path
        self._cookies.pop(key, None)
        self._cookies[key] = cookie
        while len(self._cookies) > MOST_COOKIES or sum(c.size for c in self._cookies.values()) > MOST_BYTES:
            del self._cookies[next(iter(self._cookies))]

    def remove(self, cookie: Cookie) -> None:
        """Keep none of that name and path any more."""
        self._cookies.pop((cookie.name, cookie.path), None)

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._cookies

    def cookies(self, now: float) -> list[Cookie]:
        """What has not run out, oldest first."""
        return [c for c in self._cookies.values() if c.expires_at is None or c.expires_at > now]

    def has_the_values_of(self, other: Jar) -> bool:
        """Whether both would send the same."""
        return self._values() == other._values()

    def _values(self) -> set[tuple[str, str]]:
        return {(cookie.name, cookie.value) for cookie in self._cookies.values()}


class Cookies:
    """The jars of a node's Library sessions, and the names that Library's side sets."""

    def __init__(self, base_url: str | None, *, now: Callable[[], float] = time.time) -> None:
        """`base_url` is `authorizationServerUrl`: to it every cookie goes, and to nothing else."""
        url = urlsplit(base_url or "")
        self._is_secure = url.scheme == "https"
        self._base_path = url.path.rstrip("/") + "/"
        self._now = now
        self._names: LRUCache[str, bool] = LRUCache(MOST_NAMES)
        self._pinned: dict[AuthoritySession, Jar] = {}
        self._recent: LRUCache[AuthoritySession, Jar] = LRUCache(MOST_JARS)

    # --- the jars

    def of(self, session: AuthoritySession) -> Jar | None:
        """The session's jar, if there is one."""
        return self._pinned.get(session) or self._recent.get(session)

    def put(self, session: AuthoritySession, jar: Jar) -> None:
        """Make it the session's jar."""
        if session in self._pinned:
            self._pinned[session] = jar
        elif jar.cookies(self._now()):
            self._recent[session] = jar
        else:
            self._drop(session)

    def adopt(self, session: AuthoritySession, cookies: Iterable[Cookie]) -> None:
        """What another node had kept; what is here already is younger."""
        kept = self.of(session)
        if kept is None or not kept.cookies(self._now()):
            self.put(session, Jar(cookies))

    def pin(self, session: AuthoritySession) -> None:
        """Keep the session's jar for as long as somebody uses it, however many others there are."""
        if session not in self._pinned:
            self._pinned[session] = self._drop(session) or Jar()

    def unpin(self, session: AuthoritySession) -> None:
        """It is in use no more."""
        jar = self._pinned.pop(session, None)
        if jar is not None:
            self.put(session, jar)

    def forget(self, session: AuthoritySession) -> None:
        """The session is over."""
        self._pinned.pop(session, None)
        self._drop(session)

    def _drop(self, session: AuthoritySession) -> Jar | None:
        return self._recent.pop(session) if session in self._recent else None

    def kept(self, session: AuthoritySession) -> list[Cookie]:
        """What has to go along with the session to another node, the oldest first."""
        jar = self.of(session)
        if jar is None or jar.is_empty:
            return []
        found = jar.cookies(self._now())
        return [c for c in found if (c.name, c.value) != (SESSION_COOKIE, session.cookie)]

    # --- to Library

    def header(self, session: AuthoritySession, call_path: str, jar: Jar | None = None) -> str | None:
        """The Cookie header for a call with the session; `call_path` follows `base_url`. `jar` None: the session's."""
        jar = jar or self.of(session)
        found = [] if jar is None else jar.cookies(self._now())
        path = self._base_path + call_path.lstrip("/")
        fitting = [c for c in found if c.path is None or _is_below(path, c.path)]
        if session.cookie is not None and all(cookie.name != SESSION_COOKIE for cookie in fitting):
            fitting.append(Cookie(SESSION_COOKIE, session.cookie))
        # Of a name that stands there twice the longest path comes first, as from browsers.
        fitting.sort(key=lambda cookie: (cookie.name != SESSION_COOKIE, -len(cookie.path or "")))
        return _joined(fitting)

    def pick(self, header: str) -> list[Cookie]:
        """Those in a browser's Cookie header that are Library's business, `JSESSIONID` left out; at most 4 KB."""
        picked: dict[str, Cookie] = {}
        size = 0
        for name, value in read_cookies(header) if self._names else ():
            if name not in self._names or name in picked:
                continue
            cookie = Cookie(name, value)
            if cookie.is_valid() and size + cookie.size <= MOST_BYTES:
                picked[name] = cookie
                size += cookie.size
        return list(picked.values())

    def has_others(self, header: str) -> bool:
        """Whether a browser's Cookie header holds any that would not go to Library."""
        return any(name != SESSION_COOKIE and name not in self._names for name, _ in read_cookies(header))

    # --- from Library

    def hear(self, set_cookies: Iterable[str], jar: Jar | None, *, is_librarys: bool) -> None:
        """Learn from the Set-Cookie headers of an answer, and keep what they say in `jar`; None: the names alone.

        `is_librarys` says that Library itself has answered: what merely stands before it has no say over `JSESSIONID`,
        and an anonymous session that it begins on its own must not replace somebody's.
        """
        for number, header in enumerate(set_cookies):
            if number >= MOST_SET_AT_ONCE:
                break
            said = self._understand(header)
            if said is None:
                continue
            cookie, is_removal = said
            if cookie.name == SESSION_COOKIE and not (is_librarys and not is_removal):
                continue
            if not is_removal and cookie.name != SESSION_COOKIE:
                self._names[cookie.name] = True
            if jar is None:
                continue
            if is_removal:
                jar.remove(cookie)
            else:
                jar.put(cookie)

    def _understand(self, header: str) -> tuple[Cookie, bool] | None:
        """A Set-Cookie header as a cookie, and whether it takes the cookie away. None: it is not for our calls.

        `Domain` counts for nothing: every cookie goes back to where it came from and nowhere else, and a node often
        knows Library by another name than browsers do.
        """
        pair, *attributes = header.split(";")
        name, equals, value = pair.partition("=")
        cookie = Cookie(name.strip(" \t"), value.strip(" \t"))
        if not equals or not cookie.is_valid():
            return None
        path, max_age, expires = "", None, None
        for attribute in attributes:
            key, _, said = attribute.partition("=")
            said = said.strip(" \t")
            match key.strip(" \t").lower():
                case "path":
                    path = said
                case "secure" if not self._is_secure:
                    return None
                case "max-age":
                    max_age = _seconds(said)
                case "expires":
                    expires = _moment(said)
        # Without a path a browser takes that of the one call. For us it is Library's as a whole: what finds the member
        # for a sign-in has to find it for what follows.
        if path.startswith("/") and not _is_below(self._base_path, path):
            if not _is_below(path, self._base_path):
                return None
            cookie = replace(cookie, path=path)
        now = self._now()
        expires_at = expires if max_age is None else now + max_age
        return replace(cookie, expires_at=expires_at), expires_at is not None and expires_at <= now


def _is_below(path: str, cookie_path: str) -> bool:
    """Whether a request to `path` gets a cookie of `cookie_path` (RFC 6265, 5.1.4)."""
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path.endswith("/") or path[len(cookie_path)] == "/"


def _joined(cookies: Iterable[Cookie]) -> str | None:
    parts, size = [], 0
    for cookie in cookies:
        if size + cookie.size <= MOST_BYTES + 2:  # no separator follows the last one
            size += cookie.size
            parts.append(f"{cookie.name}={cookie.value}")
    return "; ".join(parts) or None


def _seconds(text: str) -> float | None:
    is_number = len(text) < 20 and re.fullmatch(r"-?[0-9]+", text) is not None
    return float(text) if is_number else None


def _moment(text: str) -> float | None:
    """A date as HTTP writes it, in seconds since 1970."""
    try:
        return parsedate_to_datetime(text[:64]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
