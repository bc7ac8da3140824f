"""Socket.IO protocol 5, case by case, on every way to run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from collab_server.realtime.strangers import StrangerLimits
from tests.harness.waiting import Stopwatch

from .conftest import CALM, Served, echo_sockets, serve, wait_until

POLL = "/socket.io/?EIO=4&transport=polling"
SOCKET = "/socket.io/?EIO=4&transport=websocket"


class Client:
    """A websocket that speaks Socket.IO by hand; pings are answered on the way."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket

    async def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            if isinstance(packet, str):
                await self.websocket.send_str(packet)
            else:
                await self.websocket.send_bytes(packet)

    async def receive(self) -> Any:
        """The next packet that is no ping; None if the server has closed."""
        while True:
            message = await self.websocket.receive(timeout=20)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return None
            if message.data == "2":
                await self.websocket.send_str("3")
                continue
            return message.data

    async def is_put_out(self) -> bool:
        """True if the server closes, and not because it misses a pong."""
        watch = Stopwatch()
        while await self.receive() is not None:
            pass
        return watch.seconds < CALM["ping_interval"]


@asynccontextmanager
async def connect(served: Served, packet: str | None = "40") -> AsyncIterator[Client]:
    """A client that has sent `packet`, and read the two answers to it."""
    async with aiohttp.ClientSession() as http, http.ws_connect(served.url + SOCKET) as websocket:
        client = Client(websocket)
        await client.receive()
        if packet is not None:
            await client.send(packet)
            assert (await client.receive()).startswith("40")
            assert await client.receive() == '42["auth",{}]'
        yield client


# --- connecting


@pytest.mark.parametrize(
    ("packet", "prefix", "event"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ("40/custom", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom?a=b,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_what_a_connect_handler_emits_follows_the_answer(
    sockets: Served, packet: str, prefix: str, event: str
) -> None:
    async with connect(sockets, None) as client:
        await client.send(packet)
        answer = await client.receive()
        assert answer.startswith(prefix)
        assert list(json.loads(answer.removeprefix(prefix))) == ["sid"]
        assert await client.receive() == event


async def test_unknown_namespace_is_refused(sockets: Served) -> None:
    async with connect(sockets, None) as client:
        await client.send("40/random")
        assert await client.receive() == '44/random,{"message":"Invalid namespace"}'


async def test_client_that_never_connects_is_closed(way: dict[str, Any]) -> None:
    server = echo_sockets(connect_seconds=0.2)
    with serve(server, **way) as served:
        async with connect(served, None) as client:
            assert await client.receive() is None
        async with connect(served) as client:
            await asyncio.sleep(0.3)
            await client.send('42["message",1]')
            assert await client.receive() == '42["message-back",1]'


async def test_client_that_leaves_its_last_namespace_and_stays_is_closed(way: dict[str, Any]) -> None:
    server = echo_sockets(connect_seconds=0.2)
    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send("40/custom")
            assert (await client.receive()).startswith("40/custom")
            assert (await client.receive()).startswith("42/custom")
            await client.send("41/custom,")
            await asyncio.sleep(0.3)  # it is in another one still
            await client.send('42["message",1]')
            assert await client.receive() == '42["message-back",1]'
            await client.send("41")
            assert await client.receive() is None


async def test_of_clients_that_are_connected_to_nothing_the_oldest_goes_for_one_too_many(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    server = echo_sockets(strangers=StrangerLimits(most=3, most_per_address=3, most_bytes=1_000_000))
    with serve(server, **way) as served:
        url = f"{served.url}/socket.io/?EIO=4&transport="
        async with connect(served), connect(served), connect(served), connect(served) as known:
            sids = []
            for _ in range(3):
                async with http.get(url + "polling") as opening:
                    sids.append(json.loads((await opening.text())[1:])["sid"])
            async with http.post(f"{url}polling&sid={sids[0]}", data="40") as answer:  # is none any more
                assert answer.status == 200
            await asyncio.to_thread(wait_until, lambda: len(server.newcomers.strangers) == 2)
            async with connect(served, None), connect(served, None) as last:
                await asyncio.to_thread(wait_until, lambda: sids[1] not in server.eio.sockets)
                assert sids[0] in server.eio.sockets
                assert sids[2] in server.eio.sockets
                await last.send("40")
                assert (await last.receive()).startswith("40")
                await last.send("41")  # is one again
                await asyncio.to_thread(wait_until, lambda: len(server.newcomers.strangers) == 3)
            await known.send('42["message",1]')
            assert await known.receive() == '42["message-back",1]'
        await asyncio.to_thread(wait_until, lambda: len(server.newcomers.strangers) <= 1)


async def test_connect_handler_refuses_with_its_error(way: dict[str, Any]) -> None:
    import socketio

    server = echo_sockets()

    @server.on("connect")
    async def connect_handler(sid: str, environ: Any, auth: Any) -> None:
        await server.emit("never", to=sid)
        raise socketio.exceptions.ConnectionRefusedError("unauthenticated", {"code": 1})

    with serve(server, **way) as served:
        async with connect(served, None) as client:
            await client.send("40")
            assert await client.receive() == '44{"message":"unauthenticated","data":{"code":1}}'
            await client.send("40/custom")
            assert (await client.receive()).startswith("40/custom")


async def test_connect_handler_that_fails_is_answered(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = echo_sockets()

    @server.on("connect")
    async def connect_handler(sid: str, environ: Any, auth: Any) -> None:
        raise RuntimeError("a bug of the application")

    with serve(server, **way) as served:
        async with connect(served, None) as client:
            await client.send("40")
            assert await client.receive() == '44{"message":"Internal error"}'
    assert [record.exc_info for record in caplog.records if record.message == "connect handler error"]
    caplog.clear()


# --- leaving


async def test_connection_stays_when_the_main_namespace_is_left(way: dict[str, Any]) -> None:
    with serve(echo_sockets(ping_interval=0.1), **way) as served:
        async with connect(served) as client:
            await client.send("41")
            assert (await client.websocket.receive(timeout=20)).data == "2"


async def test_leaving_one_namespace_keeps_the_other(sockets: Served) -> None:
    async with connect(sockets) as client:
        await client.send("40/custom")
        assert (await client.receive()).startswith("40/custom")
        assert await client.receive() == '42/custom,["auth",{}]'
        await client.send("41/custom", '42["message","to main"]')
        assert await client.receive() == '42["message-back","to main"]'


# --- messages


async def test_event(sockets: Served) -> None:
    async with connect(sockets) as client:
        await client.send('42["message",1,"2",{"3":[true]}]')
        assert await client.receive() == '42["message-back",1,"2",{"3":[true]}]'


async def test_event_with_attachments(sockets: Served) -> None:
    async with connect(sockets) as client:
        places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
        await client.send(f'452-["message",{places}]', b"\x01\x02\x03", b"\x04\x05\x06")
        assert await client.receive() == f'452-["message-back",{places}]'
        assert await client.receive() == b"\x01\x02\x03"
        assert await client.receive() == b"\x04\x05\x06"


async def test_event_with_ack(sockets: Served) -> None:
    async with connect(sockets) as client:
        await client.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await client.receive() == '43456[1,"2",{"3":[false]}]'


async def test_event_with_attachments_and_ack(sockets: Served) -> None:
    async with connect(sockets) as client:
        places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
        await client.send(f'452-789["message-with-ack",{places}]', b"\x01\x02\x03", b"\x04\x05\x06")
        assert await client.receive() == f"462-789[{places}]"
        assert await client.receive() == b"\x01\x02\x03"
        assert await client.receive() == b"\x04\x05\x06"


async def test_server_asks_for_an_ack(sockets: Served) -> None:
    async with connect(sockets) as client:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            sid = next(reversed(sockets.server.manager.rooms["/"][None]))
            sockets.server.start_background_task(call, sid)

        async def call(sid: str) -> None:
            answer = await sockets.server.call("question", ("a", b"\x01"), to=sid, timeout=20)
            loop.call_soon_threadsafe(answered.set_result, answer)

        sockets.server.loop.call_soon_threadsafe(ask)
        question = await client.receive()
        assert question.startswith("451-")
        assert await client.receive() == b"\x01"
        number = question.removeprefix("451-").partition("[")[0]
        await client.send(f'461-{number}["yes",{{"_placeholder":true,"num":0}}]', b"\x02")
        assert await answered == ("yes", b"\x02")


async def test_polling_carries_socketio(sockets: Served, http: aiohttp.ClientSession) -> None:
    async with http.get(sockets.url + POLL) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    url = f"{sockets.url}{POLL}&sid={sid}"
    received = ""
    async with http.post(url, data='40\x1e42["message","e"]\x1e421["message-with-ack",2]') as answer:
        assert await answer.text() == "ok"
    while received.count("\x1e") < 3:
        async with http.get(url) as answer:
            received += ("\x1e" if received else "") + await answer.text()
    assert received.split("\x1e")[1:] == ['42["auth",{}]', '42["message-back","e"]', "431[2]"]


# --- what is malformed closes at once

MALFORMED: list[tuple[str | bytes, ...]] = [
    ("4abc",),
    ("4",),
    ("4-0",),
    ("4 0",),
    ("4false",),
    ("4null",),
    ('4""',),
    ("4[]",),
    ("47",),
    ("42{}",),
    ("42",),
    ("42[]",),
    ("42[{}]",),
    ("42[null]",),
    ("42[true]",),
    ('42["connect"]',),
    ('42["disconnect"]',),
    ('42abc["message-with-ack",1]',),
    ('42["message",NaN]',),
    ('42["message",Infinity]',),
    ('42["message"',),
    ('42["message"]x',),
    ('421-["message"]',),
    ('45["message"]',),
    ('451["message"]',),
    ('4511-["message"]',),
    ("43[1]",),
    ("431{}",),
    ("44",),
    ('44{"message":"no"}',),
    ("41{}",),
    ("40",),
    ("40[1]",),
    ("40/other,[1]",),
    ('42/custom,["message",1]',),
    ('42/nowhere,["message",1]',),
    (b"\x01",),
    ('451-["message",{"_placeholder":true,"num":0}]', '42["message"]'),
    ('451-["message",{"_placeholder":true,"num":0}]', '4{"a":1}'),
    ('451-["message",{"_placeholder":true,"num":1}]', b"\x01"),
    ('451-["message",{"_placeholder":true,"num":-1}]', b"\x01"),
    ('451-["message",{"_placeholder":true,"num":"0"}]', b"\x01"),
    ('42["message",' + "[" * 500 + "]" * 500 + "]",),
    ('42["message",' + "[" * 200_000 + "]" * 200_000 + "]",),
    ('42["message",' + '{"a":' * 500 + "1" + "}" * 500 + "]",),
]


@pytest.mark.parametrize("packets", MALFORMED, ids=lambda packets: str(packets[0])[:40])
async def test_malformed_packet_closes_at_once(sockets: Served, packets: tuple[str | bytes, ...]) -> None:
    async with connect(sockets) as client:
        await client.send(*packets)
        assert await client.is_put_out()


@pytest.mark.parametrize("packet", ["4abc", '42["message",1]', '430["x"]', "40[]", "4/", '4"40"', '4["x"]'])
async def test_malformed_first_packet_closes_at_once(sockets: Served, packet: str) -> None:
    async with connect(sockets, None) as client:
        await client.send(packet)
        assert await client.is_put_out()


async def test_ack_that_nobody_waits_for_is_ignored(sockets: Served) -> None:
    async with connect(sockets) as client:
        await client.send("43999[1]", '42["message",1]')
        assert await client.receive() == '42["message-back",1]'


@pytest.mark.parametrize(
    "packet",
    ['42["unheard of",1]', "42[7,1]", '42["message",' + "[" * 100 + "]" * 100 + "]"],
)
async def test_odd_but_right_packets_are_taken(sockets: Served, packet: str) -> None:
    async with connect(sockets) as client:
        await client.send(packet, '42["message","next"]')
        while (received := await client.receive()) != '42["message-back","next"]':
            assert received is not None


async def test_event_handler_that_fails_harms_nobody(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = echo_sockets()

    @server.on("fail")
    async def fail(sid: str) -> None:
        raise RuntimeError("a bug of the application")

    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('421["fail"]', '42["message",1]')
            assert await client.receive() == '42["message-back",1]'
    assert [record for record in caplog.records if record.message == "event handler error"]
    caplog.clear()


# --- rooms and order


async def test_rooms_reach_their_members_in_order(way: dict[str, Any]) -> None:
    server = echo_sockets()

    @server.on("join")
    async def join(sid: str, room: str) -> str:
        await server.enter_room(sid, room)
        return room

    @server.on("tell")
    async def tell(sid: str, room: str, count: int) -> None:
        for number in range(count):
            await server.emit("told", number, room=room, skip_sid=sid)
            await server.emit("own", number, to=sid)

    with serve(server, **way) as served:
        async with connect(served) as one, connect(served) as two, connect(served) as other:
            await one.send('421["join","r"]')
            assert await one.receive() == '431["r"]'
            await two.send('421["join","r"]')
            assert await two.receive() == '431["r"]'
            await one.send('42["tell","r",200]')
            assert [await one.receive() for _ in range(200)] == [f'42["own",{n}]' for n in range(200)]
            assert [await two.receive() for _ in range(200)] == [f'42["told",{n}]' for n in range(200)]
            await other.send('42["message",1]')
            assert await other.receive() == '42["message-back",1]'


async def test_ready_text_and_emits_keep_their_order(way: dict[str, Any]) -> None:
    server = echo_sockets()

    @server.on("go")
    async def go(sid: str) -> str:
        eio_sid = server.manager.eio_sid_from_sid(sid, "/")
        await server.emit("a", to=sid)
        server.eio.send_text(eio_sid, '2["b"]')
        await server.eio.send(eio_sid, '2["c"]')
        server.eio.broadcast([eio_sid, "nobody"], b'2["d"]')
        return "done"

    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('421["go"]')
            received = [await client.receive() for _ in range(5)]
            assert received == ['42["a"]', '42["b"]', '42["c"]', '42["d"]', '431["done"]']


async def test_session_is_there_until_the_disconnect_handler_has_run(way: dict[str, Any]) -> None:
    server = echo_sockets()
    kept = []

    @server.on("message")
    async def message(sid: str, value: Any) -> None:
        async with server.session(sid) as session:
            session["value"] = value

    @server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        kept.append((await server.get_session(sid), server.transport(sid), reason))

    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('42["message",7]')
        await asyncio.to_thread(wait_until, lambda: kept)
        assert kept[0][0] == {"value": 7}
        assert kept[0][2] == "transport close"
        await asyncio.to_thread(wait_until, lambda: not server.eio.sockets and not server.environ)


async def test_server_disconnects_a_client(way: dict[str, Any]) -> None:
    server = echo_sockets()

    @server.on("go")
    async def go(sid: str) -> None:
        await server.emit("bye", to=sid)
        await server.disconnect(sid)

    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('42["go"]')
            assert await client.receive() == '42["bye"]'
            assert await client.receive() == "41"


async def test_rooms_are_those_of_the_stock_class() -> None:
    server = echo_sockets()
    manager = server.manager
    one, two = [await manager.connect(f"eio{number}", "/") for number in (1, 2)]
    await server.enter_room(one, "r")
    await server.enter_room(one, "s")
    await server.enter_room(two, "s")
    assert sorted(server.rooms(one)) == sorted([one, "r", "s"])
    assert dict(manager.get_participants("/", "s")) == {one: "eio1", two: "eio2"}
    assert sorted(manager.get_participants("/", ["r", "s", two])) == sorted([(one, "eio1"), (two, "eio2")])
    assert list(manager.get_participants("/", one)) == [(one, "eio1")]
    assert len(dict(manager.get_participants("/", None))) == 2
    with pytest.raises(ValueError, match="cannot enter a sid room"):
        await server.enter_room(one, two)
    with pytest.raises(ValueError, match="cannot close a sid room"):
        await server.close_room(one)
    await server.leave_room(one, "s")
    await server.close_room("r")
    assert server.rooms(one) == [one]
    assert manager.eio_sid_from_sid(one, "/") == "eio1"
    await manager.disconnect(one, "/")
    await manager.disconnect(two, "/")
    assert server.rooms(one) == []
    assert manager.rooms == {}
    assert manager._rooms_of == {}
