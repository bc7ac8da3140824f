"""What the workers of a node ask and tell each other, by a socket for each in their folder: `ports.Siblings`.

Each name has a keeper among those that run: of all workers the one whose number, hashed with the name, is the highest.
So no worker needs another's word for who that is, and where one goes only its names move. All workers agree but for
moments; whoever is asked answers, so that two who disagree cost a question twice and nobody a wait.

What it promises
    A worker that is frozen, killed or too busy costs whoever asks it `WORD_SECONDS`, and for `QUIET_SECONDS` nobody
    here asks it again. One that is at it says so every `SIGN_SECONDS`, once for all that a worker has asked it: who
    waits for Library waits as long as it takes.
    What is unread has a limit in bytes, what is asked at a time one in number; what exceeds it is not asked.
What runs concurrently
    `run`, which the composition root owns: it listens. A task for each question that is being answered here. Each
    worker connects to another when it first has something for it.
How it stops
    Cancelling `run` ends all connections; who still waits finds out by itself.

A frame: its length (4 bytes), number of the question (4 bytes; 0: of all of them), kind (1 byte), and what is said.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
from collections.abc import Awaitable, Callable
from hashlib import blake2b

from typing_extensions import override

from collab_server.workers.figures import Number, Row
from collab_server.workers.seat import Seat

__all__ = ["OwnSiblings"]

log = logging.getLogger(__name__)

WORD_SECONDS = 0.25
SIGN_SECONDS = 0.1
QUIET_SECONDS = 1.0
MOST_AT_ONCE = 10_000
"""Questions under way to one worker, and those that one answers at a time for one other."""
MOST_EARLY = 100
"""Words that wait for a connection."""
MOST_UNREAD_BYTES = 4_000_000
MOST_FRAME_BYTES = 4_000_000
_KIND = "asked"
_HEAD = struct.Struct(">IIB")
ASKED, AT_IT, ANSWERED, FAILED, TOLD = range(5)

Answer = Callable[[bytes], Awaitable[bytes]]
Hear = Callable[[bytes], None]


async def _nobody(_question: bytes) -> bytes:
    raise LookupError("nobody answers here")


class OwnSiblings:
    """See the module, and `ports.Siblings`; for the worker that has this seat."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._answer: Answer = _nobody
        self._hear: Hear = lambda word: None
        self._ways: dict[int, _Asking] = {}
        self._answering: set[_Answering] = set()
        self._quiet_until: dict[int, float] = {}

    # --- ports.Siblings

    async def ask(self, name: str, question: bytes, *, is_another: bool = False) -> bytes | None:
        """See `ports.Siblings`."""
        keeper = self.keeper_of(name, is_another=is_another)
        if keeper is None:
            return None
        answer = await self._way_to(keeper).ask(question)
        if not answer:
            self._quiet_until[keeper.number] = asyncio.get_running_loop().time() + QUIET_SECONDS
        return answer

    def tell(self, word: bytes) -> None:
        """See `ports.Siblings`."""
        for row in self._others():
            self._way_to(row).tell(word)

    def listen(self, answer: Answer, hear: Hear) -> None:
        """See `ports.Siblings`."""
        self._answer, self._hear = answer, hear

    # --- who is there

    def keeper_of(self, name: str, *, is_another: bool = False) -> Row | None:
        """The worker that keeps this name, as far as this one knows; None if it is this one. `is_another`: of the
        others, None if there are none."""
        now = asyncio.get_running_loop().time()
        keeper, highest = None, b"" if is_another else _rank(name, self._seat.number)
        for row in self._others():
            if self._quiet_until.get(row.number, 0.0) <= now and (rank := _rank(name, row.number)) > highest:
                keeper, highest = row, rank
        return keeper

    def _others(self) -> list[Row]:
        own = self._seat.number
        return [row for row in self._seat.figures.rows() if row.number != own and row.serves]

    def _way_to(self, row: Row) -> _Asking:
        """What leads to this worker; a connection is begun where there is none."""
        way = self._ways.get(row.number)
        if way is None or not way.is_open:
            path = str(self._seat.folder / f"{row.number}.{row[Number.PID]:x}.{_KIND}")
            way = self._ways[row.number] = _Asking(path)
        return way

    # --- while it runs

    async def run(self) -> None:
        """Listen to the others, until cancelled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: _Answering(self._answering, self._answer, self._hear), self._seat.path_of(_KIND)
        )
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for answering in list(self._answering):
                answering.end()
            for way in self._ways.values():
                way.end()


def _rank(name: str, number: int) -> bytes:
    return blake2b(f"{number} {name}".encode(), digest_size=8).digest()


class _Framed(asyncio.Protocol):
    """Frames, both ways, over one connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._unread = bytearray()

    def say(self, number: int, kind: int, said: bytes) -> bool:
        """Write it; False if it is too much for who reads there."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if len(said) > MOST_FRAME_BYTES or transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            return False
        transport.write(_HEAD.pack(len(said), number, kind) + said)
        return True

    def heard(self, number: int, kind: int, said: bytes) -> None:
        """One frame has come."""
        raise NotImplementedError

    def end(self) -> None:
        """Close it; what was not read is lost."""
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a Unix socket gives a Transport

    @override
    def data_received(self, data: bytes) -> None:
        unread = self._unread
        unread += data
        at = 0
        while len(unread) - at >= _HEAD.size:
            length, number, kind = _HEAD.unpack_from(unread, at)
            if length > MOST_FRAME_BYTES:
                self.end()
                return
            begin, end = at + _HEAD.size, at + _HEAD.size + length
            if len(unread) < end:
                break
            at = end
            self.heard(number, kind, bytes(unread[begin:end]))
        del unread[:at]


class _Asking(_Framed):
    """To one other worker, at `path`: what this one asks and tells it. Begins to connect when it is made."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._heard_at = 0.0  # or it had nothing to say before
        self._timer: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._early: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = asyncio.create_task(self._connect(path))

    @property
    def is_open(self) -> bool:
        """Whether it is connected, or about to be."""
        if self._connecting is not None:
            return True
        return self._transport is not None and not self._transport.is_closing()

    async def _connect(self, path: str) -> None:
        try:
            async with asyncio.timeout(WORD_SECONDS):
                await asyncio.get_running_loop().create_unix_connection(lambda: self, path)
        except (OSError, TimeoutError):
            # It has just gone, or has not begun yet. Time may be up when the connection was made a moment ago: uvloop
            # closes it then, and neither says so nor calls it closing.
            self._transport = None
        finally:
            self._connecting = None

    def tell(self, word: bytes) -> None:
        """Tell it, or as soon as it is connected."""
        if self._transport is not None:
            self.say(0, TOLD, word)
        elif len(self._early) < MOST_EARLY:
            self._early.append(word)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        early, self._early = self._early, []
        for word in early:
            self.say(0, TOLD, word)

    async def ask(self, question: bytes) -> bytes | None:
        """Its answer; nothing if it gives none, or no sign for `WORD_SECONDS`; None if it was not asked."""
        if self._connecting is not None:
            await asyncio.wait({self._connecting})
        number = next(self._numbers) & 0xFFFFFFFF
        if len(self._asked) >= MOST_AT_ONCE or not self.say(number, ASKED, question):
            return None
        loop = asyncio.get_running_loop()
        if not self._asked:
            self._heard_at = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(WORD_SECONDS, self._look)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._asked[number] = answer
        try:
            return await answer
        finally:
            self._asked.pop(number, None)

    def _look(self) -> None:
        """Whether it is still at it; else nobody waits any more."""
        self._timer = None
        if self._asked:
            loop = asyncio.get_running_loop()
            due = self._heard_at + WORD_SECONDS
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
            else:
                self._settle_all()

    def _settle(self, number: int, said: bytes) -> None:
        answer = self._asked.pop(number, None)
        if answer is not None and not answer.done():
            answer.set_result(said)

    def _settle_all(self) -> None:
        for number in list(self._asked):
            self._settle(number, b"")

    @override
    def heard(self, number: int, kind: int, said: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if kind != AT_IT:
            self._settle(number, said if kind == ANSWERED else b"")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._settle_all()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @override
    def end(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        super().end()


class _Answering(_Framed):
    """From one other worker: what it asks and tells this one."""

    def __init__(self, all_of_them: set[_Answering], answer: Answer, hear: Hear) -> None:
        super().__init__()
        self._all = all_of_them
        self._answer = answer
        self._hear = hear
        self._tasks: set[asyncio.Task[None]] = set()
        self._sign: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all.add(self)

    @override
    def heard(self, number: int, kind: int, said: bytes) -> None:
        if kind == TOLD:
            try:
                self._hear(said)
            except Exception:
                log.exception("what another worker told was not understood")
        elif kind == ASKED and len(self._tasks) < MOST_AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._reply(number, said))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            if self._sign is None:
                self._sign_soon()
        else:
            self.say(number, FAILED, b"")

    def _sign_soon(self) -> None:
        self._sign = asyncio.get_running_loop().call_later(SIGN_SECONDS, self._show)

    def _show(self) -> None:
        """That this worker is at what it was asked."""
        self._sign = None
        if self._tasks:
            self.say(0, AT_IT, b"")
            self._sign_soon()

    async def _reply(self, number: int, question: bytes) -> None:
        try:
            kind, said = ANSWERED, await self._answer(question)
        except asyncio.CancelledError:
            self.say(number, FAILED, b"")  # for signs of others are taken for one of this
            raise
        except Exception:
            log.exception("a question of another worker was not answered")
            kind, said = FAILED, b""
        if not self.say(number, kind, said):
            self.end()  # it reads nothing, or too much was said: it finds out by itself

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._all.discard(self)
        if self._sign is not None:
            self._sign.cancel()
        for task in self._tasks:
            task.cancel()
