"""The plain ASGI way under uvicorn: its websockets with our bounds."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any

import aiohttp
import pytest

from collab_server.realtime import build_asgi
from collab_server.realtime.engine import both, deadlines, frames
from tests.harness.waiting import until

from .conftest import DEADLINE_SECONDS, WAYS, echo_engine, serve, serve_application, wait_until
from .test_bounds import Raw, masked, on_loop, upgrade_request
from .test_engineio import SOCKET


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of these tests have the lean protocol classes switched off."""
    monkeypatch.setenv("COLLAB_TRANSPORT", "asgi")
    monkeypatch.setattr(both, "_told", set())  # what one test was told is news to the next


EARLY = {
    "a message": (masked(frames.TEXT, b"4hello"), b"\x81\x064hello"),
    "what is no frame": (b"\xff\xff\xff", struct.pack(">H", frames.PROTOCOL_ERROR)),
    "goodbye": (masked(frames.CLOSE, b"\x03\xe8"), frames.close_frame(frames.NORMAL)),
    "broken text": (masked(frames.TEXT, b"4\xff"), frames.close_frame(frames.INVALID_TEXT)),
}


@pytest.mark.parametrize("early", EARLY)
def test_what_comes_before_the_answer_to_a_handshake_waits_for_it(early: str) -> None:
    sent, answer = EARLY[early]
    server, entered = echo_engine(), []
    inner = build_asgi(server)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            entered.append(may_go := asyncio.Event())
            async with asyncio.timeout(DEADLINE_SECONDS):
                await may_go.wait()
        await inner(scope, receive, send)

    with (
        serve_application(slow, server, **WAYS["lean"]) as served,
        socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as client,
    ):
        connections: Any = served.uvicorn.server_state.connections
        client.settimeout(DEADLINE_SECONDS)
        client.sendall(upgrade_request(SOCKET))
        wait_until(lambda: entered)
        client.sendall(sent)
        wait_until(lambda: not connections or any(one._unread for one in connections))
        on_loop(server, entered[0].set)
        said = b""
        while answer not in said and (piece := client.recv(65_536)):
            said += piece
    assert said.startswith(b"HTTP/1.1 101 ")
    assert answer in said


async def test_who_is_refused_is_told_so_and_the_log_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with serve(echo_engine(), **WAYS["lean"]) as served:
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{served.url}{SOCKET}&sid=none")
    assert refused.value.status == 400
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_who_closes_but_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "FAREWELL_SECONDS", 0.2)
    server = echo_engine()
    with serve(server, **WAYS["lean"]) as served, Raw(served, receive_buffer=4096) as stalled:
        on_loop(server, server.send_text, stalled.sid, "x" * 10_000_000)
        connections: Any = served.uvicorn.server_state.connections
        await until(lambda: any(one.transport.get_write_buffer_size() for one in connections))
        stalled.socket.sendall(masked(frames.CLOSE, b"\x03\xe8"))
        await until(lambda: not connections)
