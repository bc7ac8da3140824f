"""What is really sent is what asyncapi.json and schema.json say: every answer, event and signal, nothing beyond."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from collab_server.contract.events import EVENTS, SIGNALS
from collab_server.services.commands.table import TABLE
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.integration.doors import Door
from tests.integration.scene import BOB, FINANCE, PAYLOADS, PLACES, Scene, groups, mention, users

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = json.loads((DOCS / "asyncapi.json").read_text())
RARE = {"server.state", "server.signed_out", "session.refresh"}
"""What this test does not bring about, and an answer whose command needs a token from Library."""


def _strict(schema: Any) -> Any:
    """The schema, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(item) for key, item in schema.items()}
    if isinstance(strict.get("properties"), dict) and strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
    return strict


COMPONENTS = _strict({"schemas": DOCUMENT["components"]["schemas"]})
TYPES = _strict(json.loads((DOCS / "schema.json").read_text())["$defs"])
PARTS = {
    part: TYPES[f"{part.capitalize()}ByName"]["properties"] for part in ("commands", "events", "signals")
}


def check(message: str, value: Any) -> None:
    """Raises unless the value is what the document says that this message carries."""
    schema = _strict(DOCUMENT["components"]["messages"][message]["payload"])
    Draft202012Validator({**schema, "components": COMPONENTS}, format_checker=FormatChecker()).validate(value)
    name = message.removesuffix(".answer").removesuffix(".sent")
    if message.endswith(".answer"):
        command = TYPES[PARTS["commands"][name]["$ref"].removeprefix("#/$defs/")]["properties"]
        typed, type_of_it = value.get("data", value.get("error")), command["answer"]
        if not value["ok"]:
            type_of_it = TYPES["ErrorsByName"]["properties"][typed["code"]]
    else:
        typed, type_of_it = value, PARTS["events" if name in PARTS["events"] else "signals"][name]
    Draft202012Validator({**type_of_it, "$defs": TYPES}, format_checker=FormatChecker()).validate(typed)


def check_received(client: Client) -> set[str]:
    """Check everything that a client was sent; returns the names."""
    for event in client.events:
        check(f"{event.name}.sent" if event.name in TABLE else event.name, event.data)
    return {event.name for event in client.events}


async def test_everything_that_is_sent_is_as_documented(cluster: Cluster) -> None:
    ann, bob, eve = [
        await Door.open(cluster, "socket", login, node) for node, login in enumerate(("ann", "bob", "eve"))
    ]
    scene = await Scene.make(cluster, ann, bob, eve)
    clients = [door.client for door in (ann, bob, eve)]
    for door in (ann, bob, eve):
        for place in ("content", "discussion"):
            await door.call("topic.subscribe", {"topic": scene.topic(place), "after": 0})
    answered: set[str] = set()

    async def give(door: Door, name: str, payload: Any) -> Any:
        """Give a command, whatever becomes of it, and hold its answer against the document."""
        answer = await door.ask(name, payload)
        check(f"{name}.answer", answer)
        if answer["ok"]:
            answered.add(name)
        return answer.get("data")

    # Deleting ends what the others are about.
    last = ("comment.delete", "discussion.leave", "discussion.delete")
    for name in sorted(TABLE, key=lambda name: name in last):
        for place in PLACES:
            for door in (eve, bob, ann):
                payload = PAYLOADS[name](scene, place)
                if payload is not None and name != "session.end":
                    await give(door, name, payload)
    for door in (bob, ann):
        said = (await give(door, "comment.add", {"topic": scene.content, "text": f"{mention(BOB)} again"}))[
            "comment"
        ]
        here = {"commentId": said["id"]}
        await give(door, "topic.subscribe", {"topic": scene.content, "after": 0})
        await give(door, "typing", {"topic": scene.content, "typing": True})
        await give(door, "comment.react", {**here, "emoji": "👍"})
        await give(door, "comment.unreact", {**here, "emoji": "👍"})
        await give(door, "thread.resolve", here)
        await give(door, "thread.reopen", here)
        await give(door, "comment.edit", {**here, "text": "better"})
        await give(door, "comment.delete", here)
        await give(
            door, "topic.mute", {"topic": scene.content, "muted": True, "until": "2999-01-01T00:00:00Z"}
        )
        await give(door, "topic.mute", {"topic": scene.content, "muted": False})
    discussion = (
        await give(ann, "discussion.create", {"name": "Plans", "members": users(BOB), "text": "first"})
    )["discussion"]
    for door in (ann, bob):
        await give(door, "topic.subscribe", {"topic": discussion["topic"], "after": 0})
    assert ann.client is not None
    await ann.client.wait_for(lambda event: event.name == "presence" and event.topic == discussion["topic"])
    here = {"discussionId": discussion["id"]}
    await give(ann, "discussion.rename", {**here, "name": "renamed"})
    await give(ann, "discussion.invite", {**here, "members": groups(FINANCE)})
    await give(ann, "discussion.transfer", {**here, "userId": BOB})
    await give(ann, "discussion.leave", here)
    await give(bob, "discussion.delete", here)
    assert bob.client is not None
    await bob.client.wait_for(
        lambda event: event.name == "topic.closed" and event.topic == discussion["topic"]
    )
    admin = await Door.open(cluster, "socket", "admin")
    for is_commenting in (False, True):
        await give(admin, "topic.switch", {"topic": scene.content, "commenting": is_commenting})
    await bob.client.wait_for("topic.rights")
    await give(ann, "topic.watch", {"topics": [scene.content]})
    await give(bob, "comment.add", {"topic": scene.content, "text": "watched"})
    await ann.client.wait_for("topic.summary")
    for event in (await give(bob, "topic.events", {"topic": scene.content}))["events"]:
        check(event["type"], event)
    for door in (ann, bob):
        await give(door, "session.end", {})
    received = set().union(*(check_received(client) for client in clients if client is not None))
    assert TABLE.keys() - answered <= RARE
    # The first event of a discussion is only ever read: nobody is subscribed to what is just being made.
    assert (EVENTS.keys() | SIGNALS.keys()) - received <= RARE | {"discussion.created"}
