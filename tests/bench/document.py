"""docs/benchmarks.md: the tables in it are put there by the runs that measured them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import textwrap
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def put(section: str, shown: str) -> None:
    """Replace what stands between the section's two markers."""
    begin, end = f"<!-- {section}: written by the run -->", f"<!-- {section}: end -->"
    text = DOCUMENT.read_text()
    before, after = text.split(begin)[0], text.split(end)[1]
    DOCUMENT.write_text(f"{before}{begin}\n\n{shown}\n\n{end}{after}")


def described_commit() -> str:
    """The commit that is measured, `-dirty` with what is not committed."""
    return subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=DOCUMENT.parent
    ).stdout.strip()


def circumstances(peers: str, rounds: int) -> str:
    """Machine, versions and commit, in a sentence; `peers` are those of the other side."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("uvicorn", "uvloop", "python-socketio", "asyncpg")
    )
    said = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; "
        f"{peers}{'; ' if peers else ''}commit {described_commit()}; {rounds} interleaved rounds."
    )
    return textwrap.fill(said, 120)
