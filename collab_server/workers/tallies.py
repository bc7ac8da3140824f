"""What people have at all workers of a node together, as of connections, counted in memory that the workers share.

Each worker counts in cells of its own, two for each person, which a hash chooses. A cell may be somebody else's as
well, so of the two the one that says less is believed: it is never too little, and too much only for whom chance gave
both to others. With 10,000 people connected those are two of a hundred, who may have one or two less than they might.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from collab_server.workers.figures import Figures
from collab_server.workers.memory import shared_memory

__all__ = ["MOST_SEATS", "SharedTally", "Tallies"]

MOST_SEATS = 128
CELLS = 65_536
"""Of each of the two halves, of each worker."""
_BYTES = 2
_MOST = 65_535
_ROW = 2 * CELLS
_ROW_BYTES = _ROW * _BYTES


class Tallies:
    """The cells of all workers, in `memory.shared_memory`. At `path` they are there for `number`, who opens it, and for
    those who have opened it."""

    def __init__(self, figures: Figures, path: Path | None = None, number: int = 0) -> None:
        self.figures = figures
        self._memory = shared_memory((MOST_SEATS + 1) * _ROW_BYTES, path, _bytes_of(number))
        self.cells = memoryview(self._memory).cast("H")

    def begin(self, number: int) -> None:
        """Worker `number` has nothing yet. Only while nobody else counts there; beyond `MOST_SEATS` nobody does."""
        at = _bytes_of(number)
        self._memory[at.start : at.stop] = bytes(_ROW_BYTES)


def _bytes_of(number: int) -> range:
    row = number if number <= MOST_SEATS else 0  # which is nobody's
    return range(row * _ROW_BYTES, (row + 1) * _ROW_BYTES)


class SharedTally:
    """`domain.tallies.Tally` over all workers, for worker `number`, which is at most `MOST_SEATS`. `of_what` keeps what
    is counted apart."""

    def __init__(self, tallies: Tallies, number: int, of_what: str) -> None:
        self._tallies = tallies
        self._at = number * _ROW
        self._of_what = of_what

    def more(self, user_id: str) -> None:
        """One more of this person's, here."""
        cells = self._tallies.cells
        for place in self._places(user_id):
            cells[self._at + place] = min(_MOST, cells[self._at + place] + 1)

    def less(self, user_id: str) -> None:
        """One less."""
        cells = self._tallies.cells
        for place in self._places(user_id):
            cells[self._at + place] = max(0, cells[self._at + place] - 1)

    def of(self, user_id: str) -> int:
        """How many there are at all workers that are alive; those of a frozen one are there too."""
        cells = self._tallies.cells
        rows = self._tallies.figures.rows()
        alive = [row.number * _ROW for row in rows if row.number <= MOST_SEATS and row.is_alive]
        return min(sum(cells[at + place] for at in alive) for place in self._places(user_id))

    def _places(self, user_id: str) -> tuple[int, int]:
        chosen = blake2b(f"{self._of_what} {user_id}".encode(), digest_size=4).digest()
        return int.from_bytes(chosen[:2]), CELLS + int.from_bytes(chosen[2:])
