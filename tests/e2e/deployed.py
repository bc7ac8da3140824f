"""The NGINX files of `deploy/` as they would be deployed: only upstream addresses, ports and folders are others."""

from __future__ import annotations

from pathlib import Path

from collab_server.demo.nginx import EmbeddedNginx
from collab_server.web import STATIC

ROOT = Path(__file__).resolve().parents[2]

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


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} should be there once"
    return text.replace(old, new)
