"""One client's commands, in the order they came.

Writing commands take effect one by one, in the order sent. A read starts when the writes sent before it are done
and then runs beside whatever follows, delaying nothing. Subscribing and unsubscribing run like reads, but those of
one topic keep their order. At most `commandsWaiting` commands wait, and `WAITING_PACKETS` packets' worth of bytes; one
more is refused at once.

There is no task while nothing is to be done. Its client may be gone meanwhile; a write under way is carried through.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

from collab_server.config import Limits
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Internal, Invalid, RateLimited
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import Commands, OfConnection, Read, entry_named
from collab_server.services.commands.turns import Turns
from collab_server.services.commands.weights import weight_of, weight_of_answer, weight_of_request

log = logging.getLogger(__name__)

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
    commands: Commands
    turns: Turns
    of_connection: Mapping[str, OfConnectionHandler]

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task of the host's."""
        ...


class ClientCommands:
    """The commands of one client that wait or are under way."""

    __slots__ = ("_asker", "_chains", "_host", "_reads", "_waiting", "_waiting_bytes", "_worker")

    def __init__(self, host: Host, asker: Asker) -> None:
        self._host = host
        self._asker = asker
        self._waiting: deque[tuple[int | None, list[Any], int]] = deque()
        self._waiting_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._chains: dict[str, asyncio.Task[None]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way or waits."""
        return self._worker is not None or bool(self._reads)

    def forget(self) -> None:
        """Leave what waits: only the command under way is carried through."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def admit(self, size: int) -> None:
        """Let a command of so many bytes in, before it is decoded.

        Raises `RateLimited`.
        """
        self._host.turns.limiter.spend(self._asker.who.user.id, 1 + weight_of_request(size))

    def take(self, ack_id: int | None, data: list[Any], size: int) -> bool:
        """Take a command that was let in: its name and its arguments, and how many bytes it came in.

        Never waits; the answer is an acknowledgement. False if it was refused, for too many wait.
        """
        limits = self._host.limits
        is_full = self._waiting_bytes + size > WAITING_PACKETS * limits.packetBytes
        if is_full or len(self._waiting) >= limits.commandsWaiting:
            self._asker.refuse(
                ack_id, RateLimited("too many commands of this connection wait", retry_after=1)
            )
            return False
        self._waiting.append((ack_id, data, size))
        self._waiting_bytes += size
        if self._worker is None:
            self._worker = self._host.spawn(self._work())
        return True

    async def _work(self) -> None:
        try:
            while self._waiting:
                ack_id, data, size = self._waiting.popleft()
                self._waiting_bytes -= size
                await self._begin(ack_id, data, size)
        finally:
            self._worker = None

    async def _begin(self, ack_id: int | None, data: list[Any], size: int) -> None:
        turns, user_id = self._host.turns, self._asker.who.user.id
        if turns.is_quiet(user_id):
            await self._begin_now(ack_id, data, size)
            return
        try:
            await turns.wait(user_id)
        except RateLimited as error:
            self._asker.refuse(ack_id, error)
            return
        try:
            task = await self._begin_now(ack_id, data, size)
        except BaseException:
            turns.done(user_id)
            raise
        if task is None:
            turns.done(user_id)
        else:
            task.add_done_callback(lambda _: turns.done(user_id))

    async def _begin_now(self, ack_id: int | None, data: list[Any], size: int) -> asyncio.Task[None] | None:
        """Carry out a command; of one that runs beside what follows, the task."""
        name = data[0] if data else None
        try:
            entry = entry_named(name)
            if len(data) > 2:
                raise Invalid("expected one object as payload")
            command = self._host.commands.read(entry, data[1] if len(data) == 2 else {})
            spent = 1 + weight_of_request(size)
            self._host.turns.limiter.spend_more(self._asker.who.user.id, weight_of(command), spent=spent)
        except Exception as error:
            self._fail(ack_id, name, error)
            return None
        if isinstance(entry, Write):
            await self._answer(ack_id, entry, command)
            return None
        if self._asker.is_closed:
            return None  # nobody is there to read the answer
        while len(self._reads) >= READS_AT_ONCE:
            await asyncio.wait(self._reads, return_when=asyncio.FIRST_COMPLETED)
        if isinstance(entry, OfConnection):
            topic = getattr(command, "topic", "").lower()  # its ids may be in either case
            task = self._host.spawn(self.answer_in_turn(ack_id, entry, command, self._chains.get(topic)))
            self._chains[topic] = task
            task.add_done_callback(lambda done: self._unchain(topic, done))
        else:
            task = self._host.spawn(self._answer(ack_id, entry, command))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)
        return task

    def _unchain(self, topic: str, done: asyncio.Task[None]) -> None:
        if self._chains.get(topic) is done:
            del self._chains[topic]

    async def _answer(self, ack_id: int | None, entry: Write[Any, Any] | Read[Any], command: Any) -> None:
        try:
            answer = await self._host.commands.answer(self._asker.who, entry, command)
        except Exception as error:
            self._fail(ack_id, entry.name, error)
        else:
            self._host.turns.limiter.charge(self._asker.who.user.id, weight_of_answer(len(answer)))
            self._asker.acknowledge(ack_id, answer)

    async def answer_in_turn(
        self, ack_id: int | None, entry: OfConnection, command: Any, before: asyncio.Task[None] | None
    ) -> None:
        """Carry out a command about the connection itself, behind the one `before` it."""
        if before is not None:
            await asyncio.wait((before,))
        if self._asker.is_closed:
            return  # there is nothing to end, and the transport may be another's already
        try:
            handler = self._host.of_connection[entry.name]
            await handler(self._asker, command, partial(self._asker.acknowledge, ack_id))
        except Exception as error:
            self._fail(ack_id, entry.name, error)

    def _fail(self, ack_id: int | None, name: Any, error: Exception) -> None:
        if isinstance(error, ClientError):
            self._asker.refuse(ack_id, error)
            return
        internal = Internal()
        log.error(
            "a command failed",
            exc_info=error,
            extra={"ticket": internal.ticket_id, "command": name if isinstance(name, str) else None},
        )
        self._asker.refuse(ack_id, internal)
