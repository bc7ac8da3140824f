"""Importing a library without all that it imports for uses that are not ours.

What it promises: whatever is left out is so for that one library, while it is imported. Once it is, `sys.modules` is as
if nobody had asked for the others, and whoever imports them gets them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from typing_extensions import override

__all__ = ["when_used", "without"]


class _StandIn(ModuleType):
    """A module that is imported when an attribute of it is first asked for."""

    @override
    def __getattr__(self, name: str) -> Any:
        _remove(self)
        return getattr(importlib.import_module(self.__name__), name)


def _remove(stand_in: _StandIn) -> None:
    if sys.modules.get(stand_in.__name__) is stand_in:
        del sys.modules[stand_in.__name__]


@contextlib.contextmanager
def when_used(*names: str) -> Iterator[None]:
    """Inside, an import of these libraries, where they are installed, gives a stand-in."""
    stand_ins = [
        _StandIn(name)
        for name in names
        if name not in sys.modules and importlib.util.find_spec(name) is not None
    ]
    for stand_in in stand_ins:
        sys.modules[stand_in.__name__] = stand_in
    try:
        yield
    finally:
        for stand_in in stand_ins:
            _remove(stand_in)


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside, these libraries are not installed, unless somebody has imported them before."""
    missing = [name for name in names if name not in sys.modules]
    for name in missing:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
