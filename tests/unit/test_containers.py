"""What plays docker-compose.yml for real knows what stands in it; it takes minutes, so no other test runs it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from ruamel.yaml import YAML

from tests.containers import stand_ins
from tests.containers.__main__ import NODES, PROJECT, SERVICES
from tests.containers.engine import ROOT

IMAGES = ROOT / "tests" / "containers" / "images"


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return loaded


def test_there_is_a_stand_in_for_every_image_that_is_not_built_here() -> None:
    services = compose()["services"]
    named = {service["image"] for service in services.values() if "build" not in service}
    wanted = {
        name.removeprefix("docker.io/").removeprefix("library/") for name in stand_ins.STANDS_FOR.values()
    }
    assert named == wanted
    stages = set(re.findall(r"^FROM .* AS (\w+)$", (IMAGES / "Containerfile").read_text(), re.MULTILINE))
    assert stages == {"python", "machine", *stand_ins.STANDS_FOR}


def test_it_looks_at_every_service() -> None:
    loaded = compose()
    assert loaded["name"] == PROJECT
    assert set(SERVICES) == set(loaded["services"])
    assert {name for name in loaded["services"] if name.startswith("node")} == set(NODES)


def test_the_stand_in_of_postgresql_reads_what_compose_sets_and_is_valid_shell() -> None:
    script = IMAGES / "postgres.sh"
    variables = set(re.findall(r"\$(POSTGRES_\w+)", script.read_text()))
    assert variables == set(compose()["services"]["postgres"]["environment"])
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True, timeout=10)
