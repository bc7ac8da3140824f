"""Gives a node shorter times than it has, so that a test need not wait for them.

Python imports this module by itself, before anything else, in a process that has this folder on its PYTHONPATH.
`HURRIED` is JSON: {module: {constant: value}}, or {class: {argument: value}} for other defaults.
"""

from __future__ import annotations

import functools
import importlib
import json
import os

for _module, _constants in json.loads(os.environ.get("HURRIED", "{}")).items():
    for _name, _value in _constants.items():
        _target = importlib.import_module(_module)
        if isinstance(_value, dict):
            _value = functools.partial(getattr(_target, _name), **_value)
        setattr(_target, _name, _value)
