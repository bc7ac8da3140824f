"""From payloads to commands: what is bounded, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest

from collab_server.config import Limits
from collab_server.contract.catalogue import COMMANDS
from collab_server.domain.wire import WIRE, AtMost, Text
from collab_server.errors import ClientError, Invalid, TooLarge
from collab_server.services.commands.payloads import Payloads

PAYLOADS = Payloads(((name, row.payload) for name, row in COMMANDS.items()), Limits())
PERSON = {"kind": "user", "id": "A" * 32}


def refusal(command: str, payload: Any) -> tuple[type[ClientError], str | None]:
    with pytest.raises(ClientError) as refused:
        PAYLOADS.read(command, payload)
    return type(refused.value), refused.value.field


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_refuses_what_it_does_not_know_before_anything_else(command: str) -> None:
    for name, shown in (("colour", "colour"), ("k" * 50_000, "k" * 100), ("\ud800", None), ("a\0", None)):
        assert refusal(command, {name: [[0] * 1000, "\ud800"]}) == (Invalid, shown)


@pytest.mark.parametrize(
    ("command", "payload", "words"),
    [
        (
            "comments.search",
            {"query": "x"},
            "query is not known here: expected q, topic, author, cursor or limit.",
        ),
        ("comment.add", {"anchor": {"page": "x"}}, "anchor.page is not known here: expected pageKey, "),
        (
            "discussion.create",
            {"members": [{"login": "x"}]},
            "members[0].login is not known here: expected kind or id.",
        ),
        ("me", {"id": "x"}, "id is not known here: expected nothing."),
        ("comment.add", {"\ud800": "x"}, "What was sent is not known here: expected topic, text, "),
    ],
    ids=["fields", "inner", "list", "none", "unsendable"],
)
def test_what_is_not_known_is_refused_with_what_is(command: str, payload: Any, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        PAYLOADS.read(command, payload)
    assert refused.value.as_wire()["message"].startswith(words)


@pytest.mark.parametrize("written", [7, 7.0])
def test_a_whole_number_may_be_written_with_a_fraction_of_nothing(written: float) -> None:
    seq = PAYLOADS.read("topic.read", {"topic": "t", "seq": written}).seq
    assert (seq, type(seq)) == (7, int)


@pytest.mark.parametrize("written", [7.5, "7", "7.0", True, None, float("nan"), float("inf")])
def test_what_is_no_whole_number_is_none(written: Any) -> None:
    assert refusal("topic.read", {"topic": "t", "seq": written}) == (Invalid, "seq")


@pytest.mark.parametrize(
    ("command", "payload", "error", "field"),
    [
        ("discussion.create", {"name": "x", "members": [{}] * 200}, Invalid, "members[0].kind"),
        ("discussion.create", {"name": "x", "members": [{}] * 201}, TooLarge, "members"),
        ("discussion.create", {"members": [PERSON, 7, {}]}, Invalid, "name"),
        ("discussion.create", {"name": "x", "members": [PERSON, 7, {}]}, Invalid, "members[1]"),
        ("discussion.create", {"members": [{**PERSON, "id": "x" * 1025}]}, Invalid, "members[0].id"),
        ("discussion.create", {"members": [{**PERSON, "k" * 999: 0}]}, Invalid, "members[0]." + "k" * 100),
        ("discussion.create", {"members": [{**PERSON, "\ud800": 0}]}, Invalid, "members[0]"),
        ("notification.read", {"ids": ["x"] * 501}, TooLarge, "ids"),
        ("notification.read", {"ids": ["x", "\0"]}, Invalid, "ids[1]"),
        ("topic.summaries", {"topics": ["x"] * 501}, TooLarge, "topics"),
        ("topic.summaries", {"topics": [[]]}, Invalid, "topics[0]"),
        ("comment.add", {"topic": "x" * 1025, "text": "x"}, Invalid, "topic"),
        ("comment.add", {"topic": "x", "text": "a\ud800"}, Invalid, "text"),
        ("comment.add", {"viewState": {"a": [0, {"b": "\0"}]}}, Invalid, "viewState.a[1].b"),
        ("comment.add", {"viewState": {"a": [0] * 40_000}}, TooLarge, "viewState"),
        ("comment.add", {"anchor": {"dataPoint": [0] * 3000}}, TooLarge, "anchor"),
        ("comment.add", {"anchor": {"k" * 200: 0}}, Invalid, "anchor." + "k" * 100),
        ("topic.comments", {"topic": "x", "cursor": "x" * 5000}, Invalid, "cursor"),
        ("session.refresh", {"identityToken": "x" * 20_000}, Invalid, "identityToken"),
        ("me", [], Invalid, None),
    ],
)
def test_what_is_refused_is_named(
    command: str, payload: Any, error: type[ClientError], field: str | None
) -> None:
    assert refusal(command, payload) == (error, field)


def test_whatever_fits_into_a_view_state_is_taken() -> None:
    fits: list[Any] = [
        {"k" * 65_000: 0},
        {"a": ["x" * 100] * 630},
        {"a": [0] * 32_700},
        {"a": [[]] * 21_800},
        {str(number): 0 for number in range(6000)},
    ]
    for view_state in fits:
        assert PAYLOADS.read("comment.add", {"topic": "x", "text": "x", "viewState": view_state}).view_state


def test_text_with_more_values_than_any_payload_is_not_decoded() -> None:
    PAYLOADS.check_text("[" * PAYLOADS.most_values)
    PAYLOADS.check_text("x" * 10 * PAYLOADS.most_values)
    for value in ("[", "{", ","):
        many = value * (PAYLOADS.most_values + 1)
        for text, field in ((many, None), (f'["discussion.create",{{"name":"x","members":{many}', "members")):
            with pytest.raises(Invalid) as refused:
                PAYLOADS.check_text(text)
            assert refused.value.field == field


def test_no_command_can_take_any_amount_of_anything() -> None:
    @dataclass(frozen=True, slots=True)
    class Endless:
        __pydantic_config__: ClassVar[Any] = WIRE
        items: list[Text]

    @dataclass(frozen=True, slots=True)
    class Free:
        __pydantic_config__: ClassVar[Any] = WIRE
        state: dict[str, Any]

    @dataclass(frozen=True, slots=True)
    class Bounded:
        __pydantic_config__: ClassVar[Any] = WIRE
        items: Annotated[list[Text], AtMost(3)]

    for command in (Endless, Free):
        with pytest.raises(TypeError, match="AtMost"):
            Payloads([("x", command)], Limits())
    assert Payloads([("x", Bounded)], Limits()).read("x", {"items": ["a"]}).items == ["a"]
