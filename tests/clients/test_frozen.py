"""What holds no answer back for long: a node that is frozen, and a process that has died on what it wrote."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest

from collab_client import Client, library
from collab_client.topic import Topic
from tests.clients.javascript import JavaScriptClient, node_with_packages
from tests.clients.test_javascript_client import OPEN, SHOWN
from tests.clients.ways import url_of
from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.demo import PYTHON_PATH
from tests.harness.waiting import until

PATIENCE = 60  # answers are waited for for 10 s, which is not made shorter: nothing here works meanwhile


def shows(topic: Topic, *texts: str) -> bool:
    """Whether it shows these, all of them stored."""
    comments = [comment for thread in topic.snapshot.threads for comment in thread.comments]
    return sorted(comment["text"] for comment in comments) == sorted(texts) and not any(
        "pending" in comment for comment in comments
    )


async def test_a_node_that_is_frozen_is_left_for_another(
    make_cluster: MakeCluster, topic: str, tmp_path: Path
) -> None:
    node_with_packages(tmp_path)
    cluster = await make_cluster(nodes=2)
    first, second = cluster.nodes
    with Proxy(("127.0.0.1", first.port)) as way:
        auth = library(cluster.library.url, "bob", "bob")
        person = await cluster.person("ann")
        async with (
            await JavaScriptClient.start(url_of(way), person, tmp_path) as ann,
            Client(url_of(way), auth) as bob,
            bob.topic(topic) as shown,
        ):
            await ann.run(OPEN, topic)
            await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
            first.freeze()
            way.aim(("127.0.0.1", second.port))
            await ann.run("void client.topic(given).add({text: 'from Node'})", topic)
            shown.add("from Python")
            await until(partial(shows, shown, "from Node", "from Python"), PATIENCE)
            await ann.until(
                SHOWN,
                lambda shown: len(shown["texts"]) == 2 and shown["pending"] == [None, None],
                timeout=PATIENCE,
                given=topic,
            )
            await until(lambda: shown.snapshot.seq == 2)  # an answer may be quicker than its event
            assert bob.node == (await ann.run("return client.connection.snapshot().node"))
            first.thaw()


WRITES = """
import asyncio, sys
from collab_client import Client, library

async def main(url, library_url, topic, outbox):
    async with Client(url, library(library_url, "ann", "ann"), outbox=outbox) as client:
        await client.live()
        print("there", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for number in range(3):
            client.topic(topic).add(str(number))
        print("kept", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_killed_process_has_left_another_sends_once_and_two_never_share_it(
    cluster: Cluster, topic: str, tmp_path: Path, proxy: Proxy
) -> None:
    kept = tmp_path / "outbox"
    arguments = (url_of(proxy), cluster.library.url, topic, str(kept))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", dedent(WRITES), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": PYTHON_PATH},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"there\n"
        with pytest.raises(BlockingIOError, match="outbox"):
            Client(cluster[0].url, {}, outbox=kept)
        proxy.refuse()
        proxy.cut()
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"kept\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    proxy.heal()
    auth = library(cluster.library.url, "ann", "ann")
    async with Client(url_of(proxy), auth, outbox=kept) as client, client.topic(topic) as shown:
        await until(partial(shows, shown, "0", "1", "2"), 20)
        assert [thread.comments[0]["text"] for thread in shown.snapshot.threads] == ["0", "1", "2"]
        # The event and its answer come in whatever order.
        await until(lambda: shown.snapshot.seq == 3 and client.outbox.entries == ())
