"""What a node imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ASKING = """
import json, sys
import collab_server.app
named = ("redis", "valkey", "aiohttp", "requests", "cryptography.x509")
before = [name for name in named if name in sys.modules]
import engineio.async_client, engineio.client
before += [name for name in named if name in sys.modules]
error = engineio.async_client.aiohttp.ClientError
import aiohttp, aiohttp.abc, requests.exceptions
import collab_server.cluster.sentinels, redis.asyncio, valkey
print(json.dumps({
    "before": before,
    "is_it": error is aiohttp.ClientError and aiohttp.abc is sys.modules["aiohttp.abc"],
    "is_it_too": engineio.client.requests.exceptions is requests.exceptions,
    "is_redis": "redis.asyncio" in sys.modules,
}))
"""


def test_clients_that_a_node_does_not_use_are_not_imported_and_not_hidden_either() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert found == {"before": [], "is_it": True, "is_it_too": True, "is_redis": True}
