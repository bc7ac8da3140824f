"""The example and the document about the configuration say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from collab_server.config import load_config
from collab_server.config.loading import leaves
from collab_server.config.model import Config

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_has_no_problem_not_even_a_warning() -> None:
    loaded = load_config(ROOT / "config.json.example", {})
    assert loaded.warnings == []
    assert loaded.config.port == 3000


def test_every_property_is_explained() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for name, _ in leaves(Config):
        variable = "COLLAB_" + name.replace(".", "__").upper()
        assert re.search(
            rf"^\| `{re.escape(name)}`<br>`{variable}` \| .* \| .* \| .{{10,}} \|$", text, re.MULTILINE
        )


def test_generated_documents_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
