"""The code in docs/protocol.md, run as it stands against nodes behind the NGINX file."""

import asyncio
import re
import shutil
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


async def output_until(words: str, process: asyncio.subprocess.Process) -> str:
    """What it prints until the words are there; then it is ended."""
    try:
        return await printed(words, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def printed(words: str, process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    output = ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while words not in output:
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
    node = node_with_socket_io(tmp_path)
    script = tmp_path / "first.mjs"
    script.write_text(block("js").replace("http://127.0.0.1:8080", f"http://127.0.0.1:{nginx.port}"))
    output = await output_until("Hello from JavaScript", await start(node, script))
    assert "signed in as Bob Baker" in output
    assert "the log stands at" in output
