"""What a node says of itself: `/status`, readiness, and the figures for Prometheus. All from memory.

What it promises: nothing in here waits, probes or raises. What is reported about Postgres and Redis is what their
owners last found out by themselves (`Probe`); processor and memory are sampled on a timer. So an answer takes
microseconds whatever the dependencies do, and is as fresh as the owners' probes.

What runs concurrently: `Sampler.run`, one task, owned by the composition root; cancel it to stop. Everything else
is called on the event loop. How long its turns take is measured by `collab_server.pulse`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import psutil

from collab_server import __version__
from collab_server.errors import CODES
from collab_server.ports import Bus, Queueing
from collab_server.pulse import Pulse
from collab_server.telemetry.metrics import Labels, Metrics
from collab_server.workers.together import Together

__all__ = [
    "DATABASE",
    "BusAsNeeded",
    "Counters",
    "Dependency",
    "Probe",
    "Sampler",
    "Serving",
    "Settings",
    "Status",
]

DATABASE = "DB Service"

DOORS = ("socketio", "rest")
OF_SIGN_INS = {"unauthenticated", "rate_limited", "unavailable", "paused", "internal"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What was last found out about a dependency. `problem` is None if and only if all is well, otherwise words
    for the administrator; `latency_seconds` is that of the last good probe.
    """

    problem: str | None
    latency_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """What still works: reads, writes, and live delivery between nodes."""

    reads: bool
    writes: bool
    live: bool


class Counters:
    """What clients do. Plain numbers; add to them where it happens. `metrics` are all of the process's; `together` are
    the workers of the node, of which it is one.
    """

    def __init__(self, metrics: Metrics | None = None, together: Together | None = None) -> None:
        self.metrics = metrics = metrics or Metrics()
        self.together = together
        self.connections_total = 0
        self.connections_current = 0
        self.connections_max = 0
        self.messages_processed = 0
        self.rest_calls_received = 0
        self._sign_ins = metrics.count("sign_ins")
        self._disconnects = metrics.count("disconnects")
        self._errors = metrics.count("errors")
        for door in DOORS:
            self._sign_ins.begin(door, "ok")
            for code in CODES:
                self._errors.begin(door, code)
                if code in OF_SIGN_INS:
                    self._sign_ins.begin(door, code)
        metrics.gauge("connections_current", lambda: self.connections_current)
        metrics.counter("connections", lambda: self.connections_total)
        metrics.counter("messages_processed", lambda: self.messages_processed)
        metrics.counter("rest_calls_received", lambda: self.rest_calls_received)

    def connected(self) -> None:
        """A client has connected."""
        self.connections_total += 1
        self.connections_current += 1
        self.connections_max = max(self.connections_max, self.connections_current)
        self._tell()

    def disconnected(self, reason: str) -> None:
        """A client that was counted by `connected` is gone, for a reason of which there are only a few."""
        self.connections_current -= 1
        self._tell()
        self._disconnects.add(reason.replace(" ", "_"))

    def signed_in(self, door: str, code: str | None = None) -> None:
        """Somebody has shown a token at a door; it was refused if there is the code of an error."""
        self._sign_ins.add(door, code or "ok")
        if code is not None:
            self._errors.add(door, code)

    def refused(self, door: str, code: str) -> None:
        """A client was told an error that is neither of a command nor of a sign-in."""
        self._errors.add(door, code)

    def _tell(self) -> None:
        if self.together is not None:
            self.together.connections(total=self.connections_total, current=self.connections_current)


class Sampler:
    """Processor (percent of one core, whole numbers), resident memory (bytes) and the loop's lag, once a second.

    `lag_seconds` says how late the last sample was: how long a client may wait before its turn comes.
    """

    def __init__(self, *, every_seconds: float = 1.0) -> None:
        self._every_seconds = every_seconds
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only begins the measurement
        self.cpu_current = self.cpu_max = 0
        self.memory_current = self.memory_max = 0
        self.lag_seconds = self.lag_max_seconds = 0.0
        self._sample_memory()

    async def run(self) -> None:
        """Sample until stopped."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._every_seconds
            await asyncio.sleep(self._every_seconds)
            self.lag_seconds = max(0.0, loop.time() - due)
            self.lag_max_seconds = max(self.lag_max_seconds, self.lag_seconds)
            self.sample()

    def sample(self) -> None:
        """Sample now. What the system does not tell, as when there are no file descriptors left, stays as it was."""
        with contextlib.suppress(OSError, psutil.Error):
            self.cpu_current = round(self._process.cpu_percent())
            self.cpu_max = max(self.cpu_max, self.cpu_current)
            self._sample_memory()

    def _sample_memory(self) -> None:
        self.memory_current = self._process.memory_info().rss
        self.memory_max = max(self.memory_max, self.memory_current)


class Probed(Protocol):
    """Whoever looks after a dependency, and what it last found out: `problem` is None if and only if all is well,
    otherwise words for the administrator; `latency_seconds` is that of the last good look."""

    @property
    def problem(self) -> str | None: ...

    @property
    def latency_seconds(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class BusAsNeeded:
    """The bus as one that is looked after: what is wrong counts while it is not available."""

    bus: Bus

    @property
    def problem(self) -> str | None:
        """Why it is not available."""
        return None if self.bus.is_available else self.bus.problem or "not heard"

    @property
    def latency_seconds(self) -> float | None:
        """How long a message took lately."""
        return self.bus.latency_seconds


def _now() -> datetime:
    return datetime.now(UTC)


class Dependency:
    """A service this node depends on; `owner` looks after it, and says how it is.

    Without it the node is `paused`. One that does not `pauses` is told of to administrators and in `/metrics`, not in
    `reason`, whose words are documented.
    """

    def __init__(
        self,
        name: str,
        owner: Probed,
        *,
        pauses: bool = True,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.name = name
        self.pauses = pauses
        self._owner = owner
        self._clock = clock
        self._is_ok: bool | None = None
        self._since = clock()
        self.look()

    def look(self) -> Probe:
        """The latest; also notes when it changed between well and unwell."""
        probe = Probe(self._owner.problem, self._owner.latency_seconds)
        if (is_ok := probe.problem is None) is not self._is_ok:
            self._is_ok = is_ok
            self._since = self._clock()
        return probe

    def verbose(self) -> dict[str, Any]:
        """`{ok, since, error, latencyMs}`; `since` is the time of the last change, as far as it was looked at."""
        probe = self.look()
        latency = probe.latency_seconds
        return {
            "ok": probe.problem is None,
            "since": self._since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "error": probe.problem,
            "latencyMs": None if latency is None else round(latency * 1000, 2),
        }


class Stored(Protocol):
    """The database, as far as it says what it can do now."""

    @property
    def is_up(self) -> bool: ...

    @property
    def is_readable(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What `/status` repeats of the configuration, and how the node is called."""

    enable_tls: bool
    scaling: str
    logging: bool
    node: str


class Status:
    """The state of this node, which depends on these `dependencies`, told in this order. Begins as `paused`; others say
    when it has started (`start`) and when it is going (`drain`).
    """

    def __init__(
        self,
        settings: Settings,
        database: Stored,
        bus: Bus,
        counters: Counters,
        dependencies: Sequence[Dependency],
        sampler: Sampler | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.counters = counters
        self.sampler = sampler or Sampler()
        self.pulse = Pulse()
        self.has_started = False
        self.is_draining = False
        self.settings = settings
        self._database = database
        self._bus = bus
        self._up_since = now()
        self._dependencies = tuple(dependencies)
        self._tell(counters.metrics)

    def start(self) -> None:
        """Clients may come, from now on. Whoever hands them out to the workers of a node knows it at once."""
        self.has_started = True
        self.look()

    def drain(self) -> None:
        """It is about to go, and takes nobody in any more."""
        self.is_draining = True
        self.look()

    def look(self) -> None:
        """Note what has changed, so that `since` is exact; call it on a timer or when something changed."""
        for dependency in self._dependencies:
            dependency.look()
        self._tell_together()

    @property
    def unavailable(self) -> list[str]:
        """The names of the dependencies that are not there and pause this process, in order."""
        return self._named(self._lacking())

    @property
    def reason(self) -> str | None:
        """Why this process is paused, in the documented words; None while it is running."""
        return _reason(self.unavailable, self.has_started)

    def _lacking(self) -> int:
        """A bit for each dependency that is not there and pauses."""
        return sum(
            1 << bit
            for bit, dependency in enumerate(self._dependencies)
            if dependency.look().problem is not None and dependency.pauses
        )

    def _named(self, lacking: int) -> list[str]:
        return [one.name for bit, one in enumerate(self._dependencies) if lacking >> bit & 1]

    def _tell_together(self) -> None:
        """Let the other workers of the node know how this one is."""
        together, counters, sampler = self.counters.together, self.counters, self.sampler
        if together is not None:
            together.counted(messages=counters.messages_processed, rest_calls=counters.rest_calls_received)
            together.taken(cpu=sampler.cpu_current, memory=sampler.memory_current)
            together.state(
                has_started=self.has_started, is_draining=self.is_draining, lacking=self._lacking()
            )

    @property
    def is_running(self) -> bool:
        """Whether `state` is `running`."""
        return self.reason is None

    def accepts_clients(self) -> bool:
        """Whether a load balancer should send clients here, and whether they are let in: while something can be read,
        though the database may take no comment."""
        return self.has_started and not self.is_draining and self._database.is_readable

    @property
    def serving(self) -> Serving:
        """What works now."""
        return Serving(
            reads=self.has_started and self._database.is_readable,
            writes=self.has_started and self._database.is_up,
            live=self._bus.is_hearing,
        )

    def report(self) -> dict[str, Any]:
        """The documented answer of the node, with exactly the documented keys in their order."""
        together = self.counters.together
        settings, reason = self.settings, self.reason
        up_since, pid, main = self._up_since, os.getpid(), self._main
        if together is not None:
            self._tell_together()
            reason = _reason(self._named(together.lacking), together.has_started)
            up_since = datetime.fromtimestamp(together.seat.figures.up_since, UTC)
            pid, main = together.seat.supervisor, together.main
        return {
            "version": __version__,
            "enableTls": settings.enable_tls,
            "scaling": settings.scaling,
            "logging": settings.logging,
            **({"state": "running"} if reason is None else {"state": "paused", "reason": reason}),
            "main": {**main(), "up_since": _up_since(up_since.astimezone()), "pid": pid},
        }

    def _main(self) -> dict[str, Any]:
        counters, sampler = self.counters, self.sampler
        return {
            "cpu": {"current": sampler.cpu_current, "max": sampler.cpu_max},
            "memory": {"current": sampler.memory_current, "max": sampler.memory_max},
            "connections": {
                "total": counters.connections_total,
                "current": counters.connections_current,
                "max": counters.connections_max,
            },
            "messages": {"processed": counters.messages_processed},
            "restCalls": {"received": counters.rest_calls_received},
        }

    def verbose_report(self) -> dict[str, Any]:
        """`report` and what only administrators may see; of a node of several workers what this one knows, and a line
        for each.
        """
        serving, together = self.serving, self.counters.together
        return {
            **self.report(),
            "dependencies": {dependency.name: dependency.verbose() for dependency in self._dependencies},
            "serving": {"reads": serving.reads, "writes": serving.writes, "live": serving.live},
            "node": self.settings.node,
            **({} if together is None else {"worker": together.seat.number, "workers": together.each()}),
            "cluster": [
                {"node": name, "seenAt": round(node.seen_at, 3), **node.info}
                for name, node in self._bus.nodes.items()
            ],
            "counters": {
                **dict(sorted(self.counters.metrics.included().items())),
                "loopLagMs": {
                    "current": round(self.sampler.lag_seconds * 1000, 1),
                    "max": round(self.sampler.lag_max_seconds * 1000, 1),
                },
                "loopHeldMs": {
                    "recent": round(self.pulse.recent * 1000, 1),
                    "max": round(self.pulse.longest * 1000, 1),
                },
            },
        }

    # --- the same for Prometheus, read when it asks

    def _tell(self, metrics: Metrics) -> None:
        bus = self._bus
        build = (__version__, platform.python_version(), self.settings.node)
        metrics.gauges("build_info", lambda: {build: 1})
        metrics.gauge("running", lambda: self.is_running)
        metrics.gauge("ready", self.accepts_clients)
        metrics.gauge("draining", lambda: self.is_draining)
        metrics.gauge("serving_reads", lambda: self.serving.reads)
        metrics.gauge("serving_writes", lambda: self.serving.writes)
        metrics.gauge("serving_live", lambda: self.serving.live)
        metrics.gauges("dependency_up", self._dependencies_up)
        metrics.gauges("dependency_latency_seconds", self._latencies)
        metrics.gauge("loop_lag_seconds", lambda: self.sampler.lag_seconds)
        metrics.gauge("loop_held_seconds", lambda: self.pulse.recent)
        metrics.gauge("loop_held_max_seconds", lambda: self.pulse.longest)
        metrics.counters("loop_held", self._held)
        metrics.gauge("cluster_nodes", lambda: len(bus.nodes))
        metrics.include("bus", bus.counts)
        if isinstance(bus, Queueing):
            metrics.gauge("bus_queued_bytes", lambda: bus.queued_bytes)
            metrics.gauges("queue_length", lambda: {("bus",): bus.queued_messages})

    def _dependencies_up(self) -> dict[Labels, float]:
        return {(one.name,): one.look().problem is None for one in self._dependencies}

    def _latencies(self) -> dict[Labels, float]:
        seconds = {(one.name,): one.look().latency_seconds for one in self._dependencies}
        return {labels: value for labels, value in seconds.items() if value is not None}

    def _held(self) -> dict[Labels, float]:
        return {(f"{bound:g}",): count for bound, count in self.pulse.counts.items()}


def _reason(unavailable: list[str], has_started: bool) -> str | None:
    if unavailable:
        return f"The following dependent services are unavailable: {', '.join(unavailable)}"
    return None if has_started else "The server has not finished starting"


def _up_since(moment: datetime) -> str:
    """Local time as documented: neither month nor day padded."""
    return f"{moment.year}-{moment.month}-{moment.day} {moment:%H:%M:%S}"
