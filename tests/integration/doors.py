"""Both doors behind one shape, and a bare websocket for what no well-behaved client sends.

`Door.ask` gives a command to the server over Socket.IO or as a REST call and returns what the acknowledgement is:
`{"ok": True, "data": …}` or `{"ok": False, "error": …}`. Over REST it also holds the HTTP status against the table of
errors in the contract.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import quote

import aiohttp

from tests.harness.clients import Client, Failed, Rest
from tests.harness.cluster import Cluster
from tests.harness.waiting import until

DoorName = Literal["socket", "rest"]

STATUS = {
    "invalid": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_command": 404,
    "conflict": 409,
    "too_large": 413,
    "rate_limited": 429,
    "unavailable": 503,
    "paused": 503,
    "internal": 500,
}

CALLS = {
    "topic.get": ("GET", "/topics/{topic}"),
    "topic.comments": ("GET", "/topics/{topic}/comments"),
    "topic.events": ("GET", "/topics/{topic}/events"),
    "comment.add": ("POST", "/topics/{topic}/comments"),
    "comment.get": ("GET", "/comments/{commentId}"),
    "comment.edit": ("PATCH", "/comments/{commentId}"),
    "comment.delete": ("DELETE", "/comments/{commentId}"),
    "comment.revisions": ("GET", "/comments/{commentId}/revisions"),
    "topic.read": ("PUT", "/topics/{topic}/read"),
    "topic.unread": ("PUT", "/topics/{topic}/unread"),
    "topic.mute": ("PUT", "/topics/{topic}/mute"),
    "topic.switch": ("PUT", "/topics/{topic}/commenting"),
    "topic.summaries": ("POST", "/topics/summaries"),
    "topic.anchors": ("GET", "/topics/{topic}/anchors"),
    "comment.react": ("PUT", "/comments/{commentId}/reactions/{emoji}"),
    "comment.unreact": ("DELETE", "/comments/{commentId}/reactions/{emoji}"),
    "thread.resolve": ("PUT", "/comments/{commentId}/resolution"),
    "thread.reopen": ("DELETE", "/comments/{commentId}/resolution"),
    "thread.follow": ("PUT", "/comments/{commentId}/follow"),
    "thread.mute": ("PUT", "/comments/{commentId}/mute"),
    "thread.marks": ("GET", "/topics/{topic}/threads"),
    "discussion.list": ("GET", "/discussions"),
    "discussion.create": ("POST", "/discussions"),
    "discussion.get": ("GET", "/discussions/{discussionId}"),
    "discussion.rename": ("PATCH", "/discussions/{discussionId}"),
    "discussion.delete": ("DELETE", "/discussions/{discussionId}"),
    "discussion.invite": ("POST", "/discussions/{discussionId}/members"),
    "discussion.leave": ("DELETE", "/discussions/{discussionId}/members/me"),
    "discussion.remove": ("DELETE", "/discussions/{discussionId}/members/{userId}"),
    "discussion.transfer": ("PUT", "/discussions/{discussionId}/owner"),
    "share": ("POST", "/shares"),
    "notification.list": ("GET", "/notifications"),
    "notification.count": ("GET", "/notifications/count"),
    "notification.read": ("PUT", "/notifications/read"),
    "recipients.find": ("GET", "/recipients"),
    "comments.search": ("GET", "/search"),
    "me": ("GET", "/me"),
    "session.end": ("DELETE", "/session"),
}

WITH_BODY = {
    *(
        "comment.add",
        "comment.edit",
        "topic.read",
        "topic.unread",
        "thread.follow",
        "thread.mute",
        "topic.mute",
        "topic.switch",
        "topic.summaries",
        "share",
        "notification.read",
    ),
    *("discussion.create", "discussion.rename", "discussion.invite", "discussion.transfer"),
}

BOARD = "content:F0000000000000000000000000000001:DA000000000000000000000000000003"
"""The dashboard that only ann and bob may open."""

GROUP_SALES = "6A000000000000000000000000000001"


class Door:
    """One person at one door of one node."""

    def __init__(self, client: Client | None, rest: Rest | None) -> None:
        self.client, self.rest = client, rest

    @classmethod
    async def open(cls, cluster: Cluster, name: DoorName, login: str, node: int = 0) -> Self:
        """Sign in at a door; closed with the cluster's clients."""
        if name == "socket":
            return cls(await cluster.client(node, login), None)
        return cls(None, await cluster.rest(node, login))

    async def ask(self, command: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer as an acknowledgement."""
        payload = dict(payload or {})
        if self.client is not None:
            answer: dict[str, Any] = await self.client.ask(command, payload)
            return answer
        assert self.rest is not None
        method, path = CALLS[command]
        for name in ("topic", "commentId", "discussionId", "userId", "emoji"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(str(payload.pop(name)), safe=":"))
        headers = {"Idempotency-Key": payload.pop("requestId")} if "requestId" in payload else None
        has_body = command in WITH_BODY
        params = None if has_body else {name: _in_query(value) for name, value in payload.items()}
        status, content, more = await self.rest.request(
            method, path, payload if has_body else None, params=params, headers=headers
        )
        if status < 400:
            assert status == (201 if command in ("comment.add", "discussion.create") else 200)
            return {"ok": True, "data": content}
        assert status == STATUS[content["code"]], content
        assert ("retryAfter" in content) == ("Retry-After" in more)
        assert int(more.get("Retry-After", 0)) >= content.get("retryAfter", 0)
        return {"ok": False, "error": content}

    async def call(self, command: str, payload: Mapping[str, Any] | None = None) -> Any:
        """The data of the answer. Raises `Failed`."""
        answer = await self.ask(command, payload)
        if answer["ok"] is not True:
            raise Failed(answer["error"])
        return answer["data"]

    async def refusal(self, command: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The error object of a command that must be refused."""
        answer = await self.ask(command, payload)
        assert answer["ok"] is False, f"{command} was not refused: {answer}"
        error: dict[str, Any] = answer["error"]
        assert (
            {"code", "message", "ticketId"}
            <= error.keys()
            <= {
                *("code", "message", "ticketId"),
                *("field", "retryAfter", "outcome", "comment", "discussion"),
            }
        )
        assert error["message"]
        assert error["ticketId"]
        return error


async def log_of(door: Door | Client, topic: str) -> list[dict[str, Any]]:
    """All events of a topic, however many: an inbox has those of all tests that its person was in."""
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["seq"] if events else 0
        page = await door.call("topic.events", {"topic": topic, "after": after, "limit": 500})
        events += page["events"]
        if not page["more"]:
            return events


async def heard_all(door: Door | Client, device: Client) -> int:
    """Once another device of the person at the door has heard all that is in their inbox: how many events those are in
    `device.events`, so that what comes next is told from what was under way."""
    inbox = f"inbox:{device.hello['user']['id']}"
    head = (await door.call("topic.get", {"topic": inbox}))["seq"]

    def heard() -> int:
        return max((event.seq or 0 for event in device.events_of(inbox)), default=device.hello["inboxSeq"])

    await until(lambda: heard() >= head, what="the device hears what is in the inbox")
    return len(device.events)


def _in_query(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


async def say(client: Client, topic: str, text: str, **more: Any) -> dict[str, Any]:
    """Add a comment, waiting as long as the server says where it says that there were too many."""
    while True:
        try:
            answer: dict[str, Any] = await client.call("comment.add", {"topic": topic, "text": text, **more})
            return answer
        except Failed as refusal:
            if refusal.code != "rate_limited":
                raise
            await asyncio.sleep(refusal.error["retryAfter"])


def seqs(client: Client, topic: str) -> list[int | None]:
    """The `seq` of the topic's events in the order in which they reached the client."""
    return [event.seq for event in client.events_of(topic)]


def _first_argument(frame: str, start: str) -> dict[str, Any]:
    [argument] = json.loads(frame[len(start) - 1 :])
    assert isinstance(argument, dict)
    return argument


@dataclass(slots=True)
class Raw:
    """A bare websocket that speaks Engine.IO by hand. `frames` are those received and not read yet.

    The signal `server.state`, which comes whenever it likes, is not shown.
    """

    http: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    frames: deque[str | bytes] = field(default_factory=deque)

    @classmethod
    async def open(
        cls, url: str, auth: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Self:
        """Open the transport; with `auth` also the Socket.IO connection, up to `server.hello`."""
        http = aiohttp.ClientSession()
        address = f"{url}/socket.io/?EIO=4&transport=websocket"
        socket = await http.ws_connect(address, max_msg_size=0, headers=headers)
        raw = cls(http, socket)
        assert str(await raw.next()).startswith("0{")
        if auth is not None:
            await raw.send("40" + json.dumps(auth))
            assert str(await raw.next()).startswith("40{")
            assert str(await raw.next()).startswith('42["server.hello"')
        return raw

    async def send(self, *frames: str | bytes) -> None:
        """Send frames as they are."""
        for frame in frames:
            await (self.socket.send_str(frame) if isinstance(frame, str) else self.socket.send_bytes(frame))

    async def next(self, timeout: float = 5) -> str | bytes | None:
        """The next frame; None when the server has closed. Pings are answered here."""
        while True:
            async with asyncio.timeout(timeout):
                message = await self.socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return None
            if message.data == "2":
                await self.send("3")
            elif not str(message.data).startswith('42["server.state"'):
                frame: str | bytes = message.data
                return frame

    async def answer(self, ack_id: int, timeout: float = 5) -> dict[str, Any]:
        """The acknowledgement with this id, come or to come; whatever is read before it is kept in `frames`."""
        start = f"43{ack_id}["
        for frame in self.frames:
            if isinstance(frame, str) and frame.startswith(start):
                self.frames.remove(frame)
                return _first_argument(frame, start)
        while True:
            read = await self.next(timeout)
            assert read is not None, "the server has closed the connection"
            if isinstance(read, str) and read.startswith(start):
                return _first_argument(read, start)
            self.frames.append(read)

    async def answers(self, number: int, timeout: float = 10) -> list[tuple[int, dict[str, Any]]]:
        """The next frames, which must all be acknowledgements: id and content, as they come."""
        answers = []
        for _ in range(number):
            frame = await self.next(timeout)
            assert isinstance(frame, str)
            assert frame.startswith("43"), frame
            ack_id = frame[2:].partition("[")[0]
            answers.append((int(ack_id), _first_argument(frame, f"43{ack_id}[")))
        return answers

    async def wait_until_closed(self, timeout: float = 5) -> list[str | bytes]:
        """Wait for the end; what came before it."""
        frames: list[str | bytes] = []
        async with asyncio.timeout(timeout):
            while (frame := await self.next(timeout)) is not None:
                frames.append(frame)
        return frames

    async def close(self) -> None:
        await self.socket.close()
        await self.http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
