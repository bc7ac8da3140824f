"""`collab-client` in pages of another origin, as a node serves it: kept over reloads, sent once from two windows."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, BrowserContext, Page

from tests.faults.proxy import Proxy
from tests.harness.browsers import needs_chromium
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until

PAGE = """<!doctype html>
<script type="module">
  import {{ createClient }} from "{node}/clients/collab-client/index.js";
  const auth = async () => ({{ identityToken: await (await fetch("/token")).text() }});
  window.client = createClient({{ url: "{url}", auth }});
  window.topic = client.topic("{topic}");
  topic.open();
</script>"""
TEXTS = "topic.snapshot().threads.flatMap(({comments}) => comments.map(({text}) => text))"
PENDING = "topic.snapshot().threads.flatMap(({comments}) => comments.filter(({pending}) => pending)).length"

PATIENT = """
async ([modules, url]) => {
  client.close(); // of several in a page socket.io-client tells some only that the network is gone
  window.hearing = new Set();
  const { addEventListener: add, removeEventListener: remove } = window;
  window.addEventListener = (type, act, ...how) => {
    if (type === "online") hearing.add(act);
    add(type, act, ...how);
  };
  window.removeEventListener = (type, act, ...how) => {
    if (type === "online") hearing.delete(act);
    remove(type, act, ...how);
  };
  const { createClient } = await import(modules);
  const auth = async () => ({ identityToken: await (await fetch("/token")).text() });
  const socket = { reconnectionDelay: 3_600_000, reconnectionDelayMax: 3_600_000, randomizationFactor: 0 };
  window.patient = createClient({ url, auth, socket, keeping: null });
}
"""
"""A client that comes back after an hour, and who hears that there is a network again."""

Open = Callable[[], Awaitable[Page]]


async def test_the_modules_are_for_any_page_and_nothing_else_is_there(cluster: Cluster) -> None:
    clients = f"{cluster[0].url}/clients"
    async with new_session() as http:
        headers = {"Origin": "https://elsewhere.example"}
        async with http.get(f"{clients}/collab-client/index.js", headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Content-Type"].startswith("text/javascript")
            assert answer.headers["Cache-Control"] == "no-cache"
            etag = answer.headers["ETag"]
            text = await answer.text()
        for taken, encoding in (
            ("gzip, br", "gzip"),
            ("GZIP;q=0.5", "gzip"),
            ("gzip;q=0, *;q=0", None),
            ("br", None),
        ):
            asked = {"Accept-Encoding": taken}
            async with http.get(f"{clients}/collab-client/index.js", headers=asked) as answer:
                assert answer.headers.get("Content-Encoding") == encoding, taken
                assert "Accept-Encoding" in answer.headers["Vary"]
                assert await answer.text() == text
        async with http.get(
            f"{clients}/collab-client/index.js", headers={"If-None-Match": etag, **headers}
        ) as answer:
            assert answer.status == 304
            assert answer.headers["ETag"] == etag
            # Modules of two versions do not fit together: none is used before the server was asked.
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        async with http.get(f"{clients}/collab-client/socket.js") as answer:
            assert "socket.io" in (await answer.text()).lower()
        for path in (
            "/",
            "/collab-client",
            "/collab-client/wire.d.ts",
            "/nothing/index.js",
        ):
            async with http.get(f"{clients}{path}", allow_redirects=False) as answer:
                assert answer.status == 404, path
        async with http.get(f"{clients}/collab-client.tgz") as answer:
            assert answer.headers["Cache-Control"] == "no-cache"
            packed = tarfile.open(fileobj=io.BytesIO(await answer.read()))
            names = packed.getnames()
            assert {"package/package.json", "package/src/index.js", "package/types/index.d.ts"} <= set(names)
        # As it stands, without being made shorter by the client.
        async with http.get(f"{clients}/collab-client/%2e%2e/%2e%2e/package.json") as answer:
            assert answer.status == 404


@pytest_asyncio.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    yield context
    await context.close()


@pytest.fixture
def proxy(node: Cluster) -> Any:
    way = Proxy(("127.0.0.1", node[0].port)).start()
    yield way
    way.stop()


@pytest_asyncio.fixture
async def open_page(context: BrowserContext, node: Cluster, proxy: Proxy, topic: str) -> AsyncIterator[Open]:
    """`await open_page()` is a window of a page of another origin."""
    ann = await node.person("ann")
    host, port = proxy.address

    async def page_of(_: web.Request) -> web.Response:
        text = PAGE.format(node=node[0].url, url=f"http://{host}:{port}", topic=topic)
        return web.Response(text=text, content_type="text/html")

    async def token(_: web.Request) -> web.Response:
        return web.Response(text=await ann.identity_token())

    application = web.Application()
    application.add_routes([web.get("/", page_of), web.get("/token", token)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    place = runner.addresses[0][1]
    complaints: list[str] = []

    async def window() -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"http://127.0.0.1:{place}/")
        return page

    yield window
    await runner.cleanup()
    assert not complaints


async def _shows(page: Page, code: str, value: Any) -> None:
    last: Any = None

    async def is_so() -> bool:
        nonlocal last
        last = await page.evaluate(f"window.topic && {code}")
        return bool(last == value)

    await until(is_so, 20, lambda: f"{code}: {last}")


@needs_chromium
async def test_what_was_written_offline_survives_a_reload(open_page: Open, proxy: Proxy, topic: str) -> None:
    page = await open_page()
    await _shows(page, "topic.snapshot().state", "live")
    proxy.refuse()
    proxy.cut()
    await _shows(page, "topic.snapshot().state", "behind")
    offline = [f"offline {n}" for n in range(20)]
    # Whoever has seen their words finds them again, however soon the page goes away and slow its database is.
    leave = f"topic.subscribe(() => {TEXTS}.length === {len(offline)} && location.reload())"
    async with page.expect_navigation():
        await page.evaluate(
            f"texts => {{ {leave}; texts.forEach(text => void topic.add({{text}})); }}", offline
        )
    await page.evaluate("void topic.add({text: 'back'})")
    proxy.heal()
    await _shows(page, TEXTS, [*offline, "back"])
    await _shows(page, PENDING, 0)
    await _shows(page, "topic.snapshot().seq", 21)


@needs_chromium
async def test_a_client_is_back_as_soon_as_its_browser_has_a_network(
    open_page: Open, context: BrowserContext, node: Cluster, proxy: Proxy
) -> None:
    page = await open_page()
    state = "patient.connection.snapshot().state"
    host, port = proxy.address
    modules = f"{node[0].url}/clients/collab-client/index.js"
    await page.evaluate(PATIENT, [modules, f"http://{host}:{port}"])
    for _ in range(2):  # the second time as somebody who has signed in again
        await _shows(page, state, "live")
        await context.set_offline(True)
        await _shows(page, state, "offline")
        await context.set_offline(False)
        await _shows(page, state, "live")
        await page.evaluate("async () => { await patient.signOut(); patient.connection.signIn(); }")
        assert await page.evaluate("hearing.size") == 1
    await page.evaluate("patient.close()")
    assert await page.evaluate("hearing.size") == 0


@needs_chromium
async def test_a_window_sends_what_a_closed_one_has_left_and_nothing_of_a_living_one(
    open_page: Open, proxy: Proxy, topic: str
) -> None:
    first, second = await open_page(), await open_page()
    for page in (first, second):
        await _shows(page, "topic.snapshot().state", "live")
    proxy.refuse()
    proxy.cut()
    for page in (first, second):
        await _shows(page, "topic.snapshot().state", "behind")
    await first.evaluate("void topic.add({text: 'from the first'})")
    await second.evaluate("void topic.add({text: 'from the second'})")
    await _shows(first, TEXTS, ["from the first"])
    await first.close()
    proxy.heal()
    await _shows(second, f"{TEXTS}.sort()", ["from the first", "from the second"])
    await _shows(second, PENDING, 0)
    await _shows(second, "topic.snapshot().seq", 2)
