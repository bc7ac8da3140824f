"""The JavaScript clients as packages: strictly typed, fresh, small, and installed from a node.

Needs npm and a package index: without, or outside of `make packages`, these tests skip and say so.
"""

from __future__ import annotations

import filecmp
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from collab_server.web import CLIENTS, PREACT, SOCKET_IO
from tests.harness.cluster import Cluster
from tests.harness.node_js import node_binary
from tests.snippets.surroundings import install_for_node, output_of

ROOT = Path(__file__).parents[2]
TOOLS = [
    *("typescript@7", "esbuild@0.28", "react@18", "react-dom@18", "@types/react@18", "socket.io-client@4"),
    *("htm@3", "preact@10", "jsdom@29"),
]
MOST_BYTES = {"collab-client": 8_000, "collab-react": 1_000, "collab-strategy": 3_500}
"""Minified and zipped, beside socket.io-client and React."""

MOST_BYTES_IN_ALL = 60_000
"""The panel with the client, socket.io-client and Preact, and its largest language."""

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("PACKAGES") != "all",
        reason="TypeScript and React are installed by `make packages` only",
    ),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with TypeScript, esbuild, React, and a copy of the clients."""
    folder = tmp_path_factory.mktemp("tools")
    install_for_node(folder, TOOLS)
    shutil.copytree(ROOT / "clients" / "js", folder / "js")
    return folder


def run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def tsc(tools: Path, *arguments: str | Path) -> None:
    run(tools, node_binary(), tools / "node_modules" / "typescript" / "bin" / "tsc", *arguments)


def test_the_sources_are_strictly_typed_and_the_types_are_theirs(tools: Path) -> None:
    """Where this fails for the types: `make packages WRITE=1`."""
    tsc(tools, "-p", "js")
    for name, package in CLIENTS.items():
        folder = name.removeprefix("collab-")
        made = tools / "js" / folder / "types"
        written = ("wire.d.ts", "globals.d.ts", "react.d.ts")
        for file in made.glob("*.d.ts"):
            if file.name not in written:
                file.unlink()
        tsc(tools, "-p", f"js/{folder}")
        for file in made.glob("*.d.ts"):
            if "preact" in file.read_text():
                file.unlink()  # of what is drawn, which nobody imports
        if os.environ.get("WRITE"):
            shutil.copytree(made, package / "types", dirs_exist_ok=True)
        differing = filecmp.dircmp(made, package / "types")
        assert not differing.diff_files + differing.left_only + differing.right_only


def test_what_a_developer_writes_is_checked_to_the_last_field(
    tmp_path: Path, shared_cluster: Cluster
) -> None:
    """With the packages as a node gives them to npm."""
    folder = tmp_path
    clients = f"{shared_cluster[0].url}/clients"
    install_for_node(folder, [*(f"{clients}/{name}.tgz" for name in CLIENTS), *TOOLS])
    shutil.copy(Path(__file__).with_name("strict.tsx"), folder)
    tsc(
        folder,
        *("--strict", "--noEmit", "--skipLibCheck", "false", "--target", "es2022", "--jsx", "react-jsx"),
        *("--module", "nodenext", "--types", "react", folder / "strict.tsx"),
    )
    script = (
        "const { createClient } = await import('collab-client'); await import('collab-react'); createClient;"
    )
    run(folder, node_binary(), "--input-type=module", "-e", script)


def weight(tools: Path, name: str, *options: str) -> int:
    """What a page loads of it to begin with, in bytes, minified and zipped: of its languages the largest, and not what
    comes when somebody opens it."""
    [binary] = tools.glob("node_modules/@esbuild/*/bin/esbuild")
    made = tools / "made" / name
    shutil.rmtree(made, ignore_errors=True)
    entry = CLIENTS[name] / "src" / "index.js"
    run(
        tools,
        binary,
        entry,
        "--bundle",
        "--minify",
        "--splitting",
        "--format=esm",
        *options,
        f"--outdir={made}",
    )
    files = {file.name: file.read_text() for file in made.glob("*.js")}
    waiting, loaded = ["index.js"], set[str]()
    while waiting:
        loaded.add(file := waiting.pop())
        needed = re.findall(r"""(?:from|import)\s*"\./([^"]+)\"""", files[file])
        waiting += [each for each in needed if each not in loaded]
    sizes = {file: len(gzip.compress(text.encode(), 9)) for file, text in files.items()}
    languages = [size for file, size in sizes.items() if re.match(r"[a-z]{2}-", file)]
    return sum(sizes[file] for file in loaded) + max(languages, default=0)


@pytest.mark.parametrize("name", sorted(MOST_BYTES))
def test_they_are_small(tools: Path, name: str) -> None:
    others = ("socket.io-client", "react", "htm", "collab-client")
    assert weight(tools, name, *(f"--external:{each}" for each in others)) <= MOST_BYTES[name]


def test_the_panel_is_small_with_all_that_it_needs(tools: Path) -> None:
    client = CLIENTS["collab-client"] / "src"
    parts = ("discussions", "marks", "places", "summaries")
    packages = {f"collab-client/{part}": client / f"{part}.js" for part in parts}
    packages |= {"collab-client": client / "index.js", "htm/preact/standalone": PREACT}
    aliases = [f"--alias:{package}={file}" for package, file in packages.items()]
    whole = weight(tools, "collab-panel", *aliases, f"--alias:socket.io-client={SOCKET_IO}")
    assert 30_000 < whole <= MOST_BYTES_IN_ALL


async def test_hooks_hold_under_strict_mode_and_on_a_server(
    tools: Path, shared_cluster: Cluster, topic: str
) -> None:
    """With React itself, in concurrent rendering: nothing is torn, and a server renders what is before everything."""
    for name in ("collab-client", "collab-react"):
        shutil.copytree(CLIENTS[name], tools / "node_modules" / name, dirs_exist_ok=True)
    shutil.copy(Path(__file__).with_name("hooks.mjs"), tools)
    person = await shared_cluster.person("ann")
    arguments = (shared_cluster[0].url, person.url, person.auth_token, person.cookie_header, topic)
    output = await output_of(node_binary(), "hooks.mjs", *arguments, cwd=tools)
    told = json.loads(output.splitlines()[-1])
    assert told["html"] == "<p>connecting loading 0 </p>" * 4
    assert told["text"].startswith("live live ")
    assert told["text"].split()[-20:] == [str(number) for number in range(20)]
    assert (told["torn"], told["mountedOnce"], told["mounts"]) == (0, 1, 2)


def test_their_versions_are_the_projects() -> None:
    from collab_server import __version__

    for package in CLIENTS.values():
        assert json.loads((package / "package.json").read_text())["version"] == __version__
    assert SOCKET_IO.is_file()
