"""Nodes with shorter times: `make_cluster(env=hurried({"collab_server.realtime.server": {"…_SECONDS": 0.2}}))`."""

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
    path = os.pathsep.join(filter(None, [str(_FOLDER), str(ROOT), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "HURRIED": json.dumps(constants)}
