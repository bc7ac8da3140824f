"""Both NGINX files, run for real in front of three nodes, with websocket and with long-polling clients."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from tests.conftest import MakeCluster
from tests.e2e.deployed import ROOT, deployed_nginx, said_to_what_is_too_large
from tests.harness.clients import Rest, Transport, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until

FILES = ["ip_hash", "sticky"]
NGINX = ROOT / "deploy" / "nginx"
TRANSPORTS: list[Transport] = ["websocket", "polling"]


def url(nginx: EmbeddedNginx) -> str:
    return f"http://127.0.0.1:{nginx.port}"


@pytest.fixture(params=FILES)
def nginx(request: pytest.FixtureRequest, shared_cluster: Cluster, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    ports = [node.port for node in shared_cluster.nodes]
    with deployed_nginx(request.param, ports, port=free_port(), folder=tmp_path / "nginx") as nginx:
        yield nginx


@pytest.fixture
def sticky(shared_cluster: Cluster, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    ports = [node.port for node in shared_cluster.nodes]
    with deployed_nginx("sticky", ports, port=free_port(), folder=tmp_path / "nginx") as nginx:
        yield nginx


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_clients_behind_nginx_talk(
    nginx: EmbeddedNginx, cluster: Cluster, topic: str, transport: Transport
) -> None:
    ann = await cluster.client(url(nginx), "ann", transport=transport)
    bob = await cluster.client(url(nginx), "bob", transport=transport)
    await bob.call("topic.subscribe", {"topic": topic})
    added = await ann.call("comment.add", {"topic": topic, "text": "Seen behind NGINX?"})
    event = await bob.wait_for_seq(topic, added["seq"])
    assert event.data["data"]["comment"]["text"] == "Seen behind NGINX?"


async def test_status_is_forwarded(nginx: EmbeddedNginx, cluster: Cluster) -> None:
    async with new_session() as http, http.get(f"{url(nginx)}/status") as answer:
        assert answer.status == 200
        assert (await answer.json())["state"] == "running"


@pytest.mark.parametrize("path", ["/metrics", "/api/me", "/status/../metrics", "/collaboration/metrics"])
async def test_nothing_else_is_forwarded(nginx: EmbeddedNginx, cluster: Cluster, path: str) -> None:
    async with new_session() as http, http.get(f"{url(nginx)}{path}") as answer:
        assert answer.status == 404
        assert "nginx" in await answer.text()


async def test_verbose_status_stays_closed_to_those_who_come_through_nginx(
    nginx: EmbeddedNginx, cluster: Cluster
) -> None:
    async with new_session() as http, http.get(f"{url(nginx)}/status?verbose=1") as answer:
        assert "dependencies" not in await answer.text()


async def test_sticky_spreads_long_polling_clients_over_all_nodes(
    sticky: EmbeddedNginx, cluster: Cluster
) -> None:
    clients = [await cluster.client(url(sticky), "ann", transport="polling") for _ in range(6)]
    nodes = [client.hello["node"] for client in clients]
    assert sorted(nodes.count(node) for node in set(nodes)) == [2, 2, 2]


async def test_ip_hash_keeps_one_address_on_one_node(cluster: Cluster, tmp_path: Path) -> None:
    ports = [node.port for node in cluster.nodes]
    with deployed_nginx("ip_hash", ports, port=free_port(), folder=tmp_path / "nginx") as nginx:
        clients = [await cluster.client(url(nginx), "ann", transport="polling") for _ in range(4)]
    assert len({client.hello["node"] for client in clients}) == 1


async def rest_behind(nginx: EmbeddedNginx, cluster: Cluster, login: str) -> Rest:
    token = await (await cluster.person(login)).identity_token()
    return Rest.open(f"{url(nginx)}/collaboration", identity_token=token)


FORWARDED = {
    "Host": "$http_host",
    "X-Forwarded-For": "$proxy_add_x_forwarded_for",
    "X-Request-ID": "$request_id",
    "X-Forwarded-Proto": "$scheme",
}


def locations(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each location, the headers that it sends on, and where: its own, or, where it has none, those around it."""
    text = re.sub(r"#[^\n]*", "", text)
    above: list[tuple[str, dict[str, str], dict[str, str]]] = [("", {}, {})]
    for statement, end in re.findall(r"((?:[^;{}'\"]|'[^']*'|\"[^\"]*\")*)([;{}])", text):
        words = statement.split(None, 2)
        name, own, said = above[-1]
        if end == "{":
            above.append((words[-1] if words[:1] == ["location"] else "", {}, {}))
        elif end == ";" and words[:1] == ["proxy_set_header"]:
            own[words[1]] = words[2]
        elif end == ";" and words[:1] == ["proxy_pass"]:
            said["to"] = words[1]
        elif end == "}":
            above.pop()
            if "to" in said:
                around = [headers for _, headers, _ in above if headers]
                yield name, own or (around[-1] if around else {}), said["to"]


@pytest.mark.parametrize("file", sorted(NGINX.glob("*.conf")), ids=lambda file: file.name)
def test_a_node_is_told_who_has_called_how_wherever_somebody_signs_in(file: Path) -> None:
    """By the address it counts wrong tokens, by scheme and host it judges origins."""
    found = [
        (name, sent) for name, sent, to in locations(file.read_text()) if "socket.io" in name or "/api/" in to
    ]
    assert bool(found) is (file.name != "compose.conf")
    for name, sent in found:
        assert FORWARDED.items() <= sent.items(), name


async def test_rest_is_under_the_prefix(sticky: EmbeddedNginx, cluster: Cluster, topic: str) -> None:
    async with await rest_behind(sticky, cluster, "ann") as rest:
        status, _, _ = await rest.request("POST", f"/topics/{topic}/comments", {"text": "By REST."})
        assert status == 201
        listed: Any = await rest.get(f"/topics/{topic}/comments")
    assert [comment["text"] for comment in listed["items"]] == ["By REST."]


async def test_the_openapi_document_is_under_the_prefix_and_names_it(
    sticky: EmbeddedNginx, cluster: Cluster
) -> None:
    async with new_session() as http, http.get(f"{url(sticky)}/collaboration/openapi.json") as answer:
        assert answer.status == 200
        document = await answer.json()
    assert document["servers"] == [{"url": "/collaboration"}]
    assert "/api/topics/{topic}/comments" in document["paths"]
    assert document["paths"]["/status"]["servers"] == [{"url": "/"}]


async def test_the_clients_are_under_the_prefix(sticky: EmbeddedNginx, cluster: Cluster) -> None:
    clients = f"{url(sticky)}/collaboration/clients"
    async with new_session() as http:
        for file in ("collab-client/index.js", "collab-client/socket.js", "collab-react.tgz"):
            async with http.get(f"{clients}/{file}") as answer:
                assert answer.status == 200, file
                assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_page_of_the_rest_calls_finds_its_files_under_the_prefix(
    sticky: EmbeddedNginx, cluster: Cluster
) -> None:
    page = f"{url(sticky)}/collaboration/docs"
    async with new_session() as http:
        async with http.get(page) as answer:
            assert answer.status == 200
            files = re.findall(r'(?:href|src)="([^"]+)"', await answer.text())
        assert len(files) == 3
        for file in files:
            async with http.get(urljoin(page, file)) as answer:
                assert answer.status == 200, file


async def test_a_text_that_is_too_large_is_refused_by_the_node_in_its_own_words(
    sticky: EmbeddedNginx, cluster: Cluster, topic: str
) -> None:
    body = BytesIO(b'{"text": "' + b"x" * 1_500_000 + b'"}')
    token = await (await cluster.person("ann")).identity_token()
    headers = {"X-MSTR-IdentityToken": token, "Content-Type": "application/json"}
    path = f"/collaboration/api/topics/{topic}/comments"
    async with new_session() as http, http.post(f"{url(sticky)}{path}", data=body, headers=headers) as answer:
        assert answer.status == 413
        assert (await answer.json())["code"] == "too_large"


async def test_so_is_what_somebody_posts_who_polls(nginx: EmbeddedNginx, cluster: Cluster) -> None:
    """Of NGINX they would hear nothing but that it failed, and send it again, for ever."""
    async with new_session() as http:
        assert '"code":"too_large"' in await said_to_what_is_too_large(http, url(nginx), cluster)


@pytest.fixture
async def own(make_cluster: MakeCluster, tmp_path: Path) -> AsyncIterator[tuple[Cluster, EmbeddedNginx]]:
    cluster = await make_cluster(nodes=3)
    ports = [node.port for node in cluster.nodes]
    with deployed_nginx("sticky", ports, port=free_port(), folder=tmp_path / "nginx") as nginx:
        yield cluster, nginx


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_clients_of_a_node_that_is_gone_come_back_on_another(
    own: tuple[Cluster, EmbeddedNginx], transport: Transport
) -> None:
    cluster, nginx = own
    before = await cluster.client(url(nginx), "ann", transport=transport)
    gone = before.hello["node"]
    names = {}
    for node in cluster.nodes:
        client = await cluster.client(node, "ann")
        names[client.hello["node"]] = node
    await names[gone].stop()
    await before.wait_until_closed()
    # Signed in again at once, several times over: nobody is sent to the node that is away.
    again = await asyncio.gather(*(cluster.client(url(nginx), "ann", transport=transport) for _ in range(6)))
    assert gone not in {client.hello["node"] for client in again}


async def test_no_log_of_nginx_holds_a_query(
    nginx: EmbeddedNginx, cluster: Cluster, tmp_path: Path, topic: str
) -> None:
    client = await cluster.client(url(nginx), "ann", transport="polling")
    await client.call("topic.subscribe", {"topic": topic})
    async with (
        new_session() as http,
        http.get(f"{url(nginx)}/socket.io/?EIO=4&transport=polling&sid=OfNobody") as answer,
    ):
        assert answer.status == 400

    def text() -> str:
        logs = (tmp_path / "nginx").glob("*.log")
        return "".join(log.read_text(errors="replace") for log in logs)

    # NGINX writes the line when the answer is out.
    await until(lambda: '"GET /socket.io/ HTTP/1.1" 400' in text(), 5)
    for secret in ("sid", "OfNobody", "transport", "?"):
        assert secret not in text()


async def test_newcomers_of_one_address_are_bounded_and_others_are_not(
    nginx: EmbeddedNginx, cluster: Cluster
) -> None:
    """Refused before they reach a node; whoever has a session goes on."""
    client = await cluster.client(url(nginx), "ann", transport="polling")
    async with new_session(keeps_cookies=False) as http:

        async def come() -> int:
            # Not a method for handshakes: a node has nothing to keep of it.
            async with http.post(f"{url(nginx)}/socket.io/?EIO=4&transport=polling") as answer:
                return answer.status

        statuses: list[int] = []
        for _ in range(80):
            statuses += await asyncio.gather(*(come() for _ in range(50)))
            if 429 in statuses:
                break
        assert set(statuses) == {400, 429}
        assert statuses.count(400) >= 2000
    await client.call("me")
