"""How long turns of the loop take."""

from __future__ import annotations

import asyncio
import time

from collab_server.pulse import BEAT_SECONDS, WINDOW_SECONDS, Pulse


def compute(cpu: list[float], seconds: float) -> None:
    """What a callback does to the CPU clock of its thread."""
    cpu[0] += seconds


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_each_turn_of_a_busy_loop_is_measured_by_itself() -> None:
    cpu = [0.0]
    pulse = Pulse(cpu_clock=lambda: cpu[0])
    pulse.start()
    try:
        for seconds in (0.03, 0.06, 0.3):
            asyncio.get_running_loop().call_soon(compute, cpu, seconds)
            await asyncio.sleep(0.05)  # the beat of a quiet loop, then turns
            await turns()
    finally:
        pulse.stop()
    assert round(pulse.longest, 6) == 0.3
    assert [pulse.counts[over] for over in (0.02, 0.05, 0.1, 0.2, 0.5)] == [3, 2, 1, 1, 0]


async def test_what_comes_turn_by_turn_is_not_added_up() -> None:
    cpu = [0.0]
    pulse = Pulse(cpu_clock=lambda: cpu[0])
    pulse.start()
    try:
        time.sleep(2 * BEAT_SECONDS)  # noqa: ASYNC251 - so that the first beat is due at the next turn
        for _ in range(100):
            compute(cpu, 0.021)  # a beat sees that of its turn, or of two where it came before it in one
            await asyncio.sleep(0)
    finally:
        pulse.stop()
    assert pulse.counts[0.02] > 90
    assert pulse.counts[0.05] == 0


def test_the_recent_longest_is_forgotten_and_the_longest_is_not() -> None:
    at = [0.0]
    pulse = Pulse(clock=lambda: at[0])
    pulse.note(0.7)
    assert (pulse.recent, pulse.longest) == (0.7, 0.7)
    at[0] += WINDOW_SECONDS
    pulse.note(0.1)
    assert (pulse.recent, pulse.longest) == (0.7, 0.7)
    at[0] += WINDOW_SECONDS
    assert (pulse.recent, pulse.longest) == (0.1, 0.7)
    at[0] += 5 * WINDOW_SECONDS
    assert (pulse.recent, pulse.longest) == (0.0, 0.7)
    assert pulse.counts[0.05] == 2
    pulse.note(0.3)
    at[0] += 2 * WINDOW_SECONDS  # in which nothing was noted, nor looked at
    assert (pulse.recent, pulse.longest) == (0.0, 0.7)
