"""One run: a schedule of faults over three nodes, with writers and readers at work, judged at the end.

After each fault the run waits until it has healed: until a probe, a write at every node, was acknowledged and has
reached every reader that is not away by its own will. Then comes the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults import checker
from tests.faults.arena import Arena
from tests.faults.checker import Finding, check
from tests.faults.connections import until_all_have_left
from tests.faults.history import History, Revocation, UnreadTold
from tests.faults.injection import inject
from tests.faults.readers import Reader
from tests.faults.schedule import Arrangement, Fault, Step
from tests.faults.stored import read_stored
from tests.faults.writers import Door, Manager, Writer
from tests.harness.clients import new_session
from tests.harness.waiting import until
from tests.harness.world import PROJECT_ID, fresh_topic

TOPICS = 5
RESTRICTED_OBJECT = "DA000000000000000000000000000003"
RESTRICTED = f"content:{PROJECT_ID}:{RESTRICTED_OBJECT}"
LOGINS = ("ann", "bob", "carol", "dan", "eve")
READERS = 10
WRITERS: tuple[tuple[str, Door], ...] = (
    ("ann", "socket"),
    ("bob", "socket"),
    ("carol", "rest"),
    ("dan", "rest"),
    ("eve", "socket"),
    ("bob", "rest"),
)
"""Who writes, and through which door. More writers are the same people, one in `REST_EVERY` through REST, which costs
several times as much: the machine is to be busy with writing."""
REST_EVERY = 6
WANDER_EVERY = 5
POLL_EVERY = 4
RIGHTS_GRACE_SECONDS = 60 + 6
"""Library's answers are kept for 60 s at most; a fault may keep a node from asking for some more."""
HEAL_SECONDS = 60
PROBE_ANSWER_SECONDS = 2.0
REST_SECONDS = 60
GAP_SECONDS = (0.1, 0.6)
PACE_SECONDS = 0.2
"""Before somebody asks again who was told to."""
LAST_SAID = 10
"""Of what a run says, so much is told with an error that ends it."""
MEMBERSHIP_PAUSE_SECONDS = 1.5


@dataclass(slots=True)
class Interval:
    """When a step of the schedule began, when its faults had ended, and when all was well again."""

    step: Step
    began_at: float
    ended_at: float = 0.0
    healed_at: float | None = None

    @property
    def heal_seconds(self) -> float | None:
        """From the end of the fault to its healing; None if it never healed."""
        return None if self.healed_at is None else self.healed_at - self.ended_at


@dataclass(slots=True)
class Outcome:
    """What a run brought. `trouble` counts what writers met on the way, `deliveries` what readers got.

    `answered` are the answers to writers, refusals too (at, after how many seconds); `delivered` the events pushed
    to readers (at, how many seconds after their acknowledgement); `lost_at` when readers lost connections.
    """

    seed: int
    seconds: float
    intervals: list[Interval]
    history: History
    findings: list[Finding]
    deliveries: int
    connections: int
    trouble: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    answered: list[tuple[float, float]] = field(default_factory=list)
    delivered: list[tuple[float, float]] = field(default_factory=list)
    lost_at: list[float] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged."""
        return sum(bool(write.answers) for write in self.history.writes)


Say = Callable[[str], None]


async def run(
    steps: Sequence[Step],
    seed: int,
    *,
    say: Say = lambda _: None,
    arrangement: Arrangement = "nodes",
    plant: str | None = None,
    pause_seconds: float = 0.2,
    calm_seconds: float = 0.0,
    heal_seconds: float = HEAL_SECONDS,
    keep_folder: bool = False,
    readers: int = READERS,
    writers: int = len(WRITERS),
) -> Outcome:
    """Carry the schedule out and judge what it left. Main thread only; servers are started and removed.

    `say` is told what happens. `plant` names a bug for the nodes to have. Each writer pauses for `pause_seconds` on
    average, and between two faults are `calm_seconds` more; a fault that has not healed `heal_seconds` after its end is
    a finding. There are so many `readers`, at least one for each person, and `writers`.
    """
    arena = Arena(arrangement=arrangement, plant=plant)
    last: deque[str] = deque(maxlen=LAST_SAID)

    def say_and_keep(text: str) -> None:
        last.append(text)
        say(text)

    try:
        async with arena:
            run = _Run(
                arena, steps, seed, say_and_keep, pause_seconds, calm_seconds, heal_seconds, readers, writers
            )
            return await run.carry_out()
    except Exception as error:
        error.add_note("\n".join((f"seed {seed}; at last:", *last)))
        raise
    finally:
        if keep_folder:
            say(f"logs: {arena.folder}")
        else:
            arena.remove()


class _Run:
    def __init__(
        self,
        arena: Arena,
        steps: Sequence[Step],
        seed: int,
        say: Say,
        pause_seconds: float,
        calm_seconds: float,
        heal_seconds: float,
        readers: int,
        writers: int,
    ) -> None:
        self._reader_count = readers
        self._writer_count = writers
        self._arena = arena
        self._steps = steps
        self._seed = seed
        self._say = say
        self._pause_seconds = pause_seconds
        self._calm_seconds = calm_seconds
        self._heal_seconds = heal_seconds
        self._chance = random.Random(seed)
        self._history = History()
        self._topics = [fresh_topic() for _ in range(TOPICS)]
        self._discussion = ""
        self._readers: list[Reader] = []
        self._writers: list[Writer] = []
        self._probes: list[Writer] = []
        self._intervals: list[Interval] = []
        self._findings: list[Finding] = []

    async def carry_out(self) -> Outcome:
        began = time.monotonic()
        await self._cast()
        reading = [asyncio.create_task(reader.run()) for reader in self._readers]
        writing = [asyncio.create_task(writer.run()) for writer in self._writers]
        try:
            await self._until_everybody_is_there()
            for step in self._steps:
                self._raise_if_dead(reading + writing)
                if step.number == 2:
                    await self._take_right()
                await self._strike(step)
                await asyncio.sleep(self._chance.uniform(*GAP_SECONDS) + self._calm_seconds)
            self._say("the schedule is over; coming to rest")
            await self._come_to_rest(writing)
            await self._look_at_the_end()
            self._say("everything has been looked at")
        finally:
            for task in (*reading, *writing):
                task.cancel()
            await asyncio.gather(*reading, *writing, return_exceptions=True)
            for probe in self._probes:
                probe.stop()
            await until_all_have_left()
        self._say("everybody has left; judging")
        tracebacks = self._arena.tracebacks()
        return Outcome(
            self._seed,
            time.monotonic() - began,
            self._intervals,
            self._history,
            self._findings + check(self._history),
            sum(len(session.live) + len(session.caught_up) for session in self._history.sessions),
            sum(reader.connections for reader in self._readers),
            sum((writer.trouble for writer in (*self._writers, *self._probes)), Counter()),
            tracebacks,
            [answer for writer in self._writers for answer in writer.answered],
            self._delivery_times(),
            [at for reader in self._readers for at in reader.lost_at],
        )

    def _delivery_times(self) -> list[tuple[float, float]]:
        acknowledged = {
            (write.topic, answer.seq): write.acknowledged_at
            for write in self._history.writes
            for answer in write.answers
        }
        return [
            (delivery.at, delivery.at - at)
            for session in self._history.sessions
            for delivery in session.live
            if (at := acknowledged.get((session.topic, delivery.seq))) is not None
            and (not self._arena.rewinds or at <= delivery.at)  # its number was given again
        ]

    # --- the cast

    async def _cast(self) -> None:
        people = {login: await self._arena.person(login) for login in LOGINS}
        await self._open_restricted_to("ann", "bob", "carol")
        self._discussion = await self._create_discussion("ann", "bob", "carol", "dan")

        def chance() -> random.Random:
            return random.Random(self._chance.random())

        for number in range(self._reader_count):
            login = LOGINS[number % len(LOGINS)]
            name = f"reader{number + 1}-{login}"
            may_read_restricted = login in ("ann", "bob")
            is_wanderer = number % WANDER_EVERY == WANDER_EVERY - 1
            # Carol loses the right to one dashboard on the way; Dan is put out of the discussion and let in again, all
            # the time. Eve never had either, and goes on trying.
            topics = [*self._topics, self._discussion, *([RESTRICTED] if login != "dan" else [])]
            self._readers.append(
                Reader(
                    name,
                    people[login],
                    self._arena,
                    self._history,
                    topics,
                    chance(),
                    kind="polling" if number % POLL_EVERY == 2 else "websocket" if is_wanderer else "lean",
                    is_wanderer=is_wanderer,
                )
            )
            self._history.must_have |= {(name, topic) for topic in self._topics}
            if may_read_restricted:
                self._history.must_have.add((name, RESTRICTED))
            if login != "eve":
                self._history.must_have.add((name, self._discussion))
        self._history.never |= {(people["eve"].id, RESTRICTED), (people["eve"].id, self._discussion)}
        for number in range(self._writer_count):
            login, door = WRITERS[number % len(WRITERS)]
            if number >= len(WRITERS):
                door = "rest" if number % REST_EVERY == 0 else "socket"
            topics = [*self._topics, *self._private_topics(login)]
            self._writers.append(
                Writer(
                    f"w{number + 1}",
                    people[login],
                    door,
                    self._arena,
                    self._history,
                    topics,
                    chance(),
                    pause_seconds=self._pause_seconds,
                )
            )
        self._writers.append(
            Manager(
                "manager",
                people["ann"],
                "socket",
                self._arena,
                self._history,
                [self._discussion],
                chance(),
                pause_seconds=MEMBERSHIP_PAUSE_SECONDS,
                member_id=people["dan"].id,
            )
        )
        self._probes = [
            Writer(
                f"probe{number + 1}",
                people["ann"],
                "rest",
                self._arena,
                self._history,
                self._topics[:1],
                chance(),
                node=number,
                answer_seconds=PROBE_ANSWER_SECONDS,
            )
            for number in range(len(self._arena.nodes))
        ]

    def _private_topics(self, login: str) -> list[str]:
        """What somebody may write to, and read to the end, besides what everybody may."""
        return {"ann": [RESTRICTED, self._discussion], "bob": [RESTRICTED, self._discussion]}.get(
            login, [self._discussion] if login == "carol" else []
        )

    async def _create_discussion(self, owner: str, *members: str) -> str:
        """The topic of a new discussion."""
        assert self._arena.http is not None
        people = [{"kind": "user", "id": (await self._arena.person(login)).id} for login in members]
        token = await (await self._arena.person(owner)).identity_token()
        async with self._arena.http.post(
            f"{self._arena.url(0)}/api/discussions",
            json={"name": "Under faults", "members": people},
            headers={"X-MSTR-IdentityToken": token},
        ) as answer:
            content = await answer.json()
            assert answer.status == 201, content
            topic: str = content["discussion"]["topic"]
            return topic

    async def _open_restricted_to(self, *logins: str) -> None:
        # By a connection of its own: one that has been idle may be closed in the very moment in which it is written to.
        url, body = (
            f"{self._arena.library.root}/standin/access",
            {"objectId": RESTRICTED_OBJECT, "openTo": logins},
        )
        async with new_session(keeps_cookies=False) as http, http.post(url, json=body) as answer:
            assert answer.status < 300, await answer.text()

    async def _take_right(self) -> None:
        carol = await self._arena.person("carol")
        await self._open_restricted_to("ann", "bob")
        self._history.revocations.append(
            Revocation(carol.id, RESTRICTED, time.monotonic(), RIGHTS_GRACE_SECONDS)
        )
        self._say("carol may not open the restricted dashboard any more")

    # --- the faults

    async def _strike(self, step: Step) -> None:
        interval = Interval(step, time.monotonic())
        self._intervals.append(interval)
        await asyncio.gather(*(self._strike_once(fault) for fault in step.faults))
        interval.ended_at = time.monotonic()
        try:
            await self._probe()
        except (AssertionError, TimeoutError) as error:  # whom it did not reach, or who did not answer
            self._findings.append(Finding(checker.STUCK, interval.began_at, f"{step} did not heal: {error}"))
            self._say(f"{step}: NOT HEALED within {self._heal_seconds:g} s: {error}")
            return
        interval.healed_at = time.monotonic()
        self._say(f"{step}: healed in {interval.heal_seconds:.2f} s")

    async def _strike_once(self, fault: Fault) -> None:
        async with inject(self._arena, fault):
            await asyncio.sleep(fault.seconds)

    async def _probe(self) -> None:
        """Return when a write at every node was acknowledged and has reached every reader that is there."""

        async def reach(probe: Writer) -> None:
            write = await probe.write("add", self._topics[0], None)
            assert write.answers, f"{write.request_id} was refused: {write.refused}"
            seq = write.answers[0].seq
            await until(
                lambda: all(reader.is_away or reader.has(self._topics[0], seq) for reader in self._readers),
                self._heal_seconds,
                lambda: (
                    f"seq {seq} reaches "
                    + ", ".join(
                        reader.name
                        for reader in self._readers
                        if not (reader.is_away or reader.has(self._topics[0], seq))
                    )
                ),
            )

        async with asyncio.timeout(self._heal_seconds):
            await asyncio.gather(*(reach(probe) for probe in self._probes))

    async def _until_everybody_is_there(self) -> None:
        readers = {reader.name: reader for reader in self._readers}
        await until(
            lambda: all(readers[name].has(topic, 0) for name, topic in self._history.must_have),
            HEAL_SECONDS,
            "every reader has subscribed",
        )

    @staticmethod
    def _raise_if_dead(tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
                raise RuntimeError("a reader or writer ended")

    # --- the end

    async def _come_to_rest(self, writing: Sequence[asyncio.Task[None]]) -> None:
        for reader in self._readers:
            reader.stay()
        for writer in self._writers:
            writer.stop()
        await asyncio.wait(writing, timeout=REST_SECONDS)
        self._raise_if_failed(writing)
        await self._arena.until_all_run(REST_SECONDS)

    @staticmethod
    def _raise_if_failed(tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            if task.done():
                task.result()

    async def _look_at_the_end(self) -> None:
        topics = [*self._topics, RESTRICTED, self._discussion]
        self._history.stored = await read_stored(self._arena.database, topics)
        self._history.epoch = await self._arena.epoch()
        self._history.rewinds = self._arena.rewinds
        heads = {topic.name: topic.last_seq for topic in self._history.stored}
        readers = {reader.name: reader for reader in self._readers}
        # Whoever lacks something after this is a finding of the checker's.
        with contextlib.suppress(AssertionError):
            await until(
                lambda: all(
                    readers[name].has(topic, heads.get(topic, 0)) for name, topic in self._history.must_have
                ),
                self._heal_seconds,
            )
        self._findings += [
            Finding(checker.REFUSED, None, text)
            for unexpected in (
                *(reader.unexpected for reader in self._readers),
                *(writer.unexpected for writer in self._writers),
                *(probe.unexpected for probe in self._probes),
            )
            for text in unexpected
        ]
        self._findings += [Finding(checker.STUCK, None, text) for text in self._arena.slow_exits]
        for number, node in enumerate(self._arena.nodes):
            for login in LOGINS:
                person = await self._arena.person(login)
                for topic in (*self._topics, *self._private_topics(login)):
                    unread = await self._unread(number, await person.identity_token(), topic)
                    self._history.unread.append(
                        UnreadTold(f"node {number + 1} ({node.url})", person.id, topic, unread)
                    )

    async def _unread(self, node: int, token: str, topic: str) -> int:
        """What a node says. Asked again where it cannot yet: connections that the last fault left half-open, to
        Library, to PostgreSQL or to the node itself, are found out by who waits in vain for an answer.
        """

        async def answered() -> tuple[int, Any] | None:
            assert self._arena.http is not None
            try:
                async with self._arena.http.get(
                    f"{self._arena.url(node)}/api/topics/{topic}",
                    headers={"X-MSTR-IdentityToken": token},
                    timeout=aiohttp.ClientTimeout(total=10),
                ) as answer:
                    content = await answer.json()
            except (aiohttp.ClientError, TimeoutError) as error:
                trouble.append(repr(error))
                return None
            if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                trouble.append(str(content))
                await asyncio.sleep(PACE_SECONDS)
                return None
            return answer.status, content

        trouble: deque[str] = deque(maxlen=1)
        what = f"what is unread in {topic} is told by node {node + 1}"
        status, content = await until(answered, self._heal_seconds, lambda: f"{what}: {''.join(trouble)}")
        assert status == http.HTTPStatus.OK, content
        unread: int = content["unread"]
        return unread
