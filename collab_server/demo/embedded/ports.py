"""TCP ports that nobody uses, for servers that are about to start."""

from __future__ import annotations

import collections
import itertools
import os
import secrets
import socket

from collab_server.demo.tied import EmbeddedError

__all__ = ["HOST", "free_port"]

HOST = "127.0.0.1"

_PORTS = range(20000, 32000)  # below those that Linux gives to clients, unless it was told otherwise
_CLAIMS_KEPT = 64
_turns = itertools.count(secrets.randbelow(len(_PORTS)))
_claims: collections.deque[int] = collections.deque()
"""Descriptors of the names that say which ports are about to be taken; they last no longer than this process."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now. Somebody may take it: try again then.

    Not one of those that the system gives to whoever connects somewhere, which could take it at any moment, nor one
    that a process got from here a short while ago, this one or another on this machine. Raises `EmbeddedError`.
    """
    for _ in range(len(_PORTS)):
        port = _PORTS[next(_turns) % len(_PORTS)]
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0collab-server-port-{port}")
            with socket.socket() as probe:
                probe.bind((HOST, port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim.detach())
        if len(_claims) > _CLAIMS_KEPT:
            os.close(_claims.popleft())
        return port
    raise EmbeddedError("no port is free")
