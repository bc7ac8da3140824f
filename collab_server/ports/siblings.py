"""The other workers of one's node: what is asked and told between the processes of one node, and leaves them never."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["Siblings"]


class Siblings(Protocol):
    """The workers of one node, of which this is one.

    For each name, a person's id say, one of those that run is the *keeper*: all workers mean the same one, but for the
    moments in which one comes, goes or freezes. What is said may hold secrets: it stays among processes of one user on
    one machine. Hints, as on a bus: what gets lost is found out by oneself.
    """

    async def ask(self, name: str, question: bytes, *, is_another: bool = False) -> bytes | None:
        """What the keeper of `name` answers. None: find out yourself, for you are the keeper, or it cannot be asked.
        Nothing, `b""`: the same, but it may have heard the question: it gave no sign of being at it for a quarter of a
        second. Never raises; waits for as long as the keeper shows that it is at it.

        `is_another`: whoever would be the keeper if you were not; who was, if you have just come.
        """
        ...

    def tell(self, word: bytes) -> None:
        """Say something to all others. Never waits, never raises."""
        ...

    def listen(self, answer: Callable[[bytes], Awaitable[bytes]], hear: Callable[[bytes], None]) -> None:
        """Let `answer(question)` answer the others, whoever is the keeper, and `hear(word)` hear what they tell.

        Called once, before the start. Where `answer` raises, the other worker finds out by itself.
        """
        ...
