"""`<collab-panel>` in a real browser, in a page of another origin whose policy allows no inline style."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, ViewportSize, expect

from collab_server.web import CLIENTS
from tests.clients.languages import PLURALS, problems_of
from tests.clients.panels import PATIENCE_MS, Site, comments, composer, say
from tests.faults.proxy import Proxy
from tests.harness.axe import violations
from tests.harness.browsers import needs_chromium
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.node_js import node_binary
from tests.harness.waiting import until
from tests.integration.scene import ANN as A
from tests.integration.scene import BOB as B
from tests.integration.scene import users
from tests.integration.test_locked_elsewhere import locked

WORDS = CLIENTS["collab-panel"] / "src" / "words"
BOB = "@[Bob Baker](user:B22B0000000000000000000000000002)"
TOLD = """([oldValue, newValue]) => {
  const { comment } = panel.shadowRoot.querySelector("[data-comment]").dataset;
  const key = `collab-draft:${client.me.id}:${client.topic(panel.topic).name}:edit-${comment}`;
  dispatchEvent(new StorageEvent("storage", { key, oldValue, newValue }));
}"""
"""As a browser tells of what another window keeps of a change."""
COVERED = """() => {
  const root = panel.shadowRoot;
  const place = (element) => element.getBoundingClientRect();
  const [toast, menu] = [".toast", ".menu"].map((each) => place(root.querySelector(each)));
  const covered = [...root.querySelectorAll(".menu button")].filter((item) => {
    const { left, top, width, height } = place(item);
    return !item.contains(root.elementFromPoint(left + width / 2, top + height / 2));
  });
  const lies_at_it = toast.top < menu.bottom && toast.bottom > menu.top;
  return { lies_at_it, covered: covered.map((item) => item.textContent) };
}"""

expect.set_options(timeout=PATIENCE_MS)


ENGLISH = json.loads((WORDS / "en.json").read_text())


@pytest.mark.parametrize("language", PLURALS)
def test_a_language_has_every_sentence_with_its_values(language: str) -> None:
    words = json.loads((WORDS / f"{language}.json").read_text())
    problems = problems_of(language, words, ENGLISH)
    assert not problems, f"{len(problems)} sentences of {language}"


def test_every_file_of_words_is_a_language_that_is_offered() -> None:
    files = {file.stem for file in WORDS.glob("*.json")}
    offered = set(re.findall(r"\./words/(\w+)\.json", (WORDS.parent / "words.js").read_text()))
    assert files == offered == PLURALS.keys()


def test_a_sentence_that_a_language_lacks_is_english() -> None:
    script = """
const { Words, wordsOf } = await import(process.argv[1]);
const english = { "new.pill.one": "{count} new", "new.pill.other": "{count} new", undo: "Undo" };
const japanese = new Words("ja", { "new.pill.other": "新着 {count} 件" }, english);
console.log(JSON.stringify([
  japanese.say("new.pill", { count: 1 }), japanese.say("undo"), japanese.say("undo.of.nobody"),
  (await wordsOf("ar-EG")).say("new.pill", { count: 2 }), (await wordsOf("tlh")).say("undo"),
  (await wordsOf("not a language")).say("undo"), (await wordsOf("de-!")).say("undo"),
]));
"""
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", script, str(WORDS.parent / "words.js")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    expected = ["新着 1 件", "Undo", "undo.of.nobody", "تعليقان جديدان", "Undo", "Undo", "Rückgängig"]
    assert json.loads(done.stdout) == expected


async def _focused(page: Page) -> str:
    """The name of what has the focus, in the shadow."""
    script = "(e => e?.getAttribute('aria-label') ?? e?.textContent.trim())(panel.shadowRoot.activeElement)"
    return str(await page.evaluate(script))


@needs_chromium
async def test_two_people_talk_by_keyboard_alone(site: Site) -> None:
    ann, bob = await site.open("ann"), await site.open("bob")
    await expect(bob.get_by_text("No comments yet")).to_be_visible()
    await composer(ann).focus()
    await ann.keyboard.type("Look, @bob")
    await expect(ann.get_by_role("option", name="Bob Baker")).to_be_visible()
    assert await composer(ann).get_attribute("aria-activedescendant")
    await ann.keyboard.press("Enter")
    await ann.keyboard.type("why so high?")
    await ann.keyboard.press("Control+Enter")
    await expect(bob.locator(".mention.mine")).to_have_text("@Bob Baker")
    await expect(bob.locator(".text")).to_have_text("Look, @Bob Baker why so high?")

    # Bob goes to the thread, answers, and is where he was.
    await composer(bob).focus()
    await bob.keyboard.press("Shift+Tab")
    await bob.keyboard.press("k")
    said = "Look, @Bob Baker why so high?"
    assert await _focused(bob) in (f"Thread of Ann Archer: {said}", f"Thread of Ann Archer, unread: {said}")
    await bob.keyboard.press("r")
    await bob.keyboard.type("@")  # at once, and where there is no room above it
    await expect(bob.get_by_role("option").first).to_be_in_viewport(ratio=0.9)
    reply = bob.get_by_role("textbox", name="Reply to Ann Archer")
    await expect(reply).to_be_focused()
    await bob.keyboard.press("Backspace")
    # What ends a word of an input method neither closes what one writes nor sends it; Safari says so by the code alone.
    for composed in ({"isComposing": True}, {"keyCode": 229}):
        for key in ({"key": "Escape"}, {"key": "Enter", "ctrlKey": True}):
            await reply.dispatch_event("keydown", {**key, **composed})
    await expect(reply).to_be_focused()
    await bob.keyboard.type("The summer sale.")
    await bob.keyboard.press("Control+Enter")
    await expect(bob.get_by_role("button", name="Reply to Ann Archer")).to_be_focused()
    await expect(ann.locator(".replies").get_by_text("The summer sale.")).to_be_visible()

    # A reaction, by a menu that gives the focus back.
    opener = bob.get_by_role("button", name="React to the comment of Ann Archer")
    await opener.focus()
    await bob.keyboard.press("Enter")
    await bob.keyboard.press("ArrowRight")
    await bob.keyboard.press("Enter")
    await expect(ann.get_by_role("button", name="❤️ 1: Bob Baker")).to_be_visible()
    await expect(opener).to_be_focused()
    # Arrows go where they point: to the row below, and from right to left to the next one.
    await bob.keyboard.press("Enter")
    await bob.keyboard.press("ArrowDown")
    assert await _focused(bob) == "React with 👀"
    await bob.evaluate("document.documentElement.dir = 'rtl'")
    await bob.keyboard.press("ArrowLeft")
    assert await _focused(bob) == "React with 🙏"
    await bob.evaluate("document.documentElement.dir = ''")
    await bob.keyboard.press("Escape")
    await expect(opener).to_be_focused()

    # Bob resolves it; it is folded to who did so and how it begins, and Ann may open it again.
    await bob.get_by_role("button", name="Resolve the thread of Ann Archer").focus()
    await bob.keyboard.press("Enter")
    folded = bob.get_by_role("button", name="Resolved by Bob Baker")
    await expect(folded).to_contain_text("Look, @Bob Baker why so high?")
    await expect(ann.get_by_text("Resolved by Bob Baker")).to_be_visible()


@needs_chromium
async def test_what_changes_before_a_browser_has_painted_is_drawn(browser: Browser, cluster: Cluster) -> None:
    script = """async (panel) => {
      const { html, render } = await import(`${panel}/preact.js`);
      const { useStore } = await import(`${panel}/parts.js`);
      let value = "before";
      let tell = () => {};
      const store = { snapshot: () => value, subscribe: (listener) => ((tell = listener), () => {}) };
      const box = document.createElement("div");
      render(html`<${() => useStore(store)} />`, box);
      value = "after";
      tell();
      await new Promise((end) => setTimeout(end));
      return box.textContent;
    }"""
    page = await browser.new_page()
    shown = await page.evaluate(script, f"{cluster[0].url}/clients/collab-panel")
    await page.close()
    assert shown == "after"


@needs_chromium
async def test_what_is_said_at_the_end_lies_below_an_open_menu(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    for number in range(20):
        await bob.call("comment.add", {"topic": topic, "text": f"thought {number}"})
    ann = await site.open("ann")
    await ann.get_by_role("button", name="New").click()
    menu = ann.get_by_role("button", name="More for the comment of Bob Baker").last
    await menu.press("Enter")
    await ann.get_by_role("menuitem", name="Copy link").press("Enter")
    await expect(ann.locator(".toast")).to_be_visible()
    await menu.press("Enter")
    assert await ann.evaluate(COVERED) == {"lies_at_it": True, "covered": []}


@needs_chromium
async def test_people_edit_and_delete_what_is_theirs_and_may_think_again(site: Site, topic: str) -> None:
    ann, bob = await site.open("ann"), await site.open("bob")
    await say(ann, "A first thought")
    await expect(comments(bob)).to_have_count(1)
    # The first click out of the composer, which gets smaller, is at what one clicks at.
    await ann.get_by_role("button", name="Reply to Ann Archer").click()
    await expect(ann.get_by_role("textbox", name="Reply to Ann Archer")).to_be_focused()
    await ann.keyboard.press("Escape")
    await bob.get_by_role("button", name="More for the comment of Ann Archer").focus()
    await bob.keyboard.press("Enter")
    offered = await bob.get_by_role("menuitem").all_inner_texts()
    assert "Copy link" in offered
    assert not {"Edit", "Delete"} & {*offered}
    # Where a browser does not copy, nothing says that it did: the link is there.
    await bob.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await bob.get_by_role("menuitem", name="Copy link").press("Enter")
    await expect(bob.locator(".toast")).to_contain_text("collab=comment")

    menu = ann.get_by_role("button", name="More for the comment of Ann Archer")
    await menu.focus()
    await ann.keyboard.press("Enter")
    await ann.get_by_role("menuitem", name="Edit").press("Enter")
    await ann.get_by_role("textbox", name="Edit your comment").fill("A second thought")
    await ann.keyboard.press("Control+Enter")
    await expect(comments(bob)).to_contain_text("A second thought")
    await expect(comments(bob)).to_contain_text("edited")

    # What was changed in another window meanwhile is shown before it is replaced.
    other = await site.open("ann")
    fields = [window.get_by_role("textbox", name="Edit your comment") for window in (ann, other)]
    for window, field in zip((ann, other), fields, strict=True):
        await window.get_by_role("button", name="More for the comment of Ann Archer").press("Enter")
        await window.get_by_role("menuitem", name="Edit").press("Enter")
        await expect(field).to_have_value("A second thought")
    await fields[1].fill("A thought of the other window")
    await fields[1].press("Control+Enter")
    await expect(comments(bob)).to_contain_text("A thought of the other window")
    await expect(fields[0]).to_have_value("A thought of the other window")
    await fields[0].fill("A third thought")
    await fields[0].press("Control+Enter")
    await expect(comments(bob)).to_contain_text("A third thought")
    await other.close()

    for is_undone in (True, False):
        await menu.focus()
        await ann.keyboard.press("Enter")
        await ann.get_by_role("menuitem", name="Delete").press("Enter")
        await expect(ann.get_by_role("button", name="Undo")).to_be_focused()
        if is_undone:
            await ann.keyboard.press("Enter")
            await expect(comments(ann)).to_contain_text("A third thought")
    await expect(comments(bob)).to_contain_text("This comment was deleted")
    await expect(comments(ann)).not_to_contain_text("A third thought")


@needs_chromium
async def test_what_another_window_has_sent_is_seen_also_where_the_comment_was_here_before_that_was_told(
    site: Site, topic: str
) -> None:
    ann, elsewhere = await site.open("ann"), await site.node.client(0, "ann")
    await say(ann, "A first thought")
    await ann.get_by_role("button", name="More for the comment of Ann Archer").press("Enter")
    await ann.get_by_role("menuitem", name="Edit").press("Enter")
    field = ann.get_by_role("textbox", name="Edit your comment")
    await expect(field).to_have_value("A first thought")
    typed = json.dumps({"text": "A second thought", "whom": [], "of": "A first thought"})
    await ann.evaluate(TOLD, [None, typed])
    await expect(field).to_have_value("A second thought")
    [comment] = (await elsewhere.call("topic.comments", {"topic": topic}))["items"]
    await elsewhere.call("comment.edit", {"commentId": comment["id"], "text": "A second thought"})
    await expect(ann.get_by_role("textbox", name="Edit your comment: A second thought")).to_be_visible()
    await ann.evaluate(TOLD, [typed, None])
    await field.press("Control+Enter")
    await expect(field).to_have_count(0)
    await expect(comments(ann)).to_contain_text("A second thought")


@needs_chromium
async def test_what_the_server_cannot_store_yet_waits_for_that_and_not_for_the_connection(
    site: Site, topic: str
) -> None:
    ann = await site.open("ann")
    await say(ann, "before")
    async with locked(site.node, topic):
        await composer(ann).fill("meanwhile")
        await composer(ann).press("Control+Enter")
        await expect(ann.get_by_text("Kept here; sent as soon as it can be stored.")).to_be_visible()
    await expect(ann.get_by_text("Kept here")).to_have_count(0)
    await expect(comments(ann)).to_have_text([re.compile("before"), re.compile("meanwhile")])


@needs_chromium
async def test_words_are_safe_offline_over_a_reload_and_as_a_draft(
    site: Site, way: Proxy, topic: str
) -> None:
    bob = await site.node.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    ann = await site.open("ann")
    is_here = ann.get_by_role("img", name="Bob Baker")
    await expect(is_here).to_be_visible()
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline. What you write is kept and sent later.")).to_be_visible()
    await expect(is_here).to_have_count(0)
    for text in ("one", "two"):
        await composer(ann).fill(text)
        await composer(ann).press("Control+Enter")
    await expect(ann.get_by_text("Kept here; sent when the connection is back.")).to_have_count(2)
    await composer(ann).fill("half a thou")
    await ann.reload()
    way.heal()
    await expect(comments(ann)).to_have_text([re.compile("one"), re.compile("two")])
    await expect(ann.get_by_text("Kept here")).to_have_count(0)
    await expect(composer(ann)).to_have_value("half a thou")
    await expect(is_here).to_be_visible()
    stored = await bob.call("topic.comments", {"topic": topic})
    assert [comment["text"] for comment in stored["items"]] == ["one", "two"]


async def _begin_edit(page: Page, said: str) -> Locator:
    """The field of the comment of one's own that says so."""
    await comments(page).filter(has_text=said).locator(".menu-button").press("Enter")
    await page.get_by_role("menuitem", name="Edit").press("Enter")
    field = page.get_by_role("textbox", name="Edit your comment")
    await expect(field).to_have_value(said)
    return field


async def _begin_edit_again(page: Page) -> Locator:
    await comments(page).locator(".menu-button").press("Enter")
    await page.get_by_role("menuitem", name="Edit").press("Enter")
    return page.get_by_role("textbox", name="Edit your comment")


async def _says(client: Client, topic: str, text: str) -> bool:
    """Whether the first comment there says so."""
    stored = await client.call("topic.comments", {"topic": topic})
    return bool(stored["items"][0]["text"] == text)


@needs_chromium
async def test_windows_in_which_one_edits_the_same_comment_take_no_words_from_each_other(site: Site) -> None:
    ann = await site.open("ann")
    await say(ann, "The figures")
    other = await site.open("ann")
    here = await _begin_edit(ann, "The figures")
    there = await _begin_edit(other, "The figures")
    await here.press_sequentially(" of the North")
    await expect(there).to_have_value("The figures of the North")
    await there.press_sequentially(" are wrong")
    await expect(here).to_have_value("The figures of the North are wrong")
    await here.press("Control+Enter")
    await expect(comments(ann)).to_contain_text("The figures of the North are wrong")


@needs_chromium
async def test_what_one_edits_follows_what_it_says_until_one_has_changed_a_word(
    site: Site, topic: str
) -> None:
    elsewhere = await site.node.client(0, "ann")
    ann = await site.open("ann")
    await say(ann, "First")
    id = (await elsewhere.call("topic.comments", {"topic": topic}))["items"][0]["id"]

    async def write_elsewhere(text: str) -> None:
        await elsewhere.call("comment.edit", {"commentId": id, "text": text})

    alert = ann.get_by_role("alert")
    stands = ann.locator(".composer .text")
    field = await _begin_edit(ann, "First")
    await write_elsewhere(f"Second, {BOB}")
    await expect(field).to_have_value("Second, @Bob Baker")
    await field.press("End")
    await field.press_sequentially("!")
    await field.press("Backspace")  # and thought again
    await write_elsewhere("Third")
    await expect(field).to_have_value("Third")
    await expect(alert).to_have_count(0)

    await field.fill("Mine")
    for text in ("Fourth", "Fifth"):
        await write_elsewhere(text)
        await expect(stands).to_have_text(text)
        await expect(alert).to_contain_text("perhaps in another window. Now it says:")
        await expect(field).to_have_value("Mine")
    await ann.reload()
    field = await _begin_edit_again(ann)
    await expect(field).to_have_value("Mine")
    await expect(alert).to_contain_text("Now it says:")
    await field.press("Control+Enter")
    await expect(alert).to_contain_text("Save again to replace what it says now:")
    await write_elsewhere("Sixth")
    await expect(alert).to_contain_text("Now it says:")
    await field.press("Control+Enter")
    await expect(alert).to_contain_text("Save again")
    assert await _says(elsewhere, topic, "Sixth")
    await field.press("Control+Enter")
    await expect(ann.get_by_role("textbox", name="Edit")).to_have_count(0)
    await until(lambda: _says(elsewhere, topic, "Mine"))


@needs_chromium
async def test_the_name_that_one_edits_follows_until_one_has_changed_it(site: Site) -> None:
    elsewhere = await site.node.client(0, "ann")
    made = await elsewhere.call("discussion.create", {"name": "Plans", "members": users(B)})
    discussion = {"discussionId": made["discussion"]["id"]}
    ann = await site.open("ann", topic=made["discussion"]["topic"])
    await ann.get_by_role("button", name="Bob Baker and you").click()
    field = ann.get_by_role("textbox", name="Name")
    await field.fill("Plan")
    await field.fill("Plans")
    await elsewhere.call("discussion.rename", {**discussion, "name": "Other plans"})
    await expect(field).to_have_value("Other plans")
    await field.fill("My plans")
    await elsewhere.call("discussion.rename", {**discussion, "name": "Their plans"})
    await expect(ann.get_by_role("alert")).to_contain_text("Now it says:")
    await field.press("Enter")
    await expect(ann.get_by_role("alert")).to_contain_text("Save again")
    await field.press("Enter")
    await expect(ann.get_by_role("alert")).to_have_count(0)
    assert (await elsewhere.call("discussion.get", discussion))["name"] == "My plans"


async def _leaves(page: Page, states: list[str]) -> bool:
    """Whether what is left in the outbox is in these states."""
    return bool(await page.evaluate("client.outbox.snapshot().map(({ state }) => state)") == states)


@needs_chromium
async def test_an_edit_that_waited_and_what_was_written_meanwhile_are_both_kept(
    site: Site, way: Proxy, topic: str
) -> None:
    elsewhere = await site.node.client(0, "ann")
    ann = await site.open("ann")
    await say(ann, "First")
    id = (await elsewhere.call("topic.comments", {"topic": topic}))["items"][0]["id"]

    async def write_elsewhere(text: str) -> None:
        await elsewhere.call("comment.edit", {"commentId": id, "text": text})

    async def stands() -> str:
        return str((await elsewhere.call("comment.get", {"commentId": id}))["text"])

    alert = ann.get_by_role("alert")
    shown = comments(ann).locator("[part=text]")
    for mine, theirs in (("Of the train", "Meanwhile"), ("Of the bus", "Meanwhile, again")):
        await expect(ann.get_by_text("Sending")).to_have_count(0)
        said = await shown.inner_text()
        way.refuse()
        way.cut()
        await expect(ann.get_by_text("Offline.")).to_be_visible()
        field = await _begin_edit(ann, said)
        await field.fill(f"{mine} of @[Bob Baker](user:B22B0000000000000000000000000002)")
        await field.press("Control+Enter")
        await expect(ann.get_by_text("Kept here")).to_be_visible()
        await write_elsewhere(theirs)
        await ann.reload()
        way.heal()
        for _ in range(2):
            await expect(alert).to_contain_text("Not sent: it has changed meanwhile.")
            await expect(alert).to_contain_text(f"You wrote:{mine} of @Bob Baker")
            await expect(shown).to_have_text(theirs)
            await ann.reload()
        assert await stands() == theirs
        if theirs == "Meanwhile":
            # Once more, before one has decided: what stands then is replaced by what one has read.
            await write_elsewhere("Meanwhile, too")
            await expect(shown).to_have_text("Meanwhile, too")
            await alert.get_by_role("button", name="Edit").click()
            field = ann.get_by_role("textbox", name="Edit your comment")
            await expect(field).to_have_value(f"{mine} of @Bob Baker")
            await expect(alert).to_contain_text("Save again to replace what it says now:")
            await expect(ann.locator(".composer .text")).to_have_text("Meanwhile, too")
            await field.press("Escape")
            await alert.get_by_role("button", name="Replace what it says now").click()
            await expect(shown).to_have_text(f"{mine} of @Bob Baker")
        else:
            await alert.get_by_role("button", name="Discard").click()
        await expect(alert).to_have_count(0)
    assert await stands() == "Meanwhile, again"
    revisions = await elsewhere.call("comment.revisions", {"commentId": id})
    kept = ["First", "Meanwhile", "Meanwhile, too", f"Of the train of {BOB}", "Meanwhile, again"]
    assert [each["text"] for each in revisions["items"]] == kept


@needs_chromium
async def test_a_deletion_takes_along_no_words_that_were_written_meanwhile(
    site: Site, way: Proxy, topic: str
) -> None:
    elsewhere = await site.node.client(0, "ann")
    ann = await site.open("ann")
    await say(ann, "First")
    [comment] = (await elsewhere.call("topic.comments", {"topic": topic}))["items"]
    await comments(ann).locator(".menu-button").press("Enter")
    await ann.get_by_role("menuitem", name="Delete").press("Enter")
    await elsewhere.call("comment.edit", {"commentId": comment["id"], "text": "Meanwhile"})
    await expect(ann.get_by_role("alert")).to_contain_text("it has changed meanwhile.")
    await expect(comments(ann).locator("[part=text]")).to_have_text("Meanwhile")
    await ann.get_by_role("button", name="Retry").click()
    await expect(comments(ann)).to_contain_text("This comment was deleted")


@needs_chromium
async def test_one_may_delete_what_one_has_just_edited_before_that_is_sent(
    site: Site, way: Proxy, topic: str
) -> None:
    elsewhere = await site.node.client(0, "ann")
    ann = await site.open("ann")
    await say(ann, "First")
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    field = await _begin_edit(ann, "First")
    await field.fill("Second")
    await field.press("Control+Enter")
    await expect(ann.get_by_text("Kept here")).to_be_visible()
    await ann.clock.install()
    await comments(ann).locator(".menu-button").press("Enter")
    await ann.get_by_role("menuitem", name="Delete").press("Enter")
    await expect(ann.get_by_role("button", name="Undo")).to_be_visible()
    way.heal()

    async def stands() -> str:
        return str((await elsewhere.call("topic.comments", {"topic": topic}))["items"][0]["text"])

    await ann.clock.resume()
    await until(lambda: _says(elsewhere, topic, "Second"), 20)
    await ann.clock.fast_forward(6000)
    await expect(ann.get_by_role("button", name="Undo")).to_have_count(0)
    await until(lambda: _leaves(ann, []), 20)
    assert await stands() == ""
    await expect(ann.get_by_role("alert")).to_have_count(0)


@needs_chromium
async def test_what_one_wrote_is_shown_where_one_is_let_in_no_more(site: Site, way: Proxy) -> None:
    owner = await site.node.client(0, "bob")
    made = await owner.call("discussion.create", {"name": "Plans", "members": users(A)})
    discussion = {"discussionId": made["discussion"]["id"]}
    ann = await site.open("ann", topic=made["discussion"]["topic"])
    await say(ann, "First")
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    field = await _begin_edit(ann, "First")
    await field.fill("Of the train")
    await field.press("Control+Enter")
    await composer(ann).fill("Of the bus")
    await composer(ann).press("Control+Enter")
    await expect(ann.get_by_text("Kept here")).to_have_count(2)
    await owner.call("discussion.remove", {**discussion, "userId": A})
    await ann.reload()
    way.heal()
    closed = ann.get_by_role("alert")
    await expect(closed).to_contain_text("This discussion is closed to you.")
    await expect(closed.locator(".yours")).to_have_text(["Of the train", "Of the bus"])
    await closed.get_by_role("button", name="Discard").first.click()
    await expect(closed.locator(".yours")).to_have_text(["Of the bus"])
    await closed.get_by_role("button", name="Discard").click()
    await until(lambda: _leaves(ann, []), 20)


@needs_chromium
async def test_a_name_for_a_discussion_that_is_gone_is_not_kept_where_nobody_sees_it(
    site: Site, way: Proxy
) -> None:
    elsewhere = await site.node.client(0, "ann")
    made = await elsewhere.call("discussion.create", {"name": "Plans", "members": users(B)})
    discussion = {"discussionId": made["discussion"]["id"]}
    topic = made["discussion"]["topic"]
    ann = await site.open("ann", topic=topic)
    await expect(composer(ann)).to_be_visible()
    rename = "([topic, payload]) => void client.change('discussion.rename', payload, topic).catch(() => {})"
    await elsewhere.call("discussion.rename", {**discussion, "name": "Others"})
    await ann.evaluate(rename, [topic, {**discussion, "name": "Mine", "ofName": "Plans"}])
    await until(lambda: _leaves(ann, ["refused"]), 20)
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    await ann.evaluate(rename, [topic, {**discussion, "name": "Again"}])
    await elsewhere.call("discussion.delete", discussion)
    await ann.reload()
    way.heal()
    await expect(ann.get_by_text("This discussion is closed to you.")).to_be_visible()
    await until(lambda: _leaves(ann, []), 20)


@needs_chromium
async def test_what_one_writes_stays_when_what_it_is_about_is_resolved_or_deleted(
    site: Site, topic: str
) -> None:
    elsewhere, bob = await site.node.client(0, "ann"), await site.node.client(0, "bob")
    ann = await site.open("ann")
    await say(ann, "First")
    [first] = (await elsewhere.call("topic.comments", {"topic": topic}))["items"]
    await ann.get_by_role("button", name="Reply to Ann Archer").click()
    reply = ann.get_by_role("textbox", name="Reply to Ann Archer")
    await reply.fill("half a reply")
    await bob.call("thread.resolve", {"commentId": first["id"]})
    await expect(ann.get_by_text("Resolved by Bob Baker")).to_be_visible()
    await expect(reply).to_be_focused()
    await elsewhere.call("comment.delete", {"commentId": first["id"]})
    await expect(ann.get_by_text("This comment was deleted")).to_be_visible()
    await expect(reply).to_have_value("half a reply")
    await reply.press("Control+Enter")
    await expect(ann.get_by_role("alert")).to_be_visible()
    await expect(comments(ann).filter(has_text="half a reply")).to_be_visible()

    await say(ann, "Of Ann")
    field = await _begin_edit(ann, "Of Ann")
    await field.fill("half a change")
    stored = (await elsewhere.call("topic.comments", {"topic": topic}))["items"]
    [mine] = [each["id"] for each in stored if each["text"] == "Of Ann"]
    await elsewhere.call("comment.delete", {"commentId": mine})
    await expect(ann.get_by_text("Of Ann")).to_have_count(0)
    await expect(field).to_have_value("half a change")
    for _ in range(2):
        await field.press("Control+Enter")
    await expect(ann.get_by_text("You wrote:")).to_be_visible()
    await expect(ann.locator(".yours")).to_have_text("half a change")


@needs_chromium
async def test_words_that_too_many_others_wait_before_are_still_there_to_be_sent(
    site: Site, way: Proxy, topic: str
) -> None:
    ann = await site.open("ann")
    await say(ann, "First")
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    field = await _begin_edit(ann, "First")
    mute = "(topic) => Array.from({ length: 200 }, () => void client.topic(topic).mute(true))"
    await ann.evaluate(mute, topic)
    await field.fill("Second")
    await field.press("Control+Enter")
    await expect(ann.locator(".toast")).to_contain_text("Too many changes are waiting already")
    await expect(await _begin_edit_again(ann)).to_have_value("Second")
    await composer(ann).fill("Of the bus")
    await composer(ann).press("Control+Enter")
    await expect(composer(ann)).to_have_value("Of the bus")
    await expect(comments(ann)).to_have_count(1)


@needs_chromium
async def test_of_several_changes_of_a_comment_that_were_refused_all_are_shown(
    site: Site, way: Proxy, topic: str
) -> None:
    elsewhere = await site.node.client(0, "ann")
    ann = await site.open("ann")
    await say(ann, "First")
    [stored] = (await elsewhere.call("topic.comments", {"topic": topic}))["items"]
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    edit = "([topic, id, text]) => void client.topic(topic).edit(id, text, 'plain', 1).catch(() => {})"
    for text in ("of the train", "of the bus"):  # as two windows do that do not know of each other
        await ann.evaluate(edit, [topic, stored["id"], text])
    await elsewhere.call("comment.edit", {"commentId": stored["id"], "text": "meanwhile"})
    way.heal()
    yours, alert = ann.locator(".yours"), ann.get_by_role("alert")
    await expect(yours).to_have_text(["of the train", "of the bus"])
    await expect(comments(ann)).to_contain_text("meanwhile")
    # What is done meanwhile hides none of it.
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    await ann.evaluate(
        "([topic, id]) => void client.topic(topic).react(id, '👍').catch(() => {})", [topic, stored["id"]]
    )
    await expect(comments(ann).get_by_text("Kept here")).to_be_visible()
    await expect(yours).to_have_text(["of the train", "of the bus"])
    way.heal()
    await alert.filter(has_text="of the bus").get_by_role("button", name="Discard").click()
    await expect(yours).to_have_text(["of the train"])
    await alert.get_by_role("button", name="Edit").click()
    field = ann.get_by_role("textbox", name="Edit your comment")
    await expect(field).to_have_value("of the train")
    await field.fill("of the plane")
    await field.press("Control+Enter")
    await expect(comments(ann)).to_contain_text("of the plane")
    await expect(alert).to_have_count(0)


@needs_chromium
async def test_what_was_refused_is_found_at_an_older_comment_too(site: Site, way: Proxy, topic: str) -> None:
    elsewhere = await site.node.client(0, "ann")
    for number in range(60):
        await elsewhere.call("comment.add", {"topic": topic, "text": f"number {number}"})
    [oldest] = (await elsewhere.call("topic.comments", {"topic": topic, "limit": 1}))["items"]
    ann = await site.open("ann", more="")
    await expect(comments(ann).filter(has_text="number 59")).to_be_visible()
    await ann.evaluate("([topic, id]) => client.topic(topic).find(id)", [topic, oldest["id"]])
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    await ann.evaluate(
        "([topic, id]) => void client.topic(topic).edit(id, 'of the train')", [topic, oldest["id"]]
    )
    await elsewhere.call("comment.edit", {"commentId": oldest["id"], "text": "meanwhile"})
    await ann.reload()
    way.heal()
    await expect(ann.get_by_text("Something that you changed here was not sent.")).to_be_visible()
    await expect(ann.get_by_role("alert")).to_have_count(0)
    await ann.get_by_role("button", name="Show it").click()
    await expect(ann.get_by_role("alert")).to_contain_text("You wrote:of the train")
    await expect(comments(ann).filter(has=ann.get_by_role("alert"))).to_contain_text("meanwhile")
    await expect(ann.get_by_text("Something that you changed here")).to_have_count(0)


@needs_chromium
async def test_a_name_that_waited_and_the_one_that_was_given_meanwhile_are_both_kept(
    site: Site, way: Proxy
) -> None:
    elsewhere = await site.node.client(0, "ann")
    made = await elsewhere.call("discussion.create", {"name": "Plans", "members": users(B)})
    discussion = {"discussionId": made["discussion"]["id"]}
    ann = await site.open("ann", topic=made["discussion"]["topic"])
    alert = ann.get_by_role("alert")
    field = ann.get_by_role("textbox", name="Name")
    members = ann.get_by_role("button", name="Bob Baker and you")
    for is_kept in (False, True):
        stands = (await elsewhere.call("discussion.get", discussion))["name"]
        await members.click()
        await expect(field).to_have_value(stands)
        await expect(alert).to_have_count(0)
        way.refuse()
        way.cut()
        await expect(ann.get_by_text("Offline.")).to_have_count(1)
        await field.fill("Plans of the train")
        await field.press("Enter")
        await elsewhere.call("discussion.rename", {**discussion, "name": f"{stands}, again"})
        await ann.reload()
        way.heal()
        await expect(members).to_be_visible()
        await until(lambda: _leaves(ann, ["refused"]), 20)
        await members.click()
        await expect(alert).to_contain_text("changed meanwhile")
        await expect(field).to_have_value("Plans of the train")
        await expect(ann.locator(".members-room bdi").first).to_have_text(f"{stands}, again")
        if is_kept:
            await field.press("Enter")
        else:
            await ann.get_by_role("button", name="Discard").click()
            await expect(field).to_have_value(f"{stands}, again")
        await expect(alert).to_have_count(0)
        await until(lambda: _leaves(ann, []), 20)
        await ann.get_by_role("button", name="Back").click()
    assert (await elsewhere.call("discussion.get", discussion))["name"] == "Plans of the train"


ONE_TURN = """(click) => {
  const area = panel.shadowRoot.querySelector(".foot textarea");
  const type = (text) => {
    area.value = text;
    area.setSelectionRange(text.length, text.length);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  type("In one");
  type(`In one turn, ${click ? "by a click" : "by a key"}`);
  if (click) area.form.querySelector("[part=send]").click();
  else area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true }));
}"""


@needs_chromium
async def test_what_is_typed_and_sent_in_one_turn_is_sent_once(site: Site, topic: str) -> None:
    ann = await site.open("ann")
    await expect(composer(ann)).to_be_visible()
    for click in (True, False):
        await ann.evaluate(ONE_TURN, click)
        await expect(comments(ann)).to_have_count(1 if click else 2)
        await expect(composer(ann)).to_have_value("")
        await expect(ann.get_by_role("button", name="Comment", exact=True)).to_be_disabled()
    for words in ("by a click", "by a key"):
        await expect(comments(ann).filter(has_text=f"In one turn, {words}")).to_have_count(1)


@needs_chromium
async def test_who_hears_a_new_comment_hears_its_words_and_no_signs(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    ann = await site.open("ann")
    await expect(composer(ann)).to_be_visible()
    text = "@[Ann Archer](user:A11A0000000000000000000000000001) the **East** is `odd`"
    await bob.call("comment.add", {"topic": topic, "text": text, "format": "markdown"})
    said = ann.locator(".topic-room [aria-live=polite]")
    await expect(said).to_have_text("Bob Baker mentions you: @Ann Archer the East is odd")
    # Nothing is said to somebody who writes.
    await composer(ann).fill("I see")
    await bob.call("comment.add", {"topic": topic, "text": "Never mind"})
    await expect(comments(ann).filter(has_text="Never mind")).to_be_visible()
    await expect(said).not_to_contain_text("Never mind")


@needs_chromium
async def test_one_begins_at_what_is_unread_and_reading_it_makes_it_read(
    site: Site, way: Proxy, topic: str
) -> None:
    bob = await site.node.client(0, "bob")
    carol = await site.node.client(0, "carol")
    for number in range(70):
        await bob.call("comment.add", {"topic": topic, "text": f"number {number}"})
    read = await carol.call("topic.comments", {"topic": topic, "order": "newest", "limit": 3})
    await carol.call("topic.read", {"topic": topic, "seq": read["items"][-1]["seq"] - 1})
    page = await site.open("carol")
    await expect(page.locator(".new-line")).to_be_in_viewport()
    await expect(comments(page).filter(has_text="number 67")).to_be_in_viewport()
    assert await page.locator("[data-thread]").count() <= 60
    await page.locator("div.list").evaluate("list => list.scrollTop = list.scrollHeight")
    await expect(page.locator(".count")).to_have_count(0)
    await until(lambda: _is_all_read(carol, topic))  # the page counts before the server does

    # At the end one stays there; above nothing moves, and it is said that there is more.
    await bob.call("comment.add", {"topic": topic, "text": "the newest"})
    await expect(comments(page).filter(has_text="the newest")).to_be_in_viewport()

    async def is_first_there() -> bool:
        await page.locator("div.list").evaluate("list => list.scrollTop = 0")
        return await comments(page).filter(has_text=re.compile(r"number 0\b")).count() == 1

    await until(is_first_there, 20)
    assert await page.locator("[data-thread]").count() <= 60
    # What is drawn before the browser has told of scrolling does not take it back.
    scroll = """async list => {
      list.scrollTop = 800;
      panel.redraw();
      await new Promise((end) => setTimeout(end, 200));
      return list.scrollTop;
    }"""
    assert await page.locator("div.list").evaluate(scroll) == 800
    await page.wait_for_function("panel.shadowRoot.querySelector('.pill')")
    place = "list => list.scrollTop"
    before = await page.locator("div.list").evaluate(place)
    await bob.call("comment.add", {"topic": topic, "text": "one more"})
    pill = page.locator(".pill")
    await expect(pill).to_contain_text("new")
    assert await page.locator("div.list").evaluate(place) == before
    await pill.click()
    await expect(comments(page).filter(has_text="one more")).to_be_in_viewport()

    await carol.call("topic.unread", {"topic": topic, "fromSeq": 1})
    await page.get_by_role("button", name="Unread").click()
    await expect(comments(page).filter(has_text=re.compile(r"number 0\b"))).to_be_in_viewport()
    await page.locator("div.list").evaluate("list => list.scrollTop = list.scrollHeight")
    all_read = page.get_by_role("button", name="Mark all as read")
    await expect(all_read).to_be_in_viewport()
    await all_read.click()
    await expect(page.locator(".count")).to_have_count(0)
    await until(lambda: _is_all_read(carol, topic), 20)

    # Who asks for more while there is no connection is told so.
    page = await site.open("bob")
    await expect(comments(page).filter(has_text="one more")).to_be_in_viewport()
    way.refuse()
    way.cut()
    await expect(page.get_by_text("Offline.")).to_be_visible()
    await page.get_by_role("button", name="Earlier comments").click()
    await expect(page.locator(".toast")).to_contain_text("could not be loaded")


AWAY = """async () => {
  await Promise.all(panel.getAnimations().map((each) => each.finished));
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const list = panel.shadowRoot.querySelector(".list");
  return list.scrollHeight - list.clientHeight - list.scrollTop;
}"""


@needs_chromium
async def test_who_is_at_the_end_stays_there_when_they_turn_their_telephone(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    for number in range(12):
        await bob.call("comment.add", {"topic": topic, "text": f"Line {number}: {'some words ' * 20}"})
    ann = await site.open("ann")
    await ann.evaluate("panel.setAttribute('sheet', '')")
    upright: ViewportSize = {"width": 390, "height": 844}
    across: list[ViewportSize] = [{"width": 700, "height": 390}, {"width": 844, "height": 430}]
    await ann.set_viewport_size(upright)
    await expect(comments(ann)).to_have_count(12)
    await ann.locator("div.list").evaluate("list => list.scrollTop = list.scrollHeight")
    assert await ann.evaluate(AWAY) < 2
    for size in (across[0], upright, across[1], upright):
        await ann.set_viewport_size(size)
        assert await ann.evaluate(AWAY) < 2, size


async def _is_all_read(person: Client, topic: str) -> bool:
    return bool((await person.call("topic.get", {"topic": topic}))["unread"] == 0)


@needs_chromium
async def test_only_what_one_may_do_is_offered(site: Site, topic: str) -> None:
    admin = await site.node.client(0, "admin")
    await admin.call("comment.add", {"topic": topic, "text": "The last word"})
    await admin.call("topic.switch", {"topic": topic, "commenting": False})
    ann = await site.open("ann")
    await expect(ann.get_by_text("Comments are switched off here.")).to_be_visible()
    await expect(comments(ann)).to_have_count(1)
    await expect(ann.get_by_role("textbox")).to_have_count(0)
    await expect(ann.get_by_role("button", name=re.compile("Reply|React"))).to_have_count(0)
    await admin.call("topic.switch", {"topic": topic, "commenting": True})
    await expect(composer(ann)).to_be_visible()


@needs_chromium
async def test_what_is_refused_stays_with_the_reason_and_the_way_out(
    site: Site, way: Proxy, topic: str
) -> None:
    admin = await site.node.client(0, "admin")
    ann = await site.open("ann")
    await say(ann, "Before")
    await composer(ann).fill("x" * 10_001)  # said before it is refused, and not cut
    await expect(ann.get_by_role("alert")).to_have_text("It is too long.")
    await expect(ann.get_by_role("button", name="Comment", exact=True)).to_be_disabled()
    await composer(ann).fill("x" * 10_000)
    await expect(ann.get_by_role("button", name="Comment", exact=True)).to_be_enabled()
    way.refuse()
    way.cut()
    await expect(ann.get_by_text("Offline.")).to_be_visible()
    for text in ("first", "second"):
        await composer(ann).fill(text)
        await composer(ann).press("Control+Enter")
    await admin.call("topic.switch", {"topic": topic, "commenting": False})
    way.heal()
    await expect(ann.get_by_role("alert")).to_have_count(2)
    await expect(ann.get_by_role("alert").first).to_contain_text("Not sent: you may not do this any more.")
    await comments(ann).filter(has_text="second").get_by_role("button", name="Discard").click()
    await expect(comments(ann).filter(has_text="second")).to_have_count(0)
    await admin.call("topic.switch", {"topic": topic, "commenting": True})
    await comments(ann).filter(has_text="first").get_by_role("button", name="Edit").click()
    await ann.get_by_role("textbox", name="Edit your comment").fill("first, again")
    await ann.get_by_role("button", name="Save").click()
    await expect(ann.get_by_role("alert")).to_have_count(0)
    await until(lambda: _texts(admin, topic, ["Before", "first, again"]), 20)


async def _texts(person: Client, topic: str, expected: list[str]) -> bool:
    stored = await person.call("topic.comments", {"topic": topic})
    return [comment["text"] for comment in stored["items"]] == expected


FORGOTTEN = """async (module) => {
  const { connect } = await import(module);
  const later = window.setTimeout;
  window.setTimeout = (act, ms) => later(act, ms / 1000);
  document.body.append(document.createElement("collab-panel"));
  window.setTimeout = later;
  connect({ url: new URL(location.origin), auth: () => { throw new Error("mine"); } });
  return [undefined, {}, { url: location.origin }, { auth: null }].map((options) => {
    try {
      connect(options);
    } catch (error) {
      return error.message;
    }
  });
}"""


@needs_chromium
async def test_a_dashboard_that_is_unknown_or_closed_says_so(site: Site) -> None:
    nowhere = "content:F0000000000000000000000000000001:0000000000000000000000000000DEAD"
    page = await site.open("ann", topic=nowhere)
    await expect(page.get_by_role("alert")).to_contain_text("There is no such dashboard.")
    await expect(page.get_by_role("textbox")).to_have_count(0)
    # Whoever develops the page is told what it lacks.
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    refused = await page.evaluate(FORGOTTEN, f"{site.node[0].url}/clients/collab-panel/index.js")
    assert refused == ["connect: expected {url, auth}, or a client of createClient"] * 4
    hint = "<collab-panel> shows nothing, for it has not got a topic"
    failed = "collab-panel: auth has failed; it is asked again"
    await until(lambda: hint in said and any(failed in line and "mine" in line for line in said), 20)


@needs_chromium
async def test_texts_of_others_change_nothing_outside_of_their_box(site: Site, topic: str) -> None:
    bob = await site.node.client(0, "bob")
    texts = [
        f'<img src=x onerror="document.title=1"> <b>bold</b> {BOB}',
        "javascript:alert(1) https://example.com/\u202egro.live https://example.com/a).",
        "Z" + "\u0301" * 4000,
        "שלום 123 \u202e evil",
    ]
    added = [await bob.call("comment.add", {"topic": topic, "text": text}) for text in texts]
    page = await site.open("ann")
    await page.evaluate("document.hasFocus = () => false")  # what is seen is not read: the bell counts all
    await expect(comments(page)).to_have_count(len(texts))
    await expect(page.locator(".text").locator("img, b")).to_have_count(0)
    await expect(page.locator(".text").first).to_contain_text("<b>bold</b> @Bob Baker")
    links = await page.locator(".text a").evaluate_all("links => links.map(link => link.href)")
    assert links == ["https://example.com/", "https://example.com/a"]
    assert await page.locator(".text").last.evaluate("text => getComputedStyle(text).direction") == "rtl"
    # What stands on top of one another is clipped to its own box.
    assert await page.locator(".text").nth(2).evaluate("text => getComputedStyle(text).contain") == "paint"
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Nor is a thread wider for what does not fit into one line of it.
    wide = {"text": f"```\n{'x' * 300}\n```", "format": "markdown", "replyTo": added[0]["comment"]["id"]}
    await bob.call("comment.add", {"topic": topic, **wide})
    await expect(page.locator(".replies pre")).to_be_visible()
    assert await page.locator("div.list").evaluate("list => list.scrollWidth <= list.clientWidth")
    # However much there is to say, a button and a number are never one letter under the other.
    await page.evaluate("panel.describeView = () => 'a view that says much '.repeat(20)")
    ann = "@[Ann Archer](user:A11A0000000000000000000000000001)"
    for _ in range(11):
        await bob.call("comment.add", {"topic": topic, "text": ann, "viewState": {"filters": []}})
    await expect(page.locator(".bell .count")).to_have_text("11")
    await expect(page.locator(".chip")).to_have_count(11)
    for selector in (".bell .count", ".chip strong"):
        height = await page.locator(selector).last.evaluate("it => it.getBoundingClientRect().height")
        assert 0 < height < 30, selector
    others = ({"topic": topic, "text": f"{number} {ann}"} for number in range(89))
    await asyncio.gather(*(bob.call("comment.add", other) for other in others))
    await expect(page.locator(".bell .count")).to_have_text("99+")
    await expect(page.locator("button.bell")).to_have_accessible_name("Inbox, 99+ unread")


@needs_chromium
async def test_a_link_whose_words_are_not_the_place_it_leads_to_says_that_place(site: Site) -> None:
    page = await site.open("ann")
    liars = [
        "https://bank.example@evil.example/login",
        "https://b\u0430nk.example/",
        *(
            f"[{words}](https://evil.example/)"
            for words in (
                "https://bank.example",
                "bank.example/evil.example",
                "notevil.example",
                "evil.example.bank.example",
                "evil.example@bank.example",
                "bank\u200b.\u200bexample",
                "bank\u2024example",
                "bank\u3002example",
                "bank\u200a.example",
                "b\u0430nk.example",
            )
        ),
    ]
    honest = [
        "https://evil.example/a.b",
        "[the report. Really](https://evil.example/)",
        "[HTTPS://Evil.example/x](https://evil.example/)",
        "[evil.example](https://evil.example/)",
    ]
    await composer(page).fill("\n".join(f"- {text}" for text in liars + honest))
    await page.keyboard.press("Control+Enter")
    items = page.locator(".text.formed li")
    await expect(items).to_have_count(len(liars) + len(honest))
    said = await items.evaluate_all(
        "items => items.map(item => item.querySelector('a + .quiet')?.textContent)"
    )
    evil = "(evil.example)"
    assert said == [evil, "(xn--bnk-6cd.example)", *[evil] * (len(liars) - 2), *[None] * len(honest)]


@needs_chromium
async def test_markdown_is_shown_as_elements_and_never_as_markup(site: Site, topic: str) -> None:
    page = await site.open("ann")
    await expect(page.get_by_role("button", name="Bold")).to_be_hidden()
    await composer(page).click()
    await expect(page.get_by_role("button", name="Bold")).to_be_visible()  # before anything is written
    await composer(page).fill(
        "**Up** ~~down~~ `SUM(x)` _see_ [the ticket](https://example.com/1)\n- @Bob\n  1. one\n> quoted\n\n"
        "```\n<b>code</b>\n```\n"
        "[https://bank.example](https://evil.example) [x](javascript:alert(1)) <b>no</b> https://example.com/2"
    )
    await page.keyboard.press("Control+Enter")
    text = page.locator(".text.formed")
    await expect(text.locator("strong")).to_have_text("Up")
    for selector, expected in (
        ("s", "down"),
        ("em", "see"),
        ("p > code", "SUM(x)"),
        ("ul > li > ol > li", "one"),
        ("blockquote", "quoted"),
        ("pre", "<b>code</b>"),
    ):
        await expect(text.locator(selector)).to_have_text(expected)
    links = await text.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert links == ["https://example.com/1", "https://evil.example/", "https://example.com/2"]
    await expect(text).to_contain_text(
        "https://bank.example (evil.example) [x](javascript:alert(1)) <b>no</b>"
    )
    await expect(text.locator("b, a a")).to_have_count(0)

    # An edit has the signs, and may do without them.
    await page.locator(".menu-button").first.focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("menuitem", name="Edit").click()
    box = page.get_by_role("textbox", name="Edit")
    await expect(box).to_have_value(re.compile(r"^\*\*Up\*\*"))
    await box.fill("one two")
    await page.keyboard.press("Shift+ArrowLeft")
    await page.keyboard.press("Shift+Control+ArrowLeft")
    await page.keyboard.press("Control+b")
    await expect(box).to_have_value("one **two**")
    await page.keyboard.press("Control+b")
    await expect(box).to_have_value("one two")
    await page.get_by_role("button", name="Italic").first.click()
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".text.formed em")).to_have_text("two")


@needs_chromium
async def test_axe_finds_nothing(site: Site, way: Proxy, topic: str) -> None:
    bob = await site.node.client(0, "bob")

    async def check(page: Page, state: str) -> None:
        assert (state, await violations(page)) == (state, [])

    for dir, lang in (("ltr", "en"), ("rtl", "ar")):
        page = await site.open("ann", dir=dir, lang=lang, topic=topic)
        await expect(page.get_by_role("textbox")).to_be_visible()
        await check(page, "at first")
        if dir == "ltr":
            root = await bob.call(
                "comment.add",
                {
                    "topic": topic,
                    "text": "**Look** @[Ann Archer](user:A11A0000000000000000000000000001) https://example.com\n"
                    "- [one](https://example.com)\n\n> two `three`\n\n```\nfour\n```",
                    "format": "markdown",
                    "anchor": {"pageKey": "K1"},
                    "viewState": {"filters": []},
                },
            )
            for _ in range(6):
                await bob.call(
                    "comment.add", {"topic": topic, "text": "a reply", "replyTo": root["comment"]["id"]}
                )
            await bob.call("comment.react", {"commentId": root["comment"]["id"], "emoji": "👍"})
            done = await bob.call("comment.add", {"topic": topic, "text": "done"})
            await bob.call("thread.resolve", {"commentId": done["comment"]["id"]})
            gone = await bob.call("comment.add", {"topic": topic, "text": "gone"})
            await bob.call("comment.delete", {"commentId": gone["comment"]["id"]})
            await expect(page.get_by_text("was deleted")).to_be_visible()
        await check(page, "talk")
        await page.locator(".menu-button").first.focus()
        await page.keyboard.press("Enter")
        await check(page, "menu")
        await page.keyboard.press("Escape")
        await page.locator(".actions [aria-expanded]").first.focus()
        await page.keyboard.press("Enter")
        await check(page, "emojis")
        await page.keyboard.press("Escape")
        await page.locator("button.reply").first.click()
        # Or the first letters are keys of the panel.
        await expect(page.locator("textarea:focus")).to_have_count(1)
        await page.keyboard.type("to @b")
        await expect(page.get_by_role("option")).not_to_have_count(0)
        await check(page, "people")
        await page.keyboard.press("Escape")
        way.refuse()
        way.cut()
        await expect(page.locator(".notice:not(:empty)")).to_be_visible()
        await page.locator(".foot textarea").fill("kept")
        await page.keyboard.press("Control+Enter")
        await check(page, "offline, with the keys")
        way.heal()
    nowhere = "content:F0000000000000000000000000000001:0000000000000000000000000000DEAD"
    page = await site.open("ann", topic=nowhere)
    await expect(page.get_by_role("alert")).to_be_visible()
    await check(page, "closed")


@needs_chromium
@pytest.mark.parametrize("lang", PLURALS)
async def test_no_two_controls_have_the_same_name(site: Site, topic: str, lang: str) -> None:
    """Each is about something else, which whoever goes from one to the next by their names has to hear."""
    ann, bob = await site.node.client(0, "ann"), await site.node.client(0, "bob")

    async def add(whose: Client, text: str, **more: Any) -> str:
        answer = await whose.call("comment.add", {"topic": topic, "text": text, **more})
        return str(answer["comment"]["id"])

    async def two(what: str, act: Callable[[str], Awaitable[Any]], whose: Client = bob, **more: Any) -> None:
        for number in ("one", "two"):
            await act(await add(whose, f"{number} {what}", **more))

    async def reply_often(root: str) -> None:
        for number in range(6):
            await add(ann, f"{root} {number}", replyTo=root)

    async def refuse(comment: str) -> None:
        refused.append(comment)
        await ann.call("comment.edit", {"commentId": comment, "text": f"{comment} now"})

    refused: list[str] = []
    await two("resolved", lambda comment: bob.call("thread.resolve", {"commentId": comment}))
    await two("often", reply_often, ann)
    await two(f"long {'word ' * 600}", lambda comment: asyncio.sleep(0))
    await two("liked", lambda comment: ann.call("comment.react", {"commentId": comment, "emoji": "👍"}))
    await two("seen", lambda comment: asyncio.sleep(0), viewState={"filters": []})
    await two("own", lambda comment: asyncio.sleep(0), ann)
    await two("undone", lambda comment: asyncio.sleep(0), ann)
    await two("refused", refuse, ann)
    page = await site.open("ann", lang=lang, dir="rtl" if lang == "ar" else "ltr", topic=topic)
    await expect(comments(page).filter(has_text="two undone")).to_be_visible()
    for comment in refused:
        edit = {"commentId": comment, "text": f"{comment} otherwise", "ofRevision": 1}
        await page.evaluate("edit => void client.change('comment.edit', edit)", edit)
    await expect(page.locator(".refused")).to_have_count(2)
    while await page.locator(".fold").count():
        await page.locator(".fold").first.click()
    for number, what in ((0, "one own"), (0, "two own"), (1, "one undone"), (1, "two undone")):
        await comments(page).filter(has_text=what).locator(".menu-button").click()
        await page.locator(".edit, .delete").nth(number).click()
    await page.locator("button.reply").last.click()
    await expect(page.locator(".composer")).to_have_count(4)
    await expect(page.locator(".undo")).to_have_count(2)
    shown = page.locator("collab-panel")
    names = re.findall(
        r"^\s*- (?:'|)(?:article|button|textbox|link) (\".*)$", await shown.aria_snapshot(), re.M
    )
    assert len(names) > 80, names
    assert [name for name, count in Counter(names).items() if count > 1] == []
