"""Where a node listens: at every address of the machine, of IPv4 and of IPv6, unless it is told another."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterable
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

Where: TypeAlias = tuple[Any, ...]

EVERYWHERE = ("", "::")
"""Hosts that mean every address. `0.0.0.0` is all of IPv4."""

_EACH = ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"))
_IS_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


def of(host: str) -> str:
    """Whose port it is, in words; nothing where it is every address's."""
    return "" if host in EVERYWHERE else f" of {host}"


def sockets_at(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to this port, at every address that `host` has here; nobody is let in yet. Raises `OSError`."""
    if host in EVERYWHERE:
        return everywhere(port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise OSError(errno.EINVAL, "no host can have this name") from None
    return sockets_of(host, found)


def sockets_of(host: str, found: Iterable[tuple[Any, ...]]) -> list[socket.socket]:
    """The same, of the addresses that `getaddrinfo` has found for `host`. Raises `OSError`."""
    bound, missing = _bound_to(dict.fromkeys((family, where) for family, *_, where in found))
    for where, error in missing.items():
        if not bound:
            raise error
        log.warning("not listening at %s, which %s has too: %s", where[0], host, error.strerror)
    return bound


def is_open(sock: socket.socket) -> bool:
    """Whether clients can come here. uvloop tells nobody that they cannot: where another program has bound the same
    port while nobody was let in yet, and lets its own in first."""
    return sock.fileno() >= 0 and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def everywhere(port: int) -> list[socket.socket]:
    """Sockets bound to this port, one for each family that the machine has; nobody is let in yet.

    Each family has its own, so that clients of IPv4 keep their addresses as everybody writes them. Raises `OSError`.
    """
    bound, _ = _bound_to((family, (address, port)) for family, address in _EACH)
    if not bound:
        raise OSError(errno.EADDRNOTAVAIL, "this machine has neither IPv4 nor IPv6")
    return bound


def _bound_to(
    addresses: Iterable[tuple[socket.AddressFamily, Where]],
) -> tuple[list[socket.socket], dict[Where, OSError]]:
    """Sockets bound to those that the machine has, and why not to the others: a hosts file names `::1` also where IPv6
    is switched off. Raises any other `OSError`."""
    bound: list[socket.socket] = []
    missing: dict[Where, OSError] = {}
    for family, where in addresses:
        try:
            bound.append(_bound(family, where))
        except OSError as error:
            if error.errno not in _IS_MISSING:
                for before in bound:
                    before.close()
                raise
            missing[where] = error
    return bound, missing


def _bound(family: socket.AddressFamily, where: Where) -> socket.socket:
    """Bound to this; an address of IPv6 may be one of a link alone, which is named behind its port."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
    except OSError:
        made.close()
        raise
    return made
