"""Plays docker-compose.yml for real: `make compose`, or `python -m tests.containers --help`.

It builds the Dockerfile, starts the unchanged file by podman, looks at what the containers may do, plays the
conversation of `demo --check` on them, kills a node under a client, and says at the end what was not as it would be
elsewhere. Needs root, Debian's podman, and a way to Debian's packages and PyPI; the registry of images it does not
need.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from collab_client import Client, library
from collab_server.demo.check import play
from collab_server.demo.embedded import free_port
from tests.containers.engine import Engine, EngineError
from tests.containers.machine import Machine
from tests.containers.stand_ins import PYTHON, make_images
from tests.e2e.deployed import kustomized

PROJECT = "collaboration"
INSIDE, OUTSIDE = f"{PROJECT}_inside", f"{PROJECT}_outside"
NODES = ("node1", "node2", "node3")
SERVICES = ("postgres", "valkey", "library", *NODES, "nginx")
DASHBOARD = ("content:F0000000000000000000000000000001:DA000000000000000000000000000001", "Sales overview")
HEALTHY_SECONDS = 90
BACK_SECONDS = 30
LOOK_SECONDS = 0.5


class Failed(Exception):
    """Something was not as it should be; the text says what."""


class Container:
    """One container of the project; a part of the `Stage`."""

    def __init__(self, engine: Engine, service: str) -> None:
        self._engine = engine
        self.service = service
        names = engine.run(
            *(
                "ps",
                "--all",
                "--format",
                "{{.Names}}",
                "--filter",
                f"label=com.docker.compose.project={PROJECT}",
            ),
            *("--filter", f"label=com.docker.compose.service={service}"),
        )
        if len(names.split()) != 1:
            raise Failed(f"{service} has these containers: {names.split()}")
        self.name = names.strip()

    @property
    def state(self) -> dict[str, Any]:
        """What the engine says of its process."""
        return dict(self._engine.inspect(self.name)["State"])

    @property
    def address(self) -> str:
        """In the network of the nodes."""
        return str(self._engine.inspect(self.name)["NetworkSettings"]["Networks"][INSIDE]["IPAddress"])

    @property
    def hostname(self) -> str:
        """What a node's name begins with."""
        return str(self._engine.inspect(self.name)["Config"]["Hostname"])

    @property
    def url(self) -> str:
        """Of a node."""
        return f"http://{self.address}:3000"

    def status(self) -> dict[str, Any] | None:
        """Of a node: its `/status`, or None when it does not answer."""
        try:
            code, text = get(self.address, 3000, "/status")
            return dict(json.loads(text)) if code == 200 else None
        except (OSError, ValueError, EngineError):
            return None

    def is_healthy(self) -> bool:
        """By its own health check, asked now."""
        return self._engine.succeeds("healthcheck", "run", self.name)

    def kill(self) -> None:
        """End it at once."""
        self._engine.run("kill", self.name)

    def start(self) -> None:
        """Start it again."""
        self._engine.run("start", self.name)

    def stop(self) -> int:
        """Stop it with the time that the file gives it; the exit status."""
        self._engine.run("stop", self.name)
        return int(self.state["ExitCode"])


class Composed:
    """What docker-compose.yml makes, as a `Stage`."""

    def __init__(self, engine: Engine) -> None:
        self.containers = {service: Container(engine, service) for service in SERVICES}
        self.nodes = [self.containers[name] for name in NODES]
        self.valkey = self.containers["valkey"]
        self.dashboards = [DASHBOARD]
        self.library_url = f"http://{self.containers['library'].address}:8080/MicroStrategyLibrary/api"


class Play:
    """The steps, one after the other; each says what came of it."""

    def __init__(self, engine: Engine, port: int) -> None:
        self._engine = engine
        self._port = port
        self.changed: list[str] = []

    def images(self) -> str:
        """Make the stand-ins, and build what is ours on them."""
        self.changed += make_images(self._engine)
        for service in ("node1", "library"):  # the other nodes have the same image
            self._engine.compose("build", service)
        sizes = {}
        for name in ("collaboration-server", "collaboration-library", PYTHON):
            [found] = json.loads(self._engine.run("image", "inspect", name))
            sizes[name] = found["Size"] / 1e6
        ours = {name: size - sizes[PYTHON] for name, size in sizes.items() if name != PYTHON}
        return ", ".join(f"{name} adds {size:.0f} MB" for name, size in ours.items())

    def lean(self) -> str:
        """The image of a node has no demo, no pip and no compiler in it."""
        image = ("run", "--rm", "--network", "none", "collaboration-server")
        for absent in ("collab_server.demo", "pip"):
            code = f"import importlib.util as u, sys; sys.exit(u.find_spec({absent!r}) is not None)"
            if not self._engine.succeeds(*image, "/opt/collab/bin/python", "-c", code):
                raise Failed(f"there is {absent} in it")
        version = self._engine.run(*image, "collab-server", "--version").strip()
        return f"{version}, without the demo and pip"

    def workers(self) -> str:
        """A node with workers runs where it can write nowhere. Docker and Kubernetes lend no /tmp, podman does."""
        name = f"{PROJECT}_workers"
        self._engine.run(
            *(
                "run",
                "--detach",
                "--name",
                name,
                "--network",
                "none",
                "--read-only",
                "--read-only-tmpfs=false",
            ),
            *("--cap-drop", "all", "--env", "COLLAB_CPUS=2", "--env", "COLLAB_SCALING=vertical"),
            "collaboration-server",
        )
        code = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/status').read().decode())"
        ask = ("exec", name, "/opt/collab/bin/python", "-c", code)
        try:
            self._wait(lambda: self._engine.succeeds(*ask), BACK_SECONDS, "the workers answer")
            status = json.loads(self._engine.run(*ask))
            self._engine.run("stop", "--time", "15", name)
            ended = self._engine.inspect(name)["State"]["ExitCode"]
        finally:
            self._engine.run("rm", "--force", "--time", "1", name)
        if (status["scaling"], ended) != ("vertical", 0):
            raise Failed(f"scaling is {status['scaling']}, and it ended with {ended}")
        return "two workers, nothing to write to, ended with 0"

    def up(self) -> str:
        """Start everything, and wait until each says that it is healthy."""
        began = time.monotonic()
        self._engine.compose("up", "--detach", "--no-build")
        self.stage = Composed(self._engine)
        for container in self.stage.containers.values():
            self._wait(container.is_healthy, HEALTHY_SECONDS, f"{container.service} is healthy")
        return f"all {len(SERVICES)} are healthy after {time.monotonic() - began:.0f} s"

    def rights(self) -> str:
        """What a node and the stand-in Library may do."""
        for name in (*NODES, "library"):
            self._may_little(self.stage.containers[name].name)
        return "user 10001, no capability, nothing to write to, no way out"

    def _may_little(self, container: str) -> None:
        status = self._engine.run("exec", container, "cat", "/proc/self/status")
        words = {line.partition(":")[0]: line.split()[1:] for line in status.splitlines()}
        capabilities = [int(words[name][0], 16) for name in ("CapEff", "CapBnd")]
        found = (words["Uid"][0], capabilities, words["NoNewPrivs"])
        if found != ("10001", [0, 0], ["1"]):
            raise Failed(f"{container} has user, capabilities and privileges {found}")
        if self._engine.succeeds("exec", container, "touch", "/opt/collab/x"):
            raise Failed(f"{container} can write into its image")
        routes = self._engine.run("exec", container, "cat", "/proc/net/route").splitlines()
        if "00000000" in [line.split()[1] for line in routes]:
            raise Failed(f"{container} has a way out of its network")

    def front(self) -> str:
        """What NGINX lets through on the one port that is open."""
        wanted = {
            "/": 200,
            "/health/ready": 200,
            "/status": 200,
            "/metrics": 404,
            "/collaboration/metrics": 404,
        }
        for path, code in wanted.items():
            found, _ = get("127.0.0.1", self._port, path)
            if found != code:
                raise Failed(f"{path} is {found} instead of {code}")
        return ", ".join(f"{path} {code}" for path, code in wanted.items())

    def conversation(self) -> str:
        """That of `collab-server demo --check`."""
        print()
        if not asyncio.run(play(self.stage, lambda line: print(f"  {line}", flush=True))):
            raise Failed("the conversation failed")
        print()
        return "as the demo"

    def kill(self) -> str:
        """End the process of the node that serves a client: another takes it, and the engine starts it anew."""
        return asyncio.run(self._kill())

    async def _kill(self) -> str:
        base = f"http://127.0.0.1:{self._port}"
        topic = DASHBOARD[0]
        async with asyncio.timeout(BACK_SECONDS * 3):
            auth = library(f"{base}/MicroStrategyLibrary/api", "ann", "ann")
            async with (
                Client(base, auth) as ann,
                Client(base, library(f"{base}/MicroStrategyLibrary/api", "bob", "bob")) as bob,
            ):
                await ann.live()
                await bob.live()
                seq = (await ann.ask("topic.get", {"topic": topic}))["seq"]
                following = ann.follow(topic, after=seq)
                before = ann.node
                [served_by] = [node for node in self.stage.nodes if before.startswith(node.hostname)]
                process = served_by.state["Pid"]
                os.kill(process, signal.SIGKILL)
                began = time.monotonic()
                said = [f"{number} while a node dies" for number in range(20)]
                for text in said:
                    await bob.change("comment.add", {"topic": topic, "text": text})
                heard: list[str] = []
                async for event in following:
                    if event["type"] == "comment.added":
                        heard.append(event["data"]["comment"]["text"])
                    if len(heard) == len(said):
                        break
                if heard != said or ann.node == before:
                    raise Failed(f"on {ann.node} ann heard {heard}")
                took = time.monotonic() - began
        self._wait(served_by.is_healthy, BACK_SECONDS, f"{served_by.service} is back")
        if served_by.state["Pid"] == process:
            raise Failed("the process is the same")
        return f"all {len(said)} comments after {took:.1f} s, on another node; {served_by.service} is back by itself"

    def pod(self) -> str:
        """The Deployment of deploy/kubernetes/base as a pod beside the nodes: its files, variables and rights."""
        manifests = {
            one["kind"]: one for one in kustomized("base") if one["kind"] in ("ConfigMap", "Deployment")
        }
        deployment = copy.deepcopy(manifests["Deployment"])
        deployment["spec"]["replicas"] = 1
        spec = deployment["spec"]["template"]["spec"]
        [node] = spec["containers"]
        node["image"] = "localhost/collaboration-server:latest"
        node["env"] = [one for one in node["env"] if one["name"] != "COLLAB_SECRET_FILE"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe", "ports"):
            del node[name]  # podman would open the ports on this machine
        [secrets] = [volume for volume in spec["volumes"] if "secret" in volume]
        name = secrets.pop("secret")["secretName"]
        secrets["configMap"] = {"name": f"{name}-secrets"}
        given = {
            "database-password": "only-for-trying",
            "redis-url": "redis://:only-for-trying@valkey:6379",
            "status-token": "only-for-trying-this",
        }
        kept = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}-secrets"},
            "data": given,
        }
        file = self._engine.data / "pod.yaml"
        with file.open("w") as stream:
            YAML(typ="safe").dump_all([kept, manifests["ConfigMap"], deployment], stream)
        self._engine.run("kube", "play", "--network", INSIDE, file)
        pod = f"{deployment['metadata']['name']}-pod-0-{node['name']}"
        code = (
            "import urllib.request as u;"
            " print(*(u.urlopen(f'http://127.0.0.1:3000/{p}').status for p in ('health/ready', 'metrics')))"
        )
        try:
            ask = ("exec", pod, "/opt/collab/bin/python", "-c", code)
            self._wait(lambda: self._engine.succeeds(*ask), BACK_SECONDS, "the pod is ready")
            self._may_little(pod)
            self._wait(lambda: self._knows(3), BACK_SECONDS, "the nodes know the pod")
        finally:
            logs = self._engine.run("logs", pod, has_stderr=True)
            self._engine.run("kube", "down", file)
        if '"level"' not in logs:
            raise Failed(f"it does not log as its config.json says: {logs[:500]}")
        return "ready with its ConfigMap and files, with the same rights; the three nodes know it"

    def machine(self) -> str:
        """The steps of docs/operations/install.md, on a machine with systemd."""
        machine = Machine(self._engine, f"{PROJECT}_machine", f"{INSIDE},{OUTSIDE}", self._wait)
        try:
            return machine.play()
        finally:
            machine.remove()

    def _knows(self, others: int) -> bool:
        code, text = get(self.stage.nodes[0].address, 3000, "/metrics")
        return code == 200 and f"\ncollab_cluster_nodes {others}.0\n" in text

    def drain(self) -> str:
        """Stop a node as compose does: it drains, and ends well."""
        node = self.stage.nodes[0]
        began = time.monotonic()
        code = node.stop()
        took = time.monotonic() - began
        if code or took > 15:
            raise Failed(f"it ended with {code} after {took:.1f} s")
        if "drained" not in self._engine.run("logs", node.name, has_stderr=True):
            raise Failed("it did not drain")
        node.start()
        self._wait(node.is_healthy, BACK_SECONDS, "it is back")
        return f"drained and ended with 0 after {took:.1f} s, and came back"

    def _wait(self, is_so: Callable[[], bool], seconds: float, what: str) -> None:
        ends_at = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > ends_at:
                raise Failed(f"not within {seconds:g} s: {what}")
            time.sleep(LOOK_SECONDS)


def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and text of an answer. Raises `OSError`."""
    connection = http.client.HTTPConnection(host, port, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()


NOT_AS_ELSEWHERE = (
    "podman and podman-compose instead of Docker; the Dockerfile and docker-compose.yml are as they are",
    "limits of files and processes no higher than this machine's",
    "health checks are run by this script, not every few seconds by the engine, which needs systemd for that;"
    " nobody waits for `service_healthy` at the start, so nodes start before PostgreSQL does",
    "the pod of Kubernetes: one, by `podman kube play`, without its probes and the `secret` that the nodes of compose"
    " have not; its Secret is a ConfigMap, for podman 4.3 puts the files of a Secret there in base64",
    "install.md on a machine that is a container, with the addresses of compose and without TLS",
)


def main() -> int:
    """The exit status: 0 when all was as it should be, 1 when not, 2 where it cannot be run."""
    options = _options()
    data = options.data or Path(tempfile.mkdtemp(prefix="collab-containers-", dir="/var/tmp"))
    port = free_port()
    try:
        engine = Engine(data.absolute(), {"COLLAB_HTTP_PORT": str(port), "BASE_IMAGE": PYTHON})
    except EngineError as error:
        print(f"It cannot be run here: {error}", file=sys.stderr)
        return 2
    played = Play(engine, port)
    is_good = False
    try:
        is_good = _play(played)
        if options.stay and is_good:
            input(f"\nhttp://127.0.0.1:{port} is open until you press Return. ")
    finally:
        with contextlib.suppress(EngineError):
            engine.compose("down", "--volumes", "--timeout", "15")
        if options.data is None:
            with contextlib.suppress(EngineError):
                engine.run("system", "reset", "--force")
            shutil.rmtree(data, ignore_errors=True)
    print("\nNot as it would be elsewhere:")
    for line in (*NOT_AS_ELSEWHERE, *played.changed):
        print(f"  - {line}")
    print(f"\n{'Passed.' if is_good else 'FAILED.'}")
    return 0 if is_good else 1


def _play(played: Play) -> bool:
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("images are built", played.images),
        ("a node's image", played.lean),
        ("workers", played.workers),
        ("compose up", played.up),
        ("what they may do", played.rights),
        ("what NGINX opens", played.front),
        ("the conversation", played.conversation),
        ("a node is killed", played.kill),
        ("a node is stopped", played.drain),
        ("a pod of Kubernetes", played.pod),
        ("install.md", played.machine),
    )
    for name, step in steps:
        print(f"{name + ' …':<22}", end="", flush=True)
        began = time.monotonic()
        try:
            result = step()
        except (Failed, EngineError, OSError, TimeoutError) as error:
            print(f"FAILED: {error or type(error).__name__}")
            return False
        print(f"{result}  ({time.monotonic() - began:.0f} s)", flush=True)
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder that keeps images, for the next time (default: one that is removed)"
    )
    parser.add_argument("--stay", action="store_true", help="leave it open until Return is pressed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
