"""The composition root: builds, starts and stops everything. `app` is what `uvicorn collab_server.app:app` serves.

A node is up as soon as its process is: `/status` answers at once and says `paused` until the database has come, the
migrations are applied and clients may sign in. `start` begins all of that in the background; nothing in it waits for
a dependency. On SIGTERM the node drains before the web server closes sockets: `/health/ready` and new handshakes are
answered 503, clients are told, commands under way finish, and transports are closed so that official clients come
back by themselves, to another node. Then `stop` ends everything in the order opposite to the one it was begun in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from collab_server import __version__, hangup, logs
from collab_server.api.door import RestDoor
from collab_server.api.operations import operations_router
from collab_server.authority.library.library import Library
from collab_server.authority.library.rights import SharedRights
from collab_server.cluster.kinds import make_bus
from collab_server.config import Config, ConfigError, certificates, load_config
from collab_server.domain.addresses import Addresses
from collab_server.domain.budgets import AddressBudget
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing, check_of
from collab_server.errors import ClientError
from collab_server.ports import Announcement, Bus, BusSetup
from collab_server.pulse import Pulse
from collab_server.realtime import build_asgi, lean
from collab_server.realtime.lean import adapter
from collab_server.realtime.server import Door, stranger_limits
from collab_server.realtime.sockets.manager import BusManager
from collab_server.services.backends import Backends
from collab_server.services.commands.executor import Executor
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.pages import Cursors
from collab_server.services.commands.table import Commands
from collab_server.services.commands.turns import Turns
from collab_server.services.ends import Ends
from collab_server.services.epoch_watch import EpochWatch
from collab_server.services.live.deliveries import Deliveries
from collab_server.services.live.presence import Presence
from collab_server.services.purging import purge_discussions
from collab_server.services.search import settle_for_ever
from collab_server.services.sign_in import Authenticator
from collab_server.status import DATABASE, LIBRARY, Counters, Probe, Sampler, Serving, Status
from collab_server.storage import ends, inbox, installation, notices, requests
from collab_server.storage.database import Database
from collab_server.storage.installation import Installation, Preparation

log = logging.getLogger(__name__)

STATE_SECONDS = 0.5
FORGET_SECONDS = 600.0
LIMITS_SECONDS = 1.0
SECRET_SECONDS = 1.0
SECRET_AGREED_SECONDS = 5.0  # that all nodes say that they have the same secret, before it is needed
SECRET_LACKING_SECONDS = 60.0  # that some lack it, before it is said: an update takes as long


class Node:
    """One server process: an ASGI application that owns everything it consists of."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = f"{socket.gethostname()}-{secrets.token_hex(3)}"
        self._installation: Installation | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._told: dict[str, Any] = {}

        self.database = Database.of(config.database, node=f"{self.name} {notices.KNOWN_BY}")
        self._ends = Ends(
            self.database,
            learned=lambda user_ids: self._door.look_at_sign_ins(user_ids),
            publish=lambda payload: self._publish(Kind.ENDED, payload),
        )
        secret = config.secret_in_clear
        self._secret = None if secret is None else secret.get_secret_value().encode()
        self._keys: KeyRing | None = None
        self._preparation = Preparation(self.database, secret=self._secret)
        self.counters = Counters()
        self.library = Library(
            config.authorizationServerUrl,
            ssl_context=certificates.client_context(config.trustedCerts),
            observe=self._library_observer(),
            ended=lambda digest: self._publish(Kind.SESSION_ENDED, digest),
        )
        self.authenticator = Authenticator(
            self.library.sessions,
            administrators=config.administrators,
            failures=AddressBudget(burst=config.limits.failedSignIns, per_second=1),
            ends=self._ends,
            session_hours=config.sessionHours,
        )
        self._announcement = Announcement(
            version=__version__, state="paused", secret=self._announced_secret()
        )
        bus_url = config.bus.url
        self.bus: Bus = make_bus(
            config.bus_kind,
            BusSetup(
                self.name,
                self._announcement,
                None if bus_url is None else bus_url.get_secret_value(),
                config.trustedCerts,
            ),
            config.redis,
        )

        self._sampler = Sampler()
        self._pulse = Pulse()
        self.status = self._build_status()
        limits = config.limits
        self._limiter = limiter = RateLimiter(per_second=limits.commandsPerSecond, burst=limits.commandsBurst)
        turns = Turns(limiter)
        bus = self.bus
        rights = SharedRights(self.library.questions, lambda payload: self._publish(Kind.RIGHTS, payload))
        bus.listen(
            Kind.RIGHTS,
            lambda _node, payload: rights.hear(payload, longest_delay_seconds=bus.longest_delay_seconds),
        )
        bus.on_node_found(rights.node_found)
        bus.listen(Kind.LIMITS, lambda _node, report: limiter.hear(report))
        self._recipients = recipients = RateLimiter(
            per_second=limits.recipientsPerHour / 3600,
            burst=limits.recipientsPerHour,
            expected=f"expected at most {limits.recipientsPerHour} recipients an hour",
        )
        bus.listen(Kind.RECIPIENTS, lambda _node, report: recipients.hear(report))
        bus.listen(Kind.ENDED, lambda _node, payload: self._ends.hear(payload))
        bus.listen(Kind.SESSION_ENDED, lambda _node, digest: self.library.hear_ended(digest))
        self._presence = self._build_presence()
        self._cursors = Cursors()
        backends = Backends(
            self.database,
            self.library.questions,
            self.library.questions,
            limits,
            epoch=lambda: self._epoch,
            deliver=lambda database, who: self._deliveries.deliver(database, who),
            presence=self._presence,
            cursors=self._cursors,
            recipients=recipients,
            session_hours=config.sessionHours,
        )
        executor = Executor(
            self.database,
            backends,
            publish=lambda events: self._manager.announce(events),
            notified=lambda notified: self._deliveries.notified(notified),
            ended=self._ends.ended,
        )
        commands = Commands(self.database, backends, executor)
        addresses = Addresses(config.trustedProxies)
        self._guard = lean.Guard(stranger_limits(limits), addresses, outgoing_bytes=limits.outgoingBytes)
        self._door = Door(
            node=self.name,
            database=self.database,
            backends=backends,
            commands=commands,
            authenticator=self.authenticator,
            limits=limits,
            limiter=limiter,
            turns=turns,
            counters=self.counters,
            is_origin_allowed=self._is_origin_allowed,
            addresses=addresses,
        )
        self._manager = BusManager(self.bus, self._door.feed)
        self._deliveries = Deliveries(
            backends,
            self._manager.announce,
            connected=self._door.identity_of,
            all_connected=self._door.users,
            tell_nodes=self._manager.tell_notified,
        )
        self._manager.on_notified = self._deliveries.hear
        self._door.on_arrival = self._deliveries.arrived
        self.library.questions.on_refused(self._door.content_refused)
        realtime = self._door.build(self._manager)
        realtime.eio.accepts_handshakes = lambda: self.status.is_ready
        self._realtime = build_asgi(realtime)
        self._rest_door = RestDoor(
            commands=commands,
            authenticator=self.authenticator,
            limiter=limiter,
            turns=turns,
            counters=self.counters,
            max_body_bytes=limits.packetBytes,
            requests_per_user=limits.requestsPerUser,
        )
        self._rest = self._rest_door.build(
            allowed_origins=config.allowed_origins,
            operations=operations_router(self.status, self._may_see_verbose),
            has_page=config.demoPage,
        )

    # -- ASGI ------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["path"].startswith("/socket.io"):
            await self._realtime(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        hangup.listen()
        adapter.adopt(receive, self.config)
        if lean.install(scope, receive, {"/socket.io/": self._door.server.eio}, self._guard):
            lean.tune_garbage_collector()
        lean.allow_many_connections()
        try:
            await self.start()
        except Exception as error:
            log.exception("the node cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._drain_on_signals()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin everything. Waits for no dependency."""
        self._pulse.start()
        if self.config.scaling == "vertical":
            log.warning("scaling is vertical, which is not there yet: this node runs as one process")
        await self.library.start()
        await self.bus.start()
        await self.database.start()
        self._presence.start()
        await self._door.start()
        await self._deliveries.start()
        for work in (
            self._prepare(),
            self._sampler.run(),
            self._guard.run(),
            self._watch_state(),
            self._watch_secret(),
            self._door.run(),
            self._exchange_limits(),
            self._forget(),
            self._ends.run(),
            settle_for_ever(self.database),
        ):
            self._tasks.append(asyncio.create_task(self._owned(work)))
        log.info("the node has started", extra={"node": self.name, "version": __version__})

    async def drain(self) -> None:
        """Send everybody elsewhere. Takes a few seconds at most."""
        if self.status.is_draining:
            return
        self.status.is_draining = True
        self._announcement.note(state="draining")
        log.info("draining", extra={"connections": self.counters.connections_current})
        self._door.tell_all("server.state", self._state())
        await self._door.drain()

    async def stop(self) -> None:
        """End everything, in bounded time."""
        await self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._deliveries.stop()
        await self._door.stop()
        self._presence.stop()
        await self.bus.stop()
        await self.library.stop()
        await self.database.stop()
        self._pulse.stop()
        log.info("the node has stopped", extra={"node": self.name})

    async def _owned(self, work: Coroutine[Any, Any, Any]) -> None:
        """A background task that dies of a bug takes the node with it: better restarted than half alive."""
        try:
            await work
        except Exception:
            log.critical("a background task died; the node stops", exc_info=True)
            signal.raise_signal(signal.SIGTERM)

    def _drain_on_signals(self) -> None:
        """Put draining before what the web server does on a signal; a second signal does that at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if not callable(previous) or previous is signal.default_int_handler:
                continue

            async def leave(number: int = number, previous: Any = previous) -> None:
                await self.drain()
                server = getattr(previous, "__self__", None)
                if number == signal.SIGTERM and server is not None and hasattr(server, "should_exit"):
                    # What uvicorn does itself, but for ending by the signal once more: to be stopped is no failure.
                    server.should_exit = True
                else:
                    previous(number, None)

            def handle(number: int, frame: Any, previous: Any = previous, leave: Any = leave) -> None:
                if self.status.is_draining:
                    previous(number, frame)
                else:
                    loop.call_soon_threadsafe(lambda: self._tasks.append(loop.create_task(leave())))

            try:
                signal.signal(number, handle)
            except ValueError:
                return  # not the main thread: whoever runs us there stops us otherwise

    # -- background ------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Migrate and learn the installation, whenever the database comes; from then on the node serves.

        And see to it that it stays the same database.
        """
        found = await self._preparation.run()
        await self._learn_ends()
        self._install(found)
        self.status.has_started = True
        await EpochWatch(self.database, self._door.feed, self._begin_epoch, self._learn_keys).run(found)

    async def _learn_ends(self) -> None:
        """Know what was ended before anybody is taken in."""
        while True:
            await self.database.until_up()
            try:
                return await self._ends.load()
            except ClientError:
                await asyncio.sleep(STATE_SECONDS)

    def _install(self, found: Installation) -> None:
        self._installation = found
        self._use_keys(found)

    def _learn_keys(self, found: Installation) -> None:
        self._installation = found
        self._use_keys(found)

    def _use_keys(self, found: Installation) -> None:
        """Seal with these keys from now on; clients get tokens that go on opening."""
        before, self._keys = self._keys, found.keys.ring(self._secret)
        self.authenticator.use_keys(self._keys)
        self._cursors.use_keys(self._keys)
        self.bus.set_epoch(found.epoch, self._keys)
        if before is None or before.sealing == self._keys.sealing:
            return
        if before.sealing in self._keys.opening:
            log.info("what is sealed is sealed with another key from now on; nobody is signed out")
            self._door.renew_tokens_soon()
        else:
            log.warning("the key was replaced: everybody has to sign in again")
            self._door.close_all("signed out")

    async def _watch_secret(self) -> None:
        """Once all nodes have the secret of the configuration, let it be needed.

        Nodes announce it, and only those of this version hear each other: while any other may be there, it waits.
        """
        since: float | None = None
        lacking_since: float | None = None
        is_said = False
        while self._secret is not None:
            await asyncio.sleep(SECRET_SECONDS)
            found, now = self._installation, asyncio.get_running_loop().time()
            lacking = (
                [] if found is None or found.keys.secret_check is not None else self._without_the_secret()
            )
            lacking_since = (lacking_since or now) if lacking else None
            if lacking_since is not None and now - lacking_since >= SECRET_LACKING_SECONDS and not is_said:
                is_said = True
                log.warning(
                    "Not all nodes have the `secret` of this node's configuration: it protects nothing until they do",
                    extra={"without": lacking},
                )
            is_said = is_said and bool(lacking)
            if found is None or found.keys.secret_check is not None or not self._have_all_nodes_the_secret():
                since = None
                continue
            since = since or now
            if now - since >= SECRET_AGREED_SECONDS and self.database.is_up:
                with contextlib.suppress(ClientError):
                    await installation.use_secret(self.database, check_of(self._secret))

    def _have_all_nodes_the_secret(self) -> bool:
        return self.bus.is_hearing and not self._without_the_secret()

    def _without_the_secret(self) -> list[str]:
        """The names of the other nodes that have not this node's secret, as far as they are heard."""
        return [
            name
            for name, node in self.bus.nodes.items()
            if node.info.get("secret") != self._announced_secret()
        ]

    def _announced_secret(self) -> str | None:
        return None if self._secret is None else check_of(self._secret).hex()

    def _begin_epoch(self, found: Installation) -> None:
        """Clients come back and learn that their `seq` are of another time."""
        self._install(found)
        self._door.feed.reset()
        self._door.close_all("new epoch")

    async def _watch_state(self) -> None:
        """Tell clients when the state changes."""
        while True:
            self.status.look()
            state = self._state()
            self._announcement.note(state=state["state"])
            if self._told and state != self._told:
                self._door.tell_all("server.state", state)
            self._told = state
            await asyncio.sleep(STATE_SECONDS)

    async def _exchange_limits(self) -> None:
        """Tell the other nodes what people have spent here of what they may do."""
        while True:
            await asyncio.sleep(LIMITS_SECONDS)
            for kind, limiter in ((Kind.LIMITS, self._limiter), (Kind.RECIPIENTS, self._recipients)):
                report = limiter.report()
                if report is not None:
                    self._publish(kind, report)

    def _publish(self, kind: Kind, payload: bytes) -> None:
        """Tell the other nodes, if there are any."""
        self.bus.publish(kind, payload)

    async def _forget(self) -> None:
        """Drop the answers that nobody may ask for any more, and the words of discussions that were deleted."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                await requests.forget_old(self.database)
                await self.database.run(inbox.forget_refused)
                await purge_discussions(self.database)
                await ends.forget_old(self.database)
            except ClientError:
                log.debug("what is to be forgotten stays until the database is back")

    # -- state -----------------------------------------------------------------------------------------------

    @property
    def _epoch(self) -> str:
        return self._installation.epoch if self._installation is not None else ""

    def _build_presence(self) -> Presence:
        bus = self.bus
        presence = Presence(
            node=self.name,
            tell=lambda connections, signal, data: self._door.tell(connections, signal, data),
            publish=lambda payload: bus.publish(Kind.PRESENCE, payload),
        )
        bus.listen(Kind.PRESENCE, presence.hear)
        bus.on_node_found(presence.node_found)
        bus.on_node_lost(presence.node_lost)
        bus.on_gap(presence.suspect)
        return presence

    def _build_status(self) -> Status:
        config = self.config
        status = Status(
            enable_tls=config.enableTls,
            scaling=config.scaling,
            logging=config.logging,
            node=self.name,
            counters=self.counters,
            sampler=self._sampler,
            pulse=self._pulse,
        )
        database = self.database
        status.depends_on(
            DATABASE,
            lambda: Probe(database.problem or self._preparation.problem, database.latency_seconds),
            is_needed_to_serve=True,
        )
        bus, health = self.bus, self.library.health
        if bus.dependency is not None:
            status.depends_on(
                bus.dependency,
                lambda: Probe(None if bus.is_available else bus.problem or "not heard", bus.latency_seconds),
                is_needed_to_serve=False,
            )
        status.cluster = lambda: [
            {"node": name, "seenAt": round(node.seen_at, 3), **node.info} for name, node in bus.nodes.items()
        ]
        self.counters.include("bus", bus.counts)
        status.depends_on(
            LIBRARY,
            lambda: Probe(health.problem, health.latency_seconds),
            is_needed_to_serve=False,
            pauses=False,
        )
        status.serving = lambda: Serving(
            reads=status.has_started and database.is_readable,
            writes=status.has_started and database.is_up,
            live=bus.is_hearing,
        )
        return status

    def _library_observer(self) -> Callable[[str, str, float], None]:
        """What counts the calls of Library."""
        requests_by = self.counters.tally(
            "library_requests", "Calls of Library, by what came of them", ["call", "outcome"]
        )
        seconds_of = self.counters.latency("library_request", "How long calls of Library take", ["call"])

        def observe(call: str, outcome: str, seconds: float) -> None:
            requests_by.labels(call, outcome).inc()
            seconds_of.labels(call).observe(seconds)

        return observe

    def _state(self) -> dict[str, Any]:
        """The data of the signal `server.state`."""
        status = self.status
        serving = status.serving()
        state = "draining" if status.is_draining else "running" if status.is_running else "paused"
        return {
            "state": state,
            "reason": status.reason,
            "serving": {"reads": serving.reads, "writes": serving.writes, "live": serving.live},
        }

    async def _may_see_verbose(self, request: Request) -> bool:
        """Whoever shows the status token, and administrators; where they come from says nothing about them."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        token = self.config.status_token
        if token is not None and scheme.lower() == "bearer":
            expected = token.get_secret_value().encode()
            if hmac.compare_digest(shown.strip().encode(), expected):
                return True
        try:
            return (await self._rest_door.identify(request)).is_administrator
        except ClientError:
            return False

    def _is_origin_allowed(self, origin: str | None, environ: dict[str, Any]) -> bool:
        """Whether a page of this origin may connect: its own, or one that the configuration names."""
        allowed = self.config.allowed_origins
        if origin is None or "*" in allowed or origin in allowed:
            return True
        host = environ.get("HTTP_X_FORWARDED_HOST") or environ.get("HTTP_HOST")
        return bool(host) and origin.partition("://")[2] == host


def create_app(config: Config) -> Node:
    """The ASGI application of one node.

    Raises `ConfigError` for certificates that cannot be read.
    """
    return Node(config)


_app: Node | None = None


def __getattr__(name: str) -> Any:
    """`app`, built at the first asking from the `config.json` found as `docs/configuration.md` says."""
    global _app
    if name != "app":
        raise AttributeError(name)
    if _app is None:
        hangup.listen()
        try:
            loaded = load_config()
            found = loaded.config
            logs.configure(is_detailed=found.logging, log_format=found.logFormat, log_file=found.logFile)
            _app = create_app(loaded.config)
        except ConfigError as error:
            for problem in error.problems:
                print(problem, file=sys.stderr)  # noqa: T201 - there is no log yet
            raise SystemExit(2) from None
        for problem in loaded.warnings:
            log.warning("%s", problem)
    return _app
