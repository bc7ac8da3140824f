"""The ready-made stack to compare with: python-socketio, its own `AsyncRedisManager`, rows in PostgreSQL.

What an application on it looks like when it is written with care and as the documentation shows: a comment is
stored, emitted to the topic's room, then acknowledged; what fails is acknowledged as failed. The stack has no log
to catch up from, and nothing that knows a repeated request.

Serve it with `STOCK_DATABASE` and `STOCK_REDIS` set to URLs: `uvicorn tests.faults.stock:app`.
"""

from __future__ import annotations

import json
import os
from typing import Any

import asyncpg
import socketio

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS stock_comments (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL,
        text text NOT NULL
    )
"""

manager = socketio.AsyncRedisManager(os.environ.get("STOCK_REDIS", ""))
server = socketio.AsyncServer(async_mode="asgi", client_manager=manager, cors_allowed_origins="*")
_pool: list[asyncpg.Pool] = []


async def pool() -> asyncpg.Pool:
    """The pool of connections, opened when it is first needed."""
    if not _pool:
        made = await asyncpg.create_pool(
            os.environ["STOCK_DATABASE"], min_size=1, max_size=10, timeout=5, command_timeout=5
        )
        if _pool:
            await made.close()
        else:
            _pool.append(made)
    return _pool[0]


@server.on("topic.subscribe")
async def subscribe(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    await server.enter_room(sid, payload["topic"])
    return {"ok": True}


@server.on("comment.add")
async def add(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    try:
        connections = await pool()
        id = await connections.fetchval(
            "INSERT INTO stock_comments (topic, text) VALUES ($1, $2) RETURNING id",
            payload["topic"],
            payload["text"],
            timeout=5,
        )
        event = {"topic": payload["topic"], "id": id, "text": payload["text"]}
        await server.emit("comment.added", event, room=payload["topic"])
    except Exception as error:
        return {"ok": False, "error": repr(error)}
    return {"ok": True, "id": id}


@server.on("look")
async def look(sid: str) -> dict[str, Any]:
    return {"ok": True}


_sockets = socketio.ASGIApp(server)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Socket.IO, and the two pages that the harness looks at."""
    if scope["type"] == "lifespan":
        await receive()
        await (await pool()).execute(_SCHEMA)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"].startswith("/socket.io"):
        await _sockets(scope, receive, send)
    else:
        body = json.dumps({"state": "running"}).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body})
