"""The protocol's documents know everything that the server takes and sends, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from collab_server.config.limits import Limits
from collab_server.contract.catalogue import COMMANDS, ROUTES
from collab_server.contract.events import EVENTS, SIGNALS
from collab_server.contract.examples import error_example
from collab_server.errors import CODES
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE, OfConnection
from tests.harness.house import nodes_of

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
ASYNCAPI = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
MESSAGES = ASYNCAPI["components"]["messages"]
TYPES = json.loads((ROOT / "docs" / "schema.json").read_text())
PARTS = {
    part: TYPES["$defs"][reference["$ref"].removeprefix("#/$defs/")]["properties"]
    for part, reference in TYPES["properties"].items()
}


def calls_in(*folders: str) -> Iterator[ast.Call]:
    """Every call that the modules of these packages make."""
    for folder in folders:
        for path in sorted(
            (ROOT / "collab_server").glob(f"{folder}/**/*.py" if "." not in folder else folder)
        ):
            for _, node in nodes_of(path.read_text()):
                if isinstance(node, ast.Call):
                    yield node


def strings_in(folder: str) -> set[str]:
    """Every string, docstrings and comments aside, that the modules of a package hold."""
    return {
        node.value
        for path in (ROOT / "collab_server" / folder).rglob("*.py")
        for _, node in nodes_of(path.read_text())
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def section(name: str) -> str:
    """What the document says of a command."""
    found = re.search(rf"^#### `{re.escape(name)}`\n(.*?)(?=^#{{2,4}} )", PROTOCOL, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{name} is not in docs/protocol.md"
    return found[1]


@pytest.mark.parametrize("name", TABLE)
def test_every_command_of_the_table_is_explained(name: str) -> None:
    text = section(name)
    assert re.match(r"\n[A-Z].{9,}[.]\n", text), "what it does"
    for fact in ("Who may", "REST", "Answer"):
        assert f"- {fact}: " in text


def test_no_command_is_explained_that_is_not_there() -> None:
    assert set(re.findall(r"^#### `(.*)`$", PROTOCOL, re.MULTILINE)) == TABLE.keys()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.command)
def test_every_call_is_in_the_table_of_calls(route: Any) -> None:
    assert re.search(rf"^\| `{route.method} /api{re.escape(route.path)}`", PROTOCOL, re.MULTILINE)


def test_every_event_that_is_stored_is_in_the_catalogue_and_the_other_way_round() -> None:
    past = {
        text
        for text in strings_in("services") | strings_in("storage")
        if re.fullmatch(r"[a-z]+\.(?:[a-z]+ed|was_[a-z]+|read)", text)
    }
    assert past - (TABLE.keys() - EVENTS.keys()) - SIGNALS.keys() == EVENTS.keys()


def test_every_signal_that_is_sent_is_in_the_catalogue_and_the_other_way_round() -> None:
    sent = set()
    for call in calls_in("realtime", "services"):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in ("signal", "tell", "tell_all", "_tell"):
            sent |= {
                one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
    assert sent == SIGNALS.keys()


@pytest.mark.parametrize("name", [*EVENTS, *SIGNALS])
def test_every_event_and_signal_is_in_the_document(name: str) -> None:
    assert re.search(rf"^\| `{re.escape(name)}` \|", PROTOCOL, re.MULTILINE)


def test_events_name_commands_that_write() -> None:
    for event in EVENTS.values():
        assert all(isinstance(TABLE[name], Write) for name in event.by), event.name


def test_the_commands_of_a_connection_are_those_whose_answers_the_catalogue_holds() -> None:
    assert {name for name, entry in TABLE.items() if isinstance(entry, OfConnection)} == {
        row.name for row in COMMANDS.values() if not isinstance(row.answer, type)
    }


@pytest.mark.parametrize("word", [*CODES, *Limits.model_fields])
def test_every_error_and_every_limit_has_a_row(word: str) -> None:
    assert re.search(rf"^\| `{word}` \| \d+ \| .{{10,}} \|", PROTOCOL, re.MULTILINE)


def test_every_link_inside_the_document_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.+)$", PROTOCOL, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PROTOCOL)) <= anchors


@pytest.mark.parametrize("block", re.findall(r"^```json\n(.*?)^```", PROTOCOL, re.DOTALL | re.MULTILINE))
def test_examples_in_the_document_are_json(block: str) -> None:
    if block.startswith('{"ok"'):
        for line in block.splitlines():
            assert json.loads(line)["ok"] in (True, False)
    else:
        json.loads(block)


def test_asyncapi_has_every_message_of_both_directions() -> None:
    received = {
        operation for operation, what in ASYNCAPI["operations"].items() if what["action"] == "receive"
    }
    sent = {MESSAGES[operation]["name"] for operation in ASYNCAPI["operations"].keys() - received}
    assert received == TABLE.keys()
    assert sent == EVENTS.keys() | SIGNALS.keys()
    assert all(f"{name}.answer" in MESSAGES for name in TABLE)


def test_every_reference_in_asyncapi_leads_somewhere() -> None:
    text = json.dumps(ASYNCAPI)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        place: Any = ASYNCAPI
        for key in reference.split("/"):
            place = place[key]


def test_whatever_becomes_a_type_in_asyncapi_has_a_name_of_its_own() -> None:
    schemas = ASYNCAPI["components"]["schemas"]
    assert all(schema["title"] == name for name, schema in schemas.items() if is_type(schema))
    roots = [*schemas.values(), *(message["payload"] for message in MESSAGES.values())]
    titles = [schema.get("title") for root in roots for schema in inside(root) if is_type(schema)]
    assert None not in titles
    assert len(set(titles)) == len(titles) > 200
    assert {"Comment", "CommentAddedEvent", "CommentAddCommand", "TopicSubscribeAnswer"} <= {*titles}


def is_type(schema: dict[str, Any]) -> bool:
    is_word = schema.get("type") == "string" and "const" in schema
    return (
        is_word or schema.get("type") == "object" or bool(schema.keys() & {"enum", "oneOf", "anyOf", "allOf"})
    )


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """The schema and all in it."""
    if isinstance(value, dict):
        yield value
        for key, item in value.items():
            if key == "properties":
                for field in item.values():
                    yield from inside(field)
            elif key in ("items", "oneOf", "anyOf", "allOf"):
                for one in item if isinstance(item, list) else [item]:
                    yield from inside(one)


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_in_asyncapi_are_what_their_schemas_say(name: str) -> None:
    message = MESSAGES[name]
    schema = {**message["payload"], "components": ASYNCAPI["components"]}
    Draft202012Validator.check_schema(message["payload"])
    assert message["examples"]
    for example in message["examples"]:
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(example["payload"])


# --- schema.json: for the types of clients


def fits(value: Any, reference: Any) -> bool:
    """Whether a value is what `schema.json` says under this reference."""
    schema = {**reference, "$defs": TYPES["$defs"]}
    return bool(Draft202012Validator(schema, format_checker=FormatChecker()).is_valid(value))


def test_types_are_a_schema_that_has_every_command_event_signal_and_error() -> None:
    Draft202012Validator.check_schema(TYPES)
    assert {part: list(named) for part, named in PARTS.items()} == {
        "commands": list(COMMANDS),
        "events": list(EVENTS),
        "signals": list(SIGNALS),
        "errors": list(CODES),
    }


def test_every_type_is_referred_to_by_a_name_that_there_is_and_that_a_program_can_have() -> None:
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(TYPES))
    used = {reference.removeprefix("#/$defs/") for reference in references}
    assert used | {"Error"} == TYPES["$defs"].keys()
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", name) for name in TYPES["$defs"])


def test_a_reference_stands_alone_so_that_generators_make_no_second_type_of_it() -> None:
    def look(value: Any) -> None:
        if isinstance(value, dict):
            assert "$ref" not in value or len(value) == 1, value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(item)

    look(TYPES)


@pytest.mark.parametrize("name", COMMANDS)
def test_types_take_what_is_right_of_a_command_and_nothing_that_is_wrong(name: str) -> None:
    command = TYPES["$defs"][PARTS["commands"][name]["$ref"].removeprefix("#/$defs/")]["properties"]
    [example] = MESSAGES[name]["examples"]
    assert fits(example["payload"], command["payload"])
    assert not fits({**example["payload"], "colour": "red"}, command["payload"])
    assert not fits([], command["payload"])
    for field in MESSAGES[name]["payload"].get("required", ()):
        assert not fits({**example["payload"], field: [[]]}, command["payload"]), field
    for field in COMMANDS[name].either:
        every = {one: command_example(name, one) for one in COMMANDS[name].either}
        assert fits({field: every[field]}, command["payload"])
        assert not fits(every, command["payload"])
    done, _ = MESSAGES[f"{name}.answer"]["examples"]
    assert fits(done["payload"]["data"], command["answer"])


def command_example(name: str, field: str) -> Any:
    """An example of one field of a command."""
    return MESSAGES[name]["payload"]["properties"][field]["examples"][0]


@pytest.mark.parametrize("name", [*EVENTS, *SIGNALS])
def test_types_are_those_of_what_is_sent(name: str) -> None:
    message = MESSAGES[f"{name}.sent" if name in COMMANDS else name]
    reference = PARTS["events" if name in EVENTS else "signals"][name]
    [example] = message["examples"]
    assert fits(example["payload"], reference)
    for field in example["payload"]:
        assert not fits({key: value for key, value in example["payload"].items() if key != field}, reference)


@pytest.mark.parametrize("code", CODES)
def test_types_have_each_error_with_what_it_always_brings(code: str) -> None:
    wire = error_example(code)
    assert fits(wire, PARTS["errors"][code])
    assert fits(wire, {"$ref": "#/$defs/Error"})
    for other in CODES.keys() - {code}:
        assert not fits(wire, PARTS["errors"][other])
