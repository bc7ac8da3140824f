"""What `/status`, `/health/…` and `/metrics` say, and to whom."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast

import httpx2
import psutil
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request

from collab_server import __version__
from collab_server.api.headers import SafeHeaders
from collab_server.api.operations import operations_router
from collab_server.ports import Peer
from collab_server.status import DATABASE, Counters, Dependency, Sampler, Settings, Status

REDIS = "Redis Server"
STARTED = datetime(2018, 4, 8, 2, 12, 42, tzinfo=UTC)


@dataclass
class Looked:
    """What is known of one of the node's dependencies."""

    node: Node
    name: str
    latency_seconds: float | None = None

    @property
    def problem(self) -> str | None:
        return cast("str | None", getattr(self.node, self.name))


class Node:
    """A status whose dependencies the test switches. Stands for the database and for the bus, too."""

    is_up = is_hearing = True
    nodes: ClassVar[dict[str, Peer]] = {"n2": Peer({"version": "1.2"}, 7.0)}

    def counts(self) -> dict[str, int]:
        return {"published": 7}

    def __init__(self, *, scaling: str = "horizontal") -> None:
        self.database: str | None = None
        self.is_readable = True
        self.redis: str | None = None
        self.now = STARTED
        self.counters = Counters()
        self.sampler = Sampler(every_seconds=0.01)
        database = Dependency(DATABASE, Looked(self, "database", 0.0012), clock=self._clock)
        redis = Dependency(REDIS, Looked(self, "redis"), clock=self._clock)
        self.status = Status(
            Settings(enable_tls=False, scaling=scaling, logging=True, node="n1"),
            self,
            cast("Any", self),  # the bus
            self.counters,
            [database, redis] if scaling == "horizontal" else [database],
            self.sampler,
            now=self._clock,
        )
        self.status.has_started = True

    def _clock(self) -> datetime:
        return self.now


@pytest.fixture
def node() -> Node:
    return Node()


@pytest_asyncio.fixture
async def client(node: Node) -> AsyncIterator[httpx2.AsyncClient]:
    async def may_see_verbose(request: Request) -> bool:
        return request.headers.get("x-may") == "see"

    app = FastAPI()
    app.include_router(operations_router(node.status, may_see_verbose))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(SafeHeaders(app)), base_url="http://node"
    ) as client:
        yield client


def keys(report: Any) -> Any:
    """The keys of a report in their order, all the way down."""
    return {name: keys(value) for name, value in report.items()} if isinstance(report, dict) else None


SAMPLE = json.loads(
    """{ "version":"11.0.0.720", "enableTls":false, "scaling":"horizontal", "logging":true,
      "state":"paused",
      "reason":"The following dependent services are unavailable: DB Service, Redis Server",
      "main": { "cpu":{"current":0,"max":17},
                "memory":{"current":62758912,"max":85626880},
                "connections":{"total":12,"current":4,"max":11},
                "messages":{"processed":5},
                "restCalls":{"received":3},
                "up_since":"2018-4-18 02:12:42", "pid":900 } }"""
)


def test_paused_report_has_the_documented_shape(node: Node) -> None:
    node.database = node.redis = "away"
    report = node.status.report()
    assert json.dumps(keys(report)) == json.dumps(keys(SAMPLE))
    for name in ("enableTls", "scaling", "logging", "state", "reason"):
        assert report[name] == SAMPLE[name]
    assert report["version"] == __version__
    assert report["main"]["pid"] == os.getpid()
    assert isinstance(report["main"]["cpu"]["current"], int)
    assert report["main"]["memory"]["max"] >= report["main"]["memory"]["current"] > 1_000_000


def test_running_report_has_no_reason(node: Node) -> None:
    report = node.status.report()
    assert report["state"] == "running"
    assert list(report) == [name for name in SAMPLE if name != "reason"]


@pytest.mark.parametrize(
    ("database", "redis", "named"),
    [("away", None, "DB Service"), (None, "deaf", "Redis Server")],
)
def test_reason_names_only_what_is_away(
    node: Node, database: str | None, redis: str | None, named: str
) -> None:
    node.database, node.redis = database, redis
    assert node.status.reason == f"The following dependent services are unavailable: {named}"


def test_redis_does_not_count_without_horizontal_scaling() -> None:
    node = Node(scaling="none")
    node.redis = "away"
    assert node.status.report()["state"] == "running"


def test_node_is_paused_until_it_has_started(node: Node) -> None:
    node.status.has_started = False
    assert node.status.report()["state"] == "paused"
    assert not node.status.accepts_clients()


def test_up_since_is_local_and_unpadded(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        written = node.status.report()["main"]["up_since"]
    time.tzset()
    assert written == "2018-4-7 22:12:42"
    assert re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2} \d\d:\d\d:\d\d", node.status.report()["main"]["up_since"])


def test_connections_are_counted_in_total_now_and_at_most(node: Node) -> None:
    for _ in range(3):
        node.counters.connected()
    node.counters.disconnected("transport close")
    node.counters.connected()
    node.counters.disconnected("transport close")
    assert node.status.report()["main"]["connections"] == {"total": 4, "current": 2, "max": 3}


def test_the_other_workers_learn_of_each_who_comes_and_goes() -> None:
    told: list[tuple[int, int]] = []

    class Workers:
        def connections(self, *, total: int, current: int) -> None:
            told.append((total, current))

    counters = Counters(together=cast("Any", Workers()))
    counters.connected()
    counters.connected()
    counters.disconnected("transport close")
    assert told == [(1, 1), (2, 2), (2, 1)]


def test_the_other_workers_learn_at_once_that_one_serves_and_that_it_does_not_any_more(node: Node) -> None:
    """Later would be too late: until then it is taken for one that refuses whoever comes, as those that start do."""
    told: list[tuple[bool, bool]] = []

    class Workers:
        def state(self, *, has_started: bool, is_draining: bool, lacking: int) -> None:
            told.append((has_started, is_draining))

        def __getattr__(self, name: str) -> Any:
            return lambda **_: None

    node.status.has_started = False
    node.counters.together = cast("Any", Workers())
    node.status.start()
    node.status.drain()
    assert told == [(True, False), (True, True)]


def test_since_is_the_time_of_the_last_change(node: Node) -> None:
    def since() -> str:
        return str(node.status.verbose_report()["dependencies"][DATABASE]["since"])

    node.now += timedelta(seconds=5)
    node.database = "nothing listens"
    assert since() == "2018-04-08T02:12:47.000Z"
    node.now += timedelta(seconds=5)
    node.database = "no answer"
    assert since() == "2018-04-08T02:12:47.000Z"
    node.database = None
    assert since() == "2018-04-08T02:12:52.000Z"


def test_verbose_report_adds_to_the_plain_one(node: Node) -> None:
    node.redis = "nothing comes back"
    node.is_hearing = False
    report = node.status.verbose_report()
    assert list(report)[: len(SAMPLE)] == list(SAMPLE)
    assert report["dependencies"][DATABASE] == {
        "ok": True,
        "since": "2018-04-08T02:12:42.000Z",
        "error": None,
        "latencyMs": 1.2,
    }
    assert report["dependencies"][REDIS]["error"] == "nothing comes back"
    assert report["serving"] == {"reads": True, "writes": True, "live": False}
    assert report["cluster"] == [{"node": "n2", "seenAt": 7.0, "version": "1.2"}]
    assert report["counters"]["bus_published"] == 7


async def test_sampler_notices_work(node: Node) -> None:
    sampling = asyncio.create_task(node.sampler.run())
    try:
        deadline = time.monotonic() + 5
        while node.sampler.cpu_max == 0:
            assert time.monotonic() < deadline
            sum(range(100_000))
            await asyncio.sleep(0)
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
    assert node.sampler.cpu_max >= node.sampler.cpu_current >= 0


def test_what_the_system_does_not_tell_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file descriptor left nothing under /proc can be read."""
    sampler = Sampler()
    before = sampler.memory_current

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(psutil.Process, "cpu_percent", fail)
    monkeypatch.setattr(psutil.Process, "memory_info", fail)
    sampler.sample()
    assert sampler.memory_current == before > 0


async def test_status_is_200_in_both_states_and_never_cached(node: Node, client: httpx2.AsyncClient) -> None:
    for problem, state in (("away", "paused"), (None, "running")):
        node.database = problem
        answer = await client.get("/status")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["state"] == state


async def test_who_may_not_see_verbose_gets_the_plain_answer(client: httpx2.AsyncClient) -> None:
    may = {"X-May": "see"}
    assert "dependencies" in (await client.get("/status?verbose=1", headers=may)).json()
    assert "dependencies" not in (await client.get("/status", headers=may)).json()
    answer = await client.get("/status?verbose=1")
    assert answer.status_code == 200
    assert "dependencies" not in answer.json()


async def test_live_whatever_is_away(node: Node, client: httpx2.AsyncClient) -> None:
    node.database = node.redis = "away"
    node.status.has_started = False
    assert (await client.get("/health/live")).status_code == 200


async def test_ready_while_people_can_read_and_the_node_does_not_drain(
    node: Node, client: httpx2.AsyncClient
) -> None:
    node.redis = "away"
    assert (await client.get("/health/ready")).status_code == 200
    node.database = "its disk is full"
    assert node.status.report()["state"] == "paused"
    assert (await client.get("/health/ready")).status_code == 200, "people can read"
    node.database, node.is_readable = "away", False
    answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "DB Service" in answer.json()["reason"]
    node.database, node.is_readable = None, True
    node.status.is_draining = True
    assert (await client.get("/health/ready")).status_code == 503


async def test_metrics_are_the_same_figures(node: Node, client: httpx2.AsyncClient) -> None:
    node.counters.connected()
    node.counters.messages_processed += 5
    node.counters.signed_in("socketio", "unauthenticated")
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert "collab_connections_current 1.0" in lines
    assert "collab_connections_total 1.0" in lines
    assert "collab_messages_processed_total 5.0" in lines
    assert "collab_bus_published_total 7.0" in lines
    assert 'collab_sign_ins_total{door="socketio",outcome="unauthenticated"} 1.0' in lines
    assert 'collab_errors_total{code="unauthenticated",door="socketio"} 1.0' in lines
    assert 'collab_dependency_up{service="DB Service"} 1.0' in lines


@pytest.mark.parametrize("path", ["/status", "/health/live", "/health/ready", "/metrics"])
async def test_head_is_answered(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


def test_a_report_takes_far_less_than_its_100_ms(node: Node) -> None:
    began = time.process_time()
    for _ in range(100):
        node.status.report()
    assert (time.process_time() - began) / 100 < 0.005
