"""The parts of `collab-client` by themselves, in Node, with a server whose answers the test holds back: what comes
while something else is under way, which no real server can be made to do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from collab_server.web import CLIENTS
from tests.harness.node_js import node_binary

HEAD = """
const source = process.argv[1];
const part = (name) => import(`${source}/${name}.js`);
const { Refused } = await part("refused");
const turn = () => new Promise((done) => setImmediate(done));
// Time passes when the test says so.
const timers = new Map();
let timed = 0;
globalThis.setTimeout = globalThis.setInterval = (act, ms) => (timers.set((timed += 1), { act, ms }), timed);
globalThis.clearTimeout = globalThis.clearInterval = (timer) => timers.delete(timer);
const pass = async (most) => {
  for (const [timer, { act, ms }] of [...timers]) if (ms <= most && timers.delete(timer)) act();
  await turn();
};
const asked = [];
const ask = (name, payload) =>
  new Promise((resolve, reject) => asked.push({ name, payload, resolve, reject }));
const answer = async (name, value) => {
  const at = asked.findIndex((each) => each.name === name);
  if (at < 0) throw new Error(`${name} was not asked, but ${asked.map((each) => each.name)}`);
  const [{ payload, resolve, reject }] = asked.splice(at, 1);
  if (value instanceof Error) reject(value);
  else resolve(value);
  await turn();
  return payload;
};
const nobody = { subscribe: () => () => {}, snapshot: () => [] };
const heard = {};
const client = {
  ask, me: { id: "me" }, outbox: nobody, connection: { isLive: true, subscribe: (act) => (heard.connection = act) },
  on: (name, act) => ((heard[name] = act), () => {}), change: ask, topicEvent: () => {},
};
const subscribed = {
  recovered: false, epoch: "e", seq: 1, events: [], readSeq: 0, unread: 0, rights: [], commenting: true, present: [],
};
const said = {};
"""


def run(script: str, source: Path | None = None) -> dict[str, Any]:
    """What the script leaves in `said`."""
    done = subprocess.run(
        [
            node_binary(),
            "--input-type=module",
            "-e",
            f"{HEAD}{script}\nconsole.log(JSON.stringify(said));process.exit();",
            source or CLIENTS["collab-client"] / "src",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_of_a_topic_one_change_is_under_way_and_comes_again_when_the_server_says_so() -> None:
    said = run("""
const { Outbox } = await part("outbox");
const outbox = new Outbox({ isLive: true, ask, look: () => ({ user: {} }) }, Promise.resolve(null), () => {});
await outbox.hello("me");
outbox.add("comment.edit", { commentId: "c", text: "one" }, "a");
outbox.add("comment.edit", { commentId: "d", text: "two" }, "a");
outbox.add("comment.edit", { commentId: "e", text: "other" }, "b");
await turn();
const texts = () => asked.map(({ payload }) => payload.text);
said.first = texts();
const { requestId } = await answer("comment.edit", new Refused({ code: "rate_limited", message: "", retryAfter: 30 }));
await pass(29_000);
said.early = texts();
await pass(30_000);
said.again = texts();
said.isSame = asked[1].payload.requestId === requestId;
asked.reverse();
await answer("comment.edit", {});
said.next = texts();
""")
    assert said["first"] == ["one", "other"]
    assert said["early"] == ["other"]
    assert said["again"] == ["other", "one"]
    assert said["isSame"]
    assert said["next"] == ["other", "two"]


def test_a_change_of_ones_own_change_is_of_what_that_has_become_and_one_of_another_window_is_not() -> None:
    said = run("""
const { Outbox } = await part("outbox");
const other = (text, at) => ({
  key: text, space: "me", name: "comment.edit", payload: { commentId: "c", text, ofRevision: 1 }, requestId: text,
  topic: "a", at, state: "waiting", problem: null,
});
const before = Date.now() - 9;
const onTop = { ...other("on top of it", before), after: "of a gone window" };
const left = [other("too old", 1), other("of a gone window", before), onTop];
const keeping = { put: async () => {}, remove: async () => {}, adopt: async () => left.splice(0) };
const outbox = new Outbox({ isLive: true, ask, look: () => ({ user: {} }) }, Promise.resolve(keeping), () => {});
outbox.add("comment.edit", { commentId: "c", text: "one", ofRevision: 1 }, "a");
outbox.add("comment.react", { commentId: "c", emoji: "x" }, "a");
outbox.add("comment.edit", { commentId: "c", text: "two", ofRevision: 1 }, "a");
outbox.add("comment.edit", { commentId: "d", text: "another", ofRevision: 1 }, "a");
outbox.add("comment.delete", { commentId: "c", ofRevision: 1 }, "a");
await outbox.hello("me");
await turn();
said.sent = [];
const stands = { id: "c", revision: 4 };
const refused = new Refused({ code: "conflict", message: "", field: "ofRevision", comment: stands });
for (const answered of [
  { comment: { id: "c", revision: 2 } }, { comment: { id: "c", revision: 3 } },
  refused, {}, refused, { comment: { id: "d", revision: 2 } }, refused,
]) {
  const { name } = asked[0];
  const { commentId, text, ofRevision } = await answer(name, answered);
  said.sent.push([name, commentId, text ?? null, ofRevision ?? null]);
  await turn();
}
const shown = ({ state, payload, problem }) => [state, payload.text ?? null, problem.comment?.revision ?? null];
said.left = outbox.snapshot().map(shown);
outbox.add("comment.edit", { commentId: "c", text: "three", ofRevision: 4 }, "a");
await turn();
said.next = asked[0].payload.ofRevision;
""")
    assert said["sent"] == [
        ["comment.edit", "c", "of a gone window", 1],
        ["comment.edit", "c", "on top of it", 2],
        ["comment.edit", "c", "one", 1],
        ["comment.react", "c", None, None],
        ["comment.edit", "c", "two", 1],
        ["comment.edit", "d", "another", 1],
        ["comment.delete", "c", None, 1],
    ]
    assert said["left"] == [
        ["refused", "too old", None],
        ["refused", "one", 4],
        ["refused", "two", 4],
        ["refused", None, 4],
    ]
    assert said["next"] == 4


def test_what_somebody_has_left_waits_until_they_are_back() -> None:
    """Also where nothing is kept: a window's own entries are given to no other one while it lives."""
    said = run("""
const { Outbox } = await part("outbox");
const connection = { isLive: true, ask, look: () => ({ user: {} }) };
const outbox = new Outbox(connection, Promise.resolve(null), () => {});
const shown = () => outbox.snapshot().map(({ payload, state }) => [payload.text, state]);
outbox.add("comment.edit", { commentId: "c", text: "before" }, "a");
await outbox.hello("ann");
connection.isLive = false;
await answer("comment.edit", new Refused({ code: "no_answer", message: "" }));
const promised = outbox.add("comment.edit", { commentId: "d", text: "offline" }, "b");
connection.isLive = true;
await outbox.hello("bob");
await pass(10_000);
said.asBob = [shown(), asked.length];
outbox.add("comment.edit", { commentId: "e", text: "of Bob" }, "a");
await turn();
said.ofBob = [shown(), asked.length];
await outbox.hello("ann");
await turn();
said.asAnn = [shown(), asked.map(({ payload }) => payload.text)];
for (const _ of "123") await answer("comment.edit", { comment: { revision: 2 } });
said.promised = (await promised).comment.revision;
said.left = shown();
""")
    assert said["asBob"] == [[], 0]
    assert said["ofBob"] == [[["of Bob", "sending"]], 1]
    assert said["asAnn"] == [
        [["before", "sending"], ["offline", "sending"]],
        ["of Bob", "before", "offline"],
    ]
    assert (said["promised"], said["left"]) == (2, [])


def test_what_is_not_among_the_counts_any_more_is_known_no_more() -> None:
    said = run("""
const { summariesOf } = await part("summaries");
const summaries = summariesOf(client);
const both = [{ topic: "a", unread: 1 }, { topic: "b", unread: 2 }];
const known = () => ["a", "b"].map((topic) => summaries.snapshot().of(topic)?.unread ?? null);
both.forEach(({ topic }) => summaries.watch(topic));
await pass(1000);
await answer("topic.watch", { items: both });
said.before = known();
client.connection.isLive = false;
heard.connection();
client.connection.isLive = true;
heard.connection();
await answer("topic.watch", { items: [{ topic: "b", unread: 3 }] });
said.after = known();
""")
    assert said == {"before": [1, 2], "after": [None, 3]}


def test_what_was_read_meanwhile_is_not_unread_among_the_older_notifications() -> None:
    said = run("""
const { Inbox } = await part("inbox");
const inbox = new Inbox(client);
const one = (id, readAt = null) => ({ id, readAt });
inbox.hello("inbox:me");
await answer("topic.subscribe", { ...subscribed, seq: 5 });
await answer("notification.count", { unread: 2, seq: 5 });
await answer("notification.list", { items: [one("new")], next: "more", seq: 5 });
const older = inbox.older();
inbox.said("notification.read", { type: "notification.read", seq: 6, at: "now", data: { ids: ["old"], unread: 1 } });
await answer("notification.list", { items: [one("old")], next: null, seq: 5 });
await answer("notification.list", { items: [one("old", "now")], next: null, seq: 6 });
await older;
const { notifications, unread, hasOlder } = inbox.snapshot();
said.read = notifications.map(({ id, readAt }) => [id, readAt]);
said.rest = [unread, hasOlder, asked.length];
""")
    assert said == {"read": [["new", None], ["old", "now"]], "rest": [1, False, 0]}


def test_a_mark_that_is_told_while_all_are_read_is_newer_than_they_are() -> None:
    said = run("""
const { marksOf } = await part("marks");
const marks = marksOf(client, { name: "a", subscribe: () => () => {}, snapshot: () => ({ state: "live" }) });
marks.subscribe(() => {});
heard["thread.was_marked"]({ data: { topic: "a", thread: { threadId: "t", following: false, muted: true } } });
const items = [{ threadId: "t", following: true, muted: false }, { threadId: "u", following: true, muted: false }];
await answer("thread.marks", { items, next: null });
for (const thread of ["t", "u", "v"]) said[thread] = marks.snapshot().of(thread);
""")
    assert said == {
        "t": {"following": False, "muted": True},
        "u": {"following": True, "muted": False},
        "v": {"following": False, "muted": False},
    }


def test_what_is_chosen_for_a_thread_shows_before_it_is_sent_and_not_after_it_was_refused() -> None:
    said = run("""
const { marksOf } = await part("marks");
let entries = [];
client.outbox = { subscribe: () => () => {}, snapshot: () => entries };
const marks = marksOf(client, { name: "a", subscribe: () => () => {}, snapshot: () => ({ state: "behind" }) });
for (const state of ["waiting", "sending", "refused"]) {
  entries = [
    { name: "thread.mute", state, payload: { commentId: "t", muted: true } },
    { name: "comment.edit", state, payload: { commentId: "u", text: "" } },
  ];
  marks.changed();
  said[state] = ["t", "u"].map((thread) => marks.snapshot().of(thread).muted);
}
""")
    assert said == {"waiting": [True, False], "sending": [True, False], "refused": [False, False]}


def test_as_many_discussions_as_are_shown_are_read_anew() -> None:
    said = run("""
const { discussionsOf } = await part("discussions");
const discussions = discussionsOf(client);
const names = () => discussions.snapshot().discussions.map(({ name }) => name);
const page = (number, name, next) => answer("discussion.list", {
  items: [
    { topic: `discussion:${number}`, name, lastSeq: 1, unread: 0, createdAt: `2026-11-0${9 - number}T08:00:00Z` },
  ],
  next,
});
discussions.subscribe(() => {});
await pass(300);
await page(1, "one", "more");
said.first = names();
discussions.older();
await page(2, "two", "yet more");
said.older = names();
heard["discussion.renamed"]({});
await pass(300);
await page(1, "One", "more");
said.asked = [(await page(2, "Two", "yet more")).cursor, asked.some(({ name }) => name === "discussion.list")];
said.anew = names();
""")
    assert said == {
        "first": ["one"],
        "older": ["one", "two"],
        "asked": ["more", False],
        "anew": ["One", "Two"],
    }


def test_of_what_gone_windows_have_left_one_takes_what_is_ones_own_and_once() -> None:
    said = run("""
const { indexedDb } = await part("keeping");
const rows = new Map();
const request = (result) => {
  const asked = { result, transaction: {} };
  queueMicrotask(() => (asked.onupgradeneeded?.(), asked.onsuccess?.(), asked.transaction.oncomplete?.()));
  return asked;
};
let stores = true; // else it never comes to it
const store = {
  put: (row) => stores ? request(void rows.set(row.key, row)) : { transaction: {} },
  delete: (key) => request(void rows.delete(key)), getAll: () => request([...rows.values()]),
};
globalThis.localStorage = { "of somebody else": "no JSON" };
globalThis.addEventListener = () => {};
const database = { createObjectStore: () => {}, transaction: () => ({ objectStore: () => store }) };
globalThis.indexedDB = { open: () => request(database) };
const alive = new Set();
const query = async () => ({ held: [...alive].map((name) => ({ name })) });
const locks = { request: (name, held) => (alive.add(name), held()), query };
Object.defineProperty(globalThis, "navigator", { value: { locks } });
const entry = (key, space) => ({ key, space, at: 1 });
const [gone, living] = [await indexedDb("gone"), await indexedDb("living")];
for (const each of [entry("mine", "me"), entry("theirs", "you")]) await gone.put(each);
await living.put(entry("of a living window", "me"));
stores = false;
gone.put(entry("also mine, and new", "me"));
stores = true;
alive.delete("gone");
const [here, there] = [await indexedDb("here"), await indexedDb("there")];
const keys = (entries) => entries.map(({ key }) => key).sort();
said.here = keys(await here.adopt("me"));
said.there = keys(await there.adopt("me"));
said.others = keys(await there.adopt("you"));
await here.remove("mine");
said.left = keys([...rows.values()]);
said.new = Object.keys(localStorage);
alive.delete("living");
// What is of the page is in the way of nothing, neither in the database nor behind it in the storage.
for (const [name, text] of [["a", "no JSON"], ["b", "null"], ["c", "{}"]]) localStorage[`collab-client-${name}`] = text;
stores = false;
living.put(entry("of a living window, and new", "me"));
stores = true;
said.last = keys(await here.adopt("me"));
""")
    assert said == {
        "here": ["also mine, and new", "mine"],
        "there": [],
        "others": ["theirs"],
        "left": ["also mine, and new", "of a living window", "theirs"],
        "new": ["of somebody else"],
        "last": ["of a living window", "of a living window, and new"],
    }


TOPIC = """
const { Topic } = await part("topic");
const comment = (id, seq, more) => ({
  id, seq, threadId: "root", author: { id: "you" }, replyCount: 0, reactions: {}, deletedAt: null, text: id, ...more,
});
const added = (id, seq) => ({ type: "comment.added", seq, actor: { id: "you" }, data: { comment: comment(id, seq) } });
const topic = new Topic(client, "a");
topic.open();
await answer("topic.subscribe", { ...subscribed, unread: 1 });
await answer("topic.get", { muted: false });
await answer("topic.comments", { items: [comment("root", 1)], next: null, seq: 1 });
topic.said("", added("reply", 2));
"""


def test_a_reply_that_was_read_with_its_thread_is_not_counted_once_more() -> None:
    said = run(f"""{TOPIC}
const count = () => topic.snapshot().threads[0].root.replyCount;
said.first = count();
const thread = topic.thread("root");
const items = [comment("root", 1, {{ replyCount: 2 }}), comment("reply", 2), comment("late", 3)];
await answer("topic.comments", {{ items, next: null, seq: 3 }});
await thread;
said.asRead = count();
topic.said("", added("late", 3));
said.afterTheEvent = count();
topic.said("", added("later", 4));
said.afterTheNext = count();
said.shown = topic.snapshot().threads[0].comments.map(({{ id }}) => id);
""")
    assert said == {
        "first": 1,
        "asRead": 2,
        "afterTheEvent": 2,
        "afterTheNext": 3,
        "shown": ["root", "reply", "late", "later"],
    }


def test_whoever_comes_is_there_once_though_they_are_told_of_twice() -> None:
    """What is said while a topic is being followed again may be in the answer, too."""
    said = run(f"""{TOPIC}
const present = () => topic.snapshot().present.map(({{ id, name }}) => `${{id}} ${{name}}`);
const ann = {{ id: "ann", name: "Ann" }}, bob = {{ id: "bob", name: "Bob" }};
topic.said("presence", {{ joined: [ann, bob], left: [] }});
topic.said("presence", {{ joined: [{{ ...ann, name: "Ann Archer" }}], left: [] }});
said.twice = present();
topic.said("presence", {{ joined: [], left: [ann] }});
said.left = present();
""")
    assert said == {"twice": ["bob Bob", "ann Ann Archer"], "left": ["bob Bob"]}


def test_what_one_is_reading_is_not_unread_for_what_another_device_has_read() -> None:
    said = run(f"""{TOPIC}
const state = () => [topic.snapshot().readSeq, topic.snapshot().unread];
said.before = state();
topic.read();
said.reading = state();
topic.inboxEvent({{ type: "topic.was_read", data: {{ topic: "a", seq: 1, unread: 1 }} }});
said.other = state();
await answer("topic.read", {{ unread: 0 }});
said.read = state();
topic.inboxEvent({{ type: "topic.was_unread", data: {{ topic: "a", seq: 0, unread: 2 }} }});
said.unread = state();
""")
    assert said == {"before": [0, 2], "reading": [2, 0], "other": [2, 0], "read": [2, 0], "unread": [0, 2]}


def test_of_a_deleted_comment_its_page_is_left_and_nothing_that_was_in_it() -> None:
    said = run("""
const { fold } = await part("fold");
const anchor = { pageKey: "K1", visualizationKey: "W1", dataPoint: { secret: 1 } };
const before = { id: "c", text: "words", mentions: [1], body: [1], viewState: {}, deletedAt: null, anchor };
for (const type of ["comment.deleted", "comment.delete"]) {
  const { text, mentions, body, viewState, anchor: left } = fold(before, { type, data: { commentId: "c" }, at: "now" });
  said[type] = [text, mentions, body, viewState, left];
}
said.nowhere = fold({ ...before, anchor: { dataPoint: 1 } }, { type: "comment.deleted", data: {}, at: "now" }).anchor;
""")
    tombstone: list[Any] = ["", [], None, None, {"pageKey": "K1", "visualizationKey": "W1"}]
    assert said == {"comment.deleted": tombstone, "comment.delete": tombstone, "nowhere": None}


def test_a_store_tells_every_change_and_of_many_in_a_turn_once() -> None:
    said = run("""
const { Store } = await part("store");
const store = new Store();
let told = 0;
const end = store.subscribe(() => (told += 1));
for (const changes of [1, 3, 2]) {
  for (let change = 0; change < changes; change += 1) store.changed();
  await turn();
}
said.told = told;
end();
store.changed();
await turn();
said.afterwards = told;
""")
    assert said == {"told": 3, "afterwards": 3}


FAKE_SOCKET = """
export const sockets = [];
export function io(url) {
  const listeners = new Map();
  const socket = {
    url, id: "s", active: false, connects: 0,
    on: (name, act) => listeners.set(name, act), onAny: (act) => (socket.any = act),
    connect: () => (socket.connects += 1),
    sent: [], timeout: () => ({
      emitWithAck: async (name, payload) => (socket.sent.push(payload), { ok: true, data: { items: [], comment: {} } }),
    }),
    disconnect: () => {}, say: (name, said) => listeners.get(name)(said),
  };
  sockets.push(socket);
  return socket;
}
"""


def test_a_client_that_is_closed_does_not_come_back(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Connection } = await part("connection");
const { sockets } = await part("socket");
const start = async () => {
  const connection = new Connection("http://127.0.0.1", () => ({ authToken: "t" }), {}, () => {}, () => {});
  await turn();
  const socket = sockets.at(-1);
  const problem = Object.assign(new Error("rate_limited"), { data: { retryAfter: 30 } });
  socket.say("connect_error", problem);
  return { connection, socket };
};
const stays = await start();
const closed = await start();
closed.connection.close();
await pass(29_000);
said.early = [stays.socket.connects, closed.socket.connects];
await pass(30_000);
said.late = [stays.socket.connects, closed.socket.connects];
""",
        tmp_path / "src",
    )
    assert said == {"early": [1, 1], "late": [2, 1]}


def test_whom_the_server_has_put_out_comes_back_by_itself(tmp_path: Path) -> None:
    """socket.io-client comes back by itself but then."""
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Connection } = await part("connection");
const { sockets } = await part("socket");
new Connection("http://127.0.0.1", () => ({ authToken: "t" }), {}, () => {}, () => {});
await turn();
const [socket] = sockets;
for (const reason of ["io server disconnect", "transport close"]) {
  socket.say("server.hello", { user: { id: "me" }, node: "n", resumeToken: "r" });
  const before = socket.connects;
  socket.say("disconnect", reason);
  await pass(5000);
  said[reason] = socket.connects - before;
}
""",
        tmp_path / "src",
    )
    assert said == {"io server disconnect": 1, "transport close": 0}


def test_whoever_reaches_nobody_is_told_so_until_somebody_is_there(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Connection } = await part("connection");
const { sockets } = await part("socket");
const connection = new Connection("http://127.0.0.1", () => ({ authToken: "t" }), {}, () => {}, () => {});
await turn();
const [socket] = sockets;
const now = () => {
  const { state, problem } = connection.snapshot();
  return [state, problem?.code, problem?.message];
};
socket.active = true;
socket.say("connect_error", new Error("websocket error"));
said.away = now();
socket.say("server.hello", { user: { id: "me" }, node: "n", resumeToken: "r" });
said.here = now();
""",
        tmp_path / "src",
    )
    assert said == {"away": ["connecting", "no_answer", "websocket error"], "here": ["live", None, None]}


def test_to_a_node_of_the_version_before_is_said_what_it_knows_and_to_the_next_all(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Client } = await part("client");
const { sockets } = await part("socket");
const page = new Client({ url: "http://127.0.0.1", auth: () => ({ authToken: "t" }), keeping: null });
await turn();
const [socket] = sockets;
const viewState = { format: "of the page", ofRevision: 7 };
const change = { commentId: "c", text: "Second", format: "markdown", ofRevision: 1, viewState };
const rename = { discussionId: "d", name: "Plans", ofName: "Plan" };
said.sent = [];
for (const [id, knows] of [["old", {}], ["new", { knows: ["ofName", "ofRevision"] }], ["old again", {}]]) {
  socket.id = id;
  socket.say("server.hello", { user: { id: "me" }, node: id, resumeToken: "r", ...knows });
  await turn();
  const before = socket.sent.length;
  await Promise.all([page.change("comment.edit", change, "a"), page.change("discussion.rename", rename, "b")]);
  said.sent.push(socket.sent.slice(before).filter(({ requestId }) => requestId));
  socket.say("disconnect", "transport close");
}
""",
        tmp_path / "src",
    )
    for sent in said["sent"]:
        assert [payload.pop("requestId") for payload in sent]
    whole: list[dict[str, Any]] = [
        {
            "commentId": "c",
            "text": "Second",
            "format": "markdown",
            "ofRevision": 1,
            "viewState": {"format": "of the page", "ofRevision": 7},
        },
        {"discussionId": "d", "name": "Plans", "ofName": "Plan"},
    ]
    known = [
        {name: value for name, value in payload.items() if name not in ("format", "ofRevision", "ofName")}
        for payload in whole
    ]
    assert said["sent"] == [known, whole, known]


def test_a_client_is_of_its_pages_server_unless_it_is_told_and_what_signs_nobody_in_is_said(
    tmp_path: Path,
) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Client } = await part("client");
const { sockets } = await part("socket");
const auth = { authToken: "t" };
const made = (options) => {
  try {
    const { connection } = new Client({ keeping: null, ...options });
    return [sockets.at(-1).url, connection];
  } catch (error) {
    return [error.name, error.message];
  }
};
said.nowhere = made({ auth });
const url = "http://127.0.0.1/below";
said.text = made({ url, auth: "t" });
const [, ended] = made({ url, auth: async () => "t" });
await turn();
const { state, problem } = ended.snapshot();
said.asked = [state, problem.code, problem.message, sockets.at(-1).connects];
globalThis.location = { href: "https://a.example:8443/page/?x#y", toString() { return this.href; } };
said.page = made({ auth })[0];
said.told = [made({ url, auth })[0], made({ url: new URL(url), auth })[0], made({ url: "/below", auth })[0]];
""",
        tmp_path / "src",
    )
    expected = "Expected {url, auth: {identityToken}}."
    assert said == {
        "nowhere": ["TypeError", expected],
        "text": ["TypeError", expected],
        "asked": ["signed_out", "unauthenticated", expected, 0],
        "page": "https://a.example:8443",
        "told": ["http://127.0.0.1", "http://127.0.0.1", "https://a.example:8443"],
    }


def test_a_client_that_cannot_be_made_leaves_nothing_behind_that_ends_the_program(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { createClient } = await part("client");
const url = "http://127.0.0.1";
const auth = { authToken: "t" };
const wrong = [{ url, auth: "t" }, { auth }, undefined, null, "t", {}, { url }, { url, auth: null }, { url, auth: 1 }];
said.wrong = [];
for (const options of wrong) {
  try {
    createClient(options);
  } catch (error) {
    said.wrong.push(`${error.name}: ${error.message}`);
  }
}
await turn();
""",
        tmp_path / "src",
    )
    assert said == {"wrong": ["TypeError: Expected {url, auth: {identityToken}}."] * 9}


def test_what_is_no_command_and_no_text_costs_neither_the_connection_nor_what_a_topic_shows(
    tmp_path: Path,
) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { createClient } = await part("client");
const { sockets } = await part("socket");
const page = createClient({ url: "http://127.0.0.1", auth: { authToken: "t" }, keeping: null });
await turn();
const [socket] = sockets;
socket.id = "one";
socket.say("server.hello", { user: { id: "me" }, node: "n", resumeToken: "r", knows: [] });
await turn();
said.names = [];
socket.timeout = () => ({ emitWithAck: (name) => (said.names.push(name), new Promise(() => {})) });
page.ask().catch(() => {});
page.ask(null, {}).catch(() => {});
await turn();
const topic = page.topic("content:A:B");
topic.add({}).catch(() => {});
await turn();
said.names.length = 2;
said.texts = topic.snapshot().threads.map(({ root }) => root.text);
""",
        tmp_path / "src",
    )
    assert said == {"names": ["undefined", "null"], "texts": [""]}


def test_what_is_no_json_is_an_error_at_once_and_holds_nothing_up() -> None:
    said = run("""
const { Outbox } = await part("outbox");
const connection = { isLive: true, ask, look: () => ({ user: {} }) };
const outbox = new Outbox(connection, Promise.resolve(null), () => {});
outbox.hello("me");
await turn();
const circle = {};
circle.self = circle;
const fate = (promise) => promise.then(() => "done", (error) => error.name ?? error.code);
const refused = [];
for (const text of [circle, 1n]) refused.push(await fate(outbox.add("comment.add", { text }, "t")));
said.refused = refused;
const text = { of: "then" };
const fine = fate(outbox.add("comment.add", { text }, "t"));
text.of = "now";
said.sent = asked[0].payload.text;
await answer("comment.add", { comment: {} });
said.fine = await fine;
said.left = outbox.snapshot().length;
outbox.close();
said.closed = await outbox.add("comment.add", {}, "t").catch((error) => error.code);
""")
    assert said == {
        "refused": ["TypeError", "TypeError"],
        "sent": {"of": "then"},
        "fine": "done",
        "left": 0,
        "closed": "closed",
    }


def test_what_a_listener_throws_is_told_and_keeps_nothing_from_anybody(tmp_path: Path) -> None:
    shutil.copytree(CLIENTS["collab-client"] / "src", tmp_path / "src")
    (tmp_path / "src" / "socket.js").write_text(FAKE_SOCKET)
    said = run(
        """
const { Client } = await part("client");
const { Store } = await part("store");
const { sockets } = await part("socket");
said.thrown = [];
said.heard = [];
process.on("unhandledRejection", (error) => said.thrown.push(error.message));
const store = new Store();
store.subscribe(() => { throw new Error("of a change"); });
store.subscribe(() => said.heard.push("the change"));
store.changed();
await turn();
const page = new Client({ url: "http://127.0.0.1", auth: () => ({ authToken: "t" }), keeping: null });
page.on("server.hello", () => { throw new Error("of an event"); });
page.on("server.hello", () => said.heard.push("the event"));
sockets.at(-1).any("server.hello", {});
await turn();
""",
        tmp_path / "src",
    )
    assert said == {"heard": ["the change", "the event"], "thrown": ["of a change", "of an event"]}
