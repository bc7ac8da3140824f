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
import engineio.async_client, engineio.client
before = [name for name in ("aiohttp", "requests", "cryptography.x509") if name in sys.modules]
error = engineio.async_client.aiohttp.ClientError
import aiohttp, aiohttp.abc, requests.exceptions
print(json.dumps({
    "before": before,
    "is_it": error is aiohttp.ClientError and aiohttp.abc is sys.modules["aiohttp.abc"],
    "is_it_too": engineio.client.requests.exceptions is requests.exceptions,
}))
"""


WITHOUT_REDIS = """
import sys
import collab_server.app
assert not {"redis", "valkey"} & set(sys.modules)
import collab_server.cluster.sentinels, redis.asyncio, valkey
"""


def test_a_node_that_has_no_sentinels_does_not_import_a_client_of_redis() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_REDIS], cwd=ROOT, timeout=60, check=True)


def test_clients_that_a_node_does_not_use_are_not_imported_and_not_hidden_either() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {"before": [], "is_it": True, "is_it_too": True}
