"""What `/metrics` of real nodes says of what has just happened there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collab_server.telemetry.definitions import DEFINITIONS, PREFIX
from tests.harness.clients import Client, Failed, Refused, new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.waiting import until

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a node has told."""

    values: Mapping[Series, float]

    def __call__(self, name: str, **labels: str) -> float:
        """All series of a name that have these labels, added up."""
        wanted = labels.items()
        return sum(
            value for (one, has), value in self.values.items() if one == PREFIX + name and wanted <= has
        )


async def page_of(node: Node) -> Page:
    async with new_session(keeps_cookies=False) as http, http.get(f"{node.url}/metrics") as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return Page({(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples})


async def test_every_series_is_of_a_metric_that_is_defined(cluster: Cluster, topic: str) -> None:
    await (await cluster.client(0, "ann")).ask("comment.add", {"topic": topic, "text": "one"})
    defined = {
        row.exposed + suffix: {*row.labels, *({"le"} if suffix == "_bucket" else ())}
        for row in DEFINITIONS.values()
        for suffix in (("_bucket", "_count", "_sum") if row.kind == "histogram" else ("",))
    }
    told = (await page_of(cluster[0])).values
    ours = [(name, {label for label, _ in labels}) for name, labels in told if name.startswith(PREFIX)]
    assert len(ours) > 200
    for name, labels in ours:
        assert defined[name] == labels, name


async def test_a_sign_in_that_is_refused_is_counted_at_its_door(cluster: Cluster) -> None:
    before = await page_of(cluster[0])
    with pytest.raises(Refused):
        await Client.connect(cluster[0].url, identity_token="no such token")
    rest = await cluster.rest(0, "ann")
    await rest.get("/me")
    async with new_session() as http:
        for path, status in (("/me", 401), ("/nothing", 404)):
            async with http.get(f"{cluster[0].url}/api{path}") as answer:
                assert answer.status == status
    after = await page_of(cluster[0])

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert more("sign_ins_total", door="socketio", outcome="unauthenticated") == 1
    assert more("sign_ins_total", door="rest", outcome="unauthenticated") == 1
    assert more("sign_ins_total", door="rest", outcome="ok") == 1
    assert more("errors_total", code="unauthenticated") == 2
    assert more("errors_total", door="rest", code="not_found") == 1


async def test_errors_are_counted_by_code_and_statements_by_what_they_do(
    cluster: Cluster, topic: str
) -> None:
    client = await cluster.client(1, "ann")
    before = await page_of(cluster[1])
    added = await client.call("comment.add", {"topic": topic, "text": "one"})
    await client.call("comment.edit", {"commentId": added["comment"]["id"], "text": "two"})
    with pytest.raises(Failed):
        await client.call("comment.add", {"topic": topic, "text": ""})
    with pytest.raises(Failed):
        await client.call("comment.get", {"commentId": "00000000-0000-7000-8000-000000000000"})
    after = await page_of(cluster[1])

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert more("errors_total", door="socketio", code="invalid") == 1
    assert more("errors_total", door="socketio", code="not_found") == 1
    for statement in ("begin", "commit", "insert comments", "update comments"):
        assert more("statement_seconds_count", statement=statement) >= 1, statement
    assert more("statement_seconds_sum", statement="insert comments") > 0
    assert more("bus_published_total") >= 1


async def test_sessions_and_disconnects_are_told_apart(cluster: Cluster) -> None:
    before = await page_of(cluster[2])
    socket = await cluster.client(2, "ann")
    polling = await cluster.client(2, "ann", transport="polling")
    during = await page_of(cluster[2])
    for transport in ("websocket", "polling"):
        assert during("sessions", transport=transport) >= before("sessions", transport=transport) + 1
    assert during("connections_current") == before("connections_current") + 2
    await polling.close()
    await socket.cut()

    async def are_gone() -> bool:
        after = await page_of(cluster[2])
        reasons = {
            reason: after("disconnects_total", reason=reason) - before("disconnects_total", reason=reason)
            for reason in ("client_disconnect", "transport_close")
        }
        return all(reasons.values()) and sum(reasons.values()) == 2

    await until(are_gone, what="one has left and one was cut")


async def test_a_node_says_what_it_is_and_what_it_has(cluster: Cluster) -> None:
    told = await page_of(cluster[0])
    status = await cluster[0].status(is_verbose=True)
    assert told("build_info", node=status["node"], version=status["version"]) == 1
    assert told("cluster_nodes") == 2
    for pool in ("writes", "reads"):
        most = told("database_connections_most", pool=pool)
        assert 1 <= told("database_connections", pool=pool) <= most
        assert told("database_waiting", pool=pool) == 0
    of_library = {"library_sign_ins", "library_questions", "library_live"}
    assert {"turns", "joining", "locks", "deliveries", "bus"} | of_library == {
        dict(labels)["queue"] for name, labels in told.values if name == f"{PREFIX}queue_length"
    }
    milliseconds = told("dependency_latency_seconds", service="DB Service") * 1000
    assert milliseconds > 0
    assert abs(milliseconds - round(milliseconds)) > 1e-6, "the steps of a clock that is too coarse"
