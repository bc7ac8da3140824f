"""The Grafana board and the alert rules ask for what nodes tell, and Prometheus answers them where there is one."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from collab_server.demo.embedded import free_port
from collab_server.demo.tied import TiedProcess
from collab_server.telemetry.definitions import DEFINITIONS
from tests.conftest import MakeCluster
from tests.harness.certificates import write_certificates
from tests.harness.clients import new_session
from tests.harness.cluster import ROOT, Cluster
from tests.harness.waiting import until

DEPLOY = ROOT / "deploy"
ALERTS, EXAMPLE = DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "prometheus" / "prometheus.yml"
BOARD = DEPLOY / "grafana" / "collab-server.json"
PAGE = ROOT / "docs" / "operations" / "monitoring.md"
OF_PROMETHEUS = {"instance", "job"}
"""Labels that it adds to what it reads."""

_SELECTOR = re.compile(r"\b((?:collab|process|python_gc)_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'\s*([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*,?')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")

Labels = Mapping[str, str]


def rules() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe").load(ALERTS)
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    board = json.loads(BOARD.read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """All of them, by where they stand; what Grafana puts in is put in."""
    asked = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
            asked[f"panel {panel['title']}, {target['refId']}"] = expression
    return asked


def selectors(query: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The metrics that a query names, each with its conditions."""
    for name, inside in _SELECTOR.findall(query):
        conditions = _MATCHER.findall(inside)
        assert len(_MATCHER.sub("", inside).strip()) == 0, query
        yield name, conditions


def holds(condition: tuple[str, str, str], labels: Labels) -> bool:
    name, how, wanted = condition
    value = labels.get(name, "")
    is_it = re.fullmatch(wanted, value) is not None if "~" in how else value == wanted
    return is_it != how.startswith("!")


def found_by(query: str, told: Mapping[str, list[Labels]]) -> list[str]:
    """What is wrong with a query: metrics that nobody tells, or not with such labels; labels that they lack.

    What must *not* be so (`outcome!="ok"`) need not have happened.
    """
    wrong = []
    names: set[str] = set(OF_PROMETHEUS)
    for name, conditions in selectors(query):
        ours = [one for one in conditions if one[0] not in OF_PROMETHEUS]
        wanted = [one for one in ours if not one[1].startswith("!")]
        if not any(all(holds(one, labels) for one in wanted) for labels in told.get(name, [])):
            wrong.append(f"nothing is told as {name} with {wanted}")
        known = {label for labels in told.get(name, []) for label in labels}
        wrong += [f"{name} has no label {one[0]}" for one in ours if one[0] not in known]
        names |= known
    for inside in _GROUPING.findall(query):
        for label in filter(None, map(str.strip, inside.split(","))):
            if label not in names:
                wrong.append(f"grouped by {label}, of which only {sorted(names)} are known")
    return wrong


@pytest_asyncio.fixture
async def busy(make_cluster: MakeCluster, tmp_path: Path, topic: str) -> Cluster:
    """Two nodes, one of everything that they tell has happened on them."""
    files = write_certificates(tmp_path)
    cluster = await make_cluster(nodes=2, overrides={"trustedCerts": [str(files / "ca.pem")]})
    for number in range(2):
        client, rest = await cluster.client(number, "ann"), await cluster.rest(number, "bob")
        await client.call("topic.subscribe", {"topic": topic})
        added = await client.call("comment.add", {"topic": topic, "text": "one"})
        await rest.request("PATCH", f"/comments/{added['comment']['id']}", {"text": "not mine"})
        await client.call("comment.edit", {"commentId": added["comment"]["id"], "text": "two"})
        await (await cluster.client(number, "bob", transport="polling")).close()
    return cluster


async def told_by(cluster: Cluster) -> dict[str, list[Labels]]:
    told: dict[str, list[Labels]] = {}
    async with new_session(keeps_cookies=False) as http:
        for node in cluster.nodes:
            async with http.get(f"{node.url}/metrics") as answer:
                for family in text_string_to_metric_families(await answer.text()):
                    for sample in family.samples:
                        told.setdefault(sample.name, []).append(sample.labels)
    return told


async def test_every_query_asks_for_what_nodes_tell(busy: Cluster) -> None:
    async def all_is_told() -> bool:
        return "collab_disconnects_total" in await told_by(busy)

    await until(all_is_told, 10, "somebody who has left is counted")
    told = await told_by(busy)
    asked = queries()
    assert len(asked) > 80
    wrong = {where: problems for where, query in asked.items() if (problems := found_by(query, told))}
    assert wrong == {}
    # The check finds what it is for.
    assert found_by("collab_nothing", told)
    assert found_by('collab_errors_total{code="unheard_of"}', told)
    assert found_by('collab_running{code!="x"}', told)
    assert found_by("sum by (command) (collab_running)", told)
    assert not found_by('sum by (instance, code) (collab_errors_total{code!~"a|b",job="x"})', told)


RARE = {
    *("strangers_put_out", "clients_overflowed", "clients_stalled", "origins_refused", "loop_held"),
    *("handed_over", "not_handed_over", "handover_strangers"),
    *("feed_repaired", "jobs_done", "jobs_failed", "jobs_lost"),
    *("channels_told", "channels_failed", "channels_dropped"),
    *("bus_dropped", "bus_missed", "bus_unknown_version", "bus_unopened", "bus_repeated", "bus_unbelieved"),
    *("bus_handler_errors", "bus_connections_lost", "bus_outages"),
    *("authority_requests", "authority_request_seconds"),
}
"""What is counted of days that are none like the others, or of other installations."""


async def test_whatever_happens_every_day_is_counted(busy: Cluster) -> None:
    everyday = [row for row in DEFINITIONS.values() if row.kind != "gauge" and row.name not in RARE]
    names = {row.name: row.exposed + ("_count" if row.kind == "histogram" else "") for row in everyday}
    lacking: set[str] = set()

    async def is_counted() -> bool:
        counted: dict[str, float] = {}
        async with new_session(keeps_cookies=False) as http:
            for node in busy.nodes:
                async with http.get(f"{node.url}/metrics") as answer:
                    for family in text_string_to_metric_families(await answer.text()):
                        for sample in family.samples:
                            counted[sample.name] = counted.get(sample.name, 0) + sample.value
        lacking.clear()
        lacking.update(name for name, exposed in names.items() if not counted.get(exposed))
        return not lacking

    await until(is_counted, 10, lambda: f"not counted: {sorted(lacking)}")


def test_legends_name_labels_and_panels_say_what_they_are_for() -> None:
    for panel in panels():
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            names = {name for name, _ in selectors(target["expr"])}
            has = {
                label
                for row in DEFINITIONS.values()
                if any(name.startswith(row.exposed) for name in names)
                for label in row.labels
            }
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert legend <= has | OF_PROMETHEUS, panel["title"]
    numbers = [panel["id"] for panel in json.loads(BOARD.read_text())["panels"]]
    assert len(numbers) == len(set(numbers))


def test_each_alert_says_what_is_wrong_and_has_its_line_in_the_page() -> None:
    alerts = [rule["alert"] for rule in rules()]
    assert len(alerts) == len(set(alerts))
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
    rows = re.findall(r"^\| `(Collab\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(alerts)


PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool here (Debian: prometheus)")
def test_promtool_takes_rules_and_example() -> None:
    for command in (["rules", ALERTS], ["config", EXAMPLE]):
        done = subprocess.run(
            [str(PROMTOOL), "check", *map(str, command)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


SO = 'instance="a",job="collab"'
FIRED_BY: dict[str, list[tuple[str, str, str]]] = {
    "CollabNodeDown": [(f"up{{{SO}}}", "0x40", "1x40")],
    "CollabWritesStopped": [(f"collab_serving_writes{{{SO}}}", "0x40", "1x40")],
    "CollabLiveStopped": [
        (f"collab_serving_live{{{SO}}}", "0x40", "1x40"),
        (f"collab_serving_writes{{{SO}}}", "1x40", "1x40"),
    ],
    "CollabDependencyAway": [(f'collab_dependency_up{{{SO},service="Library"}}', "0x40", "1x40")],
    "CollabNodesApart": [
        (f"collab_cluster_nodes{{{SO}}}", "0x40", "1x40"),
        (f"collab_running{{{SO}}}", "1x40", "1x40"),
        ('collab_running{instance="b",job="collab"}', "1x40", "1x40"),
    ],
    "CollabHomesUnreachable": [(f"collab_homes_unreachable{{{SO}}}", "1x40", "0x40")],
    "CollabBugs": [(f'collab_errors_total{{{SO},door="rest",code="internal"}}', "0x30 1x10", "1x40")],
    "CollabSlow": [
        (f'collab_command_seconds_bucket{{{SO},command="me",door="rest",le="1.0"}}', "0+60x40", "0+100x40"),
        (f'collab_command_seconds_bucket{{{SO},command="me",door="rest",le="2.5"}}', "0+100x40", "0+100x40"),
        (f'collab_command_seconds_bucket{{{SO},command="me",door="rest",le="+Inf"}}', "0+100x40", "0+100x40"),
        (f'collab_command_seconds_count{{{SO},command="me",door="rest"}}', "0+100x40", "0+100x40"),
    ],
    "CollabDatabaseBusy": [(f'collab_database_waiting{{{SO},pool="writes"}}', "3x40", "3 0x39")],
    "CollabWritesHeldUp": [
        (f'collab_errors_total{{{SO},door="rest",code="paused"}}', "0+60x40", "0+60x40"),
        (f"collab_serving_writes{{{SO}}}", "1x40", "0x40"),
    ],
    "CollabClockWrong": [(f"collab_database_clock_ahead_seconds{{{SO}}}", "-90x40", "0.5x40")],
    "CollabLoopHeld": [(f"collab_loop_held_seconds{{{SO}}}", "0.3x40", "0.01x40")],
    "CollabSignInsRefused": [
        (f'collab_sign_ins_total{{{SO},door="rest",outcome="ok"}}', "0+10x40", "0+60x40"),
        (f'collab_sign_ins_total{{{SO},door="rest",outcome="unavailable"}}', "0+60x40", "0+10x40"),
    ],
    "CollabLibraryFaults": [
        (f'collab_library_requests_total{{{SO},call="GET /x",outcome="ok"}}', "0+60x40", "0+60x40"),
        (f'collab_library_requests_total{{{SO},call="GET /x",outcome="slow"}}', "0+20x40", "0+1x40"),
    ],
    "CollabEventsLate": [
        (f"collab_feed_repaired_total{{{SO}}}", "0+60x40", "5x40"),
        (f"collab_serving_live{{{SO}}}", "1x40", "1x40"),
    ],
    "CollabNotificationsWait": [(f"collab_undelivered_people{{{SO}}}", "2x40", "2x35 0x5")],
    "CollabStrangersPutOut": [(f'collab_strangers_put_out_total{{{SO},kind="session"}}', "0+5x40", "7x40")],
    "CollabBusUnopened": [(f"collab_bus_unopened_total{{{SO}}}", "0+1x40", "3x40")],
    "CollabJobsFail": [(f"collab_jobs_failed_total{{{SO}}}", "0+1x40", "0x39 1")],
    "CollabFilesRunOut": [
        (f"process_open_fds{{{SO}}}", "900x40", "100x40"),
        (f"process_max_fds{{{SO}}}", "1000x40", "1000x40"),
    ],
    "CollabCertificateExpires": [
        (f'collab_certificate_days{{{SO},property="publicCertFile"}}', "20x40", "90x40")
    ],
    "CollabCertificateExpiresSoon": [
        (f'collab_certificate_days{{{SO},property="publicCertFile"}}', "1x40", "20x40")
    ],
}
"""What makes each alert fire, and what does not: series, and their values each minute for both."""


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool here (Debian: prometheus)")
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    assert FIRED_BY.keys() == {rule["alert"] for rule in rules()}
    tests = [
        {
            "name": f"{rule['alert']}, {'fires' if fires else 'is calm'}",
            "interval": "1m",
            "input_series": [
                {"series": series, "values": bad if fires else good}
                for series, bad, good in FIRED_BY[rule["alert"]]
            ],
            "promql_expr_test": [
                {
                    "expr": f"count({rule['expr']}) > bool 0",
                    "eval_time": "38m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for rule in rules()
        for fires in (True, False)
    ]
    path = tmp_path / "alerts.test.yml"
    YAML(typ="safe").dump({"rule_files": [str(ALERTS)], "tests": tests}, path)
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMETHEUS is None, reason="there is no Prometheus here (Debian: prometheus)")
async def test_prometheus_answers_every_query(busy: Cluster, tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    config = yaml.load(EXAMPLE)
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ALERTS)]
    targets = [f"127.0.0.1:{node.port}" for node in busy.nodes]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    path = tmp_path / "prometheus.yml"
    yaml.dump(config, path)
    port = free_port()
    with (tmp_path / "prometheus.log").open("wb") as log:
        command = [
            str(PROMETHEUS),
            f"--config.file={path}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        process = TiedProcess(command, output=log)
        try:
            await _ask_all(f"http://127.0.0.1:{port}/api/v1", len(targets))
        finally:
            await asyncio.to_thread(process.stop)


async def _ask_all(api: str, nodes: int) -> None:
    async with new_session() as http:

        async def ask(query: str) -> list[dict[str, Any]]:
            async with http.get(f"{api}/query", params={"query": query}) as answer:
                said = await answer.json()
                assert said["status"] == "success", f"{query}: {said}"
                return list(said["data"]["result"])

        async def has_scraped() -> bool:
            try:
                async with http.get(f"{api.removesuffix('/api/v1')}/-/ready") as answer:
                    if answer.status != 200:
                        return False
            except OSError:
                return False  # it has not started yet
            found = await ask("count_over_time(collab_running[1m])")
            return len(found) == nodes and all(float(one["value"][1]) >= 3 for one in found)

        await until(has_scraped, 30, "Prometheus has read from all nodes")
        answers = {where: await ask(query) for where, query in queries().items()}
        silent = [where for where, found in answers.items() if where.startswith("panel") and not found]
        firing = [where for where, found in answers.items() if where.startswith("alert") and found]
        assert silent == []
        assert firing == []
        async with http.get(f"{api}/rules") as answer:
            groups = (await answer.json())["data"]["groups"]
        unwell = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
        assert unwell == []
