"""The files of a deployment are what their tools expect, and agree with each other."""

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ruamel.yaml import YAML
from typing_extensions import override

from collab_server.config import load_config
from collab_server.domain.addresses import Addresses
from collab_server.domain.topics import MOST_WAIT_SECONDS
from collab_server.realtime.server import PING_INTERVAL_SECONDS, PING_TIMEOUT_SECONDS
from tests.e2e.deployed import ROOT
from tests.harness.certificates import write_certificates

SCRIPTS = Path(sys.executable).parent
HEALTHCHECK = ROOT / "deploy" / "healthcheck.py"


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, **more)


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return loaded


def test_compose_file_follows_the_compose_schema() -> None:
    done = run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_has_nothing_a_linter_minds() -> None:
    done = run(SCRIPTS / "hadolint", "--no-color", "--failure-threshold", "style", "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_image_runs_as_an_ordinary_user_and_gets_sigterm_itself() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in lines
    assert "STOPSIGNAL SIGTERM" in lines
    assert lines[-1] == 'CMD ["collab-server", "serve"]'


def test_what_the_image_is_made_of_exists_and_reaches_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                name = source.removeprefix("./")
                assert (ROOT / name).exists(), name
                assert name in allowed


def test_nodes_of_compose_are_looked_after_as_those_of_the_image() -> None:
    """Some builders drop what the image says."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    [check] = [line for line in lines if line.startswith("HEALTHCHECK ")]
    repeated = compose()["services"]["node1"]["healthcheck"]
    assert json.loads(check.partition(" CMD ")[2]) == repeated["test"][1:]
    for name, value in repeated.items():
        if name != "test":
            assert f"--{name.replace('_', '-')}={value}" in check.split()


def test_every_service_is_waited_for_until_it_is_healthy() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, f"{name} → {needed}"
            has_check = (
                "healthcheck" in services[needed] or services[needed]["image"] == "collaboration-server"
            )
            assert has_check, f"{needed} has no health check"


def test_the_three_nodes_differ_in_nothing_and_have_time_to_drain() -> None:
    services = compose()["services"]
    assert services["node1"] == services["node2"] == services["node3"]
    assert int(services["node1"]["stop_grace_period"].removesuffix("s")) > 10


def test_only_nginx_is_reached_from_outside_and_nothing_else_reaches_out() -> None:
    whole = compose()
    inside = {name for name, network in whole["networks"].items() if network and network.get("internal")}
    open_ones = {
        name
        for name, service in whole["services"].items()
        if service.get("ports") or "network_mode" in service or not inside.issuperset(service["networks"])
    }
    assert open_ones == {"nginx"}


def test_every_file_that_compose_mounts_exists() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), source


def test_the_variables_in_the_compose_file_make_a_valid_configuration(tmp_path: Path) -> None:
    environment = compose()["services"]["node1"]["environment"]
    default_password = "${POSTGRES_PASSWORD:-only-for-trying}"
    assert environment["COLLAB_DATASOURCE__PASSWORD"] == default_password
    assert compose()["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == default_password
    valkey, valkey_password = compose()["services"]["valkey"], "${VALKEY_PASSWORD:-only-for-trying}"
    assert valkey["command"][-2:] == ["--requirepass", valkey_password]
    assert valkey["environment"]["REDISCLI_AUTH"] == valkey_password
    assert environment["COLLAB_REDISSERVERURL"] == f"redis://:{valkey_password}@valkey:6379"
    (tmp_path / "config.json").write_text("{}")
    loaded = load_config(tmp_path / "config.json", environment)
    # Compose keeps these to a network of its own, where nothing listens in.
    in_clear = {"authorizationServerUrl", "dataSource.host", "secret"}
    assert {problem.property for problem in loaded.warnings} <= in_clear
    assert loaded.config.redis is not None
    assert loaded.config.database.host == "postgres"


def test_nodes_of_compose_believe_nginx_wherever_docker_puts_it(tmp_path: Path) -> None:
    """Otherwise all clients come from one address, and share what one address may."""
    environment = compose()["services"]["node1"]["environment"]
    (tmp_path / "config.json").write_text("{}")
    config = load_config(tmp_path / "config.json", environment).config
    proxies = Addresses(config.trustedProxies)
    docker = [
        "172.17.0.2",
        "172.18.0.9",
        "172.31.255.254",
        "192.168.0.2",
        "192.168.240.7",
        "10.0.0.2",
        "10.89.0.4",
    ]
    assert [address for address in docker if not proxies.is_proxy(address)] == []
    assert not any(map(proxies.is_proxy, ["172.32.0.1", "172.15.0.1", "11.0.0.1", "203.0.113.5"]))


# --- what all load balancers have to do

BALANCERS = sorted(
    [*(ROOT / "deploy" / "nginx").glob("*.conf"), *(ROOT / "deploy" / "haproxy").glob("*.cfg")]
)
_SILENCES = re.compile(
    r"^\s*(?:proxy_(?:read|send)_timeout|timeout (?:client|server|tunnel))\s+(\S+?);?$", re.MULTILINE
)
_LARGEST = re.compile(r"^\s*client_max_body_size\s+(\d+)([km]);$", re.MULTILINE)


@pytest.mark.parametrize("file", BALANCERS, ids=lambda file: file.name)
def test_a_balancer_leaves_it_to_the_node_who_is_silent_for_too_long_and_what_is_too_large(
    file: Path,
) -> None:
    text, config = file.read_text(), load_config(ROOT / "config.json.example", {}).config
    if "/socket.io" not in text:
        return  # is a part of another one
    silences = _SILENCES.findall(text)
    assert silences, "one minute of NGINX itself is hardly more, and HAProxy has none"
    longest = max(PING_INTERVAL_SECONDS + PING_TIMEOUT_SECONDS, MOST_WAIT_SECONDS)
    for silence in silences:
        assert silence.endswith("s")
        assert float(silence.removesuffix("s")) > longest + 10
    if file.suffix == ".conf" and "/api/" in text:
        [(number, unit)] = _LARGEST.findall(text)
        assert int(number) * {"k": 2**10, "m": 2**20}[unit] > config.limits.packetBytes


@pytest.fixture
def ready_server() -> Any:
    """`start(status)` serves that status at /health/ready, with an `ssl.SSLContext` by TLS, and returns the port."""
    started: list[ThreadingHTTPServer] = []

    def start(status: int, tls: ssl.SSLContext | None = None) -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/health/ready" else 404)
                self.end_headers()

            @override
            def log_message(self, *_: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        started.append(server)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server.server_port

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_container_is_healthy_exactly_while_its_node_is_ready(
    ready_server: Callable[[int], int], status: int, exit_code: int
) -> None:
    port = ready_server(status)
    done = run(sys.executable, HEALTHCHECK, env={"COLLAB_PORT": str(port)})
    assert done.returncode == exit_code, done.stderr


def test_container_health_asks_a_node_with_tls_whatever_its_certificate_names(
    ready_server: Callable[..., int], tmp_path: Path
) -> None:
    files = write_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files / "cert.pem", files / "key.pem")
    port = ready_server(200, context)
    done = run(sys.executable, HEALTHCHECK, env={"COLLAB_PORT": str(port), "COLLAB_ENABLETLS": "true"})
    assert done.returncode == 0, done.stderr
    assert run(sys.executable, HEALTHCHECK, env={"COLLAB_PORT": str(port)}).returncode == 1


def test_container_health_takes_the_port_from_the_configuration_file(
    ready_server: Callable[[int], int], tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"port": ready_server(200)}))
    assert run(sys.executable, HEALTHCHECK, env={"COLLAB_CONFIG": str(config)}).returncode == 0
