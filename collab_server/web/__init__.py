"""The page to try the server with: plain files, no build step, nothing from outside.

`STATIC` is the folder to serve at `/`, `HEADERS` what every answer from it must carry. The page needs the node's
`/socket.io/` and Library's `/MicroStrategyLibrary/api` at its own origin. It may be served by anything: a node in
the demo, NGINX in docker-compose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["CONTENT_SECURITY_POLICY", "HEADERS", "STATIC"]

STATIC: Final = Path(__file__).parent / "static"

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
