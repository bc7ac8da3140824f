"""A node of several workers: one port, one node to everybody outside, without Redis."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from collab_server.demo.embedded import EmbeddedValkey
from tests.conftest import MakeCluster
from tests.harness.clients import Refused, new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.waiting import until
from tests.harness.wire import Wire
from tests.harness.world import StandInLibrary, TestDatabase, World, fresh_topic

WORKERS = 3
PATIENCE = 30
LIMITS = {"connectionsPerUser": 12, "commandsBurst": 100_000, "commandsPerSecond": 100_000}


async def workers_of(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await node.status(is_verbose=True))["workers"]
    return found


async def are_there(node: Node, without: int = 0) -> bool:
    """Whether all workers serve, none of them the process `without`."""
    found = await workers_of(node)
    awake = [one["pid"] for one in found if one["awake"] and one["started"]]
    return len(awake) == WORKERS and without not in awake


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node_of_workers(world: World) -> AsyncIterator[Cluster]:
    overrides = {"cpus": WORKERS, "limits": LIMITS}
    made = Cluster(world.new_database(), world.library, None, nodes=1, launch="serve", overrides=overrides)
    async with made as cluster:
        await until(lambda: are_there(cluster[0]), PATIENCE, "all workers serve")
        yield cluster


@pytest_asyncio.fixture
async def cluster(node_of_workers: Cluster) -> AsyncIterator[Cluster]:
    yield node_of_workers
    await node_of_workers.close_clients()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    """Those that are in it are closed at the end."""
    made: list[Wire] = []
    yield made
    for wire in made:
        wire.close()


class Listener:
    """Hears one topic through whatever worker gets it, and comes back to another one when that ends."""

    def __init__(self, url: str, auth: dict[str, Any], topic: str) -> None:
        self.url, self.auth, self.topic = url, auth, topic
        self.seqs: list[int] = []
        self.times = 0

    def hear(self, text: str) -> None:
        name, data = json.loads(text)
        if name == "comment.added":
            self.seqs.append(data["seq"])

    async def run(self) -> None:
        while True:
            try:
                wire = await Wire.connect(self.url, self.auth, hear=self.hear)
            except Exception:
                await asyncio.sleep(0.02)
                continue
            self.times += 1
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def note(text: str | None, answered: asyncio.Future[None] = answered) -> None:
                if text is not None:
                    self.seqs += [event["seq"] for event in json.loads(text)["data"]["events"]]
                answered.set_result(None)

            where = {"topic": self.topic, "after": len(self.seqs), "epoch": wire.hello["epoch"]}
            try:
                wire.emit("topic.subscribe", where, note)
                await answered
                await wire.ended.wait()
            except ConnectionError:
                pass
            finally:
                wire.close()


async def test_a_killed_worker_costs_no_event_and_is_back_while_its_clients_go_on_at_others(
    cluster: Cluster,
) -> None:
    node, topic = cluster[0], fresh_topic()
    first = await cluster.client(0, "ann")
    auth = {"resumeToken": first.hello["resumeToken"]}
    listeners = [Listener(node.url, auth, topic) for _ in range(6)]
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    acknowledged = 0

    async def write(writer: int, number: int, wire: Wire | None) -> Wire:
        """The same command again and again, until somebody has answered it."""
        command = {"topic": topic, "text": "x", "requestId": f"w{writer}-{number}"}
        while True:
            try:
                wire = wire or await Wire.connect(node.url, auth)
                if json.loads(await wire.ask("comment.add", command))["ok"]:
                    return wire
            except Exception:
                if wire is not None:
                    wire.close()
                wire = None
                await asyncio.sleep(0.02)

    async def writing(writer: int) -> None:
        nonlocal acknowledged
        wire: Wire | None = None
        for number in range(30):
            wire = await write(writer, number, wire)
            acknowledged += 1
        if wire is not None:
            wire.close()

    async def killing() -> None:
        for turn in range(2):
            await until(lambda turn=turn: acknowledged > 20 * (turn + 1), PATIENCE)  # type: ignore[misc]
            busiest = max(await workers_of(node), key=lambda one: one["connections"])
            os.kill(busiest["pid"], signal.SIGKILL)
            await until(lambda pid=busiest["pid"]: are_there(node, without=pid), PATIENCE, "it is back")  # type: ignore[misc]

    await asyncio.gather(killing(), writing(1), writing(2), writing(3))
    await until(
        lambda: all(len(listener.seqs) >= 90 for listener in listeners),
        timeout=PATIENCE,
        what="all was heard",
    )
    for listener in listeners:
        assert listener.seqs == list(range(1, 91))
    assert sum(listener.times for listener in listeners) > len(listeners), "somebody had to come back"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert "a worker has ended; it is started again" in node.log


async def test_connections_are_spread_and_a_users_limit_and_presence_hold_over_all_workers(
    cluster: Cluster, wires: list[Wire]
) -> None:
    node, topic = cluster[0], fresh_topic()
    first = await cluster.client(0, "bob")
    auth = {"resumeToken": first.hello["resumeToken"]}
    heard: list[list[str]] = []

    async def counts() -> list[int]:
        return [one["connections"] for one in await workers_of(node)]

    async def are_spread() -> bool:
        while len(wires) < LIMITS["connectionsPerUser"] - 1:
            said: list[str] = []
            wires.append(await Wire.connect(node.url, auth, hear=said.append))
            heard.append(said)
        found = await counts()
        assert sum(found) == LIMITS["connectionsPerUser"]
        if min(found) >= 2:
            return True
        for wire in wires[-4:]:  # a worker that was busy meanwhile gets the next ones
            wire.close()
        del wires[-4:], heard[-4:]
        await until(lambda: _is(counts, lambda it: sum(it) == len(wires) + 1), PATIENCE)
        return False

    await until(are_spread, PATIENCE)

    await asyncio.gather(*(wire.ask("topic.subscribe", {"topic": topic}) for wire in wires))
    ann = await cluster.client(0, "ann")
    answer = await ann.call("topic.subscribe", {"topic": topic})
    assert len({user["id"] for user in answer["present"]}) == 2
    await until(
        lambda: all('"joined"' in "".join(said) for said in heard), timeout=PATIENCE, what="all see who came"
    )
    await ann.call("typing", {"topic": topic, "typing": True})
    await until(
        lambda: all('"typing"' in "".join(said) for said in heard), timeout=PATIENCE, what="all see who types"
    )
    for _ in range(WORKERS):
        with pytest.raises(Refused, match="rate_limited"):
            await cluster.client(0, "bob")  # wherever it comes


async def test_clients_that_poll_are_served_whichever_worker_gets_their_requests(cluster: Cluster) -> None:
    topic = fresh_topic()
    clients = [await cluster.client(0, login, transport="polling") for login in ("ann", "bob") * 2]
    for client in clients:
        await client.call("topic.subscribe", {"topic": topic})
    for number in range(4):
        command = {"topic": topic, "text": "Hello", "requestId": f"r{number}"}
        await clients[number].call("comment.add", command)
    for client in clients:
        for number in range(4):
            event = await client.wait_for(
                lambda event, number=number: (  # type: ignore[misc]
                    event.name == "comment.added" and event.data["seq"] == number + 1
                )
            )
            assert event.data["topic"] == topic


async def test_status_is_that_of_the_node_whichever_worker_answers_and_does_not_wait_for_a_frozen_one(
    cluster: Cluster,
) -> None:
    node = cluster[0]
    for _ in range(4):
        await cluster.client(0, "ann")

    async def counts() -> tuple[str, int, int, int]:
        report = await node.status()
        main = report["main"]
        connections = main["connections"]
        return report["state"], connections["current"], connections["max"], main["pid"]

    await until(lambda: _is(counts, lambda it: it[1] == 4), timeout=PATIENCE, what="only these are connected")
    await until(lambda: are_there(node), PATIENCE)
    told = {await counts() for _ in range(9)}
    assert len(told) == 1, "the same, asked at all workers"
    [(state, current, most, pid)] = told
    assert (state, current, pid) == ("running", 4, node.process.pid)
    assert most >= 4

    await until(lambda: _is(lambda: told_by(node), lambda it: it == {"1", "2", "3"}), PATIENCE)
    [frozen, *_] = await workers_of(node)
    os.kill(frozen["pid"], signal.SIGSTOP)
    try:
        for _ in range(6):
            assert await counts() == (state, current, most, pid)
        await until(lambda: _is(lambda: workers_of(node), lambda it: not it[0]["awake"]), PATIENCE)
        assert await counts() == (state, current, most, pid)
        await until(lambda: _is(lambda: told_by(node), lambda it: it == {"2", "3"}), PATIENCE)
    finally:
        os.kill(frozen["pid"], signal.SIGCONT)
    await until(lambda: are_there(node), PATIENCE)
    assert (await node.status())["main"]["restCalls"]["received"] == 0


async def told_by(node: Node) -> set[str]:
    """The workers whose metrics are told."""
    async with new_session() as http, http.get(f"{node.url}/metrics") as answer:
        page = await answer.text()
    assert page.count("# TYPE collab_connections_current gauge") == 1
    return set(re.findall(r'^collab_connections_current\{worker="(\d)"\} ', page, re.MULTILINE))


async def _is(ask: Any, holds: Any) -> bool:
    return bool(holds(await ask()))


async def test_a_node_over_redis_may_have_workers_too_and_stops_with_all_of_them(
    make_cluster: MakeCluster, valkey: EmbeddedValkey, topic: str
) -> None:
    cluster = await make_cluster(nodes=2, launch="serve", overrides={"cpus": 2})
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    await ann.call("comment.add", {"topic": topic, "text": "Hello", "requestId": "r1"})
    assert (await bob.wait_for("comment.added")).data["seq"] == 1
    pids = [one["pid"] for one in await workers_of(cluster[0])]
    assert await cluster[0].stop() == 0
    for pid in pids:
        assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_uvicorns_workers_leave_clients_to_each_other_while_one_starts_or_drains(
    make_cluster: MakeCluster, short_path: Path
) -> None:
    env = {"WEB_CONCURRENCY": "2", "RUNTIME_DIRECTORY": str(short_path)}
    cluster = await make_cluster(nodes=1, redis_url=None, env=env, is_warm=False)
    node = cluster[0]

    async def serving() -> set[int]:
        return {one["pid"] for one in await workers_of(node) if one["awake"] and one["started"]}

    async def come() -> set[int]:
        """Who comes twenty times, one after the other, is answered this."""
        answers = set()
        for _ in range(20):
            async with new_session() as http:
                try:
                    async with http.get(f"{node.url}/socket.io/?EIO=4&transport=polling") as answer:
                        answers.add(answer.status)
                except aiohttp.ClientConnectionError:
                    continue  # of whoever has just been killed
        return answers

    async def come_until(done: Callable[[], Awaitable[bool]]) -> set[int]:
        answers = set[int]()

        async def is_done() -> bool:
            nonlocal answers
            answers |= await come()
            return await done()

        await until(is_done, PATIENCE)
        return answers

    await until(lambda: _is(serving, lambda it: len(it) == 2), PATIENCE, "both serve")
    killed, kept = await serving()
    os.kill(killed, signal.SIGKILL)
    assert await come_until(lambda: _is(serving, lambda it: len(it - {killed}) == 2)) == {200}

    os.kill(kept, signal.SIGTERM)
    said = "new clients are left to the other workers"
    await until(lambda: said in node.log, PATIENCE, "it lets nobody in any more")
    assert await come_until(lambda: _is(serving, lambda it: len(it - {kept}) == 2)) == {200}


async def test_uvicorns_own_workers_find_each_other(
    make_cluster: MakeCluster, library: StandInLibrary, database: TestDatabase, topic: str, short_path: Path
) -> None:
    env = {"WEB_CONCURRENCY": "2", "RUNTIME_DIRECTORY": str(short_path)}
    cluster = await make_cluster(nodes=1, redis_url=None, env=env, is_warm=False)
    node = cluster[0]

    async def have_met() -> bool:
        report = await node.status(is_verbose=True)
        return len([one for one in report["workers"] if one["awake"]]) == 2 and len(report["cluster"]) == 1

    await until(have_met, PATIENCE, "the workers know each other")
    assert (await node.status())["main"]["pid"] == node.process.pid
    clients = [await cluster.client(0, login) for login in ("ann", "bob") * 3]
    for client in clients:
        await client.call("topic.subscribe", {"topic": topic})
    await clients[0].call("comment.add", {"topic": topic, "text": "Hello", "requestId": "r1"})
    for client in clients:
        assert (await client.wait_for("comment.added")).data["seq"] == 1
    assert os.listdir(short_path) != []
    assert await node.stop() == 0
    assert os.listdir(short_path) == [], "the folder went with the last of them"
