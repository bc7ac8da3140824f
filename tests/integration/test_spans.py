"""One comment, told by spans: from a call on one node over PostgreSQL and the bus to a client of another."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from collab_server.demo.embedded import free_port
from tests.conftest import MakeCluster
from tests.harness.clients import new_session
from tests.harness.traces import heard_of
from tests.harness.waiting import until

service = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra `tracing` is not installed"
)
CALLER = "b7ad6b7169203331"
WORDS = "Words that are nobody's business"


@dataclass(slots=True)
class Collector:
    """What OpenTelemetry's collector is to a node: takes spans over HTTP and keeps them."""

    url: str
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(body=service.ExportTraceServiceResponse().SerializeToString())

    def spans(self) -> list[Span]:
        """All so far, in the order in which they began."""
        found = []
        for body in self.bodies:
            for resource in service.ExportTraceServiceRequest.FromString(body).resource_spans:
                of_node = _values(resource.resource.attributes)
                assert of_node["service.name"] == "collab-server"
                for scope in resource.scope_spans:
                    for one in scope.spans:
                        found.append(Span(str(of_node["service.instance.id"]), one, _values(one.attributes)))
        return sorted(found, key=lambda span: int(span.raw.start_time_unix_nano))


@dataclass(frozen=True, slots=True)
class Span:
    node: str
    raw: Any
    facts: dict[str, str | int]

    @property
    def name(self) -> str:
        return str(self.raw.name)

    @property
    def id(self) -> str:
        return str(self.raw.span_id.hex())

    @property
    def parent(self) -> str:
        return str(self.raw.parent_span_id.hex())


def _values(attributes: Any) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in attributes}


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    port = free_port()
    made = Collector(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_one_comment_is_followed_from_a_call_to_a_client_of_another_node(
    make_cluster: MakeCluster, topic: str
) -> None:
    async with collector() as collected:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        cluster = await make_cluster(nodes=2, env=env)
        here, there = [(await node.status(is_verbose=True))["node"] for node in cluster.nodes]
        reader = await cluster.client(1, "bob")
        await reader.call("topic.subscribe", {"topic": topic})
        person = await cluster.person("ann")
        token = await person.identity_token()
        url = f"{cluster[0].url}/api/topics/{topic}/comments"
        traces: list[str] = []
        for number in range(5):
            trace, request = secrets.token_hex(16), f"the-request-{number}"
            traces.append(trace)
            headers = {
                "X-MSTR-IdentityToken": token,
                "X-Request-ID": request,
                "traceparent": f"00-{trace}-{CALLER}-01",
            }
            async with (
                new_session(keeps_cookies=False) as http,
                http.post(url, json={"text": WORDS}, headers=headers) as answer,
            ):
                assert answer.status == 201
                assert answer.headers["X-Request-ID"] == request
                seq = str((await answer.json())["seq"])
            if await heard_of(cluster[1], topic, [seq]) == {seq: request}:
                break
        await reader.wait_for("comment.added")

        def of_this() -> dict[tuple[str, str], Span]:
            return {
                (span.node, span.name): span for span in collected.spans() if span.raw.trace_id.hex() == trace
            }

        call, far = (here, "POST /api/topics/{topic}/comments"), (there, "deliver comment.added")
        await until(lambda: {call, far} <= of_this().keys(), 10, "both ends are told")
        spans = of_this()
        way = [call, (here, "comment.add"), (here, "announce comment.added"), (there, "hear an event"), far]
        assert [spans[one].parent for one in way] == [CALLER, *(spans[one].id for one in way[:-1])]
        assert spans[here, "insert comments"].parent == spans[here, "comment.add"].id
        assert spans[far].facts["collab.clients"] == 1
        assert spans[call].facts["http.response.status_code"] == 201
        assert {span.facts["collab.trace"] for span in spans.values()} == {request}
        first = [span for span in collected.spans() if span.raw.trace_id.hex() == traces[0]]
        asked = [span for span in first if "collab.outcome" in span.facts]
        assert asked, "the calls of Library that it took"
        assert {span.parent for span in asked} <= {span.id for span in first}
        told = b"".join(collected.bodies)
        for secret in (WORDS, token, person.id, person.name, topic):
            assert secret.encode() not in told, secret
        assert request in cluster[1].log
        assert trace not in cluster[1].log
    # The collector is gone, and holds nobody up.
    for _ in range(5):
        await reader.call("comment.add", {"topic": topic, "text": "more"})
    await reader.close()
    assert await cluster[1].stop() == 0
