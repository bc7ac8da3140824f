"""Nodes with shorter times: `make_cluster(env=hurried({"collab_server.realtime.sign_ins": {"…_SECONDS": 0.2}}))`.

And nodes with a wrong clock: `make_cluster(env=with_clock(path))`; write the seconds it is wrong by into the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.harness.cluster import ROOT

_FOLDER = Path(__file__).parent / "hurried"


def hurried(constants: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The environment of a node whose modules have these constants; a dict of arguments stands for a class."""
    return {**_path(), "HURRIED": json.dumps(constants)}


def with_clock(shift: Path) -> dict[str, str]:
    """The environment of a node whose wall clock is wrong by as many seconds as the file says, at any time."""
    shift.write_text("0")
    return {**_path(), "CLOCK_SHIFT_FILE": str(shift)}


def _path() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_FOLDER), str(ROOT), os.environ.get("PYTHONPATH")]))
    }
