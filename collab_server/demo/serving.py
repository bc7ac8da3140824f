"""An ASGI app on loopback, in a thread of this process.

What it is: `LoopbackServer`, for the stand-in Library of the demo and of the tests.

What it promises: answers from the moment `start` returns; may be stopped and started again on the same port, with
the same app. What runs concurrently: one thread with an event loop, in which the app alone lives. How it stops:
`stop` closes the port and every connection within two seconds; the thread is a daemon, so it never keeps the process.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, Self

from .embedded import HOST
from .tied import EmbeddedError

__all__ = ["LoopbackServer"]


class LoopbackServer:
    """Serves `app` on `host`:`port` of this machine; port 0 chooses one, which is then kept."""

    host = HOST

    def __init__(self, app: Any, *, port: int = 0, name: str = "server") -> None:
        self.name = name
        self.port = port
        self._app = app
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def start(self, timeout: float = 10) -> Self:
        """Open the port and wait until the app answers. Raises `EmbeddedError`, and `OSError` for a taken port."""
        import uvicorn  # takes a while to import, which `collab-server --help` need not

        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(256)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )

        def serve() -> None:
            with listener:
                server.run(sockets=[listener])

        self._server = server
        self._thread = threading.Thread(target=serve, name=self.name, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + timeout
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise EmbeddedError(f"{self.name} does not start")
            time.sleep(0.005)
        return self

    def stop(self, timeout: float = 5) -> None:
        """Close the port and every connection; may be called twice. Raises `EmbeddedError`."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise EmbeddedError(f"{self.name} does not stop")
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
