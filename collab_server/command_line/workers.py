"""Running a node of several workers."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import socket
from collections.abc import Callable

from collab_server import hangup, logs
from collab_server.app import Application
from collab_server.config import ConfigError, LoadedConfig
from collab_server.config.renewal import Certificates
from collab_server.contract.schemas import field_names
from collab_server.realtime import process
from collab_server.realtime.lean import adapter, listening
from collab_server.workers.figures import Figures
from collab_server.workers.folder import FolderError, Held
from collab_server.workers.seat import Seat, new_node_name
from collab_server.workers.supervisor import Supervisor
from collab_server.workers.tallies import Tallies

from .outcome import DONE, FAILED

__all__ = ["serve_by_workers"]

log = logging.getLogger(__name__)

IMPORTED_LATE = (
    "collab_server.realtime.lean.http",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "httpcore2",
    "anyio._backends._asyncio",
    "encodings.idna",
)
"""What a worker would import when it starts, each for itself: so one that is started again is back in no time."""


def serve_by_workers(loaded: LoadedConfig, read: Callable[[], LoadedConfig], *, host: str, port: int) -> int:
    """Run a node of `cpus` workers until it is told to stop; the exit status. Raises `ConfigError`."""
    config = loaded.config
    node = new_node_name()
    logs.speak_as(node)
    Application.warn(loaded.warnings)
    Certificates(config)  # what is wrong with them is said once, and before a port is opened
    try:
        bound = listening.sockets_at(host, port)
    except OSError as error:
        log.error("cannot listen on port %d%s: %s", port, listening.of(host), error.strerror)
        return FAILED
    try:
        held = Held()
    except FolderError as error:
        log.error("the workers of this node cannot meet: %s", error)
        return FAILED
    figures = Figures()
    tallies = Tallies(figures)
    process.allow_many_connections()
    for module in IMPORTED_LATE:
        importlib.import_module(module)
    field_names()
    gc.collect()
    gc.freeze()  # what is there stays as it is, so that all can share it

    def run(number: int, end: socket.socket) -> int:
        row = figures.row(number)
        tallies.begin(number)
        seat = Seat(node, number, config.workers, os.getppid(), held, figures, row, tallies)
        hangup.listen()
        app = Application(config, read, seat)
        was_served = adapter.serve(app, app.settings, feed=adapter.Feed(end, row))
        return DONE if was_served else FAILED

    def look_again() -> None:
        try:
            found = read().config
            logs.configure(
                is_detailed=found.logging,
                log_format=found.logFormat,
                log_file=found.logFile,
                is_shared=True,
            )
        except ConfigError:
            pass  # which the workers say

    try:
        return Supervisor(bound, config.workers, figures, run, look_again).serve()
    finally:
        held.let_go()
