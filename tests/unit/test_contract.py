"""The contract is whole: each command has row, function and words; what is missing is a sentence at start."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import pytest

from collab_server.config import Limits
from collab_server.contract import catalogue, examples, markdown, schemas
from collab_server.contract.catalogue import COMMANDS, FAMILIES
from collab_server.contract.rights import RIGHTS
from collab_server.contract.rows import Call, CommandType, Incomplete, by_name
from collab_server.contract.shapes import SeqShape, UnreadShape
from collab_server.domain.jsontext import NOTHING, JsonText
from collab_server.domain.permissions import ANYBODY
from collab_server.domain.wire import WIRE, Text
from collab_server.services.commands import table
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import OfConnection, Read, bound, bound_to_connection

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = [entry for entry in table.TABLE.values() if not isinstance(entry, OfConnection)]


@dataclass(frozen=True, slots=True)
class Whisper:
    """Say something to nobody."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    loudness: Text | None = None


@dataclass(frozen=True, slots=True)
class Unsaid:
    __pydantic_config__: ClassVar[Any] = WIRE


HEARD = Call("GET /topics/{topic}/whisper", "Whisper")
WHISPER = CommandType("topic.whisper", Whisper, ANYBODY, UnreadShape, HEARD)


def refusal(make: Any, *arguments: Any) -> str:
    with pytest.raises(Incomplete) as refused:
        make(*arguments)
    return str(refused.value)


async def whisper(backends: Any, who: Any, command: Whisper) -> JsonText:
    return NOTHING


# --- rows and functions


def test_a_row_without_a_function_is_named() -> None:
    assert refusal(bound, {**COMMANDS, "topic.whisper": WHISPER}, FUNCTIONS) == (
        "services/commands/table.py: topic.whisper has no function"
    )


def test_a_function_without_a_row_is_named() -> None:
    assert refusal(bound, COMMANDS, [*FUNCTIONS, Read("topic.whisper", whisper)]) == (
        "services/commands/table.py: topic.whisper has no row in contract/commands"
    )


def test_everything_that_is_missing_is_named_at_once() -> None:
    text = refusal(bound, {**COMMANDS, "topic.whisper": WHISPER}, [*FUNCTIONS[1:], Read("b", whisper)])
    assert "topic.whisper has no function" in text
    assert f"{FUNCTIONS[0].name} has no function" in text
    assert "b has no row" in text


def test_a_function_of_the_wrong_kind_is_named() -> None:
    [add] = [entry for entry in FUNCTIONS if entry.name == "comment.add"]
    others = [entry for entry in FUNCTIONS if entry is not add]
    assert refusal(bound, COMMANDS, [*others, Read("comment.add", whisper)]) == (
        "services/commands/table.py: comment.add is a Read, but AddComment has a request_id"
    )
    assert isinstance(add, Write)
    assert "GetTopic has no request_id" in refusal(
        bound,
        COMMANDS,
        [replace(add, name="topic.get"), *(entry for entry in FUNCTIONS if entry.name != "topic.get")],
    )
    assert "topic.subscribe is carried out twice, or" in refusal(
        bound, COMMANDS, [*FUNCTIONS, Read("topic.subscribe", whisper)]
    )


def test_the_socketio_door_has_to_carry_out_what_is_about_a_connection() -> None:
    handlers = {name: None for name, row in COMMANDS.items() if row.call is None}
    assert bound_to_connection(handlers) is handlers
    assert "without a handler: typing;" in refusal(
        bound_to_connection, {name: None for name in handlers if name != "typing"}
    )
    assert "no such command in contract/commands: comment.add" in refusal(
        bound_to_connection, {**handlers, "comment.add": None}
    )


@pytest.mark.parametrize("entry", FUNCTIONS, ids=lambda entry: entry.name)
def test_a_function_takes_the_command_of_its_row(entry: Write[Any, Any] | Read[Any]) -> None:
    functions = (entry.ask, entry.carry_out) if isinstance(entry, Write) else (entry.answer,)
    for function in functions:
        taken = get_type_hints(function, vars(sys.modules[function.__module__]))["command"]
        assert issubclass(COMMANDS[entry.name].payload, taken), function.__qualname__


def test_a_node_that_lacks_half_of_a_command_says_so_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "COMMANDS", {**COMMANDS, WHISPER.name: WHISPER})
    monkeypatch.delitem(sys.modules, table.__name__)
    assert refusal(importlib.import_module, table.__name__) == (
        "services/commands/table.py: topic.whisper has no function"
    )


# --- what a row says


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (replace(WHISPER, payload=Unsaid, call=None), "topic.whisper: Unsaid has no docstring"),
        (
            replace(WHISPER, name="whisper"),
            "whisper: FAMILIES of catalogue.py does not say what whisper is about",
        ),
        (WHISPER, "topic.whisper: wording.py does not say what loudness means"),
        (replace(WHISPER, shown=("colour",)), "topic.whisper: Whisper has no field colour"),
        (replace(WHISPER, either=("topic", "tone")), "topic.whisper: Whisper has no field tone"),
        (replace(WHISPER, call=Call("GET /whispers/{id}", "x")), "topic.whisper: Whisper has no field id"),
        (replace(WHISPER, answer={"seq": "integer"}), "a REST call answers is a class of contract/shapes.py"),
        (
            replace(WHISPER, call=replace(HEARD, links={"topic=/x": ("topic.shout",)})),
            "its answer leads to topic.shout, which has no REST call",
        ),
        (
            replace(WHISPER, call=replace(HEARD, links={"id=/x": ("topic.whisper",)})),
            "its answer leads to topic.whisper by id, which that does not take",
        ),
    ],
)
def test_what_a_row_lacks_is_a_sentence(row: CommandType, sentence: str) -> None:
    text = refusal(by_name, [row], FAMILIES)
    assert text.startswith("contract/commands: ")
    assert sentence in text


def test_a_name_has_one_row() -> None:
    assert "topic.whisper has two rows" in refusal(
        by_name, [WHISPER, replace(WHISPER, answer=SeqShape)], FAMILIES
    )


@pytest.fixture
def whispering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with one command more, for which nobody has done anything else."""
    rows = {**COMMANDS, "topic.whisper": WHISPER, "whisper": replace(WHISPER, name="whisper")}
    for module in (schemas, examples, markdown):
        monkeypatch.setattr(module, "COMMANDS", rows)


@pytest.mark.usefixtures("whispering")
def test_what_the_words_lack_is_a_sentence() -> None:
    said = "contract/wording.py does not say what topic.whisper.loudness means"
    assert refusal(schemas.payload_schema, "topic.whisper") == said
    template = (ROOT / "docs" / "protocol.template.md").read_text()
    assert refusal(markdown.protocol, template) == "contract/markdown.py: GROUPS has no heading for whisper"
    assert refusal(schemas.shape_schema, "x", {"y": "Whisper[]"}) == (
        "x.y is of the type Whisper, which contract/shapes.py does not have"
    )
    assert (
        refusal(examples.error_example, "teapot") == "contract/examples.py has no example of the error teapot"
    )


def test_a_limit_that_nobody_explains_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(Limits.model_fields))
    monkeypatch.delitem(markdown.BEYOND, name)
    template = (ROOT / "docs" / "protocol.template.md").read_text()
    assert refusal(markdown.protocol, template).endswith(f"BEYOND does not say what happens beyond {name}")


# --- rights


def test_rights_are_said_in_the_order_that_clients_know() -> None:
    talking = (
        "topic.subscribe topic.unsubscribe topic.get topic.events topic.comments comments.search comment.get"
        " comment.revisions comment.add comment.edit comment.delete comment.react comment.unreact thread.resolve"
        " thread.reopen topic.read topic.mute topic.summaries topic.anchors typing"
    )
    known = {
        "commenter": f"{talking} share",
        "viewer": "topic.subscribe topic.unsubscribe topic.get topic.events topic.comments comments.search comment.get"
        " comment.revisions topic.read topic.mute topic.summaries topic.anchors share",
        "member": f"{talking} discussion.get discussion.leave",
        "owner": f"{talking} discussion.get discussion.leave discussion.rename discussion.invite discussion.remove"
        " discussion.transfer discussion.delete",
        "self": "topic.subscribe topic.unsubscribe topic.get topic.events notification.list notification.count"
        " notification.read",
    }
    for role, rights in RIGHTS.items():
        assert [name for name in rights if name in known[role].split()] == known[role].split()
