"""Gives a node shorter times than it has, so that a test need not wait for them, or another clock.

Python imports this module by itself, before anything else, in a process that has this folder on its PYTHONPATH.
`HURRIED` is JSON: {module: {constant: value}}, or {class: {argument: value}} for other defaults. `CLOCK_SHIFT_FILE`
holds by how many seconds the wall clock is wrong; it may be written at any time.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import json
import os
import time

for _module, _constants in json.loads(os.environ.get("HURRIED", "{}")).items():
    for _name, _value in _constants.items():
        _target = importlib.import_module(_module)
        if isinstance(_value, dict):
            _value = functools.partial(getattr(_target, _name), **_value)
        setattr(_target, _name, _value)

_clock = os.environ.get("CLOCK_SHIFT_FILE")
if _clock is not None:

    def _shift() -> float:
        with open(_clock) as file:
            return float(file.read() or 0)

    class _ShiftedDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> _ShiftedDatetime:
            return super().now(tz) + datetime.timedelta(seconds=_shift())

    for _module in ("auth", "domain.jsontext", "realtime.server", "services.inbox", "status"):
        importlib.import_module(f"collab_server.{_module}").datetime = _ShiftedDatetime
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _shift()
    time.time_ns = lambda: _time_ns() + int(_shift() * 1e9)
