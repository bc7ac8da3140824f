"""One node: builds what it consists of, starts it and stops it.

Everything gets what it works with finished, in its constructor, so the order of the lines is what Python lets it be:
from the way out of the connections, the bus and the database up to the two doors. Nothing is opened here but memory.

`start` begins everything and waits for no dependency; `drain` sends everybody elsewhere; `stop` ends everything, in the
order opposite to the one that it was begun in. A background task that dies of a bug takes the node with it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from starlette.types import ASGIApp

from collab_server import __version__
from collab_server.api.answers import OpenRequests
from collab_server.api.door import RestDoor
from collab_server.api.operations import Observers, operations_router
from collab_server.config import Config, Limits, LoadedConfig
from collab_server.config.renewal import Certificates
from collab_server.contract.schemas import field_names
from collab_server.domain.addresses import Addresses
from collab_server.domain.budgets import AddressBudget
from collab_server.domain.hints import Kind
from collab_server.domain.tallies import OwnTally, Tally
from collab_server.ground import Ground
from collab_server.ports import Authority, Bus
from collab_server.realtime import build_asgi
from collab_server.realtime.door import Door
from collab_server.realtime.handover.elsewhere import Elsewhere
from collab_server.realtime.handover.listener import Listener, Told, Where
from collab_server.realtime.lean.guard import Guard
from collab_server.realtime.server import CollabServer, stranger_limits
from collab_server.realtime.sign_ins import SignIns
from collab_server.realtime.sockets.manager import BusManager
from collab_server.reloading import Changing, Reloading
from collab_server.services.backends import Backends
from collab_server.services.commands.exchange import LimitExchange
from collab_server.services.commands.executor import Executor
from collab_server.services.commands.figures import Figures
from collab_server.services.commands.gate import CommandGate
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.pages import Cursors
from collab_server.services.commands.spanned import SpannedGate
from collab_server.services.commands.table import Commands
from collab_server.services.commands.turns import Turns
from collab_server.services.commenting import Commenting
from collab_server.services.ends import Ends
from collab_server.services.epoch import Epoch
from collab_server.services.epoch_watch import EpochWatch
from collab_server.services.hub import Hub
from collab_server.services.installed import Between, Installed
from collab_server.services.jobs import Jobs
from collab_server.services.live.audience import Audience
from collab_server.services.live.deliveries import Deliveries
from collab_server.services.live.feed import Feed
from collab_server.services.live.losses import Losses
from collab_server.services.live.moves import Moves
from collab_server.services.live.presence import Presence
from collab_server.services.live.publisher import Publisher
from collab_server.services.live.repair import Repair
from collab_server.services.live.rights_watch import RightsWatch
from collab_server.services.live.spanned import SpannedAudience, SpannedPublisher
from collab_server.services.live.subscriptions import Subscriptions
from collab_server.services.live.waiting import Waiting
from collab_server.services.live.watches import Watches
from collab_server.services.names import Names
from collab_server.services.opening import Opening
from collab_server.services.origins import Origins
from collab_server.services.search import Settling
from collab_server.services.secret_watch import SecretWatch
from collab_server.services.sign_in import Authenticator
from collab_server.services.sign_in.spanned import SpannedAuthenticator
from collab_server.services.state_watch import StateWatch
from collab_server.services.upkeep import upkeep
from collab_server.status import Counters
from collab_server.telemetry.journal import Journal
from collab_server.telemetry.metrics import Metrics
from collab_server.telemetry.spans import Spans
from collab_server.workers.seat import Seat

log = logging.getLogger(__name__)

Reading = Callable[[], LoadedConfig] | None


class Part(Protocol):
    """What is started before it is used, and stopped after it."""

    def start(self) -> Awaitable[None] | None: ...

    def stop(self) -> Awaitable[None] | None: ...


class Worker(Protocol):
    """What has one task of its own while the node runs."""

    async def run(self) -> None: ...


class Live:
    """Who is connected to a node, and what reaches them by itself: `server` is the way out."""

    def __init__(self, ground: Ground, server: CollabServer, elsewhere: Elsewhere | None) -> None:
        bus, gate, metrics, channels = ground.bus, ground.authority.gate, ground.metrics, ground.channels
        spans = ground.spans
        self.hub = hub = Hub(server, metrics, _tally_of(ground, "connections"))
        self.presence = presence = Presence(ground.name, hub, bus)
        self.moves = moves = Moves()
        make_audience = Audience if spans is None else partial(SpannedAudience, spans=spans)
        make_publisher = Publisher if spans is None else partial(SpannedPublisher, spans=spans)
        self.audience = make_audience(hub, presence, moves)
        self.feed = Feed(self.audience, server.roster)
        self.waiting = Waiting(self.feed, gate.read_id)
        self.publisher = publisher = make_publisher(bus, self.feed, moves)
        self.deliveries = Deliveries(ground.database, gate, hub, bus, publisher, metrics, channels.kinds)
        self.losses = Losses(ground.database, gate, publisher)
        self.names = Names(ground.database)
        self.passing = elsewhere  # websockets of others go through it


class Node:
    """One server process: a node, or the worker of one that has this `seat`. `realtime` and `rest` are the ASGI
    applications of its two doors, `server` carries the first.

    `read` reads the configuration again. Raises `ConfigError` for parts that cannot be made.
    """

    def __init__(self, config: Config, certificates: Certificates, read: Reading, seat: Seat | None) -> None:
        ground = Ground(config, certificates, seat)
        limits, epoch, cursors = _limits_of(config, seat), Epoch(), Cursors()
        metrics, spans, counters = ground.metrics, ground.spans, ground.status.counters
        name, bus, database, authority = ground.name, ground.bus, ground.database, ground.authority
        self.name, self.status = name, ground.status
        addresses, journal = Addresses(config.trustedProxies), Journal(field_names())
        origins = _origins_of(config, addresses, metrics)
        self.guard = _guard_of(limits, addresses, metrics, journal)
        elsewhere = _elsewhere_of(config, ground, seat)
        self.server = server = _server_of(limits, ground, origins, journal, elsewhere)
        self._live = live = Live(ground, server, elsewhere)
        hub, feed, deliveries = live.hub, live.feed, live.deliveries
        ends = Ends(ground.bare, hub, bus)  # which are learned before it is opened
        authenticator = _authenticator_of(config, limits, authority, live.names, ends, spans)
        turns, recipients = Turns(_limiter_of(limits), metrics=metrics), _recipients_of(limits)
        backends = Backends(
            database=database,
            gate=authority.gate,
            directory=authority.directory,
            limits=limits,
            epoch=epoch,
            deliveries=deliveries,
            losses=live.losses,
            presence=live.presence,
            publisher=live.publisher,
            cursors=cursors,
            recipients=recipients,
            session_hours=config.sessionHours,
            authority_name=authority.dependency,
            commenting=Commenting(config.commenting.rules(authority.gate.read_id), authority.gate),
        )
        executor = Executor(database, backends, live.publisher, deliveries, ends, metrics)
        commands = Commands(database, backends, executor)
        watching = Watches(backends, hub, live.audience, live.moves, turns.limiter)
        subscriptions = Subscriptions(database, backends, hub, feed, live.audience, turns.limiter, watching)
        counted = {Kind.LIMITS: turns.limiter, Kind.RECIPIENTS: recipients, Kind.WATCHED: watching.questions}
        exchange = LimitExchange(bus, counted)
        sign_ins = SignIns(name, hub, authenticator, subscriptions, deliveries, epoch, journal)
        socketio_gate, rest_gate = _gates_of(commands, turns, metrics, journal, spans)
        self._door = Door(server, hub, sign_ins, subscriptions, socketio_gate, counters, journal)
        self.realtime = build_asgi(server)
        self.rest, observers = _rest_of(config, rest_gate, authenticator, ground, origins, journal, live)
        changing = Changing(authenticator, observers, origins, ground.status, database.server)
        between, secret = _between(elsewhere, bus), ground.secret
        installed = Installed(secret, epoch, authenticator, cursors, between, hub, feed)
        epoch_watch = EpochWatch(database, feed, installed)
        opening = Opening(database, ground.preparation, ends, installed, epoch_watch, ground.status)
        rights_watch = RightsWatch(hub, authority.gate, subscriptions, backends.commenting, live.audience)
        secret_watch = SecretWatch(secret, database, bus, installed)
        self._state_watch = StateWatch(ground.status, hub, ground.announcement)
        self._parts = _parts_of(ground, origins, deliveries, live.losses, subscriptions, watching, executor)
        reloading = Reloading(config, read, certificates, changing)
        watch = (Repair(database, feed, metrics), rights_watch, watching, secret_watch, self._state_watch)
        own = (live.names, self.status.sampler, self.guard, _jobs_of(ground), Settling(database))
        others = (*_handing_over(_where(config, seat), ground, server, elsewhere), *_telling(counters))
        watches = (opening, *watch, sign_ins, ends, reloading, journal, exchange)
        self._workers: tuple[Worker, ...] = (*watches, *own, *others)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin everything. Waits for no dependency."""
        for part in self._parts:
            await _done(part.start())
        for worker in self._workers:
            self.own(worker.run())
        log.info("the node has started", extra={"version": __version__})

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the background until it is done or the node stops.

        If it dies of a bug, the node goes with it: better restarted than half alive.
        """
        task = asyncio.create_task(_or_end(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Send everybody elsewhere. Takes a few seconds at most."""
        if self.status.is_draining:
            return
        log.info("draining", extra={"connections": self.status.counters.connections_current})
        self._state_watch.drain()
        self._live.waiting.drain()
        passing = self._live.passing
        await asyncio.gather(self._door.drain(), *(() if passing is None else (passing.drain(),)))

    async def stop(self) -> None:
        """End everything, in bounded time."""
        await self.drain()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._door.stop()
        self._live.presence.stop()
        for part in reversed(self._parts):
            await _done(part.stop())
        log.info("the node has stopped")


async def _or_end(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.critical("a background task died; the node stops", exc_info=True)
        signal.raise_signal(signal.SIGTERM)


async def _done(begun: Awaitable[None] | None) -> None:
    if begun is not None:
        await begun


def _server_of(
    limits: Limits, ground: Ground, origins: Origins, journal: Journal, elsewhere: Elsewhere | None
) -> CollabServer:
    manager, status = BusManager(ground.bus), ground.status
    return CollabServer(manager, limits, origins, status, ground.metrics, journal, elsewhere)


def _elsewhere_of(config: Config, ground: Ground, seat: Seat | None) -> Elsewhere | None:
    """The sessions of other nodes; None where there are none, or nothing is handed over."""
    is_alone = config.handover is None and seat is None
    return None if is_alone else Elsewhere(ground.bus, ground.metrics)


def _between(elsewhere: Elsewhere | None, bus: Bus) -> tuple[Between, ...]:
    """What is sealed between the nodes, the bus last: with it they meet."""
    return (bus,) if elsewhere is None else (elsewhere.keys, bus)


def _where(config: Config, seat: Seat | None) -> Where | None:
    """Where to listen for what is handed over: for the other workers of the node in its folder, for other nodes as the
    configuration says, each worker at a port of its own.
    """
    section, path = config.handover, None if seat is None else seat.path_of("home")
    if section is None:
        return None if path is None else Where(path=path)
    port = section.port and section.port + (0 if seat is None else seat.number - 1)
    return Where(section.host, port, section.towards, path)


def _limits_of(config: Config, seat: Seat | None) -> Limits:
    """Of what a node bounds without asking who it is, the part of this worker."""
    names = ("strangers", "strangersPerAddress", "strangersBytes", "failedSignIns")
    shares = {} if seat is None else {name: seat.share(getattr(config.limits, name)) for name in names}
    return config.limits.model_copy(update=shares)


def _tally_of(ground: Ground, of_what: str) -> Tally:
    """What people have of this at the node."""
    together = ground.status.counters.together
    return OwnTally() if together is None else together.seat.tally(of_what)


def _telling(counters: Counters) -> tuple[Worker, ...]:
    """What runs so that other workers of the node can ask this one."""
    return () if counters.together is None else (counters.together,)


def _handing_over(
    where: Where | None, ground: Ground, server: CollabServer, elsewhere: Elsewhere | None
) -> tuple[Worker, ...]:
    """What runs so that sessions are handed over, both ways."""
    if elsewhere is None or where is None:
        return ()
    told = Told(ground.announcement, elsewhere.home)
    return elsewhere, Listener(server.eio, elsewhere.keys, where, told, ground.metrics)


def _jobs_of(ground: Ground) -> Jobs:
    channels, database = ground.channels, ground.database
    known = (*upkeep(channels.kinds), *channels.jobs())
    return Jobs(database, known, ground.metrics, node=ground.name, until_open=database.until_up)


def _authenticator_of(
    config: Config, limits: Limits, authority: Authority, names: Names, ends: Ends, spans: Spans | None
) -> Authenticator:
    make = Authenticator if spans is None else partial(SpannedAuthenticator, spans=spans)
    a_second = limits.failedSignIns / config.limits.failedSignIns
    return make(
        replace(authority, sessions=names.heard_by(authority.sessions)),
        administrators=config.administrators,
        failures=AddressBudget(burst=limits.failedSignIns, per_second=a_second),
        ends=ends,
        session_hours=config.sessionHours,
    )


def _origins_of(config: Config, addresses: Addresses, metrics: Metrics) -> Origins:
    return Origins(
        config.allowed_origins,
        addresses,
        beside=config.library_beside,
        refused=metrics.count("origins_refused"),
    )


def _guard_of(limits: Limits, addresses: Addresses, metrics: Metrics, journal: Journal) -> Guard:
    return Guard(
        stranger_limits(limits),
        addresses,
        outgoing_bytes=limits.outgoingBytes,
        metrics=metrics,
        journal=journal,
    )


def _parts_of(ground: Ground, origins: Origins, *served: Part) -> tuple[Part, ...]:
    """What is started in this order, and stopped in the other."""
    spans: tuple[Part, ...] = () if ground.spans is None else (ground.spans,)
    own = (ground.status.pulse, origins, ground.database, ground.authority.life, ground.bus, ground.channels)
    return (*spans, *own, *served)


def _limiter_of(limits: Limits) -> RateLimiter:
    return RateLimiter(per_second=limits.commandsPerSecond, burst=limits.commandsBurst)


def _recipients_of(limits: Limits) -> RateLimiter:
    hourly = limits.recipientsPerHour
    return RateLimiter(
        per_second=hourly / 3600, burst=hourly, expected=f"expected at most {hourly} recipients an hour"
    )


def _gates_of(
    commands: Commands, turns: Turns, metrics: Metrics, journal: Journal, spans: Spans | None
) -> tuple[CommandGate, CommandGate]:
    """What the commands of the two doors pass, and where they are counted."""
    figures = Figures(metrics)
    make = CommandGate if spans is None else partial(SpannedGate, spans=spans)
    return (
        make("socketio", commands, turns, figures, journal),
        make("rest", commands, turns, figures, journal),
    )


def _rest_of(
    config: Config,
    gate: CommandGate,
    authenticator: Authenticator,
    ground: Ground,
    origins: Origins,
    journal: Journal,
    live: Live,
) -> tuple[ASGIApp, Observers]:
    """The HTTP door, and who may see all of `/status`."""
    status = ground.status
    door = RestDoor(
        gate=gate,
        authenticator=authenticator,
        counters=status.counters,
        journal=journal,
        waiting=live.waiting,
        max_body_bytes=config.limits.packetBytes,
        open_requests=OpenRequests(config.limits.requestsPerUser, _tally_of(ground, "requests")),
    )
    observers = Observers(config.status_token, door.identify)
    operations = operations_router(status, observers.may_see)
    built = door.build(
        origins=origins,
        operations=operations,
        status=status,
        has_docs=config.docsPage,
        has_page=config.demoPage,
        spans=ground.spans,
    )
    return built, observers
