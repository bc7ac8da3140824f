"""What is handed on: the wheel and the source distribution hold what they promise."""

import email.parser
import email.policy
import tarfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import collab_server

ROOT = Path(__file__).resolve().parents[2]
LICENCES = ["LICENSE", "collab_server/web/static/vendor/LICENSES.txt"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    (built,) = WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    (built,) = SdistBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("sdist")), versions=["standard"]
    )
    with tarfile.open(built) as archive:
        return {
            member.name.partition("/")[2]: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def in_metadata(wheel: zipfile.ZipFile, name: str) -> bytes:
    return wheel.read(f"collab_server-{collab_server.__version__}.dist-info/{name}")


def test_licence_is_the_one_of_apache_and_is_named(wheel: zipfile.ZipFile) -> None:
    words = (ROOT / "LICENSE").read_text().split()
    assert words[:6] == ["Apache", "License", "Version", "2.0,", "January", "2004"]
    metadata = email.parser.BytesParser(EmailMessage, policy=email.policy.default).parsebytes(
        in_metadata(wheel, "METADATA")
    )
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == LICENCES


@pytest.mark.parametrize("name", LICENCES)
def test_wheel_and_sources_hold_the_licences(
    wheel: zipfile.ZipFile, sources: dict[str, bytes], name: str
) -> None:
    assert in_metadata(wheel, f"licenses/{name}") == sources[name] == (ROOT / name).read_bytes()


def test_image_is_built_with_the_licence() -> None:
    copied = [
        line.split()[1:-1]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY pyproject.toml")
    ]
    assert copied
    assert all("LICENSE" in names for names in copied)


def test_wheel_says_that_it_is_typed_and_brings_its_migrations_and_the_page(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "collab_server/py.typed" in names
    expected = {f"collab_server/_migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    expected |= {
        str(path.relative_to(ROOT))
        for folder in ["collab_server/web/static", "collab_server/demo"]
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names


def test_wheel_brings_the_files_of_a_deployment(wheel: zipfile.ZipFile) -> None:
    shared = {
        name.partition(".data/data/share/collab-server/")[2] for name in wheel.namelist() if "/share/" in name
    }
    shared = {name for name in shared if "__pycache__" not in name}
    built = {
        str(path.relative_to(ROOT / "deploy")) for path in (ROOT / "deploy").rglob("*") if path.is_file()
    }
    assert {name for name in built if "__pycache__" not in name} == shared


def test_sources_hold_what_the_tests_and_documents_need(sources: dict[str, bytes]) -> None:
    needed = {
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "tests/conftest.py",
        "docs/generate.py",
    }
    assert needed <= sources.keys()


def test_the_client_in_python_is_a_package_of_its_own(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "clients" / "python"
    held = {name for name in wheel.namelist() if name.startswith("collab_client/")}
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.py")} | {"collab_client/py.typed"}
    assert held == written
