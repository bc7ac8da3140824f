"""What a front end keeps of the server: a snapshot, and the events after it folded in.

Written from the contract alone. `Device` is one of a person's devices with everything that it holds; `differences` says
where that is not what the server would tell a new device now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from collab_server.domain.bodies import plain_text
from collab_server.domain.mentions import excerpt
from tests.harness.clients import Client, Event
from tests.harness.cluster import Cluster
from tests.harness.waiting import until


@dataclass(slots=True)
class Held:
    """One topic as a device holds it. `seq_of` is the place of each comment in the log; `marks` how far was read."""

    topic: str
    me: str
    seq: int
    comments: dict[str, dict[str, Any]]
    seq_of: dict[str, int]
    unread: set[str]
    discussion: dict[str, Any] | None
    commenting: bool = True
    rights: frozenset[str] = frozenset()
    read_up_to: int = 0
    is_closed: bool = False

    def apply(self, event: dict[str, Any]) -> None:
        """Fold one event of the topic in; they come in order, each once, without gaps."""
        assert not self.is_closed, f"{event['type']} after topic.closed of {self.topic}"
        assert event["seq"] == self.seq + 1, f"{self.topic}: {event['seq']} after {self.seq}"
        self.seq += 1
        data, actor = event["data"], event["actor"]["id"]
        match event["type"]:
            case "comment.added":
                self._add(data["comment"], event["seq"], actor)
            case "comment.edited":
                self.comments[data["comment"]["id"]] = data["comment"]
            case "comment.deleted":
                comment = self.comments[data["commentId"]]
                gone = {"text": "", "mentions": [], "body": None, "viewState": None, "deletedAt": event["at"]}
                place = {key: it for key, it in (comment["anchor"] or {}).items() if key != "dataPoint"}
                self.comments[comment["id"]] = {**comment, **gone, "anchor": place or None}
                self.unread.discard(comment["id"])
            case "reaction.added":
                self._reactions(data).setdefault(data["emoji"], []).append(data["userId"])
            case "reaction.removed":
                users = self._reactions(data)[data["emoji"]]
                users.remove(data["userId"])
                if not users:
                    del self._reactions(data)[data["emoji"]]
            case "thread.resolved":
                self.comments[data["commentId"]]["resolved"] = {"by": event["actor"], "at": event["at"]}
            case "thread.reopened":
                self.comments[data["commentId"]]["resolved"] = None
            case "topic.switched":
                assert self.commenting is not data["commenting"]
                self.commenting = data["commenting"]
            case "discussion.created":
                self.discussion = data["discussion"]
            case "discussion.deleted":
                pass
            case _:
                assert self.discussion is not None
                self._change(self.discussion, event["type"], data)

    def _add(self, comment: dict[str, Any], seq: int, actor: str) -> None:
        id = comment["id"]
        assert id not in self.comments
        self.comments[id], self.seq_of[id] = comment, seq
        if comment["threadId"] != id:
            self.comments[comment["threadId"]]["replyCount"] += 1
        if actor != self.me and seq > self.read_up_to and comment["deletedAt"] is None:
            self.unread.add(id)

    def _reactions(self, data: dict[str, Any]) -> dict[str, list[str]]:
        reactions: dict[str, list[str]] = self.comments[data["commentId"]]["reactions"]
        return reactions

    @staticmethod
    def _change(discussion: dict[str, Any], type: str, data: dict[str, Any]) -> None:
        members = discussion["members"]
        match type:
            case "discussion.renamed":
                discussion["name"] = data["name"]
            case "member.added":
                members.extend(data["members"])
            case "member.removed":
                discussion["members"] = [member for member in members if member["id"] != data["userId"]]
            case "owner.changed":
                [owner] = [member for member in members if member["id"] == data["userId"]]
                discussion["owner"] = {key: owner[key] for key in ("id", "name", "initials")}
            case _:
                raise AssertionError(f"the contract knows no event {type}")

    def was_read(self, seq: int) -> None:
        """Some device of the same person has read up to `seq`."""
        self.read_up_to = max(self.read_up_to, seq)
        self.unread = {id for id in self.unread if self.seq_of[id] > self.read_up_to}

    def was_unread(self, seq: int) -> None:
        """Some device of the same person has marked it unread behind `seq`."""
        self.read_up_to = seq
        self.unread = {
            comment["id"]
            for comment in self.comments.values()
            if self.seq_of[comment["id"]] > seq
            and comment["author"]["id"] != self.me
            and comment["deletedAt"] is None
        }


@dataclass(slots=True)
class Inbox:
    """A person's inbox as a device holds it."""

    seq: int
    unread: int
    notifications: dict[str, dict[str, Any]] = field(default_factory=dict)
    muted: dict[str, bool] = field(default_factory=dict)

    def apply(self, event: dict[str, Any]) -> None:
        """Fold one event of the inbox in."""
        assert event["seq"] == self.seq + 1, f"inbox: {event['seq']} after {self.seq}"
        self.seq += 1
        data = event["data"]
        match event["type"]:
            case "notification.added":
                notification = data["notification"]
                assert notification["id"] not in self.notifications, "told twice"
                self.notifications[notification["id"]] = notification
                self.unread += notification["readAt"] is None
            case "notification.read":
                for id in data["ids"]:
                    if id in self.notifications:
                        assert self.notifications[id]["readAt"] is None, "read twice"
                        self.notifications[id]["readAt"] = event["at"]
                assert self.unread - len(data["ids"]) == data["unread"], "the badge does not add up"
                self.unread = data["unread"]
            case "notification.removed":
                for id in data["ids"]:
                    removed = self.notifications.pop(id, None)
                    assert removed is None or removed["readAt"] is not None, "removed unread"
                assert self.unread == data["unread"], "the badge does not add up"
            case "topic.was_muted":
                self.muted[data["topic"]] = data["muted"]
            case "topic.was_read" | "topic.was_unread":
                pass
            case other:
                raise AssertionError(f"the contract knows no event {other}")


def beginning(comment: dict[str, Any]) -> str:
    """What a notification tells of a comment as it is."""
    return excerpt(comment["text"] if comment["body"] is None else plain_text(comment["body"]), 500)


class Device:
    """One device of a person. It may be away and come back through another node."""

    def __init__(self, cluster: Cluster, login: str, client: Client) -> None:
        self.cluster = cluster
        self.login = login
        self.client = client
        self.me: str = client.hello["user"]["id"]
        self.held: dict[str, Held] = {}
        self.inbox = Inbox(0, 0)
        self.taken = 0  # how many of the client's events are folded in
        self.inbox_since = 0
        self.is_away = False

    @property
    def inbox_topic(self) -> str:
        return f"inbox:{self.me}"

    # --- snapshots

    async def begin(self) -> None:
        """Hold nothing but the inbox, from now on."""
        for topic in list(self.held):
            await self.client.ask("topic.unsubscribe", {"topic": topic})
        self.held.clear()
        self.taken = len(self.client.events)
        await self.client.call("notification.count")  # what waits is delivered now
        state = await self.client.call("topic.subscribe", {"topic": self.inbox_topic})
        self.inbox = Inbox(state["seq"], (await self.client.call("notification.count"))["unread"])
        self.taken = len(self.client.events)

    async def hold(self, topic: str) -> None:
        """Subscribe and take a snapshot, while nobody else does anything."""
        self.fold()
        state = await asked(self.client, "topic.subscribe", {"topic": topic})
        self.fold()
        if state is None:
            assert topic not in self.held or self.held[topic].is_closed
            return
        self.held[topic] = await fresh(self.client, self.me, topic)
        assert (self.held[topic].seq, len(self.held[topic].unread)) == (state["seq"], state["unread"])

    # --- events

    def fold(self) -> None:
        """Fold in what has come."""
        events = self.client.events[self.taken :]
        self.taken = len(self.client.events)
        for event in events:
            self._fold(event)

    def _fold(self, event: Event) -> None:
        topic = event.topic
        if event.name == "topic.closed" and topic in self.held:
            self.held[topic].is_closed = True
        elif event.name == "topic.rights" and topic in self.held:
            self.held[topic].rights = frozenset(event.data["rights"])
        elif event.seq is None:
            return
        elif topic == self.inbox_topic:
            if event.seq <= self.inbox_since:
                return  # live since hello, and in what catching up brought as well
            self.inbox.apply(event.data)
            if event.name == "topic.was_read" and event.data["data"]["topic"] in self.held:
                self.held[event.data["data"]["topic"]].was_read(event.data["data"]["seq"])
            if event.name == "topic.was_unread" and event.data["data"]["topic"] in self.held:
                self.held[event.data["data"]["topic"]].was_unread(event.data["data"]["seq"])
        elif topic in self.held:
            self.held[topic].apply(event.data)

    # --- away and back

    async def leave(self) -> None:
        """Lose the connection."""
        await self.client.close()
        self.fold()
        self.is_away = True

    async def come_back(self, node: int) -> None:
        """Connect to some node and fetch what was missed."""
        self.inbox_since = 0
        token = self.client.hello["resumeToken"]
        self.client = await Client.connect(self.cluster[node].url, resume_token=token)
        self.is_away = False
        self.taken = 0
        epoch = self.client.hello["epoch"]
        await self._catch_up(self.inbox_topic, self.inbox.seq, epoch)
        for topic, held in list(self.held.items()):
            if held.is_closed or not await self._catch_up(topic, held.seq, epoch):
                del self.held[topic]

    async def _catch_up(self, topic: str, seq: int, epoch: str) -> bool:
        payload = {"topic": topic, "after": seq, "epoch": epoch, "limit": 3}
        state = await asked(self.client, "topic.subscribe", payload)
        if state is None:
            return False
        assert state["recovered"]
        events, more = state["events"], state["more"]
        while more:
            after = events[-1]["seq"]
            page = await self.client.call("topic.events", {"topic": topic, "after": after, "limit": 500})
            events += [event for event in page["events"] if event["seq"] <= state["seq"]]
            more = events[-1]["seq"] < state["seq"]
        missed = [Event(event["type"], event, 0.0) for event in events]
        for event in missed:
            self._fold(event)
        if topic in self.held:
            self.held[topic].rights = frozenset(state["rights"])
        if topic == self.inbox_topic:
            self.inbox_since = state["seq"]
        return True

    # --- judging

    async def differences(self) -> list[str]:
        """What differs from a fresh snapshot, once everything that was sent has come. Nobody else does anything."""
        wrong: list[str] = []
        badge = (await self.client.call("notification.count"))["unread"]
        head = (await self.client.call("topic.get", {"topic": self.inbox_topic}))["seq"]
        await self._wait(lambda: self.inbox.seq >= head, f"{self.login}'s inbox is at {head}")
        listed = (await self.client.call("notification.list", {"limit": 200}))["items"]
        causes = [item["commentId"] for item in listed if item["commentId"]]
        if len(set(causes)) != len(causes):
            wrong.append(f"{self.login} was told of a cause twice")
        if self.inbox.unread != badge:
            wrong.append(f"{self.login}'s badge is {badge}, held is {self.inbox.unread}")
        for item in listed:
            held = self.inbox.notifications.get(item["id"])
            if held is not None and {**held, "text": ""} != {**item, "text": ""}:
                wrong.append(f"{self.login} holds {held}, listed is {item}")
        if gone := self.inbox.notifications.keys() - {item["id"] for item in listed}:
            wrong.append(f"{self.login} holds what is not listed: {gone}")
        for item in listed:
            held = self.inbox.notifications.get(item["id"])
            if held is None or item["text"] in ("", held["text"]):
                continue
            # What is listed has the words of now; an edit is told to who follows its topic, and not in the inbox.
            comment = await asked(self.client, "comment.get", {"commentId": item["commentId"]})
            if comment is None or item["text"] != beginning(comment):
                wrong.append(f"{self.login} holds another text than listed: {held}, {item}, now {comment}")
        for topic, held_topic in self.held.items():
            wrong += await self._differences_of(topic, held_topic)
        return wrong

    async def _differences_of(self, topic: str, held: Held) -> list[str]:
        if await asked(self.client, "topic.get", {"topic": topic}) is None:
            await self._wait(lambda: held.is_closed, f"{topic} is closed for {self.login}")
            return []
        now = await fresh(self.client, self.me, topic)
        await self._wait(
            lambda: held.is_closed or held.seq >= now.seq, f"{topic} is at {now.seq}, not {held.seq}"
        )
        if held.is_closed:
            return []  # was put out and invited again: the client has to begin anew
        wrong = []
        if held.comments != now.comments:
            ids = [
                id for id in {*held.comments, *now.comments} if held.comments.get(id) != now.comments.get(id)
            ]
            wrong += [f"{topic}: held {held.comments.get(id)}, now {now.comments.get(id)}" for id in ids]
        if held.commenting != now.commenting:
            wrong.append(f"{topic}: held as commenting is {held.commenting}")
        await self._wait(
            lambda: held.is_closed or held.rights == now.rights, f"{self.login}'s rights on {topic}"
        )
        if list(held.comments) != list(now.comments):
            wrong.append(f"{topic}: another order")
        if held.unread != now.unread:
            wrong.append(f"{topic}: {self.login} holds {len(held.unread)} unread, now {len(now.unread)}")
        if _shared(held.discussion) != _shared(now.discussion):
            wrong.append(f"{topic}: held {held.discussion}, now {now.discussion}")
        if topic in self.inbox.muted:
            state = await self.client.call("topic.get", {"topic": topic})
            if state["muted"] != self.inbox.muted[topic]:
                wrong.append(f"{topic}: muted is {state['muted']}")
        return wrong

    async def _wait(self, condition: Any, what: str) -> None:
        def folded() -> bool:
            self.fold()
            return bool(condition())

        await until(folded, 6, what)


def _shared(discussion: dict[str, Any] | None) -> dict[str, Any] | None:
    """What all members see alike."""
    if discussion is None:
        return None
    return {key: value for key, value in discussion.items() if key not in ("lastSeq", "unread", "muted")}


async def asked(client: Client, command: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    """The answer; None for `not_found`, and any other refusal fails the test."""
    answer = await client.ask(command, payload)
    assert answer["ok"] or answer["error"]["code"] == "not_found", answer
    data: dict[str, Any] | None = answer["data"] if answer["ok"] else None
    return data


async def fresh(client: Client, me: str, topic: str) -> Held:
    """The topic as a new device finds it, everything that is told twice compared."""
    state = await client.call("topic.get", {"topic": topic})
    comments: dict[str, dict[str, Any]] = {}
    cursor: dict[str, str] = {}
    while True:
        page = await client.call("topic.comments", {"topic": topic, "limit": 200, **cursor})
        comments.update({comment["id"]: comment for comment in page["items"]})
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    log: list[dict[str, Any]] = []
    while len(log) < state["seq"]:
        log += (await client.call("topic.events", {"topic": topic, "after": len(log)}))["events"]
    assert [event["seq"] for event in log] == list(range(1, state["seq"] + 1))
    seq_of = {
        event["data"]["comment"]["id"]: event["seq"] for event in log if event["type"] == "comment.added"
    }
    assert list(seq_of) == list(comments)
    alive = [comment for comment in comments.values() if comment["deletedAt"] is None]
    assert state["comments"] == len(alive)
    others = [comment["id"] for comment in alive if comment["author"]["id"] != me]
    unread = set(others[len(others) - state["unread"] :])
    discussion = None
    if topic.startswith("discussion:"):
        discussion = await client.call("discussion.get", {"discussionId": topic.partition(":")[2]})
        assert (discussion["lastSeq"], discussion["unread"], discussion["muted"]) == (
            state["seq"],
            state["unread"],
            state["muted"],
        )
    [summary] = (await client.call("topic.summaries", {"topics": [topic]}))["items"]
    assert (summary["seq"], summary["comments"], summary["unread"]) == (
        state["seq"],
        state["comments"],
        state["unread"],
    )
    said = state["commenting"], frozenset(state["rights"])
    return Held(topic, me, state["seq"], comments, seq_of, unread, discussion, *said)
