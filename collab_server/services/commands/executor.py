"""Runs one command in one transaction, then tells every node what changed.

It promises that an acknowledged command is committed, that what was not committed reaches nobody, and that a
command repeated under its `requestId` takes effect once. Commands that can be joined share a transaction with those
that wait at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from collab_server.domain.ends import Ended
from collab_server.domain.events import Event
from collab_server.domain.inbox import Notified
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Paused
from collab_server.services.backends import Backends, in_time
from collab_server.services.commands.joining import Asked, Commit, Joiner
from collab_server.services.commands.once import Answer, Request, commit_once, earlier_answer, request_of
from collab_server.services.ends import Ends
from collab_server.services.live.deliveries import Deliveries
from collab_server.services.live.publisher import Publisher
from collab_server.storage.database import Database, Patience, Transaction
from collab_server.telemetry import traces
from collab_server.telemetry.metrics import Labels, Metrics

C = TypeVar("C")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Write(Generic[C, F]):
    """A command that changes something.

    `ask` settles, before the transaction, what only Library knows; `carry_out` then does the work and returns the
    answer's JSON text. Where to repeat it changes nothing by itself, it is not remembered by its `requestId`.

    Those with `together` share a transaction with what waits at the same time; `together` carries out all of them, and
    their facts say on which `topic` each is and of what `size` in bytes, more or less.
    """

    name: str
    ask: Callable[[Backends, Identity, C], Coroutine[Any, Any, F]]
    carry_out: Callable[[Transaction, Identity, C, F], Awaitable[JsonText]]
    is_remembered: bool = True
    together: Commit[Asked[C, F]] | None = None


class Executor:
    """Carries out the writing commands of a node.

    After their COMMIT `publisher` gets a command's events, `deliveries` whom it has stored notifications for, `ends`
    what it has ended of somebody's.
    """

    def __init__(
        self,
        database: Database,
        backends: Backends,
        publisher: Publisher,
        deliveries: Deliveries,
        ends: Ends,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._backends = backends
        self._publisher = publisher
        self._deliveries = deliveries
        self._ends = ends
        self._joiners: dict[str, Joiner[Asked[Any, Any]]] = {}
        metrics.gauges("queue_length", self._waiting)

    def _waiting(self) -> Mapping[Labels, float]:
        return {("joining",): sum(joiner.waiting for joiner in self._joiners.values())}

    def start(self) -> None:
        """Nothing runs before a command comes."""

    async def stop(self) -> None:
        """End what still runs, after the doors have."""
        for joiner in self._joiners.values():
            await joiner.stop()

    async def run(self, write: Write[Any, Any], who: Identity, command: Any) -> JsonText:
        """Carry out the command and return its answer as JSON text.

        Raises the `ClientError`s of the service, and `Paused` with the outcome when the database is away.
        """
        request = request_of(who.user.id, write.name, command)
        if not write.is_remembered:
            request = None
        patience = Patience(self._database)
        try:
            asking = write.ask(self._backends.through(patience), who, command)
            facts = await in_time(self._backends.authority_name, asking)  # not in the transaction
        except Paused:
            raise  # where nobody can be asked, looking for an earlier answer only takes as long again
        except ClientError:
            # A repeated command is answered as it was, also to somebody who has lost the rights since.
            earlier = None if request is None else await earlier_answer(patience, request)
            if earlier is None:
                raise
            return _or_raise(earlier)
        if write.together is not None:
            joiner = self._joiners.get(write.name) or self._join(write.name, write.together)
            asked = Asked(who, command, facts, traces.CURRENT.get())
            return await joiner.run(facts.topic.name, asked, request, patience.since)
        return await self._run_alone(write, who, command, facts, request, patience.since)

    def _join(self, name: str, together: Commit[Asked[Any, Any]]) -> Joiner[Asked[Any, Any]]:
        joiner = Joiner(self._database, together, self._tell, lambda asked: asked.facts.size)
        self._joiners[name] = joiner
        return joiner

    async def _run_alone(
        self,
        write: Write[Any, Any],
        who: Identity,
        command: Any,
        facts: Any,
        request: Request | None,
        since: float,
    ) -> JsonText:
        async def carry_out(tx: Transaction, _: Sequence[int]) -> list[Answer]:
            return [await write.carry_out(tx, who, command, facts)]

        [answer], recorded = await commit_once(self._database, [request], carry_out, since=since)
        self._tell(recorded)
        return _or_raise(answer)

    def _tell(self, recorded: Sequence[Event | Notified | Ended]) -> None:
        """Reached only after COMMIT; queues, never waits, never raises."""
        self._publisher.announce([fact for fact in recorded if isinstance(fact, Event)])
        for fact in recorded:
            if isinstance(fact, Notified):
                self._deliveries.notified(fact)
            elif isinstance(fact, Ended):
                self._ends.ended(fact)


def _or_raise(answer: Answer) -> JsonText:
    if isinstance(answer, ClientError):
        raise answer
    return answer
