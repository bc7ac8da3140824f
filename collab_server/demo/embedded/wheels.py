"""The servers' programs, which packages of the `embedded` extra carry, and what they run in."""

from __future__ import annotations

import importlib.util
import os
import platform
import stat
from pathlib import Path

from collab_server.demo.tied import EmbeddedError

__all__ = ["machine_tag", "plain_environment", "wheel_file"]


def machine_tag() -> str:
    """This machine as the wheels name it: `linux-x86_64` or `linux-aarch64`."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"{platform.system().lower()}-{machine}"


def wheel_file(package: str, *parts: str) -> Path:
    """A file inside an installed package that is found, not imported. Raises `EmbeddedError`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"the package {package} is not installed: install this package with its extra `embedded`"
        )
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.exists():
        raise EmbeddedError(
            f"the package {package} has no {'/'.join(parts)} for this machine ({machine_tag()})"
        )
    if path.is_file() and not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def plain_environment() -> dict[str, str]:
    """The environment of a server: neither PG* variables nor the machine's locale have a say."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}
