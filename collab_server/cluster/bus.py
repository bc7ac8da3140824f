"""The bus: ordered bytes between the nodes, over pub/sub of Redis or Valkey.

What it is: a hint, never the truth. Nothing is stored in Redis; what the bus loses, the feed reads from
Postgres.

What it promises:
- `publish` never waits and never raises. What cannot be sent is dropped, oldest first, and counted: over the
  limit in bytes or number, and when it is 2 s old (by then the feed has repaired it).
- A handler gets the messages of a node in that node's order, each at most once, and none of its own.
- Whoever may have missed something is told: `on_gap`. Messages are numbered by their sender, so the other
  nodes see every loss: a subscription that was away, a message dropped at either end, a Redis that lost it.
- Whoever has Redis can read nothing, and do nothing but delay and lose. Envelopes are sealed (`cluster.seal`). What
  does not open is dropped, counted and logged once a minute, and makes the others look at Postgres at most every
  1.5 s, for it may be what another version had to say. What opens is believed once, in order, and only from a node
  that has just shown that it is alive: see below.
- Deafness is noticed. Each second a heartbeat goes to Redis and comes back through the same two connections
  as everything else; after 2.5 s without, the node is deaf, and both connections are made anew (a half-open
  one looks healthy for hours).
- Two installations on one Redis hear nothing of each other: the channel's name holds the database's epoch.

How a node shows that it is alive. With each heartbeat it tells how much it has heard of every other node (HEARD). A
node that finds itself in there knows that all that follows was sealed after its own heartbeat of that number, and
believes it for 15 s. A recording never says so, for what was said before the stranger was heard first does not
count. So a node is met (`on_node_found`) when it answers
for the first time, some milliseconds after it came; nobody's clock matters, and Postgres knows nothing of it.

    new    HEARD nobody, tell at once            ──►  old    new is a stranger; nothing of it is believed
    old    HEARD new up to 1, tell at once       ──►  new    old is a stranger
    new    HEARD old up to 7, tell at once       ──►  old    has met new, believes what follows
    old    HEARD new up to 2                     ──►  new    has met old, believes what follows

What runs concurrently: one task keeps the publishing connection, one the subscribed one, one watches the
clock (and, with Sentinel, one follows the master). Messages themselves run in callbacks of the event loop:
`publish` gathers what a loop turn produces into one PUBLISH; one PUBLISH is under way at a time, its answer
sends the next.

How it stops: `stop()` says goodbye, gives the queue half a second, then cuts the connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from typing import Any

import hiredis

from collab_server.cluster.beside import Beside
from collab_server.cluster.envelope import (
    UnreadableEnvelope,
    count_messages,
    pack_heard,
    pack_messages,
    unpack_heard,
    unpack_messages,
)
from collab_server.cluster.link import Link, LinkError, find_server, in_words, open_link
from collab_server.cluster.seal import SENDER_BYTES, Opened, OtherLayout, Seal
from collab_server.config import RedisSection
from collab_server.config.values import parse_redis_url
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from collab_server.ports import Announcement, Handler, Peer

__all__ = ["Counters", "RedisBus"]

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
DEAF_AFTER_SECONDS = 2.5
FORGOTTEN_AFTER_SECONDS = 5.0
STALE_AFTER_SECONDS = 2.0
BELIEVED_SECONDS = 15.0
"""How long a node is believed after it has shown that it is alive. What is told of rights adds to its age what the
message may have been held up for (`longest_delay_seconds`)."""
LOOK_SECONDS = 1.5
"""How often what does not open may make others look at Postgres."""
COMPLAINT_SECONDS = 60.0
PROMPT_SECONDS = 0.05
ANSWER_SECONDS = 1.0
CONNECT_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 0.5
FOLLOW_SECONDS = 2.0
GAP_SECONDS = 0.02
WATCH_SECONDS = 0.25
STOP_SECONDS = 0.5
ENVELOPE_BYTES = 262_144
MAX_QUEUED_BYTES = 8_388_608
MAX_QUEUED_MESSAGES = 50_000
MAX_ENVELOPE_BYTES = MAX_QUEUED_BYTES + ENVELOPE_BYTES
MAX_STRANGERS = 32
MAX_PEERS_TOLD = 512
DEAF = "nothing comes back from Redis"


_OWN_KINDS = frozenset(map(int, (Kind.GAP, Kind.CANARY, Kind.HEARD)))
_NEVER = float("-inf")


@dataclass(slots=True)
class Counters:
    """Since the start of this node; heartbeats do not count as messages.

    `unknown_version`, `unopened` and `repeated` are envelopes: of another layout; not sealed by this installation, or
    changed; heard before. `unbelieved` are messages of nodes that have not shown yet, or not lately, that they live.
    """

    published: int = 0
    received: int = 0
    dropped: int = 0
    missed: int = 0
    unknown_version: int = 0
    unopened: int = 0
    repeated: int = 0
    unbelieved: int = 0
    handler_errors: int = 0
    connections_lost: int = 0


@dataclass(slots=True)
class _Start:
    """What is known of one start of another node: a stranger until it is met.

    `expected` is the number of its next message, `sealing` that of the last envelope. `alive_at` is when our own
    heartbeat went out that it has answered, one numbered `noticed` or later; `asked_at` when it was asked to answer.
    """

    node: str
    expected: int
    noticed: int
    heard_at: float
    sealing: int = -1
    is_met: bool = False
    alive_at: float = _NEVER
    asked_at: float = _NEVER
    seen_at: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)


class RedisBus:
    """`ports.Bus` over Redis. Made and used on one event loop; see the module for its promises.

    `redis` is where Redis is, as a section of the config or a `redisServerUrl`; `node` is this node's name, unlike any
    other's; `announcement` is what it tells the others of itself. `ssl_context` replaces the one made of the section's
    `trusted_certs`. Raises `ValueError` for a URL that spells no address, without repeating it.
    """

    dependency: str | None = "Redis Server"

    def __init__(
        self,
        redis: RedisSection | str,
        *,
        node: str,
        announcement: Announcement | None = None,
        ssl_context: ssl.SSLContext | None = None,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        max_queued_messages: int = MAX_QUEUED_MESSAGES,
    ) -> None:
        if not 0 < len(node.encode()) < 256:
            raise ValueError("the name of a node has 1 to 255 bytes")
        self.node = node
        self.problem: str | None = "not connected yet"
        self.latency_seconds: float | None = None
        self.counters = Counters()

        self._announcement = announcement or Announcement()
        self._redis = parse_redis_url(redis) if isinstance(redis, str) else redis
        self._ssl = ssl_context or _ssl_context(self._redis)
        self._max_queued_bytes = max_queued_bytes
        self._max_queued_messages = max_queued_messages
        self._sender = secrets.token_bytes(SENDER_BYTES)
        self._seal = Seal(self._sender)

        self._epoch: str | None = None
        self._epoch_known = asyncio.Event()
        self._channel = ""
        self._publish_prefix = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False
        self._drained: asyncio.Event | None = None

        # The queue: (queued at, kind, payload). Its left end has the number `_first`, and is all that is removed.
        self._queue: deque[tuple[float, int, bytes]] = deque()
        self._queued_bytes = 0
        self._first = 0
        self._is_flush_due = False
        self._sent_up_to: int | None = None  # number after the last message of the PUBLISH under way
        self._sent_at = 0.0
        self._canaries: deque[tuple[int, float]] = deque(maxlen=8)  # number, sent at; not yet come back
        self._told: deque[tuple[int, float]] = deque(
            maxlen=64
        )  # number of a HEARD, sent at; for the others to answer

        self._publisher: Link | None = None
        self._subscriber: Link | None = None
        self._server: tuple[str, int] | None = None
        self._is_available = False
        self._has_heard = False
        self._heartbeat_at = 0.0
        self._proof_at = 0.0  # when Redis last proved that it works, monotonic
        self._peers: dict[bytes, _Start] = {}
        self._strangers: dict[bytes, _Start] = {}
        self._beside = Beside()
        self._handled: _Start | None = None
        self._gap_due: asyncio.TimerHandle | None = None
        self._prompt_due: asyncio.TimerHandle | None = None
        self._is_asking = False
        self._look_at = 0.0
        self._complaint_at = 0.0

        self._handlers: dict[int, list[Handler]] = {}
        self._change_callbacks: list[Callable[[bool], None]] = []
        self._gap_callbacks: list[Callable[[], None]] = []
        self._found_callbacks: list[Callable[[str], None]] = []
        self._lost_callbacks: list[Callable[[str], None]] = []

    # What others see and hear

    @property
    def is_hearing(self) -> bool:
        """Whether messages come through, proved within the last 2.5 s; false as soon as a connection is
        refused.
        """
        return self._is_available and self._has_heard

    @property
    def is_available(self) -> bool:
        """What `/status` shows as `Redis Server`: `is_hearing`, or, before the epoch is known, whether Redis
        answers a PING.
        """
        return self._is_available

    @property
    def nodes(self) -> dict[str, Peer]:
        """The other nodes that are alive, by name. While deaf: those of before."""
        return {peer.node: Peer(peer.info, peer.seen_at) for peer in self._peers.values()}

    @property
    def longest_delay_seconds(self) -> float:
        """How long at most the message that is being handled was under way; for handlers, while they run."""
        return self._now() - self._handled.alive_at if self._handled is not None else 0.0

    @property
    def queued_bytes(self) -> int:
        """Payload bytes waiting to be sent or for Redis to confirm them."""
        return self._queued_bytes

    def counts(self) -> dict[str, int]:
        """What happened since the start, by name."""
        return asdict(self.counters)

    def listen(self, kind: int, handler: Handler) -> None:
        """`handler(node, payload)` for the other nodes' messages of `kind`, called on the loop, in each
        sender's order.

        It must not block. If it raises, that is logged and the next message comes as usual.
        """
        self._handlers.setdefault(int(kind), []).append(handler)

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """`callback(is_available)` whenever that changed."""
        self._change_callbacks.append(callback)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """`callback()` when something may have been missed; many reasons within 20 ms make one call."""
        self._gap_callbacks.append(callback)

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        """`callback(node)` when a node is first heard, also after a restart or an absence."""
        self._found_callbacks.append(callback)

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        """`callback(node)` when a node said goodbye, started anew, or was silent for 5 s while we heard."""
        self._lost_callbacks.append(callback)

    # Starting and stopping

    async def start(self, epoch: str | None = None, keys: KeyRing | None = None) -> None:
        """Starts connecting, for ever, in the background. Without an epoch and its keys only whether Redis answers is
        checked.
        """
        if self._tasks:
            raise RuntimeError("the bus runs already")
        self._is_stopping = False
        if epoch is not None and keys is not None:
            self.set_epoch(epoch, keys)
        self._proof_at = self._now()
        jobs = [self._keep(self._hold_publisher), self._keep(self._hold_subscriber), self._watch()]
        if self._redis.sentinel_master:
            jobs.append(self._follow_master())
        self._tasks = [asyncio.create_task(job) for job in jobs]

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """From now on talk to the nodes on the database of this `epoch`, under these keys of the installation.

        Another epoch than before drops what is queued; other keys change nothing but what is sealed and opened with.
        """
        self._seal.use(epoch, keys)
        if epoch == self._epoch:
            return
        if self._epoch is not None:
            self._drop(len(self._queue))
            self._has_heard = False
            for sender in list(self._peers):
                self._forget(sender)
            self._strangers.clear()
            self._cut(self._subscriber, "the epoch changed")
        self._epoch = epoch
        self._channel = f"collab:{epoch}:bus"
        name = self._channel.encode()
        self._publish_prefix = b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$" % (len(name), name)
        self._epoch_known.set()
        self._schedule_flush()

    async def stop(self) -> None:
        """Says goodbye to the other nodes and ends; takes a second at the most."""
        self._is_stopping = True
        if self.is_hearing:
            self.publish(Kind.CANARY, b"")
            await self._drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for timer in (self._gap_due, self._prompt_due):
            if timer is not None:
                timer.cancel()

    async def _drain(self) -> None:
        """Until Redis has everything, or half a second has passed."""
        self._drained = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._drained.wait()

    # Sending

    def publish(self, kind: int, payload: bytes) -> None:
        """Queues a message for all other nodes. Never waits, never raises."""
        if len(payload) > self._max_queued_bytes:
            self.counters.dropped += 1
            kind, payload = Kind.GAP, b""
        self._queue.append((self._now(), kind, payload))
        self._queued_bytes += len(payload)
        while self._queued_bytes > self._max_queued_bytes or len(self._queue) > self._max_queued_messages:
            self._drop(1)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._is_flush_due and self._sent_up_to is None and self._publisher is not None:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Sends the left end of the queue as one PUBLISH, unless one is under way. The messages stay queued
        until it is answered.
        """
        self._is_flush_due = False
        link = self._publisher
        if link is None or self._sent_up_to is not None or self._epoch is None:
            return
        self._drop_stale()
        messages: list[tuple[int, bytes]] = []
        size = 0
        for _, kind, payload in self._queue:
            size += len(payload)
            if messages and size > ENVELOPE_BYTES:
                break
            messages.append((kind, payload))
        if not messages:
            return
        data = self._seal.seal(self._first, pack_messages(self.node, messages))
        self._sent_up_to = up_to = self._first + len(messages)
        self._sent_at = self._now()
        link.send(
            b"%b%d\r\n%b\r\n" % (self._publish_prefix, len(data), data),
            lambda reply: self._sent(link, up_to, reply),
        )

    def _sent(self, link: Link, up_to: int, reply: Any) -> None:
        """Redis answered the PUBLISH of everything before number `up_to`."""
        if link is not self._publisher:
            return
        if isinstance(reply, hiredis.ReplyError):
            link.close(in_words(reply))  # sent again on the next link, until it is stale
            return
        self._sent_up_to = None
        while self._queue and self._first < up_to:
            if self._take()[1] not in _OWN_KINDS:
                self.counters.published += 1
        if self._queue:
            self._flush()
        elif self._drained is not None:
            self._drained.set()

    def _take(self) -> tuple[float, int, bytes]:
        message = self._queue.popleft()
        self._first += 1
        self._queued_bytes -= len(message[2])
        return message

    def _drop(self, count: int) -> None:
        """Gives up the `count` oldest messages; the others see it by the numbers."""
        for _ in range(count):
            if self._take()[1] not in _OWN_KINDS:
                self.counters.dropped += 1

    def _drop_stale(self) -> None:
        limit = self._now() - STALE_AFTER_SECONDS
        while self._queue and self._queue[0][0] < limit:
            self._drop(1)

    # Receiving

    def _received(self, data: bytes) -> None:
        """One envelope off the subscription, our own echo included. Never raises: it runs in the connection's
        read callback.
        """
        try:
            if len(data) > MAX_ENVELOPE_BYTES:
                raise UnreadableEnvelope("larger than any of ours")
            opened = self._seal.open(data)
            if opened.sender == self._sender:
                self._heard_myself(opened.first + count_messages(opened.inside))
                return
            node, messages = unpack_messages(opened.inside)
        except UnreadableEnvelope as error:
            self._cannot_open(data, error)
            return
        peer = self._peers.get(opened.sender) or self._strangers.get(opened.sender)
        if peer is None:
            peer = self._notice(opened, node)
        if opened.sealing <= peer.sealing:
            # Recorded and played again, or late through a connection that its sender had given up: later ones
            # have brought all of it.
            self.counters.repeated += 1
            return
        peer.sealing = opened.sealing
        end = opened.first + len(messages)
        if opened.first > peer.expected:
            if peer.is_met:
                self.counters.missed += opened.first - peer.expected
                self._gap()
        elif opened.first < peer.expected:
            messages = messages[peer.expected - opened.first :]  # sent again because its answer got lost
        peer.expected = max(peer.expected, end)
        self._handled = peer
        try:
            self._handle(opened.sender, peer, messages)
        finally:
            self._handled = None

    def _handle(self, sender: bytes, peer: _Start, messages: list[tuple[int, bytes]]) -> None:
        """The messages of an envelope, in order: those that follow the proof that their sender is alive."""
        is_believed = self._is_alive(peer)
        unbelieved = 0
        for kind, payload in messages:
            if kind not in _OWN_KINDS:
                if not is_believed:
                    unbelieved += 1
                    continue
                self.counters.received += 1
                for handler in self._handlers.get(kind, ()):
                    try:
                        handler(peer.node, payload)
                    except Exception:
                        self.counters.handler_errors += 1
                        log.exception("a listener failed", extra={"kind": kind, "from_node": peer.node})
            elif kind == Kind.HEARD:
                self._heard_of_us(sender, peer, payload)
                is_believed = self._is_alive(peer)
            elif not is_believed:
                continue
            elif kind == Kind.CANARY:
                self._heard_heartbeat(sender, peer, payload)
                is_believed = peer.is_met
            else:
                self._gap()
        if is_believed:
            peer.heard_at = self._now()
        elif sender in self._peers or sender in self._strangers:  # it has not just said goodbye
            self._ask(peer)
        if unbelieved:
            self.counters.unbelieved += unbelieved
            self._look()

    def _is_alive(self, peer: _Start) -> bool:
        return peer.is_met and self._now() - peer.alive_at <= BELIEVED_SECONDS

    def _cannot_open(self, data: bytes, error: UnreadableEnvelope) -> None:
        """Somebody else's, or of another version: then Postgres has what it says."""
        now = self._now()
        if self._beside.hear(data, now):
            return
        if isinstance(error, OtherLayout):
            self.counters.unknown_version += 1
        else:
            self.counters.unopened += 1
        if now >= self._complaint_at:
            self._complaint_at = now + COMPLAINT_SECONDS
            log.warning(
                "what comes through Redis was not sealed by this version and installation; it is dropped",
                extra={
                    "why": str(error),
                    "unopened": self.counters.unopened,
                    "unknown_version": self.counters.unknown_version,
                },
            )
        self._look()

    def _notice(self, opened: Opened, node: str) -> _Start:
        """An envelope of a start of a node that is not known: of one that has just come, or of one that has gone."""
        if len(self._strangers) >= MAX_STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        peer = _Start(node, opened.first, noticed=self._first + len(self._queue), heard_at=self._now())
        self._strangers[opened.sender] = peer
        return peer

    def _ask(self, peer: _Start) -> None:
        """Let a node that is not believed show that it is alive: at once, and then with each heartbeat."""
        now = self._now()
        if now - peer.asked_at > FORGOTTEN_AFTER_SECONDS:
            peer.asked_at = now
            self._tell_heard_soon(asks=True)

    def _heard_of_us(self, sender: bytes, peer: _Start, payload: bytes) -> None:
        """What another node has heard; of a heartbeat of ours, if it is alive, and then it is met."""
        try:
            asks, heard = unpack_heard(payload)
        except UnreadableEnvelope:
            return  # of a later version, which knows what it does
        number = heard.get(self._sender, 0)
        was_believed = self._is_alive(peer)
        for told, at in self._told:
            if peer.noticed <= told < number:
                peer.alive_at = max(peer.alive_at, at)
        if not was_believed and self._now() - peer.alive_at <= BELIEVED_SECONDS:
            if peer.is_met:
                self._gap()  # what it said meanwhile was not believed
            else:
                self._meet(sender, peer)
        if asks:
            self._tell_heard_soon(asks=False)

    def _meet(self, sender: bytes, peer: _Start) -> None:
        """A stranger has answered: it is alive, and so is whatever it says from here on."""
        self._strangers.pop(sender, None)
        for other, known in list(self._peers.items()):
            if known.node == peer.node:
                self._forget(other)  # it started anew
        self._gap()  # what it said before was not believed
        peer.is_met = True
        peer.heard_at, peer.seen_at = self._now(), time.time()
        self._peers[sender] = peer
        self._tell_heard(asks=False)  # before all that the callbacks say: for the other to believe it
        log.info("found a node", extra={"found_node": peer.node})
        self._call(self._found_callbacks, peer.node)

    def _forget(self, sender: bytes) -> None:
        peer = self._peers.pop(sender)
        peer.is_met = False
        log.info("lost a node", extra={"lost_node": peer.node})
        self._call(self._lost_callbacks, peer.node)

    def _heard_heartbeat(self, sender: bytes, peer: _Start, payload: bytes) -> None:
        if not payload:
            if sender in self._peers:
                self._forget(sender)  # goodbye
            return
        try:
            info = json.loads(payload)
        except ValueError:
            info = None
        peer.info = info if isinstance(info, dict) else {}
        peer.seen_at = time.time()

    def _heard_myself(self, end: int) -> None:
        """Our own echo, up to before number `end`. With a heartbeat in it, both connections work: it left through one
        and came in through the other. An old one proves nothing.
        """
        now = self._now()
        while self._canaries and self._canaries[0][0] < end:
            _, sent_at = self._canaries.popleft()
            if now - sent_at <= DEAF_AFTER_SECONDS:
                self.latency_seconds = now - sent_at
                if not self._has_heard:
                    self._has_heard = True
                    self._beside.was_deaf(now)
                    for peer in self._peers.values():
                        peer.heard_at = now  # it was we who were deaf; they need not have been silent
                self._proved()

    def _gap(self) -> None:
        if self._gap_due is None and not self._is_stopping:
            self._gap_due = asyncio.get_running_loop().call_later(GAP_SECONDS, self._tell_gap)

    def _look(self) -> None:
        """A gap, perhaps, of which anybody could make us believe: at most every 1.5 s."""
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._gap()

    def _tell_gap(self) -> None:
        self._gap_due = None
        self._call(self._gap_callbacks)

    # Whether Redis works

    def _proved(self) -> None:
        self._proof_at = self._now()
        self.problem = None
        if not self._is_available:
            self._is_available = True
            log.info("Redis is available")
            self._call(self._change_callbacks, True)

    def _failed(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("Redis is unavailable: %s", problem)
        self.problem = problem
        self._has_heard = False
        self.latency_seconds = None
        if self._is_available:
            self._is_available = False
            self._call(self._change_callbacks, False)

    async def _watch(self) -> None:
        """Runs `_tick` four times a second, whatever happens in it."""
        while True:
            planned = self._now() + WATCH_SECONDS
            await asyncio.sleep(WATCH_SECONDS)
            try:
                self._tick(late=self._now() - planned)
            except Exception:
                log.exception("the bus failed")

    def _tick(self, late: float) -> None:
        """Sends the heartbeats, and ends what has been silent for too long."""
        now = self._now()
        if late > WATCH_SECONDS:
            # The loop or the whole process stood still: when we could not listen, nobody was silent.
            self._proof_at += late
            self._sent_at += late
            self._beside.was_deaf(now)
            for peer in self._peers.values():
                peer.heard_at += late
        if now >= self._heartbeat_at:
            self._beat()
        self._drop_stale()
        if self._sent_up_to is not None and now - self._sent_at > ANSWER_SECONDS:
            self._cut(self._publisher, "Redis does not answer")
        if now - self._proof_at > DEAF_AFTER_SECONDS:
            self._proof_at = now  # the next connections get as long
            self._failed(self.problem or DEAF)
            self._cut(self._publisher, DEAF)
            self._cut(self._subscriber, DEAF)
        if self.is_hearing:
            for sender, peer in list(self._peers.items()):
                if now - peer.heard_at > FORGOTTEN_AFTER_SECONDS:
                    self._forget(sender)
            self._keep_up_those_before(now)
        for sender, stranger in list(self._strangers.items()):
            if now - stranger.heard_at > FORGOTTEN_AFTER_SECONDS:
                del self._strangers[sender]

    def _keep_up_those_before(self, now: float) -> None:
        """What nodes of the version before have to hear, past the queue: it is neither numbered nor sealed."""
        for data in self._beside.due(now):
            if self._publisher is not None:
                self._publisher.send(b"%b%d\r\n%b\r\n" % (self._publish_prefix, len(data), data), _ignore)

    def _beat(self, *, asks: bool = False) -> None:
        """A heartbeat through the queue, the publisher, Redis and the subscription; before the epoch is
        known, a PING. With `asks` the other nodes answer it at once.
        """
        self._heartbeat_at = self._now() + HEARTBEAT_SECONDS
        if self._epoch is None:
            if self._publisher is not None:
                self._publisher.send(b"*1\r\n$4\r\nPING\r\n", self._answered_ping)
            return
        try:
            payload = json.dumps(self._announcement.facts()).encode()
        except Exception:
            log.exception("this node cannot describe itself")
            payload = b"{}"
        self._tell_heard(asks=asks)
        self._canaries.append((self._first + len(self._queue), self._now()))
        self.publish(Kind.CANARY, payload)

    def _tell_heard(self, *, asks: bool) -> None:
        """How much was heard of whom: those who are met first, then the strangers."""
        known = islice(chain(self._peers.items(), self._strangers.items()), MAX_PEERS_TOLD)
        self._told.append((self._first + len(self._queue), self._now()))
        self.publish(Kind.HEARD, pack_heard(asks, [(sender, peer.expected) for sender, peer in known]))

    def _tell_heard_soon(self, *, asks: bool) -> None:
        """The same, gathered with what else makes it due."""
        self._is_asking |= asks
        if self._prompt_due is None and not self._is_stopping:
            last = self._told[-1][1] if self._told else _NEVER
            pause = max(0.0, last + PROMPT_SECONDS - self._now())
            self._prompt_due = asyncio.get_running_loop().call_later(pause, self._prompt)

    def _prompt(self) -> None:
        self._prompt_due = None
        asks, self._is_asking = self._is_asking, False
        if self._epoch is not None:
            self._tell_heard(asks=asks)

    def _answered_ping(self, reply: Any) -> None:
        if self._epoch is None and not isinstance(reply, hiredis.ReplyError):
            self._proved()

    # Connections

    async def _keep(self, hold: Callable[[], Awaitable[str]]) -> None:
        """Holds one connection after the other, for ever; the first attempt after a good one is at once."""
        pause = 0.0
        told, tell_again_at = "", 0.0
        while True:
            since = self._now()
            try:
                problem = await hold()
                self.counters.connections_lost += 1
                if problem != told or self._now() >= tell_again_at:
                    told, tell_again_at = problem, self._now() + COMPLAINT_SECONDS
                    log.warning("a connection to Redis ended: %s", problem)
                if self._now() - since > CONNECT_SECONDS:
                    pause = 0.0
                self.problem = problem
            except (LinkError, TimeoutError) as error:
                self._failed(str(error) or "Redis does not answer")
            except Exception as error:
                log.exception("the bus failed")
                self._failed(f"a bug of ours: {type(error).__name__}")
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2 or 0.05)

    async def _hold_publisher(self) -> str:
        """The publishing connection from start to end; returns why it ended."""
        link = await self._open(None)
        self._publisher = link
        self._sent_up_to = None
        try:
            if self._epoch is None:
                self._proved()
            self._flush()
            return await asyncio.shield(link.lost)
        finally:
            self._publisher = None
            link.close("stopped")

    async def _hold_subscriber(self) -> str:
        """The subscribed connection from start to end; returns why it ended."""
        await self._epoch_known.wait()
        link = await self._open(self._received)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await link.subscribe(self._channel)
            self._subscriber = link
            self._gap()  # whatever was said before the confirmation
            self._beat(asks=True)
            return await asyncio.shield(link.lost)
        finally:
            self._subscriber = None
            link.close("stopped")

    async def _open(self, on_message: Callable[[bytes], None] | None) -> Link:
        async with asyncio.timeout(CONNECT_SECONDS * max(1, len(self._redis.hosts))):
            self._server = await find_server(self._redis, ssl_context=self._ssl)
        async with asyncio.timeout(CONNECT_SECONDS):
            return await open_link(
                self._redis,
                self._server,
                ssl_context=self._ssl,
                name=f"collab-{self.node}",
                on_message=on_message,
            )

    async def _follow_master(self) -> None:
        """With Sentinel: a master that was replaced may go on answering, to half of the nodes. Leave it."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                async with asyncio.timeout(CONNECT_SECONDS * len(self._redis.hosts)):
                    server = await find_server(self._redis, ssl_context=self._ssl)
            except (LinkError, TimeoutError):
                continue  # the Sentinels being away is no reason to leave a Redis that works
            except Exception:
                log.exception("the bus failed")
                continue
            if self._server is not None and server != self._server:
                self._cut(self._publisher, "another server is the master now")
                self._cut(self._subscriber, "another server is the master now")

    @staticmethod
    def _cut(link: Link | None, reason: str) -> None:
        if link is not None:
            link.close(reason)

    # Small things

    @staticmethod
    def _now() -> float:
        return time.monotonic()

    @staticmethod
    def _call(callbacks: list[Callable[..., None]], *arguments: object) -> None:
        for callback in callbacks:
            try:
                callback(*arguments)
            except Exception:
                log.exception("a callback of the bus failed")


def _ignore(reply: Any) -> None:
    """Whether it arrived shows with the next one."""


def _ssl_context(redis: RedisSection) -> ssl.SSLContext | None:
    """Made once: loading the CAs takes milliseconds, and connecting is tried twice a second."""
    if not redis.is_tls:
        return None
    context = ssl.create_default_context()
    for file in redis.trusted_certs:
        context.load_verify_locations(file)
    return context
