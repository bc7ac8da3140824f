"""The way of a message out: what one turn of the loop produces becomes one sealed envelope, and is published as one.

It promises the order of the calls, and that nothing waits. One envelope is under way at a time; its answer sends the
next. What it carries stays in the backlog until then, so a connection that ends takes nothing along: the next one sends
it again, under the same numbers, by which the others drop what they had.

Nothing runs here: `publish` and the answers of whatever carries it make the loop call `flush`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from collab_server.cluster.backlog import Backlog
from collab_server.cluster.envelope import pack_messages
from collab_server.cluster.seal import Seal
from collab_server.telemetry import traces

__all__ = ["Outbox", "Way"]

ANSWER_SECONDS = 1.0
DRAIN_SECONDS = 0.5


class Way(Protocol):
    """What carries envelopes to all who listen to a channel, in the order of the calls; whoever made it ends it."""

    def publish(self, channel: bytes, data: bytes, on_answer: Callable[[str | None], None]) -> None:
        """Carry one. `on_answer` gets None once it is on its way and the next one may follow, else why it cannot be, in
        words; nobody if the way ends first. Never called before this returns.
        """
        ...

    def ping(self, on_answer: Callable[[], None]) -> None:
        """Call `on_answer` if there is something that carries."""
        ...

    def close(self, reason: str) -> None:
        """End it."""
        ...


class Outbox:
    """Publishes the messages of `node` by whatever way is attached, once a channel is known. The log calls what
    carries them `carried_by`."""

    def __init__(
        self, backlog: Backlog, seal: Seal, clock: Callable[[], float], *, node: str, carried_by: str
    ) -> None:
        self.backlog = backlog
        self._node = node
        self._carried_by = carried_by
        self._seal = seal
        self._clock = clock
        self._link: Way | None = None
        self._channel = b""
        self._is_flush_due = False
        self._sent_up_to: int | None = None  # number after the last message of the envelope under way
        self._sent_at = 0.0
        self._drained: asyncio.Event | None = None

    @property
    def has_channel(self) -> bool:
        """Whether it is known where to publish."""
        return bool(self._channel)

    def use_channel(self, channel: str) -> None:
        """Publish there from now on."""
        self._channel = channel.encode()
        self._flush_soon()

    def attach(self, link: Way) -> None:
        """Send this way; again what the one before had not answered."""
        self._link = link
        self._sent_up_to = None
        self.flush()

    def detach(self) -> None:
        """Send nothing until there is a way again."""
        self._link = None

    def cut(self, reason: str) -> None:
        """End the way."""
        if self._link is not None:
            self._link.close(reason)

    def publish(self, kind: int, payload: bytes) -> None:
        """Queue a message for all other nodes. Never waits, never raises."""
        self.backlog.put((kind, payload, traces.carried()))
        self._flush_soon()

    def publish_in_clear(self, data: bytes) -> None:
        """Past the queue, neither numbered nor sealed: what nodes of the version before have to hear."""
        if self._link is not None:
            self._link.publish(self._channel, data, _ignore)

    def ping(self, on_answer: Callable[[], None]) -> None:
        """Ask whether what carries is there; before a channel is known, when nothing else is sent."""
        if self._link is not None:
            self._link.ping(on_answer)

    def flush(self) -> None:
        """Send the left end of the backlog as one envelope, unless one is under way."""
        self._is_flush_due = False
        link, backlog = self._link, self.backlog
        if link is None or self._sent_up_to is not None or not self._channel:
            return
        backlog.drop_stale()
        messages = backlog.first_messages()
        if not messages:
            return
        data = self._seal.seal(backlog.first, pack_messages(self._node, messages))
        self._sent_up_to = up_to = backlog.first + len(messages)
        self._sent_at = self._clock()
        link.publish(self._channel, data, lambda problem: self._answered(link, up_to, problem))

    async def drain(self) -> None:
        """Until everything is on its way, or half a second has passed."""
        self._drained = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._drained.wait()

    def look(self) -> None:
        """Give up what is stale, and a way on which nothing answers; several times a second."""
        self.backlog.drop_stale()
        if self._sent_up_to is not None and self._clock() - self._sent_at > ANSWER_SECONDS:
            self.cut(f"{self._carried_by} does not answer")

    def stood_still(self, seconds: float) -> None:
        """The whole process did: while answers could not be read, none was late."""
        self._sent_at += seconds

    def _flush_soon(self) -> None:
        if not self._is_flush_due and self._sent_up_to is None and self._link is not None:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _answered(self, link: Way, up_to: int, problem: str | None) -> None:
        """The envelope of everything before number `up_to` is on its way, unless there is a problem."""
        if link is not self._link:
            return
        if problem is not None:
            link.close(problem)  # sent again on the next one, until it is stale
            return
        self._sent_up_to = None
        self.backlog.arrived(up_to)
        if self.backlog:
            self.flush()
        elif self._drained is not None:
            self._drained.set()


def _ignore(problem: str | None) -> None:
    """Whether it arrived shows with the next one."""
