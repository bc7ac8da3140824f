"""Bounds: what the schema of a command says of a value, every node holds, and names the field that is beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.examples import payload_example
from collab_server.contract.schemas import Schema, payload_schema, plain
from collab_server.domain.ids import uuid7
from tests.harness.cluster import Cluster
from tests.integration.doors import Door
from tests.integration.scene import BOB, users


def _beyond(schema: Schema) -> Iterator[Any]:
    """Values of its type that a schema does not allow."""
    if "minimum" in schema:
        yield from (schema["minimum"] - 1, -(10**30))
    if "maximum" in schema:
        yield from (schema["maximum"] + 1, 10**30)
    if schema.get("minLength") or "pattern" in schema or "format" in schema:
        yield ""
    if "maxLength" in schema:
        yield "a" * (schema["maxLength"] + 1)
    if "pattern" in schema:
        yield from (" ", "\n")
    if "format" in schema or "enum" in schema:
        yield "neither"
    if "maxItems" in schema:
        yield ["a"] * (schema["maxItems"] + 1)


async def test_a_value_beyond_what_the_schema_allows_is_refused_by_its_field(
    cluster: Cluster, topic: str
) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    comment = (await ann.call("comment.add", {"topic": topic, "text": "First"}))["comment"]["id"]
    made = await ann.call("discussion.create", {"name": "Plans", "members": users(BOB)})
    there = dict.fromkeys(("commentId", "replyTo", "thread"), comment)
    there |= {"topic": topic, "discussionId": made["discussion"]["id"]}
    let_in = []
    for name, row in COMMANDS.items():
        example = {field: there.get(field, value) for field, value in payload_example(name).items()}
        for field, schema in payload_schema(name)["properties"].items():
            rivals = row.either if field in row.either else ()
            payload = {key: value for key, value in example.items() if key not in rivals}
            for value in _beyond(plain(schema)):
                if "requestId" in payload:
                    payload["requestId"] = str(uuid7())  # that of an example may have been used before
                error = (await ann.ask(name, {**payload, field: value})).get("error", {})
                is_named = error.get("field", "").split("[")[0] == field
                if not is_named or error["code"] not in ("invalid", "too_large"):
                    let_in.append((name, field, str(value)[:20], error))
    assert let_in == []
