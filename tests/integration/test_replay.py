"""Any sequence of commands of many people over three nodes: a snapshot and the events after it are a fresh snapshot.

Hypothesis chooses who does what, what happens at the same moment, and who is away meanwhile. The run is the same each
time but for what happens at once; `REPLAY_EXAMPLES=500` makes it another, longer one, and prints how to repeat it.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.world import fresh_topic
from tests.integration.doors import Door
from tests.integration.replica import Device
from tests.integration.scene import FINANCE, SALES, content_of, groups, mention, open_to, users

T = TypeVar("T")

LOGINS = ("ann", "bob", "carol", "dan")
OF_AUTHORS = {"comment.edit", "comment.delete"}
REFUSALS = {"not_found", "forbidden", "conflict"}
EXAMPLES = int(os.environ.get("REPLAY_EXAMPLES", "0"))
STEPS = 20
MAY_MISS = 3

NUMBERS = st.integers(0, 999)
WHO = st.sampled_from(LOGINS)
DEVICES = st.integers(0, 2 * len(LOGINS) - 1)


WHAT = st.sampled_from(
    [
        *(
            "add",
            "add",
            "add",
            "add",
            "reply",
            "reply",
            "reply",
            "edit",
            "edit",
            "delete",
            "react",
            "react",
            "unreact",
        ),
        *(
            "resolve",
            "reopen",
            "switch",
            "read",
            "read",
            "unread",
            "mute",
            "unmute",
            "share",
            "notification",
            "up_to",
        ),
        *("create", "create", "rename", "invite", "remove", "transfer", "leave", "delete_discussion"),
    ]
)
Act = tuple[str, bool, str, int, int]
"""Who, whether by socket, does what, and two numbers that choose to what."""
ACTS = st.lists(st.tuples(WHO, st.booleans(), WHAT, NUMBERS, NUMBERS), min_size=2, max_size=8)


class Stage:
    """The people with two devices each and a REST door, kept from one example to the next."""

    def __init__(self, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self.cluster = cluster
        self._loop = loop
        self.devices: list[Device] = []
        self.doors: dict[str, Door] = {}
        self.ids: dict[str, str] = {}
        self.done: Counter[str] = Counter()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out `work` in the loop of the clients, from the thread of Hypothesis."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def open(self) -> None:
        for number, login in enumerate(LOGINS):
            self.ids[login] = (await self.cluster.person(login)).id
            self.doors[login] = await Door.open(self.cluster, "rest", login, number % 3)
            for node in (number % 3, (number + 1) % 3):
                token = await (await self.cluster.person(login)).identity_token()
                client = await Client.connect(self.cluster[node].url, identity_token=token)
                self.devices.append(Device(self.cluster, login, client))

        self.doors["admin"] = await Door.open(self.cluster, "rest", "admin")

    async def close(self) -> None:
        for device in self.devices:
            await device.client.close()


class Conversation(RuleBasedStateMachine):
    """What people do, one step after the other; within a step, at once."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.topics: list[str] = []
        self.comments: list[tuple[str, str]] = []  # id and topic
        self.whose: dict[
            str, str
        ] = {}  # login of a comment's author, or of a discussion's owner as last heard

    @initialize()
    def begin(self) -> None:
        self.stage.run(self._begin())

    async def _begin(self) -> None:
        self.topics = [fresh_topic(), fresh_topic()]
        await open_to(self.stage.cluster, self.topics[1], "ann", "bob", "carol")
        for device in self.stage.devices:
            if device.is_away:
                await device.come_back(0)
            await device.begin()
            await device.hold(self.topics[0])

    # --- devices

    @rule(which=DEVICES, topic=NUMBERS)
    def subscribe(self, which: int, topic: int) -> None:
        device = self.stage.devices[which]
        if not device.is_away:
            self.stage.run(device.hold(self.topics[topic % len(self.topics)]))

    @rule(which=DEVICES)
    def go_away(self, which: int) -> None:
        device = self.stage.devices[which]
        if not device.is_away:
            self.stage.run(device.leave())

    @precondition(lambda self: any(device.is_away for device in self.stage.devices))
    @rule(node=st.integers(0, 2))
    def come_back(self, node: int) -> None:
        device = next(device for device in self.stage.devices if device.is_away)
        self.stage.run(device.come_back(node))

    @rule()
    def compare(self) -> None:
        self.stage.run(self._compare())

    async def _compare(self) -> None:
        for door in self.stage.doors.values():
            await door.call("notification.count")
        here = [device for device in self.stage.devices if not device.is_away]
        wrong = await asyncio.gather(*(device.differences() for device in here))
        assert not sum(wrong, []), "\n".join(sum(wrong, []))  # noqa: RUF017

    @override
    def teardown(self) -> None:
        if self.topics:
            self.stage.run(self._all_back_and_compare())

    async def _all_back_and_compare(self) -> None:
        for number, device in enumerate(self.stage.devices):
            if device.is_away:
                await device.come_back(number % 3)
        await self._compare()

    # --- what people do

    @rule(acts=ACTS)
    def at_once(self, acts: list[Act]) -> None:
        self.stage.run(self._at_once(acts))

    @rule(acts=ACTS)
    def at_once_again(self, acts: list[Act]) -> None:
        self.stage.run(self._at_once(acts))

    @rule(acts=ACTS)
    def and_again(self, acts: list[Act]) -> None:
        self.stage.run(self._at_once(acts))

    async def _at_once(self, acts: list[Act]) -> None:
        logins = {id: login for login, id in self.stage.ids.items()}
        asked = [
            (self._who(who, act, one), is_socket, act)
            for who, is_socket, what, one, two in acts
            if (act := self._spell(what, one, two)) is not None
        ]
        answers = await asyncio.gather(
            *(self._door(who, is_socket).ask(*act) for who, is_socket, act in asked)
        )
        for (_, _, (command, _)), answer in zip(asked, answers, strict=True):
            self.stage.done[command] += answer["ok"]
            if not answer["ok"]:
                assert answer["error"]["code"] in REFUSALS, answer
            elif "comment" in answer["data"]:
                comment = answer["data"]["comment"]
                if comment["id"] not in self.whose:
                    self.comments.append((comment["id"], comment["topic"]))
                self.whose[comment["id"]] = logins[comment["author"]["id"]]
            elif "discussion" in answer["data"]:
                discussion = answer["data"]["discussion"]
                if discussion["id"] not in self.whose:
                    self.topics.append(discussion["topic"])
                self.whose[discussion["id"]] = logins[discussion["owner"]["id"]]

    def _who(self, who: str, act: tuple[str, dict[str, Any]], one: int) -> str:
        """Mostly somebody who may: few other than authors and owners would get anything done."""
        command, payload = act
        if command == "topic.switch":
            return "admin"
        id = payload.get("discussionId") or (command in OF_AUTHORS and payload["commentId"])
        return self.whose[id] if id and command != "discussion.leave" and one % 4 else who

    def _door(self, who: str, is_socket: bool) -> Door:
        if is_socket:
            for device in self.stage.devices:
                if device.login == who and not device.is_away:
                    return Door(device.client, None)
        return self.stage.doors[who]

    def _spell(self, what: str, one: int, two: int) -> tuple[str, dict[str, Any]] | None:
        topic = self.topics[one % len(self.topics)]
        somebody = self.stage.ids[LOGINS[two % len(LOGINS)]]
        text = ["Hello", mention(somebody), f"{mention(SALES, 'group')} {mention(somebody)}"][two % 3]
        match what:
            case "add":
                places: list[dict[str, Any]] = [{}, {"anchor": {"pageKey": "p"}}, {"viewState": {"n": two}}]
                return "comment.add", {"topic": topic, "text": text, **places[two % 3]}
            case "read":
                return "topic.read", {"topic": topic, "seq": two % 40}
            case "unread":
                return "topic.unread", {"topic": topic, "fromSeq": two % 40}
            case "mute" | "unmute":
                return "topic.mute", {"topic": topic, "muted": what == "mute"}
            case "switch":
                return "topic.switch", {"topic": topic, "commenting": two % 3 > 0}
            case "share":
                content = content_of(self.topics[one % 2])
                return "share", {"content": content, "recipients": users(somebody), "message": "See"}
            case "notification":
                device = self.stage.devices[one % len(self.stage.devices)]
                return "notification.read", {"ids": list(device.inbox.notifications)[-(two % 4) :]}
            case "up_to":
                device = self.stage.devices[one % len(self.stage.devices)]
                return "notification.read", {"upTo": max(0, device.inbox.seq - two % 5)}
            case "create":
                members = [users(somebody), users(*self.stage.ids.values()), groups(FINANCE)][one % 3]
                first = {"text": text} if two % 2 else {}
                return "discussion.create", {"name": f"Number {one}", "members": members, **first}
            case "reply" | "edit" | "delete" | "react" | "unreact" | "resolve" | "reopen":
                return self._spell_about_comment(what, one, two, text)
        discussions = self.topics[2:]
        if not discussions:
            return None
        id = discussions[one % len(discussions)].partition(":")[2]
        more: dict[str, dict[str, Any]] = {
            "rename": {"name": f"Number {two}"},
            "invite": {"members": [users(somebody), groups(SALES)][two % 2]},
            "remove": {"userId": somebody},
            "transfer": {"userId": somebody},
            "leave": {},
            "delete_discussion": {},
        }
        command = {"delete_discussion": "delete"}.get(what, what)
        return f"discussion.{command}", {"discussionId": id, **more[what]}

    def _spell_about_comment(
        self, what: str, one: int, two: int, text: str
    ) -> tuple[str, dict[str, Any]] | None:
        if not self.comments:
            return None
        id, topic = self.comments[-1 - one % min(len(self.comments), 8)]
        emoji = "👍🎉"[two % 2]
        return {
            "reply": ("comment.add", {"topic": topic, "text": text, "replyTo": id}),
            "edit": ("comment.edit", {"commentId": id, "text": f"{text} {two}"}),
            "delete": ("comment.delete", {"commentId": id}),
            "react": ("comment.react", {"commentId": id, "emoji": emoji}),
            "unreact": ("comment.unreact", {"commentId": id, "emoji": emoji}),
            "resolve": ("thread.resolve", {"commentId": id}),
            "reopen": ("thread.reopen", {"commentId": id}),
        }[what]


async def test_snapshot_and_events_are_a_fresh_snapshot(cluster: Cluster) -> None:
    stage = Stage(cluster, asyncio.get_running_loop())
    await stage.open()
    try:
        how = settings(
            max_examples=EXAMPLES or 20,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate,),  # a shorter run of live servers is another run
            suppress_health_check=list(HealthCheck),
        )
        make: Any = partial(Conversation, stage)
        await asyncio.to_thread(run_state_machine_as_test, make, settings=how)
    finally:
        await stage.close()
    # Who wins when several act at once is left to chance, so a rare command may come too late in every example; that
    # hardly anything took effect would mean that nothing was tried.
    every = {name for name, entry in TABLE.items() if isinstance(entry, Write)} - {"session.end"}
    took_effect = {command for command, count in stage.done.items() if count}
    assert took_effect <= every
    assert len(every - took_effect) <= MAY_MISS, every - took_effect
