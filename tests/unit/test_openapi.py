"""The OpenAPI document says what the REST door does, and its examples are what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from collab_server.api import documents
from collab_server.contract import examples
from collab_server.contract.catalogue import COMMANDS, ROUTES
from collab_server.contract.events import EVENTS
from collab_server.contract.examples import payload_example
from collab_server.contract.openapi import SECURITY_SCHEMES, TAGS, openapi
from collab_server.contract.rows import WAIT
from collab_server.contract.schemas import object_schemas, payload_schema, plain
from collab_server.domain.jsontext import dumps
from collab_server.errors import CODES
from collab_server.services.commands.table import TABLE, OfConnection

DOCUMENT = openapi()
OPERATIONS = {
    operation["operationId"]: (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
CALLS = [route.command for route in ROUTES]
MAY_WAIT = {route.command: route.call.may_wait for route in ROUTES}


def check(value: Any, schema: Any) -> None:
    Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, format_checker=FormatChecker()
    ).validate(value)


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def test_every_command_that_is_not_about_a_connection_has_a_call() -> None:
    assert sorted(CALLS) == sorted(
        name for name, entry in TABLE.items() if not isinstance(entry, OfConnection)
    )


def test_every_reference_leads_somewhere() -> None:
    references = {one["$ref"] for one in inside(DOCUMENT) if isinstance(one.get("$ref"), str)}
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= DOCUMENT[
        "components"
    ]["schemas"].keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_described_with_all_it_takes(name: str) -> None:
    path, _, operation = OPERATIONS[name]
    assert len(operation["summary"]) > 3
    assert not operation["description"].startswith("Who may"), "the command has no docstring"
    assert operation["tags"][0] in TAGS
    taken = {"requestId" if one["in"] == "header" else one["name"] for one in operation["parameters"]}
    if "requestBody" in operation:
        taken |= operation["requestBody"]["content"]["application/json"]["schema"]["properties"].keys()
    besides = {WAIT} if MAY_WAIT[name] else set()
    assert taken == payload_schema(name)["properties"].keys() | besides
    assert set(re.findall(r"{(\w+)}", path)) == {
        one["name"] for one in operation["parameters"] if one["in"] == "path"
    }
    assert "security" not in operation, "all calls need what the document as a whole asks for"


def test_a_query_is_read_as_what_the_documents_say_its_fields_are() -> None:
    named = {int: "integer", bool: "boolean"}
    read, described = {}, {}
    for name, row in COMMANDS.items():
        read[name] = {field: named.get(kind) for field, kind in row.field_types.items()}
        types = {field: plain(of).get("type") for field, of in payload_schema(name)["properties"].items()}
        described[name] = {field: kind if kind in named.values() else None for field, kind in types.items()}
    assert read == described
    assert {kind for kinds in read.values() for kind in kinds.values()} == {"integer", "boolean", None}


@pytest.mark.parametrize("name", CALLS)
def test_every_field_that_a_call_takes_is_explained(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    for parameter in operation["parameters"]:
        assert parameter["description"], parameter["name"]
    assert all(field.get("description") for field in payload_schema(name)["properties"].values())


@pytest.mark.parametrize("name", CALLS)
def test_examples_are_what_the_schemas_say(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    check(payload_example(name), payload_schema(name))
    for parameter in operation["parameters"]:
        if "example" in parameter:
            check(parameter["example"], parameter["schema"])
    contents = [operation["requestBody"]] if "requestBody" in operation else []
    for answer in [*contents, *operation["responses"].values()]:
        content = answer["content"]["application/json"]
        shown = (
            [content["example"]]
            if "example" in content
            else [one["value"] for one in content["examples"].values()]
        )
        assert shown
        for example in shown:
            check(example, content["schema"])


@pytest.mark.parametrize("name", CALLS)
def test_every_error_is_shown_under_its_status(name: str) -> None:
    _, _, operation = OPERATIONS[name]
    for status, answer in operation["responses"].items():
        for code, shown in answer["content"]["application/json"].get("examples", {}).items():
            assert CODES[code].http_status == int(status)
            assert shown["value"]["code"] == code
            assert f"`{code}`" in answer["description"]
    assert {"400", "401", "404", "429", "500", "503"} <= operation["responses"].keys()


@pytest.mark.parametrize("name", sorted(object_schemas()))
def test_every_field_of_an_object_is_explained(name: str) -> None:
    for field, schema in object_schemas()[name].get("properties", {}).items():
        assert schema.get("description"), field


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_is_told_by_its_type_and_no_other(name: str) -> None:
    event = DOCUMENT["components"]["schemas"]["Event"]
    target = event["discriminator"]["mapping"][name]
    assert [option["$ref"] for option in event["oneOf"]].count(target) == 1
    schema = DOCUMENT["components"]["schemas"][target.rpartition("/")[2]]
    sent = examples.example(schema, DOCUMENT["components"]["schemas"])
    assert sent["type"] == name
    check(sent, event)
    for wrong in ({"type": "something.else"}, {"data": None}, {"type": None}):
        with pytest.raises(ValidationError):
            check({**sent, **wrong}, event)


def test_the_three_ways_to_show_who_one_is_are_there() -> None:
    assert [one["name"] for one in SECURITY_SCHEMES.values() if one["type"] == "apiKey"] == [
        "X-MSTR-IdentityToken",
        "X-MSTR-AuthToken",
    ]
    assert SECURITY_SCHEMES["Bearer"]["scheme"] == "bearer"
    assert DOCUMENT["components"]["securitySchemes"] == SECURITY_SCHEMES
    assert DOCUMENT["security"] == [{name: []} for name in SECURITY_SCHEMES]


def test_links_name_calls_and_their_parameters() -> None:
    linked = 0
    for _, _, operation in OPERATIONS.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                linked += 1
                target = payload_schema(link["operationId"])["properties"]
                assert link["parameters"].keys() <= target.keys()
                for expression in link["parameters"].values():
                    place: Any = answer["content"]["application/json"]["example"]
                    for key in expression.removeprefix("$response.body#/").split("/"):
                        place = place[key]
                    assert isinstance(place, str)
    assert linked > 10


def test_the_document_is_built_once_whatever_prefix_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        prefix: dumps(openapi(prefix))
        for prefix in ("", "/collaboration", "/a/b.c", "/the-prefix-comes-here")
    }
    built: list[str] = []

    def build(prefix: str = "") -> dict[str, Any]:
        built.append(prefix)
        return openapi(prefix)

    monkeypatch.setattr(documents, "openapi", build)
    for kept in (documents._without_prefix, documents._around_prefix):
        kept.cache_clear()
    for _ in range(3):
        for prefix, text in expected.items():
            assert documents.document(prefix).decode() == text
    for number in range(100):
        assert f'"/{number}"'.encode() in documents.document(f"/{number}")
    assert len(built) == 2


def test_behind_a_prefix_the_document_names_it_but_not_for_what_stays_at_the_root() -> None:
    document = openapi("/collaboration")
    assert document["servers"] == [{"url": "/collaboration"}]
    assert document["paths"]["/status"]["servers"] == [{"url": "/"}]
    assert openapi()["servers"] == [{"url": "/"}]
