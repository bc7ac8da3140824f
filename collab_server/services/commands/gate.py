"""The gate: what every command passes, through whichever door.

`admit` lets it in while its asker has units left; in its turn (`in_turn`) it is read: it has to be one there is, with a
payload that spells it, and is charged for what it is worth; it is answered, and the answer is charged for too. Whatever
it is refused for, a `ClientError` comes out, whose ticket is in the log, and of a bug an `internal` one. Every command
is counted once, under what became of it; with a detailed log it is a line, one that took long always is.

Somebody who is quiet (`is_quiet`) need not wait for their turn, which is the way of almost every command: for it there
is nothing to enter and to leave.

Runs nothing of its own. A door keeps what is a door's: in which order a client's commands begin, and how an answer or
an error is spelled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.people import Identity
from collab_server.errors import ClientError
from collab_server.services.commands.figures import DONE, GIVEN_UP, UNKNOWN, Figures, Tally
from collab_server.services.commands.table import TABLE, Commands, Entry, OfConnection, entry_named
from collab_server.services.commands.turns import Turns
from collab_server.services.commands.weights import weight_of, weight_of_answer, weight_of_request
from collab_server.telemetry.journal import Journal, person

log = logging.getLogger(__name__)

T = TypeVar("T")

LONG_SECONDS = 2.0


class Passage(NamedTuple):
    """A command that was read, by whom it is, and when it began, by the gate's clock."""

    user_id: str
    entry: Entry
    command: Any
    began: float


class CommandGate:
    """The gate of one door, `socketio` or `rest`. What it raises, a client may hear."""

    def __init__(
        self,
        door: str,
        commands: Commands,
        turns: Turns,
        figures: Figures,
        journal: Journal,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.door = door
        self.is_quiet = turns.is_quiet  # as it is: it is on the way of every command
        self.refusal_seconds = turns.limiter.refusal_seconds
        self.limits = commands.limits
        self.check_text = commands.check_text
        self._commands = commands
        self._turns = turns
        self._limiter = turns.limiter
        self._tallies = figures.of(door)
        self._journal = journal
        self._clock = clock

    def admit(self, user_id: str, size: int = 0) -> None:
        """Let a command in that came in so many bytes, before it is decoded.

        Raises `RateLimited`; whoever answers that counts it, by `refused`.
        """
        self._limiter.spend(user_id, 1 + weight_of_request(size))

    def charge_for(self, user_id: str, size: int) -> None:
        """Take what a command costs that was let in before it was known how many bytes it has.

        Raises `RateLimited`.
        """
        self._limiter.spend_more(user_id, weight_of_request(size), spent=1)

    def charge_sign_in(self, user_id: str) -> float:
        """Take what a sign-in costs, which is never refused; returns for how many seconds the user owes for it."""
        self._limiter.charge(user_id, 1)
        return self._limiter.wait_seconds(user_id)

    def charge_quiet_sign_in(self, user_id: str) -> bool:
        """The same of a user who owes nothing then; False, and nothing is taken, of others."""
        return self._limiter.take_if_there(user_id, 1)

    def in_turn(self, user_id: str, name: Any) -> Turn:
        """The turn of a command that was let in and whose asker is not quiet: `async with` waits for it.

        Raises `RateLimited`, which is counted then, when too many of theirs wait, or for too long.
        """
        return Turn(self, self._turns, user_id, name)

    def read(self, user_id: str, name: Any, payload: Any, *, size: int = 0) -> Passage:
        """Read a command, which was let in with so many bytes; charge for what it is worth.

        Raises `ClientError`.
        """
        began = self._clock()
        try:
            entry = entry_named(name)
            command = self._commands.read(entry, payload)
            self._limiter.spend_more(user_id, weight_of(command), spent=1 + weight_of_request(size))
        except Exception as error:
            self.refuse(user_id, name, error, began)
        return Passage(user_id, entry, command, began)

    async def answer(self, who: Identity, passage: Passage) -> JsonText:
        """Carry a command out; returns its answer.

        Raises `ClientError`.
        """
        entry = passage.entry
        assert not isinstance(entry, OfConnection)
        try:
            answer = await self.see_through(passage, self._commands.answer(who, entry, passage.command))
        except ClientError as error:
            if error.now is not None:
                self._limiter.charge(passage.user_id, weight_of_answer(len(dumps(error.now))))
            raise
        self._limiter.charge(passage.user_id, weight_of_answer(len(answer)))
        return answer

    async def see_through(self, passage: Passage, work: Awaitable[T]) -> T:
        """Wait for what carries a command out, and count it.

        Raises `ClientError`.
        """
        user_id, name, began = passage.user_id, passage.entry.name, passage.began
        try:
            result = await work
        except asyncio.CancelledError:
            self._note(user_id, name, GIVEN_UP, began)
            raise
        except Exception as error:
            self.refuse(user_id, name, error, began)
        self._note(user_id, name, DONE, began)
        return result

    def refused(
        self, user_id: str, name: Any, error: Exception, began: float | None = None, **facts: Any
    ) -> ClientError:
        """A command, whether or not it has been read, is over by an error: what its asker may hear of it.

        `facts` stand in the log besides.
        """
        known = name if isinstance(name, str) and name in TABLE else UNKNOWN
        heard = self._journal.error(error, person(user_id), command=known, door=self.door, **facts)
        self._note(user_id, known, heard.code, began)
        return heard

    def refuse(self, user_id: str, name: Any, error: Exception, began: float | None = None) -> NoReturn:
        """Raise what the asker may hear of an error; see `refused`."""
        heard = self.refused(user_id, name, error, began)
        if heard is error:
            raise error
        raise heard from error

    def gave_up(self, passage: Passage) -> None:
        """A command that was read is not carried out: nobody is there any more to read its answer."""
        self._note(passage.user_id, passage.entry.name, GIVEN_UP, passage.began)

    def _note(self, user_id: str, name: str, outcome: str, began: float | None = None) -> None:
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = Tally()
        seconds = 0.0 if began is None else self._clock() - began
        tally.end(outcome, seconds)
        # One that was not even read is told by its error, of which there are only so many lines.
        if seconds >= LONG_SECONDS or (began is not None and log.isEnabledFor(logging.DEBUG)):
            is_long = seconds >= LONG_SECONDS
            facts = {"command": name, "door": self.door, "outcome": outcome, "user": user_id}
            log.log(
                logging.WARNING if is_long else logging.DEBUG,
                "a command took long" if is_long else "a command is over",
                extra={**facts, "ms": round(seconds * 1000, 1)},
            )


class Turn:
    """The turn of one command: entered when it has come, left when the command is over. See `CommandGate.in_turn`."""

    __slots__ = ("_gate", "_is_kept", "_name", "_turns", "_user_id")

    def __init__(self, gate: CommandGate, turns: Turns, user_id: str, name: Any) -> None:
        self._gate = gate
        self._turns = turns
        self._user_id = user_id
        self._name = name
        self._is_kept = False

    async def __aenter__(self) -> Self:
        try:
            await self._turns.wait(self._user_id)
        except ClientError as error:
            self._gate.refuse(self._user_id, self._name, error)
        return self

    def keep_until(self, task: asyncio.Task[None]) -> None:
        """The command is over only when this task is."""
        self._is_kept = True
        task.add_done_callback(self._end)

    async def __aexit__(self, *_raised: object) -> None:
        if not self._is_kept:
            self._end()

    def _end(self, *_task: object) -> None:
        self._turns.done(self._user_id)
