"""The files of deploy/kubernetes are what Kubernetes takes, agree with each other, and with what a node serves."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from collab_server.config import LoadedConfig, load_config
from collab_server.demo.embedded import EmbeddedValkey
from collab_server.realtime import door
from collab_server.realtime.lean import adapter
from tests.e2e.deployed import KUBERNETES, ROOT, Manifest, kustomized
from tests.faults.proxy import Proxy
from tests.harness.certificates import authority, write_certificates
from tests.harness.cluster import Node
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase
from tests.snippets.blocks import BLOCKS

RENDERED = ("overlays/autoscaling", "overlays/tls", "overlays/external", "base")
"""What can be applied; the components are in them."""
EVERYTHING = "overlays/autoscaling"
VERSIONS = ("1.30", "1.37")
"""The oldest that has all that is used, and a new one."""
OF_OPERATORS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of which Kubernetes itself knows nothing."""
LOG_OUT_SECONDS = 3
"""What a node gives its last calls of Library."""


def the(kind: str, folder: str = EVERYTHING) -> Manifest:
    [found] = [manifest for manifest in kustomized(folder) if manifest["kind"] == kind]
    return found


def pod(folder: str = EVERYTHING) -> Manifest:
    spec: Manifest = the("Deployment", folder)["spec"]["template"]["spec"]
    return spec


def container(folder: str = EVERYTHING) -> Manifest:
    [only] = pod(folder)["containers"]
    return dict(only)


def test_kubernetes_takes_every_file() -> None:
    seen: list[Manifest] = []
    for folder in RENDERED:
        for manifest in kustomized(folder):
            if manifest["kind"] in OF_OPERATORS or manifest in seen:
                continue
            seen.append(manifest)
            for version in VERSIONS if folder == EVERYTHING else VERSIONS[-1:]:
                kubernetes_validate.validate(manifest, version, strict=True)
    # It would have said so.
    wrong = {**the("Service"), "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_is_part_of_something() -> None:
    named = {KUBERNETES / folder / "kustomization.yaml" for folder in RENDERED}
    for kustomization in [*named, *KUBERNETES.glob("components/*/kustomization.yaml")]:
        named.add(kustomization)
        loaded = YAML(typ="safe").load(kustomization)
        files = [*loaded.get("resources", []), *loaded.get("components", [])]
        files += [patch["path"] for patch in loaded.get("patches", [])]
        files += [file for made in loaded.get("configMapGenerator", []) for file in made["files"]]
        for name in files:
            found = (kustomization.parent / name).resolve()
            named.add(found / "kustomization.yaml" if found.is_dir() else found)
    assert named == {path for path in KUBERNETES.rglob("*") if path.is_file()}


def test_alerts_of_the_operator_are_those_of_prometheus() -> None:
    """One is made of the other; docs/generate.py --check says so as well."""
    alerts = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "alerts.yml")
    assert the("PrometheusRule")["spec"] == alerts
    jobs = set(re.findall(r'job="(\w+)"', json.dumps(alerts).replace('\\"', '"')))
    monitor = the("ServiceMonitor")["spec"]
    assert {the("Service")["metadata"]["labels"][monitor["jobLabel"]]} == jobs


@pytest.mark.parametrize("folder", RENDERED)
def test_what_selects_nodes_selects_them_and_ports_have_names(folder: str) -> None:
    deployment, labels = the("Deployment", folder), the("Deployment", folder)["spec"]["template"]["metadata"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        the("Service", folder)["spec"]["selector"],
        the("PodDisruptionBudget", folder)["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy", folder)["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod(folder)["topologySpreadConstraints"]),
    ]
    assert all(selector and selector.items() <= labels["labels"].items() for selector in selectors)
    assert the("ServiceAccount", folder)["metadata"]["name"] == pod(folder)["serviceAccountName"]
    port, handover = container(folder)["ports"]
    [service_port] = the("Service", folder)["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    assert port["containerPort"] == config_in(folder)["port"]
    for probe in probes(folder).values():
        assert probe["port"] == port["name"]
    clients, nodes = the("NetworkPolicy", folder)["spec"]["ingress"]
    assert clients["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    # What nodes hand over to each other goes from node to node alone.
    assert config_in(folder)["advertise"] == f":{handover['containerPort']}"
    assert nodes["ports"] == [{"port": handover["name"], "protocol": "TCP"}]
    assert nodes["from"] == [{"podSelector": the("Deployment", folder)["spec"]["selector"]}]
    outgoing = the("NetworkPolicy", folder)["spec"]["egress"][-1]
    assert outgoing == {"to": nodes["from"], "ports": nodes["ports"]}


def test_what_leads_to_the_service_names_its_port_and_the_autoscaler_names_the_nodes() -> None:
    service = the("Service")
    [port] = service["spec"]["ports"]
    [rule] = the("Ingress")["spec"]["rules"]
    for path in rule["http"]["paths"]:
        wanted = {"name": service["metadata"]["name"], "port": {"name": port["name"]}}
        assert path["backend"]["service"] == wanted
    monitor = the("ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    [endpoint] = monitor["endpoints"]
    assert endpoint["port"] == port["name"]
    # With TLS all who ask a node speak it.
    schemes = {probe["scheme"].lower() for probe in probes(EVERYTHING).values()}
    assert {endpoint["scheme"], port["appProtocol"], *schemes} == {"https"}
    deployment, scaler = the("Deployment"), the("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "it would be set back by each apply"
    assert the("Deployment", "overlays/tls")["spec"]["replicas"] > 1


def test_nodes_are_more_soon_and_fewer_seldom_and_one_at_a_time() -> None:
    """Each that goes sends its clients elsewhere, and one more than needed is there always."""
    scaler = the("HorizontalPodAutoscaler")["spec"]
    assert 1 < scaler["minReplicas"] < scaler["maxReplicas"]
    up, down = (scaler["behavior"][way] for way in ("scaleUp", "scaleDown"))
    for policy in down["policies"]:
        assert (policy["type"], policy["value"]) == ("Pods", 1)
        assert policy["periodSeconds"] >= 2 * pod()["terminationGracePeriodSeconds"]
    assert up["stabilizationWindowSeconds"] < down["stabilizationWindowSeconds"]
    assert min(policy["periodSeconds"] for policy in down["policies"]) > max(
        policy["periodSeconds"] for policy in up["policies"]
    )
    assert the("Deployment", "base")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert the("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1, "with 0 no machine could be emptied"


def test_a_node_may_do_nothing_that_it_need_not() -> None:
    for folder in RENDERED:
        spec, node = pod(folder), container(folder)
        users = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("USER ")]
        assert {f"USER {spec['securityContext']['runAsUser']}"} == set(users)
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert node["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["automountServiceAccountToken"] is False
        assert all(mount["readOnly"] for mount in node["volumeMounts"])


def test_no_service_of_the_namespace_can_change_a_setting() -> None:
    """Kubernetes would tell a pod the address of each by COLLAB_PORT and the like."""
    assert not pod()["enableServiceLinks"]
    with pytest.raises(Exception, match="port"):
        load_config(None, {"COLLAB_PORT": "tcp://10.0.0.1:3000"})


def test_a_node_has_time_to_drain_after_it_is_in_no_list_any_more() -> None:
    draining = door.DRAIN_SECONDS + adapter.GRACEFUL_SECONDS + LOG_OUT_SECONDS
    for folder in RENDERED:
        before = container(folder)["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert before > 0
        assert pod(folder)["terminationGracePeriodSeconds"] >= before + 2 * draining


def test_a_node_that_waits_for_postgresql_is_not_started_again_and_again() -> None:
    for folder in RENDERED:
        startup = container(folder)["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800


# --- settings


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a pod finds in its folders, put into others."""

    folder: Path

    def at(self, path: str) -> str:
        return f"{self.folder}{path}"

    def write(self, folder: str, *, redis_url: str, password: str = "only-for-tests") -> None:
        """The config.json, the Secret that the page says, and certificates."""
        given = {
            "database-password": password,
            "redis-url": redis_url,
            "secret": "0123456789abcdef0123456789abcdef",
            "status-token": "0123456789abcdef",
        }
        keys = BLOCKS["docs/operations/kubernetes.md sh 0"].code
        assert given.keys() == set(re.findall(r"--from-(?:literal|file)=([\w-]+)=", keys))
        certificates = write_certificates(self.folder)
        for volume in pod(folder)["volumes"]:
            [mount] = [
                one["mountPath"] for one in container(folder)["volumeMounts"] if one["name"] == volume["name"]
            ]
            place = Path(self.at(mount))
            place.mkdir(parents=True)
            kept = volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get("name")
            if kept.endswith("-tls"):
                (place / "tls.crt").write_bytes((certificates / "cert.pem").read_bytes())
                (place / "tls.key").write_bytes((certificates / "key.pem").read_bytes())
            elif kept.endswith("-ca"):
                for name in ("postgres.pem", "redis.pem"):
                    (place / name).write_bytes((certificates / "ca.pem").read_bytes())
            elif "secret" in volume:
                for name, value in given.items():
                    (place / name).write_text(value)
            else:
                assert kept == the("ConfigMap", folder)["metadata"]["name"]
                text = the("ConfigMap", folder)["data"]["config.json"]
                (place / "config.json").write_text(self.put_in(text))

    def put_in(self, text: str) -> str:
        """The same text with these folders for those of a pod."""
        return text.replace("/etc/collab", self.at("/etc/collab"))

    def environment(self, folder: str) -> dict[str, str]:
        return {one["name"]: self.put_in(one["value"]) for one in container(folder)["env"]}


def config_in(folder: str) -> Mapping[str, Any]:
    loaded: dict[str, Any] = json.loads(the("ConfigMap", folder)["data"]["config.json"])
    return loaded


def probes(folder: str) -> dict[str, Manifest]:
    """startup, readiness and liveness: what each asks."""
    node = container(folder)
    return {kind: node[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}


def loaded(folder: str, where: Path, redis_url: str) -> LoadedConfig:
    mounted = Mounted(where)
    mounted.write(folder, redis_url=redis_url)
    environment = mounted.environment(folder)
    return load_config(Path(environment["COLLAB_CONFIG"]), environment)


@pytest.mark.parametrize("folder", RENDERED)
def test_settings_are_whole_and_their_addresses_are_let_through(folder: str, tmp_path: Path) -> None:
    is_inside = folder == "base"
    scheme, host = ("redis", "redis") if is_inside else ("rediss", "redis.example.com")
    config, warnings, _ = loaded(folder, tmp_path, f"{scheme}://collab:secret@{host}:6379")
    # Inside of a namespace nothing is encrypted; with the overlays everything is.
    expected = {"authorizationServerUrl", "dataSource.host", "redisServerUrl"} if is_inside else set()
    assert {problem.property for problem in warnings} <= expected, warnings
    assert config.redis is not None
    assert config.secret is not None
    assert config.statusToken is not None
    assert config.authorizationServerUrl is not None
    library = urlsplit(config.authorizationServerUrl)
    wanted = {
        config.dataSource.port,
        6379,
        library.port or {"http": 80, "https": 443}[library.scheme],
        53,
        "handover",
    }
    egress = the("NetworkPolicy", folder)["spec"]["egress"]
    ports = [(port["port"], port["protocol"]) for rule in egress for port in rule["ports"]]
    assert {port for port, _ in ports} == wanted
    assert {protocol for port, protocol in ports if port == 53} == {"UDP", "TCP"}, "long answers come by TCP"
    assert config.enableTls == (folder in ("overlays/tls", "overlays/autoscaling"))


# --- nodes


class Pod:
    """A node with the very settings of a folder; only its port and the folders are others."""

    def __init__(
        self,
        folder: str,
        where: Path,
        redis_url: str,
        *,
        password: str = "only-for-tests",
        more: Mapping[str, str] | None = None,
    ) -> None:
        """`more` are variables besides those of the pod."""
        self._folder = folder
        mounted = Mounted(where)
        mounted.write(folder, redis_url=redis_url, password=password)
        environment = mounted.environment(folder)
        config = json.loads(Path(environment.pop("COLLAB_CONFIG")).read_text())
        del config["port"]
        self.node = Node(where / "node", config, launch="serve", env={**environment, **(more or {})})

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and text of an answer; 0 while there is none."""
        scheme = probes(self._folder)["liveness"].get("scheme", "HTTP").lower()
        trusting = ssl.create_default_context(cadata=authority().cert_pem.bytes().decode())

        def get() -> tuple[int, str]:
            try:
                url = f"{scheme}://127.0.0.1:{self.node.port}{path}"
                with urllib.request.urlopen(url, timeout=5, context=trusting) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code, refused.read().decode()
            except OSError:
                return 0, ""

        return await asyncio.to_thread(get)

    async def probed(self) -> dict[str, bool]:
        """Which probes kubelet would take for a success."""
        answers = {kind: await self.ask(probe["path"]) for kind, probe in probes(self._folder).items()}
        return {kind: 200 <= status < 400 for kind, (status, _) in answers.items()}

    async def until_probed(self, **wanted: bool) -> None:
        async def are_so() -> bool:
            assert self.node.is_running, self.node.log_tail()
            return await self.probed() == wanted

        await until(are_so, 20, lambda: f"{wanted}; log:\n{self.node.log_tail()}")


@pytest.fixture
def behind(database: TestDatabase) -> Iterator[Proxy]:
    """What leads to PostgreSQL, and does not yet."""
    with Proxy((database.server.host, database.server.port)) as proxy:
        proxy.refuse()
        yield proxy


async def test_a_node_gets_clients_once_postgresql_is_there_and_keeps_them_when_it_goes(
    behind: Proxy, database: TestDatabase, library: StandInLibrary, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    host, port = behind.address
    there = {
        "COLLAB_DATASOURCE__HOST": host,
        "COLLAB_DATASOURCE__PORT": str(port),
        "COLLAB_DATASOURCE__USERNAME": database.server.user,
        "COLLAB_DATASOURCE__DATABASE": database.name,
        "COLLAB_AUTHORIZATIONSERVERURL": library.url,
    }
    one = Pod("base", tmp_path, valkey.url, password=database.server.password, more=there)
    one.node.spawn()
    try:
        await one.until_probed(startup=False, readiness=True, liveness=True)
        behind.heal()
        await one.until_probed(startup=True, readiness=True, liveness=True)
        assert (await one.node.status())["state"] == "running"
        behind.refuse()
        behind.cut()
        await one.until_probed(startup=False, readiness=True, liveness=True)
        assert (await one.node.status())["state"] == "paused"
        assert await one.node.stop() == 0
    finally:
        if one.node.is_running:
            await one.node.kill()


async def test_a_node_serves_what_is_asked_of_it_by_tls(tmp_path: Path) -> None:
    one = Pod(EVERYTHING, tmp_path, "rediss://collab:secret@127.0.0.1:1")
    one.node.spawn()
    try:
        await one.until_probed(startup=False, readiness=True, liveness=True)
        [endpoint] = the("ServiceMonitor")["spec"]["endpoints"]
        status, told = await one.ask(endpoint["path"])
        assert status == 200
        for metric in the("HorizontalPodAutoscaler")["spec"]["metrics"]:
            if metric["type"] == "Pods":
                assert re.search(rf"^{metric['pods']['metric']['name']} \d", told, re.MULTILINE)
        [rule] = the("Ingress")["spec"]["rules"]
        paths = {path["path"]: path["pathType"] for path in rule["http"]["paths"]}
        for path, kind in paths.items():
            below = {
                "/socket.io": "/socket.io/?EIO=4&transport=polling",
                "/api": "/api/me",
                "/clients": "/clients/collab-client/index.js",
                "/health": "/health/live",
            }
            assert kind == ("Prefix" if path in below else "Exact"), path
            status, _ = await one.ask(below.get(path, path))
            assert status not in (0, 404), path
        assert not [path for path in paths if "/metrics".startswith(path) or "/docs".startswith(path)]
        one.node.process.send(signal.SIGTERM)
        await until(lambda: one.node.process.returncode is not None, 15, one.node.log_tail)
        assert one.node.process.returncode == 0
    finally:
        if one.node.is_running:
            await one.node.kill()
