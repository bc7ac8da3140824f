"""Debian's Chromium, for tests in a real browser; they skip themselves, saying so, where there is none."""

from __future__ import annotations

import shutil

import pytest
from playwright.async_api import Browser, Playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = [
    "--no-sandbox",  # root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

_NONE = "no Chromium on this machine (Debian: apt-get install chromium)"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=_NONE)
"""Before anything is started for the test."""


async def chromium(playwright: Playwright) -> Browser:
    """A browser that asks nothing of anybody by itself. Whoever needs it skips where there is none, marked or not."""
    if CHROMIUM is None:
        pytest.skip(_NONE)
    return await playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
