"""The example and the document about the configuration say what the code says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from annotated_types import Le
from pydantic import BaseModel

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


def test_every_bound_is_said() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for section in [Config, *(info.annotation for info in Config.model_fields.values())]:
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            continue
        for name, info in section.model_fields.items():
            for rule in info.metadata:
                if isinstance(rule, Le):
                    assert re.search(
                        rf"^\| `(\w+\.)?{name}`<br>.* {rule.le}( at most)?\. \|$", text, re.MULTILINE
                    ), name


def test_generated_documents_are_fresh(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = ROOT / "docs" / "generate.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--check"])
    monkeypatch.syspath_prepend(program.parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(program), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().out
