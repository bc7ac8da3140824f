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
named = ("redis", "valkey", "aiohttp", "requests", "cryptography.x509", "greenlet", "rich", "tarfile", "difflib")
before = [name for name in named if name in sys.modules]
import fastapi.openapi.models as described
from collab_server.contract import shapes
built = [kind.__name__ for kind in (described.OpenAPI, described.Components, shapes.CommentShape)
         if kind.__pydantic_complete__]
assert described.Contact(name="Ann").name == "Ann" and shapes.UserShape(id="A", name="Ann", initials="A").id == "A"
import pydantic
class Later(pydantic.BaseModel):
    name: str
import engineio.async_client, engineio.client
before += [name for name in named if name in sys.modules]
error = engineio.async_client.aiohttp.ClientError
import aiohttp, aiohttp.abc, requests.exceptions
import collab_server.cluster.sentinels, redis.asyncio, valkey
import tarfile, rich.console, greenlet
print(json.dumps({
    "before": before,
    "built": built,
    "is_built": Later.__pydantic_complete__,
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
    assert found == {
        "before": [],
        "built": [],
        "is_built": True,
        "is_it": True,
        "is_it_too": True,
        "is_redis": True,
    }


COUNTING = """
import atexit, gc, json
before = gc.get_stats()[2]["collections"]
atexit.register(lambda: print(json.dumps([found, gc.get_freeze_count() > 0])))
import collab_server.app
found = gc.get_stats()[2]["collections"] - before
"""


def test_what_is_imported_is_not_looked_through_for_cycles_while_more_comes_nor_at_the_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [0, True]
