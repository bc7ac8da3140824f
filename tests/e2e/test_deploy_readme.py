"""The client snippets of the README, run as they stand against three nodes behind the NGINX file."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from tests.e2e.deployed import ROOT, deployed_nginx
from tests.harness.cluster import Cluster
from tests.harness.node_js import node_with_socket_io
from tests.harness.world import StandInLibrary

TOPIC = "content:F0000000000000000000000000000001:DA000000000000000000000000000001"


@pytest.fixture
def nginx(shared_cluster: Cluster, library: StandInLibrary, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    ports = [node.port for node in shared_cluster.nodes]
    nginx = deployed_nginx(
        "sticky", ports, port=free_port(), folder=tmp_path / "nginx", library_port=library.port
    )
    with nginx:
        yield nginx


def snippet(language: str, nginx: EmbeddedNginx) -> str:
    readme = (ROOT / "README.md").read_text()
    code: str = re.findall(rf"^```{language}\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)[0]
    assert "http://127.0.0.1:8080" in code
    return code.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{nginx.port}")


async def output_until(words: str, *command: str | Path) -> str:
    """What it prints until that is there; then it is ended, for by itself it stays connected."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    output = ""
    try:
        async with asyncio.timeout(30):
            while words not in output:
                line = await process.stdout.readline()
                assert line, f"it ended: {output}"
                output += line.decode()
    except TimeoutError:
        raise AssertionError(output) from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return output


async def said_on(cluster: Cluster) -> list[str]:
    carol = await cluster.client(2, "carol")
    listed = await carol.call("topic.comments", {"topic": TOPIC, "order": "newest"})
    return [comment["text"] for comment in listed["items"]]


async def test_javascript_snippet_says_hello(cluster: Cluster, nginx: EmbeddedNginx, tmp_path: Path) -> None:
    node = node_with_socket_io(tmp_path)
    script = tmp_path / "hello.mjs"
    script.write_text(snippet("js", nginx))
    output = await output_until("Hello from JavaScript", node, script)
    assert "Ann Archer on " in output
    assert "Hello from JavaScript" in await said_on(cluster)
