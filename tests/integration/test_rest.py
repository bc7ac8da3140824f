"""The HTTP door as such: its description, its headers, its errors. What commands do is tested elsewhere."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from tests.conftest import MakeCluster
from tests.harness.clients import Failed, new_session
from tests.harness.cluster import ROOT, Cluster
from tests.harness.world import StandInLibrary, World, fresh_topic
from tests.integration.doors import CALLS, Door, DoorName, say

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "number": (int, float),
    "object": dict,
}


async def openapi(cluster: Cluster) -> dict[str, Any]:
    async with new_session() as http, http.get(f"{cluster[0].url}/openapi.json") as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


# --- the description


async def test_every_node_has_the_description_of_what_socketio_carries(cluster: Cluster) -> None:
    written = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    async with new_session() as http, http.get(f"{cluster[1].url}/asyncapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == written


async def test_every_call_is_described_under_the_name_of_its_command(cluster: Cluster) -> None:
    document = await openapi(cluster)
    described = {
        operation["operationId"]: (method.upper(), path.removeprefix("/api"))
        for path, operations in document["paths"].items()
        if path.startswith("/api")
        for method, operation in operations.items()
    }
    assert described.items() <= CALLS.items()
    assert {"comment.add", "topic.events", "me"} <= described.keys()
    assert set(document["components"]["securitySchemes"]) == {"IdentityToken", "AuthToken", "Bearer"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/api"):
                assert operation["summary"]
                assert operation.get("security", document.get("security"))
                assert {"400", "401", "429", "500", "503"} <= operation["responses"].keys()
                named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
                assert named == set(re.findall(r"{(\w+)}", path))


async def test_answers_have_the_shapes_that_are_described(cluster: Cluster, topic: str) -> None:
    document = await openapi(cluster)
    schemas = document["components"]["schemas"]

    def check(value: Any, schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        if value is None:
            return
        if "discriminator" in schema:
            told = schema["discriminator"]
            check(value, {"$ref": told["mapping"][value[told["propertyName"]]]}, where)
            return
        for option in schema.get("anyOf", schema.get("oneOf", ())):
            if option.get("type") != "null":
                check(value, option, where)
        if "properties" in schema:
            assert set(value) <= set(schema["properties"]), where
            assert set(schema.get("required", ())) <= set(value), where
            for name, inner in value.items():
                check(inner, schema["properties"][name], f"{where}.{name}")
        elif schema.get("type") == "array":
            for item in value:
                check(item, schema["items"], f"{where}[]")
        elif isinstance(schema.get("type"), str):
            assert isinstance(value, KINDS[schema["type"]]), where

    ann = await Door.open(cluster, "rest", "ann")
    person = await cluster.person("bob")
    comment = (
        await ann.call(
            "comment.add",
            {
                "topic": topic,
                "text": f"@[B](user:{person.id})",
                "anchor": {"pageKey": "p"},
                "viewState": {"a": 1},
            },
        )
    )["comment"]
    id = {"commentId": comment["id"]}
    for command, payload in (
        ("comment.add", {"topic": topic, "text": "x", "replyTo": comment["id"]}),
        ("comment.edit", {**id, "text": "y"}),
        ("comment.get", id),
        ("comment.revisions", id),
        ("topic.get", {"topic": topic}),
        ("topic.comments", {"topic": topic, "limit": 1}),
        ("topic.events", {"topic": topic}),
        ("me", {}),
        ("comment.delete", id),
        ("comment.get", id),
    ):
        method, path = CALLS[command]
        operation = document["paths"][f"/api{path}"][method.lower()]
        status = "201" if command == "comment.add" else "200"
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        check(await ann.call(command, payload), schema, command)
    with pytest.raises(Failed) as refusal:
        await ann.call("comment.edit", {**id, "text": ""})
    response = operation["responses"]["400"]
    while "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    check(refusal.value.error, response["content"]["application/json"]["schema"], "error")


async def test_the_page_of_the_description_needs_nothing_from_outside(cluster: Cluster) -> None:
    async with new_session() as http:
        async with http.get(f"{cluster[0].url}/docs") as answer:
            assert answer.status == 200
            page = await answer.text()
        wanted = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
        assert wanted
        for address in wanted:
            assert not re.match(r"(https?:)?//", address)
            async with http.get(URL(f"{cluster[0].url}/docs").join(URL(address))) as answer:
                assert answer.status == 200, address


# --- headers


async def test_answers_are_json_whatever_they_are(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    for path in ("/me", f"/topics/{topic}", "/nothing", "/comments/x"):
        _, content, headers = await rest.request("GET", path)
        assert isinstance(content, dict)
        assert headers["Content-Type"] == "application/json"


async def test_no_answer_is_kept_by_caches_or_taken_for_another_kind(cluster: Cluster, topic: str) -> None:
    api = await cluster.rest(0, "ann")
    kept = {
        "/docs",
        "/openapi.json",
        "/asyncapi.json",
        "/docs-static/swagger-ui.css",
    }  # they hold nobody's data
    outside = ["/", "/status", "/health/live", "/health/ready", "/metrics", "/nothing", "/api/nothing", *kept]
    asked = [(method, f"/api{path}") for name, (method, path) in CALLS.items() if name != "session.end"]
    asked.append(("DELETE", "/api/session"))  # the last for which the token is good
    asked += [(method, path) for path in outside for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT")]
    preflight = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    async with new_session(keeps_cookies=False) as http:
        for method, path in asked:
            for sent in ({}, dict(api.headers), preflight):
                url = URL(cluster[0].url + path)
                async with http.request(method, url, headers=sent, allow_redirects=False) as answer:
                    where = (method, path, answer.status, dict(answer.headers))
                    assert answer.headers["X-Content-Type-Options"] == "nosniff", where
                    assert answer.headers["Referrer-Policy"] == "no-referrer", where
                    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], where
                    expected = {"no-cache"} if path in kept and answer.status == 200 else {"no-store"}
                    assert {answer.headers["Cache-Control"]} == expected, where


async def test_a_node_serves_no_page_unless_it_is_told_to(cluster: Cluster) -> None:
    async with new_session() as http:
        for path in ("/index.html", "/js/connection.js"):
            async with http.get(cluster[0].url + path) as answer:
                assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


@pytest.mark.parametrize("has_docs", [True, False])
async def test_whoever_opens_a_node_is_told_what_it_is_and_where_to_go_on(
    make_cluster: MakeCluster, has_docs: bool
) -> None:
    node = (await make_cluster(nodes=1, overrides={"docsPage": has_docs}))[0]
    async with new_session() as http:
        async with http.get(node.url, headers={"Accept": "text/html,*/*;q=0.8"}) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            linked = re.findall(r'href="([^"]+)"', await answer.text())
        async with http.get(node.url) as answer:
            assert (answer.status, answer.headers["Vary"].split(", ")[0]) == (200, "Accept")
            places = (await answer.json())["places"]
        assert list(places) == linked
        assert ("docs" in linked) is has_docs
        for path in linked:
            async with http.get(f"{node.url}/{path}") as answer:
                assert answer.status == 200, path
        async with http.head(node.url) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with http.post(node.url) as answer:
            assert answer.status == 405


async def test_paths_and_methods_that_are_not_known_are_told_apart(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        status, content, _ = await rest.request(method, "/nothing/at/all", None if method == "GET" else {})
        assert (status, content["code"]) == (404, "not_found"), method
    for method, path, allowed in (
        ("GET", "/shares", "POST"),
        ("POST", "/me", "GET"),
        ("GET", "/notifications/read", "PUT"),
        ("GET", "/topics/summaries", "POST"),
        ("GET", f"/topics/{topic}/read", "PUT"),
        ("PUT", f"/topics/{topic}/comments", "GET, POST"),
        ("POST", "/comments/x", "GET, PATCH, DELETE"),
    ):
        status, content, headers = await rest.request(method, path, None if method == "GET" else {})
        assert (status, content["code"], headers["Allow"]) == (405, "unknown_command", allowed), path


async def test_a_field_in_the_body_of_a_call_without_one_is_refused(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    added = await rest.post(f"/topics/{topic}/comments", {"text": "One"})
    path = f"/comments/{added['comment']['id']}"
    for method, call in (("DELETE", path), ("PUT", f"{path}/resolution"), ("GET", path)):
        for field in ("nonsense", "requestId"):
            status, content, _ = await rest.request(method, call, {field: "x"})
            assert (status, content["code"], content["field"]) == (400, "invalid", field), method
        status, content, _ = await rest.request(method, call, ["x"])
        assert (status, content["code"]) == (400, "invalid"), method
    status, _, _ = await rest.request("DELETE", path, {})
    assert status == 200


async def test_pages_of_library_may_call_and_others_may_not(cluster: Cluster) -> None:
    allowed = str(URL(cluster.library.url).origin())
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "X-MSTR-IdentityToken",
    }
    async with new_session() as http:
        for origin, is_allowed in ((allowed, True), ("https://evil.example", False)):
            async with http.options(
                f"{cluster[0].url}/api/topics/x/comments", headers={"Origin": origin, **asked}
            ) as answer:
                assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is is_allowed
            async with http.get(f"{cluster[0].url}/api/me", headers={"Origin": origin}) as answer:
                assert answer.status == 401
                assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is is_allowed


async def test_the_topic_in_the_path_may_be_encoded(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    await say(ann, topic, "One")
    rest = await cluster.rest(0, "ann")
    for spelled in (topic, topic.replace(":", "%3A"), topic.lower()):
        url = URL(f"{rest.base}/topics/{spelled}", encoded=True)
        async with rest.http.get(url, headers=rest.headers) as answer:
            assert (await answer.json())["seq"] == 1


# --- errors that need something broken


@BOTH
async def test_what_only_library_knows_is_unavailable_while_it_is_away(
    world: World, own_library: StandInLibrary, topic: str, door: DoorName, tmp_path: Path
) -> None:
    database = world.new_database()
    async with Cluster(database, own_library, None, nodes=1, folder=tmp_path) as cluster:
        ann = await Door.open(cluster, door, "ann")
        carol = await cluster.person("carol")
        await ann.call("comment.add", {"topic": topic, "text": "Before"})
        own_library.stop()
        other = fresh_topic()
        for command, payload in (
            ("topic.get", {"topic": other}),
            ("comment.add", {"topic": other, "text": ""}),
            ("comment.add", {"topic": topic, "text": f"@[C](user:{carol.id})"}),
        ):
            error = await ann.refusal(command, payload)
            assert error["code"] == "unavailable"
            assert error["retryAfter"] > 0
        answer = await ann.call("comment.add", {"topic": topic, "text": "Known rights go on"})
        assert answer["seq"] == 2
        own_library.start()
        assert (await ann.call("topic.get", {"topic": other}))["topic"] == other


async def test_a_bug_of_ours_is_logged_under_a_ticket_and_shown_to_nobody(
    world: World, topic: str, tmp_path: Path
) -> None:
    database = world.new_database()
    cluster = Cluster(database, world.library, None, nodes=1, folder=tmp_path)
    try:
        await cluster.start()
        for door in ("socket", "rest"):
            ann = await Door.open(cluster, door, "ann")
            await ann.call("comment.add", {"topic": topic, "text": "Before"})
            database.sql("ALTER TABLE collab.comments RENAME COLUMN anchor TO ankor")
            for command, payload in (
                ("comment.add", {"topic": topic, "text": "SecretWord"}),
                ("topic.comments", {"topic": topic}),
            ):
                error = await ann.refusal(command, payload)
                assert error["code"] == "internal"
                assert "ankor" not in repr(error)
                assert "anchor" not in repr(error)
                assert error["ticketId"] in cluster[0].log
            database.sql("ALTER TABLE collab.comments RENAME COLUMN ankor TO anchor")
            await ann.call("comment.add", {"topic": topic, "text": "After"})
        log = cluster[0].log
        assert "SecretWord" not in log
        token = (await cluster.person("ann")).auth_token
        assert token not in log
    finally:
        await cluster.close(may_trace_back=["anchor"])


async def test_a_call_that_offers_an_upgrade_is_carried_out_and_so_is_the_next(
    cluster: Cluster, topic: str
) -> None:
    """As the HTTP client of a JDK sends it, whose first request offers h2c."""
    token = await (await cluster.person("ann")).identity_token()
    head = f"POST /api/topics/{topic}/comments HTTP/1.1\r\nHost: x\r\nX-MSTR-IdentityToken: {token}\r\n"
    offer = (
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster[0].port)
    try:
        for more in (offer, "", offer):
            writer.write(f'{head}{more}Content-Length: 21\r\n\r\n{{"text":"from a JDK"}}'.encode())
        async with asyncio.timeout(10):
            for _ in range(3):
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert answer.startswith(b"http/1.1 201")
                await reader.readexactly(int(answer.partition(b"content-length: ")[2].split()[0]))
    finally:
        writer.transport.abort()
    ann = await Door.open(cluster, "rest", "ann")
    assert (await ann.call("topic.get", {"topic": topic}))["comments"] == 3


async def test_a_caller_that_leaves_in_the_middle_of_a_body_is_no_bug(cluster: Cluster, topic: str) -> None:
    token = await (await cluster.person("ann")).identity_token()
    node = cluster[0]
    before = len(node.log)
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
        head = f"POST /api/topics/{topic}/comments HTTP/1.1\r\nHost: x\r\nX-MSTR-IdentityToken: {token}\r\n"
        writer.write(f'{head}Content-Length: 100\r\n\r\n{{"text": "Half'.encode())
        await writer.drain()
        await asyncio.sleep(0.1)  # so that the call is under way; an earlier end is none the worse
        writer.transport.abort()
    ann = await Door.open(cluster, "rest", "ann")
    await ann.call("comment.add", {"topic": topic, "text": "Whole"})
    assert (await ann.call("topic.get", {"topic": topic}))["comments"] == 1
    assert "Traceback" not in node.log[before:]


async def test_no_token_and_no_words_of_users_are_in_any_log(cluster: Cluster, topic: str) -> None:
    """`logging` is true here: the detailed log holds neither."""
    ann, rest = await cluster.client(0, "ann"), await cluster.rest(0, "ann")
    await say(ann, topic, "WordsOfAUser", viewState={"k": "StateOfAUser"})
    await rest.post(f"/topics/{topic}/comments", {"text": "WordsOfAUser"})
    await rest.request("POST", f"/topics/{topic}/comments", {"text": "WordsOfAUser", "x": 1})
    person = await cluster.person("ann")
    secrets = ["WordsOfAUser", "StateOfAUser", person.auth_token, person.cookie, ann.hello["resumeToken"]]
    secrets += list(rest.headers.values())
    for node in cluster.nodes:
        for secret in secrets:
            assert secret not in node.log


# --- what may be done


async def test_options_says_what_may_be_done_at_a_path(cluster: Cluster, topic: str) -> None:
    async with new_session(keeps_cookies=False) as http:
        for path, allowed in (
            ("/", "GET, HEAD, OPTIONS"),
            ("/status", "GET, HEAD, OPTIONS"),
            ("/health/ready", "GET, HEAD, OPTIONS"),
            ("/docs", "GET, HEAD, OPTIONS"),
            ("/docs-static/swagger-ui.css", "GET, HEAD, OPTIONS"),
            ("/api/me", "GET, OPTIONS"),
            (f"/api/topics/{topic}/comments", "GET, POST, OPTIONS"),
        ):
            async with http.options(cluster[0].url + path) as answer:
                methods = {method.strip() for method in answer.headers.get("Allow", "").split(",")}
                assert answer.status == 204, path
                assert methods | {"HEAD"} == {*allowed.split(", "), "HEAD"}, path
                assert await answer.read() == b""
        for path in ("/nothing", "/api/nothing"):
            async with http.options(cluster[0].url + path) as answer:
                assert answer.status == 404, path
