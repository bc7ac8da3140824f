"""`collab-strategy`, against a stand-in for the Embedding SDK: no real Library is at hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from collab_server.web import CLIENTS
from tests.clients.panels import Site, comments, composer, site_of
from tests.harness.browsers import needs_chromium
from tests.harness.cluster import Cluster
from tests.harness.node_js import node_binary
from tests.harness.waiting import until

FAKE = Path(__file__).with_name("fake_dossier.mjs")
IDS = "F0000000000000000000000000000001", "DA000000000000000000000000000001"

HEAD = """
const [source, fake] = process.argv.slice(1);
const { attach, filtersInWords } = await import(`${source}/index.js`);
const { FakeDossier } = await import(fake);
const dossier = new FakeDossier();
const panel = Object.assign(new EventTarget(), { topic: "" });
const turn = () => new Promise((done) => setTimeout(done));
const url = "https://library.example/app/%s/%s/K53--K46";
const view = attach(dossier, panel, { url });
await turn();
const said = {};
"""


def run(script: str, *, argument: Any = None) -> dict[str, Any]:
    text = f"{HEAD % IDS}const given = {json.dumps(argument)};{script}console.log(JSON.stringify(said));"
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", text, CLIENTS["collab-strategy"] / "src", FAKE],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_comment_knows_page_visualization_elements_and_filters() -> None:
    said = run("""
dossier.filterSelectMultiAttributes({ filterInfo: { key: "W1" }, selections: [{ value: "h0;C" }] });
dossier.selectBar("W63", "Q1", "Q3");
await turn();
said.topic = panel.topic;
said.attachment = panel.attachment;
said.place = panel.describePlace(panel.attachment.anchor);
dossier.raise("onVisualizationElementsChanged", [{ visualizationKey: "W63", attributeElements: [] }]);
said.unselected = panel.attachment.anchor;
dossier.raise("onGraphicsSelected", { vizKey: "W64", graphics: [
  { key: "W64", graphics: [[{ n: "Country", v: "Peru" }], [{ n: "Country", v: "Chile" }]] }] });
said.map = panel.attachment.anchor;
dossier.raise("onGraphicsSelected", { vizKey: "W64", graphics: [[{ n: "Country", v: "x".repeat(5000) }]] });
said.large = panel.attachment.anchor;
await dossier.navigateToPage(dossier.getPageByNodeKey("K53--K48"));
said.elsewhere = panel.attachment.anchor;
""")
    assert said["topic"] == "content:{}:{}".format(*IDS)
    anchor = {"pageKey": "K53--K46", "visualizationKey": "W63"}
    elements = [{"id": "hQ1;Q", "name": "Q1"}, {"id": "hQ3;Q", "name": "Q3"}]
    point = {"attributes": [{"id": "Q", "name": "Quarter", "elements": elements}]}
    assert said["attachment"] == {
        "label": "Category: Books",
        "viewState": {
            "pageKey": "K53--K46",
            "filters": [
                {
                    "key": "W1",
                    "name": "Category",
                    "type": "attributeSelector",
                    "isExclude": False,
                    "items": [{"name": "Books", "value": "h0;C"}],
                }
            ],
        },
        "anchor": {**anchor, "dataPoint": point},
    }
    assert said["place"] == "Revenue · Q1, Q3"
    assert said["unselected"] == {"pageKey": "K53--K46"}
    countries = {"attributes": [{"name": "Country", "elements": [{"name": "Peru"}, {"name": "Chile"}]}]}
    assert said["map"] == {"pageKey": "K53--K46", "visualizationKey": "W64", "dataPoint": countries}
    assert said["large"] == {"pageKey": "K53--K46", "visualizationKey": "W64"}  # an anchor has 4096 bytes
    assert said["elsewhere"] == {"pageKey": "K53--K48"}


def test_of_what_was_asked_twice_the_last_answer_counts_in_whatever_order_they_come() -> None:
    said = run("""
const asked = [];
dossier.getFilterList = () => new Promise((resolve) => asked.push(resolve));
const filter = { filterKey: "W5", filterType: "metricQualByRank", filterDetail: { value: 1 } };
const listed = (filterName) => [{ ...filter, filterName }];
dossier.raise("onFilterUpdated", {});
dossier.raise("onFilterUpdated", {});
asked[1](listed("new"));
await turn();
asked[0](listed("old"));
await turn();
said.filters = view.snapshot().filters.map(({ name }) => name);
""")
    assert said == {"filters": ["new"]}


def test_a_view_is_applied_by_the_type_of_each_filter_and_left_again() -> None:
    said = run("""
const told = [
  ["filterSelectMultiAttributes", { key: "W1" }, { selections: [{ value: "h1;C" }] }],
  ["filterSetExclude", { key: "W1" }, {}],
  ["filterSearchMultiAttributes", { key: "W2" }, { selections: [{ name: "2007", value: "h2007;Y" }] }],
  ["filterAttributeMultiSlider", { key: "W3" }, { selections: [1, 2] }],
  ["filterSetDateRange", { key: "W4" }, { date: { from: "1/2/2008", to: "2/2/2008" } }],
  ["filterSetMetricQualByValue", { key: "W5" }, { exp: { operator: "between", firstValue: 1, lastValue: 2 } }],
  ["filterSetMetricQualByRank", { key: "W6" }, { exp: { qualType: "lowest", value: 3 } }],
  ["filterSetMetricSliderByValue", { key: "W7" }, { exp: { range: [10, 20] } }],
  ["filterSetMetricSliderByRank", { key: "W8" }, { exp: { qualType: "highest", value: 4 } }],
];
const initial = structuredClone(dossier.filters);
for (const [name, filterInfo, rest] of told) dossier[name]({ filterInfo, ...rest });
await turn();
const { viewState } = panel.attachment;
const all = structuredClone(dossier.filters);
said.label = panel.attachment.label;
said.kept = viewState.filters.length;
const other = new FakeDossier();
const otherPanel = Object.assign(new EventTarget(), { topic: "" });
const otherView = attach(other, otherPanel, { url });
await other.navigateToPage(other.getPageByNodeKey("K53--K48"));
other.filterSelectMultiAttributes({ filterInfo: { key: "W1" }, selections: [{ value: "h2;C" }] });
await turn();
const own = structuredClone(other.filters);
other.calls.length = 0;
const comment = { author: { name: "Ann" }, createdAt: "2026-03-03T10:00:00Z" };
const detail = { viewState: JSON.parse(JSON.stringify(viewState)), comment };
otherPanel.dispatchEvent(new CustomEvent("collab-apply", { detail }));
await turn();
await turn();
said.calls = other.calls.map(([name]) => name);
said.isHeld = other.calls.slice(0, -1).every(([, json]) => json.holdSubmit ?? json.exp.holdSubmit);
said.isSame = JSON.stringify(other.filters) === JSON.stringify(all);
said.page = other.getCurrentPage().nodeKey;
said.applied = otherView.snapshot().applied;
await otherView.apply({ pageKey: "K53--K46", filters: [] }, { name: "Bob" }); // one after the other
said.next = otherView.snapshot().applied.name;
await otherView.back();
await turn();
said.isBack = JSON.stringify(other.filters) === JSON.stringify(own) && other.getCurrentPage().nodeKey === "K53--K48";
said.left = otherView.snapshot().applied;
otherView.end();
said.handlers = other.handlers;
""")
    assert said["kept"] == 8
    assert said["label"] == (
        "Category: ≠ Movies · Year: 2007 · Month: February – March · Day: 1/2/2008 – 2/2/2008 · "
        "Cost: between 1 – 2 · Rank: lowest 3 · Profit: 10 – 20 · Best: highest 4"
    )
    assert said["calls"][-1] == "filterApplyAll"
    assert len(said["calls"]) == 10
    assert said["isHeld"]
    assert said["isSame"]
    assert said["page"] == "K53--K46"
    assert said["applied"] == {"name": "Ann", "at": "2026-03-03T10:00:00Z", "missing": []}
    assert said["next"] == "Bob"
    assert said["isBack"], "to what one saw oneself, however many views later"
    assert said["left"] is None
    assert said["handlers"] == 0


def test_of_a_view_state_without_end_no_more_is_used_than_the_page_can_take() -> None:
    said = run("""
const items = Array.from({ length: 5000 }, (_, number) => ({ name: `${number}`, value: `h${number};Y` }));
const filter = { key: "W2", name: "Year", type: "attributeSearchSelector", items };
const filters = Array.from({ length: 500 }, (_, number) => (number ? { ...filter, key: `X${number}` } : filter));
said.missing = (await view.apply({ filters })).length;
said.told = dossier.calls.find(([name]) => name === "filterSearchMultiAttributes")[1].selections.length;
said.words = filtersInWords({ filters }).length;
""")
    assert said["told"] == 200
    assert said["missing"] == 99
    assert said["words"] < 250


def test_what_is_gone_or_was_made_up_is_said_and_changes_nothing() -> None:
    odd: list[Any] = [
        None, True, 7, "text", [], {}, [None], {"filters": None}, {"filters": [None, 1, {}, {"key": "W1"}]},
        {"pageKey": {}, "filters": [{"key": "W1", "name": "C", "type": "attributeSelector", "items": [{"name": 1}]}]},
        {"filters": [{"key": "W3", "name": "M", "type": "attributeSlider", "from": -1, "to": 99}]},
        {"filters": [{"key": "W4", "name": "D", "type": "calendar", "dates": {"from": "x", "to": "y"}}]},
        {"filters": [{"key": "W5", "name": "C", "type": "metricQualByValue", "operator": "; DROP"}]},
        {"filters": [{"key": "W6", "name": "R", "type": "metricQualByRank", "qualType": "constructor", "value": 1}]},
        {"filters": [{"key": "W1", "name": "C", "type": "calendar", "dates": {"from": "1/1/2008", "to": "1/2/2008"}}]},
        {"filters": [{"key": "W99", "name": "Gone", "type": "attributeSelector", "items": []}]},
        {"filters": [{"key": "__proto__", "name": "P", "type": "constructor"}]},
    ]  # fmt: skip
    said = run(
        """
const before = JSON.stringify(dossier.filters);
said.words = given.map(filtersInWords);
said.missing = [];
for (const viewState of given) said.missing.push(await view.apply(viewState));
said.isSame = JSON.stringify(dossier.filters) === before;
said.calls = [...new Set(dossier.calls.map(([name]) => name))];
said.there = [
  await view.goTo({ pageKey: "K53--K48", visualizationKey: "W70" }),
  await view.goTo({ pageKey: "K53--K48", visualizationKey: "W63" }),
  await view.goTo({ pageKey: "K0--K0" }),
];
said.gone = view.snapshot().gone;
said.places = given.map((each) => panel.describePlace({ pageKey: "K1", dataPoint: each }));
const dataPoint = { attributes: [{ elements: [{ name: 1 }, 2] }] };
said.unknown = panel.describePlace({ pageKey: "K53--K48", dataPoint });
""",
        argument=odd,
    )
    assert said["isSame"]
    assert said["calls"] == ["filterApplyAll"]
    assert ["Gone"] in said["missing"]
    assert all(words is None or isinstance(words, str) for words in said["words"])
    assert said["there"] == [True, False, False]
    assert said["gone"] == {"pageKey": "K0--K0"}
    assert said["unknown"] == "Details"


@pytest_asyncio.fixture
async def site(browser: Browser, node: Cluster, topic: str) -> AsyncIterator[Site]:
    async with site_of(browser, node, topic, node[0].url) as site:
        yield site


async def beside_a_dashboard(page: Page, site: Site) -> None:
    """Put the panel of the page beside a stand-in for a dashboard."""
    await expect(composer(page)).to_be_visible()
    await page.evaluate(
        FAKE.read_text().replace("export ", "") + "\nwindow.dossier = new FakeDossier(); null"
    )
    await page.evaluate(
        "async ([node, topic]) => { const { attach } = await import(`${node}/clients/collab-strategy/index.js`);"
        " window.view = attach(dossier, panel, { topic }); }",
        [site.node[0].url, site.topic],
    )


@needs_chromium
async def test_two_people_see_the_same_beside_their_dashboards(site: Site) -> None:
    ann, bob = await site.open("ann"), await site.open("bob")
    for page in (ann, bob):
        await beside_a_dashboard(page, site)
    await ann.evaluate("""() => {
        dossier.filterSelectMultiAttributes({ filterInfo: { key: "W1" }, selections: [{ value: "h1;C" }] });
        dossier.selectBar("W63", "Q3");
    }""")
    await composer(ann).fill("Why so high?")
    await ann.get_by_role("button", name="Attach Category: Movies").click()
    await expect(ann.get_by_role("button", name="About Revenue · Q3")).to_be_visible()
    await composer(ann).press("Control+Enter")

    await bob.evaluate("dossier.navigateToPage(dossier.getPageByNodeKey('K53--K48')) && null")
    seen = comments(bob).filter(has_text="Why so high?")
    await seen.get_by_role("button", name="Q3").click()
    await until(lambda: _says(bob, "dossier.getCurrentPage().nodeKey", "K53--K46"), 20)
    selected = (
        "dossier.filters[0].filterDetail.items.filter((item) => item.selected).map((item) => item.name)"
    )
    await seen.get_by_role("button", name="Apply (view of Ann Archer)").click()
    await until(lambda: _says(bob, selected, ["Movies"]), 20)
    assert (await bob.evaluate("view.snapshot().applied"))["name"] == "Ann Archer"
    await bob.evaluate("view.back()")
    await until(lambda: _says(bob, selected, []), 20)


async def _says(page: Page, script: str, expected: Any) -> bool:
    return bool(await page.evaluate(script) == expected)
