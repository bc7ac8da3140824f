"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

EVERY_SECONDS = 0.015


async def until(condition: Callable[[], Any], timeout: float = 5, what: str | Callable[[], str] = "") -> Any:
    """The first truthy value of `condition()`, awaited if need be. Fails the test after `timeout` seconds.

    `what` says what was waited for; as a function it is asked when the wait has failed. An `AssertionError`
    of the condition means "not yet"; the last one is shown when time is up.
    """
    deadline = time.monotonic() + timeout
    while True:
        reason: AssertionError | None = None
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
        except AssertionError as error:
            reason = error
        if time.monotonic() > deadline:
            waited_for = what() if callable(what) else what
            raise AssertionError(f"not within {timeout:g} s: {waited_for or 'the condition'}") from reason
        await asyncio.sleep(EVERY_SECONDS)
