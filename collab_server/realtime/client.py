"""One client: a Socket.IO connection of somebody signed in, and its commands in the order they came.

Writing commands take effect one by one, in the order sent. A read starts when the writes sent before it are done
and then runs beside whatever follows, delaying nothing. Subscribing and unsubscribing run like reads, but those of
one topic keep their order. At most `commandsWaiting` commands wait, and `WAITING_PACKETS` packets' worth of bytes; one
more is refused at once.

There is no task while nothing is to be done. `close` ends the subscriptions; a write under way is carried through.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Any

from collab_server.domain.jsontext import FALSE, TRUE, JsonText, dumps, json_shape
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Internal, Invalid, RateLimited
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import OfConnection, Read, entry_named
from collab_server.services.commands.weights import weight_of, weight_of_answer, weight_of_request
from collab_server.services.sign_in import SessionUse

if TYPE_CHECKING:
    from collab_server.realtime.server import Door

log = logging.getLogger(__name__)

_done = json_shape("ok", "data")
_refused = json_shape("ok", "error")

READS_AT_ONCE = 8
WAITING_PACKETS = 2
"""Commands that wait may be so many packets of the largest size together."""


class Client:
    """A signed-in connection. `eio_sid` names it towards the transport and the feed.

    `cookie_header` is what its handshake brought, for an auth token that it may bring later.
    """

    __slots__ = (
        "_chains",
        "_door",
        "_reads",
        "_waiting",
        "_waiting_bytes",
        "_worker",
        "attachment",
        "cookie_header",
        "eio_sid",
        "ends_at",
        "is_closed",
        "is_signed_out",
        "renew_at",
        "sid",
        "topics",
        "who",
    )

    def __init__(self, door: Door, eio_sid: str, sid: str, who: Identity, cookie_header: str = "") -> None:
        self._door = door
        self.eio_sid = eio_sid
        self.sid = sid
        self.who = who
        self.cookie_header = cookie_header
        self.attachment: SessionUse | None = None
        self.topics: set[str] = set()
        self.is_closed = False
        self.is_signed_out = False
        self.ends_at = math.inf  # of the loop's clock: when its sign-in has lasted as long as it may
        self.renew_at = who.expires_at  # when its resume token should be replaced by a younger one
        self._waiting: deque[tuple[int | None, list[Any], int]] = deque()
        self._waiting_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._chains: dict[str, asyncio.Task[None]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a command is under way or waits."""
        return self._worker is not None or bool(self._reads)

    # -- commands in -----------------------------------------------------------------------------------------

    def sign_out(self) -> None:
        """Take nothing more, and leave what waits: only the command under way is carried through."""
        self.is_signed_out = True
        self._waiting.clear()
        self._waiting_bytes = 0

    def admit(self, size: int) -> None:
        """Let a command of so many bytes in, before it is decoded.

        Raises `RateLimited`.
        """
        self._door.limiter.spend(self.who.user.id, 1 + weight_of_request(size))

    def receive(self, ack_id: int | None, data: list[Any], size: int) -> bool:
        """Take a command that was let in: its name and its arguments, and how many bytes it came in.

        Never waits; the answer is an acknowledgement. False if it was refused, for too many wait.
        """
        limits = self._door.limits
        is_full = self._waiting_bytes + size > WAITING_PACKETS * limits.packetBytes
        if is_full or len(self._waiting) >= limits.commandsWaiting:
            self.refuse(ack_id, RateLimited("too many commands of this connection wait", retry_after=1))
            return False
        self._waiting.append((ack_id, data, size))
        self._waiting_bytes += size
        if self._worker is None:
            self._worker = self._door.spawn(self._work())
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
        turns, user_id = self._door.turns, self.who.user.id
        if turns.is_quiet(user_id):
            await self._begin_now(ack_id, data, size)
            return
        try:
            await turns.wait(user_id)
        except RateLimited as error:
            self.refuse(ack_id, error)
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
            command = self._door.commands.read(entry, data[1] if len(data) == 2 else {})
            spent = 1 + weight_of_request(size)
            self._door.limiter.spend_more(self.who.user.id, weight_of(command), spent=spent)
        except Exception as error:
            self._fail(ack_id, name, error)
            return None
        if isinstance(entry, Write):
            await self._answer(ack_id, entry, command)
            return None
        if self.is_closed:
            return None  # nobody is there to read the answer
        while len(self._reads) >= READS_AT_ONCE:
            await asyncio.wait(self._reads, return_when=asyncio.FIRST_COMPLETED)
        if isinstance(entry, OfConnection):
            topic = getattr(command, "topic", "").lower()  # its ids may be in either case
            task = self._door.spawn(self._answer_in_turn(ack_id, entry, command, self._chains.get(topic)))
            self._chains[topic] = task
            task.add_done_callback(lambda done: self._unchain(topic, done))
        else:
            task = self._door.spawn(self._answer(ack_id, entry, command))
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)
        return task

    def _unchain(self, topic: str, done: asyncio.Task[None]) -> None:
        if self._chains.get(topic) is done:
            del self._chains[topic]

    async def _answer(self, ack_id: int | None, entry: Write[Any, Any] | Read[Any], command: Any) -> None:
        try:
            answer = await self._door.commands.answer(self.who, entry, command)
        except Exception as error:
            self._fail(ack_id, entry.name, error)
        else:
            self._door.limiter.charge(self.who.user.id, weight_of_answer(len(answer)))
            self.acknowledge(ack_id, answer)

    async def _answer_in_turn(
        self, ack_id: int | None, entry: OfConnection, command: Any, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait((before,))
        if self.is_closed:
            return  # there is nothing to end, and the transport may be another's already
        try:
            await self._door.of_connection[entry.name](self, ack_id, command)
        except Exception as error:
            self._fail(ack_id, entry.name, error)

    # -- answers out -----------------------------------------------------------------------------------------

    def acknowledge(self, ack_id: int | None, answer: JsonText) -> None:
        """Acknowledge a command with its data."""
        if ack_id is not None and not self.is_closed:
            self._door.send_text(self.eio_sid, f"3{ack_id}[{_done(ok=TRUE, data=answer)}]")

    def _fail(self, ack_id: int | None, name: Any, error: Exception) -> None:
        if isinstance(error, ClientError):
            self.refuse(ack_id, error)
            return
        internal = Internal()
        log.error(
            "a command failed",
            exc_info=error,
            extra={"ticket": internal.ticket_id, "command": name if isinstance(name, str) else None},
        )
        self.refuse(ack_id, internal)

    def refuse(self, ack_id: int | None, error: ClientError) -> None:
        """Acknowledge a command with an error."""
        if ack_id is not None and not self.is_closed:
            self._door.send_text(
                self.eio_sid, f"3{ack_id}[{_refused(ok=FALSE, error=dumps(error.as_wire()))}]"
            )

    def signal(self, name: str, data: Any) -> None:
        """Send a signal to this client alone."""
        if not self.is_closed:
            self._door.send_text(self.eio_sid, f'2["{name}",{dumps(data)}]')
