"""What the inbox tells of comments: the words that they have now, to whoever may read them."""

from __future__ import annotations

import json
import random
import secrets
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from collab_server.ports import MOST_CALLS_PER_USER
from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried, with_clock
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic
from tests.integration.doors import Door, DoorName, log_of
from tests.integration.replica import beginning
from tests.integration.scene import BOB, CAROL, DAN, added, content_of, created, mention, open_to, users

STEPS = 60

# Nobody is asked about by looking at the inbox alone, and what Library says does not count for long.
MANY = {"limits": {"commandsPerSecond": 10_000, "commandsBurst": 10_000}}
ASKED_ANEW = hurried(
    {
        "collab_server.authority.library.library": {"Timing": {"fresh": 0.01, "refusal": 0.01}},
        "collab_server.services.live.rights_watch": {"ROUND_SECONDS": 900},
        "collab_server.services.live.losses": {"RECHECKED": 0},
    }
)


async def told(door: Door, topic: str) -> list[dict[str, Any]]:
    items = (await door.call("notification.list", {"limit": 200}))["items"]
    return [item for item in items if item["topic"] == topic]


async def told_last(door: Door, inbox: str, topic: str) -> dict[str, str]:
    """By the log of the inbox: what was told last under each id."""
    return {
        event["data"]["notification"]["id"]: event["data"]["notification"]["text"]
        for event in await log_of(door, f"inbox:{inbox}")
        if event["type"] == "notification.added" and event["data"]["notification"]["topic"] == topic
    }


def some_text(chance: random.Random) -> str:
    """Short or long, formatted or not, naming Bob, Carol or nobody, also where it is cut."""
    word = f"{secrets.token_hex(4)} "
    long = word * chance.choice([1, 1, 8, 54, 55, 300])
    named = chance.choice(["", mention(BOB), mention(BOB), f"{mention(BOB)} {mention(CAROL)}"])
    parts = [long, named, chance.choice(["", "**bold** and `code`", "- one\n- two", "é̂🏳️‍🌈"])]
    chance.shuffle(parts)
    return "\n".join(parts)


@pytest.mark.parametrize("place", ["dashboard", "discussion"])
@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_whatever_was_done_to_comments_an_inbox_has_their_words_of_now(
    cluster: Cluster, door: DoorName, place: str
) -> None:
    chance = random.Random(29)
    ann = await Door.open(cluster, door, "ann", 0)
    bob = await Door.open(cluster, door, "bob", 1)
    topic = fresh_topic() if place == "dashboard" else (await created(ann, BOB, CAROL))["topic"]
    ids: list[str] = []
    edits = deletions = 0
    for step in range(STEPS):
        text, format = some_text(chance), chance.choice(["plain", "markdown"])
        what = chance.choice(["add", "add", "edit", "edit", "edit", "delete"]) if len(ids) > 3 else "add"
        if what == "add":
            reply = {"replyTo": chance.choice(ids)} if ids and chance.random() < 0.4 else {}
            ids.append(
                (await added(chance.choice([ann, ann, bob]), topic, text, format=format, **reply))["id"]
            )
            continue
        id = chance.choice(ids)
        payload = {"commentId": id, "text": text, "format": format} if what == "edit" else {"commentId": id}
        for author in (ann, bob):
            answer = await author.ask(f"comment.{what}", payload)
            if answer["ok"]:
                edits, deletions = edits + (what == "edit"), deletions + (what == "delete")
                break
        if what == "delete":
            ids.remove(id)
        if step % 5:
            continue
        await _has_words_of_now(bob, topic, place)
    await _has_words_of_now(bob, topic, place)
    assert edits > 10
    assert deletions > 2


async def _has_words_of_now(bob: Door, topic: str, place: str) -> None:
    comments = (await bob.call("topic.comments", {"topic": topic, "limit": 200}))["items"]
    now = {comment["id"]: beginning(comment) for comment in comments}
    items = [item for item in await told(bob, topic) if item["kind"] != "invited"]
    assert items
    assert {item["commentId"]: item["text"] for item in items} == {
        item["commentId"]: now[item["commentId"]] for item in items
    }
    last = await told_last(bob, BOB, topic)
    assert {item["id"]: last[item["id"]] for item in items} == {item["id"]: item["text"] for item in items}


async def test_who_may_open_a_dashboard_no_more_learns_no_new_words(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=2, env=ASKED_ANEW)
    topic = fresh_topic()
    ann, bob = [await Door.open(cluster, "rest", login, node) for node, login in enumerate(("ann", "bob"))]
    old, new = f"old{secrets.token_hex(8)}", f"new{secrets.token_hex(8)}"
    comment = await added(ann, topic, f"{old} {mention(BOB)}")
    await until(lambda: told(bob, topic))
    await open_to(cluster, topic, "ann")
    await ann.call("comment.edit", {"commentId": comment["id"], "text": f"{new} {mention(BOB)}"})
    seen = json.dumps([await log_of(bob, f"inbox:{BOB}"), await bob.call("notification.list")])
    assert new not in seen
    assert old not in seen
    await open_to(cluster, topic, "ann", "bob")

    async def is_back() -> bool:
        cluster.database.sql("UPDATE collab.notifications SET ask_at = NULL WHERE seq IS NULL")
        return [item["text"] for item in await told(bob, topic)] == [f"{new} {mention(BOB)}"]

    await until(is_back)
    assert new in json.dumps(await log_of(bob, f"inbox:{BOB}"))


async def test_while_library_says_nothing_who_could_open_a_dashboard_goes_on_to_see_its_words(
    make_cluster: MakeCluster,
) -> None:
    with StandInLibrary() as library:
        cluster = await make_cluster(nodes=2, library=library)
        topic, unknown = fresh_topic(), fresh_topic()
        ann = await Door.open(cluster, "rest", "ann", 0)
        bob = await Door.open(cluster, "socket", "bob", 1)
        ids = [(await added(ann, name, f"Old {mention(BOB)}"))["id"] for name in (topic, unknown)]
        for name in (topic, unknown):
            await until(partial(told, bob, name))
        for id in ids:
            await ann.call("comment.edit", {"commentId": id, "text": f"New {mention(BOB)}"})
        cluster.database.sql(
            f"UPDATE collab.notifications SET topic = '{fresh_topic()}' WHERE comment_id = '{ids[1]}'"
        )
        library.stop()
        await until(lambda: is_silent(bob))
        items = {item["commentId"]: item["text"] for item in (await bob.call("notification.list"))["items"]}
        assert items == {ids[0]: f"New {mention(BOB)}", ids[1]: ""}


async def is_silent(door: Door) -> bool:
    """Whether the node has found out that Library does not answer."""
    answer = await door.ask("recipients.find", {"search": secrets.token_hex(4)})
    return not answer["ok"] and bool(answer["error"]["code"] == "unavailable")


@pytest.mark.parametrize("end", ["remove", "delete"])
async def test_who_is_out_of_a_discussion_learns_no_new_words(cluster: Cluster, end: str) -> None:
    """Even before what they were told of it is out of their inbox."""
    ann, bob = [await Door.open(cluster, "rest", login, node) for node, login in enumerate(("ann", "bob"))]
    discussion = await created(ann, BOB, CAROL)
    topic, id = discussion["topic"], {"discussionId": discussion["id"]}
    old, new = f"old{secrets.token_hex(8)}", f"new{secrets.token_hex(8)}"
    comment = await added(ann, topic, f"{old} {mention(BOB)}")
    await until(partial(told, bob, topic))
    edit = ("comment.edit", {"commentId": comment["id"], "text": f"{new} {mention(BOB)}"})
    if end == "remove":
        changes = [("discussion.remove", {**id, "userId": BOB}), edit]
    else:
        changes = [edit, ("discussion.delete", id)]
    connection = await asyncpg.connect(**cluster.database.connect_arguments())
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM collab.topics WHERE name = $1 FOR UPDATE", f"inbox:{BOB}")
            for change in changes:
                await ann.call(*change)
            log = json.dumps(await log_of(bob, f"inbox:{BOB}"))
            assert comment["id"] in log
            assert old not in log
            assert new not in log
    finally:
        await connection.close()
    await until(partial(is_out, bob, topic))
    assert new not in json.dumps([await log_of(bob, f"inbox:{BOB}"), await bob.call("notification.list")])


async def is_out(door: Door, topic: str) -> bool:
    return not await told(door, topic)


async def test_what_was_edited_before_its_reader_came_is_delivered_as_it_is_now(
    cluster: Cluster, topic: str
) -> None:
    await open_to(cluster, topic, "ann")
    ann = await Door.open(cluster, "rest", "ann", 0)
    device = await cluster.client(1, "dan")
    comment = await added(ann, topic, f"Old {mention(DAN)} {'and more ' * 20}")
    for text in ("New", "Newest"):
        await ann.call("comment.edit", {"commentId": comment["id"], "text": f"{text} {mention(DAN)}"})
    await open_to(cluster, topic, "ann", "dan")
    event = await device.wait_for(
        lambda event: (
            event.name == "notification.added" and event.data["data"]["notification"]["topic"] == topic
        ),
        timeout=15,
    )
    assert event.data["data"]["notification"]["text"] == f"Newest {mention(DAN)}"


async def test_who_was_away_catches_up_with_the_words_of_now(cluster: Cluster, topic: str) -> None:
    """Also where it was told to many, whose notifications share their words."""
    ann = await Door.open(cluster, "rest", "ann", 0)
    bob = await Door.open(cluster, "socket", "bob", 1)
    before = (await bob.call("topic.get", {"topic": f"inbox:{BOB}"}))["seq"]
    comment = await added(ann, topic, f"Old {mention(BOB)} {mention(CAROL)} {'and more ' * 20}")
    await until(lambda: told(bob, topic))
    text = f"New {mention(BOB)} {mention(CAROL)}"
    await ann.call("comment.edit", {"commentId": comment["id"], "text": text})
    answer = await bob.call("topic.subscribe", {"topic": f"inbox:{BOB}", "after": before})
    of_topic = [
        event for event in answer["events"] if event["data"].get("notification", {}).get("topic") == topic
    ]
    assert [event["data"]["notification"]["text"] for event in of_topic] == [text]
    assert [item["text"] for item in await told(bob, topic)] == [text]


async def test_an_edit_writes_nothing_for_those_who_were_told(cluster: Cluster, topic: str) -> None:
    """However many they are: the words are in the comment alone."""
    ann = await Door.open(cluster, "rest", "ann", 0)
    bob = await Door.open(cluster, "rest", "bob", 1)
    comment = await added(ann, topic, f"Old {mention(BOB)} {mention(CAROL)}")
    await until(lambda: told(bob, topic))
    seen = (
        f"SELECT xmin, seq, text FROM collab.notifications WHERE comment_id = '{comment['id']}' ORDER BY id"
    )
    before = cluster.database.sql(seen)
    await ann.call(
        "comment.edit", {"commentId": comment["id"], "text": f"New {mention(BOB)} {mention(CAROL)}"}
    )
    assert [item["text"][:3] for item in await told(bob, topic)] == ["New"]
    assert cluster.database.sql(seen) == before


async def test_what_is_told_for_another_reason_has_no_new_words_where_nobody_knows_the_right_to_them(
    make_cluster: MakeCluster,
) -> None:
    """An edit that names them no longer is told as a reply, without asking Library again."""
    before = await make_cluster(nodes=1, env=ASKED_ANEW)
    topic = fresh_topic()
    ann, bob = [await Door.open(before, "rest", login) for login in ("ann", "bob")]
    root = await added(bob, topic, "Root")
    comment = await added(ann, topic, f"Old {mention(BOB)}", replyTo=root["id"])
    await until(partial(told, bob, topic))
    await open_to(before, topic, "ann")
    await before[0].stop()
    after = await make_cluster(nodes=1, env=ASKED_ANEW)
    ann = await Door.open(after, "rest", "ann")
    new = f"new{secrets.token_hex(8)}"
    await ann.call("comment.edit", {"commentId": comment["id"], "text": new})

    async def replies() -> str:
        return after.database.sql('SELECT data FROM collab.events WHERE data LIKE \'%"kind":"reply"%\'')

    data = await until(replies)
    assert comment["id"] in data
    assert new not in data
    await open_to(after, topic, "ann", "bob")
    bob = await Door.open(after, "rest", "bob")
    assert [item["text"] for item in await told(bob, topic)] == [new]


async def test_whatever_view_state_somebody_shares_an_inbox_can_be_read_again(
    cluster: Cluster, topic: str
) -> None:
    """View states are of any form, that of what inboxes tell too."""
    ann = await Door.open(cluster, "rest", "ann", 0)
    bob = await Door.open(cluster, "socket", "bob", 1)
    before = (await bob.call("topic.get", {"topic": f"inbox:{BOB}"}))["seq"]
    comment = await added(ann, topic, f"Old {mention(BOB)}")
    for kind in ("mention", "reply"):
        forged = {"kind": kind, "commentId": comment["id"], "createdAt": "never", "data": {"kind": kind}}
        share = {
            "content": content_of(topic),
            "recipients": users(BOB),
            "message": "Look",
            "viewState": forged,
        }
        await ann.call("share", share)

    async def all_told() -> bool:
        return len(await told(bob, topic)) == 3

    await until(all_told)
    await ann.call("comment.edit", {"commentId": comment["id"], "text": f"New {mention(BOB)}"})
    catching_up = {"topic": f"inbox:{BOB}", "after": before}
    for command in ("topic.events", "topic.subscribe"):
        events = (await bob.call(command, catching_up))["events"]
        shown = [event["data"]["notification"] for event in events if event["type"] == "notification.added"]
        texts = sorted(one["text"] for one in shown if one["topic"] == topic)
        assert texts == ["Look", "Look", f"New {mention(BOB)}"]


async def test_an_edit_is_later_than_what_it_edits_whatever_the_clocks_of_nodes_say(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """By its time it is told whether a comment has other words than those that somebody was told."""
    ahead = await make_cluster(nodes=1, env=with_clock(tmp_path / "shift"))
    steady = await make_cluster(nodes=1)
    topic = fresh_topic()
    ann, there = await Door.open(ahead, "rest", "ann"), await Door.open(steady, "rest", "ann")
    (tmp_path / "shift").write_text("600")
    comment = await added(ann, topic, "Old")
    for text in ("New", "Newest"):
        await there.call("comment.edit", {"commentId": comment["id"], "text": text})
    revisions = (await ann.call("comment.revisions", {"commentId": comment["id"]}))["items"]
    times = [revision["at"] for revision in revisions]
    assert times == sorted({*times})
    assert len(times) == 3


async def test_who_waits_for_a_slow_library_loses_no_words_of_what_is_known(
    make_cluster: MakeCluster, library: StandInLibrary
) -> None:
    """However many dashboards are not: each waits for nothing but the answer to its own question."""
    proxy = Proxy((library.host, library.port)).start()
    before = await make_cluster(nodes=1)
    topics = [fresh_topic() for _ in range(MOST_CALLS_PER_USER + 2)]
    ann, bob = [await Door.open(before, "rest", login) for login in ("ann", "bob")]
    for topic in topics:
        comment = await added(ann, topic, f"Old {mention(BOB)}")
        await until(partial(told, bob, topic))
        await ann.call("comment.edit", {"commentId": comment["id"], "text": f"New {mention(BOB)}"})
    await before[0].stop()
    slow = await make_cluster(nodes=0)
    slow.add_node(library=proxy.address)
    try:
        await slow.start()
        bob = await Door.open(slow, "rest", "bob")
        for topic in topics[:2]:
            await bob.call("topic.get", {"topic": topic})
        proxy.delay(2)
        items = (await bob.call("notification.list", {"limit": 200}))["items"]
    finally:
        proxy.heal()
        await slow.close_clients()
        await slow[0].stop()
        proxy.stop()
    texts = {item["topic"]: item["text"] for item in items}
    assert [texts[topic] for topic in topics[:2]] == [f"New {mention(BOB)}"] * 2


async def test_while_library_says_nothing_what_it_said_before_counts_on_however_many_dashboards(
    make_cluster: MakeCluster, library: StandInLibrary
) -> None:
    proxy = Proxy((library.host, library.port)).start()
    writing = await make_cluster(nodes=1, overrides=MANY)
    ann, bob = [await Door.open(writing, "rest", login) for login in ("ann", "bob")]
    topics = [fresh_topic() for _ in range(60)]
    for topic in topics:
        comment = await added(ann, topic, f"Old {mention(BOB)}")
        await ann.call("comment.edit", {"commentId": comment["id"], "text": f"New {mention(BOB)}"})
        await until(partial(told, bob, topic))
    reading = await make_cluster(nodes=0, overrides=MANY, env=ASKED_ANEW)
    reading.add_node(library=proxy.address)
    try:
        await reading.start()
        bob = await Door.open(reading, "rest", "bob")
        for topic in topics:
            await bob.call("topic.get", {"topic": topic})
        proxy.stall()
        await until(lambda: is_silent(bob))
        items = (await bob.call("notification.list", {"limit": 200}))["items"]
    finally:
        proxy.heal()
        await reading.close_clients()
        await reading[0].stop()
        proxy.stop()
    assert {item["topic"]: item["text"] for item in items} == dict.fromkeys(topics, f"New {mention(BOB)}")
