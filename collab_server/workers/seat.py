"""Who a worker is among those of its node: which of how many, where they meet, and what they know of each other.

Workers that our own supervisor starts are told. Those that uvicorn starts (`--workers`) find each other by the process
that started all of them: whoever comes takes the first seat that is free, and with it what was counted there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from collab_server.domain.tallies import OwnTally, Tally
from collab_server.workers.figures import MOST_WORKERS, Figures, Row
from collab_server.workers.folder import FolderError, Held, bases_of
from collab_server.workers.tallies import MOST_SEATS, SharedTally, Tallies

__all__ = ["Seat", "new_node_name", "seat_under"]

_SEATS = "seats"


@dataclass(frozen=True, slots=True)
class Seat:
    """Worker `number` (from 1) of the `of` workers of `node`, which the process `supervisor` has started.

    `folder` is theirs alone, to meet in; `held` keeps it there.
    """

    node: str
    number: int
    of: int
    supervisor: int
    held: Held
    figures: Figures
    row: Row
    tallies: Tallies
    is_ours: bool = True
    """Whether the supervisor is ours, which hands connections to its workers, starts and stops them."""

    @property
    def worker(self) -> str:
        """A name unlike any other worker's, those that had this seat before included."""
        return f"{self.node}-{self.number}-{os.getpid():x}"

    @property
    def folder(self) -> Path:
        """Where the workers meet."""
        return self.held.path

    def leave(self) -> None:
        """This worker needs its folder no more; where no supervisor keeps it, the last to leave takes it away."""
        self.held.let_go()

    def path_of(self, what: str) -> str:
        """Where a socket of this worker's may be that others of the node are to find; one that was left there goes."""
        for left in self.folder.glob(f"{self.number}.*.{what}"):
            left.unlink(missing_ok=True)
        return str(self.folder / f"{self.number}.{os.getpid():x}.{what}")

    @property
    def shares_a_port(self) -> bool:
        """Whether it takes connections from a port that others take them from, too: nobody hands them out."""
        return not self.is_ours

    @property
    def others_serve(self) -> bool:
        """Whether there is another worker that lets clients in."""
        return any(row.serves for row in self.figures.rows() if row.number != self.number)

    def tally(self, of_what: str) -> Tally:
        """What people have of this at all workers together; beyond `MOST_SEATS` workers, at each."""
        if self.of > MOST_SEATS or self.number > MOST_SEATS:
            return OwnTally()
        return SharedTally(self.tallies, self.number, of_what)

    def share(self, whole: int) -> int:
        """This worker's part of what the node may have; one at least."""
        return max(1, whole // self.of + (self.number <= whole % self.of))


def new_node_name() -> str:
    """A name unlike any other node's."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def seat_under(parent: int, workers: int) -> Seat:
    """A seat among the workers, so many, that the process `parent` has started. Raises `FolderError`.

    Where there is no room for what they share, they meet in the next folder; those who have met stay together.
    """
    met = hashlib.blake2b(_beginning_of(parent).encode(), digest_size=6).hexdigest()
    problem = FolderError("none of the folders for temporary files can be used")
    for base in bases_of(met):
        try:
            held = Held(met, base)
        except FolderError as error:
            problem = error
            continue
        try:
            return _seat_in(held, parent, workers, f"{socket.gethostname()}-{met[:6]}")
        except OSError as error:
            is_nobodys = held.let_go()
            problem = FolderError(f"{held.path}: {(error.strerror or str(error)).lower()}")
            if not is_nobodys:
                break
    raise problem


def _seat_in(held: Held, parent: int, workers: int, node: str) -> Seat:
    """Raises `OSError` where there is no room."""
    figures = Figures(held.path / "figures")
    row = figures.row(_take_seat(held.path))
    tallies = Tallies(figures, held.path / "tallies", row.number)
    tallies.begin(row.number)
    row.begin(os.getpid())  # from here on others read what is counted there
    return Seat(node, row.number, workers, parent, held, figures, row, tallies, is_ours=False)


def _beginning_of(pid: int) -> str:
    """Which process of this number it is, also where several containers share their folders."""
    namespace = started = ""
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    with contextlib.suppress(OSError, IndexError):
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{namespace} {pid} {started}"


def _take_seat(folder: Path) -> int:
    """The first that nobody has; it is ours until this process ends, for nobody closes the file that is locked."""
    for number in range(1, MOST_WORKERS + 1):
        descriptor = os.open(
            folder / f"{number}.{_SEATS}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return number
    raise FolderError(f"there are {MOST_WORKERS} workers already")
