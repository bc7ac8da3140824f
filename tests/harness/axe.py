"""axe-core, which looks for what keeps somebody out of a page; installed once in a run, by npm."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Page

from tests.snippets.surroundings import install_for_node


@functools.cache
def _axe() -> str:
    with tempfile.TemporaryDirectory() as folder:
        install_for_node(Path(folder), ["axe-core@4"])
        return (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").read_text()


async def violations(
    page: Page, schemes: Sequence[str] = ("light", "dark")
) -> list[tuple[str, str, list[str]]]:
    """What axe finds in the page as it is: the scheme of colours, the rule, and where. Skips where npm has no index."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_axe())
    found = []
    for scheme in schemes:
        await page.emulate_media(
            color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
        )
        for each in await page.evaluate("async () => (await axe.run()).violations"):
            found.append((scheme, each["id"], [node["html"][:200] for node in each["nodes"]]))
    return found
