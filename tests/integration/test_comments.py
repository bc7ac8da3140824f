"""Comments, as somebody at either door sees them."""

from __future__ import annotations

import asyncio
import random
import re
import time
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import TestDatabase, fresh_topic
from tests.integration.doors import BOARD, GROUP_SALES, Door, DoorName

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

COMMENT_KEYS = [
    *("id", "topic", "threadId", "author", "text", "mentions", "anchor", "viewState"),
    *("createdAt", "editedAt", "deletedAt", "revision", "reactions", "replyCount", "resolved"),
    *("body", "seq"),
]
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def added(door: Door, topic: str, text: str, **more: Any) -> dict[str, Any]:
    answer = await door.call("comment.add", {"topic": topic, "text": text, **more})
    comment: dict[str, Any] = answer["comment"]
    return comment


# --- adding


@BOTH
async def test_a_new_comment_is_as_the_contract_says(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    answer = await ann.call("comment.add", {"topic": topic, "text": "Sales are up 🎉"})
    assert list(answer) == ["comment", "seq"]
    assert answer["seq"] == 1
    comment = answer["comment"]
    assert list(comment) == COMMENT_KEYS
    assert UUID7.fullmatch(comment["id"])
    assert TIME.fullmatch(comment["createdAt"])
    age = datetime.now(UTC) - datetime.fromisoformat(comment["createdAt"])
    assert timedelta(seconds=-1) < age < timedelta(seconds=10)
    person = await cluster.person("ann")
    assert comment == {
        "id": comment["id"],
        "topic": topic,
        "threadId": comment["id"],
        "author": {"id": person.id, "name": person.name, "initials": person.initials},
        "text": "Sales are up 🎉",
        "mentions": [],
        "anchor": None,
        "viewState": None,
        "createdAt": comment["createdAt"],
        "editedAt": None,
        "deletedAt": None,
        "revision": 1,
        "reactions": {},
        "replyCount": 0,
        "resolved": None,
        "body": None,
        "seq": 1,
    }
    assert await ann.call("comment.get", {"commentId": comment["id"]}) == comment
    assert await ann.call("comment.get", {"commentId": comment["id"].upper()}) == comment


async def test_a_comment_by_one_door_is_the_same_at_the_other(cluster: Cluster, topic: str) -> None:
    ann, bob = await Door.open(cluster, "socket", "ann", 0), await Door.open(cluster, "rest", "bob", 1)
    comment = await added(ann, topic, "Hello", anchor={"pageKey": "p"}, viewState={"filters": [1, None]})
    assert await bob.call("comment.get", {"commentId": comment["id"]}) == comment
    assert await bob.call("topic.comments", {"topic": topic}) == {"items": [comment], "seq": 1, "next": None}
    [event] = (await bob.call("topic.events", {"topic": topic}))["events"]
    assert list(event) == ["topic", "seq", "type", "at", "actor", "data"]
    assert (event["topic"], event["seq"], event["type"]) == (topic, 1, "comment.added")
    assert event["actor"] == comment["author"]
    assert event["at"] == comment["createdAt"]
    assert event["data"] == {"comment": comment}


@BOTH
async def test_library_ids_are_accepted_in_either_case_and_kept_in_upper_case(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    kind, project, content = topic.split(":")
    comment = await added(ann, f"{kind}:{project.lower()}:{content.lower()}", "Hello")
    assert comment["topic"] == topic
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 1


@BOTH
async def test_replies_join_the_thread_of_what_they_answer(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    root = await added(ann, topic, "Why?")
    other = await added(ann, topic, "Another matter")
    reply = await added(bob, topic, "Because.", replyTo=root["id"])
    reply_to_reply = await added(ann, topic, "I see.", replyTo=reply["id"])
    assert reply["threadId"] == reply_to_reply["threadId"] == root["id"]
    assert (reply["replyCount"], other["threadId"]) == (0, other["id"])
    assert (await ann.call("comment.get", {"commentId": root["id"]}))["replyCount"] == 2
    await bob.call("comment.delete", {"commentId": reply["id"]})
    assert (await ann.call("comment.get", {"commentId": root["id"]}))["replyCount"] == 2
    thread = (await ann.call("topic.comments", {"topic": topic, "thread": root["id"]}))["items"]
    assert [comment["id"] for comment in thread] == [root["id"], reply["id"], reply_to_reply["id"]]


@BOTH
async def test_one_replies_only_to_what_is_there(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    root = await added(ann, topic, "Gone soon")
    await ann.call("comment.delete", {"commentId": root["id"]})

    async def refusal(reply_to: str, on: str = topic, text: str = "Hello?") -> str:
        code: str = (await ann.refusal("comment.add", {"topic": on, "text": text, "replyTo": reply_to}))[
            "code"
        ]
        return code

    assert await refusal(root["id"]) == "conflict"
    assert await refusal(str(uuid4())) == "not_found"
    assert await refusal(str(uuid4()), text=" ") == "not_found"
    assert await refusal("that one") == "invalid"
    elsewhere = await added(ann, BOARD, "Elsewhere")
    assert await refusal(elsewhere["id"]) == "not_found"
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 2


# --- texts


@BOTH
@pytest.mark.parametrize(
    "text", ["a", "ä" * 10_000, "🦊" * 10_000, " two\r\n\tlines ", "﷽ שלום 你好", "<b>&amp;</b>\\\"'"]
)
async def test_texts_come_back_as_they_were_sent(
    cluster: Cluster, topic: str, door: DoorName, text: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    assert (await added(ann, topic, text))["text"] == text
    assert (await ann.call("topic.comments", {"topic": topic}))["items"][0]["text"] == text


@BOTH
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid"),
        (" \t\n\u2003\u00a0", "invalid"),
        ("a\0b", "invalid"),
        ("lone \ud800 surrogate", "invalid"),
        (7, "invalid"),
        (None, "invalid"),
        (["a"], "invalid"),
        ("🦊" * 10_001, "too_large"),
    ],
)
async def test_texts_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, text: Any, code: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": text})
    assert (error["code"], error["field"]) == (code, "text")
    comment = await added(ann, topic, "Fine")
    error = await ann.refusal("comment.edit", {"commentId": comment["id"], "text": text})
    assert (error["code"], error["field"]) == (code, "text")
    assert await ann.call("comment.get", {"commentId": comment["id"]}) == comment
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 1


# --- anchors and view states


def deep(levels: int) -> dict[str, Any]:
    """An object of so many levels."""
    value: Any = 1
    for level in range(levels):
        value = {"d": value} if level % 2 or level == levels - 1 else [value]
    assert isinstance(value, dict)
    return value


@BOTH
@pytest.mark.parametrize(
    "view_state",
    [
        {},
        {"z": 1, "a": 2, "": {"m": []}},
        {"big": 2**200, "small": -(2**63) - 1, "float": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308},
        {"text": '\u2028 \x7f \ufffe 🦊 \\u0041 "', "null": None, "flags": [True, False]},
        {"__proto__": 1, "$ref": "x", "_placeholder": True, "num": 0},
        deep(64),
        {"x": "y" * (65_536 - len('{"x":""}'))},
        {"x": "ä" * ((65_536 - len('{"x":""}')) // 2)},
    ],
    ids=["empty", "key order", "numbers", "characters", "odd keys", "64 levels", "64 KiB", "64 KiB of UTF-8"],
)
async def test_view_states_come_back_exactly(
    cluster: Cluster, topic: str, door: DoorName, view_state: dict[str, Any]
) -> None:
    ann = await Door.open(cluster, door, "ann")
    bob = await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    comment = await added(ann, topic, "See this", viewState=view_state)
    [listed] = (await ann.call("topic.comments", {"topic": topic}))["items"]
    live = (await bob.wait_for_seq(topic, 1)).data["data"]["comment"]
    for shown in (comment, listed, live):
        assert repr(shown["viewState"]) == repr(view_state)


@BOTH
@pytest.mark.parametrize(
    ("view_state", "code"),
    [
        (deep(65), "invalid"),
        (deep(100), "invalid"),
        ({"n": [10**100]}, "invalid"),
        ({"x": "y" * (65_537 - len('{"x":""}'))}, "too_large"),
        ({"x": "🦊" * 16_384}, "too_large"),
        ([], "invalid"),
        ("{}", "invalid"),
        ({"a": {"b\0": 1}}, "invalid"),
        ({"a": ["\ud83e"]}, "invalid"),
    ],
    ids=[
        "65 levels",
        "100 levels",
        "101 digits",
        "64 KiB + 1",
        "foxes",
        "list",
        "string",
        "U+0000",
        "surrogate",
    ],
)
async def test_view_states_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, view_state: Any, code: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    for request_id in ({}, {"requestId": "r"}):
        error = await ann.refusal(
            "comment.add", {"topic": topic, "text": "x", "viewState": view_state, **request_id}
        )
        assert error["code"] == code
        assert error["field"].startswith("viewState")
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 0


@BOTH
async def test_anchors_are_kept(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    anchor = {"pageKey": "K52", "visualizationKey": "W7 ä", "dataPoint": {"Region": "Süd", "n": [1, 2.5]}}
    assert (await added(ann, topic, "Here", anchor=anchor))["anchor"] == anchor
    assert (await added(ann, topic, "Partly", anchor={"pageKey": "K52"}))["anchor"] == {"pageKey": "K52"}
    assert (await added(ann, topic, "A number", anchor={"dataPoint": 7}))["anchor"] == {"dataPoint": 7}


@BOTH
@pytest.mark.parametrize(
    ("anchor", "code", "field"),
    [
        ({"page": "x"}, "invalid", "anchor.page"),
        ({"pageKey": 1}, "invalid", "anchor.pageKey"),
        ({"pageKey": ""}, "invalid", "anchor.pageKey"),
        ({"visualizationKey": "x" * 257}, "invalid", "anchor.visualizationKey"),
        ({"dataPoint": "x" * 5000}, "too_large", "anchor"),
        ({"dataPoint": deep(64)}, "invalid", "anchor"),
        ({"dataPoint": {"\0": 1}}, "invalid", "anchor.dataPoint"),
        ("K52", "invalid", "anchor"),
    ],
)
async def test_anchors_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, anchor: Any, code: str, field: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": "x", "anchor": anchor})
    assert (error["code"], error["field"]) == (code, field)


# --- mentions


@BOTH
async def test_mentions_are_read_out_of_the_text_and_checked(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    bob, carol = await cluster.person("bob"), await cluster.person("carol")
    text = (
        f"@[Bobby](user:{bob.id.lower()}) and @[Sales](group:{GROUP_SALES}), @[Bob](user:{bob.id}) again, "
        f"not @[x](page:{carol.id}) and not (user:{carol.id})"
    )
    comment = await added(ann, topic, text)
    assert comment["text"] == text
    assert comment["mentions"] == [
        {"kind": "user", "id": bob.id, "name": "Bob Baker"},
        {"kind": "group", "id": GROUP_SALES, "name": "Sales"},
    ]
    edit = {"commentId": comment["id"], "text": f"@[C](user:{carol.id})"}
    edited = (await ann.call("comment.edit", edit))["comment"]
    assert edited["mentions"] == [{"kind": "user", "id": carol.id, "name": "Carol Chen"}]
    assert (await ann.call("comment.get", {"commentId": comment["id"]}))["mentions"] == edited["mentions"]


@BOTH
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"@[Nobody](user:{'0' * 32})", "invalid"),
        (f"@[Nobody](group:{'0' * 32})", "invalid"),
        ("@[Short](user:12AB)", "invalid"),
        ("".join(f"@[N](user:{number:032X})" for number in range(51)), "too_large"),
    ],
)
async def test_mentions_of_nobody_are_refused(
    cluster: Cluster, topic: str, door: DoorName, text: str, code: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": text})
    assert (error["code"], error["field"]) == (code, "text")


# --- formatted texts


def paragraph(*children: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "paragraph", "children": [*children]}]


def words(text: str, type: str = "") -> dict[str, Any]:
    of_text = {"type": "text", "text": text}
    return {"type": type, "children": [of_text]} if type else of_text


@BOTH
async def test_markdown_is_shown_by_its_body_wherever_the_comment_is(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await Door.open(cluster, door, "ann"), await Door.open(cluster, door, "bob", 1)
    live = await cluster.client(2, "bob")
    await live.call("topic.subscribe", {"topic": topic})
    mention = {"kind": "user", "id": (await cluster.person("bob")).id, "name": "Bo *B*"}
    comment = await added(
        ann, topic, f"**Up** @[Bo *B*](user:{mention['id']})\n- one", format="markdown", requestId=topic
    )
    told = [words("Up", "bold"), words(" "), {"type": "mention", **mention}]
    item = {"type": "item", "children": paragraph(words("one"))}
    assert comment["body"] == [*paragraph(*told), {"type": "list", "children": [item]}]
    assert comment["text"].startswith("**Up**")
    event = await live.wait_for_seq(topic, 1)
    assert event.data["data"]["comment"] == comment
    assert await bob.call("comment.get", {"commentId": comment["id"]}) | {"mentions": []} == comment | {
        "mentions": []
    }
    [notification] = [
        one for one in (await bob.call("notification.list", {}))["items"] if one["commentId"] == comment["id"]
    ]
    assert notification["text"] == f"Up @[Bo *B*](user:{mention['id']})\n- one"
    [found] = (await bob.call("comments.search", {"q": "up", "topic": topic}))["items"]
    assert (found["comment"]["body"], found["highlights"]) == (comment["body"], [[2, 2]])


@BOTH
async def test_an_edit_keeps_the_format_unless_it_names_another(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    comment = await added(ann, topic, "*a*", format="markdown")
    seen = []
    for text, more in (
        ("~~b~~", {}),
        ("__b__", {"format": "markdown"}),
        ("**b**", {}),  # another text of the same body
        ("*c*", {"format": "plain"}),
        ("*d*", {}),
        ("*e*", {"format": "markdown"}),
    ):
        edit = {"commentId": comment["id"], "text": text, **more}
        edited = (await ann.call("comment.edit", edit))["comment"]
        assert await ann.call("comment.get", {"commentId": comment["id"]}) == edited
        seen.append(edited["body"])
    bold = paragraph(words("b", "bold"))
    assert seen == [paragraph(words("b", "strike")), bold, bold, None, None, paragraph(words("e", "italic"))]
    await ann.call("comment.delete", {"commentId": comment["id"]})
    log = await ann.call("topic.events", {"topic": topic})
    assert {event["data"].get("comment", comment | {"body": None})["body"] for event in log["events"]} == {
        None
    }


@BOTH
async def test_a_text_that_another_version_changes_has_no_body_of_the_text_before(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    comment = await added(ann, topic, "*a*", format="markdown")
    update = (
        f"UPDATE collab.comments SET text = 'b', revision = 2 WHERE id = '{comment['id']}' RETURNING body"
    )
    assert await asyncio.to_thread(cluster.database.sql, update) == ""
    shown = await ann.call("comment.get", {"commentId": comment["id"]})
    assert (shown["text"], shown["body"]) == ("b", None)


async def test_a_discussion_begins_with_a_formatted_comment(cluster: Cluster) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    about = {
        "name": "Board",
        "members": [{"kind": "user", "id": (await cluster.person("bob")).id}],
        "text": "*Hi*",
    }
    begun = (await ann.call("discussion.create", {**about, "format": "markdown"}))["discussion"]
    [first] = (await ann.call("topic.comments", {"topic": begun["topic"]}))["items"]
    assert first["body"] == paragraph(words("Hi", "italic"))


@BOTH
@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"format": "html"}, "invalid", "format"),
        ({"format": ["markdown"]}, "invalid", "format"),
        ({"format": "markdown", "text": "*" * 10_001}, "too_large", "text"),
    ],
    ids=["unknown", "list", "long"],
)
async def test_formats_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, more: dict[str, Any], code: str, field: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": "a", **more})
    assert (error["code"], error["field"]) == (code, field)


# --- editing and deleting


@BOTH
async def test_editing_keeps_what_was_said_before(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    first = await added(ann, topic, "One", anchor={"pageKey": "p"}, viewState={"a": 1})
    answer = await ann.call("comment.edit", {"commentId": first["id"], "text": "Two"})
    assert answer["seq"] == 2
    second = answer["comment"]
    assert TIME.fullmatch(second["editedAt"])
    assert second == {**first, "text": "Two", "revision": 2, "editedAt": second["editedAt"]}
    third = (await ann.call("comment.edit", {"commentId": first["id"], "text": "Three"}))["comment"]
    revisions = await bob.call("comment.revisions", {"commentId": first["id"]})
    assert revisions == {
        "items": [
            {"revision": 1, "text": "One", "mentions": [], "at": first["createdAt"]},
            {"revision": 2, "text": "Two", "mentions": [], "at": second["editedAt"]},
            {"revision": 3, "text": "Three", "mentions": [], "at": third["editedAt"]},
        ],
        "next": None,
    }
    events = (await bob.call("topic.events", {"topic": topic, "after": 1}))["events"]
    assert [(event["seq"], event["type"]) for event in events] == [
        (2, "comment.edited"),
        (3, "comment.edited"),
    ]
    assert events[1]["data"] == {"comment": third}


@BOTH
async def test_an_edit_shows_the_replies_that_are_there(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    root = await added(ann, topic, "One")
    await added(ann, topic, "Reply", replyTo=root["id"])
    assert (await ann.call("comment.edit", {"commentId": root["id"], "text": "Two"}))["comment"][
        "replyCount"
    ] == 1


# --- an id that the client has chosen


def chosen_id(seconds: float = 0) -> str:
    """A UUIDv7 of so many seconds from now."""
    milliseconds = int((time.time() + seconds) * 1000)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | random.getrandbits(62)))


@pytest.mark.parametrize("kind", ["plain", "reply", "mention"])
@BOTH
async def test_a_comment_gets_the_id_that_its_client_has_chosen(
    cluster: Cluster, topic: str, door: DoorName, kind: str
) -> None:
    ann, bob = await Door.open(cluster, door, "ann"), await cluster.client(1, "bob")
    ann_elsewhere = await cluster.client(2, "ann")
    root = await added(ann, topic, "Root")
    for client in (bob, ann_elsewhere):
        await client.call("topic.subscribe", {"topic": topic})
    id, carol = chosen_id(), (await cluster.person("carol")).id
    payload = {"topic": topic, "text": "Mine", "commentId": id.upper(), "requestId": f"q {id}"}
    payload |= {"reply": {"replyTo": root["id"]}, "mention": {"text": f"@[C](user:{carol})"}}.get(kind, {})
    answer = await ann.call("comment.add", payload)
    assert answer["comment"]["id"] == id
    assert (answer["comment"]["threadId"] == id) == (kind != "reply")
    for client in (bob, ann_elsewhere):
        assert (await client.wait_for_seq(topic, 2)).data["data"]["comment"] == answer["comment"]
    assert await bob.call("comment.get", {"commentId": id}) == answer["comment"]
    assert await ann_elsewhere.call("comment.add", payload) == answer
    other_id = {**payload, "commentId": chosen_id()}
    assert (await ann.refusal("comment.add", other_id))["field"] == "requestId"
    for again in ({**payload, "requestId": f"r {id}"}, {**payload, "requestId": None}):
        again = {name: value for name, value in again.items() if value is not None}
        error = await ann.refusal("comment.add", again)
        assert (error["code"], error["field"]) == ("conflict", "commentId")
    await ann.call("comment.delete", {"commentId": id})
    assert (await ann.refusal("comment.add", {**payload, "requestId": f"s {id}"}))["code"] == "conflict"
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 3


@BOTH
async def test_an_id_tells_nothing_about_what_its_chooser_may_not_see(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, dan = [await Door.open(cluster, door, login) for login in ("ann", "dan")]
    ids = chosen_id(), chosen_id()
    await ann.call("comment.add", {"topic": BOARD, "text": "Not for Dan", "commentId": ids[0]})
    await ann.call("comment.add", {"topic": topic, "text": "For Dan too", "commentId": ids[1]})
    errors = [await dan.refusal("comment.add", {"topic": topic, "text": "?", "commentId": id}) for id in ids]
    for error in errors:
        assert error.pop("ticketId")
    assert errors[0] == errors[1]


async def test_an_id_is_given_once_whoever_choose_it_at_once(cluster: Cluster) -> None:
    doors = [await Door.open(cluster, "socket", login, node) for node in range(3) for login in ("ann", "bob")]
    topics = [fresh_topic() for _ in range(4)]
    ids = [chosen_id() for _ in range(3)]
    asked = [
        (door, {"topic": topics[n % 4], "text": "Mine", **({} if n % 4 == 3 else {"commentId": ids[n % 3]})})
        for n, door in enumerate(doors * 8)
    ]
    answers = await asyncio.gather(*(door.ask("comment.add", payload) for door, payload in asked))
    stored = [answer["data"]["comment"] for answer in answers if answer["ok"]]
    assert sorted(comment["id"] for comment in stored if comment["id"] in ids) == sorted(ids)
    assert len(stored) == 12 + 3
    for answer in answers:
        if not answer["ok"]:
            assert (answer["error"]["code"], answer["error"]["field"]) == ("conflict", "commentId")
    for topic in topics:
        log = await doors[0].call("topic.events", {"topic": topic})
        own = [comment for comment in stored if comment["topic"] == topic]
        assert [event["data"]["comment"] for event in log["events"]] == sorted(own, key=itemgetter("seq"))
        assert [event["seq"] for event in log["events"]] == list(range(1, len(own) + 1))


@BOTH
async def test_an_id_that_is_chosen_is_a_uuidv7_of_about_now(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    for seconds in (-290, 290):
        word = f"w{random.getrandbits(48):x}"
        comment = await added(ann, topic, word, commentId=chosen_id(seconds))
        found = await ann.call("comments.search", {"q": word, "topic": topic})
        assert [item["comment"] for item in found["items"]] == [comment]
    for wrong in (
        *(chosen_id(seconds) for seconds in (-86_400, -310, 310, 86_400)),
        *(
            str(uuid4()),
            chosen_id()[:-1],
            chosen_id().replace("-", ""),
            "",
            "ffffffff-ffff-7fff-bfff-ffffffffffff",
        ),
    ):
        error = await ann.refusal("comment.add", {"topic": topic, "text": "x", "commentId": wrong})
        assert (error["code"], error["field"]) == ("invalid", "commentId"), wrong
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 2


async def test_a_command_that_took_effect_is_answered_as_it_was_when_its_id_is_too_old(
    cluster: Cluster, topic: str
) -> None:
    ann = await cluster.client(0, "ann")
    payload = {"topic": topic, "text": "Kept", "commentId": chosen_id(-298.5), "requestId": f"old {topic}"}
    first = await ann.call("comment.add", payload)

    async def is_too_old() -> bool:
        answer = await ann.ask("comment.add", {**payload, "requestId": "another"})
        code: str = answer["error"]["code"]
        return code == "invalid"

    await until(is_too_old, timeout=10)
    assert await ann.call("comment.add", payload) == first


# --- their order


async def test_pages_and_events_of_comments_written_at_once_go_together_by_seq(
    cluster: Cluster, topic: str
) -> None:
    doors: list[tuple[int, DoorName]] = [(0, "socket"), (1, "rest"), (2, "socket")]
    ann, *_ = writers = [await Door.open(cluster, door, "ann", node) for node, door in doors]
    follower = await cluster.client(1, "bob")
    await follower.call("topic.subscribe", {"topic": topic})
    root = await added(ann, topic, "Root")

    async def write(writer: Door) -> list[dict[str, Any]]:
        mentioned = "" if writer is ann else f" @[B](user:{(await cluster.person('bob')).id})"
        return [
            await added(writer, topic, f"{n}{mentioned}", **({"replyTo": root["id"]} if n % 3 == 0 else {}))
            for n in range(30)
        ]

    answered = [root, *(comment for some in await asyncio.gather(*map(write, writers)) for comment in some)]
    by_seq = {comment["seq"]: comment for comment in answered}
    assert sorted(by_seq) == list(range(1, 92))
    await follower.wait_for_seq(topic, 91)
    told = {event.seq: event.data["data"]["comment"] for event in follower.events if event.topic == topic}
    assert told == by_seq
    assert {comment["seq"] for comment in told.values()} == set(told)
    shown: list[Any] = []
    cursor = None
    while not shown or cursor is not None:
        page = await ann.call(
            "topic.comments", {"topic": topic, "limit": 40, "order": "newest", "cursor": cursor}
        )
        shown += page["items"]
        cursor = page["next"]
    assert [comment["seq"] for comment in shown] == list(range(91, 0, -1))
    assert [comment["id"] for comment in shown] == [by_seq[seq]["id"] for seq in range(91, 0, -1)]
    [newest] = (await ann.call("comments.search", {"q": "root", "topic": topic}))["items"]
    assert newest["comment"]["seq"] == 1


@BOTH
async def test_what_the_version_before_wrote_shows_the_seq_of_its_comments_too(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    bob = f"@[B](user:{(await cluster.person('bob')).id})"
    commands: list[tuple[str, dict[str, Any]]] = [
        ("comment.add", {"topic": topic, "text": "One", "requestId": f"1 {topic}"}),
        ("comment.add", {"topic": topic, "text": f"Two {bob}", "requestId": f"2 {topic}"}),
    ]
    answers = [await ann.call(*command) for command in commands]
    for number, answer in enumerate(answers[:]):
        edit = {
            "commentId": answer["comment"]["id"],
            "text": f'"seq":{number}}}',
            "requestId": f"e{number} {topic}",
        }
        commands.append(("comment.edit", edit))
        answers.append(await ann.call("comment.edit", edit))
    log = await ann.call("topic.events", {"topic": topic})
    for table, column in (("events", "data"), ("requests", "answer")):
        lost = await asyncio.to_thread(
            cluster.database.sql,
            rf"""
            WITH lost AS (
                UPDATE collab.{table}
                   SET {column} = regexp_replace({column}, ',"seq":[0-9]+\}}(\}}|,"seq":[0-9]+\}})$', '}}\1')
                 WHERE {column} LIKE '%{topic}%'
             RETURNING {column}
            )
            SELECT {column} FROM lost
            """,
        )
        assert (lost.count('"comment":'), lost.count('"seq":')) == (4, 0 if table == "events" else 4)
    assert await ann.call("topic.events", {"topic": topic}) == log
    follower = await cluster.client(1, "bob")
    assert (await follower.call("topic.subscribe", {"topic": topic, "after": 0}))["events"] == log["events"]
    assert [await ann.call(*command) for command in commands] == answers


@BOTH
async def test_only_the_author_may_edit_and_delete(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    comment = await added(ann, topic, "Mine")
    for text in ("Yours", "", "x" * 10_001):
        error = await bob.refusal("comment.edit", {"commentId": comment["id"], "text": text})
        assert error["code"] == "forbidden"
    assert (await bob.refusal("comment.delete", {"commentId": comment["id"]}))["code"] == "forbidden"
    assert await bob.call("comment.get", {"commentId": comment["id"]}) == comment
    assert (await bob.call("topic.get", {"topic": topic}))["seq"] == 1


@BOTH
async def test_a_deleted_comment_stays_as_a_tombstone_and_its_words_are_gone(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    live = await cluster.client(1, "carol")
    await live.call("topic.subscribe", {"topic": topic})
    carol = await cluster.person("carol")
    root = await added(
        ann, topic, f"Secret1 @[C](user:{carol.id})", anchor={"pageKey": "p"}, viewState={"k": "Secret2"}
    )
    await ann.call("comment.edit", {"commentId": root["id"], "text": "Secret3"})
    reply = await added(bob, topic, "A reply", replyTo=root["id"])
    answer = await ann.call("comment.delete", {"commentId": root["id"]})
    assert answer == {"seq": 4}

    tombstone = await bob.call("comment.get", {"commentId": root["id"]})
    assert TIME.fullmatch(tombstone["deletedAt"])
    assert (tombstone["text"], tombstone["mentions"], tombstone["viewState"]) == ("", [], None)
    assert (tombstone["anchor"], tombstone["replyCount"]) == ({"pageKey": "p"}, 1)
    listed = await bob.call("topic.comments", {"topic": topic})
    assert listed["items"] == [tombstone, reply]
    log = await bob.call("topic.events", {"topic": topic})
    assert [event["seq"] for event in log["events"]] == [1, 2, 3, 4]
    assert [event["data"]["comment"]["text"] for event in log["events"][:3]] == ["", "", "A reply"]
    assert log["events"][0]["data"]["comment"]["deletedAt"] == tombstone["deletedAt"]
    assert set(log["events"][0]["data"]["comment"]) == set(COMMENT_KEYS)
    assert log["events"][3]["type"] == "comment.deleted"
    assert log["events"][3]["data"] == {"commentId": root["id"], "threadId": root["id"]}
    revisions = await bob.call("comment.revisions", {"commentId": root["id"]})
    assert revisions["items"] == []
    again = await live.call("topic.subscribe", {"topic": topic, "after": 0})
    assert again["events"] == log["events"]
    for shown in (tombstone, listed, log, revisions, again):
        assert "Secret" not in repr(shown)
    event = await live.wait_for_seq(topic, 4)
    assert event.name == "comment.deleted"
    state = await bob.call("topic.get", {"topic": topic})
    assert (state["comments"], state["seq"]) == (1, 4)

    for command in ("comment.edit", "comment.delete"):
        payload = {"commentId": root["id"], **({"text": "x"} if command == "comment.edit" else {})}
        assert (await ann.refusal(command, payload))["code"] == "conflict"


def tables_with(database: TestDatabase, word: str) -> dict[str, str]:
    """The tables that hold the word anywhere, each with a row that does."""
    names = database.sql(
        "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'collab'"
    ).split()
    found = {
        name: database.sql(f"SELECT max(t::text) FROM collab.{name} AS t WHERE t::text LIKE '%{word}%'")
        for name in names
    }
    assert {"comments", "events", "requests", "notifications", "comment_revisions"} <= found.keys()
    return {name: row for name, row in found.items() if row}


@BOTH
async def test_no_table_holds_the_words_of_a_deleted_comment(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await Door.open(cluster, door, "ann"), await cluster.person("bob")
    word = f"Secret{uuid4().hex}"
    comment = await added(
        ann,
        topic,
        f"**{word}** @[{word}](user:{bob.id})",
        format="markdown",
        anchor={"pageKey": "p", "dataPoint": {word: word}},
        viewState={word: word},
        requestId=f"add-{uuid4()}",
    )
    for more in ("once more", "again"):
        text = f"*{word}* {more} @[{word}](user:{bob.id})"
        await ann.call(
            "comment.edit", {"commentId": comment["id"], "text": text, "requestId": f"edit-{uuid4()}"}
        )
    await (await Door.open(cluster, door, "bob")).call("notification.list", {})
    everywhere = {"comments", "events", "requests", "notifications", "comment_revisions"}
    assert tables_with(cluster.database, word).keys() == everywhere
    await ann.call("comment.delete", {"commentId": comment["id"]})
    assert tables_with(cluster.database, word) == {}


@BOTH
async def test_a_command_repeated_after_its_comment_is_deleted_gets_the_tombstone(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    command = {"topic": topic, "text": "Words", "anchor": {"dataPoint": 1}, "requestId": f"add-{uuid4()}"}
    first = await ann.call("comment.add", command)
    await ann.call("comment.delete", {"commentId": first["comment"]["id"]})
    tombstone = await ann.call("comment.get", {"commentId": first["comment"]["id"]})
    again = await ann.call("comment.add", command)
    assert repr(again) == repr({"comment": tombstone, "seq": first["seq"]})


@BOTH
async def test_a_deleted_comment_keeps_all_else_as_it_was(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    point = {"Year": 2026, "A": 1, "B": {"zz": None, "y": [1e30, 1e300, -0.0, 2.50]}, "": "x"}
    comment = await added(ann, topic, "Gone", anchor={"pageKey": "p", "dataPoint": point})
    for emoji in ("👍🏽", "👍", "🎉"):
        await ann.call("comment.react", {"commentId": comment["id"], "emoji": emoji})
    await ann.call("comment.edit", {"commentId": comment["id"], "text": "Edited"})
    await ann.call("comment.delete", {"commentId": comment["id"]})
    shown = await ann.call("comment.get", {"commentId": comment["id"]})
    log = (await ann.call("topic.events", {"topic": topic}))["events"]
    first, edited = log[0]["data"]["comment"], log[4]["data"]["comment"]
    assert repr(edited) == repr({**shown, "replyCount": 0})
    assert repr(first) == repr({**shown, "editedAt": None, "revision": 1, "reactions": {}})
    assert list(first) == COMMENT_KEYS


@BOTH
@pytest.mark.parametrize("command", ["comment.get", "comment.edit", "comment.delete", "comment.revisions"])
async def test_comments_that_are_not_there(cluster: Cluster, door: DoorName, command: str) -> None:
    ann = await Door.open(cluster, door, "ann")
    more = {"text": " "} if command == "comment.edit" else {}
    error = await ann.refusal(command, {"commentId": str(uuid4()), **more})
    assert error["code"] == "not_found"
    error = await ann.refusal(command, {"commentId": "x", **more})
    assert (error["code"], error["field"]) == ("invalid", "commentId")
    error = await ann.refusal(command, {"commentId": uuid4().hex, **more})
    assert (error["code"], error["field"]) == ("invalid", "commentId")


# --- lists


@BOTH
async def test_lists_go_by_pages_in_either_order(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    ids = [(await added(ann, topic, f"Comment {number}"))["id"] for number in range(7)]
    for order, expected in (("oldest", ids), ("newest", ids[::-1])):
        pages: list[list[str]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await ann.call("topic.comments", {"topic": topic, "order": order, "limit": 3, **cursor})
            assert list(page) == ["items", "seq", "next"]
            pages.append([comment["id"] for comment in page["items"]])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [id for page in pages for id in page] == expected
    assert (await ann.call("topic.comments", {"topic": topic, "limit": 7}))["next"] is None
    assert [c["id"] for c in (await ann.call("topic.comments", {"topic": topic}))["items"]] == ids


@BOTH
async def test_lists_are_narrowed_by_anchor_thread_and_state(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    page = await added(ann, topic, "p", anchor={"pageKey": "p"})
    both = await added(ann, topic, "p v", anchor={"pageKey": "p", "visualizationKey": "v", "dataPoint": 1})
    visualization = await added(ann, topic, "v", anchor={"visualizationKey": "v"})
    reply = await added(ann, topic, "reply", replyTo=page["id"])

    async def found(**filters: Any) -> list[str]:
        answer = await ann.call("topic.comments", {"topic": topic, **filters})
        return [comment["id"] for comment in answer["items"]]

    assert await found(pageKey="p") == [page["id"], both["id"], reply["id"]], "a reply is where its thread is"
    assert await found(visualizationKey="v") == [both["id"], visualization["id"]]
    assert await found(pageKey="p", visualizationKey="v") == [both["id"]]
    assert await found(pageKey="P") == []
    assert await found(thread=page["id"]) == [page["id"], reply["id"]]
    assert await found(thread=str(uuid4())) == []
    assert await found(resolved=True) == []
    assert len(await found(resolved=False)) == 4
    assert await found(thread=page["id"], order="newest", resolved=False) == [reply["id"], page["id"]]


@BOTH
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0),
        ("limit", 201),
        ("limit", -1),
        ("limit", "ten"),
        ("limit", 2.5),
        ("cursor", "abc"),
        ("cursor", ""),
        ("cursor", "cy0x"),
        ("cursor", "_" * 5000),
        ("order", "random"),
        ("thread", "x"),
        ("resolved", "maybe"),
        ("offset", 3),
    ],
)
async def test_lists_asked_for_wrongly(
    cluster: Cluster, topic: str, door: DoorName, field: str, value: Any
) -> None:
    ann = await Door.open(cluster, door, "ann")
    error = await ann.refusal("topic.comments", {"topic": topic, field: value})
    assert (error["code"], error["field"]) == ("invalid", field)


# --- rights


@BOTH
async def test_whoever_may_not_open_the_dashboard_learns_nothing_of_its_comments(
    cluster: Cluster, door: DoorName
) -> None:
    ann, bob, dan = [await Door.open(cluster, door, login) for login in ("ann", "bob", "dan")]
    comment = await added(ann, BOARD, "Among us")
    assert await bob.call("comment.get", {"commentId": comment["id"]}) == comment
    for command, payload in (
        ("topic.get", {"topic": BOARD}),
        ("topic.comments", {"topic": BOARD}),
        ("topic.comments", {"topic": BOARD, "limit": 1000, "cursor": "?"}),
        ("topic.events", {"topic": BOARD}),
        ("topic.events", {"topic": BOARD, "after": -1}),
        ("comment.add", {"topic": BOARD, "text": "Let me in"}),
        ("comment.add", {"topic": BOARD, "text": ""}),
        ("comment.add", {"topic": BOARD, "text": "x" * 10_001, "replyTo": "x"}),
        ("comment.get", {"commentId": comment["id"]}),
        ("comment.edit", {"commentId": comment["id"], "text": " "}),
        ("comment.delete", {"commentId": comment["id"]}),
        ("comment.revisions", {"commentId": comment["id"]}),
    ):
        assert (await dan.refusal(command, payload))["code"] == "not_found", command


@BOTH
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("content:F0000000000000000000000000000001:" + "0" * 32, "not_found"),
        ("content:" + "0" * 32 + ":DA000000000000000000000000000001", "not_found"),
        ("inbox:B22B0000000000000000000000000002", "not_found"),
        ("content:F0000000000000000000000000000001", "invalid"),
        ("content:x:y", "invalid"),
        ("discussion:1", "invalid"),
        ("inbox:me", "invalid"),
        ("board:1", "invalid"),
        ("content:" + "Ａ" * 32 + ":DA000000000000000000000000000001", "invalid"),
    ],
)
async def test_topics_that_are_none(cluster: Cluster, door: DoorName, name: str, code: str) -> None:
    ann = await Door.open(cluster, door, "ann")
    for command, more in (
        ("topic.get", {}),
        ("topic.comments", {}),
        ("topic.events", {}),
        ("comment.add", {"text": "x"}),
    ):
        error = await ann.refusal(command, {"topic": name, **more})
        assert error["code"] == code
        assert code != "invalid" or error["field"] == "topic"


@BOTH
async def test_nobody_comments_on_an_inbox(cluster: Cluster, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    inbox = f"inbox:{(await cluster.person('ann')).id}"
    assert (await ann.call("topic.get", {"topic": inbox}))["seq"] >= 0
    assert (await ann.refusal("comment.add", {"topic": inbox, "text": "x"}))["code"] == "forbidden"


# --- reading a topic


@BOTH
async def test_a_topic_that_nobody_wrote_to_exists(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    state = await ann.call("topic.get", {"topic": topic})
    assert list(state) == [
        *("topic", "epoch", "seq", "comments", "readSeq", "unread", "muted", "commenting", "rights"),
        "present",
    ]
    assert {"comment.add", "comment.edit", "topic.subscribe"} <= set(state["rights"])
    rights, epoch = state.pop("rights"), state.pop("epoch")
    assert len(set(rights)) == len(rights)
    counts = {"seq": 0, "comments": 0, "readSeq": 0, "unread": 0}
    assert state == {"topic": topic, **counts, "muted": False, "commenting": True, "present": []}
    log = await ann.call("topic.events", {"topic": topic})
    assert log == {"epoch": epoch, "seq": 0, "events": [], "more": False}


@BOTH
async def test_own_comments_are_never_unread(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    await added(ann, topic, "One")
    await added(bob, topic, "Two")
    await added(bob, topic, "Three")
    assert (await ann.call("topic.get", {"topic": topic}))["unread"] == 2
    assert (await bob.call("topic.get", {"topic": topic}))["unread"] == 1


@BOTH
async def test_the_log_is_read_in_stretches(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    for number in range(5):
        await added(ann, topic, f"Comment {number}")

    async def stretch(**arguments: Any) -> tuple[list[int], int, bool]:
        log = await ann.call("topic.events", {"topic": topic, **arguments})
        return [event["seq"] for event in log["events"]], log["seq"], log["more"]

    assert await stretch() == ([1, 2, 3, 4, 5], 5, False)
    assert await stretch(after=2) == ([3, 4, 5], 5, False)
    assert await stretch(after=1, limit=2) == ([2, 3], 5, True)
    assert await stretch(after=3, limit=2) == ([4, 5], 5, False)
    assert await stretch(after=5) == ([], 5, False)
    assert await stretch(after=50) == ([], 5, False)
    for arguments in ({"after": -1}, {"limit": 0}, {"limit": 501}, {"after": "x"}, {"after": 2**60}):
        error = await ann.refusal("topic.events", {"topic": topic, **arguments})
        assert (error["code"], error["field"]) == ("invalid", next(iter(arguments)))


@BOTH
async def test_me_says_who_one_is(cluster: Cluster, door: DoorName) -> None:
    for login, is_administrator in (("carol", False), ("admin", True)):
        somebody = await Door.open(cluster, door, login, 2)
        person = await cluster.person(login)
        assert await somebody.call("me") == {
            "user": {"id": person.id, "name": person.name, "initials": person.initials},
            "administrator": is_administrator,
        }


async def test_the_author_gets_the_event_too(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    answer = await ann.call("comment.add", {"topic": topic, "text": "To myself"})
    event = await ann.wait_for_seq(topic, 1)
    assert event.name == event.data["type"] == "comment.added"
    assert event.data["data"]["comment"] == answer["comment"]


async def test_events_are_the_same_live_and_in_the_log(cluster: Cluster, topic: str) -> None:
    readers: list[Client] = [await cluster.client(node, "bob") for node in range(3)]
    for reader in readers:
        await reader.call("topic.subscribe", {"topic": topic})
    ann = await Door.open(cluster, "rest", "ann", 1)
    comment = await added(
        ann, topic, "Ä", anchor={"dataPoint": 1.5}, viewState={"b": [1.0, 10**20], "a": "🦊"}
    )
    await ann.call("comment.edit", {"commentId": comment["id"], "text": "Ö"})
    log = (await ann.call("topic.events", {"topic": topic}))["events"]
    for reader in readers:
        await reader.wait_for_seq(topic, 2)
        assert repr([event.data for event in reader.events_of(topic)]) == repr(log)
