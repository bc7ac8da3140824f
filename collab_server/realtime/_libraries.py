"""python-engineio and python-socketio, without what only their clients use, and managers that are not ours.

With their servers they import their clients, and those aiohttp and requests, where these are installed: a fifth of the
time that a node takes to import everything. These are imported when something is first asked of them: nothing is
hidden.

python-socketio also imports redis-py and valkey-py, at once and whole, for managers that are not used here: a tenth of
a node's memory. To it alone, they are not installed.
"""

from __future__ import annotations

from collab_server.imports import when_used, without

__all__ = ["engineio", "socketio"]

with when_used("aiohttp", "requests"), without("redis", "valkey"):
    import engineio
    import socketio
