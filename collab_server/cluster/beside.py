"""Nodes of the version before beside those of this one, for as long as a rolling update takes.

They speak in clear, so nothing that they seem to say is believed, and they cannot open what is sealed: either side
reads the other's events in Postgres. One thing is done for them. They show the people of a node that goes as having
left, even those who have only moved to a node of this version, which they cannot hear. So while there is another one to
listen, heartbeats go on in the name of one that has gone, with nothing in them.

That name is what anybody on Redis may make up: the worst that comes of it are some more empty heartbeats in clear,
`MAX_NODES` a second. Goes with the next version. Nothing runs here: the bus calls.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b

__all__ = ["Beside", "heartbeat_of"]

LAYOUT_BEFORE = 1
FORGETS_AFTER_SECONDS = 5.0
"""When a node of the version before takes another one for gone, for its silence."""
HEARTBEAT_SECONDS = 1.0
MAX_NODES = 32

_HEAD = struct.Struct(">B8sQIB")
_CANARY = 1
_HEARTBEAT = struct.pack(">BI", _CANARY, 2) + b"{}"
_GOODBYE = struct.pack(">BI", _CANARY, 0)


@dataclass(slots=True)
class _Before:
    """A node of the version before."""

    heard_at: float
    has_gone: bool


class Beside:
    """The nodes of the version before, as far as one can tell who they are. Times are in seconds of any one clock."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Before] = {}
        self._due_at = 0.0

    def hear(self, data: bytes, now: float) -> bool:
        """Take an envelope that was not sealed. True: it is one of those that `due` gives, here or elsewhere."""
        if len(data) < _HEAD.size or data[0] != LAYOUT_BEFORE:
            return False
        start = _HEAD.size + data[_HEAD.size - 1]
        try:
            name = data[_HEAD.size : start].decode()
        except UnicodeDecodeError:
            return False
        if not name:
            return False
        if data == heartbeat_of(name):
            return True
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            del self._nodes[min(self._nodes, key=lambda one: self._nodes[one].heard_at)]
        self._nodes[name] = _Before(now, has_gone := data.endswith(_GOODBYE))
        if has_gone:
            self._due_at = now
        return False

    def was_deaf(self, now: float) -> None:
        """We have not listened until now: nobody was silent meanwhile."""
        for node in self._nodes.values():
            node.heard_at = now

    def due(self, now: float) -> list[bytes]:
        """What has to be published now, in clear. Ask several times a second, while what is published is heard."""
        if not self._nodes or now < self._due_at:
            return []
        self._due_at = now + HEARTBEAT_SECONDS
        gone = []
        for name, node in self._nodes.items():
            if node.has_gone or now - node.heard_at > FORGETS_AFTER_SECONDS:
                node.has_gone = True
                gone.append(name)
        if len(gone) == len(self._nodes):
            self._nodes.clear()  # nobody is left who would listen
            return []
        return [heartbeat_of(name) for name in gone]


def heartbeat_of(name: str) -> bytes:
    """The heartbeat of a node that has gone: always the same, so that it is taken for one sent again, not for a gap."""
    encoded = name.encode()
    sender = blake2b(encoded, digest_size=8).digest()
    return _HEAD.pack(LAYOUT_BEFORE, sender, 0, 1, len(encoded)) + encoded + _HEARTBEAT
