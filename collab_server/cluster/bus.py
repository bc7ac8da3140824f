"""What any bus of ours is, whatever carries it: ordered bytes between nodes, numbered, sealed, believed of the living.

What it is: a hint, never the truth. What the bus loses, the feed reads from Postgres.

What it promises is what `ports.Bus` says, and who keeps it:

- `publish` never waits and never raises; what cannot be sent is dropped, oldest first, and counted: over the limit in
  bytes or number, and when it is 2 s old (`backlog`, `outbox`).
- A handler gets the messages of a node in that node's order, each at most once, and none of its own; whoever may have
  missed something is told (`reception`, `listeners`). Messages are numbered by their sender, so the other nodes see
  every loss: a subscription that was away, a message dropped at either end, a Redis that lost it.
- Whoever has what carries it can read nothing, and do nothing but delay and lose: envelopes are sealed (`seal`), and
  believed only from a node that has just shown that it is alive (`peers`).
- Deafness is noticed, and what carries it is made anew (`proof`, `Carrier`).
- Two installations hear nothing of each other: the channel's name holds the database's epoch.

    publish ──► outbox ──► backlog                 carrier ──► reception ──► listeners ──► handlers
                   │ one envelope at a time                        │  own echo: proof
                   └──► seal ──► way ──► carrier                   └─ who says it: peers

A bus is a carrier, and few lines that make it: Redis (`over_redis`), Unix sockets between the workers of a node
(`between_workers`).

What runs concurrently: the carrier's tasks, and one that watches the clock. Messages themselves run in callbacks of the
event loop.

How it stops: `stop()` says goodbye, gives the queue half a second, then ends the carrier.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any, Protocol

from collab_server.cluster.backlog import MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, Backlog
from collab_server.cluster.beside import Beside
from collab_server.cluster.counters import Counters
from collab_server.cluster.heart import Heart
from collab_server.cluster.listeners import Listeners
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.peers import Peers
from collab_server.cluster.proof import Proof
from collab_server.cluster.reception import Reception
from collab_server.cluster.seal import SENDER_BYTES, Seal
from collab_server.domain.keys import KeyRing
from collab_server.ports import Announcement, Handler, Peer

__all__ = ["Carrier", "SealedBus"]

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.25


class Carrier(Protocol):
    """What brings envelopes from one node to all others and back to itself, by `Outbox.attach` and `on_message`."""

    def jobs(
        self, on_message: Callable[[bytes], None], on_subscribed: Callable[[], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """What has to run until it is cancelled. `on_message` gets what comes in; `on_subscribed()` says that from here
        on nothing is missed, and everything may have been until now.
        """
        ...

    def use_channel(self, channel: str) -> None:
        """Bring what is said there, and nothing else, from now on."""
        ...

    def cut(self, reason: str) -> None:
        """End what connects; it is made anew."""
        ...


class SealedBus:
    """`ports.Bus` over what `make_carrier` makes: builds the parts, starts and stops them, and looks after them several
    times a second.

    `node` is this node's name, unlike any other's; `announcement` is what it tells the others of itself; `carried_by`
    is how the log calls what carries it. All is made and used on one event loop.
    """

    dependency: str | None = None

    def __init__(
        self,
        make_carrier: Callable[[Outbox, Proof, Counters], Carrier],
        *,
        node: str,
        announcement: Announcement | None = None,
        carried_by: str,
        limits: tuple[int, int] = (MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < len(node.encode()) < 256:
            raise ValueError("the name of a node has 1 to 255 bytes")
        sender = secrets.token_bytes(SENDER_BYTES)
        self.counters = counters = Counters()
        self._clock = clock
        self._seal = Seal(sender)
        self._beside = Beside()
        self.proof = Proof(counters, clock, carried_by)
        self.listeners = Listeners(counters, clock)
        backlog = Backlog(counters, clock, max_bytes=limits[0], max_messages=limits[1])
        self.outbox = Outbox(backlog, self._seal, clock, node=node, carried_by=carried_by)
        self.peers = Peers(sender, self.outbox, self.listeners, clock)
        self.heart = Heart(
            announcement or Announcement(),
            outbox=self.outbox,
            peers=self.peers,
            proof=self.proof,
            clock=clock,
        )
        self.reception = Reception(
            seal=self._seal,
            proof=self.proof,
            peers=self.peers,
            listeners=self.listeners,
            beside=self._beside,
            counters=counters,
            clock=clock,
        )
        self._carrier = make_carrier(self.outbox, self.proof, counters)
        self._tasks: list[asyncio.Task[None]] = []

    # --- what others see and hear

    @property
    def is_hearing(self) -> bool:
        """Whether messages come through, proved within the last 2.5 s; false as soon as a connection is refused."""
        return self.proof.is_hearing

    @property
    def is_available(self) -> bool:
        """`is_hearing`, or, before the epoch is known, whether what carries it answers."""
        return self.proof.is_available

    @property
    def problem(self) -> str | None:
        """Why it is not available; None if it is."""
        return self.proof.problem

    @property
    def latency_seconds(self) -> float | None:
        """How long the last heartbeat was under way; None while nothing is heard."""
        return self.proof.latency_seconds

    @property
    def nodes(self) -> dict[str, Peer]:
        """The other nodes that are alive, by name. While deaf: those of before."""
        return self.peers.nodes()

    @property
    def longest_delay_seconds(self) -> float:
        """How long at most the message that is being handled was under way; for handlers, while they run."""
        return self.reception.longest_delay_seconds

    def counts(self) -> dict[str, int]:
        """What happened since the start, by name."""
        return asdict(self.counters)

    @property
    def queued_messages(self) -> int:
        """How many messages wait to be published."""
        return len(self.outbox.backlog)

    @property
    def queued_bytes(self) -> int:
        """How many bytes they have together."""
        return self.outbox.backlog.bytes

    def listen(self, kind: int, handler: Handler) -> None:
        """Let `handler(node, payload)` have the other nodes' messages of `kind`, in each sender's order."""
        self.listeners.listen(kind, handler)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """`callback()` when something may have been missed; many reasons within 20 ms make one call."""
        self.listeners.on_gap(callback)

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        """`callback(node)` when a node was met, also after a restart or an absence."""
        self.listeners.on_node_found(callback)

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        """`callback(node)` when a node said goodbye, started anew, or was silent for 5 s while we heard."""
        self.listeners.on_node_lost(callback)

    def publish(self, kind: int, payload: bytes) -> None:
        """Queue a message for all other nodes. Never waits, never raises."""
        self.outbox.publish(kind, payload)

    # --- starting and stopping

    async def start(self, epoch: str | None = None, keys: KeyRing | None = None) -> None:
        """Start connecting, until stopped, in the background. Without an epoch and its keys only whether what carries
        it answers is checked.
        """
        if self._tasks:
            raise RuntimeError("the bus runs already")
        self.listeners.open()
        if self._seal.epoch is not None:
            self.peers.open()
        if epoch is not None and keys is not None:
            self.set_epoch(epoch, keys)
        self.proof.begin()
        jobs = [*self._carrier.jobs(self.reception.receive, self._subscribed), self._watch()]
        self._tasks = [asyncio.create_task(job) for job in jobs]

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """From now on talk to the nodes on the database of this `epoch`, under these keys of the installation.

        Another epoch than before drops what is queued; other keys change nothing but what is sealed and opened with.
        """
        before = self._seal.epoch
        self._seal.use(epoch, keys)
        self.peers.open()
        if epoch == before:
            return
        if before is not None:
            self.outbox.backlog.drop_all()
            self.proof.forget_heard()
            self.peers.forget_all()
        channel = f"collab:{epoch}:bus"
        self._carrier.use_channel(channel)
        self.outbox.use_channel(channel)

    async def stop(self) -> None:
        """Say goodbye to the other nodes and end; takes a second at the most."""
        self.peers.close()
        self.listeners.close()
        if self.is_hearing:
            self.heart.say_goodbye()
            await self.outbox.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _subscribed(self) -> None:
        """Nothing is missed from here on; whatever was said before may have been."""
        self.listeners.gap()
        self.heart.beat(asks=True)

    # --- looking after it

    async def _watch(self) -> None:
        """Run `look` four times a second, whatever happens in it."""
        while True:
            planned = self._clock() + WATCH_SECONDS
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self.look(late=self._clock() - planned)
            except Exception:
                log.exception("the bus failed")

    def look(self, late: float) -> None:
        """Send the heartbeats, and end what has been silent for too long; `late` by so many seconds."""
        if late > WATCH_SECONDS:
            # The loop or the whole process stood still: when we could not listen, nobody was silent.
            self.proof.stood_still(late)
            self.outbox.stood_still(late)
            self.peers.stood_still(late)
            self._beside.was_deaf(self._clock())
        self.heart.look()
        self.outbox.look()
        if self.proof.has_run_out():
            self._carrier.cut(self.proof.deaf)
        self.peers.forget_silent(is_hearing=self.is_hearing)
        if self.is_hearing:
            for data in self._beside.due(self._clock()):
                self.outbox.publish_in_clear(data)
