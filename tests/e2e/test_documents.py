"""`/docs` in a real browser: it shows the calls, and fetches nothing from anywhere else. Skipped without Chromium."""

import shutil
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright, expect

from tests.harness.cluster import Cluster

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")
async def test_the_page_of_the_rest_calls_needs_nothing_from_outside(cluster: Cluster) -> None:
    node = cluster.nodes[0].url
    asked: list[str] = []
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = await browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(f"{node}/docs")
        call = page.get_by_text("Add a comment or a reply")
        await expect(call).to_be_visible(timeout=15_000)
        await call.click()
        await expect(page.get_by_text("Idempotency-Key").first).to_be_visible(timeout=15_000)
        await browser.close()
    assert wrong == []
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {urlsplit(node).netloc}
