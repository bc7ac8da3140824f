"""What waits to be sent: numbered from 0 without a hole, bounded in number, in bytes and in time.

What is given up keeps its number, so the others see that it is missing. It is the oldest that goes: after
`STALE_AFTER_SECONDS` the others have read it in Postgres.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from collab_server.cluster.counters import Counters
from collab_server.cluster.envelope import OWN_KINDS, Message
from collab_server.domain.hints import Kind

__all__ = ["ENVELOPE_BYTES", "MAX_QUEUED_BYTES", "MAX_QUEUED_MESSAGES", "Backlog"]

STALE_AFTER_SECONDS = 2.0
ENVELOPE_BYTES = 262_144
MAX_QUEUED_BYTES = 8_388_608
MAX_QUEUED_MESSAGES = 50_000


class Backlog:
    """Messages in the order in which they were put. A part of the left end may be under way: it stays until `take`."""

    def __init__(
        self,
        counters: Counters,
        clock: Callable[[], float],
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
        max_messages: int = MAX_QUEUED_MESSAGES,
    ) -> None:
        self.bytes = 0
        self.first = 0
        """The number of the oldest."""
        self._counters = counters
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._waiting: deque[tuple[float, Message]] = deque()  # since when, what

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_number(self) -> int:
        """The number that the next message gets."""
        return self.first + len(self._waiting)

    def put(self, message: Message) -> None:
        """Append a message; one that could never be sent is a GAP."""
        if _size_of(message) > self._max_bytes:
            self._counters.dropped += 1
            message = (Kind.GAP, b"", b"")
        self._waiting.append((self._clock(), message))
        self.bytes += _size_of(message)
        while self.bytes > self._max_bytes or len(self._waiting) > self._max_messages:
            self._drop()

    def first_messages(self) -> list[Message]:
        """Those at the left end that fit into one envelope; one at least, unless there is none."""
        messages: list[Message] = []
        size = 0
        for _, message in self._waiting:
            size += _size_of(message)
            if messages and size > ENVELOPE_BYTES:
                break
            messages.append(message)
        return messages

    def arrived(self, up_to: int) -> None:
        """All before this number have been sent."""
        while self._waiting and self.first < up_to:
            if self._take() not in OWN_KINDS:
                self._counters.published += 1

    def drop_stale(self) -> None:
        """Give up what is too old to be of use."""
        limit = self._clock() - STALE_AFTER_SECONDS
        while self._waiting and self._waiting[0][0] < limit:
            self._drop()

    def drop_all(self) -> None:
        """Give up everything."""
        while self._waiting:
            self._drop()

    def _drop(self) -> None:
        if self._take() not in OWN_KINDS:
            self._counters.dropped += 1

    def _take(self) -> int:
        _, message = self._waiting.popleft()
        self.first += 1
        self.bytes -= _size_of(message)
        return message[0]


def _size_of(message: Message) -> int:
    return len(message[1]) + len(message[2])
