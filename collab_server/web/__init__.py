"""The page to try the server with: plain files, no build step, nothing from outside.

`STATIC` is the folder to serve at `/`, `HEADERS` what every answer from it must carry. The page needs the node's
`/socket.io/` and Library's `/MicroStrategyLibrary/api` at its own origin. It may be served by anything: a node in
the demo, NGINX in docker-compose.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tarfile import TarInfo

__all__ = [
    "CLIENTS",
    "CLIENT_HEADERS",
    "CONTENT_SECURITY_POLICY",
    "HEADERS",
    "PREACT",
    "SERVED",
    "SOCKET_IO",
    "STATIC",
    "tarball",
]

STATIC: Final = Path(__file__).parent / "static"

SOCKET_IO: Final = STATIC / "vendor" / "socket.io.esm.min.js"
"""socket.io-client in one module."""

PREACT: Final = STATIC / "vendor" / "htm-preact-standalone.js"
"""htm with Preact in one module."""


def _clients() -> Mapping[str, Path]:
    """Each client by its name, and the folder of its package: in the wheel beside this one, in a checkout in
    `clients/js`."""
    package = Path(__file__).parents[1]
    in_wheel = package / "_clients"
    place = in_wheel if in_wheel.is_dir() else package.parent / "clients" / "js"
    return MappingProxyType(
        {f"collab-{name}": place / name for name in ("client", "react", "panel", "strategy")}
    )


CLIENTS: Final = _clients()


SERVED: Final[Mapping[str, Path]] = MappingProxyType(
    {
        "collab-client/socket.js": SOCKET_IO,
        "collab-panel/preact.js": PREACT,
        "collab-panel/client.js": CLIENTS["collab-panel"] / "src" / "served.js",
    }
)
"""Modules that name other packages, and what a node serves in their place, so that a page needs no import map."""


def tarball(name: str) -> bytes:
    """A client as npm packs it, to be installed by its address; the same bytes for the same files."""
    import tarfile  # of no use but here

    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for part in ("package.json", "README.md", "src", "types"):
            tar.add(CLIENTS[name] / part, f"package/{part}", filter=_anybody)
    return packed.getvalue()


def _anybody(entry: TarInfo) -> TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
)

CLIENT_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # They are nobody's: any page may have them, whatever its origin may do here besides.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        # Kept, and asked about each time: modules of two versions do not fit together.
        "Cache-Control": "no-cache",
    }
)
