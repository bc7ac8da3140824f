"""What the supervisor says to a worker: here is a connection; drain; leave. One byte each, by a socket between the two.

A connection travels with its byte (SCM_RIGHTS) and is the worker's from then on. What a worker has not taken can be
taken back by whoever holds its end too, so nothing is lost when it dies or freezes. The supervisor's end being closed
means that the supervisor is gone, and that the worker goes too.

Nothing here waits.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket

__all__ = ["CONNECTION", "DRAIN", "LEAVE", "pair", "receive", "say", "send"]

CONNECTION, DRAIN, LEAVE = b"c", b"d", b"l"
QUEUE_BYTES = 1_048_576
"""Room for some hundred connections that a worker has not taken yet."""

_INT = array.array("i").itemsize


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and a worker's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE_BYTES)
    return ours, theirs


def send(to: socket.socket, connection: int) -> bool:
    """Hand a connection, by its descriptor, to a worker; False if it takes no more, or is gone."""
    try:
        return socket.send_fds(to, [CONNECTION], [connection]) == 1
    except OSError:  # full, too much under way in all, or closed
        return False


def say(to: socket.socket, what: bytes) -> bool:
    """`DRAIN` or `LEAVE`; False if it cannot be said now."""
    try:
        return to.send(what) == 1
    except OSError:
        return False


def receive(end: socket.socket) -> tuple[bytes, int | None] | None:
    """What was said next, and the descriptor that came along; None if nothing was. `b""`: the other end is gone."""
    try:
        said, ancillary, _, _ = end.recvmsg(1, socket.CMSG_LEN(_INT), getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    except BlockingIOError:
        return None
    except OSError:
        return b"", None
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % _INT])
    for more in descriptors[1:]:
        with contextlib.suppress(OSError):
            os.close(more)
    return said, descriptors[0] if descriptors else None
