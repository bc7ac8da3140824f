"""One session, and who meets in it: what carries it, and who keeps it.

The ground floor. A `Carrier` knows its session and tells the session's `Owner` what comes; the owner knows carriers by
what is written here and no more. So a further way to carry sessions is a class of its own, wherever it is.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from engineio import packet as eio_packet
from engineio.base_server import BaseServer

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.pace import Allowance, Pace

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

REASON = BaseServer.reason
"""Why a session ended, as disconnect handlers are told."""

CLOSE = frames.frame(frames.TEXT, b"1")
NOOP = frames.frame(frames.TEXT, b"6")
"""Also the farewell to a poll whose client may come back: it finds the session gone at its next request. `CLOSE` is
final for the clients of python-socketio."""


class Refusal(Exception):
    """A request that is answered with an error: `status`, and `body` as JSON, which has a `message`."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.status = status
        self.message = str(body.get("message", "")) if isinstance(body, dict) else str(body)
        self.body = json.dumps(body, separators=(",", ":")).encode()


class Carrier(Protocol):
    """What carries a session's packets. A websocket is one, long-polling another."""

    name: str

    @property
    def held_bytes(self) -> int:
        """So much is kept here of what the client has sent: of a packet, or of requests that wait."""

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames; False if the client lets too much pile up."""

    def close(self, farewell: bytes) -> None:
        """Send what was taken, then close; long-polling says `farewell`."""

    def abort(self) -> None:
        """Close, and forget what was not sent."""

    def pause_reading(self) -> None:
        """Take no more messages for now."""

    def resume_reading(self) -> None:
        """Take messages again."""

    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on."""

    def descriptor(self) -> int:
        """The file to which ready frames may be written beside this, as long as nothing waits here; -1 if there is
        none. Of another one from some time on the session's owner is told."""


class WebSocketCarrier(Carrier, Protocol):
    """A websocket whose handshake the server decides on."""

    is_handed: bool  # it has come by another node

    def accept(self, session: Session, ready: list[bytes]) -> None:
        """Complete the handshake, with these frames; from now on hand in what comes for this session."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer the handshake with an error."""

    def turn_away(self) -> None:
        """Complete the handshake, then close at once: a second websocket of one session."""


@runtime_checkable
class PassableWebSocket(WebSocketCarrier, Protocol):
    """One that can let its connection go, as it is, before the handshake is answered."""

    def pass_on(self, taker: Taker) -> bool:
        """Let `taker` have the connection; False if it is no more. This has nothing to do with it from then on."""


class Taker(asyncio.Protocol):
    """Who gets the connection of a websocket."""

    def take(self, transport: Any, connections: set[Any]) -> None:
        """Carry it from now on, as one of the web server's `connections`."""


@runtime_checkable
class Gathering(Protocol):
    """A transport that hands messages on when they are whole."""

    def trust(self, most_bytes: int) -> None:
        """Gather messages of so many bytes from now on."""


class Waiter(Protocol):
    """Who will answer a request when there is something to say."""

    def cancel(self) -> None:
        """The client has gone."""

    def let_go(self) -> None:
        """The connection is about to end: answer soon."""


class Exchange(Protocol):
    """One HTTP request of a long-polling client, whole, and the way to answer it."""

    waiter: Waiter | None  # who has it, until there is an answer
    is_trusted: bool  # of a session that is somebody's
    body: bytes | bytearray  # what was posted …
    is_too_large: bool  # … or how that begins, for it is more than may be

    @property
    def scope(self) -> Scope:
        """The request's head, as ASGI has it."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""


class Elsewhere(Protocol):
    """The sessions of other nodes, as far as this one can hand over what is for them. Nothing here waits."""

    def new_id(self) -> str:
        """An id for a new session here, by which the others know whose it is."""

    def knows(self, sid: str) -> bool:
        """Whether there may be such a session on another node."""

    def ask(self, sid: str, exchange: Exchange, refuse: Callable[[Exchange, Refusal], None]) -> bool:
        """Have another node answer a request of this session, now or later; False if no other node has it."""

    def carry(self, sid: str, scope: Scope, websocket: PassableWebSocket) -> bool:
        """Let a websocket of this session go through to another node; False if no other node has it."""


class Owner(Protocol):
    """Who keeps the sessions: what their carriers tell of, and what those who work for them ask for.

    Nothing here waits, or raises for a session that has ended.
    """

    @property
    def outgoing_bytes(self) -> int:
        """So much may wait for one client."""

    @property
    def stalls(self) -> Lane[Session]:
        """Those for whom more waits than may, until a poll comes."""

    @property
    def farewells(self) -> Lane[Carrier]:
        """Websockets that wait for their clients to close."""

    def receive(self, session: Session, packet: str | bytes) -> bool:
        """Take one packet of a client, from whatever carries the session; False if it is none."""

    def probe(self, session: Session, packet: str | bytes) -> None:
        """Take a packet from the websocket that may become the session's carrier."""

    def send_frame(self, session: Session, ready: bytes) -> None:
        """Send one ready frame."""

    def turn_down(self, session: Session, begin: str) -> bool:
        """A packet that begins like this is too large, and was not read: it ends the session. Whether its client is
        told by an answer to that packet."""

    def settle(self, session: Session) -> None:
        """Have all that is sent to the session in this turn in its `out`."""

    def reroute(self) -> None:
        """A carrier has another descriptor."""

    def weigh(self, session: Session) -> None:
        """Another amount is kept now of what a session that is not trusted has sent."""

    def end(self, session: Session, reason: str, *, farewell: bytes = CLOSE, is_abrupt: bool = False) -> None:
        """End a session: close its transport, then call the disconnect handler, behind its last message."""

    def end_upgrade(self, session: Session) -> None:
        """The session's websocket carries it now, or never will."""

    def overflow(self, session: Session) -> None:
        """Put out a client that does not read."""

    def carrier_lost(self, session: Session, websocket: WebSocketCarrier) -> None:
        """A websocket was closed by its client or by the network."""

    def forget(self, session: Session) -> None:
        """Nothing is left to be done for a session."""


class Watcher(Protocol):
    """Who is told of what sessions cost, and of what they do not get; each is named by its id."""

    def weigh(self, eio_sid: str, held_bytes: int) -> None:
        """So much is kept now of what a session that is not trusted has sent."""

    def turn_down(self, eio_sid: str, begin: str) -> bool:
        """A message that begins like this is too large, and was not read: it ends the session. Whether its client is
        told by an answer to that message."""


class _Nobody:
    def weigh(self, eio_sid: str, held_bytes: int) -> None: ...

    def turn_down(self, eio_sid: str, begin: str) -> bool:
        return False


UNWATCHED: Watcher = _Nobody()


class _Nowhere:
    """Carries a session that has ended, or has no carrier yet: whoever writes to it does no harm."""

    name = "none"
    held_bytes = 0

    def write(self, ready: list[bytes]) -> bool:
        return True

    def close(self, farewell: bytes) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def trust(self, most_bytes: int) -> None: ...

    def descriptor(self) -> int:
        return -1


NOWHERE = _Nowhere()


@dataclass(frozen=True, slots=True)
class Ended:
    """In an inbox: the session is over, once what came before is done."""

    reason: str


@dataclass(slots=True)
class Inbox:
    """Messages of one client that wait for their handler, in order, as they came."""

    messages: deque[str | bytes | Ended] | None = None  # made when first needed
    held_bytes: int = 0
    is_paused: bool = False  # no more are read until it is worked off
    worker: asyncio.Task[None] | None = None  # works it off; None while nothing has to wait


@dataclass(slots=True)
class Bond:
    """What binds a session to its client: the value of the cookie that its requests bring, if its client keeps any."""

    value: bytes
    is_shown: bool  # it does


class Session:
    """One Engine.IO session. Stands in for python-engineio's socket where the inherited server looks at it.

    Args:
        owner: keeps it.
        sid: its name.
        most_bytes: the largest packet that is taken of it.
        pace: how fast it is read.
        is_trusted: it is somebody's.
    """

    __slots__ = (
        "_user_session",
        "allowance",
        "bond",
        "carrier",
        "closing",
        "inbox",
        "is_trusted",
        "most_bytes",
        "out",
        "owner",
        "sid",
        "untaken",
        "upgrading",
    )

    closed = False
    """python-engineio asks this of sessions that it finds: one that has ended cannot be found."""

    def __init__(self, owner: Owner, sid: str, *, most_bytes: int, pace: Pace, is_trusted: bool) -> None:
        self.owner = owner
        self.sid = sid
        self.carrier: Carrier = NOWHERE
        self.out: list[bytes] = []  # ready frames of this loop turn, but for those of a `Round`
        self.inbox = Inbox()
        self.allowance = Allowance(pace)
        self.is_trusted = is_trusted
        self.most_bytes = most_bytes
        self.bond: Bond | None = None
        self.upgrading: WebSocketCarrier | None = None  # the websocket that may become the carrier
        self.untaken = 0  # answers to polls that other nodes have not passed on yet
        self.closing = False  # nothing goes in or out; the disconnect handler may still run

    @property
    def session(self) -> dict[Any, Any]:
        """The dictionary that `get_session` gives; made when first needed."""
        try:
            return self._user_session
        except AttributeError:
            self._user_session: dict[Any, Any] = {}
            return self._user_session

    @session.setter
    def session(self, value: dict[Any, Any]) -> None:
        self._user_session = value

    @property
    def upgraded(self) -> bool:
        """True on a websocket."""
        return self.carrier.name == "websocket"

    @property
    def is_unsettled(self) -> bool:
        """True where what its client has said, or was told, may be under way beside the next request: from when a
        websocket has come that may become the carrier, and while an answer is on its way by another node."""
        return self.untaken > 0 or self.upgrading is not None or self.carrier.name != "polling"

    def judge(self, *, is_trusted: bool, most_bytes: int, pace: Pace) -> None:
        """The session is somebody's from now on, or nobody's any more: packets of so many bytes may come, so fast."""
        self.is_trusted = is_trusted
        self.most_bytes = most_bytes
        self.allowance.pace = pace
        self.carrier.trust(most_bytes)
        if self.upgrading is not None:
            self.upgrading.trust(most_bytes)

    def take_out(self) -> list[bytes]:
        """What was sent in this turn of the loop and not written yet."""
        self.owner.settle(self)
        ready, self.out = self.out, []
        return ready

    async def send(self, packet: eio_packet.Packet) -> None:
        """Send a packet, as python-engineio's socket does."""
        self.owner.send_frame(self, frames.frame_of(packet.encode()))

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session, as python-engineio's socket does, and wait for the disconnect handler."""
        self.owner.end(self, reason or REASON.SERVER_DISCONNECT)
        if not wait:
            return
        if self.inbox.worker is None:
            await asyncio.sleep(0)  # the handler is called in the loop's next turn
        worker = self.inbox.worker
        if worker is not None and worker is not asyncio.current_task():
            await asyncio.wait([worker])
