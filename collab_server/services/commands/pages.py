"""Pages of lists: how many items and bytes, and the sealed cursor that goes on where a page ended.

A cursor is a place in one list of one person. It is encrypted and authenticated under a key that all nodes of an
installation derive from its secret: whoever holds one can hand it back, on any node, and do nothing else with it.
The same place is sealed the same each time (AES-SIV), so that a cursor tells no difference where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from collab_server.domain.chance import base64url, of_base64url
from collab_server.domain.jsontext import NULL, JsonText, json_list, json_object, json_string
from collab_server.domain.keys import KeyRing, purpose_key
from collab_server.domain.people import Identity
from collab_server.errors import Invalid, Paused
from collab_server.storage.event_log import PAGE_BYTES

T = TypeVar("T")

MAX_PAGE = 200
MOST_CURSOR_CHARACTERS = 4096
_PADDED_TO = 48
"""What is sealed is as long as a multiple of this: the length of a cursor does not tell how large a number is."""


def page_limit(limit: int) -> int:
    """The size of a page as asked for.

    Raises `Invalid` unless it is 1 to `MAX_PAGE`.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"expected 1 to {MAX_PAGE}", field="limit")
    return limit


def fitting(items: Iterable[JsonText]) -> list[JsonText]:
    """The first of these JSON texts: all that begin within `PAGE_BYTES`. With more, a page ends early."""
    shown: list[JsonText] = []
    size = 0
    for item in items:
        if size >= PAGE_BYTES:
            break
        shown.append(item)
        size += len(item.encode())
    return shown


def page_of(
    found: Sequence[T],
    limit: int,
    shown: Callable[[T], JsonText],
    cursor_after: Callable[[T], str],
    **more: JsonText,
) -> JsonText:
    """A page of at most `limit` of what was found, and of `PAGE_BYTES`; with a cursor after its last one where there is
    more, of which one may have been found beyond the limit; and with what else the list has."""
    items = fitting(shown(item) for item in found[:limit])
    return page_text(items, cursor_after(found[len(items) - 1]) if len(found) > len(items) else None, **more)


def page_text(items: Iterable[JsonText], next: str | None = None, **more: JsonText) -> JsonText:
    """`{items, next}`, with what else the list has between them."""
    return json_object(items=json_list(items), **more, next=NULL if next is None else json_string(next))


class Cursors:
    """Seals and opens cursors. Raises `Paused` before there is a key."""

    def __init__(self) -> None:
        self._ciphers: list[AESSIV] = []

    def use_keys(self, keys: KeyRing) -> None:
        """From now on seal under the ring's key, and open under any of its keys."""
        self._ciphers = [AESSIV(purpose_key(key, "cursors")) for key in keys.in_order]

    def write(self, who: Identity, command: str, *place: int) -> str:
        """The cursor with which `who` goes on after this place in the list that `command` shows."""
        text = ".".join(map(str, place)).encode()
        padded = text.ljust(-(-len(text) // _PADDED_TO) * _PADDED_TO)
        sealed = self._usable()[0].encrypt(padded, [_bound_to(who, command)])
        return base64url(sealed)

    def read(
        self, who: Identity, command: str, cursor: str | None, *, parts: int | None = 1
    ) -> tuple[int, ...] | None:
        """The place, of so many numbers (None: any), that a cursor of `write` goes on from; None without a cursor.

        Raises `Invalid` for anything else: another list's, another person's, one that was written before an update.
        """
        if cursor is None:
            return None
        place = tuple(map(int, self._opened(_bound_to(who, command), cursor).split(b".")))
        if parts is not None and len(place) != parts:
            raise _unknown()
        return place

    def _opened(self, bound_to: bytes, cursor: str) -> bytes:
        ciphers = self._usable()
        if len(cursor) > MOST_CURSOR_CHARACTERS:
            raise _unknown()
        sealed = of_base64url(cursor)
        if sealed is None:
            raise _unknown()
        for cipher in ciphers:
            try:
                return cipher.decrypt(sealed, [bound_to]).rstrip()
            except (InvalidTag, ValueError):
                continue
        raise _unknown()

    def _usable(self) -> list[AESSIV]:
        if not self._ciphers:
            raise Paused("the database, which keeps the key of cursors, has not been reached yet")
        return self._ciphers


def _bound_to(who: Identity, command: str) -> bytes:
    return f"{command} {who.user.id}".encode()


def _unknown() -> Invalid:
    return Invalid(
        "this is no `next` of a page of this list, or one of before an update: begin at the first page, without it",
        field="cursor",
    )
