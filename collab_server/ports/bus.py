"""What carries words between the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from collab_server.domain.keys import KeyRing

__all__ = ["Announcement", "Bus", "BusSetup", "Handler", "Peer", "Queueing"]

Handler = Callable[[str, bytes], None]
"""`handler(node, payload)`: what the other node of that name has said."""


class Announcement:
    """What a node tells the others of itself: facts by name, each of them JSON.

    Whoever knows a fact notes it; the bus asks for all of them whenever it announces the node.
    """

    def __init__(self, **facts: Any) -> None:
        self._facts = facts

    def note(self, **facts: Any) -> None:
        """These are so from now on; the others stay as they are."""
        self._facts.update(facts)

    def facts(self) -> dict[str, Any]:
        """All of them, as they are now."""
        return dict(self._facts)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node that is alive: what it last announced, and when it was last heard (seconds since 1970)."""

    info: Mapping[str, Any]
    seen_at: float


@dataclass(frozen=True, slots=True)
class BusSetup:
    """What a node gives to the maker of its bus: who it is, what it announces, and what the configuration says.

    `url` is `bus.url`, for the maker to read; it may hold a secret. A maker raises `ValueError`, in words for an
    administrator and without the secret, for a `url` that it cannot use.
    """

    node: str
    announcement: Announcement
    url: str | None = field(default=None, repr=False)
    trusted_certs: tuple[Path, ...] = ()


class Bus(Protocol):
    """Ordered bytes between the nodes of one installation. Hints, never the truth.

    What all of it promises:

    - *Loss* is allowed, silence about it is not. Whatever may have been missed - at either end, on the way, before a
      node was met, while nothing came through - makes `on_gap` at those who may have missed it, within some seconds at
      the most. They read PostgreSQL then. A bus that never loses anything need never call it.
    - *Order*: a handler gets what one node says in the order in which that node said it, over all kinds. Between two
      nodes there is none.
    - *Repetition*: none. What is sent again is dropped before it reaches a handler, and so is what was recorded and is
      played again.
    - *Belief*: a handler acts on what it hears. So nobody but the nodes of this installation and epoch may be able to
      say anything to it, or to read what they say. A bus over something that others can write to or listen on seals
      what it carries with the keys of `set_epoch`.
    - *Oneself*: a node never hears what it said itself.
    - *Traces*: what `telemetry.traces.carried` says when something is published may go along, and be made
      `traces.CURRENT` while a handler runs, so that the logs of all nodes name what they do alike. No bus has to.
    - *Waiting*: nothing waits but `stop`, and nothing raises but `start`. Whatever is queued has a limit in number, in
      bytes and in time; what exceeds it is lost, the oldest first.
    """

    @property
    def dependency(self) -> str | None:
        """How `/status` calls what this bus needs, as `Redis Server`; None if it needs nothing."""
        ...

    @property
    def is_available(self) -> bool:
        """Whether what this bus needs is there. Without it the node is `paused`: it serves, and is late."""
        ...

    @property
    def is_hearing(self) -> bool:
        """Whether what the others say comes through now, and they hear this node: found out lately, not hoped.

        Implies `is_available`.
        """
        ...

    @property
    def problem(self) -> str | None:
        """Why it is not available, for an administrator and without a secret; None if it is."""
        ...

    @property
    def latency_seconds(self) -> float | None:
        """How long a message took lately; None if that is not known."""
        ...

    @property
    def nodes(self) -> Mapping[str, Peer]:
        """The other nodes that are alive, by name. While nothing is heard: those of before."""
        ...

    @property
    def longest_delay_seconds(self) -> float:
        """For handlers, while they run: how long at most the message was on its way. Never less than it really was.

        What grows old in time, as an answer about rights, adds it to its age.
        """
        ...

    def counts(self) -> Mapping[str, int]:
        """What happened since the start, by name, for `/metrics`: whole numbers that only rise."""
        ...

    def listen(self, kind: int, handler: Handler) -> None:
        """Let `handler(node, payload)` have all that other nodes say of this kind, 0 to 239; several may listen.

        What `collab_server.domain.hints.Kind` keeps for the bus is never listened to or published by anybody else.
        It is called on the loop, and never waits. If it raises, that is logged, and the next message comes as usual.
        What nobody listens to is dropped. Called before `start`.
        """
        ...

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Let `callback()` know that something may have been missed. Many reasons close together may make one call.

        Called before `start`, as the next two.
        """
        ...

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        """Let `callback(node)` know of another node, also after a restart or an absence.

        It comes before anything that this node says to a handler; what is published in it, that node hears.
        """
        ...

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        """Let `callback(node)` know that a node has gone: it said so, has started anew, or was silent for some seconds
        while others could be heard. Nothing is heard of it any more until it is found again.
        """
        ...

    def publish(self, kind: int, payload: bytes) -> None:
        """Say something to all other nodes that are alive, in the order of the calls. Never waits, never raises.

        What cannot be sent soon is lost: after two seconds the others have read it in PostgreSQL. Allowed from the
        beginning; what is said before `set_epoch`, or after `stop` has begun, may be lost.
        """
        ...

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """Hear, and be heard by, the nodes of this epoch alone from now on.

        `epoch` names one history of one database: nodes on the same Redis with another one are another installation.
        When it changes, all nodes that were known are lost. `keys` are secrets that the nodes of the installation share
        with nobody else; when only they change, nobody is parted: what is sealed with any of `keys.opening` opens.
        """
        ...

    async def start(self) -> None:
        """Begin, in the background, and come back at once whatever is there or not; until `set_epoch` nobody is met."""
        ...

    async def stop(self) -> None:
        """Say goodbye, so that the others do not wait for this node, and end within a second. Repeated it does nothing.

        A bus that was never started may be stopped too.
        """
        ...


@runtime_checkable
class Queueing(Protocol):
    """What a bus may be besides, where what is published waits in a queue: `/metrics` tells how long that is."""

    @property
    def queued_messages(self) -> int:
        """How many messages wait now."""
        ...

    @property
    def queued_bytes(self) -> int:
        """How many bytes they have together."""
        ...
