"""What each command costs, in what dearest form it may take, is paid for: one person takes at most a quarter of a node.

Who uses all that the limits allow has spent `UNITS_PER_SECOND` over ten seconds. So a unit may stand for so many
milliseconds of the loop's thread, whatever it is spent on. What is asked of Library has a pace besides.

What computes beside a node makes its milliseconds longer. So what seems dear is measured anew, with all else, in
a fresh scene: only what is dear each time is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from collab_server.authority.library.turns import QUESTIONS_BURST, QUESTIONS_PER_SECOND
from collab_server.config import Limits
from collab_server.contract.catalogue import COMMANDS
from collab_server.errors import ClientError
from collab_server.services.commands.payloads import Payloads
from collab_server.services.commands.table import TABLE
from collab_server.services.commands.weights import weight_of, weight_of_answer, weight_of_request
from tests.harness.clients import new_session
from tests.harness.world import PROJECT_ID, fresh_topic
from tests.hostile.costs import Node1GiB
from tests.integration.doors import GROUP_SALES, Raw, say

SHARE, SECONDS = 0.25, 10
UNITS_PER_SECOND = Limits().commandsPerSecond + Limits().commandsBurst / SECONDS
UNIT_SECONDS = SHARE / UNITS_PER_SECOND
UNITS_OF_A_QUESTION = UNITS_PER_SECOND / (QUESTIONS_PER_SECOND + QUESTIONS_BURST / SECONDS)
"""A question to Library cannot be asked more often than so many units can be spent."""
TIMES = int(os.environ.get("HOSTILE_TIMES", "6"))
AT_ONCE = 3
RUNS = 3

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no schedstat"
)

_ANSWER = re.compile(r"43([0-9]+)\[")
_numbers = itertools.count(1)
NAMES = {"kind": "user", "id": "A11A0000000000000000000000000001"}, {"kind": "group", "id": GROUP_SALES}
ODD = "é́b " * 2400
MARKED = "a" + "\u0301\u0316" * 4999


def unknown_topics(count: int) -> list[str]:
    return [f"content:{PROJECT_ID}:AC{next(_numbers):030X}" for _ in range(count)]


def unknown_people(count: int) -> list[dict[str, str]]:
    return [{"kind": "user", "id": f"AD{next(_numbers):030X}"} for _ in range(count)]


@dataclass
class Scene:
    """What there is to be asked for: much, and large."""

    topic: str
    mine: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)
    discussion: str = ""
    discussions: list[str] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)

    def one_of_mine(self) -> str:
        """A discussion that is still there."""
        return self.discussions.pop()


Make = Callable[[Scene, int], dict[str, Any]]
STATE = {"a": [0] * 32_000}
WORST: dict[str, list[Make]] = {
    "topic.subscribe": [
        lambda scene, n: {"topic": scene.topic, "after": 0, "limit": 500},
        lambda scene, n: {"topic": unknown_topics(1)[0]},
    ],
    "typing": [lambda scene, n: {"topic": scene.topic, "typing": bool(n % 2)}],
    "topic.unsubscribe": [lambda scene, n: {"topic": scene.topic}],
    "topic.get": [lambda scene, n: {"topic": unknown_topics(1)[0]}],
    "topic.events": [lambda scene, n: {"topic": scene.topic, "after": 0, "limit": 500}],
    "topic.comments": [lambda scene, n: {"topic": scene.topic, "limit": 200}],
    "comments.search": [
        lambda scene, n: {"q": "ab", "limit": 200},
        lambda scene, n: {"q": " ".join(f"a{i}" for i in range(50)), "limit": 200},
        lambda scene, n: {"q": "é b a c", "topic": scene.topic, "limit": 200},
    ],
    "comment.get": [lambda scene, n: {"commentId": scene.mine[0]}],
    "comment.revisions": [lambda scene, n: {"commentId": scene.mine[0]}],
    "comment.add": [
        lambda scene, n: {"topic": scene.topic, "text": ODD, "viewState": STATE},
        lambda scene, n: {"topic": scene.topic, "text": MARKED},
        lambda scene, n: {
            "topic": scene.topic,
            "text": "x",
            "viewState": STATE,
            "requestId": f"r{next(_numbers)}",
        },
        lambda scene, n: {"topic": scene.topic, "text": f"@[S](group:{GROUP_SALES}) " * 10},
        lambda scene, n: {
            "topic": scene.topic,
            "text": "".join(f"@[x](user:{one['id']}) " for one in unknown_people(50)),
        },
        lambda scene, n: {"topic": scene.topic, "text": "x" * 990_000},
        lambda scene, n: {"topic": scene.topic, "text": "x", "replyTo": scene.mine[1]},
        lambda scene, n: {"topic": scene.topic, "text": "[" * 999 + str(n), "format": "markdown"},
        lambda scene, n: {"topic": scene.topic, "text": "[" * 9_990 + str(n), "format": "markdown"},
        lambda scene, n: {"topic": scene.topic, "text": "**a" * 3_300 + str(n), "format": "markdown"},
    ],
    "comment.edit": [
        lambda scene, n: {"commentId": scene.mine[0], "text": f"{ODD}{n}"},
        lambda scene, n: {"commentId": scene.mine[0], "text": f"{MARKED[:-9]}{n}"},
    ],
    "comment.delete": [lambda scene, n: {"commentId": scene.spare.pop()}],
    "comment.react": [lambda scene, n: {"commentId": scene.mine[1], "emoji": "👍" if n % 2 else "🎉"}],
    "comment.unreact": [lambda scene, n: {"commentId": scene.mine[1], "emoji": "👍"}],
    "thread.resolve": [lambda scene, n: {"commentId": scene.mine[n % 8]}],
    "thread.reopen": [lambda scene, n: {"commentId": scene.mine[n % 8]}],
    "thread.follow": [lambda scene, n: {"commentId": scene.mine[n % 8], "following": n < 4}],
    "thread.mute": [lambda scene, n: {"commentId": scene.mine[n % 4], "muted": n < 4}],
    "thread.marks": [lambda scene, n: {"topic": scene.topic}],
    "topic.read": [lambda scene, n: {"topic": scene.topic, "seq": n % 40}],
    "topic.unread": [lambda scene, n: {"topic": scene.topic, "fromSeq": 40 - n}],
    "topic.mute": [lambda scene, n: {"topic": scene.topic, "muted": bool(n % 2)}],
    "topic.switch": [lambda scene, n: {"topic": scene.topic, "commenting": n % 2 == 0}],
    "topic.watch": [
        lambda scene, n: {"topics": unknown_topics(500)},
        lambda scene, n: {"topics": [f"discussion:{one}" for one in (scene.discussions * 200)[:500]]},
        lambda scene, n: {"topics": []},
    ],
    "topic.summaries": [
        lambda scene, n: {"topics": [scene.topic] * 500},
        lambda scene, n: {"topics": unknown_topics(500)},
        lambda scene, n: {"topics": [f"discussion:{one}" for one in (scene.discussions * 200)[:500]]},
    ],
    "topic.anchors": [lambda scene, n: {"topic": scene.topic}],
    "discussion.create": [
        lambda scene, n: {"name": f"d{n}", "members": list(NAMES), "text": ODD},
        lambda scene, n: {"name": f"e{n}", "members": unknown_people(199)},
        lambda scene, n: {"name": "é́" * 100, "members": [NAMES[1]] * 100},
    ],
    "discussion.list": [lambda scene, n: {"limit": 200}],
    "discussion.get": [lambda scene, n: {"discussionId": scene.discussion}],
    "discussion.leave": [lambda scene, n: {"discussionId": scene.one_of_mine()}],
    "discussion.rename": [lambda scene, n: {"discussionId": scene.discussion, "name": f"{'é́' * 99}{n % 10}"}],
    "discussion.invite": [
        lambda scene, n: {"discussionId": scene.discussion, "members": unknown_people(199)},
        lambda scene, n: {"discussionId": scene.discussion, "members": [NAMES[1]] * 100},
    ],
    "discussion.remove": [lambda scene, n: {"discussionId": scene.one_of_mine(), "userId": NAMES[0]["id"]}],
    "discussion.transfer": [lambda scene, n: {"discussionId": scene.one_of_mine(), "userId": NAMES[0]["id"]}],
    "discussion.delete": [lambda scene, n: {"discussionId": scene.one_of_mine()}],
    "share": [
        lambda scene, n: {
            "content": dict(zip(("projectId", "objectId"), scene.topic.split(":")[1:], strict=True)),
            "recipients": [NAMES[1]] * 10,
            "message": "x" * 9000,
            "viewState": STATE,
        },
        lambda scene, n: {
            "content": dict(zip(("projectId", "objectId"), scene.topic.split(":")[1:], strict=True)),
            "recipients": unknown_people(200),
        },
    ],
    "notification.list": [lambda scene, n: {"limit": 200}],
    "notification.count": [lambda scene, n: {}],
    "notification.read": [lambda scene, n: {"ids": (scene.notifications * 500)[:500]}],
    "recipients.find": [lambda scene, n: {"search": f"{'ab'[n % 2]}", "cursor": None, "limit": 200}],
    "me": [lambda scene, n: {}],
    "session.refresh": [lambda scene, n: {"identityToken": f"made-up-{n}-" + "x" * 3000}],
    "session.end": [],  # nobody does it twice
}


QUESTIONS = {"topic.subscribe 2": 2, "topic.get 1": 2, "comment.add 5": 1}
"""So many calls of Library, where that is what a command costs."""


async def fresh_scene(node: Node1GiB) -> Scene:
    """A topic with much on it, a full inbox, and what is eve's own."""
    scene = Scene(fresh_topic())
    cluster = node.cluster
    ann, own = await cluster.client(0, "ann"), await cluster.client(0, "eve")
    text, state = f"@[Eve Eriksen](user:E55E0000000000000000000000000005) {'ab ' * 250}", {"x": "y" * 2000}
    said = [
        await say(
            ann, scene.topic, text, viewState=state, anchor={"pageKey": f"K{n}", "visualizationKey": "W"}
        )
        for n in range(60)
    ]
    scene.mine = [(await say(own, scene.topic, "ab " * 300))["comment"]["id"] for _ in range(8)]
    scene.spare = [(await say(own, scene.topic, "ab"))["comment"]["id"] for _ in range(TIMES + 1)]
    for _ in range(5 + 4 * (TIMES + 1)):
        made = await own.call("discussion.create", {"name": "d", "members": [NAMES[0]]})
        scene.discussions.append(made["discussion"]["id"])
    scene.discussion = scene.discussions.pop(0)
    assert said
    listed = await own.call("notification.list", {"limit": 200})
    scene.notifications = [item["id"] for item in listed["items"]]
    await own.call("topic.subscribe", {"topic": scene.topic})
    return scene


def computed(node: Node1GiB) -> float:
    """What the node has computed, in seconds: the thread of its loop, and those beside it, which hold that up."""
    tasks = Path(f"/proc/{node.process.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@dataclass(frozen=True)
class Price:
    """What a command took of the node's threads, and what it was charged."""

    name: str
    seconds: float
    units: float
    said: str

    @property
    def share(self) -> float:
        """Of the loop, for who does nothing else, over ten seconds."""
        return self.seconds / self.units * UNITS_PER_SECOND


class Shop:
    """Eve, who asks for one thing after the other, and what she pays for it."""

    def __init__(self, node: Node1GiB, eve: Raw) -> None:
        self._node = node
        self._eve = eve
        self._acks = itertools.count()
        self._answers: dict[int, str] = {}
        self._payloads = Payloads(((row.name, row.payload) for row in COMMANDS.values()), Limits())

    async def price(self, name: str, payloads: list[dict[str, Any]]) -> Price:
        packets = [f'["{name}",{json.dumps(payload)}]' for payload in payloads]
        before = computed(self._node)
        answers = []
        for some in (packets[n : n + AT_ONCE] for n in range(0, len(packets), AT_ONCE)):
            acks = [next(self._acks) for _ in some]
            await self._eve.send(*(f"42{ack}{packet}" for ack, packet in zip(acks, some, strict=True)))
            answers += [await self._answer(ack) for ack in acks]
        took = computed(self._node) - before
        units = sum(map(self._units, itertools.repeat(name), payloads, packets, answers))
        codes = {
            "ok" if text.startswith('{"ok":true') else json.loads(text)["error"]["code"] for text in answers
        }
        return Price(name, took / len(packets), units / len(packets), ", ".join(sorted(codes)))

    async def _answer(self, ack: int) -> str:
        while ack not in self._answers:
            frame = await self._eve.next(60)
            assert frame is not None, "the connection was closed"
            if found := _ANSWER.match(str(frame)):
                self._answers[int(found[1])] = str(frame)[found.end() : -1]
        return self._answers.pop(ack)

    def _units(self, name: str, payload: dict[str, Any], packet: str, answer: str) -> int:
        units = 1 + weight_of_request(len(packet.encode()))
        try:
            units += weight_of(self._payloads.read(name, payload))
        except ClientError:
            return units
        return units + weight_of_answer(len(answer))


def table(prices: list[Price]) -> Iterator[str]:
    """For the documents, the dearest first."""
    for price in sorted(prices, key=lambda one: -one.share):
        yield f"{price.share:6.1%}  {price.seconds * 1000:7.2f} ms {price.units:6.1f} units  {price.name}: {price.said}"


def test_every_command_has_its_dearest_form() -> None:
    assert set(WORST) == set(TABLE)


async def test_no_command_is_cheaper_to_send_than_to_carry_out(node: Node1GiB, eve: Raw) -> None:
    always: set[str] | None = None
    for _ in range(RUNS):
        prices = await all_prices(node, eve, await fresh_scene(node))
        print("\n" + "\n".join(table(prices)))  # noqa: T201
        dear = [price for price in prices if price.seconds > UNIT_SECONDS * price.units]
        names = {price.name for price in dear}
        always = names if always is None else always & names
        if not always:
            return
        await node.cluster.close_clients()
    lines = "\n".join(table([price for price in dear if price.name in (always or ())]))
    raise AssertionError(f"cost more than they are charged:\n{lines}")


async def all_prices(node: Node1GiB, eve: Raw, scene: Scene) -> list[Price]:
    shop, prices = Shop(node, eve), []
    await eve.send(f'42999999["topic.subscribe",{json.dumps({"topic": scene.topic})}]')
    await eve.answer(999999)
    for name, forms in WORST.items():
        for number, make in enumerate(forms, 1):
            payloads = [make(scene, n) for n in range(TIMES + 1)]
            await shop.price(name, payloads[:1])  # so that what is done once is done
            price = await shop.price(name, payloads[1:])
            asked = QUESTIONS.get(f"{name} {number}", 0) * UNITS_OF_A_QUESTION
            prices.append(Price(f"{name} {number}", price.seconds, max(price.units, asked), price.said))
            eve.frames.clear()
    prices.append(await over_rest(node))
    return prices


async def over_rest(node: Node1GiB) -> Price:
    token = await (await node.cluster.person("eve")).identity_token()
    async with new_session(keeps_cookies=False) as http:

        async def call() -> None:
            async with http.get(f"{node.url}/api/me", headers={"X-MSTR-IdentityToken": token}) as answer:
                assert answer.status == 200

        await call()
        before = computed(node)
        for _ in range(4 * TIMES):
            await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        return Price("me over REST", (computed(node) - before) / (4 * TIMES * AT_ONCE), 1, "ok")
