#!/usr/bin/env python3
"""Takes the pictures of README.md and panel.md, of a demo that runs here, in Debian's Chromium.

python docs/pictures.py            # make pictures

What runs concurrently: a demo with data of its own, and a browser. How it stops: both end with this, however it ends.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, async_playwright

PICTURES = Path(__file__).resolve().parent / "pictures"
MOST_BYTES = 150_000
STOP_SECONDS = 60
TOPIC = "content:F0000000000000000000000000000001:DA000000000000000000000000000001"


@contextmanager
def _demo() -> Iterator[str]:
    """A demo; its address."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        command = [sys.executable, "-m", "collab_server", "demo", "--data", f"{folder}/data"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            yield next(line.split()[1] for line in lines if line.split()[:1] == ["open"])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)


async def _open(
    browser: Browser, url: str, name: str, width: int, height: int, scheme: str = "light"
) -> Page:
    """Somebody before the dashboard."""
    is_phone = width < 720
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
        has_touch=is_phone,
    )
    page = await context.new_page()
    await page.goto(f"{url}#{TOPIC}")
    await page.get_by_role("button", name=name).click()
    await _composer(page).wait_for()
    return page


def _composer(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Add a comment")


async def _say(page: Page, text: str, *, mention: str = "") -> None:
    await _composer(page).fill(text)
    if mention:
        await page.keyboard.type(f" @{mention[:5]}")
        await page.get_by_role("option", name=mention).wait_for()
        await page.keyboard.press("Enter")
    await page.keyboard.press("Control+Enter")
    await page.get_by_text("Sending").first.wait_for(state="hidden")


async def _reply(page: Page, to: str, text: str) -> None:
    await page.get_by_role("button", name=f"Reply to {to}").last.click()
    await page.get_by_role("textbox", name=f"Reply to {to}").fill(text)
    await page.keyboard.press("Control+Enter")
    await page.get_by_text("Sending").first.wait_for(state="hidden")


async def _talk(ann: Page, bob: Page, carol: Page) -> None:
    """A conversation about the figures."""
    await ann.get_by_role("button", name="Q3").click()
    await _say(ann, "The third quarter is **our best** so far. Is that the summer sale, or more?")
    await _reply(bob, "Ann Archer", "Mostly the sale: look at August.")
    await _reply(carol, "Ann Archer", "And the new store in the north.")
    await bob.get_by_role("combobox", name="Region").select_option("North")
    await bob.get_by_role("combobox", name="Year").select_option("2026")
    await _composer(bob).fill("In the north alone it is another picture")
    await bob.get_by_role("button", name="Attach Region: North").click()
    await _composer(bob).press("Control+Enter")
    await carol.get_by_role("button", name="East").click()
    await _say(carol, "East has caught up. Should we say so in the report,", mention="Ann Archer")


async def _take(page: Page, name: str) -> None:
    """A picture, as small as it has to be. Raises `SystemExit` where it is not."""
    await page.mouse.move(0, 0)
    await page.wait_for_timeout(1500)  # until what is seen is read, and nothing moves
    file = PICTURES / f"{name}.png"
    await page.screenshot(path=file)
    if file.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{file.name} has {file.stat().st_size} bytes, of {MOST_BYTES}")


async def _pictures(url: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        ann = await _open(browser, url, "Ann", 1280, 800)
        bob = await _open(browser, url, "Bob", 1280, 800, "dark")
        carol = await _open(browser, url, "Carol", 390, 844)
        await carol.set_viewport_size({"width": 1280, "height": 800})
        await _talk(ann, bob, carol)
        await _take(ann, "panel-light")
        await bob.get_by_role("combobox", name="Region").select_option("")
        await bob.get_by_role("combobox", name="Year").select_option("")
        await _take(bob, "panel-dark")
        await carol.set_viewport_size({"width": 390, "height": 844})
        await _take(carol, "panel-phone")
        await browser.close()


def main() -> None:
    """Take them all."""
    PICTURES.mkdir(exist_ok=True)
    with _demo() as url:
        asyncio.run(_pictures(url))


if __name__ == "__main__":
    main()
