"""Parts of the panel and of the React hooks by themselves, in Node: what they make of what others wrote, what they
keep, and what they take for read. No browser, and no hooks but such as run at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from collab_server.web import CLIENTS, PREACT
from tests.harness.node_js import node_binary

HOOKS = """
// What a component keeps from one time that it is drawn to the next, once `draw` is used.
const slots = [];
let at = 0;
const slot = (current) => {
  const own = at++;
  return (slots[own] ??= { current });
};
export const draw = (component, props) => ((at = 0), component(props));
export const kept = () => slots.map(({ current }) => current);
const isSame = (before, on) => Boolean(before && on) && before.every((each, index) => each === on[index]);
export const useRef = (current) => slot(current);
export const useEffect = (act, on) => {
  const own = slot();
  if (isSame(own.on, on)) return;
  own.end?.();
  Object.assign(own, { on, end: act() });
};
export const useLayoutEffect = () => {};
export const useMemo = (make, on) => {
  const own = slot();
  if (!isSame(own.on, on)) Object.assign(own, { on, current: make() });
  return own.current;
};
export const useCallback = (act, on) => useMemo(() => act, on);
export const useState = (start) => {
  const kept = slot(typeof start === "function" ? start() : start);
  return [kept.current, (value) => (kept.current = value)];
};
export const useReducer = (_, start) => [start, () => {}];
export const useSyncExternalStore = (_, snapshot) => snapshot();
"""
CLIENT = """
export * from "../client/mentions.js";
export const createClient = null, discussionsOf = null, marksOf = null, placesOf = null, summariesOf = null;
"""
REACT = """
export * from "./hooks.js";
export const createContext = () => ({ current: null });
export const useContext = () => globalThis.client;
export const createElement = null;
"""
HEAD = "const said = {}; const part = (name) => import(`${process.argv[1]}/${name}.js`);\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for name in ("client", "panel", "react"):
        shutil.copytree(CLIENTS[f"collab-{name}"] / "src", folder / name)
    shutil.copy(PREACT, folder / "panel" / "vendor.js")
    (folder / "panel" / "preact.js").write_text(f'export {{ html, render }} from "./vendor.js";{HOOKS}')
    (folder / "panel" / "client.js").write_text(CLIENT)
    (folder / "react" / "hooks.js").write_text(HOOKS)
    (folder / "react" / "react.js").write_text(REACT)
    hooks = folder / "react" / "index.js"
    text = hooks.read_text().replace('from "react"', 'from "./react.js"')
    hooks.write_text(re.sub(r'from "collab-client/(\w+)"', r'from "../client/\1.js"', text))
    return folder


def run(folder: Path, script: str, given: Any = None) -> dict[str, Any]:
    """What the script leaves in `said`."""
    text = (
        f"const given = {json.dumps(given)};{HEAD}{script}\nconsole.log(JSON.stringify(said));process.exit();"
    )
    done = subprocess.run(
        [node_binary(), "--input-type=module", "-e", text, folder],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


SAFE = ["https://a.example/x", "http://a.example", "mailto:ann@a.example"]
UNSAFE = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "vbscript:x",
    "data:text/html,<script>alert(1)</script>", "file:///etc/passwd", "blob:https://a.example/1", "ftp://a.example",
    "//a.example", "/x", "x", "", "https:", None,
]  # fmt: skip


def test_of_whatever_address_only_links_to_pages_and_people_are_made_and_tell_nobody_where_from(
    folder: Path,
) -> None:
    said = run(
        folder,
        """
const { Said } = await part("panel/body");
const links = (part) =>
  Array.isArray(part) ? part.flatMap(links)
  : !part || typeof part !== "object" ? []
  : [...(part.type === "a" ? [part.props] : []), ...links(part.props?.children)];
const text = { type: "text", text: "words" };
const of = (url) => Said({ body: [{ type: "paragraph", children: [{ type: "link", url, children: [text] }] }] }, "me");
const inText = (url) => Said({ text: `see ${url} there`, body: null, mentions: [] }, "me");
said.body = given.map((url) => links(of(url)).map(({ href, rel, target }) => [href, rel, target]));
said.text = given.map((url) => links(inText(url)).map(({ href, rel, target }) => [href.split(":")[0], rel, target]));
""",
        [*SAFE, *UNSAFE],
    )
    how = ["noopener noreferrer nofollow ugc", "_blank"]
    assert [[href for href, *_ in links] for links in said["body"][: len(SAFE)]] == [
        ["https://a.example/x"],
        ["http://a.example/"],
        ["mailto:ann@a.example"],
    ]
    assert said["body"][len(SAFE) :] == [[] for _ in UNSAFE]
    for links in (*said["body"], *said["text"]):
        for href, *so in links:
            assert so == how, "the page there neither learns of ours nor gets hold of it"
            assert href.split(":")[0] in ("https", "http", "mailto")


def test_nobody_is_shown_as_here_before_it_is_known_again_who_has_left(folder: Path) -> None:
    said = run(
        folder,
        """
const { draw } = await part("panel/preact");
const { Present } = await part("panel/panel");
const { Words } = await part("panel/words");
const present = [{ id: "b", name: "Bob Baker", initials: "BB" }];
const words = new Words("en", {});
const shown = (state) => draw(Present, { words, state: { state, present, typing: [] } });
for (const state of given) said[state] = shown(state).props.class.trim();
""",
        ["live", "behind"],
    )
    assert said == {"live": "present", "behind": "present unsure"}


def test_a_name_that_begins_with_another_is_whose_it_is_in_whatever_order_they_were_chosen(
    folder: Path,
) -> None:
    said = run(
        folder,
        """
const { textOf, draftOf } = await part("panel/composer");
const { mentionsOf } = await part("client/mentions");
const people = [["1", "Ann"], ["2", "Ann Archer"], ["3", "Ann Archer Jr"]].map(([id, name]) => (
  { kind: "user", id: id.repeat(32), name }
));
const text = "@Ann Archer and @Ann, not @Annabel Lee or ann@archer.example but @Ann Archer Jr";
said.texts = [people, [...people].reverse(), [people[1], people[0], people[2]]].map((whom) => textOf({ text, whom }));
const stored = said.texts[0];
const again = draftOf({ text: stored, mentions: mentionsOf(stored) });
said.again = [again.text === text, textOf(again) === stored];
""",
    )
    ann, archer, junior = (f"user:{number * 32}" for number in "123")
    [text] = set(said["texts"])
    assert text.startswith(f"@[Ann Archer]({archer}) and @[Ann]({ann}), not ")
    assert text.endswith(f" or ann@archer.example but @[Ann Archer Jr]({junior})")
    assert said["again"] == [True, True]


def test_of_two_people_of_one_name_each_is_told_where_they_were_chosen(folder: Path) -> None:
    said = run(
        folder,
        """
const { changedTo, draftOf, textOf } = await part("panel/composer");
const { mentionsOf } = await part("client/mentions");
const [one, other, team] = ["1", "2", "3"].map((id) => (
  { kind: id === "3" ? "group" : "user", id: id.repeat(32), name: "Ann" }
));
const ids = (draft) => textOf(draft).match(/(?<=:)[123]/gu)?.join("") ?? "";
const choose = (draft, at, whom) => {
  const text = `${draft.text.slice(0, at)}@Ann ${draft.text.slice(at)}`;
  return changedTo(draft, text, at + 5, { at, whom });
};
const type = (draft, at, gone, text) =>
  changedTo(draft, draft.text.slice(0, at) + text + draft.text.slice(at + gone), at + text.length);
const none = { text: "", whom: [] };
const both = choose(choose(none, 0, one), 5, other);
said.both = ids(both);
said.before = ids(choose(both, 0, team));
said.between = ids(choose(both, 5, team));
said.again = ids(choose(type(choose(none, 0, one), 0, 5, ""), 0, other));
said.first = ids(type(both, 0, 5, ""));
said.last = ids(type(both, 5, 5, ""));
said.half = ids(type(both, 0, 3, ""));
said.words = ids(type(type(type(both, 0, 0, "x "), 7, 0, "and "), 16, 0, "!"));
const gone = type(choose(none, 0, one), 0, 5, "");
said.undone = [ids(gone), ids(changedTo(gone, "@Ann ", 5))];
// Whoever is taken out comes back where they were, whichever of them it is, and with whatever is undone after that.
const undo = (draft, text, caret) => changedTo(draft, text, caret);
const three = choose(both, 10, team);
said.back = [0, 5, 10].map((at) => ids(undo(type(three, at, 5, ""), three.text, at + 5)));
const [lacksLast, lacksTwo] = [type(three, 10, 5, ""), type(type(three, 10, 5, ""), 5, 5, "")];
said.backInTurn = ids(undo(undo(lacksTwo, lacksLast.text, 10), three.text, 15));
said.all = ids(undo(type(three, 0, 15, ""), three.text, 15));
let often = none;
for (let time = 0; time < 200; time += 1) often = type(choose(often, 0, [one, other][time % 2]), 0, 5, "");
said.bound = often.whom.length <= 50;
said.written = ids(type(choose(none, 0, one), 5, 0, "@Ann"));
const text = textOf(both);
said.edited = textOf(type(draftOf({ text, mentions: mentionsOf(text) }), 0, 0, "x ")) === `x ${text}`;
""",
    )
    assert said == {
        "both": "12", "before": "312", "between": "132", "again": "2", "first": "2", "last": "1", "half": "2",
        "words": "12", "undone": ["", "1"], "written": "11", "edited": True, "back": ["123"] * 3,
        "backInTurn": "123", "all": "123", "bound": True,
    }  # fmt: skip


def test_yesterday_is_the_day_before_also_where_a_day_has_23_hours(folder: Path) -> None:
    said = run(
        folder,
        """
process.env.TZ = "Europe/Berlin";
const { Words } = await part("panel/words");
const words = new Words("en", { now: "just now" });
const now = Date.parse("2026-03-30T08:00:00+02:00"); // the night to Sunday had an hour less
said.ago = given.map((at) => words.ago(at, now));
""",
        ["2026-03-30T07:59:30+02:00", "2026-03-30T06:20:00+02:00", "2026-03-29T06:00:00+02:00",
         "2026-03-28T09:00:00+01:00", "2026-03-28T00:30:00+01:00", "2026-03-23T09:00:00+01:00",
         "2026-03-23T06:00:00+01:00"],
    )  # fmt: skip
    assert said["ago"] == [
        "just now", "1 hr. ago", "yesterday", "2 days ago", "2 days ago", "7 days ago", "Mar 23, 2026",
    ]  # fmt: skip


def test_a_sentence_goes_as_its_language_goes_whoever_is_named_first_in_it(folder: Path) -> None:
    # An element that goes by its first letters is for what people wrote, not for what is said of it.
    sources = (folder / "panel").glob("*.js")
    turned = [
        file.name for file in sources if re.search(r"<bdi[^>]*>\$\{(?:words\.|listed)", file.read_text())
    ]
    assert not turned
    said = run(
        folder,
        """
const { listed } = await part("panel/parts");
const { wordsOf } = await part("panel/words");
for (const language of given) {
  const words = await wordsOf(language);
  const isolates = /[\\u2066-\\u2069]/gu;
  said[language] = [1, 2, 3, 11, 100].map((count) =>
    listed(words, ["Ann", words.say("more.people", { count })]).replace(isolates, ""));
}
""",
        ["en", "de", "ar", "ja"],
    )
    for language, joined in said.items():  # what joins them is said once
        joins = {"en": " and ", "de": " und ", "ar": "و", "ja": "、"}[language]
        assert [text.removeprefix("Ann").strip().count(joins.strip()) for text in joined] == [1] * 5, joined


def test_a_draft_comes_back_with_whom_it_mentions_to_whoever_wrote_it_where_they_did(folder: Path) -> None:
    odd: list[Any] = [
        None,
        "Ann",
        1,
        {"0": "Ann"},
        [None],
        ["Ann"],
        [{}],
        [{"name": None}],
        [{"name": ["Ann"]}],
    ]
    said = run(
        folder,
        """
const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value),
  removeItem: (key) => kept.delete(key),
};
const { draftAt, keepDraft, onDraft } = await part("panel/drafts");
const whom = [{ kind: "user", id: "1".repeat(32), name: "Ann" }];
keepDraft(["me", "topic", "thread"], { text: "for @Ann", whom });
said.mine = draftAt(["me", "topic", "thread"]);
said.others = [["you", "topic", "thread"], ["me", "other", "thread"], ["me", "topic", "other"]].map(draftAt);
keepDraft(["me", "topic", "thread"], { text: " ", whom });
said.left = kept.size;
// What is no draft is none: another page of the same origin, or another version, may have put it there.
const isNone = (text) => {
  kept.set("collab-draft:me:topic:thread", text);
  return draftAt(["me", "topic", "thread"]).text === "";
};
const odd = ["no JSON", "null", "{}", "[]", '{"text":1,"whom":[]}'];
said.odd = [...odd, ...given.map((whom) => JSON.stringify({ text: "t", whom }))].map(isNone);
kept.clear();
// Another window is told what becomes of it, and of nothing else.
const listeners = new Set();
globalThis.addEventListener = (_, hear) => listeners.add(hear);
globalThis.removeEventListener = (_, hear) => listeners.delete(hear);
const told = [];
const end = onDraft(["me", "topic", "thread"], (before, now) => told.push([before, now.text]));
const draft = (text) => text && JSON.stringify({ text, whom: [] });
const tell = (key, oldValue, newValue) =>
  listeners.forEach((hear) => hear({ key, oldValue: draft(oldValue), newValue: draft(newValue) }));
tell("collab-draft:me:topic:thread", null, "for");
tell("collab-draft:me:topic:other", "for", "for others");
tell("collab-draft:me:topic:thread", "for all", null);
end();
said.told = [told, listeners.size];
""",
        odd,
    )
    assert said["odd"] == [True] * (len(odd) + 5)
    assert said["mine"] == {"text": "for @Ann", "whom": [{"kind": "user", "id": "1" * 32, "name": "Ann"}]}
    assert said["others"] == [{"text": "", "whom": []}] * 3
    assert said["left"] == 0
    assert said["told"] == [[["", "for"], ["for all", ""]], 0]


def test_a_discussion_that_waits_to_be_begun_is_no_draft_any_more_and_one_that_is_refused_is(
    folder: Path,
) -> None:
    said = run(
        folder,
        """
globalThis.localStorage = {
  getItem(key) { return this[key] ?? null; }, setItem(key, value) { this[key] = value; },
  removeItem(key) { delete this[key]; },
};
const { draw } = await part("panel/preact");
const { NewDiscussion } = await part("panel/beginning");
const { draftAt, keepDraft } = await part("panel/drafts");
const places = ["begin", "begin-name"].map((what) => ["me", "content:p:o", what]);
keepDraft(places[0], { text: "words", whom: [{ kind: "user", id: "b", name: "Bob" }] });
keepDraft(places[1], { text: "name", whom: [] });
const kept = () => places.map((place) => draftAt(place).text);
let refuse;
const client = {
  me: { id: "me" }, connection: { isLive: false }, outbox: { snapshot: () => [] },
  change: () => new Promise((_, reject) => (refuse = reject)),
};
const rooms = { home: "content:p:o", isHome: false, onBack: () => {} };
const formOf = (part) =>
  Array.isArray(part) ? part.map(formOf).find(Boolean)
  : part?.type === "form" ? part
  : part?.props && formOf(part.props.children);
const form = formOf(draw(NewDiscussion, { client, words: { say: String }, rooms }));
said.written = kept();
const begun = form.props.onSubmit({ preventDefault: () => {} });
said.waiting = kept();
refuse(new Error());
await begun;
said.refused = kept();
""",
    )
    assert said == {"written": ["words", "name"], "waiting": ["", ""], "refused": ["words", "name"]}


def test_groups_have_initials_in_whatever_browser(folder: Path) -> None:
    said = run(
        folder,
        """
const { Avatar } = await part("panel/parts");
for (const name of given) said[name] = Avatar({ person: { id: "1", name } }).props.children;
""",
        ["Sales (Europe)", "Ann", "Ann  Archer", "A (b) – (c) d"],
    )
    assert said == {"Sales (Europe)": "SE", "Ann": "A", "Ann  Archer": "AA", "A (b) – (c) d": "Ad"}
    for file in folder.rglob("*.js"):
        # Safari learned them in 16.4: one before takes none of the file.
        assert not re.search(r"\(\?<[=!]", file.read_text()), f"{file.name}: an assertion that looks behind"
        # And to ask whether a text is an address in 17: there one link would leave all comments unread.
        assert "canParse" not in file.read_text(), file.name


def test_what_is_in_sight_is_read_after_a_second_in_a_window_that_somebody_looks_at(folder: Path) -> None:
    said = run(
        folder,
        """
const { useReading } = await part("panel/reading");
let look = null;
globalThis.setInterval = (act) => (look = act);
const box = (top, bottom) => ({ top, bottom, height: bottom - top });
const comment = (id, seq) => ({ id, seq });
const shown = (id, top, bottom) => ({ dataset: { comment: id }, getBoundingClientRect: () => box(top, bottom) });
for (const [name, { visibilityState = "visible", hasFocus = true, isPaused = false, unread = 2, isApart }] of given) {
  globalThis.document = { visibilityState, hasFocus: () => hasFocus };
  const read = [];
  const comments = [comment("a", 3), comment("b", 4)];
  // What came first may stand last: in another thread, which began later.
  const apart = isApart ? [[comments[1]], [comments[0]]] : [comments];
  const threads = apart.map((some) => ({ unread: some.length, comments: some }));
  const list = {
    getBoundingClientRect: () => box(0, 100),
    querySelectorAll: () => [shown("a", 10, 40), shown("b", 90, 120)], // of the second one a third
  };
  useReading({
    topic: { read: (seq) => read.push(seq) }, list: { current: list }, isUnread: () => true,
    state: { unread, state: "live", threads }, isPaused: () => isPaused,
  });
  for (let tick = 0; tick < 3; tick += 1) look();
  const early = [...read];
  for (let tick = 0; tick < 3; tick += 1) look();
  said[name] = [early, [...new Set(read)]];
}
""",
        [
            ["seen", {}],
            ["seen in another thread", {"isApart": True}],
            ["hidden", {"visibilityState": "hidden"}],
            ["behind another window", {"hasFocus": False}],
            ["while something else is open", {"isPaused": True}],
            ["while older ones are not loaded", {"unread": 3}],
        ],
    )
    assert said.pop("seen") == said.pop("seen in another thread") == [[], [3]]
    assert said == {name: [[], []] for name in said}
    assert len(said) == 4


def test_what_was_found_for_other_words_takes_not_the_place_of_what_is_looked_for_now(folder: Path) -> None:
    said = run(
        folder,
        """
const { draw, kept } = await part("panel/preact");
const { Search } = await part("panel/search");
const { Words } = await part("panel/words");
globalThis.setTimeout = (act) => act();
globalThis.clearTimeout = () => {};
const turn = () => new Promise((done) => setImmediate(done));
const asked = [];
const ask = (_, payload) => new Promise((resolve) => asked.push({ q: payload.q, resolve }));
const connection = { subscribe: () => () => {}, snapshot: () => ({ state: "live" }) };
const props = { client: { connection, ask }, words: new Words("en", {}), host: {}, name: "a", rooms: {} };
const inputs = (part) =>
  Array.isArray(part) ? part.flatMap(inputs)
  : !part?.props ? []
  : part.type === "input" ? [part.props] : inputs(part.props.children);
const type = (value) => inputs(draw(Search, props))[0].onInput({ target: { value } });
const comment = (id) => ({ id, author: { id: "", name: "" }, text: id, mentions: [] });
const found = (id) => ({ items: [{ comment: comment(id) }], next: null });
const shown = () => kept().flatMap((each) => each?.items ?? []).map(({ comment }) => comment.id);
type("one");
draw(Search, props);
const first = asked.at(-1);
type("two");
draw(Search, props);
const last = asked.at(-1);
said.asked = [first.q, last.q];
first.resolve(found("of one"));
await turn();
said.early = shown();
last.resolve(found("of two"));
await turn();
said.then = shown();
asked[0].resolve(found("of one, late"));
await turn();
said.late = shown();
""",
    )
    assert said == {"asked": ["one", "two"], "early": [], "then": ["of two"], "late": ["of two"]}


def test_threads_are_narrowed_by_place_and_whether_they_are_resolved(folder: Path) -> None:
    said = run(
        folder,
        """
const { useThreads } = await part("react/index");
const root = (pageKey, visualizationKey, resolved) => (
  { anchor: pageKey ? { pageKey, visualizationKey } : null, resolved: resolved ? { by: {}, at: "" } : null }
);
const threads = [
  { id: "1", root: root("K1", "W1", false) }, { id: "2", root: root("K1", "W2", true) },
  { id: "3", root: root(null, null, false) }, { id: "4", root: undefined },
];
globalThis.client = { topic: () => ({ subscribe: () => () => {}, snapshot: () => ({ threads }) }) };
for (const which of given) said[JSON.stringify(which)] = useThreads("a", which).map(({ id }) => id).join("");
""",
        [{}, {"resolved": False}, {"resolved": True}, {"pageKey": "K1"}, {"pageKey": "K1", "resolved": True},
         {"visualizationKey": "W1"}, {"pageKey": "K2"}],
    )  # fmt: skip
    assert list(said.values()) == ["1234", "134", "2", "12", "2", "1", ""]


def test_what_is_drawn_before_a_browser_tells_of_scrolling_keeps_what_one_has_scrolled_to(
    folder: Path,
) -> None:
    script = """
const { useWindow } = await part("panel/window");
const { draw, kept } = await part("panel/preact");
const keys = ["a", "b", "c", "d", "e"];
const place = (top) => ({ top: top - scroller.scrollTop, bottom: top + 100 - scroller.scrollTop });
const rows = keys.map((key, index) => ({ dataset: { key }, getBoundingClientRect: () => place(100 * index) }));
const scroller = { scrollTop: 0, getBoundingClientRect: () => ({ top: 0 }), querySelectorAll: () => rows };
const list = () => useWindow({ current: scroller }, keys, (key) => key);
draw(list);
scroller.scrollTop = 250;
draw(list);
said.anchor = kept().find((value) => value?.key);
"""
    assert run(folder, script)["anchor"] == {"key": "c", "top": -50}


def test_an_element_that_was_taken_out_of_its_page_is_drawn_no_more(folder: Path) -> None:
    said = run(
        folder,
        """
globalThis.HTMLElement = class {
  isConnected = true;
  attachShadow = () => ({ addEventListener: () => {} });
};
const { CollabElement, connect } = await part("panel/element");
class Bell extends CollabElement {
  drawn = 0;
  redraw() { this.drawn += 1; }
}
const bell = new Bell();
const drawn = () => (connect({ connection: {} }), bell.drawn);
said.before = drawn();
bell.connectedCallback();
said.there = drawn();
bell.disconnectedCallback();
said.gone = drawn();
""",
    )
    assert said == {"before": 0, "there": 2, "gone": 2}


def test_hooks_go_on_with_another_topic_when_they_are_told_another(folder: Path) -> None:
    said = run(
        folder,
        """
const { draw } = await part("react/hooks");
const { useSummary, useTyping } = await part("react/index");
const { summariesOf } = await part("client/summaries");
const none = { subscribe: () => () => {}, isLive: false };
const typed = [];
const topics = new Map(["a", "b"].map((name) => [name, {
  subscribe: () => () => {}, snapshot: () => topics.get(name).state, type: () => typed.push(name),
  state: { typing: [name] },
}]));
globalThis.client = { connection: none, outbox: none, on: () => () => {}, topic: (name) => topics.get(name) };
const watched = [];
summariesOf(client).watch = (name) => (watched.push(`+${name}`), () => watched.push(`-${name}`));
const shown = ({ name }) => (useSummary(name), useTyping(name));
for (const name of ["a", "a", "b"]) {
  const [typing, say] = draw(shown, { name });
  say();
  said.typing = typing;
}
Object.assign(said, { watched, typed });
""",
    )
    assert said == {"watched": ["+a", "-a", "+b"], "typed": ["a", "a", "b"], "typing": ["b"]}


NODES = """
const nodes = (part) =>
  Array.isArray(part) ? part.flatMap(nodes) : !part?.props ? [] : [part, ...nodes(part.props.children)];
const having = (part, name) => nodes(part).map(({ props }) => props).filter((props) => props[name]);
"""


def test_one_goes_from_the_inbox_to_the_first_that_one_has_not_read(folder: Path) -> None:
    said = run(
        folder,
        f"""{NODES}
const {{ draw }} = await part("panel/preact");
const {{ Inbox }} = await part("panel/inbox");
const {{ Words }} = await part("panel/words");
const by = {{ id: "ann", name: "Ann" }};
const told = (id, threadId, readAt) => (
  {{ id, topic: "content:F:D", threadId, commentId: `c${{id}}`, readAt, by, text: "", createdAt: "" }}
);
// The newest first.
const notifications = [
  told("5", "t", null), told("4", "u", "now"), told("3", "t", null), told("2", "t", "now"), told("1", "u", "now"),
];
const state = {{ state: "live", notifications, hasOlder: false, unread: 2 }};
const read = [], opened = [];
const inbox = {{ subscribe: () => () => {{}}, snapshot: () => state }};
const change = async (name, payload) => read.push(payload.ids);
const props = {{
  client: {{ inbox, change, connection: {{ isLive: true }} }},
  words: new Words("en", {{}}), host: {{}}, rooms: {{ open: (...where) => opened.push(where) }},
}};
having(draw(Inbox, props), "onChoose").filter(({{ group }}) => group).forEach(({{ onChoose }}) => onChoose());
Object.assign(said, {{ read, opened }});
""",
    )
    assert said["read"] == [["5", "3"]]
    assert said["opened"] == [["content:F:D", "c3"], ["content:F:D", "c4"]]


@pytest.mark.parametrize(
    ("at", "way", "then"),
    [
        ("half", -60, "full"),
        ("half", 60, "low"),
        ("low", -60, "half"),
        ("full", -60, "full"),
        ("low", 60, "low"),
        ("half", 40, None),
    ],
)
def test_a_sheet_that_is_drawn_up_is_higher_and_down_lower(
    folder: Path, at: str, way: int, then: str | None
) -> None:
    said = run(
        folder,
        """
const { draw } = await part("panel/preact");
const { Handle } = await part("panel/sheet");
const { Words } = await part("panel/words");
said.set = null;
const shadowRoot = { addEventListener: () => {}, removeEventListener: () => {} };
const host = { shadowRoot, setAttribute: (_, height) => (said.set = height) };
const { props } = draw(Handle, { words: new Words("en", {}), host, sheet: given.at });
props.onPointerDown({ clientY: 300, pointerId: 1, currentTarget: { setPointerCapture: () => {} } });
props.onPointerUp({ clientY: 300 + given.way });
""",
        {"at": at, "way": way},
    )
    assert said == {"set": then}


def test_nobody_is_offered_who_is_there_already(folder: Path) -> None:
    said = run(
        folder,
        f"""{NODES}
const {{ draw }} = await part("panel/preact");
const {{ Picker }} = await part("panel/picker");
const {{ Words }} = await part("panel/words");
globalThis.setTimeout = (act) => act();
globalThis.clearTimeout = () => {{}};
const items = ["me", "known", "chosen", "new"].map((id) => ({{ kind: "user", id, name: id }}));
const client = {{ me: {{ id: "me" }}, connection: {{ isLive: true }}, ask: async () => ({{ items }}) }};
const words = new Words("en", {{}});
const props = {{ client, words, id: "p", chosen: [items[2]], known: ["known"], onChange: () => {{}} }};
const [input] = having(draw(Picker, props), "onInput");
input.onInput({{ target: {{ value: "x" }} }});
await new Promise((done) => setImmediate(done));
said.offered = having(draw(Picker, props), "people").flatMap(({{ people }}) => people.map(({{ id }}) => id));
""",
    )
    assert said == {"offered": ["new"]}
