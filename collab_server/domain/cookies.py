"""Cookies, as browsers show them in a header: how they are read, and what one may be. Reading is linear in what is
read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SESSION_COOKIE", "Cookie", "find_cookie", "is_sendable_cookie", "read_cookies", "without_cookie"]

SESSION_COOKIE = "JSESSIONID"
"""What a browser's session of Library is known by, beside its token."""
MOST_COOKIE_BYTES = 4096
MOST_NAME_CHARACTERS = 256

# Printable ASCII that can neither end the cookie nor begin another one.
_NAME = re.compile(r"[!-:<>-~]+")
_VALUE = re.compile(r"[ -:<-~]*")
_SESSION_VALUE = re.compile(r"[!-:<-~]+")


def read_cookies(header: str) -> Iterator[tuple[str, str]]:
    """Names and values in a Cookie header, as they stand there. Whatever is no cookie is passed over.

    Not `http.cookies`, which gives up at what browsers do send (`prefs={"theme":"dark"}`), and before Python 3.11.10
    and 3.12.6 takes time quadratic in the backslashes.
    """
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            yield name.strip(" \t"), value.strip(" \t")


def find_cookie(header: str, name: str) -> str | None:
    """The value of the first cookie of that name: browsers send the one with the longest path first."""
    if name not in header:
        return None
    return next((value for found, value in read_cookies(header) if found == name), None)


def without_cookie(header: str, name: str) -> str:
    """The Cookie header without those of that name."""
    return "; ".join(f"{found}={value}" for found, value in read_cookies(header) if found != name)


def is_sendable_cookie(value: str) -> bool:
    """Whether `value` can be that of `JSESSIONID`, and cannot smuggle in another cookie."""
    return len(value) <= MOST_COOKIE_BYTES and _SESSION_VALUE.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie. `path` None: for every call of Library; `expires_at`, seconds since 1970, None: with its session."""

    name: str
    value: str
    path: str | None = None
    expires_at: float | None = None

    def is_valid(self) -> bool:
        """Whether it may go into a header."""
        return (
            len(self.name) <= MOST_NAME_CHARACTERS
            and self.size <= MOST_COOKIE_BYTES
            and _NAME.fullmatch(self.name) is not None
            and _VALUE.fullmatch(self.value) is not None
        )

    @property
    def size(self) -> int:
        """Its bytes in a Cookie header, the separator included."""
        return len(self.name) + len(self.value) + 3
