"""The supervisor of workers and what it stands on, with processes that do nothing but what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import selectors
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from typing_extensions import override

from collab_server import logs
from collab_server.realtime.lean.fed import FedServer, Feed
from collab_server.workers import folder as folders
from collab_server.workers import handing, memory, passing, supervisor
from collab_server.workers.figures import Figures, Number
from collab_server.workers.folder import FolderError, Held
from collab_server.workers.handing import HELD_SECONDS, Handing, Process
from collab_server.workers.pages import merged
from collab_server.workers.seat import seat_under
from collab_server.workers.supervisor import Supervisor
from collab_server.workers.tallies import MOST_SEATS, SharedTally, Tallies
from collab_server.workers.together import Together

# The process of pytest-xdist has a thread that reads; what is forked here needs nothing of what that may hold.
pytestmark = pytest.mark.filterwarnings("ignore:.* is multi-threaded, use of fork:DeprecationWarning")

SECONDS = 20.0


def until(condition: Callable[[], object], what: str = "") -> None:
    since = time.monotonic()
    while not condition():
        assert time.monotonic() - since < SECONDS, f"waited in vain: {what}"
        time.sleep(0.01)


class Node:
    """A supervisor in a process of its own, whose workers answer each connection with their number."""

    def __init__(
        self, workers: int, folder: Path, run: Callable[[Node, int, socket.socket], int] | None = None
    ) -> None:
        self.figures = Figures()
        self.log = folder / "log"
        self.folder = folder
        self._run = run or Node.answer
        self._bound = socket.create_server(("127.0.0.1", 0), reuse_port=False)
        self.port: int = self._bound.getsockname()[1]
        self._bound.close()
        self._bound = socket.socket()
        self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._bound.bind(("127.0.0.1", self.port))
        self._workers = workers
        self.pid = 0
        self.status: int | None = None

    def start(self) -> None:
        self.pid = os.fork()
        if self.pid:
            self._bound.close()
            return
        try:
            logs.configure(log_file=self.log)
            run = self._run
            served = Supervisor(
                [self._bound],
                self._workers,
                self.figures,
                lambda number, end: run(self, number, end),
                lambda: (self.folder / "looked again").touch(),
            )
            os._exit(served.serve())
        finally:
            os._exit(70)

    def answer(self, number: int, end: socket.socket) -> int:
        """A worker that takes connections, keeps them, and says who it is."""
        row = self.figures.row(number)
        kept: list[socket.socket] = []
        row[Number.IS_TAKING] = row[Number.HAS_STARTED] = 1
        told = [number]
        signal.signal(signal.SIGHUP, lambda *_: (self.folder / f"hung up {number}").touch())
        while True:
            row.beat()
            row[Number.OPEN], row[Number.TAKEN] = len(kept), len(kept)
            said = passing.receive(end)
            if said is None:
                time.sleep(0.002)
                continue
            what, connection = said
            if connection is not None:
                kept.append(socket.socket(fileno=connection))
                kept[-1].sendall(bytes(told))
            elif what == passing.DRAIN:
                (self.folder / f"drained {number}").touch()
                return 0
            else:
                (self.folder / f"left {number}").touch()
                return 0

    def ask(self) -> tuple[socket.socket, int]:
        """A connection, and which worker has it; 0 if it was closed."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        try:
            answer = client.recv(1)
        except ConnectionResetError:
            answer = b""
        return client, answer[0] if answer else 0

    def is_open(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def is_over(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def pids(self) -> list[int]:
        return [row[Number.PID] for row in self.figures.rows()]

    def end(self) -> None:
        if self.pid and not self.is_over():
            os.kill(self.pid, signal.SIGKILL)
            until(self.is_over)


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    made: list[Node] = []

    def make(workers: int, run: Callable[[Node, int, socket.socket], int] | None = None) -> Node:
        node = Node(workers, tmp_path, run)
        made.append(node)
        node.start()
        return node

    yield make
    for node in made:
        node.end()


def test_connections_are_spread_evenly_also_after_a_worker_was_killed(make_node: MakeNode) -> None:
    node = make_node(3)
    until(lambda: node.figures.sum(Number.IS_TAKING) == 3 and node.is_open())
    kept = [node.ask() for _ in range(60)]
    counts = [sum(1 for _, number in kept if number == worker) for worker in (1, 2, 3)]
    assert max(counts) - min(counts) <= 8, counts

    killed = node.pids()[0]
    os.kill(killed, signal.SIGKILL)
    more = [node.ask() for _ in range(40)]
    assert all(number for _, number in more), "no connection is lost that the dead one had not taken"
    until(lambda: killed not in node.pids() and node.figures.sum(Number.IS_TAKING) == 3, "it is back")
    for client, _ in (*kept, *more):
        client.close()


def hesitate(node: Node, number: int, end: socket.socket) -> int:
    """A worker that is ready once it is told, by a file."""
    (node.folder / f"begun {number}").touch()
    while not (node.folder / "go").exists():
        time.sleep(0.002)
    return node.answer(number, end)


def test_many_workers_are_started_in_turns_and_none_once_the_node_is_to_stop(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "STARTING_AT_ONCE", 2)
    monkeypatch.setattr(handing, "STARTING_SECONDS", 3600.0)

    def begun() -> int:
        return len(list(tmp_path.glob("begun *")))

    node = make_node(7, hesitate)
    until(lambda: begun() == 2)
    os.kill(node.pid, signal.SIGTERM)
    until(node.is_over)
    assert begun() == 2
    (tmp_path / "go").touch()
    node = make_node(7, hesitate)
    until(lambda: node.figures.sum(Number.IS_TAKING) == 7 and node.is_open())
    monkeypatch.setattr(handing, "STARTING_SECONDS", 0.0)
    slow = Process(Figures().row(1), 0, *passing.pair(), time.monotonic())
    assert not slow.is_starting(time.monotonic()), "one that takes long is not waited for"
    slow.ours.close()
    slow.theirs.close()


def test_a_frozen_worker_is_passed_by_and_what_it_had_not_taken_goes_to_others(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FROZEN_SECONDS", 3.0)
    node = make_node(2)
    until(lambda: node.figures.sum(Number.IS_TAKING) == 2 and node.is_open())
    frozen = node.pids()[0]
    os.kill(frozen, signal.SIGSTOP)
    kept = [node.ask() for _ in range(20)]  # some of them were the frozen one's to take
    assert all(number for _, number in kept)
    until(lambda: frozen not in node.pids() and node.figures.sum(Number.IS_TAKING) == 2, "it is replaced")
    assert "a worker has not run for" in node.log.read_text()
    for client, _ in kept:
        client.close()


def test_what_waits_for_a_frozen_worker_is_looked_at_when_it_is_due_and_not_later() -> None:
    busy, idle = (Process(Figures().row(number), 0, *passing.pair(), 0.0) for number in (1, 2))
    handing = Handing([], selectors.DefaultSelector())
    assert handing.patience([busy, idle], 0.25) == 0.25
    busy.handed = 1
    busy.note_taken()
    assert 0 < handing.patience([busy, idle], 0.25) <= HELD_SECONDS
    busy.taken_at -= 0.9 * HELD_SECONDS
    assert 0 < handing.patience([busy, idle], 0.25) <= 0.5 * HELD_SECONDS
    busy.taken_at -= 10  # and nobody else could take it
    assert handing.patience([busy, idle], 0.25) == HELD_SECONDS / 2
    for process in (busy, idle):
        process.ours.close()
        process.theirs.close()


def test_what_a_worker_has_not_taken_counts_as_its_no_more_once_it_is_for_others() -> None:
    worker = Process(Figures().row(1), 0, *passing.pair(), 0.0)
    worker.row[Number.IS_TAKING] = 1
    handing = Handing([], selectors.DefaultSelector())
    ours, theirs = socket.socketpair()
    assert handing._hand(ours.fileno(), [worker])
    assert (worker.waiting, worker.load) == (1, 1)
    handing.take_back(worker)
    assert (worker.waiting, worker.load) == (0, 0)
    handing.close()
    for one in (ours, theirs, worker.ours, worker.theirs):
        one.close()


def test_who_waits_for_a_worker_that_is_busy_is_not_given_to_one_that_would_refuse_them() -> None:
    """As one does that is just starting: it takes connections, and answers each with a 503."""
    figures = Figures()
    busy, other = (Process(figures.row(number), 0, *passing.pair(), 0.0) for number in (1, 2))
    for process in (busy, other):
        process.row[Number.IS_TAKING] = 1
    busy.row[Number.HAS_STARTED] = 1
    handing = Handing([], selectors.DefaultSelector())
    ours, theirs = socket.socketpair()
    assert handing._hand(ours.fileno(), [busy, other])
    waits = []
    for has_started, is_draining in [(0, 0), (1, 1), (1, 0)]:
        other.row[Number.HAS_STARTED], other.row[Number.IS_DRAINING] = has_started, is_draining
        busy.taken_at -= 2 * HELD_SECONDS
        handing.attend([busy, other])
        waits.append((busy.waiting, other.waiting))
    assert waits == [(1, 0), (1, 0), (0, 1)]
    handing.close()
    for one in (ours, theirs, busy.ours, busy.theirs, other.ours, other.theirs):
        one.close()


@pytest.mark.parametrize("what", [passing.DRAIN, passing.LEAVE])
def test_what_a_worker_was_told_stays_for_it_when_its_connections_are_given_to_others(what: bytes) -> None:
    """Or one that was frozen for a moment would never drain."""
    worker = Process(Figures().row(1), 0, *passing.pair(), 0.0)
    worker.row[Number.IS_TAKING] = 1
    handing = Handing([], selectors.DefaultSelector())
    ours, theirs = socket.socketpair()
    assert handing._hand(ours.fileno(), [worker])
    assert passing.say(worker.ours, what)
    for _ in range(2):
        handing.take_back(worker)
    assert passing.receive(worker.theirs) == (what, None)
    assert passing.receive(worker.theirs) is None
    handing.close()
    for one in (ours, theirs, worker.ours, worker.theirs):
        one.close()


def test_administrators_are_told_of_the_workers_that_there_are() -> None:
    figures = Figures()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for number, pid in ((1, os.getpid()), (2, gone.pid), (3, 0)):
        figures.row(number).begin(pid)
    figures.row(2)[Number.CONNECTIONS] = 7
    together = Together(cast("Any", SimpleNamespace(figures=figures)), cast("Any", None), cast("Any", None))
    assert [(one["worker"], one["pid"], one["awake"]) for one in together.each()] == [(1, os.getpid(), False)]
    figures.row(1).beat()
    assert together.each()[0]["awake"]


def test_a_worker_is_frozen_that_does_not_run_for_so_long_at_a_stretch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(Supervisor, "_kill", lambda _, worker, number: killed.append(number))
    figures = Figures()
    looking = Supervisor([], 1, figures, lambda *_: 0, lambda: None)
    worker = looking._workers[1] = Process(figures.row(1), 0, *passing.pair(), 0.0)
    worker.row[Number.IS_TAKING] = 1
    for beat in range(1, 101):  # busy for a second again and again
        worker.row[Number.BEAT] = beat
        looking._look(0.5)
        looking._look(1.0)
    assert not killed
    for _ in range(int(supervisor.FROZEN_SECONDS)):
        looking._look(1.0)
    assert killed == [signal.SIGKILL]
    worker.ours.close()
    worker.theirs.close()


def serve(node: Node, number: int, end: socket.socket) -> int:
    """A worker as nodes have it, which answers each request with its number; the first may have few open files."""
    row = node.figures.row(number)
    row[Number.HAS_STARTED] = 1

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % number})

    class Limited(FedServer):
        @override
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if number == 1:
                with tempfile.TemporaryFile() as next_one:
                    limit = next_one.fileno() + 3
                resource.setrlimit(
                    resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
                )

    config = uvicorn.Config(answer, log_config=None, lifespan="off")
    asyncio.run(Limited(config, Feed(end, row)).serve())
    return 0


def test_a_worker_without_open_files_loses_a_few_connections_and_no_count(make_node: MakeNode) -> None:
    node = make_node(2, serve)
    until(lambda: node.figures.sum(Number.IS_TAKING) == 2 and node.is_open())
    answered = 0
    with contextlib.ExitStack() as kept:
        for _ in range(30):
            client = kept.enter_context(socket.create_connection(("127.0.0.1", node.port), timeout=SECONDS))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                answered += client.recv(4096).startswith(b"HTTP/1.1 200")
        assert 20 <= answered < 30, "others get what it cannot take"
        made = 30 + 1  # by which it was seen to be open
        until(lambda: node.figures.sum(Number.TAKEN) == made, "nothing is thought to wait for it")
    told = [line for line in node.log.read_text().splitlines() if "can take no more connections" in line]
    assert len(told) == 1, "once a minute"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_given_up_while_it_is_made_is_not_waited_for(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None: ...

    async def give_up() -> None:
        config = uvicorn.Config(answer, log_config=None, lifespan="off")
        config.load()
        end, other_end = socket.socketpair()
        server = FedServer(config, Feed(end, Figures().row(1)))
        server.lifespan = config.lifespan_class(config)
        with end, other_end:
            for turns in range(1, 8):
                client, connection = socket.socketpair()
                making = asyncio.create_task(server._make(connection))
                for _ in range(turns):
                    await asyncio.sleep(0)
                making.cancel()
                await asyncio.gather(making, return_exceptions=True)
                client.close()
            for _ in range(1000):  # those that were made are lost with their clients
                if not server.server_state.connections:
                    return
                await asyncio.sleep(0.01)
        raise AssertionError(server.server_state.connections)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(give_up())


def test_a_worker_that_ends_again_and_again_is_said_and_slowed(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MOST_SHORT", 2)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.2)

    def run(node: Node, number: int, end: socket.socket) -> int:
        if number == 1:
            with (node.folder / "starts").open("a") as starts:
                starts.write("x")
            until(lambda: node.figures.row(2)[Number.IS_TAKING])
            return 5
        return node.answer(number, end)

    node = make_node(2, run)
    starts = node.folder / "starts"
    until(lambda: starts.exists() and len(starts.read_text()) >= 4)
    until(lambda: "seconds=0.4" in node.log.read_text())
    log = node.log.read_text()
    assert "a worker has ended; it is started again" in log
    assert "a worker ends again and again; it is started later" in log
    assert "seconds=0.2" in log
    assert "how='exit status 5'" in log
    client, number = node.ask()
    client.close()
    assert number == 2, "the other one serves"


def test_a_node_none_of_whose_workers_ever_serves_is_over(make_node: MakeNode) -> None:
    node = make_node(2, lambda node, number, end: 3)
    until(node.is_over)
    assert node.status == 1
    assert "a worker has ended before it served" in node.log.read_text()


def test_a_node_that_is_told_to_stop_before_it_serves_lets_nobody_in_any_more(make_node: MakeNode) -> None:
    def run(node: Node, number: int, end: socket.socket) -> int:
        with (node.folder / "starts").open("a") as starts:
            starts.write(str(number))
        if number == 2:
            return 3
        row = node.figures.row(number)
        signal.signal(signal.SIGTERM, lambda *_: row.__setitem__(Number.IS_TAKING, 1))  # ready just then
        row[Number.BEAT] = 1
        until(lambda: passing.receive(end) is not None)
        return 0

    node = make_node(2, run)
    until(lambda: node.figures.row(1)[Number.BEAT] and node.log.exists())
    until(lambda: "a worker has ended before it served" in node.log.read_text())
    os.kill(node.pid, signal.SIGTERM)
    until(lambda: node.figures.row(1)[Number.IS_TAKING])
    os.kill(node.pid, signal.SIGHUP)
    until((node.folder / "looked again").exists, "the supervisor has been awake since")
    os.kill(node.pid, signal.SIGTERM)
    until(node.is_over)
    assert "the node serves" not in node.log.read_text()
    assert sorted((node.folder / "starts").read_text()) == ["1", "2"]


def test_a_node_whose_port_another_program_takes_while_its_workers_start_is_over(make_node: MakeNode) -> None:
    def run(node: Node, number: int, end: socket.socket) -> int:
        until((node.folder / "taken").exists)
        return node.answer(number, end)

    node = make_node(2, run)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", node.port))
        other.listen()
        (node.folder / "taken").touch()
        until(node.is_over)
    assert node.status == 1
    assert "cannot listen any more: Address already in use" in node.log.read_text()
    assert (node.folder / "left 1").exists() or (node.folder / "drained 1").exists()


def test_signals_reach_all_and_nobody_outlives_the_supervisor(make_node: MakeNode) -> None:
    node = make_node(2)
    until(lambda: node.figures.sum(Number.IS_TAKING) == 2 and node.is_open())
    os.kill(node.pid, signal.SIGHUP)
    until(lambda: {"hung up 1", "hung up 2", "looked again"} <= {one.name for one in node.folder.iterdir()})
    os.kill(node.pid, signal.SIGTERM)
    until(node.is_over)
    assert node.status == 0
    assert f"port={node.port} workers=2" in node.log.read_text()
    assert {"drained 1", "drained 2"} <= {one.name for one in node.folder.iterdir()}

    orphaned = make_node(2)
    until(lambda: orphaned.figures.sum(Number.IS_TAKING) == 2)
    os.kill(orphaned.pid, signal.SIGKILL)
    until(orphaned.is_over)
    until(lambda: {"left 1", "left 2"} <= {one.name for one in orphaned.folder.iterdir()})


def test_the_most_of_a_sum_is_no_sum_of_what_was_the_most_and_counts_outlive_a_process() -> None:
    figures = Figures()
    one, two = figures.row(1), figures.row(2)
    for row in (one, two):
        row.begin(os.getpid())
    one[Number.CONNECTIONS], two[Number.CONNECTIONS] = 5, 7
    one[Number.MOST_CONNECTIONS] = figures.sum(Number.CONNECTIONS)
    one[Number.CONNECTIONS_TOTAL] = 5
    assert (figures.most(Number.MOST_CONNECTIONS), figures.sum(Number.CONNECTIONS)) == (12, 12)
    one.begin(0)
    assert (figures.sum(Number.CONNECTIONS), figures.sum(Number.CONNECTIONS_TOTAL)) == (7, 5)
    assert figures.most(Number.MOST_CONNECTIONS) == 12
    assert not one.is_awake


def test_what_a_person_has_is_counted_at_all_workers_and_ends_with_one_that_dies() -> None:
    figures = Figures()
    tallies = Tallies(figures)
    for number in (1, 2):
        figures.row(number).begin(os.getpid())
        tallies.begin(number)
    one, two = (SharedTally(tallies, number, "connections") for number in (1, 2))
    for number in range(500):
        (one, two)[number % 2].more(f"somebody {number}")
    one.more("ann")
    two.more("ann")
    two.more("ann")
    assert [tally.of("ann") for tally in (one, two)] == [3, 3]
    assert SharedTally(tallies, 1, "requests").of("ann") == 0
    two.less("ann")
    assert one.of("ann") == 2
    figures.row(2).begin(0)
    assert one.of("ann") == 1
    figures.row(2).begin(os.getpid())
    tallies.begin(2)
    figures.row(MOST_SEATS + 1).begin(os.getpid())  # has no cells
    assert (one.of("ann"), one.of("bob")) == (1, 0)


def test_workers_of_one_parent_meet_each_at_a_seat_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    seats = [seat_under(os.getpid(), 2) for _ in range(2)]
    assert [seat.number for seat in seats] == [1, 2]
    assert len({(seat.node, seat.folder) for seat in seats}) == 1
    assert seats[1].share(10) == 5
    assert [seats[0].share(3), seats[1].share(3), seats[1].share(1)] == [2, 1, 1]
    seats[0].row[Number.CONNECTIONS_TOTAL] = 3
    assert seats[1].figures.sum(Number.CONNECTIONS_TOTAL) == 3
    assert seat_under(1, 2).folder != seats[0].folder
    for seat in seats:
        seat.leave()
    assert not seats[0].folder.exists()


def test_a_full_disk_is_said_and_leaves_nothing_of_the_workers_behind(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_bases", lambda: [short_path])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # stands in for the disk's end
        with pytest.raises(FolderError, match="file too large"):
            seat_under(os.getpid(), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(short_path.iterdir()) == []


def test_where_a_disk_is_full_workers_meet_on_the_next_and_those_who_have_met_stay_together(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, roomy = short_path / "f", short_path / "r"
    for base in (full, roomy):
        base.mkdir()
    monkeypatch.setattr(folders, "_bases", lambda: [full, roomy])
    make = memory.shared_memory
    has_room = False

    def shared_memory(size: int, path: Path, used: range | None = None) -> object:
        if path.is_relative_to(full) and not has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(size, path, used)

    for module in ("figures", "tallies"):
        monkeypatch.setattr(f"collab_server.workers.{module}.shared_memory", shared_memory)
    one = seat_under(os.getpid(), 3)
    assert one.folder.parent == roomy
    assert list(full.iterdir()) == []
    has_room = True
    two = seat_under(os.getpid(), 3)
    assert (two.folder, two.number) == (one.folder, 2)

    has_room = False
    monkeypatch.setattr(folders, "_bases", lambda: [roomy, full])
    full, roomy = roomy, full
    with pytest.raises(FolderError, match="no space left"):
        seat_under(os.getpid(), 3)  # alone elsewhere it would be no sibling of theirs
    assert list(roomy.iterdir()) == []
    for seat in (one, two):
        seat.leave()
    assert list(full.iterdir()) == []


def test_a_folder_is_closed_to_others_and_goes_with_the_last_who_holds_it(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = short_path
    monkeypatch.setattr(folders, "_bases", lambda: [tmp_path])
    one, two = Held("x"), Held("x")
    assert one.path == two.path
    assert one.path.stat().st_mode & 0o777 == 0o700
    one.let_go()
    assert two.path.exists()
    two.let_go()
    assert not two.path.exists()

    (tmp_path / f"collab-{os.geteuid()}-left").mkdir(mode=0o700)  # by one that was killed
    open_to_all = tmp_path / f"collab-{os.geteuid()}-y"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    with pytest.raises(FolderError, match="somebody else made it"):
        Held("y")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / f"collab-{os.geteuid()}-z").symlink_to(elsewhere)
    with pytest.raises(FolderError, match="somebody else made it"):
        Held("z")
    Held().let_go()
    assert not (tmp_path / f"collab-{os.geteuid()}-left").exists()


def test_a_log_file_that_processes_share_is_rotated_by_one_at_a_time_and_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 4_000)
    monkeypatch.setattr(logs, "OLD_FILES", 30)
    file = tmp_path / "collab.log"
    writers = []
    for writer in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                logs.configure(log_file=file, is_shared=True)
                for number in range(150):
                    logging.getLogger("collab_server.test").info("line %d of %d .", number, writer)
                os._exit(0)
            finally:
                os._exit(1)
        writers.append(pid)
    for pid in writers:
        assert os.waitpid(pid, 0)[1] == 0
    files = list(tmp_path.iterdir())
    assert len(files) > 3
    lines = [line for one in files for line in one.read_text().splitlines()]
    assert len(lines) == 450
    for writer in range(3):
        for number in range(150):
            assert sum(f"line {number} of {writer} ." in line for line in lines) == 1


def test_what_one_process_has_rotated_the_others_go_on_in_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log"
    one, other = (logs._SharedFileHandler(file, maxBytes=1000, backupCount=2) for _ in range(2))

    def say(handler: logging.Handler, words: str) -> None:
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, words, None, None))

    say(one, "before")
    say(other, "x" * 1000)
    say(one, "this one rotates it")
    say(other, "this one has not")
    for handler in (one, other):
        handler.close()
    assert file.read_text() == "this one rotates it\nthis one has not\n"
    assert (tmp_path / "log.1").read_text() == "before\n" + "x" * 1000 + "\n"


def test_metrics_of_all_workers_are_one_page_with_each_family_once() -> None:
    one = '# HELP a_total x\n# TYPE a_total counter\na_total{door="r {"} 1.0\n# HELP b y\n# TYPE b gauge\nb 2.0\n'
    two = "# HELP b y\n# TYPE b gauge\nb 3.0\n# HELP c z\n# TYPE c gauge\nc 4e+06\n"
    assert merged({1: one, 2: two}).splitlines() == [
        "# HELP a_total x",
        "# TYPE a_total counter",
        'a_total{worker="1",door="r {"} 1.0',
        "# HELP b y",
        "# TYPE b gauge",
        'b{worker="1"} 2.0',
        'b{worker="2"} 3.0',
        "# HELP c z",
        "# TYPE c gauge",
        'c{worker="2"} 4e+06',
    ]
