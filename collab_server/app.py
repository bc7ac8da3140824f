"""The ASGI application around one node. `app` is what `uvicorn collab_server.app:app` serves.

A node is up as soon as its process is: `/status` answers at once and says `paused` until the database has come, the
migrations are applied and clients may sign in. Starting begins all of that in the background; nothing in it waits for
a dependency. On SIGTERM the node drains before the web server closes sockets: `/health/ready` and new handshakes are
answered 503, clients are told, commands under way finish, and transports are closed so that official clients come
back by themselves, to another node. Then everything ends, in the order opposite to the one it was begun in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from collab_server import hangup, logs
from collab_server.config import Config, ConfigError, LoadedConfig, Problem, load_config
from collab_server.config.renewal import Certificates
from collab_server.node import Node
from collab_server.realtime import process
from collab_server.realtime.lean import adapter
from collab_server.workers.folder import FolderError
from collab_server.workers.seat import Seat, seat_under

log = logging.getLogger(__name__)

STARTING_SECONDS = 2.0
STARTED_SECONDS = 4.0
"""After its process has begun: uvicorn takes a worker for one that fails that has not started within five, of which it
needs two to import, and more on a slow machine."""
TOGETHER_SECONDS = 0.1
LOOK_SECONDS = 0.02

NOT_STARTED = "This node was never started: its web server has no lifespan. Its log says more."


class Application:
    """What a web server runs: the node's two doors by their paths, and its life by the lifespan.

    `read` reads the configuration again when SIGHUP asks for it; without it only the files that `config` names are.
    `seat` is that of this process among the workers of its node, if it has several.
    """

    def __init__(
        self, config: Config, read: Callable[[], LoadedConfig] | None = None, seat: Seat | None = None
    ) -> None:
        self._config = config
        self._seat = seat
        self._has_begun = self._is_refusing = False
        certificates = Certificates(config)
        self.settings = settings_of(config, certificates)
        self._node = Node(config, certificates, read, seat)

    @staticmethod
    def warn(problems: Iterable[Problem]) -> None:
        """Log what the configuration is warned of, in the format that it asks for and under the node's name."""
        for problem in problems:
            # How severe it is the line says already.
            log.warning("%s", str(problem).removeprefix(f"{problem.severity}: "))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif not self._has_begun:
            await self._refuse(scope, receive, send)
        elif scope["path"].startswith("/socket.io"):
            await self._node.realtime(scope, receive, send)
        else:
            await self._node.rest(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell whoever asks a node that was never started, and the log once."""
        if not self._is_refusing:
            self._is_refusing = True
            log.error(
                "this node was never started: its web server has no lifespan, which is when a node starts; leave out"
                " --lifespan off, or run it by another server, as uvicorn or hypercorn"
            )
        if scope["type"] == "http":
            await PlainTextResponse(NOT_STARTED + "\n", 503)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        node = self._node
        await receive()
        self._has_begun = True
        hangup.listen()
        adapter.adopt(receive, self.settings)
        if adapter.install(scope, receive, {"/socket.io/": node.server.eio}, node.guard):
            process.tune_garbage_collector()
        process.allow_many_connections()
        if self._seat is None and self._config.workers > 1:
            log.warning(
                "cpus is %d, but this node is one process: start it by collab-server serve, or with --workers",
                self._config.workers,
            )
        try:
            await node.start()
        except Exception as error:
            log.exception("the node cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        _drain_on_signals(node, self._seat)
        if self._seat is not None and self._seat.shares_a_port:
            await _until_of_use(node, self._seat)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await node.stop()
        if self._seat is not None:
            self._seat.leave()
        await send({"type": "lifespan.shutdown.complete"})


async def _until_of_use(node: Node, seat: Seat) -> None:
    """Let those who come be taken in by other workers, until this one would; for a while, and as long as others do."""
    status, loop = node.status, asyncio.get_running_loop()
    until = loop.time() + min(STARTING_SECONDS, STARTED_SECONDS - process.age_seconds())
    while seat.others_serve and not (status.has_started or status.is_draining) and loop.time() < until:
        await asyncio.sleep(LOOK_SECONDS)


async def _leave_to_others(seat: Seat, handler: Callable[..., Any]) -> None:
    """Let in nobody any more to whom a worker that drains is of no use, where others do."""
    await asyncio.sleep(TOGETHER_SECONDS)  # where all are told to drain, none of them serves by then
    if seat.others_serve:
        log.info("new clients are left to the other workers")
        adapter.let_nobody_in(handler)


def _drain_on_signals(node: Node, seat: Seat | None) -> None:
    """Put draining before what the web server does on a signal; a second signal does that at once.

    Where a supervisor says when that is, a terminal's signal is for it alone, and a service manager's may come twice.
    """
    loop = asyncio.get_running_loop()
    is_supervised = seat is not None and seat.is_ours
    if is_supervised:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)
        if not callable(previous) or previous is signal.default_int_handler:
            continue

        async def leave(number: int = number, previous: Any = previous) -> None:
            if seat is not None and seat.shares_a_port:
                node.own(_leave_to_others(seat, previous))
            await node.drain()
            adapter.leave(previous, number)

        def begin_to_leave(leave: Any = leave) -> None:
            node.own(leave())

        def handle(
            number: int, frame: Any, previous: Any = previous, begin_to_leave: Any = begin_to_leave
        ) -> None:
            if node.status.is_draining:
                if not is_supervised:
                    previous(number, frame)
            else:
                loop.call_soon_threadsafe(begin_to_leave)

        try:
            signal.signal(number, handle)
        except ValueError:
            return  # not the main thread: whoever runs us there stops us otherwise


def settings_of(config: Config, certificates: Certificates | None = None) -> adapter.Settings:
    """What uvicorn is told. Raises `ConfigError` where a certificate cannot be used."""
    serving = (certificates or Certificates(config)).serving
    return adapter.Settings(
        port=config.port if config.is_port_given else None,
        packet_bytes=config.limits.packetBytes,
        trusted_proxies=tuple(config.trustedProxies),
        has_access_log=config.logging,
        ssl_context=serving,
    )


def create_app(config: Config) -> Application:
    """The ASGI application of one node.

    Raises `ConfigError` for certificates that cannot be read.
    """
    return Application(config)


_app: Application | None = None


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    return load()


def load() -> Application:
    """`app`, built at the first asking from the `config.json` found as `docs/configuration.md` says.

    For servers that look a name up by other ways than Python's: `hypercorn 'collab_server.app:load()'`.
    """
    global _app
    if _app is None:
        hangup.listen()
        try:
            loaded = load_config()
            found = loaded.config
            workers = adapter.workers()
            logs.configure(
                is_detailed=found.logging,
                log_format=found.logFormat,
                log_file=found.logFile,
                is_shared=workers > 1,
            )
            seat = seat_under(os.getppid(), workers) if workers > 1 else None
            _app = Application(loaded.config, load_config, seat)
        except FolderError as error:
            log.error("the workers of this node cannot meet: %s", error)
            raise SystemExit(1) from None
        except ConfigError as error:
            for problem in error.problems:
                print(problem, file=sys.stderr)  # noqa: T201 - there is no log yet
            raise SystemExit(2) from None
        _app.warn(loaded.warnings)
    return _app
