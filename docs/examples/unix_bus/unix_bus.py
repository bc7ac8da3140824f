"""A bus over Unix sockets, for nodes of one user on one machine: each has a socket in a folder that is theirs alone."""

import asyncio
import json
import logging
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from collab_server.domain.keys import KeyRing
from collab_server.ports import BusSetup, Handler, Peer

HEAD = struct.Struct(">8sQdB")  # start of a node, number, when it was said, kind
HELLO = 255  # who says it, and which number comes next; one with nothing in it is a goodbye
BEAT_SECONDS, SILENT_SECONDS = 1.0, 5.0
MOST_BYTES = 131_072


@dataclass
class Other:
    """A start of another node, and the number of what it says next."""

    node: str
    expected: int
    heard_at: float
    peer: Peer


class UnixBus:
    """`collab_server.ports.Bus`. `url` is a folder of the node's user with mode 0700: nobody else says anything."""

    dependency: str | None = None  # nothing that could be away
    is_available = True
    problem: str | None = None
    latency_seconds: float | None = None

    def __init__(self, setup: BusSetup) -> None:
        folder = Path(setup.url or "")
        if (
            not setup.url
            or not folder.is_dir()
            or folder.stat().st_uid != os.getuid()
            or folder.stat().st_mode & 0o77
        ):
            raise ValueError("expected a folder of the user that the node runs as, with mode 0700")
        self.longest_delay_seconds = 0.0
        self._setup, self._folder, self._prefix = setup, folder, ""
        self._start, self._next, self._lost = secrets.token_bytes(8), 0, 0
        self._socket: socket.socket | None = None
        self._beating: asyncio.Task[None] | None = None
        self._others: dict[bytes, Other] = {}
        self._handlers: dict[int, list[Handler]] = {}
        self._gap: list[Callable[[], None]] = []
        self._found: list[Callable[[str], None]] = []
        self._gone: list[Callable[[str], None]] = []

    @property
    def is_hearing(self) -> bool:
        return self._socket is not None

    @property
    def nodes(self) -> Mapping[str, Peer]:
        return {other.node: other.peer for other in self._others.values()}

    def counts(self) -> Mapping[str, int]:
        return {"published": self._next, "lost": self._lost}

    def listen(self, kind: int, handler: Handler) -> None:
        self._handlers.setdefault(int(kind), []).append(handler)

    def on_gap(self, callback: Callable[[], None]) -> None:
        self._gap.append(callback)

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        self._found.append(callback)

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        self._gone.append(callback)

    def publish(self, kind: int, payload: bytes) -> None:
        number, self._next = self._next, self._next + 1  # also of what gets lost: the others miss it by that
        self._send(number, kind, payload, [self._path_of(start) for start in self._others])

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        prefix = blake2b(epoch.encode(), digest_size=6).hexdigest() + "-"
        if (
            prefix != self._prefix
        ):  # else only the keys are others: nothing is sealed here, the folder keeps out
            self._close()
            self._prefix = prefix
            self._open()

    async def start(self) -> None:
        self._beating = asyncio.create_task(self._beat())
        self._open()

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        self._close()

    def _open(self) -> None:
        if self._prefix and self._beating is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(self._path_of(self._start))
            asyncio.get_running_loop().add_reader(self._socket, self._read)
            self._hello()

    def _close(self) -> None:
        if self._socket is not None:
            self._send(self._next, HELLO, b"", [self._path_of(start) for start in self._others])
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            Path(self._path_of(self._start)).unlink(missing_ok=True)
        for start in list(self._others):
            self._forget(start)

    def _path_of(self, start: bytes) -> str:
        return str(self._folder / (self._prefix + start.hex()))

    def _send(self, number: int, kind: int, payload: bytes, paths: Iterable[str]) -> None:
        packet = HEAD.pack(self._start, number, time.monotonic(), kind) + payload
        for path in paths:
            try:
                if self._socket is not None and len(packet) <= MOST_BYTES:
                    self._socket.sendto(packet, path)
                    continue
            except ConnectionRefusedError:
                Path(path).unlink(missing_ok=True)  # of a node that was killed
            except OSError:
                pass  # the other one reads too slowly, or has gone
            self._lost += 1

    def _hello(self) -> None:
        """Said to whoever has a socket here: that is how nodes find each other."""
        me = json.dumps({"node": self._setup.node, "info": self._setup.announcement.facts()}).encode()
        paths = {str(path) for path in self._folder.glob(self._prefix + "*")} - {self._path_of(self._start)}
        self._send(self._next, HELLO, me, paths)

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            for start, other in list(self._others.items()):
                other.heard_at += max(0.0, time.monotonic() - due)  # it was we who did not listen
                if time.monotonic() - other.heard_at > SILENT_SECONDS:
                    self._forget(start)
            if self._socket is not None:
                self._hello()

    def _read(self) -> None:
        for _ in range(100):  # then it is the turn of others
            try:
                data = self._socket.recv(MOST_BYTES) if self._socket is not None else b""
            except BlockingIOError:
                return
            if len(data) >= HEAD.size:
                start, number, said_at, kind = HEAD.unpack_from(data)
                self._take(start, number, said_at, kind, data[HEAD.size :])

    def _take(self, start: bytes, number: int, said_at: float, kind: int, payload: bytes) -> None:
        other = self._others.get(start)
        if kind == HELLO:
            if payload:
                self._take_hello(start, number, json.loads(payload))
            else:
                self._forget(start)
        elif other is not None and number >= other.expected:
            if number > other.expected:
                self._call(self._gap)
            other.expected, other.heard_at = number + 1, time.monotonic()
            self.longest_delay_seconds = time.monotonic() - said_at  # one clock for all of a machine
            self._call(self._handlers.get(kind, ()), other.node, payload)
            self.longest_delay_seconds = 0.0

    def _take_hello(self, start: bytes, number: int, told: dict[str, Any]) -> None:
        before = self._others.get(start)
        peer = Peer(told["info"], time.time())
        self._others[start] = Other(told["node"], number, time.monotonic(), peer)
        if before is None:
            for known, other in list(self._others.items()):
                if known != start and other.node == told["node"]:
                    self._forget(known)  # it has started anew
            self._hello()  # before anything else is said to it
            self._call(self._gap)  # what it has said so far was not heard
            self._call(self._found, told["node"])
        elif number > before.expected:
            self._call(self._gap)

    def _forget(self, start: bytes) -> None:
        if (other := self._others.pop(start, None)) is not None:
            self._call(self._gone, other.node)

    def _call(self, callbacks: Iterable[Callable[..., None]], *arguments: object) -> None:
        for callback in callbacks:
            try:
                callback(*arguments)
            except Exception:
                logging.getLogger(__name__).exception("a listener failed")
