"""Servers that hand sessions over to each other: whichever a request reaches, the one that has the session answers."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from collab_server.demo.embedded import free_port
from collab_server.domain.keys import KeyRing
from collab_server.realtime.engine import asgi_bytes, handing, requests
from collab_server.realtime.engine.bounds import Bounds
from collab_server.realtime.engine.session import Refusal
from collab_server.realtime.handover import channel, tunnels
from collab_server.realtime.handover.ids import HOME_BYTES, SealedIds
from collab_server.realtime.handover.keys import HandoverKeys
from collab_server.realtime.handover.listener import Where
from collab_server.realtime.handover.words import Said
from tests.harness.certificates import write_certificates
from tests.harness.homes import KEYS, Handing, Neighbours
from tests.harness.waiting import until

from .conftest import DEADLINE_SECONDS, WAYS, Served, echo_engine, serve_application, wait_until
from .test_bounds import on_loop, upgrade_request

POLL = "/engine.io/?EIO=4&transport=polling"
SOCKET = "/engine.io/?EIO=4&transport=websocket"
REFUSALS = [value for value in vars(requests).values() if isinstance(value, Refusal)]


@dataclass(frozen=True, slots=True)
class One:
    """One of several servers."""

    handing: Handing
    served: Served

    scheme: str = "http"
    is_asgi: bool = False

    @property
    def url(self) -> str:
        return self.served.url.replace("http", self.scheme, 1)

    @property
    def handed(self) -> int:
        """How much it has handed over."""
        figures = self.handing.elsewhere.figures
        return figures.requests + figures.websockets

    @property
    def place(self) -> Any:
        """Where it listens for the others."""
        assert self.handing.listener is not None
        wait_until(lambda: self.handing.listener.places)
        return self.handing.listener.places[0]


Start = Callable[..., One]


@contextmanager
def starting(*, transport: str = "lean") -> Iterator[Start]:
    """Starts servers that know each other, by name; with this transport."""
    with ExitStack() as stack:
        neighbours = Neighbours()
        environment = stack.enter_context(pytest.MonkeyPatch.context())

        def start(
            name: str,
            *,
            keys: KeyRing = KEYS,
            path: Path | None = None,
            tls: dict[str, Any] | None = None,
            transport: str = transport,
            **options: Any,
        ) -> One:
            environment.setenv("COLLAB_TRANSPORT", transport)
            handing = Handing(neighbours, name, keys=keys, path=None if path is None else str(path))
            server = echo_engine(elsewhere=handing.elsewhere, **options)
            served = stack.enter_context(
                serve_application(handing.application(server), server, **WAYS["lean"], **(tls or {}))
            )
            one = One(handing, served, "http" if tls is None else "https", transport == "asgi")
            assert one.place
            return one

        yield start


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers of one test."""
    with starting() as start:
        yield start


@pytest.fixture(params=["lean", "asgi"])
def start_either(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts servers of one test, with either transport."""
    with starting(transport=request.param) as start:
        yield start


ASGI = {"asgi": "abc", "asgi and lean": "bc"}
"""Which of three have the plain ASGI way."""


@pytest.fixture(scope="module", params=["tcp", "unix", "tls", *ASGI])
def three(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[list[One]]:
    """Three of them, shared; they reach each other by TCP or on one machine, clients reach them by TLS, or two or all
    have the plain ASGI way."""
    folder = write_certificates(tmp_path_factory.mktemp("folder"))
    tls = {"ssl_keyfile": folder / "key.pem", "ssl_certfile": folder / "cert.pem"}
    with starting() as start:
        yield [
            start(
                name,
                path=folder / name if request.param == "unix" else None,
                tls=tls if request.param == "tls" else None,
                transport="asgi" if name in ASGI.get(request.param, "") else "lean",
            )
            for name in "abc"
        ]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=False)  # whoever has the certificate
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
    ) as session:
        yield session


async def handshake(http: aiohttp.ClientSession, one: One) -> str:
    """A new session's id."""
    async with http.get(one.url + POLL) as answer:
        opening = json.loads((await answer.text())[1:])
        sid: str = opening["sid"]
        return sid


async def poll(http: aiohttp.ClientSession, one: One, sid: str) -> tuple[int, str]:
    async with http.get(f"{one.url}{POLL}&sid={sid}") as answer:
        return answer.status, await answer.text()


async def post(http: aiohttp.ClientSession, one: One, sid: str, body: str) -> tuple[int, str]:
    async with http.post(f"{one.url}{POLL}&sid={sid}", data=body) as answer:
        return answer.status, await answer.text()


UNKNOWN = (400, '{"code":1,"message":"Session ID unknown"}')


async def test_polls_and_posts_reach_the_session_from_wherever(
    three: list[One], http: aiohttp.ClientSession
) -> None:
    for home in three:
        sid = await handshake(http, home)
        for number, one in enumerate(three * 2):
            asked = asyncio.create_task(poll(http, three[number % 3 - 1], sid))
            assert await post(http, one, sid, f"4from {number}") == (200, "ok")
            assert await asked == (200, f"4from {number}")


async def test_one_connection_carries_requests_of_many_sessions(three: list[One]) -> None:
    connector = aiohttp.TCPConnector(limit=1, ssl=False)
    async with aiohttp.ClientSession(connector=connector) as http:
        sids = [await handshake(http, one) for one in three]
        for _ in range(2):
            for number, sid in enumerate(sids):
                assert await post(http, three[0], sid, f"4{number}") == (200, "ok")
            for number, sid in enumerate(sids):
                assert await poll(http, three[0], sid) == (200, f"4{number}")


@pytest.mark.parametrize("size", [5, 900_000])
async def test_a_websocket_goes_through(three: list[One], http: aiohttp.ClientSession, size: int) -> None:
    home, other, third = three
    sid = await handshake(http, home)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}", max_msg_size=0) as websocket:
        await websocket.send_str("2probe")
        assert (await websocket.receive()).data == "3probe"
        assert await post(http, third, sid, "4beside") == (200, "ok")
        await websocket.send_str("5")
        assert (await websocket.receive()).data == "4beside"
        for _ in range(3):
            await websocket.send_str("4" + "x" * size)
            assert (await websocket.receive()).data == "4" + "x" * size
        await websocket.send_bytes(b"\0" * size)
        assert (await websocket.receive()).data == b"\0" * size
        for one in three:
            assert (await poll(http, one, sid))[0] == 400, "it has left polling"
        # A second websocket of the same session is turned away, wherever.
        async with http.ws_connect(f"{third.url}{SOCKET}&sid={sid}") as second:
            assert (await second.receive()).type is aiohttp.WSMsgType.CLOSE
        await websocket.send_str("1")
        assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE
    wait_until(lambda: sid in home.served.server.ended)
    assert home.served.server.ended[sid] == "client disconnect"


async def test_a_second_websocket_does_not_overtake_what_the_first_was_told(
    start_either: Start, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "ASIDE_SECONDS", 3600.0)
    home, other = start_either("a"), start_either("b")
    sid = await handshake(http, home)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}") as websocket:
        second = asyncio.create_task(http.ws_connect(f"{other.url}{SOCKET}&sid={sid}"))
        await asyncio.to_thread(wait_until, lambda: len(other.handing.elsewhere._pipes) == 2)
        for said, answer in (("2probe", "3probe"), ("5", None), ("4hello", "4hello")):
            await websocket.send_str(said)
            assert answer is None or (await websocket.receive()).data == answer
        assert not second.done()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await asyncio.to_thread(wait_until, lambda: len(other.handing.elsewhere._pipes) == 1)
    await asyncio.to_thread(wait_until, lambda: not other.handing.elsewhere._pipes)


async def test_what_was_handed_over_is_not_kept(start_either: Start, http: aiohttp.ClientSession) -> None:
    home, other = start_either("a"), start_either("b")
    sid, large = await handshake(http, home), "4" + "k" * 900_000
    assert await post(http, other, sid, large) == (200, "ok")
    assert await poll(http, other, sid) == (200, large)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}") as websocket:
        await websocket.send_str("2probe")
        assert (await websocket.receive()).data == "3probe"
    await asyncio.to_thread(wait_until, lambda: not other.handing.elsewhere._pipes)
    kept = [refusal for refusal in REFUSALS if refusal.__traceback__ is not None]
    assert kept == [], "their frames hold requests"


async def test_large_packets_go_both_ways(three: list[One], http: aiohttp.ClientSession) -> None:
    sid = await handshake(http, three[0])
    text = "4" + "y" * 900_000
    assert await post(http, three[1], sid, text) == (200, "ok")
    assert await poll(http, three[2], sid) == (200, text)
    assert (await post(http, three[1], sid, "4" + "y" * 1_010_000))[0] == 413


async def test_who_is_not_trusted_sends_as_little_by_another_way(
    start_either: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start_either("a", bounds=Bounds(stranger_bytes=1_000)), start_either("b")
    sid = await handshake(http, home)
    assert (await post(http, other, sid, "4" + "z" * 1_000))[0] == 413
    assert await post(http, other, sid, "4" + "z" * 900) == (200, "ok")
    for is_somebodys in (False, True):
        sid = await handshake(http, home)
        async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}") as websocket:
            await websocket.send_str("2probe")
            assert (await websocket.receive()).data == "3probe"
            await websocket.send_str("5")
            if is_somebodys:
                on_loop(home.served.server, home.served.server.trust, sid)
                on_loop(home.served.server, home.served.server.send_text, sid, "welcome")
                assert (await websocket.receive()).data == "4welcome"
                await websocket.send_str("4" + "z" * 50_000)
                assert (await websocket.receive()).data == "4" + "z" * 50_000
                continue
            transport: Any = websocket._response.connection.transport  # type: ignore[union-attr]
            transport.write(b"\x81\xfe" + struct.pack(">H", 1_001))  # what is too large is not gathered
            closed = await websocket.receive()
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_a_session_ends_with_the_poll_of_a_client_that_has_gone(
    start_either: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start_either("a"), start_either("b")
    sid = await handshake(http, home)
    asked = asyncio.create_task(poll(http, other, sid))
    session = home.served.server.sockets[sid]
    await until(lambda: session.carrier.has_poll)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    wait_until(lambda: home.served.server.ended.get(sid) == "transport error")
    assert await poll(http, other, sid) == UNKNOWN


@pytest.mark.parametrize("transport", ["lean", "asgi"])
async def test_who_leaves_before_the_home_has_answered_a_handshake_leaves_nothing_behind(
    transport: str,
    start: Start,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(asgi_bytes, "ANSWER_SECONDS", 3600.0)
    home, other = start("a", transport=transport), start("b", transport=transport)
    sid = await handshake(http, home)
    monkeypatch.setattr(home.served.server, "serve_websocket", lambda scope, websocket: None)
    host, port = other.url.removeprefix("http://").split(":")
    caplog.clear()
    with socket.create_connection((host, int(port))) as client:
        client.sendall(upgrade_request(f"{SOCKET}&sid={sid}"))
        await asyncio.to_thread(wait_until, lambda: other.handing.elsewhere._pipes)
    await asyncio.to_thread(wait_until, lambda: not other.handing.elsewhere._pipes)
    await asyncio.to_thread(wait_until, lambda: not other.served.uvicorn.server_state.tasks)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_an_answer_that_was_not_passed_on_ends_the_session(
    start_either: Start, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer asks another node once more, and nobody would know that something is missing."""
    home, other = start_either("a"), start_either("b")
    sid = await handshake(http, home)
    assert await post(http, other, sid, "4x") == (200, "ok")
    loop, listener = home.served.server.loop, home.handing.listener
    assert listener is not None
    [asked] = listener._asked
    # The other node dies with the answer in its hands.
    monkeypatch.setattr(asked, "_said", {**asked._said, Said.TAKEN: lambda payload: None})
    assert await poll(http, other, sid) == (200, "4x")
    again = asyncio.create_task(poll(http, home, sid))
    await asyncio.to_thread(wait_until, lambda: home.served.server.sockets[sid].untaken == 1)
    loop.call_soon_threadsafe(asked.channel.abort)
    assert (await again)[0] == 400
    assert home.served.server.ended[sid] == "transport error"


async def test_where_the_home_is_gone_the_client_is_told_to_begin_anew(
    start_either: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start_either("a"), start_either("b")
    sid = await handshake(http, home)
    assert await post(http, other, sid, "4x") == (200, "ok")
    assert await poll(http, other, sid) == (200, "4x")
    asked = asyncio.create_task(poll(http, other, sid))
    session = home.served.server.sockets[sid]
    await until(lambda: session.carrier.has_poll)
    # As when its process is killed: all of its connections end.
    home.served.server.loop.call_soon_threadsafe(home.handing.listener._stop)  # type: ignore[union-attr]
    assert await asked == UNKNOWN
    assert await post(http, other, sid, "4y") == UNKNOWN
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{other.url}{SOCKET}&sid={sid}")
    assert refused.value.status == 400


async def test_a_node_that_stops_lets_go_of_what_it_has_for_others(
    start_either: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start_either("a"), start_either("b")
    stays, leaves = await handshake(http, home), await handshake(http, home)
    asked = asyncio.create_task(poll(http, other, stays))
    session = home.served.server.sockets[stays]
    await until(lambda: session.carrier.has_poll)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={leaves}") as websocket:
        await websocket.send_str("2probe")
        assert (await websocket.receive()).data == "3probe"
        await websocket.send_str("5")
        await websocket.send_str("4x")
        assert (await websocket.receive()).data == "4x"
        if other.is_asgi:  # the others are told by their connections, too
            drained = asyncio.run_coroutine_threadsafe(
                other.handing.elsewhere.drain(), other.served.server.loop
            )
            await asyncio.wrap_future(drained)
        stopping = asyncio.create_task(asyncio.to_thread(other.served.stop))
        assert await asked == (200, "6"), "the client asks again, elsewhere"
        assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE
    await stopping
    wait_until(lambda: home.served.server.ended.get(leaves) == "server shutdown")
    assert stays not in home.served.server.ended
    assert await post(http, home, stays, "4still there") == (200, "ok")
    assert await poll(http, home, stays) == (200, "4still there")


async def test_who_does_not_read_by_another_way_is_put_out_all_the_same(
    start_either: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start_either("a"), start_either("b")
    sid = await handshake(http, home)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}", max_msg_size=0) as websocket:
        await websocket.send_str("2probe")
        assert (await websocket.receive()).data == "3probe"
        await websocket.send_str("5")
        transport: Any = websocket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        with suppress(ConnectionError):
            while sid not in home.served.server.ended:
                await websocket.send_str("4" + "x" * 900_000)
        assert home.served.server.ended[sid] == "outgoing queue full"
        transport.abort()


async def test_a_connection_whose_client_reads_nothing_ends_soon_after_its_session(
    three: list[One], http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(tunnels, "LEAVE_SECONDS", 0.1)
    home, other, _ = three
    sid = await handshake(http, home)
    async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}", max_msg_size=0) as websocket:
        await websocket.send_str("2probe")
        assert (await websocket.receive()).data == "3probe"
        await websocket.send_str("5")
        await websocket.send_str("4x")
        assert (await websocket.receive()).data == "4x"
        [pipe] = other.handing.elsewhere._pipes
        transport: Any = websocket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        for _ in range(400):
            if sid in home.served.server.ended:
                break
            on_loop(home.served.server, home.served.server.send_text, sid, "x" * 500_000)
            await asyncio.sleep(0.005)  # what goes on in the server's thread has its turn
        assert home.served.server.ended[sid] == "outgoing queue full"
        await asyncio.to_thread(wait_until, lambda: pipe not in other.handing.elsewhere._pipes)
        transport.abort()


# --- who is no node


def forged(one: One) -> Iterator[str]:
    """Ids of sessions that nobody has made."""
    keys = HandoverKeys()
    keys.set_epoch("an epoch", KeyRing.of(b"another installation's secret 32"))
    yield SealedIds(one.handing.elsewhere.home, keys).new()
    keys.set_epoch("another epoch", KEYS)
    yield SealedIds(one.handing.elsewhere.home, keys).new()
    real = one.handing.elsewhere.new_id()
    for place in (0, 20, 30, 53):
        yield real[:place] + ("A" if real[place] != "A" else "E") + real[place + 1 :]
    yield "A" * 54
    yield "ä" * 54
    yield real + "A"
    yield real[:22]


async def test_an_id_that_nobody_has_made_leads_nowhere(start: Start, http: aiohttp.ClientSession) -> None:
    home, other = start("a"), start("b")
    for sid in forged(home):
        assert await poll(http, other, sid) == UNKNOWN, sid
        assert await post(http, other, sid, "4x") == UNKNOWN, sid
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"{other.url}{SOCKET}&sid={sid}")
    assert other.handed == 0


async def test_a_session_that_began_on_a_websocket_stays_there(
    start: Start, http: aiohttp.ClientSession
) -> None:
    home, other = start("a"), start("b")
    async with http.ws_connect(home.url + SOCKET) as websocket:
        sid = json.loads((await websocket.receive_str())[1:])["sid"]
        assert not home.handing.elsewhere.ids.may_name_somebody(sid)
        assert await poll(http, other, sid) == UNKNOWN
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(f"{other.url}{SOCKET}&sid={sid}")
        assert other.handed == 0
        await websocket.send_str("4still here")
        assert await websocket.receive_str() == "4still here"


def test_ids_tell_nothing(start: Start) -> None:
    one, other = (start(name).handing.elsewhere for name in "ab")
    made = [one.new_id() for _ in range(200)] + [other.new_id() for _ in range(200)]
    assert len({sid[start : start + 6] for sid in made for start in (0, 24, 40)}) == 1200, "nothing repeats"
    assert {other.ids.home_of(sid) for sid in made} == {one.home, other.home}
    assert all(len(home) == HOME_BYTES for home in (one.home, other.home))


class Recorder:
    """Passes on what two nodes say to each other, and keeps what the one that connects says."""

    def __init__(self, place: Any) -> None:
        self.said = b""
        self._place = place

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._place.host, self._place.port)

        async def carry(source: asyncio.StreamReader, to: asyncio.StreamWriter, *, keeps: bool) -> None:
            while data := await source.read(65536):
                if keeps:
                    self.said += data
                to.write(data)
            to.close()

        await asyncio.gather(carry(reader, back, keeps=True), carry(there, writer, keeps=False))


async def test_who_does_not_know_the_key_says_nothing_and_hears_nothing(
    start: Start, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PROOF_SECONDS", 0.3)
    home, other = start("a"), start("b")
    sid = await handshake(http, home)
    recorder = Recorder(home.place)
    server = await asyncio.start_server(recorder, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    home.handing._announcement.note(
        handover={"home": home.handing.elsewhere.home.hex(), "at": [f"127.0.0.1:{port}"]}
    )
    assert await post(http, other, sid, "4secret words") == (200, "ok")
    assert await poll(http, other, sid) == (200, "4secret words")
    assert b"secret words" not in recorder.said
    assert sid.encode() not in recorder.said
    engine = home.served.server
    hello = recorder.said[:21]
    for attempt in (
        recorder.said,  # played again
        hello[:10],  # half, and then nothing
        hello + struct.pack(">I", 1 << 31),
        hello + struct.pack(">I", 100_000) + b"x" * 200,
        hello + struct.pack(">I", 25) + b"x" * 25,
        b"\1" + b"\0" * 20 + b"x" * 500,
        b"\x63" + hello[1:],
        f"GET {POLL}&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
        b"\x16\x03\x01" + b"\0" * 300,
    ):
        with socket.create_connection((home.place.host, home.place.port), timeout=5) as stranger:
            stranger.sendall(attempt)
            answer = await asyncio.to_thread(_all_of, stranger)
            assert len(answer) in (0, 16), "a chance at most"
    assert (await post(http, other, sid, "4on")) == (200, "ok")
    assert list(engine.sockets) == [sid]
    assert home.handing.listener is not None
    wait_until(lambda: home.handing.listener.doorkeeper.strangers >= 9)
    server.close()


def _all_of(stranger: socket.socket) -> bytes:
    said = b""
    try:
        while data := stranger.recv(4096):
            said += data
    except ConnectionError:
        pass
    return said


async def test_a_flood_of_connections_keeps_no_node_out(start: Start, http: aiohttp.ClientSession) -> None:
    home, other = start("a"), start("b")
    sid = await handshake(http, home)
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(socket.create_connection((home.place.host, home.place.port), timeout=5))
        assert await post(http, other, sid, "4in") == (200, "ok")
        assert await poll(http, other, sid) == (200, "4in")
        async with http.ws_connect(f"{other.url}{SOCKET}&sid={sid}") as websocket:
            await websocket.send_str("2probe")
            assert (await websocket.receive()).data == "3probe"


async def test_an_address_that_is_not_this_machines_is_passed_on_to_it() -> None:
    """As with a container whose port is published."""
    port = free_port()
    handing = Handing(Neighbours(), "a", where=Where("203.0.113.5", port))
    handing.application(echo_engine(elsewhere=handing.elsewhere))
    listener = handing.listener
    assert listener is not None
    task = asyncio.create_task(listener.run())
    await until(lambda: listener.places)
    assert [str(place) for place in listener.places] == [f"203.0.113.5:{port}"]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_with_other_keys_nothing_is_handed_over(start: Start, http: aiohttp.ClientSession) -> None:
    home, other = start("a"), start("b", keys=KeyRing.of(b"another installation's secret 32"))
    sid = await handshake(http, home)
    assert await poll(http, other, sid) == UNKNOWN
