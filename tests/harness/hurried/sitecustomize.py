"""Gives a node shorter times than it has, so that a test need not wait for them, or another clock.

Python imports this module by itself in a process that has this folder on its PYTHONPATH; so does what nodes are forked
from (`collab_server.demo.warm`). `HURRIED` is JSON: {module: {constant: value}}, or {class: {argument: value}} for
other defaults. `CLOCK_SHIFT_FILE` holds by how many seconds the wall clock is wrong; it may be written at any time.

The node is imported first and then changed, wherever a name was imported to, so that both kinds of start come out the
same. What is not there any more ends the node: a test must not wait for a time that nobody has shortened.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from typing_extensions import override


def _replace(name: str, old: Any, new: Any) -> None:
    """Put `new` in the place of `old` in every module of ours that calls it `name`."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == "collab_server" and vars(module).get(name) is old:
            setattr(module, name, new)


def _hurry(constants: dict[str, dict[str, Any]]) -> None:
    for module, values in constants.items():
        for name, value in values.items():
            old = getattr(importlib.import_module(module), name)
            _replace(name, old, functools.partial(old, **value) if isinstance(value, dict) else value)


class _LikeDatetime(type):
    @override
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, datetime.datetime)


def _shift(clock: str) -> None:
    def seconds() -> float:
        with open(clock) as file:
            return float(file.read() or 0)

    class ShiftedDatetime(datetime.datetime, metaclass=_LikeDatetime):
        @classmethod
        @override
        def now(cls, tz: datetime.tzinfo | None = None) -> ShiftedDatetime:
            return super().now(tz) + datetime.timedelta(seconds=seconds())

    _replace("datetime", datetime.datetime, ShiftedDatetime)
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds()
    time.time_ns = lambda: now_ns() + int(seconds() * 1e9)


try:
    importlib.import_module("collab_server.app")
    _hurry(json.loads(os.environ.get("HURRIED", "{}")))
    if "CLOCK_SHIFT_FILE" in os.environ:
        _shift(os.environ["CLOCK_SHIFT_FILE"])
except Exception:
    traceback.print_exc()  # Python itself would go on
    os._exit(1)
