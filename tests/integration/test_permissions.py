"""Who may do what: every command, at each place, for everybody who may stand there, at both doors.

The table below is written by hand, not taken from the code that it judges. A command without a row fails.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple, replace
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio

from collab_server.domain.ids import uuid7
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE, OfConnection
from tests.harness.clients import Client, Refused, Rest, new_session
from tests.harness.cluster import Cluster
from tests.harness.world import PROJECT_ID, fresh_topic
from tests.integration.doors import CALLS, Door, DoorName, log_of
from tests.integration.scene import (
    ANN,
    CAROL,
    DAN,
    PAYLOADS,
    PLACES,
    Place,
    Scene,
    added,
    content_of,
    created,
)

# ok      carried out              shown   carried out, and what is there is in the answer
# own     only to what one wrote   hidden  carried out, and the answer is as if it were not there
# forb    forbidden                none    not_found
# out     unauthenticated          -       the command is about no such place
EXPECTED = """
                     content                       | discussion                         | inbox
                     author viewer admin  stranger | owner member writer former outsider| self   other  | nobody
topic.subscribe      ok     ok     ok     none     | ok    ok     ok     none   none    | ok     none   | out
topic.unsubscribe    ok     ok     ok     none     | ok    ok     ok     none   none    | ok     none   | out
topic.get            ok     ok     ok     none     | ok    ok     ok     none   none    | ok     none   | out
topic.events         shown  shown  shown  none     | shown shown  shown  none   none    | ok     none   | out
topic.comments       shown  shown  shown  none     | shown shown  shown  none   none    | forb   none   | out
topic.anchors        shown  shown  shown  none     | shown shown  shown  none   none    | forb   none   | out
topic.read           ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
topic.unread         ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
topic.mute           ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
topic.switch         forb   forb   ok     none     | forb  forb   forb   none   none    | forb   none   | out
topic.watch          shown  shown  shown  hidden   | shown shown  shown  hidden hidden  | shown  hidden | out
topic.summaries      shown  shown  shown  hidden   | shown shown  shown  hidden hidden  | shown  hidden | out
typing               ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
comment.add          ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
comment.get          shown  shown  shown  none     | shown shown  shown  none   none    | -      -      | out
comment.revisions    shown  shown  shown  none     | shown shown  shown  none   none    | -      -      | out
comment.edit         ok     own    own    none     | own   own    ok     none   none    | -      -      | out
comment.delete       ok     own    own    none     | own   own    ok     none   none    | -      -      | out
comment.react        ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
comment.unreact      ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
thread.resolve       ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
thread.reopen        ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
thread.follow        ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
thread.mute          ok     ok     ok     none     | ok    ok     ok     none   none    | -      -      | out
thread.marks         ok     ok     ok     none     | ok    ok     ok     none   none    | forb   none   | out
discussion.get       -      -      -      -        | shown shown  shown  none   none    | -      -      | out
discussion.list      -      -      -      -        | shown shown  shown  hidden hidden  | -      -      | out
discussion.create    ok     ok     ok     none     | -     -      -      -      -       | -      -      | out
discussion.rename    -      -      -      -        | ok    forb   forb   none   none    | -      -      | out
discussion.invite    -      -      -      -        | ok    forb   forb   none   none    | -      -      | out
discussion.remove    -      -      -      -        | ok    forb   forb   none   none    | -      -      | out
discussion.transfer  -      -      -      -        | ok    forb   forb   none   none    | -      -      | out
discussion.leave     -      -      -      -        | ok    ok     ok     none   none    | -      -      | out
discussion.delete    -      -      -      -        | ok    forb   forb   none   none    | -      -      | out
share                ok     ok     ok     none     | -     -      -      -      -       | -      -      | out
notification.list    -      -      -      -        | -     -      -      -      -       | shown  hidden | out
notification.count   -      -      -      -        | -     -      -      -      -       | ok     ok     | out
notification.read    -      -      -      -        | -     -      -      -      -       | shown  hidden | out
recipients.find      ok     ok     ok     ok       | ok    ok     ok     ok     ok      | ok     ok     | out
comments.search      shown  shown  shown  hidden   | shown shown  shown  hidden hidden  | -      -      | out
me                   ok     ok     ok     ok       | ok    ok     ok     ok     ok      | ok     ok     | out
session.end          -      -      -      -        | -     -      -      -      -       | ok     ok     | out
session.refresh      -      -      -      -        | -     -      -      -      -       | ok     forb   | -
"""

LOGINS: dict[Place, dict[str, str]] = {
    "content": {"author": "ann", "viewer": "bob", "admin": "admin", "stranger": "dan"},
    "discussion": {"owner": "ann", "member": "bob", "writer": "eve", "former": "carol", "outsider": "dan"},
    "inbox": {"self": "ann", "other": "bob"},
}
NODES = {"ann": 0, "bob": 1, "carol": 2, "dan": 0, "eve": 1, "admin": 2}
NOT_MIXED = {"discussion.leave", "discussion.delete", "session.end"}
CODES = {"own": "forbidden", "forb": "forbidden", "none": "not_found", "out": "unauthenticated"}
NOT_ABOUT_A_TOPIC = {
    *("me", "recipients.find", "session.end", "session.refresh", "discussion.list", "discussion.create"),
}


def _table() -> dict[str, dict[tuple[Place, str], str]]:
    rows: dict[str, dict[tuple[Place, str], str]] = {}
    columns = [(place, role) for place in PLACES for role in LOGINS[place]]
    for line in EXPECTED.splitlines()[3:]:
        command, *cells = line.replace("|", " ").split()
        *places, nobody = cells
        assert len(places) == len(columns), command
        rows[command] = dict(zip(columns, places, strict=True))
        assert nobody == ("-" if command == "session.refresh" else "out"), command
    return rows


CELLS = _table()


class People:
    """Everybody at both doors, spread over the nodes, for all cells."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.doors: dict[tuple[DoorName, str], Door] = {}

    async def open(self) -> People:
        for login, node in NODES.items():
            token = await (await self.cluster.person(login)).identity_token()
            url = self.cluster[node].url
            self.doors["socket", login] = Door(await Client.connect(url, identity_token=token), None)
            self.doors["rest", login] = Door(None, Rest.open(url, identity_token=token))
        return self

    async def close(self) -> None:
        for door in self.doors.values():
            for end in (door.client, door.rest):
                if end is not None:
                    await end.close()

    async def scene(self) -> Scene:
        ann, bob, eve = (self.doors["rest", login] for login in ("ann", "bob", "eve"))
        return await Scene.make(self.cluster, ann, bob, eve)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(shared_cluster: Cluster) -> AsyncIterator[People]:
    people = await People(shared_cluster).open()
    yield people
    await people.close()


def test_every_command_has_a_row() -> None:
    assert set(CELLS) == set(TABLE) == set(PAYLOADS)
    assert set(CALLS) == {name for name, entry in TABLE.items() if not isinstance(entry, OfConnection)}


def _doors(command: str) -> list[DoorName]:
    return ["socket", "rest"] if command in CALLS else ["socket"]


@pytest.mark.parametrize(
    ("command", "door"), [(command, door) for command in CELLS for door in _doors(command)]
)
async def test_rights(people: People, command: str, door: DoorName) -> None:
    scene = await people.scene()
    cells = sorted(CELLS[command].items(), key=lambda cell: cell[1] in ("ok", "shown"))  # refusals first
    seen = {}
    for (place, role), expected in cells:
        payload = PAYLOADS[command](scene, place)
        assert (payload is None) == (expected == "-"), (
            "the table and PAYLOADS disagree on what there is to ask"
        )
        if payload is not None:
            seen[place, role] = await _outcome(people, scene, command, door, place, role, dict(payload))
    wanted = {cell: CODES.get(outcome, outcome) for cell, outcome in cells if outcome != "-"}
    assert seen == wanted


async def _outcome(
    people: People,
    scene: Scene,
    command: str,
    door: DoorName,
    place: Place,
    role: str,
    payload: dict[str, Any],
) -> str:
    """What became of one cell, in the words of the table, refusals by their code."""
    login = LOGINS[place][role]
    somebody = people.doors[door, login]
    if command == "session.refresh":
        of_whom = await people.cluster.person("ann")
        somebody = people.doors[door, "ann" if role == "self" else "bob"]
        payload["identityToken"] = await of_whom.identity_token()
    if command == "session.end":
        somebody = await Door.open(people.cluster, door, login)  # of whom nobody else needs anything
    if command in ("topic.unsubscribe", "typing"):
        await somebody.ask("topic.subscribe", {"topic": payload["topic"]})
    answer = await somebody.ask(command, payload)
    text = json.dumps(answer)
    if not answer["ok"]:
        for word in (scene.secret, scene.content, scene.discussion_id, scene.said, scene.said_in_private):
            assert word not in text, f"a refusal tells of {word}"
        return str(answer["error"]["code"])
    wanted = CELLS[command][place, role]
    if wanted not in ("shown", "hidden"):
        return "ok"
    if command == "notification.read":
        listed = await people.doors["rest", "ann"].call("notification.list", {"unread": True})
        return "hidden" if scene.notification in json.dumps(listed) else "shown"
    tells = (
        scene.notification in text if place == "inbox" else scene.secret in text or scene.topic(place) in text
    )
    if command in ("topic.summaries", "topic.watch"):
        tells = scene.topic(place) in text
    return "shown" if tells else "hidden"


@pytest.mark.parametrize("place", PLACES)
async def test_rights_in_answers_are_those_of_the_table(people: People, place: Place) -> None:
    scene = await people.scene()
    for role, login in LOGINS[place].items():
        if CELLS["topic.get"][place, role] != "ok":
            continue
        wanted = {
            command
            for command, cells in CELLS.items()
            if cells[place, role] in ("ok", "shown", "own") and command not in NOT_ABOUT_A_TOPIC
        }
        if place == "inbox":
            wanted -= {"topic.summaries", "topic.watch"}  # answered, but not worth telling
        for door in ("socket", "rest"):
            state = await people.doors[door, login].call("topic.get", {"topic": scene.topic(place)})
            assert len(state["rights"]) == len(set(state["rights"]))
            assert set(state["rights"]) == wanted, role
        client = people.doors["socket", login].client
        assert client is not None
        subscribed = await client.call("topic.subscribe", {"topic": scene.topic(place)})
        assert set(subscribed["rights"]) == wanted, role


# --- nobody


@pytest.mark.parametrize("headers", [{}, {"X-MSTR-AuthToken": "x"}, {"Authorization": "Bearer x.y"}])
async def test_nobody_is_told_anything_by_rest(people: People, headers: dict[str, str]) -> None:
    async with new_session(keeps_cookies=False) as http:
        for method, path in CALLS.values():
            path = path.format(topic=f"inbox:{ANN}", commentId="x", discussionId="x", userId="x", emoji="x")
            url = f"{people.cluster[0].url}/api{path}"
            async with http.request(method, url, headers=headers, json={}) as answer:
                assert answer.status == 401, path
                assert (await answer.json())["code"] == "unauthenticated", path


async def test_nobody_gets_in_by_socket(people: People) -> None:
    for auth in (
        {},
        {"identityToken": "x"},
        {"authToken": "x"},
        {"resumeToken": "x"},
        {"identityToken": None},
    ):
        with pytest.raises(Refused) as refusal:
            await Client.connect(people.cluster[0].url, auth=auth)
        assert refusal.value.code == "unauthenticated"


# --- what comes unasked


@pytest.mark.parametrize("place", ["content", "discussion"])
async def test_nothing_of_a_topic_reaches_who_may_not_see_it(people: People, place: Place) -> None:
    """Events, presence, typing and notifications: each reaches somebody who may, and nobody else."""
    scene = await people.scene()
    topic = scene.topic(place)
    by_role = LOGINS[place]
    clients = {}
    for role, login in by_role.items():
        client = people.doors["socket", login].client
        assert client is not None
        clients[role] = client
    marks = {role: len(client.events) for role, client in clients.items()}
    for client in clients.values():
        await client.ask("topic.subscribe", {"topic": topic})
    speaker = next(iter(clients.values()))
    await speaker.call("typing", {"topic": topic, "typing": True})
    words = f"lion {scene.secret[::-1]}"
    everybody = " ".join(f"@[X](user:{people.cluster._people[login].id})" for login in by_role.values())
    said = await speaker.call("comment.add", {"topic": topic, "text": f"{words} {everybody}"})
    for role, client in clients.items():
        if CELLS["topic.subscribe"][place, role] == "ok":
            await client.wait_for_seq(topic, said["seq"])
            if client is not speaker:
                await client.wait_for(
                    lambda event: event.name == "notification.added" and words in json.dumps(event.data),
                    skip=marks[role],
                )
                await client.wait_for(
                    lambda event: event.name == "typing" and event.topic == topic, skip=marks[role]
                )
    for role, client in clients.items():
        if CELLS["topic.subscribe"][place, role] == "ok":
            continue
        count = await client.call("notification.count")
        listed = await client.call("notification.list", {"limit": 200})
        assert words not in json.dumps(listed)
        unread = (await client.call("notification.list", {"unread": True, "limit": 200}))["items"]
        assert len(unread) == min(count["unread"], 200)
        came = [event for event in client.events[marks[role] :]]
        assert not [event for event in came if topic in json.dumps(event.data)], role


async def test_what_was_lost_is_in_the_inbox_no_more(people: People) -> None:
    scene = await people.scene()
    carol, topic = people.doors["rest", "carol"], f"discussion:{scene.discussion_id}"
    listed = (await carol.call("notification.list", {"limit": 200}))["items"]
    assert topic not in [item["topic"] for item in listed]
    assert scene.secret not in json.dumps(await log_of(carol, f"inbox:{CAROL}"))
    assert (await carol.refusal("topic.get", {"topic": topic}))["code"] == "not_found"


# --- the same twice


@pytest.mark.parametrize(
    "command", [name for name, entry in TABLE.items() if isinstance(entry, Write) and entry.is_remembered]
)
async def test_a_command_repeated_under_its_id_is_answered_and_not_repeated(
    people: People, command: str
) -> None:
    scene = await people.scene()
    place, role = next(cell for cell, wanted in CELLS[command].items() if wanted in ("ok", "shown"))
    login = LOGINS[place][role]
    payload = {**(PAYLOADS[command](scene, place) or {}), "requestId": f"once-{scene.secret}"}
    first = await people.doors["socket", login].call(command, payload)
    stored = await _stored(people, scene)
    elsewhere = Rest.open(people.cluster[2].url, auth_token=(await people.cluster.person(login)).auth_token)
    async with elsewhere:
        assert await Door(None, elsewhere).call(command, payload) == first
    assert await people.doors["socket", login].call(command, payload) == first
    later = await _stored(people, scene)
    assert (later.events, later.discussions) == (stored.events, stored.discussions)
    assert later.notifications <= stored.notifications  # what is taken out of inboxes goes when it goes
    another, more = (
        ("topic.read", {"seq": 1}) if command == "topic.mute" else ("topic.mute", {"muted": False})
    )
    again = {"topic": scene.content, "requestId": payload["requestId"], **more}
    error = await people.doors["rest", login].refusal(another, again)
    assert (error["code"], error["field"]) == ("conflict", "requestId")


class Stored(NamedTuple):
    """What there is of a scene: how many events and discussions, and which notifications."""

    events: str
    discussions: str
    notifications: set[str]


async def _stored(people: People, scene: Scene) -> Stored:
    topics = ", ".join(f"'{scene.topic(place)}'" for place in ("content", "discussion"))
    about = scene.content.rpartition(":")[2]
    events, discussions, *notifications = people.cluster.database.sql(
        f"SELECT sum(last_seq) FROM collab.topics WHERE name IN ({topics});"
        f"SELECT count(*) FROM collab.discussions WHERE about_object = '{about}';"
        f"SELECT user_id, id FROM collab.notifications WHERE topic IN ({topics})"
    ).splitlines()
    return Stored(events, discussions, set(notifications))


# --- tenants


@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_what_is_hidden_is_as_what_is_not_there(people: People, door: DoorName) -> None:
    """Whoever may not know of a thing gets, for every command, the answer that they get where there is none."""
    scene, ghost = await people.scene(), _ghost()
    differences = []
    for command, cells in CELLS.items():
        if command not in CALLS and door == "rest":
            continue
        for (place, role), wanted in cells.items():
            if wanted not in ("none", "hidden") or place == "inbox":
                continue
            somebody = people.doors[door, LOGINS[place][role]]
            answers = [
                _bare(await somebody.ask(command, PAYLOADS[command](one, place)), one)
                for one in (scene, ghost)
            ]
            if answers[0] != answers[1] and command != "discussion.list":
                differences.append((command, place, role, answers))
    assert differences == []


async def test_random_commands_tell_another_tenant_nothing(people: People) -> None:
    """Ids of another tenant's things, mixed with one's own in every field, answer as ids that nobody has."""
    chance = random.Random(20261123)
    scene, ghost = await people.scene(), _ghost()
    dan = people.doors["rest", "dan"]
    own_topic = fresh_topic()
    own = Scene(
        "okapi",
        own_topic,
        (await added(dan, own_topic, "okapi"))["id"],
        (await created(dan, CAROL, name="okapi"))["id"],
        "",
        f"inbox:{DAN}",
        str(uuid4()),
    )
    own = replace(own, said_in_private=(await added(dan, own.topic("discussion"), "okapi"))["id"])
    before = await _stored(people, scene)
    for number in range(400):
        door = people.doors[chance.choice(["socket", "rest"]), "dan"]
        command, spelled = _mixed(chance, own)
        answers = []
        for one in (scene, ghost):
            payload = spelled(one)
            answer = await door.ask(command, payload)
            text = json.dumps(answer)
            assert scene.secret not in text, (number, command, payload, answer)
            answers.append(_bare(answer, one) if not answer["ok"] else _shape(answer["data"]))
        assert answers[0] == answers[1], (number, command, spelled(scene), answers)
    assert await _stored(people, scene) == before


def _ghost() -> Scene:
    """A scene of ids that nobody has."""
    ids = [secrets.token_hex(16).upper() for _ in range(2)]
    content = f"content:{PROJECT_ID}:{ids[0]}"
    said, discussion, private, told = (str(uuid7()) for _ in range(4))
    return Scene(f"ghost{secrets.token_hex(6)}", content, said, discussion, private, f"inbox:{ids[1]}", told)


def _bare(answer: Any, scene: Scene) -> str:
    """An answer without what differs in any case: its ticket, the ids that were asked with, and how it is spelled where
    the next page begins, which is sealed with a number of its own each time."""
    if not answer["ok"]:
        answer = {**answer, "error": {**answer["error"], "ticketId": ""}}
    elif isinstance(answer["data"], dict) and answer["data"].get("next") is not None:
        answer = {**answer, "data": {**answer["data"], "next": "there is one"}}
    text = json.dumps(answer)
    for number, value in enumerate(astuple(scene)):
        text = text.replace(value, f"<{number}>")
    return text


def _shape(data: Any) -> Any:
    """The keys of an answer, and how many there are of each; its values differ from one time to the next."""
    if isinstance(data, dict):
        return {
            key: _shape(value) for key, value in data.items() if key not in ("present", "unread", "muted")
        }
    if isinstance(data, list):
        return len(data)
    return type(data).__name__


EXTRAS = {
    "comment.add": ["replyTo", ""],
    "topic.comments": ["thread", ""],
    "discussion.create": ["about", ""],
    "discussion.list": ["about"],
    "comments.search": ["topic", ""],
    "topic.summaries": ["topics", ""],
}


def _mixed(chance: random.Random, own: Scene) -> tuple[str, Callable[[Scene], dict[str, Any]]]:
    """A command whose fields are each about one's own thing or about the other's, and one more field of it."""
    command = chance.choice([name for name in CALLS if name not in NOT_MIXED])
    place = chance.choice([place for place in PLACES if PAYLOADS[command](own, place) is not None])
    keys = list(PAYLOADS[command](own, place) or {})
    foreign = {key for key in keys if chance.random() < 0.6}
    more = chance.choice(EXTRAS.get(command, [""]))
    if not foreign and not more:
        foreign = set(keys)
    kind = chance.choice(["said", "said_in_private"])

    def spelled(other: Scene) -> dict[str, Any]:
        payload = dict(PAYLOADS[command](own, place) or {})
        payload.update({key: (PAYLOADS[command](other, place) or {})[key] for key in foreign})
        match command, more:
            case "comment.add", "replyTo":
                payload["replyTo"] = getattr(other, kind)
            case "topic.comments", "thread":
                payload["thread"] = getattr(other, kind)
            case "discussion.create", "about":
                payload["about"] = content_of(other.content)
            case "discussion.list", "about":
                payload["about"] = other.content
            case "comments.search", "topic":
                payload["topic"] = other.topic(chance_place)
            case "topic.summaries", "topics":
                payload["topics"] = [other.content, own.content, other.topic("discussion"), other.content]
        return payload

    chance_place: Place = chance.choice(["content", "discussion"])
    return command, spelled
