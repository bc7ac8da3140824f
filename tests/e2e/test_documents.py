"""`/docs` in a real browser: it shows the calls, and fetches nothing from anywhere else. Skipped without Chromium."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Route, async_playwright, expect

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx, balancer_config
from tests.conftest import MakeCluster
from tests.harness.browsers import chromium, needs_chromium
from tests.harness.cluster import Cluster
from tests.harness.world import StandInLibrary


@needs_chromium
async def test_the_page_of_the_rest_calls_needs_nothing_from_outside(cluster: Cluster) -> None:
    node = cluster.nodes[0].url
    asked: list[str] = []
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
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


@needs_chromium
async def test_where_people_try_it_a_name_is_enough_to_call(
    make_cluster: MakeCluster, library: StandInLibrary, tmp_path: Path
) -> None:
    made = await make_cluster(nodes=1, overrides={"demoPage": True})
    port = free_port()
    nodes = [made[0].url.removeprefix("http://")]
    config = balancer_config(port, nodes, library=library.address)
    wrong: list[str] = []
    is_chosen = asyncio.Event()

    async def read_late(route: Route) -> None:
        await is_chosen.wait()
        await route.continue_()

    with EmbeddedNginx(config, tmp_path / "nginx", port=port):
        async with async_playwright() as playwright:
            browser = await chromium(playwright)
            page = await browser.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            await page.route("**/openapi.json", read_late)  # somebody is quicker than the document
            await page.goto(f"http://127.0.0.1:{port}/docs")
            await page.get_by_role("button", name="Bob Baker").click(timeout=15_000)
            is_chosen.set()
            await expect(page.get_by_text("Calls are made as Bob Baker.")).to_be_visible()
            await page.locator("#operations-me-me").click()
            await page.get_by_role("button", name="Try it out").click()
            await page.get_by_role("button", name="Execute").click()
            await expect(page.get_by_text('"Bob Baker"').first).to_be_visible(timeout=15_000)
            await browser.close()
    assert wrong == []
