"""`collab_client` leaves a server that says nothing any more."""

from __future__ import annotations

import gc

from aiohttp import WSMessage, web

from collab_client import Client
from tests.harness.waiting import until

OPENED = '0{"sid":"a","upgrades":[],"pingInterval":50,"pingTimeout":50}'
GREETED = '42["server.hello",{"user":{"id":"A","name":"Ann"},"node":"silent","resumeToken":"t"}]'


async def test_a_connection_to_a_server_that_has_gone_silent_is_closed() -> None:
    heard: list[WSMessage] = []

    async def fall_silent(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        await socket.send_str(OPENED)
        await socket.receive()
        await socket.send_str('40{"sid":"b"}')
        await socket.send_str(GREETED)
        heard.append(await socket.receive())
        return socket

    application = web.Application()
    application.router.add_get("/socket.io/", fall_silent)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gc.disable()  # which would close it, sooner or later
    try:
        async with Client(site.name, {"identityToken": "x"}) as client:
            await client.live()
            await until(lambda: heard, 20, "the silent server is left")
    finally:
        gc.enable()
        await runner.cleanup()
