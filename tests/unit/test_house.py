"""The house keeps its own rules: documents, lists and checks that have to agree do."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from collab_server.web import CLIENTS, CONTENT_SECURITY_POLICY, HEADERS, STATIC

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *STATIC.rglob("*.md")])
SCRIPTS = sorted((STATIC / "js").glob("*.js"))

TWO_COMMANDS = {
    "demo": "python3 -m venv .venv && .venv/bin/pip install -e '.[embedded]' && .venv/bin/collab-server demo",
    "test": "python3 -m venv .venv && .venv/bin/pip install -e '.[embedded,test]' && .venv/bin/pytest",
}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def code_blocks(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)


def test_readme_has_the_two_commands_alone_in_a_block() -> None:
    blocks = [block.strip() for block in code_blocks(text("README.md"), "sh")]
    for command in TWO_COMMANDS.values():
        assert command in blocks


def test_ci_runs_the_readme_test_command_word_for_word() -> None:
    assert TWO_COMMANDS["test"] in text(".ci/run")


def test_ci_is_executable_and_valid_bash() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True, timeout=10)


def test_make_help_names_every_target() -> None:
    makefile = text("Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    documented = set(re.findall(r"^([a-z]+):.* ## \S", makefile, re.MULTILINE))
    assert documented == set(phony[1].split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, heading = target.partition("#")
        if re.match(r"[a-z]+:", path) or not re.search(r"[/.]", path):
            continue
        found = document.parent / path
        assert found.exists(), f"{target} does not exist"
        if heading and found.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
            assert heading in anchors, f"{target}: there is no such heading"


# What others write: a run of the benchmark or of the faults, and what is made of the code.
GENERATED = {
    *(
        "docs/clients-reference.md",
        "docs/clients-reference-python.md",
        "docs/configuration.md",
        "docs/faults.md",
        "docs/metrics.md",
        "docs/panel-reference.md",
        "docs/protocol.md",
    )
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_no_wider_than_code(document: Path) -> None:
    if str(document.relative_to(ROOT)) in GENERATED:
        return
    prose = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    wide = [line for line in prose.splitlines() if len(line) > 120 and not line.lstrip().startswith("|")]
    assert not wide


def test_nothing_is_left_of_a_merge() -> None:
    left = re.compile(r"(?:^|\s)(?:<{7}|>{7}) \S", re.MULTILINE)
    assert left.search("words <<<<<<< HEAD words")
    kinds = {
        ".py",
        ".md",
        ".toml",
        ".yml",
        ".yaml",
        ".json",
        ".sql",
        ".conf",
        ".js",
        ".css",
        ".html",
        ".lock",
    }
    folders = ["collab_server", "docs", "tests", "migrations", "deploy"]
    files = [*ROOT.glob("*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    looked_at = [path for path in files if path.suffix in kinds and path.is_file() and path != Path(__file__)]
    assert len(looked_at) > 300
    assert [str(path.relative_to(ROOT)) for path in looked_at if left.search(path.read_text())] == []


def test_each_word_of_the_glossary_has_one_row() -> None:
    words = re.findall(r"^\| (\S[^|]*?) \|", text("docs/glossary.md"), re.MULTILINE)
    assert words[0] == "word"
    assert [word for word in words if words.count(word) > 1] == []


def test_sections_of_a_file_are_ruled_in_one_way() -> None:
    """`# --- what follows`, and nothing behind it; a comment alone between blank lines is a heading without a rule."""
    other = re.compile(
        r"^ *#(?! --- (?:(?!--).)+$) ?[-=─*]{2,}.*$|(?<=\n\n) *# [A-Z][^.`\"\n]{2,70}(?=\n\n)", re.MULTILINE
    )
    assert other.search("x = 1\n# -- beginning ------\n")
    assert other.search("x = 1\n\n# Beginning\n\n")
    assert not other.search("x = 1\n\n# --- beginning\n\n")
    wrong = {
        str(path.relative_to(ROOT)): found[0].strip()
        for folder in ["collab_server", "tests", "docs"]
        for path in (ROOT / folder).rglob("*.py")
        if (found := other.search(path.read_text()))
    }
    assert not wrong


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_lock_pins_every_package_with_hashes_and_names_no_host(name: str) -> None:
    lock = text(name)
    assert "://" not in lock
    assert not re.search(r"^\s*--(?!hash=sha256:)", lock, re.MULTILINE)
    packages = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("==" in package and "--hash=sha256:" in package for package in packages)


def test_lock_holds_what_the_project_needs_at_least_as_new() -> None:
    lock = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text("requirements.lock"), re.MULTILINE))
    project = text("pyproject.toml")
    needed = re.search(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    embedded = re.search(r"^embedded = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    assert needed is not None
    assert embedded is not None
    floors = re.compile(r'"([a-z0-9.-]+)(?:\[\w+\])?>=([^"]+)"')
    for name, floor in floors.findall(needed[1]):
        assert _parts(lock[name]) >= _parts(floor), f"{name}: make lock"
    # A node has no use for the servers of the demo, nor for what builds the package.
    assert not lock.keys() & {name for name, _ in floors.findall(embedded[1])}
    assert "hatchling" not in lock
    assert re.search(r"^hatchling==", text("requirements-build.lock"), re.MULTILINE)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_vendored_files_are_the_published_ones() -> None:
    vendor = STATIC / "vendor"
    rows = re.findall(
        r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (vendor / "README.md").read_text(), re.MULTILINE
    )
    assert {name for name, _ in rows} == {path.name for path in vendor.glob("*.js")}
    for name, checksum in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == checksum, name
    licences = (vendor / "LICENSES.txt").read_text()
    assert all(name in licences for name, _ in rows)


def test_page_takes_nothing_from_outside_and_writes_no_markup() -> None:
    for path in [STATIC / "index.html", STATIC / "page.css", *SCRIPTS]:
        content = path.read_text()
        assert not re.search(r"""(src|href|import|url)\s*[=(]?\s*["']?(https?:)?//""", content), path.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySet|document\.write|eval\(", content
        )
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", (STATIC / "index.html").read_text())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_import_of_the_page_exists(script: Path) -> None:
    for target in re.findall(r'from "([^"]+)"', script.read_text()):
        client = re.fullmatch(r"\.\./clients/([^/]+)/(.+)", target)
        file = CLIENTS[client[1]] / "src" / client[2] if client else script.parent / target
        assert file.is_file(), target


def test_nginx_serves_the_page_under_the_same_policy_as_a_node() -> None:
    conf = text("deploy/nginx/compose.conf")
    assert f'"{CONTENT_SECURITY_POLICY}"' in conf
    for name, value in HEADERS.items():
        assert re.search(rf'add_header {name} "?{re.escape(value)}"?;', conf), name
