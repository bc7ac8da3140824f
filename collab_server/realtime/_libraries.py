"""python-engineio and python-socketio, without what only their clients use.

With their servers they import their clients, and those aiohttp and requests, where these are installed: a fifth of the
time that a node takes to import everything.

What it promises: nothing is hidden. Those names stand for modules that are imported when something is first asked of
them; once this is imported, `sys.modules` is as if nobody had asked for them, and whoever imports them gets them.
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

__all__ = ["engineio", "socketio"]


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
def _when_used(*names: str) -> Iterator[None]:
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


with _when_used("aiohttp", "requests"):
    import engineio
    import socketio
