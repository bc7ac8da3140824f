"""What hangs on something that changed: it follows when comments, names, groups and accounts do."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import asyncpg
import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Event
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import fresh_topic
from tests.integration.doors import Door
from tests.integration.scene import (
    ANN,
    BOB,
    CAROL,
    DAN,
    account_ended,
    added,
    called,
    created,
    grouped,
    groups,
    mention,
    open_to,
    users,
)

ASKING_OFTEN = hurried(
    {
        "collab_server.authority.library.library": {"Timing": {"fresh": 0.2, "refusal": 0.1}},
        "collab_server.services.live.rights_watch": {"ROUND_SECONDS": 900},
        "collab_server.services.live.losses": {"RECHECK_SECONDS": 0.1, "ASKED_SECONDS": 0.2},
    }
)


def login_of_somebody_new() -> str:
    return f"somebody{secrets.token_hex(4)}"


def new_id() -> str:
    return secrets.token_hex(16).upper()


async def told(door: Door, topic: str) -> list[dict[str, Any]]:
    """What the door's person has been told of a topic, the latest first."""
    items = (await door.call("notification.list", {"limit": 200}))["items"]
    return [item for item in items if item["topic"] == topic]


async def badge(door: Door) -> int:
    unread: int = (await door.call("notification.count"))["unread"]
    return unread


async def has_badge(door: Door, unread: int) -> bool:
    return await badge(door) == unread


# --- people who are gone


async def test_a_comment_that_names_somebody_who_is_gone_can_be_corrected(
    cluster: Cluster, topic: str
) -> None:
    gone, stranger = login_of_somebody_new(), new_id()
    gone_id = await called(cluster, gone, "Gudrun Gone")
    ann, ann_elsewhere = [await Door.open(cluster, "rest", "ann", node) for node in (0, 1)]
    bob = await Door.open(cluster, "rest", "bob", 2)
    comment = await added(ann, topic, f"Ask {mention(gone_id)} about tpyo")
    assert comment["mentions"] == [{"kind": "user", "id": gone_id, "name": "Gudrun Gone"}]
    await account_ended(cluster, gone)
    # Another node, which has no answer of before.
    edit = {"commentId": comment["id"], "text": f"Ask {mention(gone_id)} about the typo, {mention(BOB)}"}
    edited = (await ann_elsewhere.call("comment.edit", edit))["comment"]
    assert edited["mentions"][0] == comment["mentions"][0]
    assert [item["why"] for item in await told(bob, topic)] == ["mentioned you"]
    # Whoever answers may repeat it; nobody may name them anew.
    reply = await added(bob, topic, f"> Ask {mention(gone_id)}", replyTo=comment["id"])
    assert reply["mentions"] == comment["mentions"]
    for payload in (
        {"topic": topic, "text": mention(gone_id)},
        {"topic": topic, "text": mention(stranger), "replyTo": comment["id"]},
    ):
        assert (await bob.refusal("comment.add", payload))["field"] == "text"
    edit = {"commentId": comment["id"], "text": f"{mention(gone_id)} {mention(stranger)}"}
    assert (await ann_elsewhere.refusal("comment.edit", edit))["code"] == "invalid"


async def test_a_discussion_whose_owner_is_gone_belongs_to_who_has_been_there_longest(
    cluster: Cluster,
) -> None:
    eve, also_gone = await Devices.of_somebody(cluster, "Eva Gone"), await Devices.of_somebody(cluster)
    dan = await Devices.of_somebody(cluster)
    carol = await Door.open(cluster, "rest", "carol", 1)
    made = [await created(eve.rest, also_gone.id, dan.id, CAROL) for _ in range(3)]
    ids = [{"discussionId": discussion["id"]} for discussion in made]
    for device in dan.inboxes:
        for discussion in made:
            await device.client.call("topic.subscribe", {"topic": discussion["topic"]})
    assert (await carol.refusal("discussion.rename", {**ids[0], "name": "Mine"}))["code"] == "forbidden"
    for gone in (eve, also_gone):
        await account_ended(cluster, gone.login)

    # Carol, on a node that has no answer of before, is not the next, but what she asks brings the next one in.
    elsewhere = await Door.open(cluster, "rest", "carol", 0)
    assert (await elsewhere.refusal("discussion.rename", {**ids[0], "name": "Mine"}))["code"] == "forbidden"
    assert (await elsewhere.call("discussion.get", ids[1]))["owner"]["id"] == dan.id
    renamed = await dan.rest.call("discussion.rename", {**ids[2], "name": "Ours"})
    assert renamed["discussion"]["owner"]["id"] == dan.id
    await dan.rest.call("discussion.invite", {**ids[0], "members": users(BOB)})
    for device in dan.inboxes:
        for discussion in made:
            event = await device.client.wait_for(partial(_changes_owner, topic=discussion["topic"]))
            assert event.data["data"] == {"userId": dan.id}
            assert event.data["actor"] == {"id": eve.id, "name": "Eva Gone", "initials": "EG"}


def _changes_owner(event: Event, topic: str) -> bool:
    return event.name == "owner.changed" and event.topic == topic


# --- new names


async def test_what_is_read_shows_todays_names_and_events_those_of_then(cluster: Cluster, topic: str) -> None:
    some = await Devices.of_somebody(cluster, "Rita Old")
    ann, bob = [await Door.open(cluster, "rest", login, 1) for login in ("ann", "bob")]
    root = await added(some.rest, topic, f"Mine {mention(BOB)}")
    await some.rest.call("thread.resolve", {"commentId": root["id"]})
    await added(ann, topic, f"Yours {mention(some.id)}", replyTo=root["id"])
    discussion = await created(some.rest, ANN, BOB)
    await called(cluster, some.login, "Rita New")
    again = Door(await cluster.client(2, some.login), None)

    async def shown() -> list[Any]:
        first, reply = (await ann.call("topic.comments", {"topic": topic}))["items"]
        got = (await ann.call("comment.get", {"commentId": root["id"]}))["author"]
        seen = (
            await ann.call("discussion.get", {"discussionId": discussion["id"]}),
            await listed_discussion(),
        )
        people = [first["author"], got, first["resolved"]["by"], *(await told(bob, topic))[:1]]
        people = [person.get("by", person) for person in people]
        people += [one["owner"] for one in seen] + [one["members"][0] for one in seen]
        assert {(person["id"], person["initials"]) for person in people} <= {(some.id, "RN"), (some.id, "RO")}
        return [reply["mentions"][0]["name"], *(person["name"] for person in people)]

    async def listed_discussion() -> dict[str, Any]:
        items = (await ann.call("discussion.list"))["items"]
        return next(item for item in items if item["id"] == discussion["id"])

    async def is_shown() -> bool:
        return set(await shown()) == {"Rita New"}

    await until(is_shown)
    found = (await ann.call("comments.search", {"q": "Mine", "topic": topic}))["items"]
    assert [item["comment"]["author"]["name"] for item in found] == ["Rita New"]
    log = (await ann.call("topic.events", {"topic": topic}))["events"]
    assert [event["actor"]["name"] for event in log[:2]] == ["Rita Old"] * 2
    assert log[0]["data"]["comment"]["author"]["name"] == "Rita Old"
    # Whoever folds the newest name by id learns it with the next event.
    await added(again, topic, "Again")
    log = (await ann.call("topic.events", {"topic": topic}))["events"]
    assert log[-1]["actor"] == {"id": some.id, "name": "Rita New", "initials": "RN"}


# --- groups in groups


async def test_a_group_stands_for_those_in_the_groups_in_it_each_once(cluster: Cluster, topic: str) -> None:
    ids = [new_id() for _ in range(3)]
    await grouped(cluster, ids[0], "Staff", "bob", groups=[ids[1], new_id()])
    await grouped(cluster, ids[1], "Branch", "bob", "carol", groups=[ids[2], ids[0]])
    await grouped(cluster, ids[2], "Twig", "dan", "carol", groups=ids)
    ann = await Door.open(cluster, "rest", "ann")
    others = [await Door.open(cluster, "rest", login, 1) for login in ("bob", "carol", "dan", "eve")]
    await added(ann, topic, mention(ids[0], "group"))
    whys = [[item["why"] for item in await told(door, topic)] for door in others]
    assert whys == [["mentioned Staff"]] * 3 + [[]]
    discussion = (await ann.call("discussion.create", {"name": "All", "members": groups(ids[0])}))[
        "discussion"
    ]
    assert [member["id"] for member in discussion["members"]] == [ANN, BOB, CAROL, DAN]


async def test_a_group_of_too_many_groups_is_refused_in_words(cluster: Cluster, topic: str) -> None:
    ids = [new_id() for _ in range(101)]
    await grouped(cluster, ids[0], "Too many", "bob", groups=ids[1:])
    most = await grouped(cluster, new_id(), "Many", "bob", groups=ids[2:])
    ann = await Door.open(cluster, "rest", "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": mention(ids[0], "group")})
    assert (error["code"], error["field"]) == ("too_large", "text")
    error = await ann.refusal("discussion.create", {"name": "All", "members": groups(ids[0])})
    assert (error["code"], error["field"]) == ("too_large", "members[0].id")
    assert (await added(ann, topic, mention(most, "group")))["mentions"]


# --- three devices of one person


class Inbox:
    """What one device of a person shows, from what it was told live."""

    def __init__(self, client: Client) -> None:
        self.client, self.unread, self._taken = client, 0, 0
        self.shown: dict[str, dict[str, Any]] = {}

    def fold(self) -> None:
        events, self._taken = self.client.events[self._taken :], len(self.client.events)
        for event in events:
            data = (
                event.data.get("data", {})
                if event.topic == f"inbox:{self.client.hello['user']['id']}"
                else {}
            )
            match event.name if data else "":
                case "notification.added":
                    self.shown[data["notification"]["id"]] = data["notification"]
                    self.unread += data["notification"]["readAt"] is None
                case "notification.read":
                    assert all(self.shown.get(id, {}).get("readAt") is None for id in data["ids"])
                    assert data["unread"] == self.unread - len(data["ids"])
                    self.unread = data["unread"]
                    for id in data["ids"]:
                        self.shown.get(id, {})["readAt"] = event.data["at"]
                case "notification.removed":
                    assert data["unread"] == self.unread
                    for id in data["ids"]:
                        self.shown.pop(id, None)

    def of(self, topic: str) -> set[str]:
        return {id for id, one in self.shown.items() if one["topic"] == topic}


class Devices:
    """Three devices of one person whom nobody else knows, each on another node, and what a new one would be told."""

    def __init__(self, login: str, id: str, rest: Door, clients: Sequence[Client]) -> None:
        self.login, self.id, self.rest = login, id, rest
        self.inboxes = [Inbox(client) for client in clients]

    @classmethod
    async def of_somebody(cls, cluster: Cluster, name: str = "Some Body") -> Self:
        login = login_of_somebody_new()
        id = await called(cluster, login, name)
        clients = [await cluster.client(node, login) for node in range(3)]
        return cls(login, id, await Door.open(cluster, "rest", login, 1), clients)

    async def show(self, topic: str, kinds: list[str], *, unread: int) -> None:
        """Wait until all devices show these of a topic and that badge, and so does the list."""

        def is_so() -> bool:
            for inbox in self.inboxes:
                inbox.fold()
            return all(
                sorted(inbox.shown[id]["kind"] for id in inbox.of(topic)) == sorted(kinds)
                and inbox.unread == unread
                for inbox in self.inboxes
            )

        await until(is_so, 15, lambda: f"{kinds}, {unread}: {self._shown(topic)}")
        assert await badge(self.rest) == unread
        listed = {item["id"]: item["readAt"] is None for item in await told(self.rest, topic)}
        for inbox in self.inboxes:
            assert {id: inbox.shown[id]["readAt"] is None for id in inbox.of(topic)} == listed

    def _shown(self, topic: str) -> str:
        return str([(inbox.unread, [*inbox.of(topic)]) for inbox in self.inboxes])


async def test_what_is_deleted_or_names_nobody_any_more_leaves_every_inbox(
    cluster: Cluster, topic: str
) -> None:
    some = await Devices.of_somebody(cluster)
    ann = await Door.open(cluster, "rest", "ann")
    group = await grouped(cluster, new_id(), "Group", some.login)
    first = await added(ann, topic, f"One {mention(some.id)}")
    second = await added(ann, topic, f"Two {mention(group, 'group')} {mention(CAROL)}")
    own = await added(some.rest, topic, "Mine")
    answer = await added(ann, topic, f"Yes, {mention(some.id)}", replyTo=own["id"])
    await some.show(topic, ["mention"] * 3, unread=3)
    await ann.call("comment.edit", {"commentId": second["id"], "text": f"Two {mention(CAROL)}"})
    await some.show(topic, ["mention"] * 2, unread=2)
    await ann.call("comment.edit", {"commentId": answer["id"], "text": "Yes"})
    await some.show(topic, ["mention", "reply"], unread=2)
    await ann.call("comment.edit", {"commentId": second["id"], "text": f"Again {mention(group, 'group')}"})
    await some.show(topic, ["mention", "mention", "reply"], unread=3)
    await some.rest.call("notification.read", {"ids": [(await told(some.rest, topic))[0]["id"]]})
    await some.show(topic, ["mention", "mention", "reply"], unread=2)
    for comment in (first, second, answer):
        await ann.call("comment.delete", {"commentId": comment["id"]})
    await some.show(topic, [], unread=0)


@pytest.mark.parametrize("end", ["remove", "leave", "delete"])
async def test_what_was_said_in_a_discussion_leaves_the_inboxes_of_those_who_are_out(
    cluster: Cluster, end: str
) -> None:
    some = await Devices.of_somebody(cluster)
    ann = await Door.open(cluster, "rest", "ann")
    secret = f"zebra{secrets.token_hex(6)} " + "very " * 30 + "secret"
    discussion = await created(ann, some.id, CAROL, name=secret)
    topic, id = discussion["topic"], {"discussionId": discussion["id"]}
    await added(ann, topic, f"{secret} {mention(some.id)} {mention(CAROL)}")
    await some.show(topic, ["invited", "mention"], unread=2)
    door = some.rest if end == "leave" else ann
    await door.call(f"discussion.{end}", {**id, "userId": some.id} if end == "remove" else id)
    await some.show(topic, [], unread=0)
    log = await some.rest.call(
        "topic.events", {"topic": f"inbox:{some.id}", "after": some.inboxes[0].client.hello["inboxSeq"]}
    )
    assert secret.split()[0] not in str(log)
    if end != "delete":
        await ann.call("discussion.invite", {**id, "members": users(some.id)})
        await added(ann, topic, f"Welcome back, {mention(some.id)}")
        await some.show(topic, ["invited", "mention"], unread=2)


async def test_what_is_closed_to_its_reader_waits_until_it_is_open_again(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=3, env=ASKING_OFTEN)
    topic, other = fresh_topic(), fresh_topic()
    some = await Devices.of_somebody(cluster)
    ann = await Door.open(cluster, "rest", "ann")
    await added(ann, topic, f"One {mention(some.id)}")
    await added(ann, other, f"Two {mention(some.id)}")
    await some.show(topic, ["mention"], unread=2)
    await open_to(cluster, topic, "ann")

    async def is_refused() -> bool:
        answer = await some.inboxes[2].client.ask("topic.get", {"topic": topic})
        return not answer["ok"]

    await until(is_refused, 5)  # by whatever node, it is lost on all devices
    await some.show(topic, [], unread=1)
    # Where nobody asks for the topic itself, looking at the inbox finds out.
    await open_to(cluster, other, "ann")

    await until(partial(has_badge, some.rest, 0))
    await some.show(other, [], unread=0)
    for reopened in (topic, other):
        await open_to(cluster, reopened, "ann", some.login)

    async def is_back() -> bool:
        cluster.database.sql(
            "UPDATE collab.notifications SET ask_at = NULL WHERE seq IS NULL"
        )  # or wait for 5 s
        return await badge(some.rest) == 2

    await until(is_back)
    for reopened in (topic, other):
        await some.show(reopened, ["mention"], unread=2)


async def test_no_change_waits_for_the_inboxes_that_it_empties(cluster: Cluster, topic: str) -> None:
    some = await Devices.of_somebody(cluster)
    ann = await Door.open(cluster, "rest", "ann")
    comment = await added(ann, topic, mention(some.id))
    discussion = await created(ann, some.id)
    await some.show(topic, ["mention"], unread=2)
    connection = await asyncpg.connect(**cluster.database.connect_arguments())
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT FROM collab.topics WHERE name = $1 FOR UPDATE", f"inbox:{some.id}"
            )
            await ann.call("comment.edit", {"commentId": comment["id"], "text": "Nobody"})
            await ann.call("comment.delete", {"commentId": comment["id"]})
            await ann.call("discussion.delete", {"discussionId": discussion["id"]})
    finally:
        await connection.close()
    await some.show(topic, [], unread=0)
