"""One client's commands, in the order they came.

Writing commands take effect one by one, in the order sent. A read starts when the writes sent before it are done
and then runs beside whatever follows, delaying nothing. Subscribing and unsubscribing run like reads, but those of
one topic keep their order. At most `commandsWaiting` commands wait, and `WAITING_PACKETS` packets' worth of bytes; one
more is refused at once.

There is no task while nothing is to be done. Its client may be gone meanwhile; a write under way is carried through.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

from collab_server.config.limits import Limits
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, RateLimited
from collab_server.services.commands.executor import Write
from collab_server.services.commands.gate import CommandGate, Passage
from collab_server.services.commands.table import OfConnection
from collab_server.telemetry import traces

READS_AT_ONCE = 8
WAITING_PACKETS = 2
"""Commands that wait may be so many packets of the largest size together."""


class Asker(Protocol):
    """Whose commands they are."""

    who: Identity
    is_closed: bool

    def acknowledge(self, ack_id: int | None, answer: JsonText) -> None:
        """Answer a command with its data."""

    def refuse(self, ack_id: int | None, error: ClientError) -> None:
        """Answer a command with an error."""


OfConnectionHandler = Callable[[Any, Any, Callable[[JsonText], None]], Awaitable[None]]
"""`handler(client, command, acknowledge)` carries out a command of a connection."""


class Host(Protocol):
    """What carries commands out: the door."""

    limits: Limits
    gate: CommandGate
    of_connection: Mapping[str, OfConnectionHandler]

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of the host's."""
        ...


class ClientCommands:
    """The commands of one client that wait or are under way. `trace` names its connection; `count` have begun."""

    __slots__ = (
        "_asker",
        "_chains",
        "_host",
        "_reads",
        "_waiting",
        "_waiting_bytes",
        "_worker",
        "count",
        "trace",
    )

    def __init__(self, host: Host, asker: Asker, trace: str) -> None:
        self._host = host
        self._asker = asker
        self.trace = trace
        self.count = 0
        # Only while some wait: most connections listen, and an empty one takes more than all else here.
        self._waiting: deque[tuple[int | None, list[Any], int]] | None = None
        self._waiting_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._reads: list[asyncio.Task[None]] = []  # a few
        self._chains: dict[str, asyncio.Task[None]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way or waits."""
        return self._worker is not None or bool(self._reads)

    def forget(self) -> None:
        """Leave what waits: only the command under way is carried through."""
        if self._waiting is not None:
            self._waiting.clear()
        self._waiting_bytes = 0

    def refused(self, name: Any, error: ClientError) -> ClientError:
        """A command was refused before its turn; what its asker may hear of it."""
        return self._host.gate.refused(self._asker.who.user.id, name, error, trace=self.trace)

    def admit(self, size: int) -> None:
        """Let a command of so many bytes in, before it is decoded.

        Raises `RateLimited`.
        """
        self._host.gate.admit(self._asker.who.user.id, size)

    def take(self, ack_id: int | None, data: list[Any], size: int) -> bool:
        """Take a command that was let in: its name and its arguments, and how many bytes it came in.

        Never waits; the answer is an acknowledgement. False if it was refused, for too many wait.
        """
        limits = self._host.limits
        is_full = self._waiting_bytes + size > WAITING_PACKETS * limits.packetBytes
        waiting = self._waiting
        if is_full or (waiting is not None and len(waiting) >= limits.commandsWaiting):
            error = RateLimited("too many commands of this connection wait", retry_after=1)
            self._asker.refuse(ack_id, self.refused(name_in(data), error))
            return False
        if waiting is None:
            waiting = self._waiting = deque()
        waiting.append((ack_id, data, size))
        self._waiting_bytes += size
        if self._worker is None:
            self._worker = self._host.spawn(self._work())
        return True

    async def _work(self) -> None:
        try:
            while self._waiting:
                ack_id, data, size = self._waiting.popleft()
                self._waiting_bytes -= size
                self.count += 1
                traces.CURRENT.set(f"{self.trace}.{self.count}")
                if self._host.gate.is_quiet(self._asker.who.user.id):
                    await self._begin(ack_id, data, size)
                else:
                    await self._begin_in_turn(ack_id, data, size)
        finally:
            self._worker = None
            if not self._waiting:
                self._waiting = None

    async def _begin_in_turn(self, ack_id: int | None, data: list[Any], size: int) -> None:
        try:
            async with self._host.gate.in_turn(self._asker.who.user.id, name_in(data)) as turn:
                if (task := await self._begin(ack_id, data, size)) is not None:
                    turn.keep_until(task)
        except ClientError as error:
            self._asker.refuse(ack_id, error)

    async def _begin(self, ack_id: int | None, data: list[Any], size: int) -> asyncio.Task[None] | None:
        """Carry out a command; of one that runs beside what follows, the task."""
        gate = self._host.gate
        payload: Any = {} if len(data) < 2 else data[1] if len(data) == 2 else None
        try:
            passage = gate.read(self._asker.who.user.id, name_in(data), payload, size=size)
        except ClientError as error:
            self._asker.refuse(ack_id, error)
            return None
        if isinstance(passage.entry, Write):
            await self._answer(ack_id, passage)
            return None
        if self._asker.is_closed:
            gate.gave_up(passage)  # nobody is there to read the answer
            return None
        while len(self._reads) >= READS_AT_ONCE:
            await asyncio.wait(self._reads, return_when=asyncio.FIRST_COMPLETED)
        if isinstance(passage.entry, OfConnection):
            topic = getattr(passage.command, "topic", "").lower()  # its ids may be in either case
            task = self._host.spawn(self.answer_in_turn(ack_id, passage, self._chains.get(topic)))
            self._chains[topic] = task
            task.add_done_callback(lambda done: self._unchain(topic, done))
        else:
            task = self._host.spawn(self._answer(ack_id, passage))
        self._reads.append(task)
        task.add_done_callback(self._reads.remove)
        return task

    def _unchain(self, topic: str, done: asyncio.Task[None]) -> None:
        if self._chains.get(topic) is done:
            del self._chains[topic]

    async def _answer(self, ack_id: int | None, passage: Passage) -> None:
        try:
            answer = await self._host.gate.answer(self._asker.who, passage)
        except ClientError as error:
            self._asker.refuse(ack_id, error)
        else:
            self._asker.acknowledge(ack_id, answer)

    async def answer_in_turn(
        self, ack_id: int | None, passage: Passage, before: asyncio.Task[None] | None
    ) -> None:
        """Carry out a command about the connection itself, behind the one `before` it."""
        if before is not None:
            await asyncio.wait((before,))
        if self._asker.is_closed:
            self._host.gate.gave_up(passage)
            return  # there is nothing to end, and the transport may be another's already
        handler = self._host.of_connection[passage.entry.name]
        work = handler(self._asker, passage.command, partial(self._asker.acknowledge, ack_id))
        try:
            await self._host.gate.see_through(passage, work)
        except ClientError as error:
            self._asker.refuse(ack_id, error)


def name_in(data: list[Any]) -> Any:
    """The name of the command that somebody has sent, whatever it is."""
    return data[0] if data else None
