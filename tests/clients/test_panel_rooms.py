"""What lies over the comments in `<collab-panel>`: the inbox, private discussions, the search; and what stands beside
it: a bell, badges."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.clients.panels import PATIENCE_MS, Site, comments, composer, say, site_of
from tests.harness.browsers import needs_chromium
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.snippets.surroundings import install_for_node

ANN = {"kind": "user", "id": "A11A0000000000000000000000000001"}
TO_ANN = "@[Ann Archer](user:A11A0000000000000000000000000001)"
LEFT = """() => {
  dispatchEvent(new Event("pagehide"));
  const { shadowRoot } = document.querySelector("collab-panel");
  return new Promise((tell) => setTimeout(() => tell(!shadowRoot.querySelector(".toast button"))));
}"""
STOCK = "content:F0000000000000000000000000000001:DA000000000000000000000000000002"

expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture
async def site(browser: Browser, node: Cluster, topic: str) -> AsyncIterator[Site]:
    async with site_of(browser, node, topic, node[0].url) as site:
        yield site


def bell(page: Page) -> Locator:
    """The bell in the panel."""
    return page.locator("collab-panel button.bell")


def lines(page: Page) -> Locator:
    """What is listed in the room that is on top."""
    return page.locator(".room:not([inert]) button.line")


@needs_chromium
async def test_the_inbox_says_who_what_where_and_why_and_leads_there_and_back(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    page = await site.open("ann")
    await expect(composer(page)).to_be_visible()
    await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} <b>look</b> at \u202eshelf 7"})
    await expect(bell(page)).to_have_accessible_name("Inbox, 1 unread")
    await bell(page).focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Back")).to_be_focused()
    line = lines(page).first
    for said in ("Bob Baker", "mentioned you", "@Ann Archer <b>look</b> at", "Another dashboard"):
        await expect(line).to_contain_text(said)

    # It leads to what was said there, over what is here, and reads it; the way back is the way one came.
    await line.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Another dashboard")).to_be_visible()
    await expect(page.get_by_role("article", name="Thread of Bob Baker")).to_be_focused()
    await expect(bell(page).last).to_have_accessible_name("Inbox")
    await page.keyboard.press("Escape")
    await expect(line).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(bell(page)).to_be_focused()

    # A page that shows it itself is asked first.
    await page.evaluate(
        "panel.addEventListener('collab-open', e => (e.preventDefault(), window.asked = e.detail))"
    )
    await page.keyboard.press("Enter")
    await line.click()
    await expect(bell(page)).to_be_focused()
    assert await page.evaluate("asked.topic") == STOCK


@needs_chromium
async def test_no_line_of_the_inbox_moves_under_the_pointer(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    for number in range(2):
        await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} number {number}"})
    page = await site.open("ann")
    await bell(page).click()
    await expect(lines(page)).to_have_count(2)
    await lines(page).first.hover()
    before = await lines(page).first.bounding_box()
    await page.get_by_role("button", name="Mark as read: Bob Baker").first.click()
    await expect(page.get_by_role("button", name="Mark as read: Bob Baker")).to_have_count(1)
    await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} number 2"})
    await expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert await lines(page).first.bounding_box() == before
    await expect(lines(page).first).to_contain_text("number 1")
    await page.get_by_role("button", name="1 new").click()
    await expect(lines(page).first).to_contain_text("number 2")
    await expect(lines(page).first).to_be_focused()
    # What is told of one thread is one line.
    root = await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} number 3"})
    more = {"topic": STOCK, "text": f"{TO_ANN} number 4", "replyTo": root["comment"]["id"]}
    await (await site.node.client(0, "carol")).call("comment.add", more)
    await page.get_by_role("button", name="1 new").click()
    await expect(lines(page)).to_have_count(4)
    for said in ("Carol Chen and Bob Baker", "number 4", "1 more"):
        await expect(lines(page).first).to_contain_text(said)
    await page.get_by_role("button", name="Mark all as read").click()
    await expect(page.locator(".note.unread")).to_have_count(0)


@needs_chromium
async def test_what_comes_later_and_does_not_come_is_asked_for_again(site: Site, topic: str) -> None:
    await site.context.route("**/later.js", lambda route: route.abort())
    page = await site.open("ann")
    await expect(composer(page)).to_be_visible()
    discussions = page.get_by_role("button", name="Discussions")
    await discussions.click()
    await expect(page.locator(".toast")).to_contain_text("could not be loaded")
    await page.get_by_role("button", name="All").click()
    await expect(composer(page)).to_be_visible()
    await site.context.unroute("**/later.js")
    await discussions.click()
    await expect(page.get_by_text("No private discussions yet.")).to_be_visible()
    await expect(discussions).to_be_focused()


@needs_chromium
async def test_a_private_discussion_from_its_beginning_to_the_end(site: Site, topic: str) -> None:
    ann, bob, other = [await site.open(who) for who in ("ann", "bob", "ann")]
    for window in (ann, other):
        await window.get_by_role("button", name="Discussions").click()
    await expect(other.get_by_text("No private discussions yet.")).to_be_visible()
    await ann.get_by_role("button", name="New discussion").click()
    await expect(ann.get_by_role("textbox", name="Name")).to_be_focused()
    await ann.keyboard.type("Board figures")
    await ann.keyboard.press("Tab")
    await ann.keyboard.type("bob")
    await expect(ann.get_by_role("option", name="Bob Baker")).to_be_visible()
    await ann.keyboard.press("Enter")
    await ann.keyboard.press("Tab")
    await ann.keyboard.type("What do we **tell** the board?")
    await ann.get_by_role("button", name="Begin").press("Enter")
    await expect(ann.get_by_role("heading", name="Board figures")).to_be_visible()
    await expect(comments(ann)).to_contain_text("What do we tell the board?")  # formatted, as any comment
    await expect(lines(other)).to_contain_text("Board figures")
    await other.close()

    # Bob finds it in his inbox, and answers.
    await expect(bell(bob)).to_have_accessible_name("Inbox, 1 unread")
    await bell(bob).click()
    await expect(lines(bob)).to_contain_text("invited you")
    await lines(bob).click()
    await composer(bob).last.fill("The truth.")
    await composer(bob).last.press("Control+Enter")
    await expect(comments(ann).filter(has_text="The truth.")).to_be_visible()
    await bob.locator(".room:not([inert]) .more-button").click()
    await expect(bob.get_by_role("menuitem", name="Delete for everybody")).to_have_count(0)
    await bob.keyboard.press("Escape")

    # Its owner names it anew, having seen what it is called by then, and removes him while he reads.
    await ann.get_by_role("button", name="Bob Baker and you").click()
    field = ann.get_by_role("textbox", name="Name")
    await field.fill("Figures of the board")
    elsewhere = await site.node.client(0, "ann")
    [found] = (await elsewhere.call("discussion.list", {}))["items"][:1]
    await elsewhere.call("discussion.rename", {"discussionId": found["id"], "name": "Board, March"})
    await expect(bob.get_by_role("heading", name="Board, March")).to_be_visible()
    await field.press("Enter")
    await expect(ann.get_by_role("alert")).to_contain_text("changed meanwhile")
    await expect(ann.locator(".members-room bdi").first).to_have_text("Board, March")
    await expect(field).to_have_value("Figures of the board")
    await field.press("Enter")
    await expect(ann.get_by_role("alert")).to_have_count(0)
    await expect(bob.get_by_role("heading", name="Figures of the board")).to_be_visible()
    await ann.get_by_role("button", name="Options for Bob Baker").click()
    await ann.get_by_role("menuitem", name="Remove").click()
    await expect(bob.get_by_role("alert")).to_contain_text("This discussion is closed to you.")
    await expect(bob.get_by_text("What do we tell the board?")).to_have_count(0)
    await bob.get_by_role("button", name="Back").click()
    await expect(bob.get_by_text("Nothing here yet.")).to_be_visible()

    # Deleting it can be undone; it is not, and it is gone.
    await ann.keyboard.press("Escape")
    await ann.keyboard.press("Escape")
    for is_undone in (True, False):
        await lines(ann).first.click()
        await ann.locator(".room:not([inert]) .more-button").click()
        await ann.get_by_role("menuitem", name="Delete for everybody").click()
        await expect(ann.get_by_role("button", name="Undo")).to_be_focused()
        if is_undone:
            await ann.keyboard.press("Enter")
            await expect(ann.get_by_role("button", name="Undo")).to_have_count(0)
    assert await ann.evaluate(LEFT), "who leaves the page while it waits has deleted it"
    await expect(ann.get_by_text("No private discussions yet.")).to_be_visible()


@needs_chromium
async def test_what_is_to_be_done_soon_is_done_though_something_was_said_before(site: Site) -> None:
    bob, ann = await site.node.client(0, "bob"), await site.node.client(0, "ann")
    made = await bob.call("discussion.create", {"name": "Ours", "members": [ANN]})
    await bob.call("comment.add", {"topic": made["discussion"]["topic"], "text": "Well?"})
    page = await site.open("ann")
    await page.get_by_role("button", name="Discussions").click()
    await lines(page).click()
    await page.get_by_role("button", name="More for the comment of Bob Baker").press("Enter")
    await page.get_by_role("menuitem", name="Copy link").press("Enter")
    await expect(page.locator(".toast")).to_be_visible()
    await page.locator(".room:not([inert]) .more-button").click()
    await page.get_by_role("menuitem", name="Leave").click()
    await expect(page.get_by_role("button", name="Undo")).to_be_visible()

    async def is_left() -> bool:
        return not (await ann.call("discussion.list", {}))["items"]

    await until(is_left, 20)


@needs_chromium
async def test_a_search_finds_here_and_everywhere_and_gives_back_the_focus(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    await bob.call("comment.add", {"topic": STOCK, "text": "The Märzzahlen of the shelves"})
    for text in ("Of march", f"{TO_ANN} about <i>MÄRZZAHLEN</i> 😀 again"):
        await bob.call("comment.add", {"topic": topic, "text": text})
    page = await site.open("ann")
    thread = page.get_by_role("article", name="Thread of Bob Baker").last
    await thread.focus()
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("marzz")
    await expect(lines(page)).to_have_count(1)
    await expect(lines(page)).to_contain_text("@Ann Archer about <i>MÄRZZAHLEN</i> 😀 again")
    await expect(page.locator("mark")).to_have_text("MÄRZZ")
    await page.get_by_role("button", name="Everywhere").click()
    await expect(lines(page)).to_have_count(2)
    await page.get_by_role("searchbox").focus()
    await page.keyboard.press("Escape")
    await expect(thread).to_be_focused()
    await page.keyboard.press("/")
    await page.keyboard.type("nowhere")
    await expect(page.get_by_text("Nothing found.")).to_be_visible()
    await page.get_by_role("searchbox").fill("marzz")
    await expect(lines(page)).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(comments(page).filter(has_text="MÄRZ").first).to_have_class(re.compile("shown"))
    await expect(thread).to_be_focused()


@needs_chromium
async def test_what_was_found_in_the_open_topic_is_gone_through_one_after_the_other(
    site: Site, topic: str
) -> None:
    bob = await site.node.client(0, "bob")
    for text in ("First shelf", "Second shelf", "Of something else"):
        await bob.call("comment.add", {"topic": topic, "text": text})
    page = await site.open("ann")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("searchbox").fill("shelf")
    await expect(lines(page)).to_have_count(2)
    back = page.locator(".room:not([inert]) button.back")
    for number, text in enumerate(("Second shelf", "First shelf")):
        line = lines(page).nth(number)
        await expect(line).to_contain_text(text)
        await line.press("Enter")
        await expect(comments(page).filter(has_text=text)).to_have_class(re.compile("shown"))
        await expect(page.get_by_role("article", name=text)).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(line).to_be_focused()
    # From elsewhere one comes back to what was found, too, and the magnifier leads to a new search.
    await lines(page).first.press("Enter")
    await expect(page.get_by_role("article", name="Second shelf")).to_be_focused()
    await bell(page).press("Enter")
    await page.keyboard.press("Escape")
    await expect(bell(page)).to_be_focused()
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await expect(page.get_by_role("searchbox")).to_have_value("shelf")
    await page.keyboard.press("Escape")
    await expect(composer(page)).to_be_visible()
    await expect(back).to_have_count(0)


@needs_chromium
async def test_who_leaves_a_discussion_leaves_what_they_have_found_in_it_too(site: Site) -> None:
    bob = await site.node.client(0, "bob")
    made = await bob.call("discussion.create", {"name": "Ours", "members": [ANN]})
    await bob.call("comment.add", {"topic": made["discussion"]["topic"], "text": "the shelf of the East"})
    page = await site.open("ann")
    await expect(composer(page)).to_be_visible()
    await page.evaluate("topic => panel.open(topic)", made["discussion"]["topic"])
    top = page.locator(".room:not([inert])")
    await expect(comments(page).filter(has_text="the East")).to_be_visible()
    await top.get_by_role("button", name="Search").press("Enter")
    await page.get_by_role("searchbox").fill("shelf")
    await lines(page).first.press("Enter")
    await expect(page.get_by_role("article", name="Thread of Bob Baker")).to_be_focused()
    await top.locator(".more-button").click()
    await page.get_by_role("menuitem", name="Leave").click()
    await expect(page.get_by_role("button", name="Undo")).to_be_focused()
    await expect(top.get_by_role("searchbox")).to_have_count(0)
    await expect(composer(page)).to_be_visible()
    assert await page.locator("collab-panel .room").count() == 1


@needs_chromium
async def test_what_one_marks_follows_and_mutes_is_so_on_all_devices(site: Site, topic: str) -> None:
    bob, ann = await site.node.client(0, "bob"), await site.node.client(0, "ann")
    texts = ("one", "two", "three")
    added = [(await bob.call("comment.add", {"topic": topic, "text": text}))["comment"] for text in texts]
    page, other = await site.open("ann"), await site.open("ann")
    await page.bring_to_front()
    await until(lambda: _unread(ann, topic, 0), 20)

    async def choose(number: int, item: str) -> None:
        await page.get_by_role("button", name="More for the comment of Bob Baker").nth(number).focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("menuitem", name=item).press("Enter")

    await choose(1, "Mark unread from here")
    await until(lambda: _unread(ann, topic, 2), 20)
    for each in (page, other):
        await expect(each.get_by_role("img", name="2 unread comments")).to_be_visible()
    await choose(0, "Follow this thread")
    await choose(2, "Mute this thread")
    for each in (page, other):
        await expect(each.get_by_role("img", name="You follow this thread")).to_be_visible()
        await expect(each.get_by_role("img", name="You have muted this thread")).to_be_visible()
    # It stays unread while one looks, and one hears of what one follows alone.
    await bob.call("comment.add", {"topic": topic, "text": f"{TO_ANN}!", "replyTo": added[2]["id"]})
    await bob.call("comment.add", {"topic": topic, "text": "again", "replyTo": added[0]["id"]})
    await expect(bell(page)).to_have_accessible_name("Inbox, 1 unread")
    assert await _unread(ann, topic, 4)


async def _unread(person: object, topic: str, count: int) -> bool:
    counts = await person.call("topic.get", {"topic": topic})  # type: ignore[attr-defined]
    return bool(counts["unread"] == count)


@needs_chromium
async def test_of_a_long_thread_and_a_long_list_only_what_is_near_is_in_the_document(
    site: Site, topic: str
) -> None:
    bob = await site.node.client(0, "bob")
    root = (await bob.call("comment.add", {"topic": topic, "text": "the root"}))["comment"]["id"]
    replies = [{"topic": topic, "text": f"reply {number}", "replyTo": root} for number in range(120)]
    others = [{"topic": topic, "text": f"other {number}"} for number in range(60)]
    added = await asyncio.gather(*(bob.call("comment.add", each) for each in (*replies, *others)))
    ann = await site.node.client(0, "ann")
    await ann.call("topic.read", {"topic": topic, "seq": 10_000})
    page = await site.open("ann")
    await expect(comments(page)).to_have_count(50)
    # Who is at the very top when older ones come is not stuck there.
    older = "list => (list.scrollTop = 0, client.topic(panel.topic).snapshot().threads.length)"
    await until(lambda: _is_more(page, older, 60), 20)
    await until(lambda: _is_more(page, "list => list.scrollTop", 0), 20)

    third = added[3]["comment"]
    await page.evaluate("id => panel.show(id)", third["id"])
    await expect(comments(page).filter(has_text=third["text"]).first).to_be_in_viewport()
    thread = page.locator(f'[data-thread="{root}"]')
    assert await thread.locator("[data-comment]").count() < 80
    await thread.get_by_role("button", name="later replies").click()
    await expect(thread.get_by_role("button", name="later replies")).to_have_accessible_name(
        re.compile(r"^\d{1,2} later")
    )
    assert await thread.locator("[data-comment]").count() < 115
    await expect(thread).to_be_focused()


async def _is_more(page: Page, script: str, count: int) -> bool:
    return bool(await page.locator("div.list").evaluate(script) > count)


@needs_chromium
async def test_five_hundred_badges_share_one_question_and_a_bell_works_anywhere(
    site: Site, topic: str
) -> None:
    bob = await site.node.client(0, "bob")
    page = await site.open("ann")
    await expect(composer(page)).to_be_visible()
    await page.evaluate(
        """topic => {
          const ask = client.ask.bind(client);
          window.asked = 0;
          client.ask = (name, ...more) => ((asked += name === "topic.anchors"), ask(name, ...more));
          document.querySelector("main").innerHTML = "<collab-bell></collab-bell>" + Array.from(
            { length: 500 }, (_, n) => `<collab-badge topic="${topic}" anchor='{"pageKey":"K${n}"}'></collab-badge>`
          ).join("");
        }""",
        topic,
    )
    for number in (7, 7, 499):
        await bob.call("comment.add", {"topic": topic, "text": "here", "anchor": {"pageKey": f"K{number}"}})
    badges = page.locator("collab-badge").get_by_role("img")
    await expect(badges).to_have_count(2)
    await expect(badges.first).to_have_accessible_name(re.compile("2 open threads"))
    assert await page.evaluate("asked") < 20

    await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} shelf 7"})
    opener = page.locator("collab-bell button.bell")
    await expect(opener).to_have_accessible_name("Inbox, 1 unread")
    await opener.press("Enter")
    dialog = page.get_by_role("dialog", name="Inbox")
    await expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(opener).to_be_focused()
    # What is chosen in it is shown by the panel of the page.
    await opener.press("Enter")
    await dialog.locator("button.line").first.click()
    await expect(dialog).to_have_count(0)
    await expect(comments(page).filter(has_text="shelf 7")).to_be_visible()


@needs_chromium
async def test_who_leaves_what_a_bell_of_the_page_has_opened_is_at_the_bell_again(site: Site) -> None:
    bob = await site.node.client(0, "bob")
    made = await bob.call("discussion.create", {"name": "Ours", "members": [ANN]})
    page = await site.open("ann")
    await page.evaluate("document.querySelector('main').innerHTML = '<collab-bell></collab-bell>'; null")
    opener = page.locator("main button.bell")
    await bob.call(
        "comment.add", {"topic": made["discussion"]["topic"], "text": f"{TO_ANN} the figures of the East"}
    )
    for is_searching in (False, True):
        if is_searching:
            await page.get_by_role("button", name="Search comments").press("Enter")
            await expect(page.get_by_role("searchbox")).to_be_focused()
        await opener.press("Enter")
        await page.locator("collab-bell button.line").filter(has_text="the East").press("Enter")
        await expect(page.locator("[data-thread]").filter(has_text="the East")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(opener).to_be_focused()


@needs_chromium
async def test_whoever_goes_to_a_line_as_soon_as_a_bell_shows_it_stays_there(site: Site) -> None:
    bob = await site.node.client(0, "bob")
    page = await site.open("ann")
    await page.evaluate("document.querySelector('main').innerHTML = '<collab-bell></collab-bell>'; null")
    opener = page.locator("main button.bell")
    await bob.call("comment.add", {"topic": site.topic, "text": f"{TO_ANN} the figures of the East"})
    line = page.locator("collab-bell button.line").filter(has_text="the East")
    await opener.press("Enter")
    await expect(line).to_be_visible()
    await page.keyboard.press("Escape")
    # What follows once it is painted comes after that.
    is_there = """async () => {
        const inside = document.querySelector("collab-bell").shadowRoot;
        inside.querySelector(".bell").click();
        for (let turn = 0; turn < 100 && !inside.querySelector(".line"); turn += 1) await null;
        inside.querySelector(".line").focus();
        const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        for (let frame = 0; frame < 3; frame += 1) await painted();
        return inside.activeElement === inside.querySelector(".line");
    }"""
    assert await page.evaluate(is_there)


@needs_chromium
async def test_every_tab_and_all_initials_are_in_sight_on_a_telephone(
    site: Site, browser: Browser, topic: str
) -> None:
    people = [await site.node.client(0, who) for who in ("bob", "carol", "dan", "eve", "admin")]
    for each in people:
        await each.call("topic.subscribe", {"topic": topic})
    carol = {"kind": "user", "id": "C33C0000000000000000000000000003"}
    await people[0].call("discussion.create", {"name": "Ours", "members": [ANN, carol], "text": "One"})
    phone = await browser.new_context(
        viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True, locale="en-GB"
    )
    for lang, dir in (("en", "ltr"), ("de", "ltr"), ("ar", "rtl")):
        page = await replace(site, context=phone).open("ann", lang=lang, dir=dir)
        await expect(page.locator(".filters .count")).to_have_count(1)
        await page.locator(".filters .tab").last.tap()
        await expect(lines(page)).to_have_count(1)
        for tab in await page.locator(".filters .tab").all():
            await expect(tab).to_be_in_viewport(ratio=1)
        await expect(page.locator(".present .avatar")).to_have_count(4)
        await expect(page.locator(".faces .avatar")).to_have_count(2)
        assert await page.evaluate(COVERED) == []
    await phone.close()


@needs_chromium
async def test_what_is_wanted_is_in_sight_on_a_small_screen(site: Site, browser: Browser) -> None:
    phone = await browser.new_context(
        viewport={"width": 360, "height": 430}, has_touch=True, is_mobile=True, locale="en-GB"
    )
    ann = await replace(site, context=phone).open("ann")
    for number in range(3):
        await say(ann, f"Thought {number}")
    await ann.get_by_role("button", name="Options").tap()
    await ann.get_by_role("menuitem", name="Keys").tap()
    await expect(ann.locator(".keys")).to_be_in_viewport(ratio=1)
    await expect(composer(ann)).to_be_in_viewport(ratio=1)
    await ann.locator(".keys").get_by_role("button", name="Close").tap()

    # Where a reply grows, what sends it stays there.
    await ann.get_by_role("button", name="Reply to Ann Archer: Thought 2").tap()
    reply = ann.get_by_role("textbox", name="Reply to Ann Archer")
    await reply.press_sequentially("One")
    for line in range(4):
        await reply.press("Enter")
        await reply.press_sequentially(f"line {line}")
        await expect(ann.get_by_role("button", name="Reply: Reply to Ann Archer")).to_be_in_viewport(ratio=1)

    # Also where it is so low that all of the panel scrolls.
    await ann.set_viewport_size({"width": 740, "height": 360})
    heights = "all => all.map(icon => icon.getBoundingClientRect().height)"
    assert await ann.locator(".thread .forms .icon").evaluate_all(heights) == [16] * 4
    await phone.close()


@needs_chromium
async def test_with_forced_colors_one_sees_what_is_chosen_what_can_be_pressed_and_where_one_is(
    site: Site, topic: str
) -> None:
    carol = await site.node.client(0, "carol")
    await carol.call("topic.subscribe", {"topic": topic})
    ann = await site.open("ann")
    await ann.emulate_media(forced_colors="active")
    await expect(ann.get_by_role("img", name="Carol Chen")).to_be_visible()

    async def color(place: str) -> str:
        return str(await ann.locator(place).evaluate("it => getComputedStyle(it).color"))

    send = ".foot .send"
    await composer(ann).focus()
    before = await color(send)
    await composer(ann).press_sequentially("@Car")
    assert await color(send) != before
    chosen = '.people [aria-selected="true"]'
    await expect(ann.locator(f"{chosen} .quiet")).to_have_text("here now")
    assert await color(f"{chosen} .quiet") == await color(chosen)
    # A shadow is not drawn there.
    await expect(ann.locator(".foot .composer")).to_have_css("outline-style", "solid")


COVERED = """() => {
  const { shadowRoot } = document.querySelector("collab-panel");
  return [...shadowRoot.querySelectorAll(".avatar")].filter((avatar) => {
    const letters = new Range();
    letters.selectNodeContents(avatar);
    const { left, right, top, bottom } = letters.getBoundingClientRect();
    const points = [left, right - 1].flatMap((x) => [top + 3, bottom - 3].map((y) => [x, y]));
    return points.some((point) => shadowRoot.elementFromPoint(...point) !== avatar);
  }).map(({ textContent }) => textContent);
}"""


@needs_chromium
async def test_axe_finds_nothing_in_any_room(site: Site, tmp_path: Path, topic: str) -> None:
    install_for_node(tmp_path, ["axe-core@4"])
    axe = (tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text()
    bob = await site.node.client(0, "bob")
    await bob.call("comment.add", {"topic": STOCK, "text": f"{TO_ANN} look"})
    content = {"projectId": topic.split(":")[1], "objectId": topic.split(":")[2]}
    await bob.call("share", {"content": content, "recipients": [ANN], "message": "", "viewState": {"a": 1}})
    await bob.call(
        "discussion.create", {"name": "N" * 200, "members": [ANN], "about": content, "text": "x " * 2000}
    )

    async def check(page: Page, state: str) -> None:
        for scheme in schemes:
            await page.emulate_media(
                color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
            )
            found = await page.evaluate(
                "async () => (await axe.run({ resultTypes: ['violations'] })).violations"
            )
            said = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]
            assert not said, (state, scheme)
        for width in (390, 1280):
            await page.set_viewport_size({"width": width, "height": 800})
            rooms = page.locator(".room")
            assert await rooms.evaluate_all("all => all.every(e => e.scrollWidth <= e.clientWidth)"), state

    schemes = ["light", "dark"]
    for dir, lang in (("ltr", "en"), ("rtl", "de")):
        page = await site.open("ann", dir=dir, lang=lang)
        await page.evaluate(axe)
        await bell(page).click()
        await expect(lines(page)).to_have_count(3)
        await check(page, "inbox")
        await page.keyboard.press("Escape")
        await page.locator(".filters .tab").last.click()
        await expect(lines(page)).to_have_count(1)
        await check(page, "discussions")
        await page.locator(".wide").click()
        await page.locator(".picker input").fill("bob")
        await expect(page.get_by_role("option")).not_to_have_count(0)
        await check(page, "a new discussion")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Escape")
        await lines(page).first.click()
        await expect(page.locator(".who")).to_be_visible()
        await check(page, "a discussion")
        await page.locator(".who").click()
        await expect(page.locator(".member")).to_have_count(2)
        await check(page, "members")
        await page.keyboard.press("Escape")
        await page.locator(".room:not([inert]) [data-thread]").first.focus()
        await page.keyboard.press("/")
        await page.keyboard.type("x")
        await expect(page.locator("mark")).not_to_have_count(0)
        await check(page, "search")
        schemes = ["dark"]  # the colours are the same in both directions
