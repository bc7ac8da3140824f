"""uvicorn without a port of its own: a supervisor hands it its connections, one by one, and tells it when to go.

What a connection is made of is what uvicorn would have made of it. Ten times a second the supervisor sees, in memory
that is shared, how many connections there are, and that this process runs.

Where this process may have no more open files, what it is handed is closed by the system; so it takes nothing for a
moment, which others do meanwhile. Otherwise it would have the fewest connections, and get all of them to lose.

What runs concurrently: a task for each connection that is being made, which of TLS takes as long as its handshake. What
is left unread when this ends, the supervisor takes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

import uvicorn
from typing_extensions import override

from collab_server.workers import passing
from collab_server.workers.figures import Number, Row

__all__ = ["FedServer", "Feed"]

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Connections that are taken before anybody else gets a turn."""
REST_SECONDS = 0.5
"""So long nothing is taken where there was no open file left."""
COMPLAINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Feed:
    """Where connections come from, and where it is told how many there are."""

    end: socket.socket
    row: Row


class FedServer(uvicorn.Server):
    """See the module."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed
        self._taken = 0
        self._being_made: set[asyncio.Task[None]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._complaint_at = 0.0

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which listens nowhere; from then on connections are taken."""
        await super().startup(sockets=[])
        self._begin_to_take()

    @override
    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second."""
        self._tell()
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, then as uvicorn's."""
        if self._resting is not None:
            self._resting.cancel()
        asyncio.get_running_loop().remove_reader(self._feed.end)
        for task in list(self._being_made):
            task.cancel()
        await super().shutdown(sockets=[])

    def _begin_to_take(self) -> None:
        self._feed.row[Number.IS_TAKING] = 1
        self._tell()
        asyncio.get_running_loop().add_reader(self._feed.end, self._read)

    def _rest(self) -> None:
        """A connection has come for which there was no open file left, so it is closed: take none for a moment."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._feed.end)
        self._feed.row[Number.IS_TAKING] = 0
        self._taken += 1
        self._tell()
        self._resting = loop.call_later(REST_SECONDS, self._begin_to_take)
        if (now := time.monotonic()) >= self._complaint_at:
            self._complaint_at = now + COMPLAINT_SECONDS
            log.error("a worker can take no more connections: too many open files")

    def _tell(self) -> None:
        row = self._feed.row
        row[Number.OPEN] = len(self.server_state.connections) + len(self._being_made)
        row[Number.TAKEN] = self._taken
        row.beat()

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            said = passing.receive(self._feed.end)
            if said is None:
                return
            what, connection = said
            if connection is not None:
                self._take(socket.socket(fileno=connection))
            elif what == passing.CONNECTION:
                self._rest()
                return
            elif what == passing.LEAVE:
                self.should_exit = True
            elif what == passing.DRAIN:
                signal.raise_signal(signal.SIGTERM)
            elif not what:
                asyncio.get_running_loop().remove_reader(self._feed.end)
                log.error("the supervisor of this worker is gone; the worker stops")
                signal.raise_signal(signal.SIGTERM)
                return

    def _take(self, connection: socket.socket) -> None:
        self._taken += 1
        task = asyncio.get_running_loop().create_task(self._make(connection))
        self._being_made.add(task)
        task.add_done_callback(self._being_made.discard)
        self._tell()

    async def _make(self, connection: socket.socket) -> None:
        """A connection as uvicorn would have let it in."""
        connection.setblocking(False)
        protocol: Any = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connection, ssl=self.config.ssl
            )
        except OSError:  # of TLS too: the client has gone, or speaks something else
            self._give_up(protocol, connection)
        except asyncio.CancelledError:
            self._give_up(protocol, connection)
            raise

    def _give_up(self, protocol: Any, connection: socket.socket) -> None:
        """Close it. uvloop may have said that it is there, and then never says that it is lost; uvicorn would wait."""
        self.server_state.connections.discard(protocol)
        with contextlib.suppress(OSError):
            connection.close()
