"""The container's health check: exits 0 when the node in this container answers `/health/ready` with 200.

It finds the port as the server does (`COLLAB_PORT`, else `port` in the configuration file, else 3000) and imports
nothing of it, so that it costs milliseconds. A node with TLS is asked over TLS; its certificate names the outside
host, so on loopback it is not verified.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
from pathlib import Path

TIMEOUT_SECONDS = 3


def setting(name: str) -> object:
    """The value of a top-level property: its environment variable before the configuration file."""
    from_environment = os.environ.get(f"COLLAB_{name.upper()}")
    if from_environment:
        return from_environment
    try:
        return json.loads(Path(os.environ.get("COLLAB_CONFIG", "config.json")).read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None


def main() -> int:
    port = int(str(setting("port") or 0)) or 3000
    if str(setting("enableTls")).lower() in {"true", "1", "yes", "on"}:
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_SECONDS, context=unverified
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
