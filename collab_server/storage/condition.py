"""What is known of the database: whether it is there, whether it takes anything, and what is wrong.

The prober alone judges whether it is there; whoever has trouble says so (`doubt`), which wakes the prober. A statement
that finds the disk full, or the server told to take no writes, is believed at once; that there is no connection for
writes to be had is for the prober to find. Belongs to one event loop; nothing runs here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Literal, NoReturn, Protocol

from collab_server.errors import ClientError, Paused
from collab_server.storage.failures import Contended, Hindrance, Locked, meaning_of

__all__ = ["Condition", "Knows", "Readiness"]

log = logging.getLogger(__name__)

_REFUSED_FOR: Mapping[Hindrance | Literal["crowded"], str] = {
    "full": "the database has no space left",
    "read-only": "the database is read-only",
    "crowded": "the database is out of connections",
}


class Condition:
    """See the module. `name` and `address` of the database are for the log.

    `is_reachable`: reads are answered; `is_up`: commands can be stored too, which differs while there is only a
    `hindrance`. `problem` says in words what is wrong, `latency_seconds` how long the last good probe took.
    """

    def __init__(self, *, name: str, address: str) -> None:
        self.is_reachable = False
        self.is_up = False
        self.hindrance: Hindrance | Literal["crowded"] | None = None
        self.problem: str | None = "no connection yet"
        self.latency_seconds: float | None = None
        self.trouble = asyncio.Event()
        self._reached = asyncio.Event()
        self._name = name
        self._address = address
        self._change_callbacks: list[Callable[[bool], None]] = []
        self._return_callbacks: list[Callable[[], None]] = []

    @property
    def hindrance_in_words(self) -> str | None:
        """Why nothing is stored though reads are answered, for the administrator."""
        match self.hindrance:
            case "full":
                return "no space left on the database's disk"
            case "read-only":
                return f"{self._address} is read-only: default_transaction_read_only is on there"
            case "crowded":
                return "the database is out of connections: there is none for what is stored"
            case None:
                return None

    # --- who is told

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback(is_up)` on the event loop after each change of `is_up`. It must not wait."""
        self._change_callbacks.append(callback)

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call `callback()` whenever the server may be another than a moment ago. It must not wait."""
        self._return_callbacks.append(callback)

    async def until_reachable(self) -> None:
        """Return once `is_reachable`; at once if it is."""
        await self._reached.wait()

    async def until_up(self) -> None:
        """Return once `is_up`; at once if it is."""
        if self.is_up:
            return
        came = asyncio.Event()

        def note(is_up: bool) -> None:
            if is_up:
                came.set()

        self._change_callbacks.append(note)
        try:
            await came.wait()
        finally:
            self._change_callbacks.remove(note)

    # --- who tells

    def doubt(self) -> None:
        """Somebody had trouble: the prober looks at once."""
        self.trouble.set()

    def returned(self) -> None:
        """The server may be another than a moment ago."""
        _call(self._return_callbacks)

    def set(self, is_reachable: bool, problem: str | None) -> None:
        """Make known how the database is: one line in the log per change."""
        self.is_reachable = is_reachable
        if is_reachable:
            self._reached.set()
        else:
            self._reached.clear()
        if problem != self.problem:
            self.problem = problem
            if problem is None:
                log.info("The database is up", extra={"database": self._name, "address": self._address})
            elif is_reachable:
                log.warning("The database stores nothing: %s", problem, extra={"database": self._name})
            else:
                log.warning("The database is away: %s", problem, extra={"database": self._name})
        was_up, self.is_up = self.is_up, is_reachable and self.hindrance is None
        if self.is_up != was_up:
            _call([partial(callback, self.is_up) for callback in self._change_callbacks])

    # --- what those hear who ask for something

    def refusal(self) -> Paused:
        """Why nothing can be stored, or read, now; where it can, there was no time left for it."""
        if self.is_up:
            return Paused("the database is busy")
        if self.is_reachable and self.hindrance is not None:
            return Paused(_REFUSED_FOR[self.hindrance])
        return Paused("the database is away")

    def raise_for(self, error: BaseException, *, is_lost: bool) -> NoReturn:
        """Raise what the caller may hear of `error`, or `error` itself where it is theirs."""
        paused = self.paused_by(error, is_lost=is_lost)
        if paused is None:
            raise error
        raise paused from error

    def paused_by(self, error: BaseException, *, is_lost: bool) -> Paused | None:
        """What the caller may hear of `error`, None where it is theirs; what it says of the database is noted."""
        if isinstance(error, ClientError) or not isinstance(error, Exception):
            return None
        match meaning_of(error, is_lost=is_lost):
            case "full" | "read-only" as hindrance:
                self.hindrance = hindrance
                if self.is_reachable:
                    self.set(True, self.hindrance_in_words)
                self.doubt()
                return Paused(_REFUSED_FOR[hindrance])
            case "contended":
                return Contended("the database is busy")
            case "locked":
                return Locked()
            case "lost":
                self.doubt()
                return Contended("the connection to the database was lost")
            case "busy":
                return Paused("the database is busy")
            case None:
                return None


class Knows(Protocol):
    """What callers of the database go by: `Condition`, or `Readiness` where it has to be made ready first."""

    @property
    def is_reachable(self) -> bool: ...

    @property
    def is_up(self) -> bool: ...

    def doubt(self) -> None: ...

    def refusal(self) -> Paused: ...

    def raise_for(self, error: BaseException, *, is_lost: bool) -> NoReturn: ...

    def paused_by(self, error: BaseException, *, is_lost: bool) -> Paused | None: ...

    async def until_reachable(self) -> None: ...

    async def until_up(self) -> None: ...


class Readiness:
    """The condition for whoever needs the schema: there is nothing for them before the database was made ready."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._opened = asyncio.Event()
        self.is_open = False
        self.doubt = condition.doubt
        self.raise_for = condition.raise_for
        self.paused_by = condition.paused_by

    def open(self) -> None:
        """It has been made ready."""
        self.is_open = True
        self._opened.set()

    @property
    def is_reachable(self) -> bool:
        return self.is_open and self._condition.is_reachable

    @property
    def is_up(self) -> bool:
        return self.is_open and self._condition.is_up

    async def until_reachable(self) -> None:
        """Return once `is_reachable`; at once if it is."""
        await self._opened.wait()
        await self._condition.until_reachable()

    async def until_up(self) -> None:
        """Return once `is_up`; at once if it is."""
        await self._opened.wait()
        await self._condition.until_up()

    def refusal(self) -> Paused:
        """Why nothing can be stored, or read, now."""
        if self._condition.is_up and not self.is_open:
            return Paused("the server has not finished starting")
        return self._condition.refusal()


def _call(callbacks: Iterable[Callable[[], None]]) -> None:
    for callback in list(callbacks):
        try:
            callback()
        except Exception:
            log.exception("A listener for the state of the database failed")
