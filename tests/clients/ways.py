"""The way from a client to a node, and what may happen to it."""

from __future__ import annotations

from tests.faults.proxy import Proxy


def url_of(proxy: Proxy) -> str:
    """Where a client finds the node by this way."""
    host, port = proxy.address
    return f"http://{host}:{port}"
