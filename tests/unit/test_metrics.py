"""What a node counts is defined, what is defined is counted, and Prometheus reads it as it is meant."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import collab_server.storage
from collab_server.config import Config
from collab_server.config.renewal import Certificates
from collab_server.ground import Ground
from collab_server.node import Node
from collab_server.storage.statements import MOST_KNOWN, OTHER, Statements, named
from collab_server.telemetry.definitions import DEFINITIONS, PREFIX
from collab_server.telemetry.metrics import Histograms, Metrics
from collab_server.workers.seat import Seat
from tests.harness.certificates import write_certificates
from tests.harness.cluster import ROOT

OF_THE_PROCESS = re.compile("(process|python_gc)_")


def a_config(**more: object) -> Config:
    values = {
        "dataSource": {"username": "u", "password": "p"},
        "authorizationServerUrl": "http://library.test/api",
        "scaling": "horizontal",
        "redisServerUrl": "redis://redis.test",
        **more,
    }
    return Config.model_validate(values)


def built(monkeypatch: pytest.MonkeyPatch, config: Config) -> Metrics:
    """What a node of this configuration tells; it is never started."""
    grounds: list[Ground] = []
    build = Ground.__init__

    def note(self: Ground, config: Config, certificates: Certificates, seat: Seat | None) -> None:
        build(self, config, certificates, seat)
        grounds.append(self)

    monkeypatch.setattr(Ground, "__init__", note)
    Node(config, Certificates(config), None, None)
    return grounds[0].metrics


def test_a_node_tells_what_is_defined_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    of_others = {name for name in DEFINITIONS if name.startswith("authority_")}  # than Library
    assert built(monkeypatch, a_config()).names == DEFINITIONS.keys() - of_others


def test_a_node_tells_for_how_long_its_certificates_are_valid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = write_certificates(tmp_path)
    told = samples(built(monkeypatch, a_config(trustedCerts=[str(files / "ca.pem")])))
    assert told['collab_certificate_days{property="trustedCerts[0]"}'] > 30


def test_names_and_labels_are_as_prometheus_wants_them() -> None:
    for name, row in DEFINITIONS.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert not name.endswith(("_total", "_bucket", "_count", "_sum")), name
        assert all(re.fullmatch(r"[a-z][a-z_]*", label) and label != "le" for label in row.labels), name
        assert (row.kind == "histogram") == bool(row.bounds), name
        assert list(row.bounds) == sorted(set(row.bounds)), name
        assert name.endswith("_seconds") or row.kind != "histogram", name
        assert not row.meaning.endswith("."), name


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda metrics: metrics.count("nothing"), "not defined"),
        (lambda metrics: metrics.time("sign_ins"), "a counter, not a histogram"),
        (lambda metrics: metrics.gauge("sign_ins", int), "a counter, not a gauge"),
        (lambda metrics: [metrics.gauge("running", int) for _ in range(2)], "told already"),
    ],
)
def test_what_is_not_defined_cannot_be_counted(wrong: object, words: str) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=words):
        wrong(Metrics())


def samples(metrics: Metrics) -> dict[str, float]:
    """What a page of Prometheus' format says, by `name{label="value"}`, as another reader of it understands it."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_counters_add_up_whoever_has_counted() -> None:
    metrics = Metrics()
    sign_ins = metrics.count("sign_ins")
    for _ in range(3):
        sign_ins.add("rest", "ok")
    errors = metrics.count("errors")
    errors.add("rest", "invalid")
    metrics.counters("errors", lambda: {("rest", "invalid"): 4, ("socketio", "paused"): 1})
    metrics.include("bus", lambda: {"published": 7, "of_its_own": 1})
    told = samples(metrics)
    assert told['collab_sign_ins_total{door="rest",outcome="ok"}'] == 3
    assert told['collab_errors_total{code="invalid",door="rest"}'] == 5
    assert told['collab_errors_total{code="paused",door="socketio"}'] == 1
    assert (told["collab_bus_published_total"], told["collab_bus_of_its_own_total"]) == (7, 1)
    assert metrics.included() == {"bus_published": 7, "bus_of_its_own": 1}


def test_a_histogram_counts_each_bound_as_prometheus_means_it() -> None:
    metrics = Metrics()
    times = metrics.time("database_wait_seconds").of("reads")
    bounds = DEFINITIONS["database_wait_seconds"].bounds
    noted = [bounds[0], bounds[1] - 1e-6, bounds[-1], bounds[-1] + 1, 0.0]
    for seconds in noted:
        times.note(seconds)
    told = samples(metrics)
    for bound in bounds:
        said = told[f'collab_database_wait_seconds_bucket{{le="{bound}",pool="reads"}}']
        assert said == sum(seconds <= bound for seconds in noted), bound
    assert told['collab_database_wait_seconds_bucket{le="+Inf",pool="reads"}'] == len(noted)
    assert told['collab_database_wait_seconds_count{pool="reads"}'] == len(noted)
    assert told['collab_database_wait_seconds_sum{pool="reads"}'] == pytest.approx(sum(noted))


def test_calls_are_counted_by_what_came_of_them_and_timed() -> None:
    metrics = Metrics()
    observe = metrics.calls("library")
    observe("GET /status", "ok", 0.003)
    observe("GET /status", "slow", 9.0)
    told = samples(metrics)
    assert told['collab_library_requests_total{call="GET /status",outcome="slow"}'] == 1
    assert told['collab_library_request_seconds_bucket{call="GET /status",le="0.005"}'] == 1
    assert told['collab_library_request_seconds_count{call="GET /status"}'] == 2


def test_who_cannot_tell_costs_one_metric_and_not_the_page(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()

    def fail() -> float:
        raise RuntimeError("of a bug")

    metrics.gauge("running", fail)
    metrics.include("bus", fail)  # type: ignore[arg-type]
    metrics.gauge("ready", lambda: 1)
    told = samples(metrics)
    assert told["collab_ready"] == 1
    assert "collab_running" not in told
    assert len(caplog.records) == 2
    caplog.clear()


def test_who_asks_too_often_gets_the_last_page_again() -> None:
    now = 0.0
    metrics = Metrics(clock=lambda: now)
    connected = 0
    read = 0

    def count() -> int:
        nonlocal read
        read += 1
        return connected

    metrics.gauge("users_current", count)
    for _ in range(1000):
        page = metrics.render()
    assert 10 <= read <= 50
    connected = 7
    assert metrics.render() == page
    now += 1
    assert b"collab_users_current 7.0" in metrics.render()
    for _ in range(3600):
        now += 0.1
        metrics.render()
    assert read < 50 + 5 * 360


def test_the_process_tells_of_itself_too() -> None:
    told = {name for name in samples(Metrics()) if not name.startswith(PREFIX)}
    assert all(OF_THE_PROCESS.match(name) for name in told)
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} <= told


# --- statements


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("BEGIN", "begin"),
        ("COMMIT", "commit"),
        ("ROLLBACK", "rollback"),
        ("\n  SELECT a FROM collab.topics WHERE b = $1", "select topics"),
        ("SELECT a FROM collab.topics JOIN collab.events USING (id) FOR UPDATE", "lock topics"),
        ("SELECT a FROM collab.topics FOR NO KEY UPDATE SKIP LOCKED", "lock topics"),
        ("UPDATE ONLY collab.jobs SET a = 1", "update jobs"),
        ("DELETE FROM collab.requests WHERE a = 1", "delete requests"),
        ("INSERT INTO collab.members (a) VALUES ($1) ON CONFLICT DO UPDATE SET a = 1", "insert members"),
        (
            "WITH a AS (UPDATE collab.topics SET b = 1), c AS (INSERT INTO collab.comments (d) VALUES (1)) SELECT",
            "insert comments",
        ),
        ("SELECT 1", OTHER),
        ("SELECT a FROM pg_catalog.pg_settings", OTHER),
    ],
)
def test_a_statement_is_named_by_what_it_does(sql: str, name: str) -> None:
    assert named(sql) == name


def test_every_statement_of_ours_has_a_name() -> None:
    texts = {
        value
        for module in pkgutil.iter_modules(collab_server.storage.__path__)
        for name, value in inspect.getmembers(importlib.import_module(f"collab_server.storage.{module.name}"))
        if isinstance(value, str) and re.search(r"\b(FROM|INTO|UPDATE)\s+collab\.", value)
    }
    assert len(texts) > 50
    names = {named(text) for text in texts}
    assert OTHER not in names
    tables = {
        table
        for file in Path(ROOT, "migrations").glob("*.sql")
        for table in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?collab\.(\w+)", file.read_text())
    }
    doing = ("insert", "update", "delete", "select", "lock")
    assert names <= {f"{does} {table}" for does in doing for table in tables}, "so there are only so many"
    assert {"insert comments", "lock topics", "select notifications"} <= names


def test_of_statements_only_so_many_are_kept() -> None:
    times = Histograms((1.0,))
    statements = Statements(times)
    for number in range(MOST_KNOWN + 10):
        statements.note(f"SELECT {number} FROM collab.topics", 0.1)
    assert sum(times.of("select topics").buckets) == MOST_KNOWN + 10
    assert len(statements._known) == MOST_KNOWN
