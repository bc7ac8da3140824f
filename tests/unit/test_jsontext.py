"""JSON as it is kept and sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab_server.domain.jsontext import (
    JsonText,
    check_json,
    dumps,
    json_filled,
    json_in_front,
    json_list,
    json_object,
    json_object_text,
    json_shape,
    json_string,
    json_time,
    now_ms,
    read_rfc3339,
    rfc3339,
    shown_name,
)
from collab_server.errors import Invalid, TooLarge

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=20,
)


@given(_json)
def test_what_is_written_is_read_back_the_same(value: Any) -> None:
    assert repr(json.loads(dumps(value))) == repr(value)
    check_json(value, field="x", max_bytes=len(dumps(value).encode()))


def test_what_is_none_or_too_deep_is_not_written() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value, error in ((float("nan"), ValueError), (deep, RecursionError), ({1, 2}, TypeError)):
        with pytest.raises(error):
            dumps(value)
    while deep:
        deep = deep.pop()  # or to forget it is as deep


@given(st.text())
def test_a_text_becomes_json_as_any_value_does(text: str) -> None:
    assert json_string(text) == dumps(text)


@given(_json, _text, st.integers(), st.booleans())
def test_json_is_put_together_of_json(value: Any, text: str, number: int, flag: bool) -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    parts: dict[str, JsonText | int] = {
        "value": dumps(value),
        "text": json_string(text),
        "number": number,
        "at": json_time(at),
    }
    together = json_object(
        **parts, flag=flag, nothing=None, none=json_list([]), two=json_list([dumps(value)] * 2)
    )
    wanted = {"value": value, "text": text, "number": number, "at": rfc3339(at)}
    assert together == dumps({**wanted, "flag": flag, "nothing": None, "none": [], "two": [value, value]})
    assert json_shape(*parts)(**parts) == dumps(wanted)
    assert json_in_front(json_object(**parts), first=flag) == dumps({"first": flag, **wanted})
    blank = dumps({"quoted": '"said":null', "said": None, "of": {"seen": None}})
    assert json_filled(blank, said=json_string(text), seen=JsonText("1")) == dumps(
        {"quoted": '"said":null', "said": text, "of": {"seen": 1}}
    )


def test_a_shape_takes_its_own_fields_and_no_others() -> None:
    shape = json_shape("comment", "seq")
    for wrong in ({"comment": JsonText("{}")}, {"comment": JsonText("{}"), "seq": 1, "more": 1}):
        with pytest.raises(TypeError):
            shape(**wrong)


@given(_json, st.sampled_from(["\0", "\ud800", "a\udfffb"]), st.booleans())
def test_bad_characters_are_found_wherever_they_are(value: Any, bad: str, is_key: bool) -> None:
    holder = [value, {bad: 1} if is_key else {"y": bad}]
    with pytest.raises(Invalid) as refusal:
        check_json(holder, field="x", max_bytes=100_000)
    assert refusal.value.field == ("x[1]" if is_key else "x[1].y")


@given(_json)
def test_free_json_that_fits_is_never_refused_by_its_size(value: Any) -> None:
    """Whatever is refused would be refused by its text, too; the text itself is only looked at later."""
    size = len(dumps(value).encode())
    for most in range(max(0, size - 3), size):
        try:
            check_json(value, field="x", max_bytes=most)
        except TooLarge:
            assert size > most


@pytest.mark.parametrize(
    "value", [[0] * 50, {str(n): 0 for n in range(30)}, "x" * 99, {"x" * 99: 0}, [[[]] * 10] * 10, [1.5] * 60]
)
def test_free_json_that_cannot_fit_is_refused_unread(value: Any) -> None:
    with pytest.raises(TooLarge) as refusal:
        check_json(value, field="x", max_bytes=100)
    assert refusal.value.field == "x"


def test_a_place_is_shown_by_its_beginning() -> None:
    value: Any = "\0"
    for _ in range(50):
        value = {"k" * 1000: [value]}
    with pytest.raises(Invalid) as refusal:
        check_json(value, field="x", max_bytes=1_000_000)
    assert refusal.value.field == "x." + "k" * 98


def test_names_that_cannot_be_sent_are_not_shown() -> None:
    assert shown_name("colour") == "colour"
    assert shown_name("k" * 1000) == "k" * 100
    assert shown_name("\ud800") is None
    assert shown_name("a\0") is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have_are_refused(value: float) -> None:
    with pytest.raises(Invalid, match="JSON"):
        json_object_text({"a": [value]}, field="f", max_bytes=100, max_levels=5)


@pytest.mark.parametrize(
    ("value", "fits"), [(10**100 - 1, True), (10**100, False), (-(10**400), False), (1e300, True)]
)
def test_integers_that_clients_cannot_read_are_refused(value: float, fits: bool) -> None:
    holder = {"text": "7" * 200, "a": [{"b": value}]}
    if fits:
        assert json.loads(json_object_text(holder, field="f", max_bytes=1000, max_levels=5)) == holder
    else:
        with pytest.raises(Invalid, match="100 digits"):
            json_object_text(holder, field="f", max_bytes=1000, max_levels=5)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T18:07:00Z", "2026-11-23T18:07:00.000Z"),
        ("2026-11-23t18:07:00.123456789z", "2026-11-23T18:07:00.123Z"),
        ("2026-11-23T18:07:00.5+05:30", "2026-11-23T12:37:00.500Z"),
        ("2999-06-30T23:59:60Z", "2999-06-30T23:59:59.000Z"),
    ],
)
def test_times_are_read(text: str, moment: str) -> None:
    assert rfc3339(read_rfc3339(text)) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", "tomorrow", "2999-01-01", "2999-01-01T00:00:00", "2999-01-01T00Z", "29990101T000000Z"),
        *(
            "2999-W01-1T00:00:00Z",
            "2999-01-01\U0001f44d00:00:00Z",
            "2999-01-01x00:00:00Z",
            "2999-01-01T00:00:00,5Z",
        ),
        *(
            "2999-01-01T00:00:00.Z",
            "2999-01-01T00:00:00+00:00:01",
            "2999-13-01T00:00:00Z",
            "2999-01-01T00:00:61Z",
        ),
        *(
            "9999-12-31T23:59:59-23:00",
            "0001-01-01T00:00:00+01:00",
            "٢٩٩٩-01-01T00:00:00Z",
            "2999-01-01T00:00:00Z\n",
        ),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_rfc3339(text)


def test_bytes_are_refused() -> None:
    with pytest.raises(Invalid, match="binary"):
        json_object_text({"a": b"x"}, field="f", max_bytes=100, max_levels=5)


@pytest.mark.parametrize(("levels", "fits"), [(1, True), (4, True), (5, True), (6, False), (5000, False)])
def test_levels_count_objects_and_lists(levels: int, fits: bool) -> None:
    value: Any = {}
    for level in range(levels - 1):
        value = [value] if level % 2 else {"a": 1, "b": value, "c": []}
    holder = value if isinstance(value, dict) else {"a": value[0]}
    if fits:
        json_object_text(holder, field="f", max_bytes=1000, max_levels=5)
    else:
        with pytest.raises(Invalid, match="5 levels"):
            json_object_text(holder, field="f", max_bytes=1000, max_levels=5)


def test_bytes_are_counted_in_utf8() -> None:
    assert json_object_text({"a": "ä" * 10}, field="f", max_bytes=28, max_levels=5) == '{"a":"ääääääääää"}'
    with pytest.raises(TooLarge):
        json_object_text({"a": "ä" * 10}, field="f", max_bytes=27, max_levels=5)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 23, 19, 7, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-11-23T18:07:00.123Z"
    assert rfc3339(datetime(999, 1, 2, tzinfo=UTC)).endswith("-01-02T00:00:00.000Z")
    assert now_ms(moment).microsecond == 123_000


def test_field_that_is_named_can_itself_be_sent() -> None:
    with pytest.raises(Invalid) as error:
        check_json({"a": {"\ud800": "\ud800"}}, field="x", max_bytes=100)
    assert dumps(error.value.as_wire()).encode()
