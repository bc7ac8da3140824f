"""Chance: random bytes for ids, keys and nonces, and how ids are spelled.

The kernel is asked for many at a time: to ask costs as much as all else that an id takes. What was taken is nowhere
any more, no two threads get the same, and a process that is forked begins without any.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64, b2a_base64

__all__ = ["base64url", "chance", "of_base64url"]

_PIECE_BYTES = 16
_PIECES = 128

_left: list[bytes] = []
os.register_at_fork(after_in_child=_left.clear)

_URL = bytes.maketrans(b"+/", b"-_")
_OF_URL = bytes.maketrans(b"-_+/", b"+/??")  # what has been made of bytes has neither of the other two


def chance(size: int) -> bytes:
    """So many random bytes, as good as those of `secrets`."""
    if size > _PIECE_BYTES:
        return os.urandom(size)
    try:
        return _left.pop()[:size]  # in one step, whatever other threads do
    except IndexError:
        many = os.urandom(_PIECE_BYTES * _PIECES)
        _left.extend([many[at : at + _PIECE_BYTES] for at in range(0, len(many), _PIECE_BYTES)])
        return os.urandom(size)


def base64url(data: bytes) -> str:
    """Bytes in base64url, without the signs that fill it up."""
    return b2a_base64(data, newline=False).translate(_URL).rstrip(b"=").decode()


def of_base64url(text: str, *, is_filled: bool = False) -> bytes | None:
    """The bytes of which `base64url` makes this text, or, filled up, base64's own functions. None for any other text:
    what reads base64 reads over what is none, and over all that follows its end, so that one thing would have many
    spellings, and whatever is kept about one of them would not hold for the others.
    """
    try:
        written = text.encode("ascii")
        data = a2b_base64(written.translate(_OF_URL) + (b"" if is_filled else b"=="))
    except (UnicodeEncodeError, Error):
        return None
    spelled = b2a_base64(data, newline=False).translate(_URL)
    return data if written == (spelled if is_filled else spelled.rstrip(b"=")) else None
