"""Engine.IO protocol 4, case by case, on every way to run."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import aiohttp
import pytest

from collab_server.realtime.engine import marks as marking
from collab_server.realtime.engine.bounds import KnownBy
from tests.harness.waiting import Stopwatch

from .conftest import CALM, PING_INTERVAL, PING_TIMEOUT, Served, echo_engine, serve, wait_until

POLL = "/engine.io/?EIO=4&transport=polling"
SOCKET = "/engine.io/?EIO=4&transport=websocket"

CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


async def open_polling(http: aiohttp.ClientSession, served: Served) -> str:
    async with http.get(served.url + POLL) as answer:
        text = await answer.text()
    return str(json.loads(text[1:])["sid"])


async def get(http: aiohttp.ClientSession, served: Served, path: str) -> tuple[int, str]:
    async with http.get(served.url + path) as answer:
        return answer.status, await answer.text()


async def post(http: aiohttp.ClientSession, served: Served, path: str, data: str) -> tuple[int, str]:
    async with http.post(served.url + path, data=data) as answer:
        return answer.status, await answer.text()


async def is_closed(websocket: aiohttp.ClientWebSocketResponse) -> bool:
    """Read to the end: True if the server closes."""
    while True:
        if (await websocket.receive(timeout=20)).type in CLOSED:
            return True


# --- handshake


async def test_polling_handshake_opens_a_session(http: aiohttp.ClientSession, hasty: Served) -> None:
    status, text = await get(http, hasty, POLL)
    assert status == 200
    assert text[0] == "0"
    opening = json.loads(text[1:])
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", opening.pop("sid")), "128 bits of chance"
    assert opening == {
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


async def test_websocket_handshake_opens_a_session(http: aiohttp.ClientSession, engine: Served) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        text = await websocket.receive_str()
    assert text[0] == "0"
    assert json.loads(text[1:])["upgrades"] == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("transport=polling", 5),
        ("EIO=abc&transport=polling", 5),
        ("EIO=3&transport=polling", 5),
        ("EIO=4", 0),
        ("EIO=4&transport=abc", 0),
        ("EIO=4&transport=polling&sid=unknown", 1),
        ("EIO=4&transport=websocket", 3),
    ],
)
async def test_wrong_handshake_is_refused_with_400(
    http: aiohttp.ClientSession, engine: Served, query: str, code: int
) -> None:
    status, text = await get(http, engine, f"/engine.io/?{query}")
    assert status == 400
    assert json.loads(text)["code"] == code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_handshake_by_another_method_is_refused_with_400(
    http: aiohttp.ClientSession, engine: Served, method: str
) -> None:
    async with http.request(method, engine.url + POLL) as answer:
        assert answer.status == 400
        assert (await answer.json())["code"] == 2


async def test_session_is_not_reached_by_another_method(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    async with http.put(f"{engine.url}{POLL}&sid={sid}", data="4x") as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    "query",
    [
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=polling",
        "EIO=4&transport=websocket&sid=unknown",
    ],
)
async def test_wrong_websocket_handshake_is_refused(
    http: aiohttp.ClientSession, engine: Served, query: str
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{engine.url}/engine.io/?{query}")
    assert refused.value.status == 400


async def test_options_are_answered_for_another_origin(http: aiohttp.ClientSession, engine: Served) -> None:
    headers = {"Origin": "http://elsewhere.example"}
    async with http.options(engine.url + POLL, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "http://elsewhere.example"


@pytest.mark.parametrize(("offered", "answered"), [("mstr", "mstr"), ("v1.x, mstr", "v1.x"), ("", None)])
async def test_the_first_subprotocol_offered_is_answered(
    http: aiohttp.ClientSession, engine: Served, offered: str, answered: str | None
) -> None:
    offer = {"Sec-WebSocket-Protocol": offered} if offered else {}
    sid = await open_polling(http, engine)
    for path in (SOCKET, f"{SOCKET}&sid={sid}", f"{SOCKET}&sid={sid}"):  # the last one is turned away
        async with http.ws_connect(engine.url + path, headers=offer) as websocket:
            assert websocket._response.headers.getall("Sec-WebSocket-Protocol", []) == (
                [answered] if answered else []
            )
            if path == SOCKET:
                assert (await websocket.receive_str()).startswith("0{")


async def test_other_paths_are_not_ours(http: aiohttp.ClientSession, engine: Served) -> None:
    assert (await get(http, engine, "/elsewhere"))[0] == 404


# --- messages


@pytest.mark.parametrize("payload", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="])
async def test_polling_carries_packets(http: aiohttp.ClientSession, engine: Served, payload: str) -> None:
    path = f"{POLL}&sid={await open_polling(http, engine)}"
    assert await post(http, engine, path, payload) == (200, "ok")
    assert await get(http, engine, path) == (200, payload)


@pytest.mark.parametrize("payload", ["abc", "", "4x\x1e", "2", "9", "bA"])
async def test_polling_payload_that_is_none_ends_the_session(
    http: aiohttp.ClientSession, engine: Served, payload: str
) -> None:
    path = f"{POLL}&sid={await open_polling(http, engine)}"
    assert (await post(http, engine, path, payload))[0] == 400
    assert (await get(http, engine, path))[0] == 400


async def test_invalid_utf8_ends_the_session(http: aiohttp.ClientSession, engine: Served) -> None:
    path = f"{engine.url}{POLL}&sid={await open_polling(http, engine)}"
    async with http.post(path, data=b"4\xff") as answer:
        assert answer.status == 400
    async with http.get(path) as answer:
        assert answer.status == 400


async def test_more_than_sixteen_packets_are_taken(http: aiohttp.ClientSession, engine: Served) -> None:
    path = f"{POLL}&sid={await open_polling(http, engine)}"
    payload = "\x1e".join(f"4{number}" for number in range(100))
    assert await post(http, engine, path, payload) == (200, "ok")
    received = ""
    while received.count("4") < payload.count("4"):
        status, text = await get(http, engine, path)
        assert status == 200
        received += ("\x1e" if received else "") + text
    assert received == payload


async def test_second_poll_ends_the_session(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    path = f"{POLL}&sid={sid}"
    first = asyncio.ensure_future(get(http, engine, path))
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
    assert (await get(http, engine, f"{path}&t=burst"))[0] == 400
    assert await first == (200, "1")
    assert (await get(http, engine, path))[0] == 400


async def polled(http: aiohttp.ClientSession, served: Served, *marks: str) -> list[tuple[int, str]]:
    """What a handshake and polls with these marks are answered; before each poll something is there to be polled."""
    _, text = await get(http, served, POLL + marks[0])
    path = f"{POLL}&sid={json.loads(text[1:])['sid']}"
    answers = []
    for number, mark in enumerate(marks[1:]):
        await post(http, served, path, f"4{number}")
        answers.append(await get(http, served, path + mark))
    return answers


@pytest.mark.parametrize(
    "marks",
    [
        ["&t=PXYZ.a", "&t=PXYZ.b", "&t=PXYZ.b", "&t=PXYZ.c"],
        ["", "&t=1795901500.4739738", "&t=1795901500.4739738", "&t=1795901500.48"],
        ["&t=fixed", "&t=fixed&n=1", "&t=fixed&n=2", "&t=fixed&n=2", "&t=fixed&n=3"],
    ],
)
async def test_poll_that_comes_again_ends_the_session(
    http: aiohttp.ClientSession, engine: Served, marks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marking, "CLOCK_STANDS_SECONDS", 3600.0)  # however soon it comes
    *answers, again, later = await polled(http, engine, *marks)
    assert answers == [(200, f"4{number}") for number in range(len(answers))]
    assert (again[0], later[0]) == (400, 400)


@pytest.mark.parametrize("mark", ["", "&t=", "&t=1795901500", "&t=1795901500123", "&t=fixed", "&at=PXYZ.b"])
async def test_polls_that_clients_mark_alike_are_answered(
    http: aiohttp.ClientSession, engine: Served, mark: str
) -> None:
    assert await polled(http, engine, *[mark] * 5) == [(200, f"4{number}") for number in range(4)]


@pytest.mark.parametrize(
    ("greeted_at", "answered"),
    [((47.0, 47.0, 47.016), 3), ((47.0, 47.0, 47.004), 0), ((47.0, 47.016, 47.032), 0)],
    ids=["stands still", "takes small steps", "has not stood still"],
)
async def test_a_clock_that_stood_still_while_its_client_was_greeted_marks_polls_alike(
    http: aiohttp.ClientSession,
    engine: Served,
    greeted_at: tuple[float, ...],
    answered: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marking, "CLOCK_STANDS_SECONDS", 3600.0)
    server = engine.server

    async def poll(at: float) -> int:
        server.loop.call_soon_threadsafe(server.send_text, sid, "hello")
        return (await get(http, engine, f"{POLL}&sid={sid}&t=17959015{at:.3f}"))[0]

    _, text = await get(http, engine, POLL)
    sid = json.loads(text[1:])["sid"]
    assert [await poll(at) for at in greeted_at] == [200] * 3
    assert await post(http, engine, f"{POLL}&sid={sid}", "4I want to hear all") == (200, "ok")
    statuses = [await poll(48.5) for _ in range(4)]
    assert statuses == [200] * (answered + 1) + [400] * (3 - answered)


async def test_cancelled_poll_ends_the_session(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    path = f"{POLL}&sid={sid}"
    poll = asyncio.ensure_future(get(http, engine, path))
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
    poll.cancel()
    await asyncio.to_thread(wait_until, lambda: session.closing)
    assert (await get(http, engine, path))[0] == 400


async def test_websocket_carries_text_and_bytes(http: aiohttp.ClientSession, engine: Served) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        await websocket.receive_str()
        await websocket.send_str("4hello ✓")
        assert await websocket.receive_str() == "4hello ✓"
        await websocket.send_bytes(b"\x01\x02\x03\x04")
        assert await websocket.receive_bytes() == b"\x01\x02\x03\x04"
        for size in (125, 126, 65535, 65536, 300_000):
            await websocket.send_str("4" + "x" * size)
            assert await websocket.receive_str() == "4" + "x" * size


@pytest.mark.parametrize("packet", ["abc", "", "2", "7", "bA"])
async def test_websocket_packet_that_is_none_closes_at_once(
    http: aiohttp.ClientSession, engine: Served, packet: str
) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        await websocket.receive_str()
        watch = Stopwatch()
        await websocket.send_str(packet)
        assert await is_closed(websocket)
        assert watch.seconds < CALM["ping_interval"]


@pytest.mark.parametrize("packet", ["0", "5", "6"])
async def test_packet_without_meaning_is_ignored(
    http: aiohttp.ClientSession, engine: Served, packet: str
) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        await websocket.receive_str()
        await websocket.send_str(packet)
        await websocket.send_str("4still here")
        assert await websocket.receive_str() == "4still here"


# --- heartbeat


async def test_polling_heartbeat(http: aiohttp.ClientSession, way: dict[str, Any]) -> None:
    with serve(echo_engine(ping_interval=0.1, ping_timeout=60), **way) as served:
        path = f"{POLL}&sid={await open_polling(http, served)}"
        for _ in range(3):
            assert await get(http, served, path) == (200, "2")
            assert await post(http, served, path, "3") == (200, "ok")


async def test_poll_after_the_ping_timeout_is_refused(http: aiohttp.ClientSession, hasty: Served) -> None:
    sid = await open_polling(http, hasty)
    await asyncio.to_thread(wait_until, lambda: sid in hasty.server.ended)
    assert (await get(http, hasty, f"{POLL}&sid={sid}"))[0] == 400


async def test_pong_that_came_while_the_server_slept_is_taken(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    with serve(echo_engine(ping_interval=0.1, ping_timeout=0.3), **way) as served:
        path = f"{POLL}&sid={await open_polling(http, served)}"
        assert await get(http, served, path) == (200, "2")
        served.server.loop.call_soon_threadsafe(time.sleep, 1.6)
        assert await post(http, served, path, "3") == (200, "ok")


async def test_websocket_heartbeat_is_exact(http: aiohttp.ClientSession, way: dict[str, Any]) -> None:
    in_time = 0
    with serve(echo_engine(ping_interval=PING_INTERVAL, ping_timeout=60), **way) as served:
        asked = time.monotonic()
        async with http.ws_connect(served.url + SOCKET) as websocket:
            await websocket.receive_str()
            for number in range(1, 31):
                started = time.monotonic()
                assert await websocket.receive_str() == "2"
                assert number * (PING_INTERVAL - 0.02) < time.monotonic() - asked
                in_time += time.monotonic() - started < PING_INTERVAL + 0.1
                await websocket.send_str("3")
                if in_time == 3:  # a busy machine may be late, but not each time
                    break
    assert in_time == 3


async def test_websocket_that_does_not_answer_pings_is_closed(
    http: aiohttp.ClientSession, hasty: Served
) -> None:
    for _ in range(10):
        asked = time.monotonic()
        async with http.ws_connect(hasty.url + SOCKET) as websocket:
            sid = json.loads((await websocket.receive_str())[1:])["sid"]
            opened = time.monotonic()  # later than the server's clock began to run, on a busy machine by much
            assert await websocket.receive_str() == "2"
            assert await is_closed(websocket)
            closed = time.monotonic()
            assert PING_INTERVAL + PING_TIMEOUT - 0.02 < closed - asked
        await asyncio.to_thread(wait_until, lambda sid=sid: sid in hasty.server.ended)
        assert hasty.server.ended[sid] == "ping timeout"
        if closed - opened < PING_INTERVAL + PING_TIMEOUT + 0.2:
            break
    else:  # a busy machine may be late, but not each time
        pytest.fail("it was late ten times")


async def test_intervals_below_a_second_are_told_in_milliseconds(way: dict[str, Any]) -> None:
    with serve(echo_engine(ping_interval=0.125, ping_timeout=0.0625), **way) as served:
        async with aiohttp.ClientSession() as http, http.get(served.url + POLL) as answer:
            opening = json.loads((await answer.text())[1:])
    assert (opening["pingInterval"], opening["pingTimeout"]) == (125, 62)


# --- close


async def test_client_closes_a_polling_session(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    path = f"{POLL}&sid={sid}"
    poll = asyncio.ensure_future(get(http, engine, path))
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
    assert await post(http, engine, path, "1") == (200, "ok")
    assert await poll == (200, "6")
    assert (await get(http, engine, path))[0] == 400
    await asyncio.to_thread(wait_until, lambda: sid in engine.server.ended)
    assert engine.server.ended[sid] == "client disconnect"


async def test_client_closes_a_websocket_session(http: aiohttp.ClientSession, engine: Served) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        await websocket.receive_str()
        await websocket.send_str("1")
        assert await is_closed(websocket)


async def test_websocket_that_goes_away_is_noticed_at_once(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        sid = json.loads((await websocket.receive_str())[1:])["sid"]
    await asyncio.to_thread(wait_until, lambda: sid in engine.server.ended)
    assert engine.server.ended[sid] == "transport close"


async def test_server_closes_either_transport(http: aiohttp.ClientSession, engine: Served) -> None:
    """That is how draining works: no Socket.IO packet, so that clients come back."""
    sid = await open_polling(http, engine)
    path = f"{POLL}&sid={sid}"
    poll = asyncio.ensure_future(get(http, engine, path))
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
    async with http.ws_connect(engine.url + SOCKET) as websocket:
        await websocket.receive_str()
        engine.server.loop.call_soon_threadsafe(engine.server.close_all, "test")
        assert await is_closed(websocket)
    assert await poll == (200, "6")  # a close would be final for python-socketio's clients
    assert (await get(http, engine, path))[0] == 400


# --- upgrade


async def test_polling_is_upgraded_to_a_websocket(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        assert await get(http, engine, f"{POLL}&sid={sid}") == (200, "6")
        await websocket.send_str("5")
        await websocket.send_str("4hello")
        assert await websocket.receive_str() == "4hello"


async def test_waiting_poll_is_let_go_by_the_probe(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    poll = asyncio.ensure_future(get(http, engine, f"{POLL}&sid={sid}"))
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        assert await poll == (200, "6")


async def test_what_was_not_polled_follows_the_upgrade_first(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    assert await post(http, engine, f"{POLL}&sid={sid}", "4one\x1e4two") == (200, "ok")
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        await websocket.send_str("5")
        await websocket.send_str("4three")
        assert [await websocket.receive_str() for _ in range(3)] == ["4one", "4two", "4three"]


async def test_late_requests_on_the_old_transport_are_refused(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        await websocket.send_str("5")
        session = engine.server.sockets[sid]
        await asyncio.to_thread(wait_until, lambda: session.upgraded)
        assert (await get(http, engine, f"{POLL}&sid={sid}"))[0] == 400
        assert (await post(http, engine, f"{POLL}&sid={sid}", "4late"))[0] == 400
        await websocket.send_str("4hello")
        assert await websocket.receive_str() == "4hello"


@pytest.mark.parametrize("is_upgraded", [False, True])
async def test_second_websocket_for_a_session_is_closed_at_once(
    http: aiohttp.ClientSession, engine: Served, is_upgraded: bool
) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        if is_upgraded:
            await websocket.send_str("5")
            session = engine.server.sockets[sid]
            await asyncio.to_thread(wait_until, lambda: session.upgraded)
        async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as second:
            assert await is_closed(second)
        if not is_upgraded:
            await websocket.send_str("5")
        await websocket.send_str("4hello")
        assert await websocket.receive_str() == "4hello"


async def test_websocket_that_does_not_probe_is_closed_and_polling_goes_on(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        for packet in ("4not yet", "nonsense", "4nor this"):
            await websocket.send_str(packet)
        assert await is_closed(websocket)
    assert await post(http, engine, f"{POLL}&sid={sid}", "4hello") == (200, "ok")
    assert await get(http, engine, f"{POLL}&sid={sid}") == (200, "4hello")


async def test_a_session_that_ends_while_it_is_upgraded_takes_its_websocket_along(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        assert await post(http, engine, f"{POLL}&sid={sid}", "1") == (200, "ok")
        assert await is_closed(websocket)


async def test_upgrade_that_is_given_up_leaves_polling(http: aiohttp.ClientSession, engine: Served) -> None:
    sid = await open_polling(http, engine)
    async with http.ws_connect(f"{engine.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
    session = engine.server.sockets[sid]
    await asyncio.to_thread(wait_until, lambda: session.upgrading is None)
    assert await post(http, engine, f"{POLL}&sid={sid}", "4hello") == (200, "ok")
    assert await get(http, engine, f"{POLL}&sid={sid}") == (200, "4hello")


async def test_requests_on_one_connection_are_answered_in_order(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    host, port = engine.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    target = f"{POLL}&sid={sid} HTTP/1.1\r\nHost: {host}\r\n"
    body = "4piped"
    writer.write(f"POST {target}Content-Length: {len(body)}\r\n\r\n{body}GET {target}\r\n".encode())
    received = b""
    async with asyncio.timeout(20):
        while b"4piped" not in received:
            received += await reader.read(65536)
    assert received.index(b"ok") < received.index(b"4piped")
    writer.close()
    await writer.wait_closed()


# --- handlers


async def test_connect_handler_may_refuse(http: aiohttp.ClientSession, way: dict[str, Any]) -> None:
    server = echo_engine()

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> Any:
        return "not you" if "no=1" in environ["QUERY_STRING"] else None

    with serve(server, **way) as served:
        assert await get(http, served, f"{POLL}&no=1") == (401, '"not you"')
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{served.url}{SOCKET}&no=1")
        assert refused.value.status == 401
        assert not server.sockets
        assert (await get(http, served, POLL))[0] == 200


async def test_what_a_connect_handler_sends_follows_the_opening(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    server = echo_engine()

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await server.send(sid, "first")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await server.send(sid, "second")

    with serve(server, **way) as served:
        async with http.ws_connect(served.url + SOCKET) as websocket:
            received = [await websocket.receive_str() for _ in range(3)]
            assert received[0][0] == "0"
            assert received[1:] == ["4first", "4second"]
        status, text = await get(http, served, POLL)
        assert status == 200
        assert text[0] == "0"


async def test_new_clients_are_sent_elsewhere_while_draining(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    with serve(echo_engine(), **way) as served:
        path = f"{POLL}&sid={await open_polling(http, served)}"
        served.server.accepts_handshakes = lambda: False
        async with http.get(served.url + POLL) as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(served.url + SOCKET)
        assert refused.value.status == 503
        assert await post(http, served, path, "4hello") == (200, "ok")


# --- a session's id alone


async def test_a_session_whose_client_keeps_cookies_is_nothing_without_its_cookie(
    way: dict[str, Any],
) -> None:
    server = echo_engine(known_by=KnownBy(bond_cookie="bond"))
    with serve(server, **way) as served:
        jar = aiohttp.CookieJar(unsafe=True)
        async with (
            aiohttp.ClientSession(cookie_jar=jar) as browser,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as thief,
        ):
            async with browser.get(served.url + POLL) as opening:
                attributes = opening.headers["Set-Cookie"]
                assert attributes.endswith("; HttpOnly; SameSite=Lax")
                sid = json.loads((await opening.text())[1:])["sid"]
            path = f"{POLL}&sid={sid}"
            assert await post(browser, served, path, "4mine") == (200, "ok")
            assert (await post(thief, served, path, "4stolen"))[0] == 400
            assert (await get(thief, served, path))[0] == 400
            for cookie in ("bond=", f"bond={'x' * 22}", f"bonds={sid}", "; ; bond; bond=a; bond=b"):
                async with thief.get(served.url + path, headers={"Cookie": cookie}) as refused:
                    assert refused.status == 400
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await thief.ws_connect(f"{served.url}{SOCKET}&sid={sid}")
            assert await get(browser, served, path) == (200, "4mine")
            async with browser.get(served.url + POLL) as another:  # its bond is known already
                assert "Set-Cookie" not in another.headers
                sid = json.loads((await another.text())[1:])["sid"]
            assert (await post(thief, served, f"{POLL}&sid={sid}", "4stolen"))[0] == 400
            async with browser.ws_connect(f"{served.url}{SOCKET}&sid={sid}") as websocket:
                await websocket.send_str("2probe")
                assert await websocket.receive_str() == "3probe"


async def test_a_client_that_keeps_no_cookies_needs_none(way: dict[str, Any]) -> None:
    server = echo_engine(known_by=KnownBy(bond_cookie="bond"))
    with serve(server, **way) as served:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            headers = {"Cookie": "bond=of another; other=1", "X-Forwarded-Proto": "https"}
            async with http.get(served.url + POLL, headers=headers) as opening:
                assert opening.headers["Set-Cookie"].endswith("; Secure")
                sid = json.loads((await opening.text())[1:])["sid"]
            path = f"{POLL}&sid={sid}"
            assert await post(http, served, path, "4one") == (200, "ok")
            assert await get(http, served, path) == (200, "4one")
            async with http.ws_connect(f"{served.url}{SOCKET}&sid={sid}") as websocket:
                await websocket.send_str("2probe")
                assert await websocket.receive_str() == "3probe"
