"""Watches: the counts of topics that are not open, told to those who have asked for them.

What it promises. Whoever watches a topic is told its summary - head, comments, unread ones - soon after it has moved,
at most every `TOLD_SECONDS` a topic, and never what they may not open: a right is asked when a change is about to be
told and the last answer is older than a minute. For that at most `QUESTIONS_PER_MINUTE` are asked for one person, on
all nodes together; so what is told may be late, and is then told as it is by that time. A right that is lost ends the
watch. What the nodes tell each other may be lost: every `LOOK_SECONDS` heads are compared with PostgreSQL.

What runs concurrently: one task, `run`, owned by the composition root, which reads for all who watch by one statement
at a time; and for each person about whom the authority is asked a task of their own, `ASKING` of which ask at a time.
`stop` ends those.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from uuid import UUID

from collab_server.domain.jsontext import JsonText, json_list, json_object
from collab_server.domain.subscriptions import WatchTopics
from collab_server.domain.topics import Topic, parse_topic
from collab_server.errors import ClientError, RateLimited, Unavailable
from collab_server.services.backends import Backends, in_time
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.weights import weight_of_answer
from collab_server.services.hub import Hub, Listener
from collab_server.services.live.audience import Audience
from collab_server.services.live.moves import EVERYBODY, Moves
from collab_server.services.topics import named_topics, shown_summaries, summary_text
from collab_server.storage import discussions, event_log, topics
from collab_server.storage.topics import Snapshot, Summary

TOLD_SECONDS = 2.0
LOOK_SECONDS = 1.5
LOOKED_AT_ONCE = 5000
PACE_SECONDS = 0.1
"""What moves within that time is read together."""
READ_AT_ONCE = 100
SHARE = 0.25
QUESTIONS_PER_MINUTE, QUESTIONS_AT_ONCE = 10, 10
ASKING = 16
ALLOWED_SECONDS = 10.0
"""So soon after the answer somebody is told, or it is asked again."""
AGAIN_SECONDS = 5.0
"""After so long a silent authority is asked again."""

log = logging.getLogger(__name__)


class Watches:
    """Those of the listeners of one node. `limiter` is charged with what an answer weighs, `questions` with what is
    asked of the authority for each person."""

    def __init__(
        self,
        backends: Backends,
        hub: Hub,
        audience: Audience,
        moves: Moves,
        limiter: RateLimiter,
    ) -> None:
        self.questions = RateLimiter(per_second=QUESTIONS_PER_MINUTE / 60, burst=QUESTIONS_AT_ONCE)
        self._backends = backends
        self._hub = hub
        self._audience = audience
        self._moves = moves
        self._limiter = limiter
        self._told_at: dict[str, float] = {}
        self._asks: dict[str, dict[str, None]] = {}  # of whom about which topics
        self._allowed: dict[tuple[str, str], float] = {}  # until when somebody may be told of a topic
        self._asking = asyncio.Semaphore(ASKING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked_at = 0

    def start(self) -> None:
        """Nothing is asked before somebody watches."""

    async def stop(self) -> None:
        """End the questions under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def watch(
        self, listener: Listener, command: WatchTopics, acknowledge: Callable[[JsonText], None]
    ) -> None:
        """Let a listener watch these topics from now on, and no others.

        Raises `Invalid`, `TooLarge`, `Unavailable` or `Paused`; a watch of before then goes on as it was.
        """
        asked = named_topics(self._backends, command.topics)
        if listener.is_closed:
            return
        # What moves while the summaries are read must not be lost, nor told before they are.
        new = self._moves.hold(listener, [topic.name for topic in asked])
        try:
            asking = shown_summaries(self._backends, listener.who, asked)
            found = await in_time(self._backends.authority_name, asking)
        except BaseException:
            self._moves.forget(listener, new)
            self._moves.release(listener)
            raise
        if _has_left(listener):
            self._moves.leave(listener)
            return
        shown = {summary.topic for summary in found}
        self._moves.forget(listener, [name for name in self._moves.of(listener) if name not in shown])
        texts = [summary_text(summary) for summary in found]
        answer = json_object(items=json_list(texts))
        acknowledge(answer)
        self._moves.release(listener)
        for summary, text in zip(found, texts, strict=True):
            self._moves.is_news(listener, summary.topic, text)
            if not self._moves.saw(summary.topic, summary.seq):
                self._moves.note_of(listener.who.user.id, summary.topic)
        self._limiter.charge(listener.who.user.id, weight_of_answer(len(answer)))

    def leave(self, listener: Listener) -> None:
        """A listener has gone."""
        self._moves.leave(listener)

    # --- telling

    async def run(self) -> None:
        """Tell what moves until cancelled."""
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_SECONDS
        wake_at = look_at
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(look_at, wake_at)):
                    await self._moves.noted.wait()
            await asyncio.sleep(PACE_SECONDS)
            self._moves.noted.clear()
            try:
                if loop.time() >= look_at or self._moves.is_suspect:
                    self._moves.is_suspect = False
                    look_at = loop.time() + LOOK_SECONDS
                    await self._look()
                wake_at = await self._tell_due(loop.time())
            except ClientError:
                pass  # the database is away, which has a line of its own
                wake_at = loop.time() + LOOK_SECONDS
            except Exception:
                log.exception("what is watched was not told; the next round tries again")
                wake_at = loop.time() + LOOK_SECONDS

    async def _look(self) -> None:
        """Compare heads with PostgreSQL: of all topics, or of so many of them, in turn."""
        now = asyncio.get_running_loop().time()
        self._allowed = {about: until for about, until in self._allowed.items() if until > now}
        self._told_at = {name: at for name, at in self._told_at.items() if at + TOLD_SECONDS > now}
        names = list(self._moves.watched)
        if not names:
            return
        start = self._looked_at % len(names)
        some = [*islice(names, start, start + LOOKED_AT_ONCE)]
        self._looked_at = start + len(some)
        heads = await event_log.heads(self._backends.database, some)
        for name, seq in heads.items():
            if seq > self._moves.heads.get(name, 0):
                self._moves.note(name)

    async def _tell_due(self, now: float) -> float:
        """Tell whatever is due; returns when something will be that is not yet."""
        wait = LOOK_SECONDS
        due: list[str] = []
        for name in self._moves.moved:
            left = self._told_at.get(name, now - TOLD_SECONDS) + TOLD_SECONDS - now
            if left > 0:
                wait = min(wait, left)
            else:
                due.append(name)
        while due:
            some, due = due[:READ_AT_ONCE], due[READ_AT_ONCE:]
            await self._tell(some, now)
        return now + wait

    async def _tell(self, names: Sequence[str], now: float) -> None:
        """Tell of these topics to whoever may be told; of the others it is asked whether they may."""
        taken = {name: self._moves.take(name) for name in names}
        told: dict[tuple[str, str], list[Listener]] = {}
        for name, users in taken.items():
            topic = parse_topic(name)
            for user_id, listeners in self._moves.listeners(name, users).items():
                if self._may_be_told(user_id, topic):
                    told[name, user_id] = listeners
                    self._told_at[name] = now
        try:
            seen = await self._read_and_tell(told)
        except BaseException:
            for name, users in taken.items():
                self._moves.note_again(name, users)
            raise
        for name, heads in seen.items():
            if taken[name] is EVERYBODY:
                self._moves.told(name, min(heads))
            else:
                self._moves.saw(name, max(heads))

    async def _read_and_tell(
        self, told: Mapping[tuple[str, str], Sequence[Listener]]
    ) -> dict[str, list[int]]:
        """Tell of topics, each to somebody's listeners; returns which heads were told.

        However many there are, no more than `SHARE` of the time is spent on it.
        """
        loop = asyncio.get_running_loop()
        pairs = list(told)
        seen: dict[str, list[int]] = {}
        for start in range(0, len(pairs), READ_AT_ONCE):
            began = loop.time()
            some = pairs[start : start + READ_AT_ONCE]
            for pair, found in zip(some, await topics.snapshots(self._backends.database, some), strict=True):
                await self._tell_one(pair[1], told[pair], found)
                seen.setdefault(pair[0], []).append(found.seq)
            await asyncio.sleep((loop.time() - began) * (1 / SHARE - 1))
        return seen

    async def _tell_one(self, user_id: str, listeners: Sequence[Listener], found: Snapshot) -> None:
        topic = parse_topic(found.topic)
        if topic.kind == "discussion" and not found.is_member:
            is_there = await discussions.is_there(self._backends.database, UUID(topic.first))
            self._close(user_id, topic, "removed" if is_there else "deleted")
            return
        text = summary_text(_as_summary(found))
        # Whoever was refused meanwhile, or has gone, watches it no more.
        news = [one.connection for one in listeners if self._moves.is_news(one, topic.name, text)]
        if news:
            self._hub.tell(news, "topic.summary", text)

    def _close(self, user_id: str, topic: Topic, reason: str) -> None:
        for listener in self._hub.of(user_id):
            if topic.name not in listener.topics and topic.name in self._moves.of(listener):
                self._audience.close(listener, topic.name, reason)

    # --- rights

    def _may_be_told(self, user_id: str, topic: Topic) -> bool:
        """Whether it is known that they may; if not, it is asked, and they are told after the answer."""
        if topic.kind != "content":
            return True  # the statement tells who is a member; an inbox is its person's
        who = self._hub.identity_of(user_id)
        if who is None:
            return False
        if self._backends.gate.last_answer(who, topic.first, topic.second) is not None:
            return True
        if self._allowed.pop((user_id, topic.name), 0.0) > asyncio.get_running_loop().time():
            return True
        asked = self._asks.get(user_id)
        if asked is not None:
            asked[topic.name] = None
            return False
        self._asks[user_id] = {topic.name: None}
        task = asyncio.create_task(self._ask(user_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return False

    async def _ask(self, user_id: str) -> None:
        """Ask about what has moved for somebody, one topic after the other. Never raises."""
        asked = self._asks[user_id]
        try:
            while asked:
                name = next(iter(asked))
                topic = parse_topic(name)
                await self._ask_about(user_id, topic)
                asked.pop(name, None)
        except ClientError:
            pass  # the sign-in is over: its end is on the way
        except Exception:
            log.exception("a right was not asked about")
        finally:
            del self._asks[user_id]

    async def _ask_about(self, user_id: str, topic: Topic) -> None:
        while True:
            who = self._hub.identity_of(user_id)
            if who is None or not self._moves.listeners(topic.name, (user_id,)):
                return
            gate = self._backends.gate
            try:
                if gate.last_answer(who, topic.first, topic.second) is None:
                    self.questions.spend(user_id)
                    async with self._asking:
                        # Who may not is put out by the refusal itself, as from what they are subscribed to.
                        if await gate.may_open(who, topic.first, topic.second) is None:
                            self._close(user_id, topic, "rights lost")
                            return
                # A silent authority's answer of before counts, but is none of the last minute.
                self._allowed[user_id, topic.name] = asyncio.get_running_loop().time() + ALLOWED_SECONDS
                self._moves.note_of(user_id, topic.name)
                return
            except RateLimited as error:
                await asyncio.sleep(error.retry_after or AGAIN_SECONDS)
            except Unavailable:
                await asyncio.sleep(AGAIN_SECONDS)


def _as_summary(found: Snapshot) -> Summary:
    return Summary(
        topic=found.topic,
        seq=found.seq,
        comments=found.comments,
        read_seq=found.read_seq,
        unread=found.unread,
        last_at=found.last_at,
    )


def _has_left(listener: Listener) -> bool:
    """Whether it is closed by now: what was looked at before an `await` need not be so after it."""
    return listener.is_closed
