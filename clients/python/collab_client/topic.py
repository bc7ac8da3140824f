"""What one topic shows: its threads as the server has them, with what is on its way there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Literal, Self

from typing_extensions import override

from collab_client.connection import Connection
from collab_client.fold import Shown, about, after, foreseen, rfc3339
from collab_client.following import Following
from collab_client.ids import uuid7
from collab_client.keeping import Entry
from collab_client.mentions import mentions_of
from collab_client.outbox import Outbox
from collab_client.refused import Refused
from collab_client.store import Store
from collab_client.wire import AnchorPayload, Comment, Discussion, TopicSubscribeAnswer, User

_PAGE: Final = 50
_COUNT_SECONDS: Final = 0.3
_TYPING_SECONDS: Final = 7  # the server ends it after 6 s
_SAY_TYPING_SECONDS: Final = 3
_AT_THE_END: Final = 2**53 - 1


def _place(comment: Comment) -> tuple[int, str, str]:
    """By it comments are in their order. What has no `seq`, of a node of a former version, is by its age; the ids of
    such nodes rise."""
    seq = comment["seq"]
    return (seq, comment["createdAt"], comment["id"]) if not seq else (seq, "", "")


@dataclasses.dataclass(frozen=True, slots=True)
class Thread:
    """`id` is that of its root, which is None while only replies to it are loaded.

    `comments` are those that are loaded, the root among them, by `seq`; what is not stored yet is last. `is_whole`:
    whether all of it is loaded. `unread`: how many of those that are loaded this person has not read.
    """

    id: str
    root: Shown | None
    comments: tuple[Shown, ...]
    is_whole: bool
    unread: int


@dataclasses.dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic shows.

    `behind`: what is shown may be old, because the connection is lost or being caught up; `closed`: `problem` says why,
    `open()` tries again. `threads` are in the order of the `seq` of their roots; `has_older`: whether `older()` has
    more. Everything up to `seq` is shown, what is up to `read_seq` is read, `unread` is how many comments of others are
    not. `rights` are the commands that this person may use here, `present` is who has it open, `typing` who writes.
    """

    topic: str
    state: Literal["loading", "live", "behind", "closed"]
    problem: Refused | None
    threads: tuple[Thread, ...]
    has_older: bool
    seq: int
    read_seq: int
    unread: int
    muted: bool
    rights: frozenset[str]
    commenting: bool
    present: tuple[User, ...]
    typing: tuple[User, ...]
    discussion: Discussion | None


class Topic(Store[TopicState]):
    """A topic that is followed from `open()` to `leave()`, or within `async with`.

    What is written is shown at once and sent once; the answer may be awaited, or left alone.
    """

    def __init__(
        self,
        name: str,
        connection: Connection,
        outbox: Outbox,
        readers: dict[str, list[Following]],
        now: Callable[[], float],
        opened: Callable[[], None],
    ) -> None:
        super().__init__()
        self.name = name
        self._connection = connection
        self._outbox = outbox
        self._readers = readers
        self._now = now
        self._opened = opened
        self._following = self._new_following()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._problem: Refused | None = None
        self._has_begun = False
        self._comments: dict[str, Comment] = {}
        self._members: dict[str, set[str]] = {}  # their threads: the ids of those that are loaded
        self._threads: dict[str, Thread] = {}  # made when they are looked at
        self._whole: set[str] = set()
        self._as_of: dict[str, int] = {}  # what was read holds the events up to here
        self._told: list[Mapping[str, Any]] = []  # while something is being read
        self._loads = 0
        self._from = _AT_THE_END  # comments of this seq and later are all loaded
        self._older_cursor: str | None = None
        self._waiting: tuple[Entry, ...] = ()
        self._answered: list[tuple[Entry, int]] = []  # but their events are not here yet
        self._read_seq = 0
        self._reading = 0  # what is to be read, until the server knows
        self._unread = 0  # as the server counts, for when not everything that is unread is loaded
        self._is_marked = False  # while what is asked for may be older
        self._counting: asyncio.Task[None] | None = None
        self._muted = False
        self._typing: dict[str, tuple[User, asyncio.TimerHandle]] = {}
        self._said_typing_at = float("-inf")
        self._discussion: Discussion | None = None
        self.take_waiting()

    # --- following

    def open(self) -> None:
        """Follow it; also after it was closed."""
        self._is_open = True
        self._problem = None
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(self._following))
        self._opened()
        self._changed()

    async def live(self) -> TopicState:
        """What is so, once that is what the server has. Raises `Refused` where it may not be followed."""
        self.open()
        async for state in self.states():
            if state.problem is not None:
                raise state.problem.with_traceback(None)  # for each who asks
            if state.state == "live":
                return state
            if self._connection.state in ("closed", "signed_out"):
                await self._connection.live()
        raise AssertionError("not reached")

    async def leave(self) -> None:
        """Follow it no more. What is shown stays."""
        self._is_open = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._changed()

    async def close(self) -> None:
        """Follow it no more, and ask nothing more."""
        await self.leave()
        for task in (*self._tasks, *filter(None, [self._counting])):
            task.cancel()

    async def __aenter__(self) -> Self:
        await self.live()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.leave()

    def hello(self, *, is_another: bool) -> None:
        """Somebody is signed in: the same person as before, or another."""
        if is_another:
            self._discussion, self._muted = None, False
            self._forget()
            if self._task is not None:
                self._task.cancel()
                self._task = None
        if self._is_open and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(self._following))

    async def _run(self, following: Following) -> None:
        try:
            async for event in following:
                self._event(event)
        except Refused as problem:
            if problem.code != "unauthenticated":  # else it goes on once somebody is signed in
                self._forget()
                self._is_open = False
                self._problem = problem
        self._changed()

    def _new_following(self) -> Following:
        return Following(self._connection, self.name, None, None, self._readers, self)

    def _forget(self) -> None:
        self._following = self._new_following()
        self._has_begun = False
        self._empty()

    def _empty(self) -> None:
        for kept in (self._comments, self._members, self._threads, self._whole, self._as_of, self._told):
            kept.clear()
        self._answered.clear()
        self._from = _AT_THE_END
        self._older_cursor = None
        self._read_seq = self._reading = self._unread = 0
        self._changed()

    async def caught_up(self, answer: TopicSubscribeAnswer) -> bool:
        is_exact = True
        if not answer["recovered"]:
            now, page, _ = await asyncio.gather(
                self._ask("topic.get"),
                self._ask("topic.comments", order="newest", limit=_PAGE),
                self._read_discussion(),
            )
            self._empty()
            self._muted = now["muted"]
            self._take_page(page)
            self._has_begun = True
            is_exact = "seq" in page
        self._read_seq, self._unread = answer.get("readSeq", self._read_seq), answer["unread"]
        self._threads.clear()
        for _, end in self._typing.values():
            end.cancel()
        self._typing.clear()
        self._spawn(self._send_read())
        self._spawn(self._load())
        self._count(is_needed=self._is_marked)
        self._is_marked = False
        return is_exact

    async def _read_discussion(self) -> None:
        """Of a discussion: its name, members and owner as they are now."""
        kind, _, id = self.name.partition(":")
        if kind == "discussion":
            self._discussion = await self._connection.ask("discussion.get", {"discussionId": id})
            self._changed()

    def _ask(self, name: str, **payload: Any) -> Awaitable[Any]:
        return self._connection.ask(name, {"topic": self.name, **payload})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(Refused):  # it is done with the next connection
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- what is said

    def _event(self, event: Mapping[str, Any]) -> None:
        kind, data = event["type"], event["data"] if "data" in event else {}
        if kind == "gap":
            return
        if self._loads:
            self._told.append(event)
        id = about(event)
        if kind == "comment.added":
            if data["comment"]["id"] not in self._comments:
                added: Any = {**data["comment"], "seq": event["seq"]}
                self._put(added)
            self._end_typing(event["actor"]["id"])
        if id is not None:
            known = self._comments.get(id)
            if known is not None and event["seq"] > self._as_of.get(id, 0):  # else it was read afterwards
                self._put(after(known, event))
        elif kind not in ("topic.switched", "discussion.deleted"):
            self._spawn(self._read_discussion())
        self._count()
        for entry, seq in self._answered:
            if seq <= event["seq"]:
                self._stale(entry)
        self._answered = [each for each in self._answered if each[1] > event["seq"]]
        self._changed()

    def signalled(self, name: str, said: Any) -> None:
        """A signal has come; what it says of who is there and what may be done is taken already."""
        if name == "typing":
            self._end_typing(said["user"]["id"])
            if said["typing"]:
                loop, user = asyncio.get_running_loop(), said["user"]
                self._typing[user["id"]] = (
                    user,
                    loop.call_later(_TYPING_SECONDS, self._end_typing, user["id"]),
                )
        self._changed()

    def woken(self) -> None:
        """The connection is there, or lost."""
        self._changed()

    def _end_typing(self, id: str) -> None:
        known = self._typing.pop(id, None)
        if known is not None:
            known[1].cancel()
            self._changed()

    def inbox_event(self, event: Mapping[str, Any]) -> None:
        """What the inbox says of this topic, on whatever device it was done."""
        self._is_marked |= not self._following.is_live  # what is being asked for may be older
        data = event["data"]
        if event["type"] == "topic.was_muted":
            self._muted = data["muted"]
        elif event["type"] in ("topic.was_read", "topic.was_unread"):
            self._read_seq = data["seq"]
            if self._reading <= data["seq"]:
                self._reading = 0
            self._unread = data["unread"]
            self._threads.clear()
            self._count()  # of the events that are here
        self._changed()

    # --- comments

    def _put(self, comment: Comment) -> None:
        known = self._comments.get(comment["id"])
        if known is not comment:
            before: Any = known or {"seq": 0}  # nodes of a former version do not tell it
            self._comments[comment["id"]] = {**before, **comment}
            self._members.setdefault(comment["threadId"], set()).add(comment["id"])
            self._threads.pop(comment["threadId"], None)

    def _take(self, page: Mapping[str, Any]) -> None:
        """Keep what was read; `seq` is the last event that it holds. A node of a former version does not say: then it
        may hold replies that are counted again."""
        seq = page.get("seq", 0)
        for comment in page["items"]:
            for event in self._told:
                if event["seq"] > seq and about(event) == comment["id"]:
                    comment = after(comment, event)
            self._put(comment)
            self._as_of[comment["id"]] = seq

    def _take_page(self, page: Mapping[str, Any]) -> None:
        self._take(page)
        self._older_cursor = page["next"]
        if all("seq" in comment for comment in page["items"]):
            self._from = 0 if page["next"] is None else page["items"][-1]["seq"]
        else:
            self._from = _AT_THE_END  # how many are unread only the server knows

    async def older(self) -> None:
        """Load comments older than those that are there. Raises `Refused`."""

        async def load() -> None:
            cursor = self._older_cursor
            if cursor is not None:
                page = await self._ask("topic.comments", order="newest", limit=2 * _PAGE, cursor=cursor)
                if self._older_cursor == cursor:
                    self._take_page(page)

        await self._load(load)

    async def thread(self, thread_id: str) -> None:
        """Load all of a thread. Raises `Refused`."""

        async def load() -> None:
            cursor = None
            while True:
                page = await self._ask("topic.comments", thread=thread_id, limit=200, cursor=cursor)
                self._take(page)
                cursor = page["next"]
                if cursor is None:
                    break
            self._whole.add(thread_id)
            self._threads.pop(thread_id, None)

        if thread_id not in self._whole:
            await self._load(load)

    async def find(self, comment_id: str) -> str:
        """Load a comment, with its thread, wherever it is; returns the id of the thread. Raises `Refused`."""
        comment = self._comments.get(comment_id)
        if comment is None:
            found: Comment = await self._connection.ask("comment.get", {"commentId": comment_id})
            comment = found
        if comment["topic"] != self.name:
            raise Refused("not_found", "It is elsewhere.")
        await self.thread(comment["threadId"])
        return comment["threadId"]

    async def _load(self, load: Callable[[], Awaitable[None]] | None = None) -> None:
        """Load something, then the roots that are missing."""
        self._loads += 1
        try:
            if load is not None:
                await load()
            missing = [id for id in self._members if id not in self._comments]
            for place in range(0, len(missing), 8):
                some = (self._ask("topic.comments", thread=id, limit=1) for id in missing[place : place + 8])
                for page in await asyncio.gather(*some):
                    self._take(page)
        finally:
            self._loads -= 1
            if not self._loads:
                self._told.clear()
            self._changed()

    # --- what is unread

    @property
    def _read_up_to(self) -> int:
        return max(self._read_seq, self._reading)

    @property
    def _covers_unread(self) -> bool:
        return self._from <= self._read_up_to + 1

    def _is_unread(self, comment: Shown) -> bool:
        me = self._connection.user
        is_mine = me is not None and comment["author"]["id"] == me["id"]
        is_old = comment["seq"] <= self._read_up_to or comment["deletedAt"] is not None
        return not (is_mine or is_old or "pending" in comment)

    def _count(self, *, is_needed: bool = False) -> None:
        """Ask the server how many are unread, where not all that may be are loaded, until what it says is of now."""
        if self._counting is None and (is_needed or not self._covers_unread):
            self._counting = asyncio.create_task(self._count_soon(is_needed))

    async def _count_soon(self, is_needed: bool) -> None:
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            if not self._following.is_live:
                break  # it is asked again with the next connection
            try:
                now = await self._ask("topic.get")
            except Refused as problem:
                if not problem.is_passing:
                    break
                continue
            read_seq = now.get("readSeq", self._read_seq)
            is_right = (now["seq"], read_seq) == (self._following.seq, self._read_seq)
            self._read_seq, self._unread, self._muted = read_seq, now["unread"], now["muted"]
            self._threads.clear()
            self._changed()
            if is_right or not (is_needed or not self._covers_unread):
                break
        self._counting = None

    def read(self, seq: int | None = None) -> None:
        """What is up to this `seq` is read; left out: everything that is shown."""
        upto = min(seq if seq is not None else _AT_THE_END, self._following.seq or 0)
        if upto > self._read_up_to:
            self._reading = upto
            self._threads.clear()
            self._changed()
            self._spawn(self._send_read())

    def mark_unread(self, from_seq: int) -> asyncio.Future[Any]:
        """What is said from this `seq` on is unread again."""
        self._reading = 0
        return self._change("topic.unread", topic=self.name, fromSeq=from_seq)

    async def _send_read(self) -> None:
        seq = self._reading
        if seq and self._connection.live_on is not None:
            answer = await self._ask("topic.read", seq=seq)
            self._read_seq = max(self._read_seq, seq)
            if self._reading == seq:
                self._reading = 0
                self._unread = answer["unread"]
            self._changed()

    # --- what is written

    def take_waiting(self) -> None:
        """Something has become of what waits in the outbox."""
        before = self._waiting
        self._waiting = tuple(entry for entry in self._outbox.entries if entry.lane == self.name)
        was, now = {id(entry) for entry in before}, {id(entry) for entry in self._waiting}
        for entry in (*before, *self._waiting):
            if not (id(entry) in was and id(entry) in now):
                self._stale(entry)
                self._changed()

    def answered(self, entry: Entry, answer: Any) -> None:
        """A command was answered; its event comes before or after."""
        seq = answer.get("seq", 0)
        if seq > (self._following.seq or 0):
            if "comment" in answer:
                self._take({"items": [{"seq": seq, **answer["comment"]}], "seq": seq})
            else:
                self._answered.append((entry, seq))
        self._changed()

    def _stale(self, entry: Entry) -> None:
        """The thread that an entry is shown in has to be made anew."""
        about = entry.payload.get("replyTo") or entry.payload.get("commentId")
        if about is not None:
            self._threads.pop(self._thread_of(about), None)

    def _thread_of(self, id: str) -> str:
        """The thread of a comment, also of one that waits."""
        known = self._comments.get(id)
        if known is not None:
            return known["threadId"]
        for entry in self._waiting:
            if (
                entry.name == "comment.add"
                and entry.payload["commentId"] == id
                and entry.payload.get("replyTo")
            ):
                return self._thread_of(entry.payload["replyTo"])
        return id

    def add(
        self,
        text: str,
        *,
        reply_to: str | None = None,
        anchor: AnchorPayload | None = None,
        view_state: Mapping[str, Any] | None = None,
        format: Literal["plain", "markdown"] | None = None,
    ) -> asyncio.Future[Any]:
        """Comment. It is shown at once, and sent when it can be."""
        more = {"replyTo": reply_to, "anchor": anchor, "viewState": view_state, "format": format}
        given = {name: value for name, value in more.items() if value is not None}
        id = uuid7(self._now())
        return self._change("comment.add", topic=self.name, commentId=id, text=text, **given)

    def edit(
        self,
        comment_id: str,
        text: str,
        *,
        format: Literal["plain", "markdown"] | None = None,
        of_revision: int | None = None,
    ) -> asyncio.Future[Any]:
        """Give one's own comment another text, made of `of_revision` or, left out, of the one that is known. Where
        another one is stored by then it is refused, with `comment` as that stands."""
        given = ({} if format is None else {"format": format}) | self._made_of(comment_id, of_revision)
        return self._change("comment.edit", commentId=comment_id, text=text, **given)

    def delete(self, comment_id: str, *, of_revision: int | None = None) -> asyncio.Future[Any]:
        """Delete one's own comment; `of_revision` as with `edit`."""
        return self._change("comment.delete", commentId=comment_id, **self._made_of(comment_id, of_revision))

    def _made_of(self, comment_id: str, of_revision: int | None) -> dict[str, Any]:
        known = self._comments.get(comment_id)
        if of_revision is None and known is not None:
            of_revision = known["revision"]
        return {} if of_revision is None else {"ofRevision": of_revision}

    def react(self, comment_id: str, emoji: str) -> asyncio.Future[Any]:
        """React to a comment, with one emoji."""
        return self._change("comment.react", commentId=comment_id, emoji=emoji)

    def unreact(self, comment_id: str, emoji: str) -> asyncio.Future[Any]:
        """Take one's reaction back."""
        return self._change("comment.unreact", commentId=comment_id, emoji=emoji)

    def resolve(self, thread_id: str) -> asyncio.Future[Any]:
        """Mark a thread as resolved."""
        return self._change("thread.resolve", commentId=thread_id)

    def reopen(self, thread_id: str) -> asyncio.Future[Any]:
        """Open a resolved thread again."""
        return self._change("thread.reopen", commentId=thread_id)

    def mute(self, muted: bool, *, until: str | None = None) -> asyncio.Future[Any]:
        """Be told nothing of this topic, perhaps until a time to come (RFC 3339), or again."""
        given = {} if until is None else {"until": until}
        return self._change("topic.mute", topic=self.name, muted=muted, **given)

    def _change(self, name: str, **payload: Any) -> asyncio.Future[Any]:
        return self._outbox.add(name, payload, self.name)

    def type(self, is_typing: bool = True) -> None:
        """Say that this person is writing here, as often as they press a key; or not any more."""
        now = asyncio.get_running_loop().time()
        is_said = self._said_typing_at != float("-inf")
        if now - self._said_typing_at < _SAY_TYPING_SECONDS if is_typing else not is_said:
            return
        self._said_typing_at = now if is_typing else float("-inf")
        if self._following.is_live:
            self._spawn(self._say_typing(is_typing))

    async def _say_typing(self, is_typing: bool) -> None:
        await self._ask("typing", typing=is_typing)

    def may(self, command: str) -> bool:
        """Whether this person may use a command here."""
        return command in self._following.rights

    # --- what is shown

    @override
    def _look(self) -> TopicState:
        state: Literal["loading", "live", "behind", "closed"] = "live"
        if self._problem is not None:
            state = "closed"
        elif not self._has_begun:
            state = "loading"
        elif not (self._is_open and self._following.is_live):
            state = "behind"
        threads = self._look_at_threads()
        is_covered = self._covers_unread
        return TopicState(
            topic=self.name,
            state=state,
            problem=self._problem,
            threads=threads,
            has_older=self._older_cursor is not None,
            seq=self._following.seq or 0,
            read_seq=self._read_up_to,
            unread=sum(thread.unread for thread in threads) if is_covered else self._unread,
            muted=self._muted,
            rights=self._following.rights,
            commenting=self._following.commenting,
            present=self._following.present,
            typing=tuple(user for user, _ in self._typing.values()),
            discussion=self._discussion,
        )

    def _look_at_threads(self) -> tuple[Thread, ...]:
        me = self._connection.user
        # Nothing is shown as somebody's before it is known whose.
        waiting = [*self._waiting, *(entry for entry, _ in self._answered)] if me is not None else []
        own = [
            each
            for each in waiting
            if each.name != "comment.add" or each.payload.get("commentId") not in self._comments
        ]
        added = [self._foreseen(entry, me) for entry in own if entry.name == "comment.add" and me is not None]
        for comment in added:
            self._members.setdefault(comment["threadId"], set())
        threads = []
        for id, members in tuple(self._members.items()):
            if id not in self._threads:
                stored = [self._comments[member] for member in members]
                comments = [*stored, *(each for each in added if each["threadId"] == id)]
                comments.sort(key=_place)
                self._threads[id] = self._thread(id, [foreseen(each, own, me) for each in comments])
            if self._threads[id].comments:
                threads.append(self._threads[id])
            else:
                del self._members[id]
        return tuple(sorted(threads, key=lambda thread: _place(thread.root or thread.comments[0])))

    def _thread(self, id: str, comments: list[Shown]) -> Thread:
        root = next((comment for comment in comments if comment["id"] == id), None)
        return Thread(
            id=id,
            root=root,
            comments=tuple(comments),
            is_whole=id in self._whole or (root is not None and len(comments) > root["replyCount"]),
            unread=sum(map(self._is_unread, comments)),
        )

    def _foreseen(self, entry: Entry, author: User) -> Comment:
        """A comment that is on its way."""
        payload = entry.payload
        text = payload.get("text", "")
        return Comment(
            id=payload["commentId"],
            topic=self.name,
            threadId=self._thread_of(payload.get("replyTo") or payload["commentId"]),
            author=author,
            text=text,
            mentions=mentions_of(text),
            anchor=payload.get("anchor"),
            viewState=payload.get("viewState"),
            createdAt=rfc3339(entry.at),
            editedAt=None,
            deletedAt=None,
            revision=1,
            reactions={},
            replyCount=0,
            resolved=None,
            body=None,
            seq=_AT_THE_END,
        )
