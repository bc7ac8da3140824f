"""A small world to ask questions in: something on a dashboard, in a discussion and in an inbox, and who is who there.

`PAYLOADS` spells every command about each of the three places where it can be about it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.harness.world import fresh_topic
from tests.integration.doors import Door

Place = Literal["content", "discussion", "inbox"]
PLACES: tuple[Place, ...] = ("content", "discussion", "inbox")

ANN = "A11A0000000000000000000000000001"
BOB = "B22B0000000000000000000000000002"
CAROL = "C33C0000000000000000000000000003"
DAN = "D44D0000000000000000000000000004"
EVE = "E55E0000000000000000000000000005"
SALES = "6A000000000000000000000000000001"  # ann, bob and carol
FINANCE = "6A000000000000000000000000000002"  # dan and eve


def users(*ids: str) -> list[dict[str, str]]:
    """These users as a command names them."""
    return [{"kind": "user", "id": id} for id in ids]


def groups(*ids: str) -> list[dict[str, str]]:
    """These groups as a command names them."""
    return [{"kind": "group", "id": id} for id in ids]


def mention(id: str, kind: str = "user") -> str:
    """A mention as it is written in a text."""
    return f"@[Somebody]({kind}:{id})"


def content_of(topic: str) -> dict[str, str]:
    """The ids of a content topic as a command names them."""
    _, project, content = topic.split(":")
    return {"projectId": project, "objectId": content}


async def open_to(cluster: Cluster, topic: str, *logins: str) -> None:
    """Let only these people open a dashboard, from now on."""
    body = {"objectId": topic.rpartition(":")[2], "openTo": list(logins)}
    async with (
        new_session(keeps_cookies=False) as http,
        http.post(f"{cluster.library.root}/standin/access", json=body) as answer,
    ):
        assert answer.status == 204, await answer.text()


async def called(cluster: Cluster, login: str, name: str) -> str:
    """Let somebody be called so at Library from now on, somebody new where nobody has this login; their id."""
    body = {"login": login, "fullName": name, "initials": "".join(word[0] for word in name.split())}
    return str((await _at_library(cluster, "POST", "people", body))["id"])


async def account_ended(cluster: Cluster, login: str) -> None:
    """End somebody's account at Library."""
    await _at_library(cluster, "DELETE", f"people/{login}")


async def grouped(cluster: Cluster, id: str, name: str, *logins: str, groups: Sequence[str] = ()) -> str:
    """Let these people and groups be in a group of Library from now on; its id."""
    body = {"id": id, "name": name, "members": list(logins), "groups": list(groups)}
    await _at_library(cluster, "POST", "groups", body)
    return id


async def holding(cluster: Cluster, login: str, privileges: Mapping[str, list[str] | None]) -> None:
    """Let somebody hold these privileges of Library from now on, and no others: in which projects, None is in all."""
    await _at_library(cluster, "POST", "privileges", {"person": login, "privileges": privileges})


async def _at_library(cluster: Cluster, method: str, what: str, body: Any = None) -> dict[str, Any]:
    async with (
        new_session(keeps_cookies=False) as http,
        http.request(method, f"{cluster.library.root}/standin/{what}", json=body) as answer,
    ):
        assert answer.status < 300, await answer.text()
        found: dict[str, Any] = await answer.json() if answer.status == 200 else {}
        return found


async def added(door: Door, topic: str, text: str, **more: Any) -> dict[str, Any]:
    """The comment that was added."""
    comment: dict[str, Any] = (await door.call("comment.add", {"topic": topic, "text": text, **more}))[
        "comment"
    ]
    return comment


async def created(door: Door, *ids: str, name: str = "Plans", **more: Any) -> dict[str, Any]:
    """A new discussion of the door's person with these users."""
    payload = {"name": name, "members": users(*ids), **more}
    discussion: dict[str, Any] = (await door.call("discussion.create", payload))["discussion"]
    return discussion


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is. `secret` is a word that stands in everything and nowhere else.

    On the dashboard, which ann, bob, eve and the administrator may open, ann has written `said`. In the discussion,
    which ann owns, bob and eve are members, carol was one and dan never was; eve has written `said_in_private`. In
    ann's inbox bob's mention of her is `notification`.
    """

    secret: str
    content: str
    said: str
    discussion_id: str
    said_in_private: str
    inbox: str
    notification: str

    @classmethod
    async def make(cls, cluster: Cluster, ann: Door, bob: Door, eve: Door) -> Scene:
        """A new one, of things that nobody else uses."""
        secret = f"zebra{secrets.token_hex(6)}"
        content = fresh_topic()
        await open_to(cluster, content, "ann", "bob", "eve", "admin")
        said = await added(ann, content, f"{secret} figures", anchor={"pageKey": secret})
        await added(bob, content, f"{secret} {mention(ANN)}")
        discussion = await created(ann, BOB, EVE, CAROL, name=f"{secret} plans")
        private = await added(eve, discussion["topic"], f"{secret} rumours", anchor={"pageKey": secret})
        await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": CAROL})
        inbox = (await ann.call("notification.list", {"unread": True}))["items"]
        [notification] = [item for item in inbox if item["topic"] == content]
        return cls(
            secret,
            content,
            said["id"],
            discussion["id"],
            private["id"],
            f"inbox:{ANN}",
            notification["id"],
        )

    def topic(self, place: Place) -> str:
        """The topic at a place."""
        return {
            "content": self.content,
            "discussion": f"discussion:{self.discussion_id}",
            "inbox": self.inbox,
        }[place]

    def comment(self, place: Place) -> str | None:
        """The id of the comment at a place."""
        return {"content": self.said, "discussion": self.said_in_private}.get(place)


Payload = Mapping[str, Any] | None
Spell = Callable[[Scene, Place], Payload]


def _topic(**more: Any) -> Spell:
    return lambda scene, place: {"topic": scene.topic(place), **more}


def _comment(**more: Any) -> Spell:
    return lambda scene, place: None if place == "inbox" else {"commentId": scene.comment(place), **more}


def _discussion(**more: Any) -> Spell:
    return lambda scene, place: (
        {"discussionId": scene.discussion_id, **more} if place == "discussion" else None
    )


def _only(place: Place, payload: Callable[[Scene], Mapping[str, Any]]) -> Spell:
    return lambda scene, at: payload(scene) if at == place else None


def _anywhere(**payload: Any) -> Spell:
    return lambda scene, place: payload


PAYLOADS: dict[str, Spell] = {
    "topic.subscribe": _topic(),
    "topic.unsubscribe": _topic(),
    "topic.get": _topic(),
    "topic.events": _topic(),
    "topic.comments": _topic(),
    "topic.anchors": _topic(),
    "topic.read": _topic(seq=1),
    "topic.unread": _topic(fromSeq=1),
    "topic.mute": _topic(muted=False),
    "topic.switch": _topic(commenting=True),
    "topic.watch": lambda scene, place: {"topics": [scene.topic(place)]},
    "topic.summaries": lambda scene, place: {"topics": [scene.topic(place)]},
    "typing": _topic(typing=False),
    "comment.add": _topic(text="More"),
    "comment.get": _comment(),
    "comment.revisions": _comment(),
    "comment.edit": _comment(text="Changed"),
    "comment.delete": _comment(),
    "comment.react": _comment(emoji="👍"),
    "comment.unreact": _comment(emoji="👎"),
    "thread.resolve": _comment(),
    "thread.reopen": _comment(),
    "thread.follow": _comment(following=True),
    "thread.mute": _comment(muted=True),
    "thread.marks": _topic(),
    "discussion.get": _discussion(),
    "discussion.list": _only("discussion", lambda scene: {}),
    "discussion.create": _only(
        "content",
        lambda scene: {"name": "About it", "members": users(CAROL), "about": content_of(scene.content)},
    ),
    "discussion.rename": _discussion(name="Renamed"),
    "discussion.invite": _discussion(members=users(DAN)),
    "discussion.remove": _discussion(userId=BOB),
    "discussion.transfer": _discussion(userId=BOB),
    "discussion.leave": _discussion(),
    "discussion.delete": _discussion(),
    "share": _only(
        "content", lambda scene: {"content": content_of(scene.content), "recipients": users(CAROL)}
    ),
    "notification.list": _only("inbox", lambda scene: {}),
    "notification.count": _only("inbox", lambda scene: {}),
    "notification.read": _only("inbox", lambda scene: {"ids": [scene.notification]}),
    "recipients.find": _anywhere(search="ann"),
    "comments.search": lambda scene, place: None if place == "inbox" else {"q": scene.secret},
    "me": _anywhere(),
    "session.end": _only("inbox", lambda scene: {}),
    "session.refresh": _only("inbox", lambda scene: {}),  # the token is for the test to add
}
