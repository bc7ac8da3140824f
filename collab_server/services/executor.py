"""Runs one command in one transaction, then tells every node what changed.

It promises that an acknowledged command is committed, that what was not committed reaches nobody, and that a
command repeated under its `requestId` takes effect once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from collab_server.domain.events import Event
from collab_server.domain.inbox import Notified
from collab_server.domain.jsontext import dumps
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Conflict, Invalid
from collab_server.services.backends import Backends
from collab_server.storage import requests
from collab_server.storage.database import Transaction

C = TypeVar("C")
F = TypeVar("F")

REQUEST_ID_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class Write(Generic[C, F]):
    """A command that changes something.

    `ask` settles, before the transaction, what only Library knows; `carry_out` then does the work and returns the
    answer's JSON text.
    """

    name: str
    command: type[C]
    ask: Callable[[Backends, Identity, C], Awaitable[F]]
    carry_out: Callable[[Transaction, Identity, C, F], Awaitable[str]]


class Executor:
    """Carries out the writing commands of a node.

    `publish` gets a command's events after their COMMIT, `notified` whom it has stored notifications for.
    """

    def __init__(
        self,
        backends: Backends,
        publish: Callable[[Sequence[Event]], None],
        notified: Callable[[Notified], None],
    ) -> None:
        self._backends = backends
        self._publish = publish
        self._notified = notified

    async def run(self, write: Write[Any, Any], who: Identity, command: Any) -> str:
        """Carry out the command and return its answer as JSON text.

        Raises the `ClientError`s of the service, and `Paused` with the outcome when the database is away.
        """
        request_id: str | None = command.request_id
        if request_id is None:
            answer, recorded = await self._carry_out(write, who, command)
        else:
            answer, recorded = await self._carry_out_once(write, who, command, request_id)
        # Reached only after COMMIT; both queue, never wait, never raise.
        self._publish([fact for fact in recorded if isinstance(fact, Event)])
        for fact in recorded:
            if isinstance(fact, Notified):
                self._notified(fact)
        return answer

    async def _carry_out(
        self, write: Write[Any, Any], who: Identity, command: Any
    ) -> tuple[str, Sequence[Event | Notified]]:
        facts = await write.ask(self._backends, who, command)  # never inside the transaction

        async def work(tx: Transaction) -> tuple[str, Sequence[Event | Notified]]:
            return await write.carry_out(tx, who, command, facts), tx.recorded

        return await self._backends.database.run(work)

    async def _carry_out_once(
        self, write: Write[Any, Any], who: Identity, command: Any, request_id: str
    ) -> tuple[str, Sequence[Event | Notified]]:
        if not 0 < len(request_id) <= REQUEST_ID_CHARACTERS:
            raise Invalid(f"expected 1 to {REQUEST_ID_CHARACTERS} characters", field="requestId")
        fingerprint = _fingerprint(write.name, command)
        user_id = who.user.id
        try:
            facts = await write.ask(self._backends, who, command)
        except ClientError:
            # A repeated command is answered as it was, also to somebody who has lost the rights since.
            earlier = await requests.find(self._backends.database, user_id, request_id)
            if earlier is None:
                raise
            return _same_answer(earlier, fingerprint), ()

        async def work(tx: Transaction) -> tuple[str, Sequence[Event | Notified]]:
            if not await requests.claim(tx, user_id, request_id, fingerprint):
                earlier = await requests.find(tx, user_id, request_id)
                assert earlier is not None  # the claim waited for the one that holds it
                return _same_answer(earlier, fingerprint), ()
            answer = await write.carry_out(tx, who, command, facts)
            await requests.finish(tx, user_id, request_id, answer)
            return answer, tx.recorded

        return await self._backends.database.run(work)


def _same_answer(earlier: requests.Answered, fingerprint: bytes) -> str:
    if earlier.fingerprint != fingerprint:
        raise Conflict("this requestId was used for another command", field="requestId")
    return earlier.answer


def _fingerprint(name: str, command: Any) -> bytes:
    """Tells commands apart: the same name and values, through whichever door, give the same bytes."""
    try:
        values = asdict(command)
        del values["request_id"]
        text = dumps([name, values])
        return hashlib.sha256(text.encode()).digest()
    except (ValueError, TypeError, RecursionError):
        raise Invalid("expected JSON values", field=None) from None
