"""What somebody puts in the way of others' inboxes, and how much one command may put there."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from collab_server.demo.serving import LoopbackServer
from collab_server.demo.standin import Group, Person, create_standin
from collab_server.storage.inbox import SENDERS_ROWS
from tests.faults.proxy import Proxy
from tests.harness.clients import Client, Failed, new_session
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, World, fresh_topic, test_data
from tests.hostile.conftest import MakeNode
from tests.hostile.costs import Node1GiB
from tests.integration.scene import DAN, content_of, groups, mention, open_to, users

CROWD = 1000
EVERYBODY = "6A0000000000000000000000000000EE"
MANY_MORE = "6A0000000000000000000000000000EF"
SOME = "6A0000000000000000000000000000E0"


class CrowdedLibrary(StandInLibrary):
    """A stand-in where a group has 1,000 members, and another 1,100."""

    def __init__(self) -> None:
        data = test_data()
        crowd = tuple(
            Person(login=f"crowd{n}", id=f"C0{n:030X}", fullName=f"One {n}", initials="ON")
            for n in range(CROWD + 100)
        )
        more = (
            Group(id=EVERYBODY, name="Everybody", members=tuple(one.login for one in crowd[:CROWD])),
            Group(id=SOME, name="Some", members=tuple(one.login for one in crowd[:199])),
            Group(id=MANY_MORE, name="Many more", members=tuple(one.login for one in crowd)),
        )
        grown = data.model_copy(update={"people": (*data.people, *crowd), "groups": (*data.groups, *more)})
        LoopbackServer.__init__(self, create_standin(grown), name="crowded Library")


@pytest.fixture(scope="module")
def crowded() -> Any:
    with CrowdedLibrary() as library:
        yield library


@pytest_asyncio.fixture
async def crowded_node(make_node: MakeNode, crowded: StandInLibrary) -> Node1GiB:
    return await make_node(library=crowded)


async def calls(node: Node1GiB) -> int:
    """How often Library was asked about anything."""
    url = f"{node.cluster.library.root}/standin/calls"
    async with new_session(keeps_cookies=False) as http, http.get(url) as answer:
        return sum((await answer.json()).values())


def waiting(node: Node1GiB, user_id: str) -> int:
    where = f"user_id = '{user_id}' AND seq IS NULL"
    return int(node.cluster.database.sql(f"SELECT count(*) FROM collab.notifications WHERE {where}"))


def told(client: Client) -> list[dict[str, Any]]:
    """The events that brought the client something into their inbox."""
    return [event.data for event in client.events if event.name == "notification.added"]


async def share(client: Client, topic: str, **more: Any) -> Any:
    return await client.call("share", {"content": content_of(topic), "recipients": users(DAN), **more})


async def test_nobody_closes_an_inbox_by_sharing_what_may_not_be_opened(node: Node1GiB) -> None:
    eve, ann = await node.cluster.client(0, "eve"), await node.cluster.client(0, "ann")
    dan = await node.cluster.client(0, "dan")
    unread = (await dan.call("notification.count"))["unread"]
    closed = [fresh_topic() for _ in range(3 * SENDERS_ROWS)]
    for topic in closed:
        await open_to(node.cluster, topic, "eve")
        await share(eve, topic)
    await until(lambda: waiting(node, DAN) == SENDERS_ROWS, 20, "of one sender the latest wait on")

    good = fresh_topic()
    await share(ann, good, message="Look")
    event = await dan.wait_for(lambda event: event.name == "notification.added", timeout=10)
    assert event.data["data"]["notification"]["topic"] == good

    later = "UPDATE collab.notifications SET ask_at = now() + interval '1 hour' WHERE seq IS NULL"
    node.cluster.database.sql(later)
    before = await calls(node)
    for _ in range(20):
        assert (await dan.call("notification.count"))["unread"] == unread + 1
        assert (await dan.call("notification.list"))["items"][0]["topic"] == good
    assert await calls(node) == before, "to read an inbox asks Library nothing"

    await open_to(node.cluster, closed[-1], "eve", "dan")

    async def may_read() -> bool:
        return bool((await dan.ask("topic.read", {"topic": closed[-1], "seq": 0}))["ok"])

    await until(may_read, 10, "Library's refusal is forgotten")
    await dan.wait_for(
        lambda event: (
            event.name == "notification.added" and event.data["data"]["notification"]["topic"] == closed[-1]
        ),
        timeout=15,
    )


async def test_an_inbox_is_read_though_library_is_frozen(make_node: MakeNode, world: World) -> None:
    proxy = Proxy((world.library.host, world.library.port)).start()
    host, port = proxy.address
    node = await make_node({"authorizationServerUrl": f"http://{host}:{port}/api"})
    ann, dan = await node.cluster.client(0, "ann"), await node.cluster.client(0, "dan")
    topics = [fresh_topic() for _ in range(10)]
    for topic in topics:
        await share(ann, topic)
    await until(lambda: waiting(node, DAN) == 0, 10)
    await ann.call("topic.get", {"topic": topics[0]})
    proxy.stall()
    for number in range(5):
        await ann.call("comment.add", {"topic": topics[0], "text": f"{number} {mention(DAN)}"})
        assert (await dan.call("notification.count", timeout=5))["unread"] >= len(topics)
        assert len((await dan.call("notification.list", timeout=5))["items"]) >= len(topics)
    proxy.heal()
    await until(lambda: waiting(node, DAN) == 0, 30, "what waited has come")
    await node.cluster.close_clients()
    proxy.stop()


async def test_what_goes_to_a_thousand_people_is_stored_once(crowded_node: Node1GiB) -> None:
    node, topic = crowded_node, fresh_topic()
    ann = await node.cluster.client(0, "ann")
    there = [await node.cluster.client(0, f"crowd{number}") for number in range(3)]
    tables = "'collab.notifications', 'collab.events', 'collab.notices'"
    size = f"SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(ARRAY[{tables}]) AS name"
    before = int(node.cluster.database.sql(size))
    # Nothing that a database could make small by itself.
    view_state = {"x": "".join(f"{hash((number, topic)) & 0xFFFFFFFF:08x}" for number in range(8000))}
    for number in range(3):
        payload = {"content": content_of(topic), "recipients": groups(EVERYBODY), "message": f"{number} ä"}
        assert (await ann.call("share", {**payload, "viewState": view_state}))["shared"] == CROWD
    for client in there:
        await until(partial(lambda one: len(told(one)) == 3, client), 10)
    grown = int(node.cluster.database.sql(size)) - before
    sent = 3 * len(json.dumps(view_state))
    print(f"\n{sent:,} bytes sent, {grown:,} stored")  # noqa: T201
    assert grown < 3 * CROWD * 1000 + 2 * sent, "a thousand rows, and the words once"
    for client in there:
        live = told(client)
        listed = (await client.call("notification.list"))["items"]
        assert [item["text"] for item in listed] == ["2 ä", "1 ä", "0 ä"]
        assert all(item["viewState"] == view_state for item in listed)
        log = await client.call("topic.events", {"topic": live[0]["topic"]})
        assert log["events"] == live
        assert [event["data"]["notification"] for event in live] == listed[::-1]
    late = await node.cluster.client(0, "crowd77")
    await until(lambda: len(told(late)) == 3, 10)


async def test_one_command_tells_so_many_people_and_one_hour_too(
    make_node: MakeNode, crowded: StandInLibrary
) -> None:
    limits = {"recipientsPerHour": 2500, "commandsPerSecond": 10_000, "commandsBurst": 10_000}
    node = await make_node({"limits": limits}, library=crowded)
    topic = fresh_topic()
    ann = await node.cluster.client(0, "ann")
    everybody, more = groups(EVERYBODY), groups(MANY_MORE)
    content = content_of(topic)
    text = f"@[All](group:{MANY_MORE})"
    for command, payload, field in (
        ("share", {"content": content, "recipients": more}, "recipients"),
        ("share", {"content": content, "recipients": [*everybody, *users(DAN)]}, "recipients"),
        ("comment.add", {"topic": topic, "text": text}, "text"),
        ("comment.add", {"topic": topic, "text": f"@[All](group:{EVERYBODY}) {mention(DAN)}"}, "text"),
        ("discussion.create", {"name": "x", "members": more}, "members"),
    ):
        with pytest.raises(Failed) as refused:
            await ann.call(command, payload)
        assert (refused.value.code, refused.value.error["field"]) == ("too_large", field)
    for _ in range(2):
        assert (await ann.call("share", {"content": content, "recipients": everybody}))["shared"] == CROWD
    own = (await ann.call("comment.add", {"topic": topic, "text": "Mine"}))["comment"]["id"]
    room = (await ann.call("discussion.create", {"name": "x", "members": []}))["discussion"]["id"]
    text = f"@[All](group:{EVERYBODY})"
    dear: list[tuple[str, dict[str, Any]]] = [
        ("comment.add", {"topic": topic, "text": text}),
        ("comment.edit", {"commentId": own, "text": text}),
        ("discussion.create", {"name": "x", "members": [], "text": text}),
        ("discussion.invite", {"discussionId": room, "members": everybody}),
        ("share", {"content": content, "recipients": everybody}),
    ]
    for name, asked in dear:
        with pytest.raises(Failed) as refused:
            await ann.call(name, asked)
        assert refused.value.code == "rate_limited", name
        assert 0 < refused.value.error["retryAfter"] < 3600
    assert (await ann.call("share", {"content": content, "recipients": users(DAN)}))["shared"] == 1
    await ann.call("comment.add", {"topic": topic, "text": "Nobody is told of this"})


async def test_discussions_of_many_members_come_in_pages_of_so_many_bytes(
    make_node: MakeNode, crowded: StandInLibrary
) -> None:
    limits = {"recipientsPerHour": 100_000, "commandsPerSecond": 10_000, "commandsBurst": 10_000}
    node = await make_node({"limits": limits}, library=crowded)
    ann = await node.cluster.client(0, "ann")
    for number in range(30):
        await ann.call("discussion.create", {"name": f"{number}", "members": groups(SOME)})
    found = [await ann.call("discussion.list", {"limit": 200})]
    while found[-1]["next"] is not None:
        found.append(await ann.call("discussion.list", {"limit": 200, "cursor": found[-1]["next"]}))
    assert len(found) == 2
    assert all(len(json.dumps(page).encode()) < 1_000_000 for page in found)
    names = [item["name"] for page in found for item in page["items"]]
    assert names == [f"{number}" for number in range(30)][::-1]
    assert all(len(item["members"]) == 200 for page in found for item in page["items"])
