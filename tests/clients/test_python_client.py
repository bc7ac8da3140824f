"""`collab_client`: what it tells and what it writes is what the server has, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from collab_client import Client, Refused, SyncClient, fold, library, mention
from collab_client.ids import uuid7
from collab_client.wire import Comment, User
from tests.clients import scenario
from tests.clients.ways import url_of
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.waiting import until


class Reader:
    """A client, and all that it was told of a topic from the beginning of its log."""

    def __init__(self, client: Client, topic: str) -> None:
        self.client = client
        self.topic = topic
        self.following = client.follow(topic, after=0)
        self.events: list[Any] = []
        self.comments: dict[str, Comment] = {}
        self.problem: Refused | None = None
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for event in self.following:
                self.events.append(event)
                if event["type"] == "gap":
                    self.comments.clear()
                else:
                    fold(self.comments, event)
        except Refused as problem:
            self.problem = problem

    @property
    def texts(self) -> list[str]:
        return [comment["text"] for comment in self.comments.values()]

    def shows(self, *texts: str) -> bool:
        return self.texts == list(texts)

    def has_heard(self, count: int) -> bool:
        return len(self.events) == count

    def has_sent(self) -> bool:
        """Whether the server has answered everything."""
        return all(entry.state == "refused" for entry in self.client.outbox.entries)

    async def is_there(self) -> None:
        await until(lambda: self.following.present, 10)

    @property
    def names(self) -> list[str]:
        """Who is here."""
        return sorted(user["name"] for user in self.following.present)

    def add(self, text: str) -> asyncio.Future[Any]:
        return self.client.change("comment.add", {"topic": self.topic, "text": text})

    async def stop(self) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading


Start = Callable[..., Awaitable[Reader]]


@pytest_asyncio.fixture
async def start(topic: str) -> AsyncIterator[Start]:
    """`await start(cluster, "ann")` reads the topic of the test."""
    started: list[Reader] = []

    async def begin(cluster: Cluster, login: str, url: str | None = None, **more: Any) -> Reader:
        client = Client(url or cluster[0].url, library(cluster.library.url, login, login), **more)
        client.sign_in()
        reader = Reader(client, topic)
        started.append(reader)
        return reader

    yield begin
    for reader in started:
        await reader.stop()
        await reader.client.close()


async def test_a_topic_is_followed_and_written_to(cluster: Cluster, start: Start, topic: str) -> None:
    ann, bob = await start(cluster, "ann"), await start(cluster, "bob")
    answer = await ann.client.change(
        "comment.add", {"topic": topic.lower().replace("CONTENT", "content"), "text": "Look at March"}
    )
    await until(lambda: bob.texts == ["Look at March"])
    assert bob.following.seq == answer["seq"]
    assert "comment.add" in bob.following.rights
    listed = await bob.client.ask("topic.comments", {"topic": topic})
    assert listed["items"] == list(bob.comments.values())
    with pytest.raises(Refused) as refused:
        await bob.client.ask("comment.get", {"commentId": "00000000-0000-7000-8000-000000000000"})
    assert refused.value.code == "not_found"


async def test_what_is_written_while_the_network_is_away_arrives_once_and_in_order(
    cluster: Cluster, start: Start, topic: str, proxy: Proxy
) -> None:
    ann, bob = await start(cluster, "ann", url_of(proxy)), await start(cluster, "bob")
    await until(lambda: ann.following.present and bob.following.present)
    proxy.refuse()
    proxy.cut()
    await until(lambda: ann.client.state == "offline")
    answers = [ann.add(text) for text in ("one", "two")]
    bob.add("meanwhile")
    await until(lambda: bob.texts == ["meanwhile"])
    first = ann.client.outbox.entries[0].payload["commentId"]
    answers.append(ann.client.change("comment.edit", {"commentId": first, "text": "first"}))
    proxy.heal()
    assert [(await answer)["comment"]["text"] for answer in answers] == ["one", "two", "first"]
    for reader in (ann, bob):
        await until(partial(reader.shows, "meanwhile", "first", "two"))
        await until(partial(reader.has_heard, 4))
        assert [event["seq"] for event in reader.events] == [1, 2, 3, 4]
    assert ann.client.outbox.entries == ()


async def test_what_waits_in_a_file_is_sent_by_the_next_process(
    cluster: Cluster, start: Start, topic: str, proxy: Proxy, tmp_path: Path
) -> None:
    kept = tmp_path / "outbox"
    ann = await start(cluster, "ann", url_of(proxy), outbox=kept)
    await ann.client.live()
    with pytest.raises(BlockingIOError, match="outbox"):
        Client(cluster[0].url, {}, outbox=kept)
    proxy.refuse()
    proxy.cut()
    await until(lambda: ann.client.state == "offline")
    answers = [ann.add(text) for text in ("from the", "train")]
    await ann.client.close()
    for answer in answers:
        with pytest.raises(Refused, match="closed"):
            await answer
    bob = await start(cluster, "bob", outbox=kept)
    await bob.client.live()
    assert bob.client.outbox.entries == ()
    await bob.client.close()
    again = await start(cluster, "ann", outbox=kept)
    await until(lambda: again.texts == ["from the", "train"])
    await until(lambda: again.client.outbox.entries == ())
    assert kept.stat().st_mode & 0o077 == 0


async def test_what_follows_on_a_comment_whose_id_was_too_old_follows_on_what_it_became(
    cluster: Cluster, start: Start, topic: str
) -> None:
    ann = await start(cluster, "ann")
    too_old = uuid7(time.time() - 86_400)
    calls: Sequence[tuple[Any, Any]] = (
        ("comment.add", {"topic": topic, "commentId": too_old, "text": "yesterday"}),
        ("comment.add", {"topic": topic, "replyTo": too_old, "text": "a reply"}),
        ("comment.edit", {"commentId": too_old, "text": "a day ago"}),
    )
    asked = [ann.client.change(name, payload) for name, payload in calls]
    async with asyncio.timeout(20):
        added, replied, edited = [(await one)["comment"] for one in asked]
    assert added["id"] not in (too_old, replied["id"])
    assert (replied["threadId"], edited["id"], edited["text"]) == (added["id"], added["id"], "a day ago")
    await until(partial(ann.shows, "a day ago", "a reply"))


async def test_what_is_refused_stays_until_it_is_sent_otherwise_or_discarded(
    cluster: Cluster, start: Start
) -> None:
    ann = await start(cluster, "ann")
    with pytest.raises(Refused) as refused:
        await ann.add("x" * 10_001)
    assert (refused.value.code, refused.value.field) == ("too_large", "text")
    [entry] = ann.client.outbox.entries
    assert entry.state == "refused"
    ann.client.outbox.retry(entry.key, {**entry.payload, "text": "short"})
    await until(lambda: ann.texts == ["short"])
    ann.add("")
    await until(lambda: [entry.state for entry in ann.client.outbox.entries] == ["refused"])
    ann.client.outbox.discard(ann.client.outbox.entries[0].key)
    # What ends the connection for it is not sent again and again.
    change: Any = ann.client.change
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"in": deep}
    odd = {"text": "x" * 1_500_000, "viewState": {}}, {"text": "x", "viewState": deep}
    for payload, code in zip(odd, ("too_large", "invalid"), strict=True):
        with pytest.raises(Refused) as refused:
            await change("comment.add", {"topic": ann.topic, **payload})
        assert refused.value.code == code
        ann.client.outbox.discard(ann.client.outbox.entries[0].key)
    assert ann.client.outbox.entries == ()


async def test_an_edit_that_waited_takes_no_later_words_away_and_shows_them(
    cluster: Cluster, start: Start, topic: str, proxy: Proxy, tmp_path: Path
) -> None:
    kept = tmp_path / "outbox"
    ann, elsewhere = await start(cluster, "ann", url_of(proxy), outbox=kept), await start(cluster, "ann")
    shown = ann.client.topic(topic)
    shown.open()
    await until(lambda: shown.snapshot.state == "live")
    first = (await elsewhere.add("first"))["comment"]["id"]
    await until(lambda: [thread.id for thread in shown.snapshot.threads] == [first])
    proxy.refuse()
    proxy.cut()
    await until(lambda: ann.client.state == "offline")
    shown.edit(first, "of the train")
    shown.edit(first, "of the train, too")
    shown.delete(first)
    await ann.stop()
    await ann.client.close()
    await elsewhere.client.change("comment.edit", {"commentId": first, "text": "meanwhile"})
    proxy.heal()
    again = await start(cluster, "ann", outbox=kept)
    await until(lambda: [entry.state for entry in again.client.outbox.entries] == ["refused"] * 3)
    entries = again.client.outbox.entries
    assert [entry.payload.get("text") for entry in entries] == ["of the train", "of the train, too", None]
    for entry in entries:
        assert entry.problem is not None
        assert (entry.problem["code"], entry.problem["field"]) == ("conflict", "ofRevision")
        assert entry.problem["comment"]["text"] == "meanwhile"
    again.client.outbox.retry(entries[1].key, {**entries[1].payload, "ofRevision": 2})
    await until(lambda: again.texts == ["of the train, too"])
    with pytest.raises(Refused) as refused:
        await again.client.topic(topic).edit(first, "late", of_revision=1)
    assert refused.value.comment is not None
    assert refused.value.comment["text"] == "of the train, too"


async def test_of_edits_one_on_another_each_is_of_what_the_one_before_has_become(
    cluster: Cluster, start: Start, topic: str, proxy: Proxy
) -> None:
    ann = await start(cluster, "ann", url_of(proxy))
    shown = ann.client.topic(topic)
    shown.open()
    await until(lambda: shown.snapshot.state == "live")
    first = (await shown.add("first"))["comment"]["id"]
    await until(lambda: ann.texts == ["first"])
    proxy.refuse()
    proxy.cut()
    await until(lambda: ann.client.state == "offline")
    answers = [
        shown.edit(first, "second"),
        shown.react(first, "👍"),
        shown.edit(first, "third"),
        shown.delete(first),
    ]
    assert [entry.payload.get("ofRevision") for entry in ann.client.outbox.entries] == [1, None, 1, 1]
    proxy.heal()
    async with asyncio.timeout(20):
        second, _, third, _ = [await answer for answer in answers]
    assert (second["comment"]["revision"], third["comment"]["revision"]) == (2, 3)


async def test_who_is_here_is_right_after_coming_back(cluster: Cluster, start: Start, proxy: Proxy) -> None:
    ann, bob = await start(cluster, "ann", url_of(proxy)), await start(cluster, "bob")
    await until(lambda: ann.names == ["Ann Archer", "Bob Baker"])
    proxy.refuse()
    proxy.cut()
    await bob.stop()
    carol = await start(cluster, "carol")
    await until(lambda: carol.names and "Bob Baker" not in carol.names)
    proxy.heal()
    await until(lambda: ann.names == ["Ann Archer", "Carol Chen"], 10)


async def test_reading_goes_on_where_it_ended_also_for_whoever_is_slow(
    cluster: Cluster, start: Start, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab_client.following._MOST_WAITING", 5)
    ann, bob = await start(cluster, "ann"), await start(cluster, "bob")
    await bob.client.live()
    following = bob.client.follow(topic, after=0)
    await ann.add("0")
    seen = []
    async for event in following:
        seen.append(event["seq"])
        if len(seen) == 1:
            await asyncio.gather(*(ann.add(str(number)) for number in range(1, 20)))
            await until(lambda: len(bob.texts) == 20)
        if len(seen) == 10:
            break
    async for event in following:
        seen.append(event["seq"])
        if len(seen) == 20:
            break
    assert seen == list(range(1, 21))


async def test_a_topic_that_one_may_not_open_and_a_wrong_password_say_so(
    cluster: Cluster, start: Start
) -> None:
    async with Client(cluster[0].url, library(cluster.library.url, "ann", "wrong")) as stranger:
        with pytest.raises(Refused) as refused:
            await stranger.live()
        assert refused.value.code == "unauthenticated"
    ann = await start(cluster, "ann")
    with pytest.raises(Refused) as refused:
        async for _ in ann.client.follow(f"content:{'F' * 32}:{'E' * 32}"):
            pass
    assert refused.value.code == "not_found"


async def test_an_ended_session_is_said_and_a_new_one_goes_on(cluster: Cluster, start: Start) -> None:
    ann = await start(cluster, "ann")
    await ann.client.live()
    await ann.client.sign_out()
    with pytest.raises(Refused, match="Signed out"):
        await ann.client.live()
    ann.client.sign_in()
    assert (await ann.client.live())["name"] == "Ann Archer"


async def test_whoever_signs_in_next_sees_nothing_of_the_former_persons_discussion(cluster: Cluster) -> None:
    people = [library(cluster.library.url, login, login) for login in ("ann", "carol")]
    bob: Any = {"kind": "user", "id": (await cluster.person("bob")).id}
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        created = await client.change("discussion.create", {"name": "Ours", "members": [bob]})
        topic = client.topic(created["discussion"]["topic"])
        await topic.live()
        await topic.mute(True)
        await until(lambda: topic.snapshot.muted)
        shown = topic.snapshot.discussion
        assert shown is not None
        assert shown["name"] == "Ours"
        await client.sign_out()
        people.pop(0)
        client.sign_in()
        await until(lambda: topic.snapshot.state == "closed", 10)
        now = topic.snapshot
        assert (now.discussion, now.muted, now.rights) == (None, False, frozenset())


async def test_what_the_inbox_says_of_a_topic_before_it_is_followed_counts_too(
    cluster: Cluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client(cluster[0].url, library(cluster.library.url, "ann", "ann")) as client:
        await client.live()
        ask, is_muted = client._connection.ask, asyncio.Event()

        async def ask_late(name: str, payload: Any) -> Any:
            if name == "topic.subscribe" and payload["topic"].startswith("inbox:"):
                await is_muted.wait()
            return await ask(name, payload)

        monkeypatch.setattr(client._connection, "ask", ask_late)
        shown = client.topic(topic)
        await shown.live()
        await shown.mute(True)
        is_muted.set()
        await until(lambda: shown.snapshot.muted)


async def test_what_comes_before_the_inbox_is_opened_is_listed_and_counted_once(
    cluster: Cluster, topic: str
) -> None:
    async with Client(cluster[0].url, library(cluster.library.url, "dan", "dan")) as client:
        dan = await client.live()
        bob = await cluster.client(0, "bob")
        told = await cluster.client(0, "dan")
        for number in range(60):
            words = f"@[Dan](user:{dan['id']}) {number}"
            last = await bob.call("comment.add", {"topic": topic, "text": words})

        async def is_told_last() -> bool:
            items = (await told.call("notification.list", {"limit": 1}))["items"]
            return [item["commentId"] for item in items] == [last["comment"]["id"]]

        await until(is_told_last)
        some = (await told.call("notification.list", {"limit": 5}))["items"]
        await told.call("notification.read", {"ids": [some[-1]["id"]]})
        await client.inbox.live()

        async def is_shown() -> bool:
            page = await told.call("notification.list", {"limit": 50})
            count = await told.call("notification.count")
            shown = client.inbox.snapshot
            assert [*shown.notifications][:50] == page["items"]
            assert shown.unread == count["unread"]
            return True

        await until(is_shown)


@pytest.mark.parametrize("reason", ["session_expired", "session_ended"])
async def test_nothing_is_sent_as_whoever_signs_in_in_the_moment_in_which_somebody_is_signed_out(
    cluster: Cluster, topic: str, reason: str
) -> None:
    people = [library(cluster.library.url, login, login) for login in ("ann", "bob")]
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        await client.live()

        def go_on(_: Any) -> None:
            client.change("comment.add", {"topic": topic, "text": "of Ann"})
            people.pop(0)
            client.sign_in()

        client.on("server.signed_out", go_on)
        source = client._connection._current
        assert source is not None
        client._connection._hear(source, "server.signed_out", {"reason": reason})
        await until(lambda: client.me is not None and client.me["name"] == "Bob Baker", 20)
        await client.change("comment.add", {"topic": topic, "text": "of Bob"})
        assert client.state == "live"
        assert client.outbox.entries == ()
        listed = await client.ask("topic.comments", {"topic": topic})
    said = {comment["text"]: comment["author"]["name"] for comment in listed["items"]}
    assert said == {"of Bob": "Bob Baker"}


@pytest.mark.parametrize("is_told_first", [True, False])
async def test_whoever_signs_in_as_soon_as_their_own_sign_out_is_told_is_signed_in(
    cluster: Cluster, is_told_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [library(cluster.library.url, login, login) for login in ("ann", "bob")]
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        await client.live()
        connection = client._connection
        source, ask = connection._current, connection.ask
        assert source is not None

        def go_on(_: Any = None) -> None:
            people.pop(0)
            client.sign_in()

        async def ask_and_hear(name: str, payload: Any) -> Any:
            answer = await ask(name, payload)
            if is_told_first and name == "session.end":
                connection._hear(source, "server.signed_out", {"reason": "session_ended"})
            return answer

        def is_over() -> bool:
            return client.state == "signed_out"

        monkeypatch.setattr(connection, "ask", ask_and_hear)
        client.on("server.signed_out", go_on)
        leaving = asyncio.create_task(client.sign_out())
        if not is_told_first:
            await until(is_over)
            go_on()  # while the former connection is being closed
        await leaving
        await until(lambda: client.me is not None and client.me["name"] == "Bob Baker", 20)
        assert client.state == "live"


@pytest.mark.parametrize("name", ["comment.add", "session.end"])
async def test_what_somebody_asks_while_offline_is_not_asked_as_whoever_signs_in_as_soon_as_they_are_refused(
    cluster: Cluster, topic: str, name: str
) -> None:
    """Not even where who looks for the end began to wait before who asked, and so hears of it first."""
    ann, bob = (library(cluster.library.url, login, login) for login in ("ann", "bob"))
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def nobody() -> None:
        is_asked.set()
        await may_answer.wait()

    people: list[Any] = [ann, nobody, bob]

    async def sign_bob_in(client: Client) -> None:
        with contextlib.suppress(Refused):
            await client.live()
        client.sign_in()

    with Proxy(("127.0.0.1", cluster[0].port)) as proxy:
        url = "http://{}:{}".format(*proxy.address)
        async with Client(url, lambda: people.pop(0)()) as client:
            await client.live()
            shared = dict(client._connection._credentials or {})
            proxy.refuse()
            proxy.cut()
            await until(lambda: client.state == "offline", 20)
            async with Client(cluster[0].url, shared) as other:
                await other.live()
                await other.sign_out()
            proxy.heal()
            await is_asked.wait()
            watching = asyncio.create_task(sign_bob_in(client))
            await asyncio.sleep(0)
            if name == "session.end":
                asked: asyncio.Task[Any] = asyncio.create_task(client.sign_out())
            else:
                asked = asyncio.create_task(client.ask("comment.add", {"topic": topic, "text": "of Ann"}))
            await asyncio.sleep(0)
            may_answer.set()
            await asyncio.gather(asked, watching, return_exceptions=True)
            await until(lambda: client.me is not None and client.me["name"] == "Bob Baker", 20)
            assert (await client.ask("topic.comments", {"topic": topic}))["items"] == []
            assert client.state == "live"


async def test_what_somebody_asks_once_their_session_has_expired_is_not_asked_as_somebody_else(
    cluster: Cluster, topic: str
) -> None:
    people = [library(cluster.library.url, login, login) for login in ("ann", "bob")]
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        await client.live()
        source = client._connection._current
        assert source is not None
        people.pop(0)
        client._connection._hear(source, "server.signed_out", {"reason": "session_expired"})
        await until(lambda: client.state == "offline")
        with pytest.raises(Refused, match="unauthenticated"):
            await client.ask("comment.add", {"topic": topic, "text": "of Ann"})
        assert client.me is not None
        assert client.me["name"] == "Bob Baker"
        assert (await client.ask("topic.comments", {"topic": topic}))["items"] == []


async def test_what_is_asked_after_signing_in_is_of_whoever_is_let_in(cluster: Cluster, topic: str) -> None:
    """Also before that is known. What was written before is of who was there, and waits until they are back."""
    people = [library(cluster.library.url, login, login) for login in ("ann", "bob", "ann")]
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        await client.live()
        await client.sign_out()
        left = client.change("comment.add", {"topic": topic, "text": "of Ann"})
        people.pop(0)
        client.sign_in()
        asked = asyncio.create_task(client.ask("me", {}))
        changed = client.change("comment.add", {"topic": topic, "text": "of Bob"})
        assert (await asked)["user"]["name"] == "Bob Baker"
        assert (await changed)["comment"]["author"]["name"] == "Bob Baker"
        listed = await client.ask("topic.comments", {"topic": topic})
        assert [comment["text"] for comment in listed["items"]] == ["of Bob"]
        await client.sign_out()
        people.pop(0)
        client.sign_in()
        again = client.change("comment.add", {"topic": topic, "text": "again of Ann"})
        assert (await left)["comment"]["author"]["name"] == "Ann Archer"
        assert (await again)["comment"]["author"]["name"] == "Ann Archer"


async def test_who_is_closed_stays_closed(cluster: Cluster) -> None:
    client = Client(cluster[0].url, library(cluster.library.url, "ann", "ann"))
    client.sign_in()
    await client.live()
    leaving = asyncio.create_task(client.sign_out())
    await asyncio.sleep(0)
    await client.close()
    await leaving
    client.sign_in()
    assert client.state == "closed"
    with pytest.raises(Refused, match="closed"):
        await client.live()


async def test_nothing_of_somebodys_inbox_is_shown_to_whoever_signs_in_next(
    cluster: Cluster, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [library(cluster.library.url, login, login) for login in ("dan", "carol")]
    async with Client(cluster[0].url, lambda: people[0]()) as client:
        dan = await client.live()
        bob = await cluster.client(0, "bob")
        for number in range(55):
            await bob.call("comment.add", {"topic": topic, "text": f"@[Dan](user:{dan['id']}) {number}"})
        await client.inbox.live()
        await until(lambda: client.inbox.snapshot.unread >= 55)
        await client.sign_out()
        people.pop(0)
        ask = client._connection.ask

        async def ask_in_vain(name: str, payload: Any) -> Any:
            if name == "notification.list":
                raise Refused("unavailable", "Not now.")
            return await ask(name, payload)

        monkeypatch.setattr(client._connection, "ask", ask_in_vain)
        client.sign_in()
        await client.live()
        shown = client.inbox.snapshot
        assert (shown.state, shown.notifications, shown.has_older, shown.unread) == ("loading", (), False, 0)


async def test_a_session_that_is_ended_elsewhere_ends_here(cluster: Cluster, topic: str) -> None:
    hellos: list[Any] = []
    first = Client(cluster[0].url, library(cluster.library.url, "ann", "ann"))
    first.on("server.hello", hellos.append)
    async with first as here:
        await here.live()
        elsewhere = Client(cluster[1].url, {"resumeToken": hellos[0]["resumeToken"]})
        elsewhere.sign_in()
        await elsewhere.live()
        await elsewhere.sign_out()
        await until(lambda: here.state == "signed_out", 10, lambda: here.state)
        with pytest.raises(Refused, match="session has ended"):
            await here.live()
        await elsewhere.close()
        with pytest.raises(Refused, match="session has ended"):
            async for _ in here.follow(topic):
                pass


async def test_an_inbox_is_followed_like_any_topic(cluster: Cluster, start: Start, topic: str) -> None:
    ann, bob = await start(cluster, "ann"), await start(cluster, "bob")
    me = await bob.client.live()
    inbox = bob.client.follow(f"inbox:{me['id']}", after=0)
    await ann.add(f"Hi @[Bob]({'user'}:{me['id']})")
    async with asyncio.timeout(10):
        async for event in inbox:
            if event["type"] == "notification.added" and event["data"]["notification"]["topic"] == topic:
                break


async def test_older_notifications_come_from_a_node_that_does_not_say_how_new_they_are(
    cluster: Cluster, start: Start, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await start(cluster, "ann"), await start(cluster, "bob")
    me = await bob.client.live()
    for _ in range(51):
        await ann.add(mention("user", me["id"], "Bob"))
    assert (await bob.client.inbox.live()).has_older
    ask = bob.client._connection.ask

    async def former(name: str, payload: Any) -> Any:
        answer = await ask(name, payload)
        return {key: value for key, value in answer.items() if key != "seq"}

    monkeypatch.setattr(bob.client._connection, "ask", former)
    async with asyncio.timeout(10):
        await bob.client.inbox.older()
    told = bob.client.inbox.snapshot.notifications
    assert [notification["topic"] for notification in told].count(topic) == 51


def scripted(url: str, library_url: str, topic: str) -> list[str]:
    """What a script does."""
    with SyncClient(url, library(library_url, "ann", "ann")) as client:
        comment = client.change("comment.add", {"topic": topic, "text": "one"})["comment"]
        client.change("comment.edit", {"commentId": comment["id"], "text": "two"})
        assert client.me["name"] == "Ann Archer"
        assert client.ask("comment.get", {"commentId": comment["id"]})["text"] == "two"
        with pytest.raises(Refused, match="not_found"):
            client.ask("comment.get", {"commentId": "00000000-0000-7000-8000-000000000000"})
        return [event["type"] for event in client.follow(topic, after=0, idle=0.3)]


async def test_a_script_needs_no_await(cluster: Cluster, topic: str) -> None:
    types = await asyncio.to_thread(scripted, cluster[0].url, cluster.library.url, topic)
    assert types == ["comment.added", "comment.edited"]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_clients_end_with_what_the_server_has(
    cluster: Cluster, start: Start, topic: str, proxy: Proxy, seed: int
) -> None:
    """The same as of the client in JavaScript: see `scenario`. Both whoever folds the events and what a topic shows."""
    people = [
        await start(cluster, login, None if number else url_of(proxy))
        for number, login in enumerate(scenario.LOGINS)
    ]
    for reader in people:
        await reader.client.topic(topic).live()
        await reader.client.inbox.live()
    everybody = [await reader.client.live() for reader in people]
    async for step in scenario.steps(seed, proxy):
        act(people[step.who], step, everybody)
        await asyncio.sleep(0)
    for reader in people:
        await until(reader.has_sent, 20)
        for entry in reader.client.outbox.entries:
            reader.client.outbox.discard(entry.key)
    for reader in people:
        await until(partial(shows_what_the_server_has, reader), 20)


async def shows_what_the_server_has(reader: Reader) -> bool:
    client, topic = reader.client, reader.topic
    stored = (await client.ask("topic.comments", {"topic": topic, "limit": 200}))["items"]
    told = await client.ask("notification.list", {"limit": 20})
    badge = await client.ask("notification.count")
    now = await client.ask("topic.get", {"topic": topic})
    shown, inbox = client.topic(topic).snapshot, client.inbox.snapshot
    assert (shown.state, shown.seq, inbox.unread) == ("live", now["seq"], badge["unread"])
    comments = sorted((each for thread in shown.threads for each in thread.comments), key=by_seq)
    assert comments == stored
    assert sorted(reader.comments.values(), key=by_seq) == stored
    assert [event["seq"] for event in reader.events] == list(range(1, now["seq"] + 1))
    assert (shown.unread, shown.read_seq) == (now["unread"], now["readSeq"])
    assert {user["id"] for user in shown.present} == {user["id"] for user in now["present"]}
    held = scenario.held_in_words_of_now(inbox.notifications[:20], told["items"], stored)
    assert held == told["items"]
    return True


def by_seq(comment: Comment) -> int:
    return comment["seq"]


def act(reader: Reader, step: scenario.Step, everybody: Sequence[User]) -> None:
    topic, inbox, me = reader.client.topic(reader.topic), reader.client.inbox, reader.client.me
    assert me is not None
    shown = [each for thread in topic.snapshot.threads for each in thread.comments]
    one = shown[int(step.which * len(shown))] if shown else None
    own = [each for each in shown if each["author"]["id"] == me["id"] and not each["deletedAt"]]
    mine = own[int(step.which * len(own))] if own else None
    is_first_way = step.which < 0.6
    if step.kind == "mention":
        topic.add(f"{step.number} {' '.join(mention('user', one['id'], 'You') for one in everybody)}")
    elif step.kind == "inbox":
        newest = inbox.snapshot.notifications[:1]
        inbox.read([newest[0]["id"]] if newest and not is_first_way else None)
    elif step.kind == "add" or one is None:
        topic.add(f"{me['name']} {step.number}")
    elif step.kind == "reply":
        topic.add(f"re {step.number}", reply_to=one["id"])
    elif step.kind == "edit" and mine:
        topic.edit(mine["id"], f"edited {step.number}")
    elif step.kind == "delete" and mine:
        topic.delete(mine["id"])
    elif step.kind == "react":
        (topic.react if is_first_way else topic.unreact)(one["id"], "👍")
    elif step.kind == "resolve":
        (topic.resolve if is_first_way else topic.reopen)(one["threadId"])
    elif step.kind == "read" and is_first_way:
        topic.read()
    elif step.kind == "read":
        topic.mark_unread(one["seq"])
