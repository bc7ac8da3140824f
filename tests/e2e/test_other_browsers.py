"""The page in Firefox and in WebKit, in front of three nodes: `make browsers`.

What it does in every corner is told in Chromium, by test_page.py and tests/clients; here is whether it does so at all
where Chromium is not.
"""

from __future__ import annotations

import os

import pytest

from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.webdriver import BROWSERS, CONTROL, ENTER, MISSING, SHOWN_SECONDS, Window

FIELD = "textarea[aria-label='Add a comment']"
BOB = "@[Bob Baker](user:B22B0000000000000000000000000002)"

pytestmark = pytest.mark.skipif(
    os.environ.get("BROWSERS") != "all", reason="Firefox and WebKit are driven by `make browsers` only"
)


@pytest.mark.parametrize("name", BROWSERS)
async def test_what_is_written_is_told_and_found_again(
    name: str, address: str, cluster: Cluster, topic: str
) -> None:
    if MISSING[name]:
        pytest.skip(MISSING[name])
    bob = await cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    async with BROWSERS[name]() as ann:
        await ann.open(f"{address}#{topic}")
        await ann.click("button", "Ann Archer")
        await ann.shown(".top .state", "Live")
        await ann.type(FIELD, "Look, @bob")
        await ann.shown("[role=option]", "Bob Baker")
        await ann.type(FIELD, ENTER)
        await ann.type(FIELD, "why so high?")
        await ann.type(FIELD, f"{CONTROL}{ENTER}")

        async def comments() -> list[dict[str, str]]:
            items: list[dict[str, str]] = (await bob.call("topic.comments", {"topic": topic}))["items"]
            return items

        [stored] = await until(comments, SHOWN_SECONDS)
        assert stored["text"] == f"Look, {BOB} why so high?"
        await bob.call("comment.add", {"topic": topic, "replyTo": stored["id"], "text": "The summer sale."})
        await ann.shown(".replies .text", "The summer sale.")

        await ann.type(FIELD, "half a thought")
        await ann.reload()
        await ann.shown(".top .state", "Live")
        await ann.shown(".text", "@Bob Baker why so high?")
        await ann.shown(".replies .text", "The summer sale.")
        await until(lambda: _has_draft(ann, "half a thought"), SHOWN_SECONDS)


async def _has_draft(window: Window, text: str) -> bool:
    field = "document.querySelector('collab-panel')?.shadowRoot.querySelector('.foot textarea')"
    return bool(await window.run(f"return {field}?.value === arguments[0]", text))
