"""The peer: plain python-socketio with its AsyncRedisManager under uvicorn, at their defaults."""

from __future__ import annotations

import sys
from typing import Any

import socketio
import uvicorn

port, redis_url = int(sys.argv[1]), sys.argv[2]
server = socketio.AsyncServer(
    async_mode="asgi", client_manager=socketio.AsyncRedisManager(redis_url), cors_allowed_origins="*"
)


@server.event
async def connect(sid: str, environ: Any, auth: Any) -> None:
    if auth and auth.get("room"):
        await server.enter_room(sid, auth["room"])
    server.start_background_task(greet, sid)


async def greet(sid: str) -> None:
    await server.sleep(0.05)
    await server.emit("hello", to=sid, ignore_queue=True)


@server.event
async def pub(sid: str, room: str, data: Any) -> str:
    await server.emit("ev", data, room=room)
    return "ok"


async def announce() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    uvicorn.run(socketio.ASGIApp(server, on_startup=announce), port=port, log_level="warning")
