"""The files of `deploy/` as they would be deployed: only addresses, ports and folders are others."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from ruamel.yaml import YAML
from typing_extensions import override

from collab_server.demo.embedded import EmbeddedServer, free_port, plain_environment
from collab_server.demo.nginx import EmbeddedNginx
from collab_server.demo.tied import TiedProcess
from collab_server.web import STATIC
from tests.harness.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"

Manifest = dict[str, Any]
"""One object of Kubernetes."""

# What the nginx.conf of Debian and of the official image has around conf.d/*.conf, as far as it matters here.
_AROUND = """\
worker_processes 2;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    types {{
        text/html html;
        text/css css;
        text/javascript js;
        image/svg+xml svg;
    }}
    access_log off;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    {conf}
}}
"""


@cache
def kustomized(folder: str) -> tuple[Manifest, ...]:
    """What `kubectl apply -k` would send of a folder of deploy/kubernetes."""
    own = Path(sys.executable).parent / "kubectl"
    kubectl = own if own.exists() else shutil.which("kubectl")
    assert kubectl is not None, "kubectl comes with the extra `test`"
    done = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return tuple(YAML(typ="safe").load_all(done.stdout))


def deployed_nginx(
    name: str, node_ports: list[int], *, port: int, folder: Path, library_port: int | None = None
) -> EmbeddedNginx:
    """NGINX on 127.0.0.1:`port` with `deploy/nginx/{name}.conf`, not started.

    With `library_port` it has what docker-compose.yml adds: the page and the stand-in Library.
    """
    conf = (ROOT / "deploy" / "nginx" / f"{name}.conf").read_text()
    for number, node_port in enumerate(node_ports, 1):
        conf = _replaced(conf, f"server node{number}:3000", f"server 127.0.0.1:{node_port}")
    conf = _replaced(conf, "listen 80;", f"listen 127.0.0.1:{port};")
    for log in ("access", "error"):
        conf = _replaced(conf, f"/var/log/nginx/{log}.log", f"{folder}/deployed-{log}.log")
    if library_port is not None:
        extra = (ROOT / "deploy" / "nginx" / "compose.conf").read_text()
        extra = _replaced(extra, "http://library:8080", f"http://127.0.0.1:{library_port}")
        extra = _replaced(extra, "root /usr/share/nginx/collaboration;", f"root {STATIC};")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compose.conf").write_text(extra)
        conf = _replaced(
            conf, "include /etc/nginx/collaboration.d/*.conf;", f"include {folder}/compose.conf;"
        )
    return EmbeddedNginx(_AROUND.format(conf=conf), folder, port=port)


@cache
def authority() -> trustme.CA:
    """Who signs the balancers' certificates."""
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """What clients of them speak TLS by."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def debians(name: str) -> Path:
    """The server that Debian's package of this name brings; the test is skipped where it is not installed."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"no {name} here: apt-get install {name}")
    return Path(found)


class HaProxy(EmbeddedServer):
    """HAProxy as Debian has it, with a configuration."""

    name = "HAProxy"
    _ask = signal.SIGTERM

    def __init__(self, config: str, folder: Path, *, port: int) -> None:
        super().__init__(port)
        self._binary = debians("haproxy")
        self._file = folder / "haproxy.cfg"
        self._file.write_text(config)
        self._log_path = folder / "haproxy.log"

    @override
    def log_text(self) -> str:
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @override
    def _spawn(self) -> TiedProcess:
        with self._log_path.open("ab") as log:
            return TiedProcess(
                [self._binary, "-db", "-f", self._file],
                output=log,
                env=plain_environment(),
                cwd=self._file.parent,
            )

    @override
    def _is_ready(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=0.5).close()
        except OSError:
            return False
        return self.is_running


def with_tls(file: str, node_ports: list[int], folder: Path) -> tuple[EmbeddedServer, int, int]:
    """What `deploy/{file}` makes, not started, with its ports for HTTPS and, where it has one, HTTP.

    `haproxy/haproxy.cfg` is of Debian's HAProxy, `debian/….conf` of Debian's NGINX, `nginx/….conf` of the wheel's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    https, http = free_port(), free_port()
    kind, name = file.split("/")
    text = (ROOT / "deploy" / ("nginx" if kind == "debian" else kind) / name).read_text()
    for number, port in enumerate(node_ports, 1):
        for address in (f"10.0.0.{number}:3000", f"node{number}:3000"):
            text = text.replace(address, f"127.0.0.1:{port}")
    assert ":3000" not in text
    leaf = authority().issue_cert("127.0.0.1")
    pems = {
        "cert.pem": b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
        "key.pem": leaf.private_key_pem.bytes(),
    }
    for pem, content in {**pems, "both.pem": b"".join(pems.values())}.items():
        (folder / pem).write_bytes(content)
        text = text.replace(f"/etc/ssl/collaboration/{pem}", str(folder / pem))
    if kind == "haproxy":
        text = _replaced(text, "bind :80\n", f"bind 127.0.0.1:{http}\n")
        text = _replaced(text, "bind :443 ", f"bind 127.0.0.1:{https} ")
        text = _replaced(text, "maxconn 50000", "maxconn 1000")  # where descriptors are few
        text = _replaced(text, "inter 1s", "inter 50ms")
        # Or a look that is not answered within 50 ms would be a failed one, on a busy machine of all nodes at once.
        text = _replaced(text, "    timeout connect 2s\n", "    timeout connect 2s\n    timeout check 5s\n")
        text = _replaced(text, "log /dev/log local0", "log stdout format raw local0")
        return HaProxy(text, folder, port=https), https, http
    text = text.replace("listen 80;", f"listen 127.0.0.1:{http};")
    text = _replaced(text, "listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;")
    for log in ("access", "error"):
        text = _replaced(text, f"/var/log/nginx/{log}.log", f"{folder}/deployed-{log}.log")
    binary = debians("nginx") if kind == "debian" else None
    return EmbeddedNginx(_AROUND.format(conf=text), folder, port=https, binary=binary), https, http


async def said_to_what_is_too_large(http: aiohttp.ClientSession, url: str, cluster: Cluster) -> str:
    """What somebody who polls through the balancer at `url` hears when they post five times what a packet may be."""
    token = await (await cluster.person("ann")).identity_token()
    poll = f"{url}/socket.io/?EIO=4&transport=polling"

    async def ask(sid: str = "", body: Any = None) -> str:
        method = "GET" if body is None else "POST"
        async with http.request(method, f"{poll}{sid and '&sid='}{sid}", data=body) as answer:
            assert answer.status == 200 or body is not None
            return await answer.text()

    sid = json.loads((await ask())[1:])["sid"]
    await ask(sid, f"40{json.dumps({'identityToken': token})}")
    heard = ""
    while "server.hello" not in heard:
        heard += await ask(sid)
    posting = asyncio.create_task(ask(sid, BytesIO(b'427["me",{"text":"' + b"x" * 5_000_000 + b'"}]')))
    async with asyncio.timeout(10):
        while "437[" not in heard:
            heard = await ask(sid)
    posting.cancel()  # it fails, one way or another
    await asyncio.wait([posting])
    return heard


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} should be there once"
    return text.replace(old, new)
