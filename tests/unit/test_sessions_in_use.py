"""Sessions in use are checked one after the other, by one timer each."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.authority.library.library import Library, Timing
from collab_server.domain.people import AuthoritySession

SESSION = AuthoritySession("token", None, is_delegated=True)


async def test_a_session_that_is_left_and_taken_up_during_its_check_keeps_one_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Library("http://127.0.0.1:9/api", timing=Timing(check=0.01))
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def keep_alive(_session: AuthoritySession) -> None:
        is_asked.set()
        await may_answer.wait()

    library.sessions._turns.api = cast("Any", SimpleNamespace(keep_alive=keep_alive))
    library.sessions.attach(SESSION, 1000, lambda reason: None).detach()
    attachment = library.sessions.attach(SESSION, 1000, lambda reason: None)
    await is_asked.wait()
    attachment.detach()
    attachment = library.sessions.attach(SESSION, 1000, lambda reason: None)
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = [cast("Any", library.sessions._known.in_use[SESSION].timer)]
    set_timer = loop.call_later

    def call_later(*arguments: Any) -> asyncio.TimerHandle:
        handles.append(set_timer(*arguments))
        return handles[-1]

    monkeypatch.setattr(loop, "call_later", call_later)
    may_answer.set()
    await asyncio.gather(*library.sessions._upkeep._checks)
    attachment.detach()
    assert len(handles) == 2
    assert all(handle.cancelled() for handle in handles)
