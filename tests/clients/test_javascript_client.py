"""`collab-client` in Node: what it shows is what the server has, whatever happens in between."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from collab_client import Client
from tests.clients import scenario
from tests.clients.javascript import JavaScriptClient, JavaScriptError
from tests.clients.ways import url_of
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.vectors import vectors
from tests.harness.waiting import until

Start = Callable[..., Awaitable[JavaScriptClient]]

OPEN = "client.topic(given).open()"
SHOWN = """
const state = client.topic(given).snapshot();
return {...state, texts: state.threads.flatMap((thread) => thread.comments.map((comment) => comment.text)),
        pending: state.threads.flatMap((thread) => thread.comments.map((comment) => comment.pending?.state ?? null))}
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest_asyncio.fixture
async def start(cluster: Cluster, packages: Path) -> AsyncIterator[Start]:
    started: list[JavaScriptClient] = []

    async def begin(login: str = "ann", url: str | None = None, **more: Any) -> JavaScriptClient:
        person = await cluster.person(login)
        client = await JavaScriptClient.start(url or cluster[0].url, person, packages, **more)
        started.append(client)
        return client

    yield begin
    for client in started:
        await client.__aexit__()


async def test_a_comment_is_shown_at_once_and_once(start: Start, topic: str) -> None:
    ann, bob = await start("ann"), await start("bob")
    for client in (ann, bob):
        await client.run(OPEN, topic)
        await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    counts = await ann.run(
        """
        const topic = client.topic(given), counts = new Set();
        const count = () => counts.add(topic.snapshot().threads.length);
        topic.subscribe(count);
        const {comment} = await topic.add({text: "Look at March"});
        count();
        await new Promise((done) => setTimeout(done, 300));
        count();
        return {counts: [...counts], id: comment.id, shown: topic.snapshot().threads[0].comments[0]}
        """,
        topic,
    )
    assert counts["counts"] == [1]
    assert counts["shown"]["id"] == counts["id"]
    assert "pending" not in counts["shown"]
    shown = await bob.until(SHOWN, lambda shown: shown["texts"] == ["Look at March"], given=topic)
    assert shown["unread"] == 1
    await bob.run("client.topic(given).read()", topic)
    await bob.until(SHOWN, lambda shown: shown["unread"] == 0, given=topic)
    assert (await bob.run("return client.ask('topic.get', {topic: given})", topic))["unread"] == 0


async def test_what_is_written_while_the_network_is_away_arrives_once_and_in_order(
    start: Start, topic: str, proxy: Proxy
) -> None:
    ann, bob = await start("ann", url_of(proxy)), await start("bob")
    await ann.run(OPEN, topic)
    await bob.run(OPEN, topic)
    await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    proxy.refuse()
    proxy.cut()
    await ann.until(SHOWN, lambda shown: shown["state"] == "behind", given=topic)
    await ann.run("for (const text of ['one', 'two', 'three']) void client.topic(given).add({text})", topic)
    shown = await ann.run(SHOWN, topic)
    assert shown["texts"] == ["one", "two", "three"]
    assert set(shown["pending"]) <= {"waiting", "sending"}
    proxy.heal()
    await ann.until(SHOWN, lambda shown: set(shown["pending"]) == {None}, given=topic)
    for client in (ann, bob):
        await client.until(SHOWN, lambda shown: shown["texts"] == ["one", "two", "three"], given=topic)


async def test_what_waits_survives_the_end_of_its_window(
    start: Start, topic: str, proxy: Proxy, tmp_path: Path
) -> None:
    kept = tmp_path / "outbox.json"
    ann = await start("ann", url_of(proxy), kept=kept)
    await ann.run(OPEN, topic)
    await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    proxy.refuse()
    proxy.cut()
    for text in ("from the train", "from the bus", "on foot"):
        await ann.run(f"void client.topic(given).add({{text: '{text}'}})", topic)
    await ann.until(
        "return client.outbox.snapshot().length", lambda _: kept.exists() and "on foot" in kept.read_text()
    )
    await ann.kill()
    proxy.heal()
    again = await start("ann", url_of(proxy), kept=kept)
    await again.run(OPEN, topic)
    await again.until(SHOWN, lambda shown: shown["seq"] == 3, given=topic)
    shown = await again.run(SHOWN, topic)
    assert shown["texts"] == ["from the train", "from the bus", "on foot"]
    assert shown["pending"] == [None] * 3


async def test_what_is_refused_stays_at_the_comment_until_it_is_discarded(start: Start, topic: str) -> None:
    ann = await start("ann")
    await ann.run(OPEN, topic)
    await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    with pytest.raises(JavaScriptError) as refused:
        await ann.run("await client.topic(given).add({text: 'x'.repeat(10001)})", topic)
    assert refused.value.code == "too_large"
    assert (await ann.run(SHOWN, topic))["pending"] == ["refused"]
    await ann.run(
        """
        const [entry] = client.outbox.snapshot();
        client.outbox.retry(entry.key, {...entry.payload, text: "short"});
        """,
        topic,
    )
    await ann.until(
        SHOWN, lambda shown: shown["texts"] == ["short"] and shown["pending"] == [None], given=topic
    )
    # What ends the connection for it is not sent again and again.
    codes = await ann.run(
        """
        let deep = {}, codes = [];
        for (let level = 0; level < 200; level += 1) deep = {in: deep};
        for (const odd of [{text: "x".repeat(1500000)}, {text: "x", viewState: deep}]) {
          codes.push(await client.topic(given).add(odd).then(() => null, ({code}) => code));
          client.outbox.discard(client.outbox.snapshot()[0].key);
        }
        return codes;
        """,
        topic,
    )
    assert codes == ["too_large", "invalid"]
    assert await ann.run("return client.outbox.snapshot()") == []


async def test_an_edit_that_waited_takes_no_later_words_away_and_shows_them(
    start: Start, topic: str, proxy: Proxy, tmp_path: Path
) -> None:
    kept = tmp_path / "outbox.json"
    ann, elsewhere = await start("ann", url_of(proxy), kept=kept), await start("ann")
    for client in (ann, elsewhere):
        await client.run(OPEN, topic)
        await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    body = "return (await client.topic(given).add({text: '*first*', format: 'markdown'})).comment"
    comment = await elsewhere.run(body, topic)
    assert comment["body"]
    await ann.until(SHOWN, lambda shown: shown["texts"] == ["*first*"], given=topic)
    proxy.refuse()
    proxy.cut()
    await ann.until(SHOWN, lambda shown: shown["state"] == "behind", given=topic)
    edit = "client.topic(given.topic).edit(given.id, given.text)"
    given = {"topic": topic, "id": comment["id"]}
    for text in ("of the train", "of the train, too"):
        await ann.run(f"void {edit}", {**given, "text": text})
    await ann.until("return 0", lambda _: kept.exists() and "train, too" in kept.read_text())
    await ann.kill()
    await elsewhere.run(f"await {edit}", {**given, "text": "meanwhile"})
    proxy.heal()
    again = await start("ann", url_of(proxy), kept=kept)
    await again.run(OPEN, topic)
    await again.until(SHOWN, lambda shown: shown["pending"] == ["refused"], given=topic)
    assert (await again.run(SHOWN, topic))["texts"] == ["meanwhile"]
    first, second = await again.until(
        "return client.outbox.snapshot()",
        lambda entries: [entry["state"] for entry in entries] == ["refused"] * 2,
    )
    for entry, text in ((first, "of the train"), (second, "of the train, too")):
        assert entry["payload"]["text"] == text
        assert (entry["problem"]["code"], entry["problem"]["field"]) == ("conflict", "ofRevision")
        assert (entry["problem"]["comment"]["text"], entry["problem"]["comment"]["revision"]) == (
            "meanwhile",
            2,
        )
    await again.run(
        """
        client.outbox.discard(given.first.key);
        client.outbox.retry(given.second.key, {...given.second.payload, ofRevision: 2});
        """,
        {"first": first, "second": second},
    )
    shown = await again.until(SHOWN, lambda shown: shown["texts"] == ["of the train, too"], given=topic)
    await elsewhere.until(SHOWN, lambda other: other["texts"] == shown["texts"], given=topic)


async def test_of_edits_one_on_another_each_is_of_what_the_one_before_has_become(
    start: Start, topic: str, proxy: Proxy
) -> None:
    ann = await start("ann", url_of(proxy))
    await ann.run(OPEN, topic)
    await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    id = await ann.run("return (await client.topic(given).add({text: 'first'})).comment.id", topic)
    proxy.refuse()
    proxy.cut()
    await ann.until(SHOWN, lambda shown: shown["state"] == "behind", given=topic)
    script = """
        const topic = client.topic(given.topic);
        void topic.edit(given.id, "second"); void topic.react(given.id, "👍"); void topic.edit(given.id, "third");
    """
    await ann.run(script, {"topic": topic, "id": id})
    proxy.heal()
    await ann.until(
        SHOWN, lambda shown: shown["texts"] == ["third"] and shown["pending"] == [None], given=topic
    )
    revisions = await ann.run("return client.ask('comment.revisions', {commentId: given})", id)
    assert [each["text"] for each in revisions["items"]] == ["first", "second", "third"]


async def test_everything_that_happens_to_a_comment_is_shown(start: Start, topic: str) -> None:
    ann, bob = await start("ann"), await start("bob")
    for client in (ann, bob):
        await client.run(OPEN, topic)
        await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    await ann.run(
        """
        const topic = client.topic(given);
        const {comment: {id}} = await topic.add({text: "first"});
        const {comment: reply} = await topic.add({text: "reply", replyTo: id});
        void topic.react(id, "👍"); void topic.resolve(id); void topic.edit(id, "edited");
        await topic.delete(reply.id);
        """,
        topic,
    )
    expected = None
    for client in (ann, bob):
        shown = await client.until(
            SHOWN,
            lambda shown: shown["texts"] == ["edited", ""] and shown["threads"][0]["root"]["resolved"],
            given=topic,
        )
        root = shown["threads"][0]["root"]
        assert list(root["reactions"]) == ["👍"]
        assert root["replyCount"] == 1
        stored = await client.run("return client.ask('topic.comments', {topic: given})", topic)
        assert shown["threads"][0]["comments"] == stored["items"]
        expected = expected or shown["threads"]
        assert [thread["comments"] for thread in shown["threads"]] == [
            thread["comments"] for thread in expected
        ]


async def test_snapshots_are_the_same_object_while_nothing_changes(start: Start, topic: str) -> None:
    ann = await start("ann")
    await ann.run(OPEN, topic)
    await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    assert await ann.run(
        """
        const topic = client.topic(given);
        const {comment: {id}} = await topic.add({text: "one"});
        await topic.add({text: "two"});
        await new Promise((done) => setTimeout(done, 300));
        const before = topic.snapshot();
        const isSame = topic.snapshot() === before && client.inbox.snapshot() === client.inbox.snapshot();
        await topic.react(id, "🎉");
        const after = topic.snapshot();
        const kept = after.threads[1] === before.threads[1];
        return [isSame, after !== before, kept, after.threads[0] !== before.threads[0]];
        """,
        topic,
    ) == [True, True, True, True]


async def test_who_is_here_is_right_after_coming_back(start: Start, topic: str, proxy: Proxy) -> None:
    ann, bob = await start("ann", url_of(proxy)), await start("bob")
    for client in (ann, bob):
        await client.run(OPEN, topic)
    names = "return client.topic(given).snapshot().present.map(({name}) => name)"
    await ann.until(names, lambda names: sorted(names) == ["Ann Archer", "Bob Baker"], given=topic)
    proxy.refuse()
    proxy.cut()
    await bob.run("client.topic(given).leave()", topic)
    carol = await start("carol")
    await carol.run(OPEN, topic)
    await carol.until(names, lambda names: "Bob Baker" not in names, given=topic)
    proxy.heal()
    await ann.until(names, lambda names: sorted(names) == ["Ann Archer", "Carol Chen"], given=topic)


async def test_the_inbox_has_what_the_server_has(start: Start, topic: str) -> None:
    ann, bob = await start("ann"), await start("bob")
    badge = "return client.inbox.snapshot().unread"
    await bob.until("return client.inbox.snapshot().state", lambda state: state == "live")
    before = await bob.run(badge)
    await ann.run(OPEN, topic)
    bob_id = await bob.run("return client.me.id")
    await ann.run(
        """
        const bob = tools.mention({kind: "user", id: given.bob, name: "Bob"});
        await client.topic(given.topic).add({text: `Hi ${bob}`});
        """,
        {"topic": topic, "bob": bob_id},
    )
    await bob.until(badge, lambda unread: unread == before + 1)
    newest = await bob.run("return client.inbox.snapshot().notifications[0]")
    assert newest["topic"] == topic
    await bob.run("await client.inbox.read([given])", newest["id"])
    await bob.until(badge, lambda unread: unread == before)
    assert (await bob.run("return client.ask('notification.count', {})"))["unread"] == before


async def test_a_topic_that_one_may_not_open_says_so(start: Start) -> None:
    ann = await start("ann")
    nowhere = "content:" + "F" * 32 + ":" + "E" * 32
    await ann.run(OPEN, nowhere)
    shown = await ann.until(SHOWN, lambda shown: shown["state"] == "closed", given=nowhere)
    assert shown["threads"] == []
    problem = await ann.run("return {...client.topic(given).snapshot().problem}", nowhere)
    assert problem["code"] == "not_found"


async def test_an_ended_session_is_said_and_a_new_one_goes_on(start: Start, cluster: Cluster) -> None:
    ann = await start("ann")
    state = "return client.connection.snapshot().state"
    await ann.until(state, lambda state: state == "live")
    await ann.run("await client.signOut()")
    assert await ann.run(state) == "signed_out"
    await ann.run("void client.connection.signIn()")
    await ann.until(state, lambda state: state == "live")
    assert await ann.run("return tools.tokens()") == 2


async def test_whoever_signs_in_anew_where_the_end_is_told_is_signed_in(start: Start) -> None:
    ann = await start("ann")
    state = "return client.connection.snapshot().state"
    await ann.until(state, lambda state: state == "live")
    await ann.run(
        """
        client.on("server.signed_out", () => { client.connection.signIn(); });
        await client.ask("session.end", {});
        """
    )
    await ann.until("return tools.tokens()", lambda tokens: tokens == 2)
    await ann.until(state, lambda state: state == "live")
    assert (await ann.run("return client.ask('me', {})"))["user"]["name"] == "Ann Archer"


async def test_whoever_signs_in_next_sees_nothing_of_the_former_persons_discussion(
    start: Start, cluster: Cluster
) -> None:
    ann, carol = await start("ann"), await cluster.person("carol")
    bob = (await cluster.person("bob")).id
    topic = await ann.run(
        """
        const members = [{kind: "user", id: given}];
        const {discussion} = await client.change("discussion.create", {name: "Ours", members});
        await client.topic(discussion.topic).open();
        await client.topic(discussion.topic).mute(true);
        return discussion.topic
        """,
        bob,
    )
    known = "const {discussion, muted, rights} = client.topic(given).snapshot(); return {discussion, muted, rights}"
    await ann.until(
        known, lambda shown: shown["muted"] and shown["discussion"]["name"] == "Ours", given=topic
    )
    names = "return tools.discussionsOf(client).snapshot().discussions.map(({name}) => name)"
    await ann.run("tools.discussionsOf(client).subscribe(() => {})")
    await ann.until(names, lambda names: "Ours" in names)
    begin = 'await client.change("discussion.create", {name: "Begun", members: [{kind: "user", id: given}]})'
    await ann.run(begin, bob)
    await ann.until(names, lambda names: "Begun" in names)
    at_first = await ann.run(
        """
        await client.signOut();
        tools.become(given);
        return new Promise((done) => {
          client.connection.subscribe(() => {
            if (client.connection.isLive) done(tools.discussionsOf(client).snapshot().discussions.length);
          });
          client.connection.signIn();
        })
        """,
        [carol.auth_token, carol.cookie_header],
    )
    assert at_first == 0
    await ann.until(SHOWN, lambda shown: shown["state"] == "closed", given=topic)
    assert await ann.run(known, topic) == {"discussion": None, "muted": False, "rights": []}


async def test_what_somebody_asks_while_offline_is_not_asked_as_whoever_signs_in_next(
    start: Start, cluster: Cluster, topic: str, proxy: Proxy
) -> None:
    ann, carol = await start("ann", url_of(proxy)), await cluster.person("carol")
    await ann.until("return client.connection.isLive", bool)
    proxy.refuse()
    proxy.cut()
    await ann.until("return client.connection.look().state", lambda state: state == "offline")
    await ann.run(
        "globalThis.asked = client.ask('comment.add', {topic: given, text: 'of Ann'}).catch(({code}) => code)",
        topic,
    )
    await ann.run("await client.signOut(); tools.become(given)", [carol.auth_token, carol.cookie_header])
    proxy.heal()
    await ann.run("client.connection.signIn()")
    await ann.until("return client.connection.look().user.name", lambda name: name.startswith("Carol"))
    assert await ann.run("return client.ask('topic.comments', {topic: given})", topic) == {
        "items": [],
        "next": None,
        "seq": 0,
    }
    assert await ann.run("return asked") == "no_answer"


async def test_what_somebody_asks_after_their_sign_in_is_over_is_not_asked_as_whoever_comes_next(
    start: Start, cluster: Cluster, topic: str, proxy: Proxy
) -> None:
    """Neither once they are signed out, nor while new credentials are got because theirs are refused."""
    ann, carol = await start("ann", url_of(proxy)), await cluster.person("carol")
    await ann.until("return client.connection.isLive", bool)
    await ann.run(
        "client.on('server.hello', (hello) => (globalThis.token = hello.resumeToken)); client.connection.reconnect()"
    )
    token = await ann.until("return globalThis.token", bool)
    proxy.refuse()
    proxy.cut()
    await ann.until("return client.connection.look().state", lambda state: state == "offline")
    await ann.run(
        """
        const ask = () => client.ask("comment.add", {topic: given, text: "of Ann"}).catch(({code}) => code);
        globalThis.asked = [ask()];
        const end = client.connection.subscribe(() => {
          if (client.connection.look().user.name.startsWith("Ann")) asked.push(ask());
          else end();
        });
        const now = Date.now;
        Date.now = () => now() + 30_000; // the token is not just got
        """,
        topic,
    )
    async with Client(cluster[0].url, {"resumeToken": token}) as other:
        await other.live()
        await other.sign_out()
    await ann.run("tools.become(given)", [carol.auth_token, carol.cookie_header])
    proxy.heal()
    await ann.until("return client.connection.look().user.name", lambda name: name.startswith("Carol"))

    her = await cluster.person("ann")
    await ann.run(
        """
        await client.signOut();
        asked.push(client.ask("comment.add", {topic: given[0], text: "of Carol"}).catch(({code}) => code));
        tools.become(given[1]);
        client.connection.signIn();
        """,
        [topic, [her.auth_token, her.cookie_header]],
    )
    await ann.until("return client.connection.look().user?.name ?? ''", lambda name: name.startswith("Ann"))
    assert (await ann.run("return client.ask('topic.comments', {topic: given})", topic))["items"] == []
    assert set(await ann.run("return Promise.all(asked)")) == {"no_answer"}


async def test_what_is_asked_of_a_sign_in_that_comes_to_nothing_is_not_asked_as_whoever_comes_next(
    start: Start, topic: str, proxy: Proxy
) -> None:
    ann = await start("ann", url_of(proxy))
    await ann.until("return client.connection.isLive", bool)
    proxy.refuse()
    proxy.cut()
    await ann.run(
        """
        await client.signOut();
        client.connection.signIn();
        client.ask("comment.add", {topic: given, text: "of nobody"}).catch(() => {});
        await client.signOut();
        client.connection.signIn();
        """,
        topic,
    )
    proxy.heal()
    await ann.until("return client.connection.isLive", bool)
    assert (await ann.run("return client.ask('topic.comments', {topic: given})", topic))["items"] == []


@pytest.mark.parametrize("method", ["ask", "change"])
async def test_what_is_asked_after_signing_in_is_of_whoever_is_let_in(
    start: Start, cluster: Cluster, topic: str, method: str
) -> None:
    """Also before that is known. What was written before is of who was there, and waits until they are back."""
    ann, carol, her = await start("ann"), await cluster.person("carol"), await cluster.person("ann")
    await ann.until("return client.connection.isLive", bool)
    author = await ann.run(
        """
        await client.signOut();
        const [method, topic, person] = given;
        globalThis.left = client.change("comment.add", {topic, text: "of Ann"});
        tools.become(person);
        client.connection.signIn();
        return (await client[method]("comment.add", {topic, text: "of Carol"})).comment.author.name;
        """,
        [method, topic, [carol.auth_token, carol.cookie_header]],
    )
    assert author.startswith("Carol")
    listed = await ann.run("return client.ask('topic.comments', {topic: given})", topic)
    assert [comment["text"] for comment in listed["items"]] == ["of Carol"]
    again = await ann.run(
        """
        await client.signOut();
        tools.become(given);
        client.connection.signIn();
        return (await left).comment.author.name;
        """,
        [her.auth_token, her.cookie_header],
    )
    assert again.startswith("Ann")


# Tokens are got as fast as before, but those that are `held` when the test says so.
HELD = """
const fetched = globalThis.fetch;
globalThis.held = () => {
  globalThis.fetch = (...asked) => {
    globalThis.fetch = fetched;
    return new Promise((give, fail) => {
      globalThis.release = (error) => (error ? fail(error) : give(fetched(...asked)));
    });
  };
};
globalThis.turn = () => new Promise((done) => setImmediate(done));
"""


@pytest.mark.parametrize("comes", ["back", "anew"])
async def test_who_is_signed_in_once_more_while_they_come_is_let_in(start: Start, comes: str) -> None:
    """They do not come with nothing to show, and be refused, while their token is got."""
    ann = await start("ann")
    await ann.until("return client.connection.isLive", bool)
    await ann.run(HELD)
    if comes == "back":
        await ann.run(
            """
            client.connection.reconnect();
            while (client.connection.isLive) await turn();
            held();
            client.connection.signIn();
            """
        )
    else:
        await ann.run(
            """
            await client.signOut();
            let isConnecting = false;
            const fetched = globalThis.fetch;
            globalThis.fetch = async (...asked) => {
              globalThis.fetch = fetched;
              const answer = await fetched(...asked);
              setImmediate(() => (isConnecting = true));
              return answer;
            };
            client.connection.signIn();
            while (!isConnecting) await turn();
            held();
            client.connection.signIn();
            """
        )
    for login in ("bob", "carol"):  # in so long Ann would have come
        other = await start(login)
        await other.until("return client.connection.isLive", bool)
    assert await ann.run("return client.connection.snapshot().state") in ("connecting", "offline")
    await ann.run("release()")
    await ann.until("return client.connection.isLive", bool)


async def test_of_two_sign_ins_under_way_the_younger_counts(start: Start, topic: str) -> None:
    ann = await start("ann")
    await ann.until("return client.connection.isLive", bool)
    await ann.run(HELD)
    await ann.run(
        "await client.signOut(); held(); client.connection.signIn(); client.connection.signIn(); await turn()"
    )
    await ann.until("return client.connection.isLive", bool)
    tokens = await ann.run("release(); return tools.tokens()")
    await ann.until("return tools.tokens()", lambda now: now > tokens)
    assert "items" in await ann.run(
        "await turn(); return client.ask('topic.comments', {topic: given})", topic
    )


@pytest.mark.parametrize(("end", "state"), [("close", "closed"), ("signOut", "signed_out")])
async def test_what_is_ended_while_a_token_cannot_be_got_stays_so(start: Start, end: str, state: str) -> None:
    ann = await start("ann")
    await ann.until("return client.connection.isLive", bool)
    await ann.run(HELD)
    ended = await ann.run(
        """
        client.connection.reconnect();
        while (client.connection.isLive) await turn();
        held();
        client.connection.signIn();
        while (!globalThis.release) await turn();
        await client[given]();
        release(new Error("no network"));
        await turn();
        return client.connection.snapshot().state;
        """,
        end,
    )
    assert ended == state


async def test_nothing_of_somebodys_inbox_is_shown_to_whoever_signs_in_next(
    start: Start, cluster: Cluster, topic: str
) -> None:
    ann, carol, bob = await start("ann"), await cluster.person("carol"), await cluster.client(0, "bob")
    her = (await cluster.person("ann")).id
    for number in range(55):
        await bob.call("comment.add", {"topic": topic, "text": f"@[Ann](user:{her}) {number}"})
    await ann.until("return client.inbox.snapshot()", lambda shown: shown["unread"] >= 55)
    at_first = await ann.run(
        """
        await client.signOut();
        tools.become(given);
        return new Promise((done) => {
          client.inbox.subscribe(() => {
            if (client.inbox.snapshot().state === "loading") done(client.inbox.snapshot());
          });
          client.connection.signIn();
        })
        """,
        [carol.auth_token, carol.cookie_header],
    )
    assert at_first == {"state": "loading", "notifications": [], "hasOlder": False, "unread": 0}


async def test_counts_come_of_a_place_and_of_topics_that_are_not_open(start: Start, topic: str) -> None:
    ann, bob = await start("ann"), await start("bob")
    await bob.run(
        """
        const {placesOf, summariesOf} = tools;
        globalThis.places = placesOf(client, client.topic(given));
        globalThis.summaries = summariesOf(client);
        places.subscribe(() => {});
        summaries.watch(given);
        """,
        topic,
    )
    await ann.run("await client.topic(given).add({text: 'here', anchor: {pageKey: 'K53'}})", topic)
    at = "return places.snapshot().at({pageKey: 'K53'})"
    await bob.until(at, lambda counts: counts == {"open": 1, "unread": 1, "total": 1})
    unread = "return summaries.snapshot().of(given)?.unread"
    await bob.until(unread, lambda unread: unread == 1, given=topic)
    await bob.run("client.topic(given).read()", topic)
    await bob.until(at, lambda counts: counts == {"open": 1, "unread": 0, "total": 1})
    await bob.until(unread, lambda unread: unread == 0, given=topic)
    assert await bob.run("return places.snapshot().at({pageKey: 'K54'}).total") == 0


async def test_texts_are_shown_by_the_grammar_of_mentions(start: Start) -> None:
    known = vectors("mentions")
    mentions = [
        {**dict(zip(("kind", "id"), key.split(":"), strict=True)), "name": name}
        for key, name in known["people"].items()
    ]
    ann = await start("ann")
    shown = await ann.run(
        """
        const shown = ({text, mention}) => mention ? {mention: mention.name} : {text};
        return given.texts.map((text) => [tools.pieces(text, given.mentions).map(shown), tools.mentionsOf(text)]);
        """,
        {"texts": [row["text"] for row in known["texts"]], "mentions": mentions},
    )
    assert [pieces for pieces, _ in shown] == [row["pieces"] for row in known["texts"]]
    found = [{mention["name"] for mention in mentions} for _, mentions in shown]
    assert all(names <= set(row["names"]) for names, row in zip(found, known["texts"], strict=True))


@pytest.mark.parametrize("seed", range(2))
async def test_a_mention_is_one_of_whom_it_is_made_for_whatever_the_name(start: Start, seed: int) -> None:
    chance = random.Random(seed)
    parts = ["]", "(", "[", "@", ")", "user:B", "group:C", "x", " ", "@[", "]("]
    names = ["".join(chance.choices(parts, k=chance.randint(1, 12))) for _ in range(500)]
    ann = await start("ann")
    script = (
        "return given.map((name) => tools.mentionsOf(`@[ ${tools.mention({kind: 'user', id: 'A', name})}`))"
    )
    found = await ann.run(script, names)
    assert [name for name, [mention] in zip(names, found, strict=True) if mention["id"] != "A"] == []


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_clients_end_with_what_the_server_has(
    start: Start, topic: str, proxy: Proxy, seed: int
) -> None:
    """The same as of the client in Python: see `scenario`."""
    people = [
        await start(login, None if number else url_of(proxy)) for number, login in enumerate(scenario.LOGINS)
    ]
    ids = [await client.until("return client.me?.id", bool) for client in people]
    for client in people:
        await client.run(OPEN, topic)
        await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    async for step in scenario.steps(seed, proxy):
        await people[step.who].run(ACT, {"topic": topic, "ids": ids, **step._asdict()})
    for client in people:
        await client.until(
            "return client.outbox.snapshot().filter(({state}) => state !== 'refused')", lambda x: not x
        )
        for _ in await client.run("return client.outbox.snapshot()"):
            await client.run("client.outbox.discard(client.outbox.snapshot()[0].key)")
    for client in people:

        async def is_right(client: JavaScriptClient = client) -> bool:
            stored = await client.run(STORED, topic)
            shown = await client.run(KNOWN, topic)
            shown["told"] = scenario.held_in_words_of_now(shown["told"], stored["told"], stored["items"])
            assert {**shown, "items": None} == {**stored, "items": None}
            assert len(shown["items"]) == len(stored["items"])
            for ours, theirs in zip(shown["items"], stored["items"], strict=True):
                assert ours == theirs
            return True

        await until(is_right, 20)


ACT = """
const topic = client.topic(given.topic);
const all = topic.snapshot().threads.flatMap(({comments}) => comments);
const one = all[Math.floor(given.which * all.length)];
const own = all.filter(({author, deletedAt}) => author.id === client.me.id && !deletedAt);
const mine = own[Math.floor(given.which * own.length)];
const {kind, number, which} = given;
const everybody = given.ids.map((id) => tools.mention({kind: "user", id, name: "You"})).join(" ");
const [newest] = client.inbox.snapshot().notifications;
if (kind === "mention") void topic.add({text: `${number} ${everybody}`});
else if (kind === "inbox") void client.inbox.read(which < 0.6 || !newest ? undefined : [newest.id]);
else if (kind === "add" || !one) void topic.add({text: `${client.me.name} ${number}`});
else if (kind === "reply") void topic.add({text: `re ${number}`, replyTo: one.id});
else if (kind === "edit") void (mine && topic.edit(mine.id, `edited ${number}`));
else if (kind === "delete") void (mine && topic.delete(mine.id));
else if (kind === "react") void topic[which < 0.6 ? "react" : "unreact"](one.id, "👍");
else if (kind === "resolve") void topic[which < 0.6 ? "resolve" : "reopen"](one.threadId);
else if (which < 0.6) topic.read();
else void topic.markUnread(one.seq);
"""
STORED = """
const items = [];
let cursor;
do {
  const page = await client.ask("topic.comments", {topic: given, limit: 200, cursor});
  items.push(...page.items);
  cursor = page.next;
} while (cursor);
const {unread, readSeq, seq, present} = await client.ask("topic.get", {topic: given});
const {items: told} = await client.ask("notification.list", {limit: 20});
const {unread: badge} = await client.ask("notification.count", {});
return {items, unread, readSeq, seq, present: present.map(({id}) => id).sort(), told, badge};
"""
KNOWN = """
const {threads, unread, readSeq, seq, present} = client.topic(given).snapshot();
const {notifications, unread: badge} = client.inbox.snapshot();
const items = threads.flatMap(({comments}) => comments).sort((one, other) => one.seq - other.seq);
const ids = present.map(({id}) => id).sort();
return {items, unread, readSeq, seq, present: ids, told: notifications.slice(0, 20), badge};
"""
