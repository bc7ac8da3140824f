"""The bus between the workers of one node: a Unix socket for each, in a folder that is their user's alone.

Nobody stands between them. Each worker connects to every socket in the folder, its own included, and writes there what
it publishes; on its own it reads what the others write. So hearing its heartbeats proves the way of the others' words,
no process is the one that all need, and a newcomer is found by its socket: at once by those to whom it connects, else
by the next look into the folder.

What it promises beside `bus`:

- A worker that reads slowly, or is frozen, holds up nobody. What waits for it has a limit in bytes, in number and in
  time of its own; what exceeds it is dropped, which the numbers of messages show to it.
- Whoever is not the workers' user neither connects nor is connected to: the folder is closed to others
  (`workers.folder`), and the kernel says whose process is at the other end.

What runs concurrently: one task, which looks into the folder four times a second. Frames are written and read in
callbacks of the event loop. How it stops: cancelling the task closes everything and takes the socket away.

A frame is its length (4 bytes), its kind (1 byte) and then either the name of the channel that what follows is for, or
one envelope.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from typing_extensions import override

from collab_server.cluster.backlog import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, STALE_AFTER_SECONDS
from collab_server.cluster.bus import SealedBus
from collab_server.cluster.counters import Counters
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.proof import Proof
from collab_server.cluster.reception import COMPLAINT_SECONDS, MAX_ENVELOPE_BYTES
from collab_server.ports import Announcement

__all__ = ["WorkersBus"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
CONNECT_SECONDS = 1.0
MOST_WORKERS = 1024
MOST_UNWRITTEN_BYTES = 262_144
"""So much the event loop may hold for a worker; beyond it frames wait in `_Out`, where they can grow stale."""
CHANNEL, ENVELOPE = 1, 2
SUFFIX = ".bus"

_HEAD = struct.Struct(">IB")
_CREDENTIALS = struct.Struct("3i")  # of Linux' SO_PEERCRED: process, user, group


class WorkersBus(SealedBus):
    """`ports.Bus` between the processes that are given the same `folder`, which is the user's alone.

    `worker` is this one's name, unlike any other's; `announcement` is what it tells the others of itself.
    """

    def __init__(
        self,
        folder: Path,
        *,
        worker: str,
        announcement: Announcement | None = None,
        limits: tuple[int, int] = (MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def sockets(outbox: Outbox, proof: Proof, counters: Counters) -> Sockets:
            self.sockets = Sockets(folder, outbox=outbox, proof=proof, counters=counters, limits=limits)
            return self.sockets

        super().__init__(
            sockets,
            node=worker,
            announcement=announcement,
            carried_by="the bus between the workers",
            limits=limits,
            clock=clock,
        )


class Sockets:
    """`bus.Carrier` and, for the outbox, `outbox.Way`: see the module."""

    def __init__(
        self, folder: Path, *, outbox: Outbox, proof: Proof, counters: Counters, limits: tuple[int, int]
    ) -> None:
        self.others: dict[str, _Out] = {}
        """Where what is published goes, by the name of the socket."""
        self._folder = folder
        self._own = _Own(folder)
        self._outbox = outbox
        self._proof = proof
        self._counters = counters
        self._limits = limits
        self._channel = b""
        self._on_message: Callable[[bytes], None] = lambda data: None
        self._on_subscribed: Callable[[], None] = lambda: None
        self._look_due = asyncio.Event()
        self._complaint_at = 0.0

    # --- bus.Carrier

    def jobs(
        self, on_message: Callable[[bytes], None], on_subscribed: Callable[[], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """What has to run, until it is cancelled."""
        self._on_message, self._on_subscribed = on_message, on_subscribed
        return [self._run()]

    def use_channel(self, channel: str) -> None:
        """Say to all what is said from here on, and hear of them what is said there too."""
        self._channel = channel.encode()
        for other in self.others.values():
            other.send(_frame(CHANNEL, self._channel))
        if self.others:
            asyncio.get_running_loop().call_soon(self._on_subscribed)  # once the outbox speaks there too

    def cut(self, reason: str) -> None:
        """End every connection, and make socket and connections anew."""
        self._outbox.detach()
        self._close()
        self._look_due.set()

    # --- outbox.Way

    def publish(self, channel: bytes, data: bytes, on_answer: Callable[[str | None], None]) -> None:
        """Write it to everybody, or let it wait for those who do not read; that is all there is to wait for.

        To ourselves only while a heartbeat is to come back: nothing else is learned of that.
        """
        frame, own = _frame(ENVELOPE, data), self._own.name
        for name, other in self.others.items():
            if name != own or self._proof.is_under_way:
                other.send(frame)
        asyncio.get_running_loop().call_soon(on_answer, None)

    def ping(self, on_answer: Callable[[], None]) -> None:
        """It is there as soon as it is attached."""
        asyncio.get_running_loop().call_soon(on_answer)

    def close(self, reason: str) -> None:
        """As `cut`."""
        self.cut(reason)

    # --- the folder

    async def _run(self) -> None:
        try:
            while True:
                self._look_due.clear()
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await self._look()
                except (OSError, TimeoutError) as error:
                    self._complain(os.strerror(error.errno).lower() if error.errno else "nothing answers")
                except Exception as error:
                    log.exception("the bus failed")
                    self._complain(f"a bug of ours: {type(error).__name__}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._look_due.wait()
        finally:
            self._outbox.detach()
            self._close()

    def _complain(self, problem: str) -> None:
        """Once a minute: what is silent is noticed by the proof that does not come."""
        if (now := time.monotonic()) >= self._complaint_at:
            self._complaint_at = now + COMPLAINT_SECONDS
            log.warning("the workers' sockets cannot be used: %s", problem)
        self._proof.lost_connection(problem)

    async def _look(self) -> None:
        """Have a socket, be connected to all there are, and give up what waits for too long."""
        if not self._own.is_there:
            await self._own.open(self._look_due.set, self._hear)
        found = sorted(name for name in os.listdir(self._folder) if name.endswith(SUFFIX))[:MOST_WORKERS]
        has_new = False
        for name in found:
            if name not in self.others and await self._connect(name):
                has_new = True
        for other in self.others.values():
            other.drop_stale()
        if has_new:
            self._outbox.attach(self)
            if self._channel:
                self._on_subscribed()
            else:
                self._proof.proved()

    async def _connect(self, name: str) -> bool:
        """Reach the worker whose socket this is; False if there is none any more, and then its socket goes."""
        there = self._folder / name
        try:
            _, other = await asyncio.get_running_loop().create_unix_connection(
                lambda: _Out(name, self._gone, self._counters, self._limits), os.fspath(there)
            )
        except (FileNotFoundError, ConnectionRefusedError):
            # A socket listens before it has its name: nobody will ever answer at this one.
            with contextlib.suppress(FileNotFoundError):
                there.unlink()
            return False
        except BlockingIOError:
            return False  # too many want to be let in: at the next look
        if not other.is_open:
            return False
        self.others[name] = other
        if self._channel:
            other.send(_frame(CHANNEL, self._channel))
        return True

    def _gone(self, other: _Out) -> None:
        if self.others.get(other.name) is other:
            del self.others[other.name]
            self._counters.connections_lost += 1
            self._look_due.set()

    def _hear(self, channel: bytes, data: bytes) -> None:
        if channel == self._channel:
            self._on_message(data)

    def _close(self) -> None:
        others, self.others = list(self.others.values()), {}
        for other in others:
            other.cut()
        self._own.close()


class _Own:
    """The socket by which the others find this worker, and those who have."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(6) + SUFFIX
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._incoming: set[_In] = set()

    @property
    def is_there(self) -> bool:
        """Whether it can be found; somebody may have tidied the folder up."""
        return self._server is not None and (self._folder / self.name).exists()

    async def open(self, on_come: Callable[[], None], on_envelope: Callable[[bytes, bytes], None]) -> None:
        """Open it, under its name from the moment on that it listens. `on_come()`: somebody has connected, perhaps a
        newcomer who wants to hear us; `on_envelope(channel, data)`: what was said.
        """
        if self._server is not None:
            self._server.close()
        hidden = self._folder / f"{self.name}.new"
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            hidden.unlink(missing_ok=True)
            listening.bind(os.fspath(hidden))
            listening.listen(MOST_WORKERS)
            hidden.rename(self._folder / self.name)
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _In(self._incoming, on_come, on_envelope), sock=listening
            )
        except BaseException:
            listening.close()
            raise

    def close(self) -> None:
        """Take it away, and end those who have connected to it."""
        for incoming in list(self._incoming):
            incoming.cut()
        if self._server is not None:
            self._server.close()
            self._server = None
            with contextlib.suppress(OSError):
                (self._folder / self.name).unlink()


class _Out(asyncio.Protocol):
    """What is written to one worker, and what waits until it reads."""

    def __init__(
        self, name: str, on_lost: Callable[[_Out], None], counters: Counters, limits: tuple[int, int]
    ) -> None:
        self.name = name
        self.bytes = 0
        self._on_lost = on_lost
        self._counters = counters
        self._most_bytes, self._most_frames = limits
        self._transport: asyncio.WriteTransport | None = None
        self._is_full = False
        self._waiting: deque[tuple[float, bytes]] = deque()  # since when, what

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._transport is not None

    def send(self, frame: bytes) -> None:
        """Write it now, or as soon as the worker reads; over the limits the oldest is dropped."""
        if self._transport is None:
            return
        if not self._is_full and not self._waiting:
            self._transport.write(frame)
            return
        self._waiting.append((time.monotonic(), frame))
        self.bytes += len(frame)
        while self._waiting and (self.bytes > self._most_bytes or len(self._waiting) > self._most_frames):
            self._drop()

    def drop_stale(self) -> None:
        """Give up what is too old to be of use; the worker has read it in Postgres, or will."""
        limit = time.monotonic() - STALE_AFTER_SECONDS
        while self._waiting and self._waiting[0][0] < limit:
            self._drop()

    def _drop(self) -> None:
        _, frame = self._waiting.popleft()
        self.bytes -= len(frame)
        if frame[_HEAD.size - 1] == CHANNEL:
            self.cut()  # it would take what follows for another channel's
        else:
            self._counters.dropped += 1

    def cut(self) -> None:
        """End it; what a worker that does not read has not taken is lost."""
        if self._transport is not None:
            end = self._transport.abort if self._is_full else self._transport.close
            end()
        self._waiting.clear()
        self.bytes = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not _is_ours(transport):
            transport.close()
            return
        self._transport = transport  # type: ignore[assignment]  # a Unix socket gives a Transport
        transport.set_write_buffer_limits(high=MOST_UNWRITTEN_BYTES)  # type: ignore[attr-defined]

    @override
    def pause_writing(self) -> None:
        self._is_full = True

    @override
    def resume_writing(self) -> None:
        self._is_full = False
        self.drop_stale()
        while self._waiting and not self._is_full and self._transport is not None:
            _, frame = self._waiting.popleft()
            self.bytes -= len(frame)
            self._transport.write(frame)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        self.bytes = 0
        self._on_lost(self)


class _In(asyncio.Protocol):
    """What one worker, which may be this one, writes to us."""

    def __init__(
        self, all_of_them: set[_In], on_come: Callable[[], None], on_envelope: Callable[[bytes, bytes], None]
    ) -> None:
        self._all = all_of_them
        self._on_come = on_come
        self._on_envelope = on_envelope
        self._channel = b""
        self._unread = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    def cut(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._all) >= MOST_WORKERS or not _is_ours(transport):
            transport.close()
            return
        self._transport = transport
        self._all.add(self)
        self._on_come()

    @override
    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        unread = self._unread
        unread += data
        at = 0
        while len(unread) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(unread, at)
            if length > MAX_ENVELOPE_BYTES:
                self._transport.close()
                return
            end = at + _HEAD.size + length
            if len(unread) < end:
                break
            frame = bytes(unread[at + _HEAD.size : end])
            at = end
            if kind == CHANNEL:
                self._channel = frame
            else:
                self._on_envelope(self._channel, frame)
        del unread[:at]

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)


def _frame(kind: int, data: bytes) -> bytes:
    return _HEAD.pack(len(data), kind) + data


def _is_ours(transport: asyncio.BaseTransport) -> bool:
    """Whether the process at the other end is of this user, where the system tells it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder has to do
    end = transport.get_extra_info("socket")
    try:
        _, user, _ = _CREDENTIALS.unpack(
            end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return bool(user == os.geteuid())
