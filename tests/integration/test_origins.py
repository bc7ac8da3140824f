"""Which pages may connect: the same at both doors and on both transports, behind proxies too, and said in the log."""

from __future__ import annotations

import aiohttp
import pytest
from yarl import URL

from tests.conftest import MakeCluster
from tests.harness.clients import new_session
from tests.harness.cluster import Node
from tests.harness.world import StandInLibrary

CONFIG = {
    "allowedOrigins": ["https://*.example.com", "https://müller.example", "capacitor://localhost"],
    "notificationBaseUrl": "https://library.example.org/MicroStrategyLibrary",
}
NAMED = [
    "https://dash.example.com",
    "https://xn--mller-kva.example",
    "capacitor://localhost",
    "https://library.example.org",
]
OWN = [  # the page's origin, and what the node is asked with
    ("http://dash.example.net", {"Host": "dash.example.net"}),
    ("https://dash.example.net", {"Host": "dash.example.net:443"}),
    ("http://dash.example.net", {"Host": "dash.example.net:80"}),
    ("https://dash.example.net", {"Host": "collab:3000", "X-Forwarded-Host": "dash.example.net"}),
    ("https://dash.example.net:8443", {"Host": "dash.example.net", "X-Forwarded-Port": "8443"}),
    (
        "https://dash.example.net",
        {"Host": "dash.example.net", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"},
    ),
]
REFUSED = [
    ("https://example.com", {}),
    ("https://evil.example", {"Host": "dash.example.net"}),
    ("null", {}),
    ("http://dash.example.net:8080", {"Host": "dash.example.net", "X-Forwarded-Proto": "https"}),
]
REQUESTED = "traceparent, x-mstr-authtoken, x-requested-with, sentry-trace"


async def shakes_hands(http: aiohttp.ClientSession, node: Node, headers: dict[str, str]) -> set[bool]:
    """Whether handshakes with these headers are taken, by polling and by websocket."""
    url = f"{node.url}/socket.io/?EIO=4&transport="
    async with http.get(url + "polling", headers=headers) as answer:
        text = await answer.text()
        is_taken = answer.status == 200
        assert is_taken or (answer.status == 400 and '"Forbidden"' in text), (answer.status, text)
        shared = answer.headers.get("Access-Control-Allow-Origin")
        assert shared == (headers["Origin"] if is_taken else None)
    try:
        async with http.ws_connect(url + "websocket", headers=headers) as websocket:
            return {is_taken, (await websocket.receive_str(timeout=20)).startswith('0{"sid"')}
    except aiohttp.WSServerHandshakeError as error:
        return {is_taken, error.status not in (400, 403)}


async def shares(http: aiohttp.ClientSession, node: Node, headers: dict[str, str]) -> set[bool]:
    """Whether a page may call with its cookies and read the answer, after it has asked."""
    found = set()
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": REQUESTED}
    async with http.options(f"{node.url}/api/topics/x/comments", headers={**headers, **asked}) as answer:
        found.add(answer.status == 204)
        assert "Origin" in answer.headers["Vary"], "or a cache answers one page with what another may"
        if answer.status == 204:
            allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert set(REQUESTED.split(", ")) <= set(allowed)
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"].split(", ")
        else:
            assert answer.status == 403
            assert (await answer.json())["code"] == "forbidden"
            assert "Access-Control-Allow-Headers" not in answer.headers
        found.add(answer.headers.get("Access-Control-Allow-Origin") == headers["Origin"])
    async with http.get(f"{node.url}/api/me", headers=headers) as answer:
        assert answer.status == 401  # a page that shows no token
        assert "Origin" in answer.headers["Vary"]
        found.add(answer.headers.get("Access-Control-Allow-Origin") == headers["Origin"])
        found.add(answer.headers.get("Access-Control-Allow-Credentials") == "true")
        found.add("Retry-After" in answer.headers.get("Access-Control-Expose-Headers", ""))
    return found


@pytest.mark.parametrize("transport", ["lean", "asgi"])
async def test_pages_that_may_connect_may_at_both_doors(make_cluster: MakeCluster, transport: str) -> None:
    made = await make_cluster(nodes=1, overrides=CONFIG, env={"COLLAB_TRANSPORT": transport})
    node = made[0]
    none: dict[str, str] = {}
    allowed = [(origin, none) for origin in NAMED] + OWN + [(node.url, none)]
    async with new_session() as http:
        for origin, headers in allowed:
            sent = {**headers, "Origin": origin}
            assert await shakes_hands(http, node, sent) == {True}, sent
            assert await shares(http, node, sent) == {True}, sent
        assert "may not connect" not in node.log
        for origin, headers in REFUSED:
            sent = {**headers, "Origin": origin}
            assert await shakes_hands(http, node, sent) == {False}, sent
            assert await shares(http, node, sent) == {False}, sent
    lines = [line for line in node.log.splitlines() if "may not connect" in line]
    assert len(lines) == len(REFUSED)
    for line, (origin, _) in zip(lines, REFUSED, strict=True):
        assert origin in line
        assert "allowedOrigins" in line


async def test_any_page_may_call_with_cookies_where_all_are_allowed(make_cluster: MakeCluster) -> None:
    made = await make_cluster(nodes=1, overrides={"allowedOrigins": ["*"]}, env={"COLLAB_TRANSPORT": "lean"})
    async with new_session() as http:
        for origin in ("https://any.example", "null"):
            assert await shakes_hands(http, made[0], {"Origin": origin}) == {True}
            assert await shares(http, made[0], {"Origin": origin}) == {True}


async def test_only_trusted_proxies_say_how_a_node_is_reached(make_cluster: MakeCluster) -> None:
    made = await make_cluster(nodes=1, overrides={"trustedProxies": ["10.0.0.1"]})
    sent = {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "443"}
    async with new_session() as http:
        assert await shakes_hands(http, made[0], sent) == {False}
        assert await shares(http, made[0], sent) == {False}
        beside = {"Origin": f"http://collab:{URL(made.library.url).port}", "Host": "collab:3000"}
        assert await shakes_hands(http, made[0], beside) == {True}  # Library's page, on the same machine


async def test_the_stand_in_lets_pages_of_this_machine_read_its_tokens(library: StandInLibrary) -> None:
    login = {"username": "ann", "password": "ann", "loginMode": 1}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    local = ["http://localhost:5173", "https://127.0.0.1:3000", "http://[::1]", "http://localhost"]
    async with new_session() as http:
        for origin in [*local, "http://localhost.example:5173", "http://10.0.0.7:5173", "null"]:
            sent = {"Origin": origin}
            allowed = origin if origin in local else None
            async with http.options(f"{library.url}/auth/login", headers={**sent, **asked}) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
            async with http.post(f"{library.url}/auth/login", json=login, headers=sent) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed
                if allowed:
                    assert "X-MSTR-AuthToken" in answer.headers["Access-Control-Expose-Headers"]
                    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
