"""Spans: how long what took that a request has caused, on all nodes, for OpenTelemetry.

They are made only where an operator asks for them, by the environment variables of OpenTelemetry, and has installed the
extra `tracing`. Where not, there are none of the parts that make them: it costs nothing.

What it promises
    A span goes along with the name of its trace (`traces.CURRENT`): into tasks, with events, over the bus. So what a
    node does because of what another one has said is a child of that. What nobody has asked for, as a look at the
    clock, makes none. A span says what was done, how long it took, and the code of its error: no words of users, no
    tokens, no names.
    Nothing waits for the collector: spans are sent by a thread of the SDK's, and dropped where it cannot keep up.
How it stops
    `stop` gives the thread `STOP_SECONDS` to send what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from collab_server import __version__
from collab_server.telemetry import traces

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

__all__ = ["Kind", "Span", "Spans", "spans_of"]

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Facts = Mapping[str, str | int]

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_HEADER = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?:-.*)?")
_ODD = frozenset("13579bdf")
"""How the flags of a span end that is kept."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Span:
    """One that has begun. `trace` is what `traces.CURRENT` holds for what belongs to it."""

    def __init__(self, span: OtelSpan | None, trace: str) -> None:
        self._span = span
        self.trace = trace

    def call(self, name: str) -> None:
        """This is what it is called, as was found out later."""
        if self._span is not None:
            self._span.update_name(name)

    def say(self, **facts: str | int) -> None:
        """This is so of it; a name's `__` stands for a dot."""
        if self._span is not None:
            self._span.set_attributes({name.replace("__", "."): value for name, value in facts.items()})

    def fail(self, code: str) -> None:
        """It ends with an error of this code."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", code)


class Spans:
    """What makes them, of one node, through an SDK's `provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind

        self._provider = provider
        self._tracer = provider.get_tracer("collab_server", __version__)
        self._kinds = {kind: SpanKind[kind.upper()] for kind in get_args(Kind)}

    def start(self) -> None:
        """The node starts: say that there will be spans."""
        log.info("spans are sent to a collector of OpenTelemetry")

    async def stop(self) -> None:
        """Send what is left, as far as that goes within `STOP_SECONDS`."""
        # A thread that the end of the process does not wait for: a collector that is away would hold it up.
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        ends_at = time.monotonic() + STOP_SECONDS
        while sending.is_alive() and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def during(
        self, name: str, kind: Kind, facts: Facts | None = None, *, parent: str = ""
    ) -> Iterator[Span]:
        """A span for as long as the block runs, also where nothing has begun before.

        `parent` is a header `traceparent`; without one that is good, it is what `traces.CURRENT` names.
        """
        before = traces.CURRENT.get()
        known, _, above = before.partition(" ")
        outer = _HEADER.fullmatch(parent)
        with self._running(name, kind, facts, known, above if outer is None else f"00-{outer[1]}") as span:
            yield span

    @contextlib.contextmanager
    def within(self, name: str, kind: Kind, facts: Facts | None = None, *, trace: str = "") -> Iterator[Span]:
        """The same, but only where there is one above that is kept: `trace` says which, or `traces.CURRENT`."""
        trace = trace or traces.CURRENT.get()
        known, _, above = trace.partition(" ")
        if not _is_kept(above):
            yield Span(None, trace)
            return
        with self._running(name, kind, facts, known, above) as span:
            yield span

    def note(self, name: str, kind: Kind, seconds: float, facts: Facts | None = None) -> None:
        """Something is over that took so long; it belongs to the span that runs, if one does and is kept."""
        known, _, above = traces.CURRENT.get().partition(" ")
        if not _is_kept(above):
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            _context_of(above),
            kind=self._kinds[kind],
            attributes={**(facts or {}), "collab.trace": known},
            start_time=ended - round(seconds * 1e9),
        )
        span.end(ended)

    def observing(self, observe: Callable[[str, str, float], None]) -> Callable[[str, str, float], None]:
        """What is told of calls of another service, with a span for each."""

        def both(call: str, outcome: str, seconds: float) -> None:
            observe(call, outcome, seconds)
            self.note(call, "client", seconds, {"collab.outcome": outcome})

        return both

    @contextlib.contextmanager
    def _running(self, name: str, kind: Kind, facts: Facts | None, known: str, above: str) -> Iterator[Span]:
        span = self._tracer.start_span(
            name,
            _context_of(above),
            kind=self._kinds[kind],
            attributes={**(facts or {}), "collab.trace": known},
            record_exception=False,  # whose words may be a user's
            set_status_on_exception=False,
        )
        made = span.get_span_context()
        trace = f"{known} 00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"
        before = traces.CURRENT.get()
        traces.CURRENT.set(trace)
        running = Span(span, trace)
        try:
            yield running
        except BaseException as error:
            running.fail(getattr(error, "code", None) or type(error).__qualname__)
            raise
        finally:
            traces.CURRENT.set(before)
            span.end()


def _is_kept(above: str) -> bool:
    """Whether this span was chosen to be kept: what belongs to another is not even looked at."""
    return above[-1:] in _ODD


def _context_of(above: str) -> Context:
    """A context in which this span is the one that runs; an empty one if it is none."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    found = _PARENT.fullmatch(above)
    if found is None:
        return Context()
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    parent = SpanContext(
        trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def spans_of(node: str, environ: Mapping[str, str] = os.environ) -> Spans | None:
    """What makes spans, if the environment asks for it; None if not, or if that cannot be had: then the log says why.

    `OTEL_EXPORTER_OTLP_ENDPOINT` is the collector, which is spoken to by HTTP; `OTEL_TRACES_EXPORTER=console` writes
    them to standard output instead. The SDK reads the others of its variables itself.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    is_asked = bool(exporter) or any(environ.get(name) for name in ENDPOINTS)
    is_disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not is_asked or is_disabled or exporter == "none":
        return None
    if exporter not in ("", "otlp", "console"):
        log.warning("there are no traces: OTEL_TRACES_EXPORTER is otlp, console or none")
        return None
    try:
        return Spans(_provider(node, environ, is_console=exporter == "console"))
    except ImportError:
        log.warning("there are no traces, though OTEL_… asks for them: the extra `tracing` is not installed")
    except Exception as error:  # what the SDK finds wrong with its variables
        log.warning("there are no traces: %s", error)
    return None


def _provider(node: str, environ: Mapping[str, str], *, is_console: bool) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    exporter: SpanExporter
    if is_console:
        exporter = ConsoleSpanExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    names: dict[str, Any] = {"service.instance.id": node, "service.version": __version__}
    if not environ.get("OTEL_SERVICE_NAME"):
        names["service.name"] = "collab-server"
    provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
