"""Pages of another origin with `<collab-panel>` in them, under a policy without inline scripts and styles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.harness.cluster import Cluster

PATIENCE_MS = 30_000

PAGE = """<!doctype html>
<html lang="{lang}" dir="{dir}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A page of somebody</title>
<link rel="stylesheet" href="/page.css">
<main><h1>Figures</h1></main>
<collab-panel topic="{topic}"></collab-panel>
<script type="module" src="/page.js?who={who}"></script>
</html>"""

SCRIPT = """
import {{ connect }} from "{node}/clients/collab-panel/index.js";
const auth = async () => ({{ identityToken: await (await fetch("/token?who={who}")).text() }});
window.client = connect({{ url: "{url}", auth }});
window.panel = document.querySelector("collab-panel");
"""

STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; display: flex; height: 100vh; font-family: sans-serif; }
main { flex: 1; padding: 24px; }
collab-panel { width: 400px; border-inline-start: 1px solid #8884; }
@media (max-width: 719px) { body { display: block; } main { display: none; } collab-panel { width: 100%; } }
"""


@dataclass
class Site:
    """Pages on one node; `complaints` are what the browser complained about."""

    context: BrowserContext
    node: Cluster
    address: str
    topic: str
    complaints: list[str] = field(default_factory=list)

    async def open(
        self,
        who: str = "ann",
        *,
        topic: str | None = None,
        lang: str = "en",
        dir: str = "ltr",
        more: str = "",
    ) -> Page:
        """A window in which somebody has the panel before them."""
        page = await self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if "Content Security" in said.text else None,
        )
        await page.goto(f"{self.address}/?who={who}&lang={lang}&dir={dir}&topic={topic or self.topic}{more}")
        return page


@asynccontextmanager
async def site_of(browser: Browser, node: Cluster, topic: str, url: str) -> AsyncIterator[Site]:
    """Pages, of one person's windows, that load the panel from the node, and connect to `url`."""

    async def page_of(request: web.Request) -> web.Response:
        text = PAGE.format_map(request.query)
        policy = (
            f"default-src 'none'; script-src 'self' {node[0].url}; style-src 'self'; "
            f"connect-src 'self' {node[0].url} {url} {url.replace('http', 'ws', 1)}"
        )
        headers = {"Content-Security-Policy": policy}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def script(request: web.Request) -> web.Response:
        text = SCRIPT.format(node=node[0].url, url=url, who=request.query["who"])
        return web.Response(text=text, content_type="text/javascript")

    async def style(_: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def token(request: web.Request) -> web.Response:
        person = await node.person(request.query["who"])
        return web.Response(text=await person.identity_token())

    application = web.Application()
    application.add_routes(
        [
            web.get("/", page_of),
            web.get("/page.js", script),
            web.get("/page.css", style),
            web.get("/token", token),
        ]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    site = Site(context, node, f"http://127.0.0.1:{runner.addresses[0][1]}", topic)
    try:
        yield site
    finally:
        await context.close()
        await runner.cleanup()
    assert not site.complaints, site.complaints


def comments(page: Page) -> Locator:
    """What is shown of each comment."""
    return page.locator("[data-comment]")


def composer(page: Page) -> Locator:
    """Where a new comment is written."""
    return page.get_by_role("textbox", name="Add a comment")


async def say(page: Page, text: str) -> None:
    """Comment, and wait until it is stored."""
    await composer(page).fill(text)
    await composer(page).press("Control+Enter")
    await expect(comments(page).filter(has_text=text)).to_be_visible()
    await expect(page.get_by_text("Sending")).to_have_count(0)
