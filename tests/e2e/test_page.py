"""The page in a real browser, served as docker-compose.yml serves it, in front of three nodes.

Two windows of one browser share their cookies, as they do at home. Skipped where there is no Chromium.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from tests.e2e.deployed import deployed_nginx
from tests.harness.browsers import chromium, needs_chromium
from tests.harness.cluster import Cluster
from tests.harness.world import StandInLibrary

PATIENCE_MS = 10_000

pytestmark = needs_chromium
expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        yield browser
        await browser.close()


@pytest.fixture
def nginx(shared_cluster: Cluster, library: StandInLibrary, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    nginx = deployed_nginx(
        "sticky",
        [node.port for node in shared_cluster.nodes],
        port=free_port(),
        folder=tmp_path / "nginx",
        library_port=library.port,
    )
    with nginx:
        yield nginx


@pytest_asyncio.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


Open = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture
async def open_as(
    context: BrowserContext, nginx: EmbeddedNginx, cluster: Cluster, topic: str
) -> AsyncIterator[Open]:
    """`await open_as("Ann")` is a window with the test's dashboard open, signed in and live."""
    complaints: list[str] = []

    async def open_window(name: str) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if "Content Security" in message.text else None,
        )
        await page.goto(f"http://127.0.0.1:{nginx.port}/#{topic}")
        await page.get_by_role("button", name=name).click()
        await expect(state(page)).to_contain_text("Live")
        await expect(page.get_by_placeholder("Add a comment")).to_be_visible()
        return page

    yield open_window
    assert not complaints


def state(page: Page) -> Locator:
    return page.locator(".bar").get_by_role("status")


def comments(page: Page) -> Locator:
    return page.get_by_role("log").get_by_role("article")


async def say(page: Page, text: str) -> None:
    await page.get_by_placeholder("Add a comment").fill(text)
    await page.get_by_role("button", name="Comment", exact=True).click()
    await expect(comments(page).filter(has_text=text)).to_be_visible()


async def node_of(page: Page) -> str:
    return await page.locator(".node").inner_text()


async def test_two_windows_on_two_nodes_talk(open_as: Open) -> None:
    ann, bob = await open_as("Ann"), await open_as("Bob")
    assert await node_of(ann) != await node_of(bob)
    await say(ann, "Why is the third quarter so high?")
    seen = comments(bob).filter(has_text="Why is the third quarter so high?")
    await expect(seen.get_by_text("Ann Archer")).to_be_visible()

    await bob.get_by_role("button", name="Reply").click()
    await bob.get_by_placeholder("Reply to Ann Archer").fill("The summer sale.")
    await bob.get_by_placeholder("Reply to Ann Archer").press("Control+Enter")
    await expect(ann.locator(".replies").get_by_text("The summer sale.")).to_be_visible()


async def test_people_edit_and_delete_only_what_is_theirs(open_as: Open) -> None:
    ann, bob = await open_as("Ann"), await open_as("Bob")
    await say(ann, "A first thought")
    await expect(comments(bob)).to_have_count(1)
    await expect(bob.get_by_role("button", name="Edit")).to_have_count(0)

    await ann.get_by_role("button", name="Edit").click()
    await ann.get_by_placeholder("Edit your comment").fill("A second thought")
    await ann.get_by_role("button", name="Save").click()
    await expect(comments(bob)).to_contain_text("A second thought")
    await expect(comments(bob)).to_contain_text("edited")

    ann.on("dialog", lambda dialog: dialog.accept())
    await ann.get_by_role("button", name="Delete").click()
    await expect(comments(bob)).to_contain_text("Ann Archer deleted this comment")
    await expect(comments(ann)).not_to_contain_text("A second thought")


async def test_somebody_elses_filters_can_be_applied(open_as: Open) -> None:
    ann, bob = await open_as("Ann"), await open_as("Bob")
    everything = await bob.locator(".figure").inner_text()
    await ann.get_by_role("combobox", name="Region").select_option("North")
    await ann.get_by_role("combobox", name="Year").select_option("2026")
    await ann.get_by_label("Attach Region: North · Year: 2026").check()
    await say(ann, "Look at this")

    await bob.get_by_role("button", name="Apply the filters of Ann Archer").click()
    await expect(bob.get_by_role("combobox", name="Region")).to_have_value("North")
    await expect(bob.locator(".figure")).to_have_text(await ann.locator(".figure").inner_text())
    assert await bob.locator(".figure").inner_text() != everything


async def test_window_that_was_away_catches_up(
    open_as: Open, nginx: EmbeddedNginx, cluster: Cluster, topic: str
) -> None:
    ann = await open_as("Ann")
    await say(ann, "Before")
    nginx.stop()
    await expect(state(ann)).to_contain_text("Reconnecting")
    bob = await cluster.client(0, "bob")
    for text in ("one", "two", "three"):
        await bob.call("comment.add", {"topic": topic, "text": text})
    nginx.start()
    await expect(state(ann)).to_contain_text("Live")
    await expect(comments(ann)).to_have_count(4)
    await expect(ann.get_by_text("Caught up: 3 changes while away")).to_be_visible()


async def test_comment_sent_into_a_lost_connection_is_there_once_when_it_is_back(
    open_as: Open, nginx: EmbeddedNginx, cluster: Cluster, topic: str
) -> None:
    ann = await open_as("Ann")
    nginx.stop()
    await ann.get_by_placeholder("Add a comment").fill("Into the void")
    await ann.get_by_role("button", name="Comment", exact=True).click()
    await expect(ann.get_by_role("button", name="Sending")).to_be_visible()
    nginx.start()
    await expect(comments(ann)).to_have_count(1)
    bob = await cluster.client(0, "bob")
    listed = await bob.call("topic.comments", {"topic": topic})
    assert [comment["text"] for comment in listed["items"]] == ["Into the void"]


async def test_another_node_takes_the_window_over_without_signing_in(open_as: Open) -> None:
    ann = await open_as("Ann")
    await say(ann, "Still here")
    before = await node_of(ann)
    await ann.get_by_role("button", name="Another node").click()
    await expect(ann.locator(".node")).not_to_have_text(before)
    await expect(comments(ann)).to_have_count(1)


async def test_reload_keeps_the_person_and_the_dashboard(open_as: Open) -> None:
    ann = await open_as("Ann")
    await say(ann, "Kept")
    await ann.reload()
    await expect(state(ann)).to_contain_text("Live")
    await expect(comments(ann)).to_contain_text("Kept")
    await expect(ann.locator(".me")).to_contain_text("Ann Archer")


async def test_whoever_signs_out_is_not_let_in_by_what_the_window_knew(open_as: Open) -> None:
    ann = await open_as("Ann")
    known = await ann.evaluate("sessionStorage.getItem('collaboration')")
    await ann.get_by_role("button", name="Sign out").click()
    await expect(ann.get_by_role("button", name="Ann")).to_be_visible()
    await expect(ann.get_by_text("You have been signed out")).to_have_count(0)
    await ann.evaluate("known => sessionStorage.setItem('collaboration', known)", known)
    await ann.reload()
    await expect(ann.get_by_text("You have been signed out")).to_be_visible()
    await expect(ann.get_by_role("button", name="Ann")).to_be_visible()


async def test_text_is_never_taken_for_markup(open_as: Open) -> None:
    ann = await open_as("Ann")
    text = '<img src=x onerror="document.title=1"> & <b>bold</b> @[Bob Baker](user:B22B0000000000000000000000000002)'
    await ann.get_by_placeholder("Add a comment").fill(text)
    await ann.get_by_role("button", name="Comment", exact=True).click()
    await expect(comments(ann).locator(".text")).to_have_text(
        '<img src=x onerror="document.title=1"> & <b>bold</b> @Bob Baker'
    )
    await expect(comments(ann).locator("img, b")).to_have_count(0)
    await expect(comments(ann).locator(".mention")).to_have_text("@Bob Baker")


async def test_refusal_is_shown_in_words(
    context: BrowserContext, nginx: EmbeddedNginx, cluster: Cluster
) -> None:
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{nginx.port}/")
    await page.get_by_text("Sign in with name and password").click()
    await page.get_by_label("Name", exact=True).fill("ann")
    await page.get_by_label("Password").fill("not it")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_have_text("Library does not know this name and password.")


async def test_a_dashboard_one_may_not_open_is_not_another_one(open_as: Open, nginx: EmbeddedNginx) -> None:
    ann = await open_as("Ann")
    unknown = "content:F0000000000000000000000000000001:0000000000000000000000000000DEAD"
    await ann.goto(f"http://127.0.0.1:{nginx.port}/#{unknown}")
    await expect(ann.get_by_role("heading", name="You may not open this dashboard")).to_be_visible()
    await expect(ann.get_by_placeholder("Add a comment")).to_have_count(0)
    await ann.get_by_role("combobox", name="Dashboard").select_option("Sales Overview")
    await expect(ann.get_by_role("heading", name="Sales Overview")).to_be_visible()
    await expect(ann.get_by_placeholder("Add a comment")).to_be_visible()


async def test_page_fits_a_phone(open_as: Open) -> None:
    ann = await open_as("Ann")
    await say(ann, "A_word_without_any_space_" * 8)
    await ann.set_viewport_size({"width": 360, "height": 740})
    assert await ann.evaluate("document.documentElement.scrollWidth") <= 360
