"""Pages of lists: how many items, and the opaque cursor that goes on where a page ended."""

from __future__ import annotations

import base64
import binascii

from collab_server.errors import Invalid

MAX_PAGE = 200
_MOST = 253_402_300_799_999_999  # the largest number in a cursor: the last microsecond of the year 9999, since 1970


def page_limit(limit: int) -> int:
    """The size of a page as asked for.

    Raises `Invalid` unless it is 1 to `MAX_PAGE`.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"expected 1 to {MAX_PAGE}", field="limit")
    return limit


def write_cursor(*place: int) -> str:
    """The opaque cursor that goes on after this place in a list."""
    return base64.urlsafe_b64encode(".".join(map(str, place)).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, *, parts: int = 1) -> tuple[int, ...] | None:
    """The place, of so many numbers, that a cursor of ours goes on from.

    Raises `Invalid` for anything else.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
        place = tuple(int(part) for part in text.split(".") if part.isdecimal() and len(part) < 19)
    except (binascii.Error, ValueError):
        place = ()
    if len(place) != parts or max(place) > _MOST:
        raise Invalid("expected a cursor from `next` of an earlier page", field="cursor")
    return place
