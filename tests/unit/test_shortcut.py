"""The descriptor of a connection: what is written there and what its transport is given arrive in one order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from typing_extensions import override

from collab_server.realtime.engine.sending import FEW, Sending
from collab_server.realtime.engine.session import Session
from collab_server.realtime.lean.shortcut import Shortcut

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
CLIENTS = FEW + 2
BUFFER_BYTES = 8_192


class Line(Shortcut):
    """A carrier that writes as it comes."""

    def __init__(self) -> None:
        super().__init__(None)
        self.was_open_at_the_end = False

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.was_open_at_the_end = self._descriptor is not None and bool(os.fstat(self._descriptor))
        self.is_closing = True

    def write(self, ready: list[bytes]) -> bool:
        self._transport.write(b"".join(ready))
        return True

    def belong(self, session: Session) -> None:
        self._session = session

    def close(self) -> None:
        self._transport.close()


async def _connect() -> tuple[Line, socket.socket]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    _, line = await asyncio.get_running_loop().create_connection(Line, sock=ours)
    return line, theirs


def _read(client: socket.socket) -> bytes:
    try:
        return client.recv(1_000_000)
    except BlockingIOError:
        return b""


async def _tell_clients_that_read_now_and_then() -> None:
    chance = random.Random(3)
    sessions: dict[str, Session] = {}
    sending = Sending(sessions, logging.getLogger("nobody"))
    roster = sending.roster()
    clients: dict[str, socket.socket] = {}
    lines: list[Line] = []
    reader = cast("Any", SimpleNamespace(reroute=sending.reroute, settle=sending.settle, burst=1))
    for number in range(CLIENTS):
        sid = f"s{number}"
        line, clients[sid] = await _connect()
        session = sessions[sid] = Session(
            reader, sid, most_bytes=1, pace=cast("Any", reader), is_trusted=True
        )
        session.carrier = cast("Any", line)
        line.belong(session)
        lines.append(line)
        roster.add(sid)
    expected = dict.fromkeys(clients, b"")
    got = dict.fromkeys(clients, b"")
    were_without: set[int] = set()
    for turn in range(200):
        data = b"%d;" % turn * chance.randrange(1, 2_000)
        sending.send_to(roster, [data])
        for sid in clients:
            expected[sid] += data
            if chance.random() < 0.1:
                sending.send(sessions[sid], b"to %d;" % turn)
                expected[sid] += b"to %d;" % turn
        await asyncio.sleep(0)
        were_without |= {number for number, line in enumerate(lines) if line.descriptor() < 0}
        for sid, client in clients.items():
            if chance.random() < 0.3:
                got[sid] += _read(client)
    assert were_without == set(range(CLIENTS))
    async with asyncio.timeout(60):
        while got != expected:
            await asyncio.sleep(0)
            for sid, client in clients.items():
                got[sid] += _read(client)
                assert expected[sid].startswith(got[sid]), sid
        while any(line.descriptor() < 0 for line in lines):  # whoever has read all has one again
            await asyncio.sleep(0)
        for line in lines:
            line.close()
        while not all(line.is_closing for line in lines):
            await asyncio.sleep(0)
    assert all(line.was_open_at_the_end and line.descriptor() < 0 for line in lines)
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_reads_now_and_then_gets_all_in_order(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_tell_clients_that_read_now_and_then())
