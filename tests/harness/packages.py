"""Packages beside the server, as an installer would leave them, for whoever has their folder on PYTHONPATH."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

from tests.harness.cluster import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def install(source: Path, folder: Path) -> dict[str, str]:
    """Put the modules of the package `source` into `folder`, with the metadata that its `pyproject.toml` stands for.

    Returns the environment of a process that finds it.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    for module in source.glob("*.py"):
        shutil.copy(module, folder)
    heading = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(heading)
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in offered.items())
        for group, offered in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(points))
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), str(ROOT), os.environ.get("PYTHONPATH")]))
    }
