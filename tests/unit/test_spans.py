"""Spans: made only where they are asked for, children of whatever has caused them, and silent about what people say."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from collab_server.config.renewal import Certificates
from collab_server.errors import Forbidden
from collab_server.ground import Ground
from collab_server.node import Live, Node
from collab_server.services.commands.gate import CommandGate
from collab_server.services.live.audience import Audience
from collab_server.services.live.publisher import Publisher
from collab_server.storage.statements import Statements
from collab_server.telemetry import traces
from collab_server.telemetry.spans import Spans, spans_of
from tests.unit.test_metrics import a_config

NOT_ASKED: list[dict[str, str]] = [
    {},
    {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.test"},
    {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.test"},
    {"OTEL_SERVICE_NAME": "collab", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector.test"},
]


@pytest.mark.parametrize("environ", NOT_ASKED)
def test_nobody_who_has_not_asked_gets_any(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    assert spans_of("n1", environ) is None
    assert not caplog.records


def test_a_node_without_them_has_none_of_the_parts_that_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    for kind in (Ground, Live, CommandGate, Statements):

        def note(self: object, *args: Any, _build: Any = kind.__init__, **more: Any) -> None:
            _build(self, *args, **more)
            made.append(self)

        monkeypatch.setattr(kind, "__init__", note)
    config = a_config()
    Node(config, Certificates(config), None, None)
    [live] = [part for part in made if isinstance(part, Live)]
    kinds = {type(part) for part in made} | {type(live.audience), type(live.publisher)}
    assert kinds == {Ground, Live, CommandGate, Statements, Audience, Publisher}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp, console or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.test"}, "the extra `tracing` is not installed"),
    ],
)
def test_what_cannot_be_had_is_said(
    environ: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with caplog.at_level(logging.WARNING, "collab_server"):
        assert spans_of("n1", environ) is None
    assert words in caplog.text
    caplog.clear()


def test_the_logs_name_the_trace_without_the_span() -> None:
    assert traces.name_of("abc.1 00-" + "1" * 32 + "-" + "2" * 16 + "-01") == "abc.1"
    assert traces.name_of("") == ""


# --- with the SDK


class Made:
    """The spans that were made, by their names."""

    def __init__(self) -> None:
        export = pytest.importorskip(
            "opentelemetry.sdk.trace.export", reason="the extra `tracing` is not installed"
        )
        memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        sdk = pytest.importorskip("opentelemetry.sdk.trace")
        self._memory = memory.InMemorySpanExporter()
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(export.SimpleSpanProcessor(self._memory))
        self.spans = Spans(provider)

    def __getitem__(self, name: str) -> Any:
        [found] = [span for span in self._memory.get_finished_spans() if span.name == name]
        return found

    def __len__(self) -> int:
        return len(self._memory.get_finished_spans())


@pytest.fixture
def made() -> Iterator[Made]:
    before = traces.CURRENT.get()
    yield Made()
    traces.CURRENT.set(before)


def test_what_runs_within_a_span_is_its_child_on_whatever_node(made: Made) -> None:
    traces.CURRENT.set("request-7")
    with made.spans.during("outer", "server"):
        along = traces.carried()
        made.spans.note("statement", "client", 0.25)
    assert traces.CURRENT.get() == "request-7"
    traces.CURRENT.set(traces.of_carried(along))  # on another node
    with (
        made.spans.within("far", "consumer") as far,
        made.spans.within("farther", "producer", trace=far.trace),
    ):
        pass
    outer = made["outer"]
    assert outer.parent is None
    for name in ("statement", "far"):
        assert made[name].parent.span_id == outer.context.span_id, name
    assert made["farther"].parent.span_id == made["far"].context.span_id
    assert {made[name].context.trace_id for name in ("statement", "far", "farther")} == {
        outer.context.trace_id
    }
    assert {made[name].attributes["collab.trace"] for name in ("outer", "far")} == {"request-7"}
    seconds = (made["statement"].end_time - made["statement"].start_time) / 1e9
    assert seconds == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("trace", ["", "request-7", "request-7 ", "request-7 of a later version"])
def test_what_nobody_has_asked_for_makes_none(made: Made, trace: str) -> None:
    traces.CURRENT.set(trace.partition(" ")[0])
    made.spans.note("statement", "client", 0.1)
    with made.spans.within("far", "consumer"):
        pass
    assert len(made) == 0
    traces.CURRENT.set(trace)
    with made.spans.during("root", "server"):
        pass
    assert made["root"].parent is None
    assert made["root"].attributes["collab.trace"] == trace.partition(" ")[0]


@pytest.mark.parametrize(
    ("header", "is_taken"),
    [
        ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", True),
        ("01-" + "a" * 32 + "-" + "b" * 16 + "-01-more", True),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "0" * 16 + "-01", False),
        ("00-" + "A" * 32 + "-" + "b" * 16 + "-01", False),
        ("00-" + "a" * 32 + "-" + "b" * 16, False),
        ("\u00e9" * 60, False),
    ],
)
def test_a_callers_span_is_the_parent_if_it_is_one(made: Made, header: str, is_taken: bool) -> None:
    with made.spans.during("call", "server", parent=header):
        pass
    parent = made["call"].parent
    assert (parent is not None) == is_taken
    assert not is_taken or (parent.trace_id, parent.span_id) == (int("a" * 32, 16), int("b" * 16, 16))


def test_a_caller_who_does_not_record_is_not_recorded(made: Made) -> None:
    with made.spans.during("call", "server", parent="00-" + "a" * 32 + "-" + "b" * 16 + "-00"):
        made.spans.note("statement", "client", 0.1)
    assert len(made) == 0


def test_of_an_error_only_its_code_is_told(made: Made) -> None:
    with pytest.raises(Forbidden), made.spans.during("refused", "server"):
        raise Forbidden("words of somebody")
    with pytest.raises(ZeroDivisionError), made.spans.during("bug", "server"):
        raise ZeroDivisionError("words of somebody")
    assert made["refused"].attributes["error.type"] == "forbidden"
    assert made["bug"].attributes["error.type"] == "ZeroDivisionError"
    for name in ("refused", "bug"):
        assert made[name].status.status_code.name == "ERROR"
        assert "words" not in made[name].to_json()


async def test_spans_of_tasks_side_by_side_do_not_mix(made: Made) -> None:
    async def one(number: int) -> None:
        with made.spans.during(f"outer {number}", "server"):
            await asyncio.sleep(0)
            made.spans.note(f"inner {number}", "client", 0.0)

    await asyncio.gather(*(one(number) for number in range(5)))
    for number in range(5):
        assert made[f"inner {number}"].parent.span_id == made[f"outer {number}"].context.span_id
