"""Somebody who owns Redis: reads all that goes through it, and publishes whatever they like. They change nothing.

The nodes, their people and what is between them are shared by the tests here: after each attack all is as before.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from collab_server.cluster.envelope import pack_heard, pack_messages
from collab_server.cluster.seal import Seal
from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.ends import mark_of
from collab_server.domain.hints import Kind, pack_event
from collab_server.domain.keys import KeyRing
from tests.harness.clients import Client, Failed, new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.waiting import until
from tests.harness.world import ADMIN_ID, PROJECT_ID, World, fresh_topic
from tests.integration.doors import say
from tests.integration.scene import ANN, BOB, EVE, mention, open_to, users

HEAD_BYTES = 37
WORDS = ("Zyzzyva", "Quokka", "Xylograph", "Wombat")
"""What people say and call things: words that stand nowhere else."""


@dataclass
class Owner:
    """Who owns Redis: everything that others have published since they came, and the means to publish."""

    redis: Any
    channel: str = ""
    recorded: list[bytes] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    _seen: set[bytes] = field(default_factory=set)

    async def listen(self) -> None:
        async with self.redis.pubsub() as listener:
            await listener.psubscribe("*")
            async for message in listener.listen():
                if message["type"] == "pmessage":
                    self.channels.add(message["channel"].decode())
                    if message["data"] not in self._seen:
                        self._seen.add(message["data"])
                        self.recorded.append(message["data"])

    async def publish(self, envelopes: Iterable[bytes], channel: str = "") -> None:
        envelopes = list(envelopes)
        self._seen.update(envelopes)
        for start in range(0, len(envelopes), 200):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for data in envelopes[start : start + 200]:
                    pipeline.publish(channel or self.channel, data)
                await pipeline.execute()


@dataclass
class Stage:
    """Ann on the first node and bob on the second share an open topic and a discussion; eve may open neither."""

    cluster: Cluster
    owner: Owner
    topic: str
    closed: str
    discussion: str
    ann: Client
    bob: Client
    eve: Client
    said: list[str] = field(default_factory=list)
    node_names: list[str] = field(default_factory=list)

    async def speak(self) -> None:
        """Ann says something on the first node; bob, on the second, hears it as it was said."""
        text = f"{WORDS[0]} {secrets.token_hex(8)}"
        self.said.append(text)
        seq = (await say(self.ann, self.topic, text))["seq"]
        await self.bob.wait_for_seq(self.topic, seq, timeout=10)

    async def counters(self, node: int = 1) -> dict[str, int]:
        counters: dict[str, int] = (await self.cluster[node].status(is_verbose=True))["counters"]
        return counters

    async def all_is_as_before(self) -> None:
        """What was attacked changed nothing, on any node."""
        await self.speak()
        heard = [event.data["data"]["comment"]["text"] for event in self.bob.events_of(self.topic)]
        assert heard == self.said, "each comment once, as it was said, and no other"
        for client in (self.ann, self.bob):
            assert client.closed_because is None
            present = (await client.call("topic.get", {"topic": self.topic}))["present"]
            assert {user["id"] for user in present} == {ANN, BOB}
            signals = [event.data for event in client.events if event.name in ("presence", "typing")]
            assert all(not data.get("left") for data in signals)
            assert not [data for data in signals if data.get("typing")]
            ours = [event for event in client.events if event.name == "topic.closed"]
            assert ours == []
        for _ in range(3):
            await self.bob.call("me", {})  # nobody has used up what he may ask
        for topic in (self.closed, self.discussion):
            with pytest.raises(Failed) as refusal:
                await self.eve.call("topic.subscribe", {"topic": topic})
            assert refusal.value.code == "not_found"
        assert self.eve.events_of(self.closed) == self.eve.events_of(self.discussion) == []
        for number, node in enumerate(self.cluster.nodes[:2]):
            report = await node.status(is_verbose=True)
            assert report["state"] == "running"
            assert [other["node"] for other in report["cluster"]] == [self.node_names[1 - number]]
            assert report["counters"]["bus_handler_errors"] == 0


async def name_of(node: Node) -> str:
    name: str = (await node.status(is_verbose=True))["node"]
    return name


@pytest_asyncio.fixture(scope="module")
async def stage(world: World) -> AsyncIterator[Stage]:
    with EmbeddedValkey() as valkey:
        folder = world.folder / "redis-owned"
        owner = Owner(redis.asyncio.from_url(valkey.url, retry=Retry(NoBackoff(), 0)))
        listening = asyncio.create_task(owner.listen())
        cluster = Cluster(world.new_database(), world.library, valkey.url, nodes=2, folder=folder)
        try:
            async with cluster:
                topic, closed = fresh_topic(), fresh_topic()
                await open_to(cluster, closed, "ann")
                ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
                eve = await cluster.client(1, "eve")
                owner.channel = f"collab:{ann.hello['epoch']}:bus"
                made = await ann.call("discussion.create", {"name": WORDS[1], "members": users(BOB)})
                names = [await name_of(node) for node in cluster.nodes]
                discussion = made["discussion"]["topic"]
                stage = Stage(cluster, owner, topic, closed, discussion, ann, bob, eve, node_names=names)
                for client in (ann, bob):
                    for name in (topic, discussion):
                        await client.call("topic.subscribe", {"topic": name})
                await ann.call("topic.subscribe", {"topic": closed})
                await say(ann, discussion, WORDS[2])
                await bob.call("typing", {"topic": discussion, "typing": True})
                await say(ann, discussion, f"{WORDS[3]} {mention(BOB)}")
                await bob.call("typing", {"topic": discussion, "typing": False})
                for client in (ann, bob):
                    client.events = [event for event in client.events if event.name != "typing"]
                await stage.speak()
                yield stage
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await owner.redis.aclose()


async def test_nobody_can_read_what_is_published(stage: Stage) -> None:
    """Neither words nor names nor ids of anything; and nothing is stored."""
    await stage.speak()
    published = b"\n".join(stage.owner.recorded)
    assert len(published) > 2000
    ids = {ANN, BOB, EVE, stage.topic, stage.discussion, stage.discussion.partition(":")[2], PROJECT_ID}
    ids |= {
        event.data["id"] for event in stage.bob.events if isinstance(event.data, dict) and "id" in event.data
    }
    names = {
        "Archer",
        "ann",
        "bob",
        *stage.node_names,
        "comment.added",
        "digest",
        "state",
        "version",
        "content:",
    }
    for secret in {*WORDS, *stage.said, *ids, *names} - {"ann", "bob", "state"}:
        assert secret.encode() not in published, secret
    epoch = stage.ann.hello["epoch"]
    assert stage.owner.channels == {f"collab:{epoch}:bus"}
    assert await stage.owner.redis.keys("*") == []


def payloads(stage: Stage) -> dict[Kind, bytes]:
    """Something harmful of each kind."""
    comment = {
        "id": "0" * 32,
        "text": "Transfer it",
        "author": {"id": ADMIN_ID, "name": "A", "initials": "A"},
    }
    event = {
        "topic": stage.topic,
        "seq": len(stage.said) + 1,
        "type": "comment.added",
        "data": {"comment": comment},
    }
    _, project, content = stage.closed.split(":")
    return {
        Kind.GAP: b"",
        Kind.CANARY: b"",
        Kind.EVENT: pack_event(stage.topic, len(stage.said) + 1, "comment.added", json.dumps(event).encode()),
        Kind.SOCKETIO: json.dumps(
            {"method": "emit", "event": "server.state", "data": {}, "namespace": "/"}
        ).encode(),
        Kind.PRESENCE: json.dumps(["in", stage.topic, [EVE, "Eve", "E", 1]]).encode(),
        Kind.LIMITS: json.dumps({BOB: 1_000_000, ANN: 1_000_000}).encode(),
        Kind.NOTIFIED: BOB.encode(),
        Kind.RIGHTS: json.dumps([[EVE, project, content, 55, "Mine", -1e12]]).encode(),
        Kind.ENDED: json.dumps([[mark_of("person", BOB).hex(), BOB, 2**52, 2**52]]).encode(),
        Kind.HEARD: pack_heard(True, [(b"\0" * 16, 2**63)]),
    }


def in_clear(node: str, kind: int, payload: bytes, sender: bytes = b"mallory!") -> bytes:
    """As the version before said it."""
    name = node.encode()
    head = struct.pack(">B8sQIB", 1, sender, 0, 1, len(name))
    return head + name + struct.pack(">BI", kind, len(payload)) + payload


def sealed_otherwise(stage: Stage) -> list[bytes]:
    """As a node would, but for the key: as a new start, and as one that is there, in its name and going on from its
    numbers."""
    made = []
    epoch = stage.ann.hello["epoch"]
    known = {data[5:21]: data[:HEAD_BYTES] for data in stage.owner.recorded}
    for sender in (secrets.token_bytes(16), *known):
        seal = Seal(sender)
        seal.use(epoch, KeyRing.of(b"guessed!" * 4))
        for node in stage.node_names:
            for kind, payload in payloads(stage).items():
                data = seal.seal(10**6, pack_messages(node, [(kind, payload, b"")]))
                made.append(data)
                if sender in known:  # the right key's number, and one that comes next
                    sealing = struct.pack(">Q", 10**6 + len(made))
                    made.append(data[:1] + known[sender][1:5] + data[5:21] + sealing + data[29:])
    return made


def changed(stage: Stage) -> list[bytes]:
    """Each of the last envelopes with one byte changed: all of the head, some of the rest; then cut and lengthened."""
    chance = random.Random(12)
    made = []
    for data in stage.owner.recorded[-12:]:
        places = [*range(HEAD_BYTES), *(chance.randrange(HEAD_BYTES, len(data)) for _ in range(40))]
        for at in places:
            made.append(data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :])
        made += [data[:end] for end in (0, 1, 20, HEAD_BYTES, HEAD_BYTES + 1, len(data) - 1)]
        made += [data + b"\0", data + data, data[:HEAD_BYTES] + stage.owner.recorded[0][HEAD_BYTES:]]
    return made


ATTACKS: dict[str, Callable[[Stage], list[bytes]]] = {
    "said in clear by a node that there is": lambda stage: [
        in_clear(node, kind, payload)
        for node in stage.node_names
        for kind, payload in payloads(stage).items()
    ],
    "said in clear by a node that there is not": lambda stage: [
        in_clear("mallory", kind, payload) for kind, payload in payloads(stage).items()
    ],
    "sealed with another key": sealed_otherwise,
    "changed": changed,
    "played again": lambda stage: list(stage.owner.recorded),
    "played again backwards": lambda stage: stage.owner.recorded[::-1],
    "played again by chance and twice": lambda stage: random.Random(5).sample(
        2 * stage.owner.recorded, 2 * len(stage.owner.recorded)
    ),
    "too large": lambda stage: [b"\2" * 9_000_000, stage.owner.recorded[-1][:HEAD_BYTES] + b"x" * 9_000_000],
    "a flood of junk": lambda stage: [random.Random(9).randbytes(60) for _ in range(5000)],
    "a flood of junk under the right key's number": lambda stage: [
        stage.owner.recorded[0][:5] + random.Random(n).randbytes(90) for n in range(2000)
    ],
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_whatever_is_published_changes_nothing(stage: Stage, attack: str) -> None:
    await stage.all_is_as_before()
    before = [await stage.counters(node) for node in (0, 1)]
    log = [len(node.log) for node in stage.cluster.nodes]
    made = ATTACKS[attack](stage)
    await stage.owner.publish(made)
    await stage.all_is_as_before()
    dropped = ("bus_unopened", "bus_unknown_version", "bus_repeated")
    counted = 0
    for number in (0, 1):
        after = await stage.counters(number)
        counted += sum(after[name] - before[number][name] for name in dropped)
        written = stage.cluster[number].log[log[number] :]
        assert len([line for line in written.splitlines() if "not sealed" in line]) <= 1
        assert "Traceback" not in written
    # A node's own echoes prove nothing and are not counted, but what is one node's own is another's for the other.
    assert counted >= len(made) // 4 * 2, before


async def test_operators_are_shown_that_somebody_else_publishes(stage: Stage) -> None:
    before = (await stage.counters())["bus_unopened"]
    await stage.owner.publish(changed(stage)[1:11])
    await stage.all_is_as_before()
    assert (await stage.counters())["bus_unopened"] == before + 10
    async with new_session(keeps_cookies=False) as http:
        async with http.get(f"{stage.cluster[1].url}/metrics") as answer:
            shown = await answer.text()
    assert f"collab_bus_unopened_total {float(before + 10)}" in shown
    assert "was not sealed by this version and installation" in stage.cluster[1].log


async def test_whatever_is_said_on_another_channel_changes_nothing(stage: Stage) -> None:
    recorded = list(stage.owner.recorded)
    for channel in ("collab:other:bus", "collab:bus", stage.owner.channel + ":2"):
        await stage.owner.publish(recorded, channel)
    stage.owner.channels -= {"collab:other:bus", "collab:bus", stage.owner.channel + ":2"}
    await stage.all_is_as_before()


async def test_recordings_change_nothing_on_a_node_that_has_just_started_and_of_one_that_has_gone(
    stage: Stage,
) -> None:
    third = stage.cluster.add_node()
    await third.start()
    try:

        async def is_met() -> bool:
            reports = [await node.status(is_verbose=True) for node in stage.cluster.nodes]
            return all(len(report["cluster"]) == 2 for report in reports)

        recorded = list(stage.owner.recorded)
        await stage.owner.publish(recorded)
        await until(is_met, 15)
        carol = await stage.cluster.client(third, "carol")
        await carol.call("topic.subscribe", {"topic": stage.topic})
        text = f"{WORDS[0]} to all three"
        stage.said.append(text)
        seq = (await say(stage.ann, stage.topic, text))["seq"]
        await carol.wait_for_seq(stage.topic, seq, timeout=10)
        await carol.call("topic.unsubscribe", {"topic": stage.topic})
        eve = await stage.cluster.client(third, "eve")
        await stage.owner.publish([*recorded, *stage.owner.recorded[::-1]])
        with pytest.raises(Failed) as refusal:
            await eve.call("topic.subscribe", {"topic": stage.closed})
        assert refusal.value.code == "not_found"
        assert (await third.status(is_verbose=True))["counters"]["bus_repeated"] > 0
        await carol.close()
        await eve.close()
    finally:
        await third.kill()

    async def is_forgotten() -> bool:
        reports = [await node.status(is_verbose=True) for node in stage.cluster.nodes[:2]]
        return all(len(report["cluster"]) == 1 for report in reports)

    await until(is_forgotten, 15)
    stage.cluster.nodes.remove(third)
    for client in (stage.ann, stage.bob):
        client.events = [event for event in client.events if event.name != "presence"]
    await stage.owner.publish(stage.owner.recorded[-300:])
    await stage.owner.publish(stage.owner.recorded[-300:][::-1])
    await stage.all_is_as_before()
