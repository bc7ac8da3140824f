"""Something that can be watched: `snapshot` is the same object while nothing has changed, and is never changed."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

Snapshot = TypeVar("Snapshot")


def tell(listeners: Iterable[Callable[..., None]], *said: Any) -> None:
    """Call each. What one of them raises is told to the loop's exception handler, and keeps nothing from the others."""
    for listener in tuple(listeners):
        try:
            listener(*said)
        except Exception as error:
            context = {"message": "A listener of collab_client has failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


class Store(abc.ABC, Generic[Snapshot]):
    """Listeners are called once for whatever changes in one turn of the loop."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._snapshot: Snapshot | None = None
        self._is_told = True

    @property
    def snapshot(self) -> Snapshot:
        """What is so now."""
        if self._snapshot is None:
            self._snapshot = self._look()
        return self._snapshot

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have `listener` called after changes. Returns what ends that."""
        own = lambda: listener()  # noqa: E731 (the same function twice is two listeners)
        self._listeners.append(own)
        return lambda: self._listeners.remove(own) if own in self._listeners else None

    async def states(self) -> AsyncIterator[Snapshot]:
        """What is so now, and after every change. Whoever is slow gets the newest."""
        news = asyncio.Event()
        end = self.subscribe(news.set)
        try:
            while True:
                news.clear()
                yield self.snapshot
                await news.wait()
        finally:
            end()

    def _changed(self) -> None:
        self._snapshot = None
        if self._is_told:
            self._is_told = False
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._is_told = True
        tell(self._listeners)

    @abc.abstractmethod
    def _look(self) -> Snapshot: ...
