"""The page in a real browser, served as docker-compose.yml serves it, in front of three nodes.

What the panel in it does is told in tests/clients/test_panel.py; here is what the page adds. Two windows of one browser
share their cookies, as they do at home. Skipped where there is no Chromium.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, Route, expect

from tests.clients.panels import composer, say
from tests.harness.axe import violations
from tests.harness.browsers import needs_chromium
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary

PATIENCE_MS = 30_000
QUARTERS = {"pageKey": "overview", "visualizationKey": "quarters"}
HELMETS = {"pageKey": "products", "visualizationKey": "products", "dataPoint": {"Product": "Helmets"}}

pytestmark = needs_chromium
expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture
async def open_as(context: BrowserContext, address: str, cluster: Cluster, topic: str) -> AsyncIterator[Open]:
    """`await open_as("Ann")` is a window with the test's dashboard open, signed in and live."""
    complaints: list[str] = []

    async def open_window(name: str, place: str = f"#{topic}") -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if "Content Security" in message.text else None,
        )
        await page.goto(address + place)
        await page.get_by_role("button", name=name).click()
        await expect(state(page)).to_contain_text("Live")
        return page

    yield open_window
    assert not complaints


def state(page: Page) -> Locator:
    return page.locator(".top .state")


async def node_of(page: Page) -> str:
    return await page.locator(".node").inner_text()


async def to_another_node(page: Page) -> None:
    before = await node_of(page)
    await page.locator(".account summary").click()

    async def is_elsewhere() -> bool:  # the balancer may choose the same one
        await page.get_by_role("button", name="Another node").click()
        await expect(state(page)).not_to_contain_text("Live")
        await expect(state(page)).to_contain_text("Live")
        return await node_of(page) != before

    await until(is_elsewhere, 30)
    await page.locator(".account summary").click()


async def test_two_windows_on_two_nodes_talk_about_a_bar_and_what_they_see(open_as: Open) -> None:
    ann, bob = await open_as("Ann"), await open_as("Bob")
    if await node_of(ann) == await node_of(bob):  # to which node one comes is the balancer's to say
        await to_another_node(bob)
    assert await node_of(ann) != await node_of(bob)
    await ann.get_by_role("button", name=re.compile("^Q3")).click()
    await composer(ann).fill("Why is the third quarter so high?")
    await expect(ann.get_by_role("button", name="About Revenue by quarter · Q3")).to_be_visible()
    await composer(ann).press("Control+Enter")

    # The pin counts it, and opens it; from the comment one comes to its bar.
    pin = bob.get_by_role("button", name="1 open thread: Revenue by quarter")
    await expect(pin).to_be_visible()
    await say(bob, "Of something else")
    await expect(bob.locator("[data-comment]")).to_have_count(2)
    await pin.click()
    await expect(bob.locator("[data-comment]")).to_have_count(1)
    await bob.get_by_role("button", name="Show all").click()
    await expect(bob.locator("[data-comment]")).to_have_count(2)
    await bob.get_by_role("button", name="Products").click()
    await bob.get_by_role("button", name="Revenue by quarter · Q3").click()
    await expect(bob.locator(".bar.lit")).to_contain_text("Q3")

    # What is not shown at a bar when one opens it is not counted there either.
    narrower = {**QUARTERS, "dataPoint": {"Quarter": "Q1", "Region": "North"}}
    add = "(it => it.client.topic(it.topic).add({ text: 'Narrower', anchor }))"
    await bob.evaluate(f"anchor => {add}(document.querySelector('collab-panel'))", narrower)
    await expect(ann.locator(".text").filter(has_text="Narrower")).to_be_visible()
    await expect(ann.locator(".bar .pin.small")).to_have_count(1)

    # What one sees goes with a comment, is seen by others, and left again.
    mine = await bob.locator("p.figure").first.inner_text()
    await ann.get_by_role("combobox", name="Region").select_option("North")
    await ann.get_by_role("combobox", name="Year").select_option("2026")
    await composer(ann).fill("Look at this")
    await ann.get_by_role("button", name="Attach Region: North · Year: 2026").click()
    await composer(ann).press("Control+Enter")
    await bob.get_by_role("button", name="Apply (view of Ann Archer)").click()
    await expect(bob.get_by_role("combobox", name="Region")).to_have_value("North")
    await expect(bob.locator("p.figure").first).to_have_text(await ann.locator("p.figure").first.inner_text())
    await expect(bob.get_by_text("You see the view of Ann Archer")).to_be_visible()
    await bob.get_by_role("button", name="Back to mine").click()
    await expect(bob.locator("p.figure").first).to_have_text(mine)


async def test_an_address_opens_one_comment_wherever_its_dashboard_has_it(
    open_as: Open, cluster: Cluster, topic: str, address: str
) -> None:
    bob = await cluster.client(0, "bob")
    for number in range(30):
        await bob.call("comment.add", {"topic": topic, "text": f"number {number}", "anchor": QUARTERS})
    added = await bob.call("comment.add", {"topic": topic, "text": "Helmets", "anchor": HELMETS})
    link = f"?collab=comment:{added['comment']['id']}"
    for number in range(30):
        await bob.call("comment.add", {"topic": topic, "text": f"later {number}"})
    ann = await open_as("Ann", link)
    await expect(ann.locator("[data-comment].shown")).to_contain_text("Helmets")
    await expect(ann.get_by_role("heading", name="Revenue by product")).to_be_visible()
    await expect(ann.locator("[data-comment].shown")).to_be_in_viewport()
    # Another node takes her over, and a reload finds her where she was, without signing in.
    await to_another_node(ann)
    await ann.reload()
    await expect(state(ann)).to_contain_text("Live")
    await expect(ann.locator("[data-comment].shown")).to_contain_text("Helmets")
    # What one is told of another dashboard leads there.
    elsewhere = "content:F0000000000000000000000000000001:DA000000000000000000000000000002"
    text = f"@[Ann Archer](user:A11A0000000000000000000000000001) look {secrets.token_hex(4)}"
    await bob.call("comment.add", {"topic": elsewhere, "text": text})
    await ann.get_by_role("button", name=re.compile(r"Inbox, \d+\+? unread")).click()
    await ann.locator("collab-bell .line").filter(has_text=text[-8:]).click()
    await expect(ann.get_by_role("heading", name="Stores and Stock")).to_be_visible()
    await expect(ann.locator("[data-comment].shown")).to_contain_text(text[-8:])

    await ann.goto(f"{address}?collab=comment:0197a0e0-0000-7000-8000-000000000000")
    await expect(ann.get_by_role("heading", name="This comment is not here")).to_be_visible()


async def test_a_dashboard_that_one_may_not_open_is_not_another_one(
    open_as: Open, address: str, library: StandInLibrary, topic: str
) -> None:
    nowhere = "#content:F0000000000000000000000000000001:0000000000000000000000000000DEAD"
    ann = await open_as("Ann", nowhere)
    heading = ann.get_by_role("heading", name="You may not open this dashboard")
    await expect(heading).to_be_visible()
    await ann.goto(f"{address}#")
    await ann.goto(f"{address}{nowhere}%E0%")  # that somebody has cut off
    await ann.reload()
    await expect(heading).to_be_visible()
    await expect(composer(ann)).to_have_count(0)

    # One that is closed while somebody has it in their list is not shown either, nor are its figures.
    async def may_open(people: list[str] | None) -> None:
        body = {"objectId": topic.rpartition(":")[2], "openTo": people}
        async with new_session() as http, http.post(f"{library.root}/standin/access", json=body) as answer:
            assert answer.ok

    await may_open([])
    await ann.goto(f"{address}#{topic}")
    await expect(ann.get_by_role("heading", name="There is no such dashboard")).to_be_visible()
    await expect(heading).to_be_visible()
    await expect(ann.locator(".card")).to_have_count(0)
    await may_open(None)

    async def is_open() -> bool:  # Library's word is kept for some seconds
        await ann.get_by_role("button", name="Retry").or_(composer(ann)).click()
        return await composer(ann).count() == 1

    await until(is_open, 20)
    await expect(ann.locator(".card").first).to_be_visible()


async def test_whoever_signs_out_is_not_let_in_by_what_the_window_knew(open_as: Open) -> None:
    ann = await open_as("Ann")
    await composer(ann).fill("half a thought")
    known = await ann.evaluate("sessionStorage.getItem('collaboration')")
    await ann.locator(".account summary").click()
    await ann.get_by_role("button", name="Sign out").click()
    await expect(ann.get_by_role("button", name="Ann")).to_be_visible()
    await expect(ann.get_by_text("You have been signed out")).to_have_count(0)
    await expect(ann.get_by_role("heading")).to_be_focused()  # from there keys lead to who may sign in
    await ann.keyboard.press("Tab")
    await expect(ann.locator(".person").first).to_be_focused()
    await ann.evaluate("known => sessionStorage.setItem('collaboration', known)", known)
    await ann.reload()
    await expect(ann.get_by_text("You have been signed out")).to_be_visible()
    await expect(ann.get_by_role("heading")).to_be_focused()

    await ann.get_by_text("Sign in with name and password").click()
    await ann.get_by_label("Name", exact=True).fill("ann")
    await ann.get_by_label("Password").fill("not it")
    await ann.get_by_role("button", name="Sign in").click()
    await expect(ann.get_by_role("alert")).to_have_text("Library does not know this name and password.")
    await ann.get_by_label("Password").fill("ann")
    await ann.get_by_role("button", name="Sign in").click()
    await expect(composer(ann)).to_have_value("half a thought")


async def test_a_form_that_was_opened_before_people_could_be_told_stays_open(open_as: Open) -> None:
    ann, may_come = await open_as("Ann"), asyncio.Event()

    async def hold(route: Route) -> None:
        await may_come.wait()
        await route.continue_()

    await ann.route("**/standin/people", hold)
    await ann.locator(".account summary").click()
    await ann.get_by_role("button", name="Sign out").click()
    await ann.get_by_text("Sign in with name and password").click()
    await expect(ann.get_by_label("Password")).to_be_visible()
    may_come.set()
    await expect(ann.get_by_role("button", name="Ann")).to_be_visible()
    await expect(ann.get_by_label("Password")).to_be_visible()


async def test_a_browser_that_keeps_nothing_shows_the_page_all_the_same(
    context: BrowserContext, open_as: Open
) -> None:
    refused = "{ get() { throw new DOMException('refused', 'SecurityError'); } }"
    for storage in ("localStorage", "sessionStorage", "indexedDB"):
        await context.add_init_script(f"Object.defineProperty(window, '{storage}', {refused})")
    ann = await open_as("Ann")
    await say(ann, "Kept by the server")


async def test_on_a_phone_the_panel_is_a_sheet_below_the_dashboard(open_as: Open) -> None:
    ann = await open_as("Ann")
    await say(ann, "A_word_without_any_space_" * 8)
    await ann.emulate_media(reduced_motion="reduce")  # first, for to become a sheet is a motion too
    await ann.set_viewport_size({"width": 360, "height": 740})
    panel = ann.locator("collab-panel")
    heights = []
    for name in ("Show all of the comments", "Show only the title", "Show half"):
        box = await panel.bounding_box()
        assert box is not None
        heights.append(box["height"])
        assert abs(box["y"] + box["height"] - 740) < 1
        await ann.get_by_role("button", name=name).click()
        await expect(ann.get_by_role("button", name=name)).to_have_count(0)
    half, full, low = heights
    assert low < 80 < 300 < half < 500 < full
    await composer(ann).click()
    await expect(panel).to_have_attribute("sheet", "full")
    await ann.locator(".account summary").click()
    await expect(ann.get_by_role("button", name="Sign out")).to_be_visible()
    await ann.get_by_role("button", name="Another node").click(trial=True)  # nothing lies over it
    await ann.locator(".account summary").click()

    # Whatever one wants of it while only its title is shown, it is high enough for that.
    only_title = ann.get_by_role("button", name="Show only the title")
    await only_title.click()
    await ann.get_by_role("button", name="Options").click()
    await expect(ann.get_by_role("menuitem", name="Keys")).to_be_in_viewport(ratio=1)
    await expect(panel).to_have_attribute("sheet", "half")
    await ann.keyboard.press("Escape")
    await panel.evaluate("panel => panel.setAttribute('sheet', 'low')")
    text = f"@[Ann Archer](user:A11A0000000000000000000000000001) look {secrets.token_hex(4)}"
    bob = await open_as("Bob")
    add = "text => (it => it.client.topic(it.topic).add({ text }))"
    await bob.evaluate(f"{add}(document.querySelector('collab-panel')).then(() => null)", text)
    await ann.get_by_role("button", name="Inbox").click()
    await ann.locator("collab-bell .line").filter(has_text=text[-8:]).click()
    await expect(ann.locator(".comment.shown")).to_be_in_viewport()
    await expect(ann.locator("collab-panel [data-thread]").last).to_be_focused()
    assert await ann.evaluate("document.documentElement.scrollWidth") <= 360


async def test_on_a_phone_the_page_is_as_wide_as_the_screen_while_it_is_connecting(
    context: BrowserContext, address: str, topic: str
) -> None:
    page = await context.new_page()
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.route("**/socket.io/**", lambda route: route.abort())
    await page.route_web_socket("**/socket.io/**", lambda socket: socket.close())
    await page.goto(f"{address}#{topic}")
    await page.get_by_role("button", name="Ann").click()
    await expect(state(page)).to_contain_text("Connecting")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_axe_finds_nothing_in_the_page(open_as: Open, address: str) -> None:
    ann = await open_as("Ann")
    await ann.get_by_role("button", name=re.compile("^Q3")).click()
    await say(ann, "Pinned")
    await expect(ann.get_by_role("button", name="1 open thread: Revenue by quarter")).to_be_visible()
    assert await violations(ann) == []
    await ann.locator(".account summary").click()
    await ann.get_by_role("combobox", name="Language").select_option("ar")
    await expect(ann.locator("html")).to_have_attribute("dir", "rtl")
    await expect(ann.get_by_role("textbox", name="إضافة تعليق")).to_have_css("direction", "rtl")
    assert await violations(ann) == []
    await ann.set_viewport_size({"width": 390, "height": 844})
    assert await violations(ann, ["dark"]) == []
    await ann.goto(f"{address}#content:F0000000000000000000000000000001:0000000000000000000000000000DEAD")
    assert await violations(ann, ["light"]) == []
    await ann.get_by_role("button", name="تسجيل الخروج").click()
    await expect(ann.get_by_role("button", name="Ann")).to_be_visible()
    assert await violations(ann) == []
