"""The descriptor of a connection: what is written there and what its transport is given arrive in one order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop
from typing_extensions import override

from collab_server.realtime.engine.sending import FEW, Sending
from collab_server.realtime.engine.session import Session
from collab_server.realtime.lean.shortcut import Shortcut
from collab_server.realtime.lean.websocket import WebSocket

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
CLIENTS = FEW + 2
BUFFER_BYTES = 8_192
SECONDS = 5.0
"""So long it takes at most, which is a hundred times what it takes."""


class Connections:
    """Those of a test. uvloop waits for ever for any that is there when it is closed, also where a test has failed."""

    def __init__(self) -> None:
        self._transports: list[asyncio.Transport] = []
        self._clients: list[socket.socket] = []

    async def connect(self, protocol: Callable[[], Any]) -> tuple[asyncio.Transport, Any, socket.socket]:
        """A new one: its transport and protocol, and the client's end."""
        ours, theirs = socket.socketpair()
        self._clients.append(theirs)
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        transport, made = await asyncio.get_running_loop().create_connection(protocol, sock=ours)
        self._transports.append(transport)
        return transport, made, theirs

    async def end(self) -> None:
        """End all."""
        for transport in self._transports:
            transport.abort()
        for client in self._clients:
            client.close()
        await asyncio.sleep(0)


Test = Callable[[Connections], Coroutine[Any, Any, None]]


def _play(loop: Callable[[], asyncio.AbstractEventLoop], test: Test) -> None:
    async def play() -> None:
        connections = Connections()
        try:
            async with asyncio.timeout(SECONDS):
                await test(connections)
        finally:
            await connections.end()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(play())


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
        self._shut()

    def write(self, ready: list[bytes]) -> bool:
        self._transport.write(b"".join(ready))
        return True

    def belong(self, session: Session) -> None:
        self._session = session

    def close(self) -> None:
        self._transport.close()


def _read(client: socket.socket) -> bytes:
    try:
        return client.recv(1_000_000)
    except BlockingIOError:
        return b""


async def _tell_clients_that_read_now_and_then(connections: Connections) -> None:
    chance = random.Random(3)
    sessions: dict[str, Session] = {}
    sending = Sending(sessions, logging.getLogger("nobody"))
    roster = sending.roster()
    clients: dict[str, socket.socket] = {}
    lines: list[Line] = []
    reader = cast("Any", SimpleNamespace(reroute=sending.reroute, settle=sending.settle, burst=1))
    for number in range(CLIENTS):
        sid = f"s{number}"
        _, line, clients[sid] = await connections.connect(Line)
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


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_reads_now_and_then_gets_all_in_order(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    _play(loop, _tell_clients_that_read_now_and_then)


async def _take_over_a_transport_that_is_full(connections: Connections) -> None:
    transport, _, client = await connections.connect(asyncio.Protocol)
    answer = b"a" * 500_000  # the protocol before is told that it waits, and nobody after it
    transport.write(answer)
    line = Line()
    line.connection_made(transport)
    transport.set_protocol(line)
    assert line.descriptor() == -1
    got = b""
    while line.descriptor() < 0:
        await asyncio.sleep(0)
        got += _read(client)
    os.write(line.descriptor(), b"b")
    assert got + _read(client) == answer + b"b"


@pytest.mark.parametrize("loop", LOOPS)
def test_what_waited_before_it_was_a_websocket_is_not_overtaken(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    _play(loop, _take_over_a_transport_that_is_full)


class Forgetful:
    """An owner that cannot end a session."""

    burst = 1

    def __init__(self, sending: Sending) -> None:
        self.reroute, self.settle, self.farewells = sending.reroute, sending.settle, self

    def stop(self, carrier: object) -> None: ...

    def carrier_lost(self, session: Session, carrier: object) -> None:
        raise ValueError("cannot be ended")


async def _give_a_number_away(connections: Connections) -> None:
    sessions: dict[str, Session] = {}
    sending = Sending(sessions, logging.getLogger("nobody"))
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    roster, owner = sending.roster(), cast("Any", Forgetful(sending))
    clients: list[socket.socket] = []
    websockets: list[WebSocket] = []
    for number in range(CLIENTS):
        transport, _, client = await connections.connect(asyncio.Protocol)
        websocket = WebSocket(cast("Any", None), transport, set())
        transport.set_protocol(websocket)
        session = sessions[f"s{number}"] = Session(
            owner, f"s{number}", most_bytes=1, pace=owner, is_trusted=True
        )
        websocket.accept(session, [])
        session.carrier = websocket
        roster.add(session.sid)
        clients.append(client)
        websockets.append(websocket)
    sending.send_to(roster, [b"one"])
    await asyncio.sleep(0)
    taken = websockets[0].descriptor()
    clients[0].close()
    while not websockets[0].is_closing:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    out, to_another = os.pipe()
    assert min(out, to_another) <= taken  # the loop has closed it
    if out == taken:
        out = os.dup(out)
    os.dup2(to_another, taken)
    sending.send_to(roster, [b"two"])
    await asyncio.sleep(0)
    assert [_read(client) for client in clients[1:]] == [b"onetwo"] * (CLIENTS - 1)
    os.set_blocking(out, False)
    with pytest.raises(BlockingIOError):
        os.read(out, 100)
    for one in {out, to_another, taken}:
        os.close(one)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_number_that_was_given_away_is_not_written_to_even_if_its_session_cannot_be_ended(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    _play(loop, _give_a_number_away)
