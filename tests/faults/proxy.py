"""A TCP proxy that can do to a connection what networks do to it.

What it is: `Proxy` listens on a port of loopback and carries every connection to one target (`relay`).

What it promises: bytes of a direction arrive complete and in order, whatever the faults in between, unless
the connection was cut; the port stays its own while it refuses connections; what a method asks for holds for
every connection, old and new, when it returns.

What runs concurrently: one process with an event loop, started with the first proxy, carries the bytes of all proxies
of this process, so that neither a busy test nor a busy benchmark distorts the times. The methods may be called from any
thread and return within milliseconds.

How it stops: `stop` closes the port and cuts all connections; the process ends with this one, however that ends.
"""

from __future__ import annotations

import atexit
import itertools
import json
import subprocess
import sys
import threading
from typing import Any, Literal, Self

from tests.harness.cluster import ROOT

__all__ = ["Address", "Direction", "Proxy"]

Address = tuple[str, int]
Direction = Literal["up", "down", "both"]
"""`up` is from the client to the target."""

_EXIT_SECONDS = 5


class _Process:
    """The process that carries the bytes; told what to do by lines of JSON, each answered by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, proxy: int, what: str, *arguments: Any) -> Any:
        """What the process answered; it is started if need be."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.relay"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
                atexit.register(self._end)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(json.dumps([proxy, what, *arguments]), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        assert answer, "the process of the proxies has ended"
        is_done, value = json.loads(answer)
        assert is_done, f"{what}: {value}"
        return value

    def _end(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()  # it ends when nobody is there to tell it what to do
        self._process.wait(_EXIT_SECONDS)


_process = _Process()
_numbers = itertools.count(1)


class Proxy:
    """A way to `target` (`host, port`) with faults on demand, on a port of its own.

    Faults add up until `heal`; `cut` and `lose_target` happen once, to the connections that are open.
    """

    def __init__(self, target: Address) -> None:
        self._number = next(_numbers)
        # Bound for as long as the proxy lives, so that nobody takes the port while nothing listens on it.
        host, port = self._do("open", *target)
        self._address: Address = (host, port)
        self._is_stopped = False

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._address

    @property
    def open_connections(self) -> int:
        """Connections open now, stalled ones included."""
        count: int = self._do("count_open")
        return count

    @property
    def bytes_moved(self) -> tuple[int, int]:
        """Bytes handed on since the start: up, down."""
        up, down = self._do("count_bytes")
        return up, down

    def start(self) -> Self:
        """Listen, and let everything pass."""
        self.heal()
        return self

    def stop(self) -> None:
        """Close the port, cut all connections; may be called twice."""
        if not self._is_stopped:
            self._is_stopped = True
            self._do("close")

    def heal(self) -> None:
        """End every fault: listen, carry everything at full speed, hand on what was held back."""
        self._do("heal")

    def refuse(self) -> None:
        """New connections are refused, as if no process listened. Open ones go on: see `cut`."""
        self._do("refuse")

    def reset_new(self) -> None:
        """New connections are taken and reset at once."""
        self._do("reset_new")

    def cut(self) -> None:
        """Reset every open connection, on both sides."""
        self._do("cut")

    def lose_target(self) -> None:
        """Reset every open connection on the target's side only; the client is told nothing, and waits."""
        self._do("lose_target")

    def forget_idle(self, seconds: float) -> None:
        """As many firewalls do: on connections that have been silent for so long by now, bytes vanish, untold."""
        self._do("forget_idle", seconds)

    def aim(self, target: Address) -> None:
        """New connections lead to another target, as when an address moves to another machine. Open ones go on."""
        self._do("aim", *target)

    def stall(self, direction: Direction = "both") -> None:
        """No byte moves, nothing is closed; new connections are taken, and as silent. No byte is lost."""
        self._do("stall", direction)

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Every byte arrives `seconds` later; the throughput stays."""
        self._do("delay", seconds, direction)

    def slow(self, bytes_per_second: float, direction: Direction = "both") -> None:
        """At most so many bytes a second, per connection."""
        self._do("slow", bytes_per_second, direction)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _do(self, what: str, *arguments: Any) -> Any:
        return _process.ask(self._number, what, *arguments)
