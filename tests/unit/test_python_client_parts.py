"""The parts of the Python client by themselves, with a server that is the test's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typing_extensions import override

from collab_client import Client, SyncClient
from collab_client import connection as module
from collab_client.connection import Connection
from collab_client.fold import after
from collab_client.inbox import Inbox
from collab_client.keeping import Keeping
from collab_client.outbox import Outbox
from collab_client.refused import Refused
from collab_client.store import tell


def test_an_edit_that_is_told_after_the_deletion_brings_no_word_back() -> None:
    comment: Any = {"id": "c", "text": "one", "mentions": [], "body": None, "anchor": None, "deletedAt": None}
    edited: Any = {
        "comment": {"id": "c", "text": "two", "mentions": [1], "body": [1], "editedAt": "t", "revision": 2}
    }
    edit = {"type": "comment.edited", "data": edited}
    delete = {"type": "comment.deleted", "data": {"commentId": "c"}, "at": "now"}
    assert after(comment, edit)["text"] == "two"
    for events in ([delete, edit], [edit, delete], [delete, edit, delete]):
        now = comment
        for event in events:
            now = after(now, event)
        assert [now[name] for name in ("text", "mentions", "body", "deletedAt")] == ["", [], None, "now"]
        assert now.get("revision", 2) == 2


class Lonely(Connection):
    """One that nobody lets in: each try is refused with this."""

    def __init__(self, problem: Refused) -> None:
        def nothing(*_: Any) -> None: ...

        super().__init__(
            "http://127.0.0.1:9", {"authToken": "t"}, tls=None, heard=nothing, hello=nothing, changed=nothing
        )
        self.refusal = problem
        self._credentials = {"resumeToken": "r"}

    @override
    async def _be_there(self, http: Any) -> None:
        raise self.refusal


@pytest.mark.parametrize(
    ("problem", "least", "most"),
    [
        (Refused("rate_limited", "", retryAfter=30), 15.0, 45.0),
        (Refused("unavailable", "", retryAfter=0.2), 0.1, 0.3),
        (Refused("no_answer", ""), 0.3, 7.5),
    ],
    ids=["as it is told to", "soon where it is told to", "later and later"],
)
async def test_a_client_that_is_not_let_in_comes_back_when_it_may(
    monkeypatch: pytest.MonkeyPatch, problem: Refused, least: float, most: float
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 20:
            raise asyncio.CancelledError

    known = {name: getattr(asyncio, name) for name in dir(asyncio) if not name.startswith("__")}
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**known, "sleep": sleep}))
    with pytest.raises(asyncio.CancelledError):
        await Lonely(problem)._stay_connected()
    assert all(least <= seconds <= most for seconds in waits), waits


@pytest.mark.parametrize(
    ("reason", "state"), [("session_ended", "signed_out"), ("session_expired", "connecting")]
)
async def test_whoever_is_signed_out_stays_so_and_whose_time_is_up_comes_back(
    reason: str, state: str
) -> None:
    connection = Lonely(Refused("no_answer", ""))
    source = connection._current = cast("Any", SimpleNamespace(ended=asyncio.Event()))
    connection._hear(source, "server.signed_out", {"reason": reason})
    assert (connection.state, connection._credentials) == (state, None)
    assert source.ended.is_set()


async def test_what_was_read_meanwhile_is_not_unread_among_the_older_notifications() -> None:
    pages = [
        {"seq": 5, "items": [{"id": "old", "readAt": None}], "next": None},
        {"seq": 6, "items": [{"id": "old", "readAt": "now"}], "next": None},
    ]

    async def ask(_name: str, _payload: Any) -> Any:
        return pages.pop(0)

    inbox = Inbox(cast("Any", SimpleNamespace(ask=ask)), cast("Any", None), {}, lambda _: None)
    inbox._following = cast("Any", SimpleNamespace(seq=6, is_live=True))
    inbox._older_cursor = "more"
    await inbox.older()
    assert [one["readAt"] for one in inbox._notifications.values()] == ["now"]
    assert not inbox._look().has_older
    assert not pages


CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize("odd", [{1, 2}, b"x", float("nan"), CIRCLE, DEEP], ids=type)
async def test_what_is_no_json_is_an_error_at_once_and_holds_nothing_up(odd: Any) -> None:
    sent: list[Any] = []

    async def ask(name: str, payload: Any) -> Any:
        sent.append(payload)
        return {}

    connection = cast("Connection", SimpleNamespace(state="live", live_on="e", owner="me", ask=ask))
    outbox = Outbox(connection, None, answered=lambda entry, answer: None, changed=lambda: None)
    outbox.hello("me")
    with pytest.raises((TypeError, ValueError)):
        outbox.add("comment.add", {"topic": "t", "text": odd}, "t")
    text = {"of": "then"}
    fine = outbox.add("comment.add", {"topic": "t", "text": text}, "t")
    text["of"] = "now"
    assert await asyncio.wait_for(fine, 20) == {}
    assert [payload["text"] for payload in sent] == [{"of": "then"}]
    assert outbox.entries == ()
    with pytest.raises((TypeError, ValueError)):
        await Lonely(Refused("no_answer", "")).ask("topic.get", {"topic": odd})


@pytest.mark.parametrize("is_kept", [False, True], ids=["in memory", "in a file"])
async def test_what_somebody_has_left_waits_until_they_are_back(tmp_path: Path, is_kept: bool) -> None:
    sent: list[str] = []

    async def ask(name: str, payload: Any) -> Any:
        sent.append(payload["text"])
        return {}

    connection = cast("Any", SimpleNamespace(state="live", live_on=None, owner="", ask=ask))
    keeping = Keeping(tmp_path / "outbox") if is_kept else None
    outbox = Outbox(connection, keeping, answered=lambda entry, answer: None, changed=lambda: None)

    def say(text: str) -> asyncio.Future[Any]:
        return outbox.add("comment.add", {"topic": "t", "text": text}, "t")

    def hello(owner: str) -> None:
        connection.owner = owner
        outbox.hello(owner)

    of_ann = [say("before"), say("offline")]
    hello("ann")
    of_ann.append(say("and more"))
    hello("bob")
    assert outbox.entries == ()
    of_bob = say("of Bob")
    connection.live_on = "e"
    outbox.send()
    assert await asyncio.wait_for(of_bob, 20) == {}
    assert sent == ["of Bob"]
    hello("ann")
    outbox.send()
    await asyncio.wait_for(asyncio.gather(*of_ann), 20)
    assert sent == ["of Bob", "before", "offline", "and more"]
    assert outbox.entries == ()
    outbox.close()


async def test_why_nobody_is_signed_in_does_not_grow_with_how_often_it_is_asked() -> None:
    """What it holds on to, too: all that was asked."""
    depths = []
    async with Client("http://127.0.0.1:9", cast("Any", lambda: None)) as client:
        for _ in range(5):
            with pytest.raises(Refused, match="Nobody is signed in") as refused:
                await client.ask("me", {})
            depths.append(len(refused.traceback))
    assert len(set(depths[1:])) == 1, depths


async def test_what_a_listener_raises_is_told_and_keeps_nothing_from_anybody() -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    heard: list[str] = []

    def fail(said: str) -> None:
        raise ArithmeticError(said)

    tell([fail, heard.append], "a change")
    asyncio.get_running_loop().set_exception_handler(None)
    assert heard == ["a change"]
    assert [str(error) for error in told] == ["a change"]


async def test_what_is_no_text_keeps_nothing_from_being_shown() -> None:
    client = Client("http://127.0.0.1:9", {"authToken": "t"})
    topic = client.topic("content:A:B")
    client._connection.user, client._connection.owner = cast("Any", {"id": "me", "name": "Me"}), "me"
    client._hello({"user": client.me})
    client.change("comment.add", cast("Any", {"topic": "content:A:B"}))
    client.change("comment.add", {"topic": "content:A:B", "text": "text"})
    assert [thread.comments[0]["text"] for thread in topic.snapshot.threads] == ["", "text"]
    await client.close()


async def test_credentials_that_are_none_are_said_to_be() -> None:
    def nothing(*_: Any) -> None: ...

    def start(auth: Any) -> Connection:
        address = "http://127.0.0.1:9"
        return Connection(address, auth, tls=None, heard=nothing, hello=nothing, changed=nothing)

    with pytest.raises(TypeError, match=r"auth: .*identityToken"):
        start("a token")
    connection = start(lambda: "a token")
    connection.sign_in()
    with pytest.raises(Refused, match="identityToken"):
        await asyncio.wait_for(connection.live(), 20)
    await connection.close()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "localhost/collaboration", "ftp://localhost", "https://"]
)
async def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="expected where the server is"):
        Client(url, {"authToken": "t"})


def test_a_script_is_told_why_it_is_not_let_in_and_that_its_client_is_closed() -> None:
    def fail() -> None:
        raise OSError("no such Library")

    client: Any = SyncClient("http://127.0.0.1:9", cast("Any", fail), timeout=0.2)
    with pytest.raises(TimeoutError, match=r"^not let in within 0\.2 s: no such Library$"), client:
        pass
    for use in (client.ask, client.change):
        with pytest.raises(Refused, match="closed"):
            use("topic.get", {"topic": "t"})
