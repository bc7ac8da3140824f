"""What carries a websocket by two tasks ends with either, and a bug in one is told once."""

from __future__ import annotations

import asyncio

import pytest

from collab_server.realtime.engine import both


async def fail(kind: type[Exception]) -> None:
    raise kind("of a client")


async def end() -> None:
    """Nothing is left to do."""


async def wait() -> None:
    await asyncio.Event().wait()


async def test_a_bug_is_told_once_and_either_end_ends_the_other(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(both, "_told", set())
    for works in (
        (fail(KeyError), wait()),
        (wait(), fail(KeyError)),
        (fail(ValueError), wait()),
        (end(), wait()),
    ):
        tasks = [asyncio.ensure_future(work) for work in works]
        await both.until_either_ends(tasks)
        await asyncio.wait(tasks, timeout=20)
        assert all(task.done() for task in tasks)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError, ValueError]


async def test_whoever_is_ended_from_outside_ends_both_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = [asyncio.ensure_future(wait()), asyncio.ensure_future(wait())]
    carrying = asyncio.ensure_future(both.until_either_ends(tasks))
    await asyncio.sleep(0)
    carrying.cancel()
    await asyncio.wait([carrying, *tasks], timeout=20)
    assert all(task.cancelled() for task in (carrying, *tasks))
    assert not caplog.records


async def test_what_a_server_refuses_to_send_has_no_client_any_more() -> None:
    async def refuse(message: dict[str, str]) -> None:
        raise RuntimeError("after sending 'websocket.close'")

    with pytest.raises(ConnectionResetError):
        await both.say(refuse, {"type": "websocket.send"})
