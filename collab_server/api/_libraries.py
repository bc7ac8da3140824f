"""FastAPI, whose models of an OpenAPI document are built when somebody first uses one of them.

It brings some thirty, and builds them when it is imported: a third of its time, and more than a megabyte. Ours is
written by `contract.openapi`, without them. Any that is used builds itself then, as pydantic lets every model do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

__all__ = ["fastapi"]


@contextlib.contextmanager
def _built_when_used() -> Iterator[None]:
    """Inside, a model that is defined is built when it is first used, unless its own configuration says otherwise."""
    before = BaseModel.model_config
    BaseModel.model_config = ConfigDict(**before, defer_build=True)
    try:
        yield
    finally:
        BaseModel.model_config = before


with _built_when_used():
    import fastapi
