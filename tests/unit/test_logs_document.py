"""docs/operations/logs.md has every line that a node may write, and none that it may not."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from tests.harness.house import nodes_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operations" / "logs.md"
WRITING = {"debug", "info", "warning", "error", "critical", "line", "log"}  # what `exception` writes is a bug
LOGGERS = {"log", "journal", "_journal"}
NOT_OF_A_NODE = {"demo"}


def written(source: str) -> Iterator[str]:
    """The words that a module logs, as they stand in it."""
    for _, node in nodes_of(source):
        if isinstance(node, ast.arguments):
            named = node.args[len(node.args) - len(node.defaults) :]
            said = [
                value
                for name, value in zip(named, node.defaults, strict=True)
                if name.arg in ("what", "line")
            ]
        elif _writes(node):
            said = [argument for argument in node.args if not isinstance(argument, ast.Call)]
        else:
            continue
        for inner in (part for one in said for part in ast.walk(one)):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner.value:
                yield inner.value


def _writes(node: ast.AST) -> TypeGuard[ast.Call]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    owner = node.func.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return name in LOGGERS and node.func.attr in WRITING


def test_every_line_stands_in_the_page() -> None:
    page = PAGE.read_text().replace("`", "")
    lines = {beginning(words) for words in all_words() - {"%s: %s"}}
    assert len(lines) > 50
    missing = [line for line in lines if line not in page]
    assert not missing


def beginning(words: str) -> str:
    """What of a line is always so, and tells it from others."""
    pieces = re.split(r"%[sd]", words.replace("`", ""))
    return (pieces[0] if len(pieces[0]) > 8 else max(pieces, key=len))[:48].strip(" :,")


@functools.cache
def all_words() -> set[str]:
    """All words that are logged, by the parts that a node consists of."""
    return {
        words
        for path in (ROOT / "collab_server").rglob("*.py")
        if not NOT_OF_A_NODE.intersection(path.relative_to(ROOT).parts)
        for words in written(path.read_text())
    }


def test_the_page_has_no_line_that_nobody_writes() -> None:
    pieces = " ".join(piece for words in all_words() for piece in re.split(r"%[sd]", words.replace("`", "")))
    tables = re.findall(r"^\| line \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    named = [
        name
        for table in tables
        for row in table.splitlines()
        for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])
    ]
    assert len(named) > 40
    for name in named:
        for piece in name.split("…"):
            assert piece.strip(" .,:") in pieces, name


def test_incidents_name_lines_that_there_are() -> None:
    """What an administrator is told to look for stands in the page of lines, or is what is said of a certificate."""
    known = PAGE.read_text().replace("`", "") + (ROOT / "collab_server/config/expiry.py").read_text()
    rows = re.findall(r"^\| .*\|$", (PAGE.parent / "incidents.md").read_text(), re.MULTILINE)[2:]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"`([^`]+)`", row.split(" | ")[1])
        for piece in (piece.strip(" .,:") for name in named for piece in name.split("…")):
            assert piece in known, row
