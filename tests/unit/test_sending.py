"""The way out: whatever is sent to whom, and however a roster changes meanwhile, each gets all of it in order."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.realtime.engine.roster import Roster
from collab_server.realtime.engine.sending import FEW, Sending
from collab_server.realtime.engine.session import NOWHERE, Session

SESSIONS = 12
ROSTERS = 4
PIPE_BYTES = 4096


class Carrier:
    """Writes into a pipe, as a transport does: what does not fit waits, and then there is no descriptor."""

    def __init__(self, reroute: Callable[[], None], *, is_direct: bool) -> None:
        self._reroute = reroute
        self._is_direct = is_direct
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.waiting = b""
        self.got = b""
        self._is_full = False
        self.writes = 0
        self.is_broken = False

    def descriptor(self) -> int:
        return self._in if self._is_direct and not self.waiting else -1

    def write(self, ready: list[bytes]) -> bool:
        if self.is_broken:
            raise RuntimeError("broken")
        self.writes += 1
        self.waiting += b"".join(ready)
        self._push()
        return True

    def _push(self) -> None:
        with suppress(BlockingIOError):
            while self.waiting:
                self.waiting = self.waiting[os.write(self._in, self.waiting) :]
        if self._is_full is not bool(self.waiting):
            self._is_full = not self._is_full
            self._reroute()

    def read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._out, 65_536):
                self.got += data

    def read_all(self) -> bytes:
        self.read()
        while self.waiting:
            self._push()
            self.read()
        return self.got

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)


class House:
    """A way out with sessions, and what each of them is to get."""

    def __init__(self, sessions: int = SESSIONS, rosters: int = ROSTERS, direct: float = 1.0) -> None:
        self.sessions: dict[str, Session] = {}
        self.sending = Sending(self.sessions, logging.getLogger("nobody"))
        self.overflowed: list[str] = []
        self.carriers: dict[str, Carrier] = {}
        self.expected: dict[str, bytes] = {}
        self.members: list[dict[str, None]] = [{} for _ in range(rosters)]
        self.rosters: list[Roster] = [self.sending.roster() for _ in range(rosters)]
        chance = random.Random(1)
        for number in range(sessions):
            self.enter(f"s{number}", is_direct=chance.random() < direct)

    def settle(self, session: Session) -> None:
        self.sending.settle(session)

    def overflow(self, session: Session) -> None:
        self.overflowed.append(session.sid)
        if self.carriers[session.sid].is_broken:
            raise RuntimeError("cannot be put out, either")

    def enter(self, sid: str, *, is_direct: bool = True) -> None:
        session = Session(
            cast("Any", self), sid, most_bytes=1, pace=cast("Any", SimpleNamespace(burst=1)), is_trusted=True
        )
        self.carriers[sid] = Carrier(self.sending.reroute, is_direct=is_direct)
        session.carrier = cast("Any", self.carriers[sid])
        self.sessions[sid] = session
        self.expected[sid] = b""

    def end(self, sid: str) -> None:
        """As the owner does it: what was sent is written, and nothing behind it."""
        session = self.sessions.pop(sid)
        if ready := session.take_out():
            session.carrier.write(ready)
        session.carrier = NOWHERE
        self.sending.reroute()

    def send(self, sid: str, data: bytes) -> None:
        self.sending.send(self.sessions[sid], data)
        self.expected[sid] += data

    def tell(self, sids: list[str], data: bytes) -> None:
        self.sending.send_to(sids, [data])
        for sid in sids:
            self._expect(sid, data)

    def tell_roster(self, number: int, data: bytes) -> None:
        self.sending.send_to(self.rosters[number], [data])
        for sid in self.members[number]:
            self._expect(sid, data)

    def _expect(self, sid: str, data: bytes) -> None:
        if sid in self.sessions:
            self.expected[sid] += data

    def add(self, number: int, sid: str) -> None:
        self.rosters[number].add(sid)
        self.members[number][sid] = None

    def discard(self, number: int, sid: str) -> None:
        self.rosters[number].discard(sid)
        self.members[number].pop(sid, None)

    def check(self) -> None:
        for sid, carrier in self.carriers.items():
            assert carrier.read_all() == self.expected[sid], sid


@pytest.fixture
def house() -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(*args: Any, **kwargs: Any) -> House:
        made.append(House(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        for carrier in one.carriers.values():
            carrier.close()


@pytest.mark.parametrize("seed", range(25))
async def test_each_session_gets_what_is_for_it_in_the_order_of_the_calls(
    house: Callable[..., House], seed: int
) -> None:
    chance = random.Random(seed)
    home = house(direct=chance.choice((1.0, 0.7, 0.0)))
    most = chance.choice((1, 1, 40))  # …so that pipes are full now and then
    number = 0
    for _ in range(60):
        for _ in range(chance.randrange(1, 12)):
            number += 1
            data = b"%d;" % number * chance.randrange(1, most * 20 + 1)
            roster = chance.randrange(ROSTERS)
            here = list(home.sessions)
            sid = chance.choice(here)
            step = chance.random()
            if step < 0.45:
                home.tell_roster(roster, data)
            elif step < 0.6:
                home.send(sid, data)
            elif step < 0.65:
                home.tell(chance.sample(here, min(3, len(here))), data)
            elif step < 0.85:
                home.add(roster, sid)
            elif step < 0.93:
                home.discard(roster, sid)
            elif step < 0.95 and len(here) > SESSIONS // 2:
                home.end(sid)
                if chance.random() < 0.5:
                    for other in range(ROSTERS):
                        home.discard(other, sid)
            elif step < 0.97:
                home.enter(f"n{number}")
            else:
                home.carriers[sid].read()
        await asyncio.sleep(0)
        if chance.random() < 0.2:
            home.check()
    home.check()
    assert not home.overflowed


async def test_what_a_roster_is_told_in_one_turn_is_one_write_for_each(house: Callable[..., House]) -> None:
    home = house()
    for sid in home.sessions:
        home.add(0, sid)
    written: list[bytes] = []
    for data in (b"one", b"two", b"three"):
        home.tell_roster(0, data)
    home.send("s3", b"for s3")
    await asyncio.sleep(0)
    for sid, carrier in home.carriers.items():
        written.append(os.read(carrier._out, 100))
        carrier.got += written[-1]
        assert carrier.writes == (sid == "s3")  # the others' are written without it
    assert set(written) == {b"onetwothree", b"onetwothreefor s3"}
    home.check()


async def test_whoever_cannot_be_written_to_holds_nobody_up(house: Callable[..., House]) -> None:
    home = house()
    for sid in home.sessions:
        home.add(0, sid)
    home.tell_roster(0, b"x")  # they are reached by their descriptors now
    await asyncio.sleep(0)
    lost, broken, full = home.carriers["s2"], home.carriers["s5"], home.carriers["s7"]
    os.close(lost._out)  # nobody reads any more
    lost._out = os.dup(0)
    lost.is_broken = broken.is_broken = True
    broken._is_direct = False
    home.sending.reroute()
    full.write([b"y" * 3 * PIPE_BYTES])
    home.expected["s7"] += b"y" * 3 * PIPE_BYTES
    home.tell_roster(0, b"z" * 100)
    await asyncio.sleep(0)
    assert sorted(home.overflowed) == ["s2", "s5"]
    for sid in ("s2", "s5"):
        home.carriers.pop(sid).close()
    home.check()


async def test_a_few_on_a_roster_are_told_one_by_one(house: Callable[..., House]) -> None:
    home = house()
    for sid in list(home.sessions)[: FEW - 1]:
        home.add(0, sid)
    home.tell_roster(0, b"x")
    await asyncio.sleep(0)
    assert [carrier.writes for carrier in home.carriers.values()].count(1) == FEW - 1
    home.check()
