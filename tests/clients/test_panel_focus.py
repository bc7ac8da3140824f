"""Where the focus of the panel goes: along with what one does, near to what goes, never to who is elsewhere."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.clients.panels import PATIENCE_MS, Site, comments, composer, say
from tests.faults.proxy import Proxy
from tests.harness.browsers import needs_chromium
from tests.harness.clients import Client
from tests.harness.waiting import until
from tests.integration.scene import ANN, BOB, users

expect.set_options(timeout=PATIENCE_MS)
pytestmark = needs_chromium

OWN = "document.querySelector('main').innerHTML = '<input id=own><iframe srcdoc=\"<input>\"></iframe>'; null"


async def add(client: Client, topic: str, count: int, **more: str) -> str:
    """So many comments; the id of the first."""
    ids = [
        (await client.call("comment.add", {"topic": topic, "text": f"thought {number}", **more}))["comment"][
            "id"
        ]
        for number in range(count)
    ]
    return str(ids[0])


async def scrolled(page: Page) -> int:
    """How far down the list is."""
    return int(await page.evaluate("panel.shadowRoot.querySelector('.list').scrollTop"))


async def test_who_goes_elsewhere_before_the_page_is_drawn_anew_stays_there(site: Site) -> None:
    """A page that is busy draws late; the focus is not to go back then to what one has left."""
    ann = await site.open("ann")
    await ann.evaluate(OWN)
    await say(ann, "A thought")
    frame = ann.frame_locator("iframe").locator("input")
    for elsewhere in (composer(ann), ann.locator("#own"), frame):
        await ann.get_by_role("button", name="More for the comment of Ann Archer").press("Enter")
        await ann.get_by_role("menuitem", name="Edit").press("Enter")
        field = ann.get_by_role("textbox", name="Edit your comment")
        await expect(field).to_be_focused()
        await ann.evaluate(
            "late = []; real = requestAnimationFrame; requestAnimationFrame = (draw) => late.push(draw); null"
        )
        await field.press("Escape")
        await expect(field).to_have_count(0)
        await elsewhere.press("a")
        assert await ann.evaluate("requestAnimationFrame = real, late.splice(0).map((draw) => draw()).length")
        await expect(elsewhere).to_be_focused()


async def test_who_writes_while_earlier_replies_are_fetched_goes_on_writing(
    site: Site, way: Proxy, topic: str
) -> None:
    bob, me = await site.node.client(0, "bob"), await site.node.client(0, "ann")
    first = await add(bob, topic, 1)
    await add(bob, topic, 110, replyTo=first)
    await me.call("topic.read", {"topic": topic, "seq": 111})  # nothing is loaded for being unread
    ann = await site.open("ann")
    earlier = ann.get_by_role("button", name="earlier replies")
    before = await earlier.inner_text()
    way.delay(1, "down")
    await earlier.press("Enter")
    await composer(ann).press_sequentially("Where")
    await expect(earlier).not_to_have_text(before)
    await ann.keyboard.type(" are we?")
    await expect(composer(ann)).to_have_value("Where are we?")


async def test_the_focus_goes_along_to_a_comment_of_the_inbox_unless_one_is_elsewhere_when_it_comes(
    site: Site, way: Proxy
) -> None:
    bob = await site.node.client(0, "bob")
    made = await bob.call("discussion.create", {"name": "Ours", "members": users(ANN)})
    there = made["discussion"]["topic"]
    await bob.call("comment.add", {"topic": there, "text": f"@[Ann Archer](user:{ANN}) Look"})
    ann = await site.open("ann")
    await ann.evaluate(OWN)
    await ann.get_by_role("button", name="Inbox").click()
    line = ann.locator(".line").filter(has_text="Look")
    await line.press("Enter")
    thread = ann.locator(".room:not([inert]) [data-thread]")
    await expect(thread).to_be_focused()
    await ann.locator(".room:not([inert]) button.back").press("Enter")
    await expect(line).to_be_focused()
    await ann.reload()
    await ann.evaluate(OWN)
    await ann.get_by_role("button", name="Inbox").click()
    await expect(line).to_be_visible()
    way.delay(1, "down")
    await line.press("Enter")
    await ann.locator("#own").press("a")
    await expect(thread).to_be_visible()
    await expect(ann.locator(".comment.shown")).to_be_visible()
    await expect(ann.locator("#own")).to_be_focused()


async def test_what_goes_leaves_the_focus_near_to_where_it_was(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    await add(bob, topic, 30)
    ann = await site.open("ann")
    unread = ann.get_by_role("button", name="Unread")
    await unread.click()
    await ann.get_by_role("button", name="Mark all as read").press("Enter")
    await expect(unread).to_be_focused()
    await expect(unread).not_to_contain_text("30")
    await ann.get_by_role("button", name="All", exact=True).click()

    # Of what was refused nothing is left; the list stays where it is.
    await composer(ann).fill("Something")
    await until(lambda: scrolled(ann))
    await ann.evaluate("client.topic(panel.topic).add({ text: 'x'.repeat(30_000) }).catch(() => {}); null")
    discard = ann.get_by_role("button", name="Discard")
    await discard.focus()
    await ann.keyboard.press("Enter")
    await expect(discard).to_have_count(0)
    await expect(ann.locator("[data-thread]").last).to_be_focused()
    assert await scrolled(ann)

    # A button that leads to new comments goes once one is there.
    await ann.evaluate("panel.shadowRoot.querySelector('.list').scrollTop = 0")
    await ann.locator(".pill").press("Enter")
    await expect(ann.locator(".pill")).to_have_count(0)
    await expect(ann.locator("[data-thread]").last).to_be_focused()


async def test_who_thinks_again_of_leaving_is_where_they_were(site: Site) -> None:
    owner = await site.node.client(0, "bob")
    for name in ("Ours", "Theirs"):
        await owner.call("discussion.create", {"name": name, "members": users(ANN)})
    ann = await site.open("ann")
    await ann.get_by_role("button", name="Discussions").press("Enter")
    line = ann.locator(".line").filter(has_text="Ours")
    await line.press("Enter")
    await ann.locator(".room:not([inert])").get_by_role("button", name="Options").press("Enter")
    await ann.get_by_role("menuitem", name="Leave").press("Enter")
    await expect(ann.get_by_role("button", name="Undo")).to_be_focused()
    await ann.keyboard.press("Enter")
    await expect(line).to_be_focused()


async def test_what_is_unread_begins_where_it_begins(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    await add(bob, topic, 30)
    ann = await site.open("ann")
    await ann.locator(".pill").click()
    await ann.evaluate("panel.shadowRoot.querySelector('.list').scrollTop = 1e6")
    await expect(comments(ann).last).to_be_in_viewport()
    await ann.get_by_role("button", name="Unread").click()
    await expect(comments(ann).first).to_be_in_viewport()


async def test_a_button_whose_work_is_done_keeps_the_focus(site: Site, topic: str) -> None:
    owner = await site.node.client(0, "ann")
    made = await owner.call("discussion.create", {"name": "Ours", "members": users(BOB)})
    ann = await site.open("ann", topic=made["discussion"]["topic"])
    await ann.locator(".who").click()
    await ann.get_by_label("Name").fill("Yours")
    save = ann.get_by_role("button", name="Save")
    await save.press("Enter")
    await expect(ann.locator(".unseen", has_text="renamed")).to_have_count(1)
    await expect(save).to_have_attribute("aria-disabled", "true")
    await expect(save).to_be_focused()


async def test_enter_opens_a_thread_that_is_folded(site: Site) -> None:
    ann = await site.open("ann")
    await say(ann, "A thought")
    thread = ann.get_by_role("article")
    await thread.focus()
    await ann.keyboard.press("e")
    await expect(ann.locator(".fold")).to_be_visible()
    await expect(thread).to_be_focused()
    await ann.keyboard.press("Enter")
    await expect(comments(ann).filter(has_text="A thought")).to_be_visible()
    await expect(thread).to_be_focused()
    # One that is open stays so, and what is a button in it does what it says.
    await ann.keyboard.press("Enter")
    await expect(ann.locator(".fold")).to_have_count(0)
    await ann.get_by_role("button", name="Fold").press("Enter")
    await expect(ann.locator(".fold")).to_be_focused()
    await ann.keyboard.press("Enter")
    await expect(ann.locator(".fold")).to_have_count(0)
    await expect(thread).to_be_focused()


async def test_a_thread_that_one_has_folded_opens_for_a_reply(site: Site) -> None:
    ann = await site.open("ann")
    await say(ann, "A thought")
    thread = ann.locator("[data-thread]")
    await thread.focus()
    await ann.keyboard.press("e")
    await expect(ann.locator(".fold")).to_be_visible()
    await ann.keyboard.press("r")
    await expect(ann.get_by_role("textbox", name="Reply to Ann Archer")).to_be_focused()
    await ann.keyboard.type("Once more")
    await ann.keyboard.press("Control+Enter")
    await expect(comments(ann).filter(has_text="Once more")).to_be_visible()
    await expect(ann.get_by_role("button", name="Reply to Ann Archer")).to_be_focused()


async def test_who_looks_up_a_key_is_where_they_were_once_the_keys_are_closed(site: Site) -> None:
    ann = await site.open("ann")
    await say(ann, "A thought")
    keys, options = ann.locator(".keys"), ann.locator(".more-button")
    thread = ann.locator("[data-thread]")
    await thread.focus()
    await ann.keyboard.press("?")
    await expect(keys).to_be_visible()
    await ann.keyboard.press("Escape")
    await expect(keys).to_have_count(0)
    await expect(thread).to_be_focused()
    await ann.keyboard.press("?")
    await expect(keys).to_be_visible()
    await composer(ann).press_sequentially("Where")
    await ann.keyboard.press("Escape")
    await expect(keys).to_have_count(0)
    await ann.keyboard.type(" are we?")
    await expect(composer(ann)).to_have_value("Where are we?")
    # With what closed them gone, the focus goes to what opens them.
    await thread.focus()
    await ann.keyboard.press("?")
    await keys.get_by_role("button", name="Close").focus()
    await ann.keyboard.press("Escape")
    await expect(keys).to_have_count(0)
    await expect(options).to_be_focused()


async def test_the_focus_stays_near_also_before_everything_of_the_panel_is_loaded(site: Site) -> None:
    await site.context.route("**/collab-panel/later.js", lambda route: route.abort())
    ann = await site.open("ann")
    await say(ann, "A thought")
    await ann.evaluate("client.topic(panel.topic).add({ text: 'x'.repeat(30_000) }).catch(() => {}); null")
    await ann.get_by_role("button", name="Discard").press("Enter")
    await expect(ann.locator("[data-thread]").last).to_be_focused()


async def test_the_keys_that_are_shown_are_all_there_are(site: Site) -> None:
    ann = await site.open("ann")
    await say(ann, "A thought")
    await ann.locator("[data-thread]").focus()
    await ann.keyboard.press("?")
    shown = await ann.locator(".keys kbd").all_inner_texts()
    assert shown[:7] == ["c", "j", "k", "r", "e", "/", "?"]
    assert shown[-2:] == ["Ctrl Enter", "Esc"]
    forms = await ann.evaluate(
        f"import('{site.node[0].url}/clients/collab-panel/composer.js').then((it) => [...it.FORM_KEYS.keys()])"
    )
    assert shown[7:-2] == [f"Ctrl {key.upper()}" for key in forms]
    for key in forms:
        await composer(ann).fill("A thought")
        await composer(ann).press("Control+A")
        await composer(ann).press(f"Control+{key}")
        await expect(composer(ann)).not_to_have_value("A thought")


async def test_nobody_is_looked_for_in_the_place_of_whom_one_has_chosen(site: Site, topic: str) -> None:
    carol = await site.node.client(0, "carol")
    await carol.call("topic.subscribe", {"topic": topic})
    ann = await site.open("ann")
    await expect(ann.get_by_role("img", name="Carol Chen")).to_be_visible()  # who is here is found at once
    people = ann.get_by_role("option")
    await composer(ann).press_sequentially("@Car")
    await people.filter(has_text="Carol Chen").click()
    await ann.get_by_role("button", name="List").click()
    await expect(composer(ann)).to_have_value("- @Carol Chen ")
    await composer(ann).press("Backspace")
    await expect(people).to_have_count(0)
    # Once it is not her name any more, somebody is.
    await composer(ann).press("Backspace")
    await expect(people.filter(has_text="Carol Chen")).to_be_visible()
