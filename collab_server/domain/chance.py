"""Chance: random bytes for ids, keys and nonces, and how ids are spelled.

The kernel is asked for many at a time: to ask costs as much as all else that an id takes. What was taken is nowhere
any more, no two threads get the same, and a process that is forked begins without any.
"""

from __future__ import annotations

import os
from binascii import b2a_base64

__all__ = ["base64url", "chance"]

_PIECE_BYTES = 16
_PIECES = 128

_left: list[bytes] = []
os.register_at_fork(after_in_child=_left.clear)

_URL = bytes.maketrans(b"+/", b"-_")


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
