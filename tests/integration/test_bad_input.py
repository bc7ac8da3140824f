"""What no well-behaved client sends: everything is acknowledged once, nothing is stored, the node stays well."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.harness.clients import Client, Refused, new_session
from tests.harness.cluster import Cluster
from tests.integration.doors import BOARD, Door, Raw

WRONG: list[Any] = [1, 1.5, True, [], {}, [["x"]]]
COMMANDS = {
    "topic.subscribe": {"topic": BOARD},
    "topic.unsubscribe": {"topic": BOARD},
    "session.refresh": {"identityToken": "x"},
    "comment.add": {"topic": BOARD, "text": "x"},
    "comment.edit": {"commentId": "x", "text": "x"},
    "comment.delete": {"commentId": "x"},
    "topic.get": {"topic": BOARD},
    "topic.events": {"topic": BOARD},
    "topic.comments": {"topic": BOARD},
    "comment.get": {"commentId": "x"},
    "comment.revisions": {"commentId": "x"},
    "session.end": {},
    "me": {},
}


async def raw(cluster: Cluster, login: str, node: int = 0) -> Raw:
    token = await (await cluster.person(login)).identity_token()
    return await Raw.open(cluster[node].url, {"identityToken": token})


def get_topic(ack_id: int, topic: str) -> str:
    return f'42{ack_id}["topic.get",{{"topic":"{topic}"}}]'


def add(more: str) -> str:
    """A packet that adds a comment with these fields, given as JSON text."""
    return f'421["comment.add",{{"topic":"TOPIC",{more}}}]'


async def is_well(cluster: Cluster, node: int = 0) -> bool:
    return bool((await cluster[node].status())["state"] == "running")


# --- commands over Socket.IO


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_refuses_unknown_fields(cluster: Cluster, command: str) -> None:
    ann = await cluster.client(0, "ann")
    answer = await ann.ask(command, {**COMMANDS[command], "colour": "red"})
    assert answer["ok"] is False
    assert (answer["error"]["code"], answer["error"]["field"]) == ("invalid", "colour")


@pytest.mark.parametrize("command", [name for name, payload in COMMANDS.items() if payload])
async def test_each_command_refuses_fields_of_another_type(cluster: Cluster, command: str) -> None:
    ann = await cluster.client(0, "ann")
    for field in COMMANDS[command]:
        for wrong in WRONG:
            answer = await ann.ask(command, {**COMMANDS[command], field: wrong})
            assert (answer["ok"], answer["error"]["code"], answer["error"]["field"]) == (
                False,
                "invalid",
                field,
            )


@pytest.mark.parametrize("command", [name for name, payload in COMMANDS.items() if payload])
async def test_each_command_wants_its_fields(cluster: Cluster, command: str) -> None:
    ann = await cluster.client(0, "ann")
    payloads: list[dict[str, Any] | None] = [{}, None]
    for payload in payloads:
        answer = await (ann.sio.call(command) if payload is None else ann.ask(command, payload))
        assert answer["ok"] is False
        assert answer["error"]["code"] == ("unauthenticated" if command == "session.refresh" else "invalid")


@pytest.mark.parametrize("command", COMMANDS)
async def test_nul_and_lone_surrogates_are_invalid_anywhere(cluster: Cluster, command: str) -> None:
    async with await raw(cluster, "ann") as ann:
        payloads = [
            '{"a\\u0000":1}',
            '{"x":["\\ud800"]}',
            '{"topic":"\\udc00","commentId":"\\u0000"}',
            '{"a":{"b":[{"c\\udfff":1}]}}',
        ]
        for number, payload in enumerate(payloads):
            await ann.send(f'42{number}["{command}",{payload}]')
        for number in range(len(payloads)):
            assert (await ann.answer(number))["error"]["code"] == "invalid"


@pytest.mark.parametrize(
    "name",
    ["comment.sing", "", "message", "Comment.Add", "comment.add ", "__init__", "*", "🦊"],
)
async def test_unknown_commands_are_acknowledged(cluster: Cluster, name: str) -> None:
    ann = await cluster.client(0, "ann")
    for payload in ({}, {"topic": 1}, "text", None, [1, 2]):
        answer = await ann.sio.call(name, payload, timeout=20)
        assert (answer["ok"], answer["error"]["code"]) == (False, "unknown_command")


@pytest.mark.parametrize("name", ["connect", "disconnect", "disconnecting", "connect_error"])
async def test_reserved_names_are_no_commands(cluster: Cluster, name: str) -> None:
    async with await raw(cluster, "ann") as ann:
        await ann.send(f'421["{name}",{{}}]', '422["me",{}]')
        frame = await ann.next()
        assert '"code":"invalid"' in str(frame)
    assert await is_well(cluster)


@pytest.mark.parametrize("payload", ["null", "1", '"x"', "[]", "[{}]", "true", "1e5"])
@pytest.mark.parametrize("command", ["me", "comment.add", "topic.subscribe"])
async def test_payloads_that_are_no_object(cluster: Cluster, command: str, payload: str) -> None:
    async with await raw(cluster, "ann") as ann:
        await ann.send(f'421["{command}",{payload}]')
        assert (await ann.answer(1))["error"]["code"] == "invalid"


async def test_several_arguments_are_refused(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    several: list[tuple[Any, ...]] = [({}, {}), ({}, 1, 2), (None, None)]
    for arguments in several:
        answer = await ann.sio.call("me", arguments)
        assert (answer["ok"], answer["error"]["code"]) == (False, "invalid")


async def test_me_needs_no_argument(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    assert (await ann.sio.call("me"))["data"] == (await ann.sio.call("me", {}))["data"]


@pytest.mark.parametrize("command", ["comment.add", "me", "sing"])
async def test_binary_arguments_are_refused_and_acknowledged(
    cluster: Cluster, topic: str, command: str
) -> None:
    ann = await cluster.client(0, "ann")
    for payload in (
        b"\x00\xff",
        {"topic": topic, "text": b"x"},
        {"topic": topic, "text": "x", "viewState": {"a": b"x"}},
    ):
        answer = await ann.sio.call(command, payload, timeout=20)
        assert answer["ok"] is False
        assert answer["error"]["code"] == ("unknown_command" if command == "sing" else "invalid")
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 0


async def test_commands_without_an_ack_id_take_effect_silently(cluster: Cluster, topic: str) -> None:
    async with await raw(cluster, "ann") as ann:
        add = json.dumps(["comment.add", {"topic": topic, "text": "Quietly"}])
        await ann.send(
            f"42{add}",
            '42["sing",1]',
            '42["me"]',
            '42["comment.add"]',
            get_topic(1, topic),
        )
        assert (await ann.answer(1))["data"]["seq"] == 1
        assert not ann.frames


async def test_each_command_gets_its_own_ack_once_and_no_more(cluster: Cluster, topic: str) -> None:
    """Two clients, everything at once, good and bad, ids far from each other and used twice."""
    async with await raw(cluster, "ann") as ann, await raw(cluster, "bob") as bob:
        kinds = (
            ["me", {}],
            ["sing"],
            ["comment.add", {"topic": topic, "text": "x"}],
            ["comment.add", {"topic": topic, "text": ""}],
            ["comment.add", 7],
            ["topic.get", {"topic": topic}],
            ["topic.get", {"topic": BOARD.replace("D", "E")}],
            ["me", {}, {}],
        )
        oks = [True, False, True, False, False, True, False, False]
        ids = [0, 7, 2**31, 10**15, *range(100, 140)]
        for number, id in enumerate(ids):
            for client in (ann, bob):
                await client.send(f"42{id}{json.dumps(kinds[number % len(kinds)])}")
        for client in (ann, bob):
            answers: dict[int, list[bool]] = {}
            for _ in ids:
                frame = await client.next()
                assert isinstance(frame, str)
                assert frame.startswith("43")
                head, _, body = frame[2:].partition("[")
                answers.setdefault(int(head), []).append(json.loads("[" + body)[0]["ok"])
            assert answers == {id: [oks[number % len(kinds)]] for number, id in enumerate(ids)}
            await client.send('421["sing"]')
            assert (await client.answer(1))["error"]["code"] == "unknown_command"
            assert not client.frames


@pytest.mark.parametrize(
    "packet",
    [
        add('"text":' + "9" * 5000),
        add('"text":' + "[" * 100_000 + "]" * 100_000),
        add('"text":"x","requestId":"r","viewState":{"a":' + "[" * 900 + "]" * 900 + "}"),
        add('"text":"x","viewState":{"a":NaN}'),
        add('"text":"x","viewState":{"a":1e999}'),
    ],
    ids=["a number of 5,000 digits", "100,000 levels", "900 levels", "NaN", "an infinite number"],
)
async def test_json_that_is_hard_to_read_does_no_harm(cluster: Cluster, topic: str, packet: str) -> None:
    """It is acknowledged as invalid, also where the connection is closed for it, as for any packet that is no packet:
    who hears nothing sends it again."""
    async with await raw(cluster, "bob") as bob, await raw(cluster, "ann") as ann:
        await ann.send(packet.replace("TOPIC", topic))
        assert str(await ann.next()).startswith('431[{"ok":false,"error":{"code":"invalid"')
        await ann.send('422["me"]')
        frame = await ann.next()
        assert frame is None or str(frame).startswith('432[{"ok":true')
        await bob.send(get_topic(1, topic))
        assert (await bob.answer(1))["data"]["seq"] == 0
    assert await is_well(cluster)


@pytest.mark.parametrize(
    "packet",
    [
        *(
            "4",
            "49",
            "42",
            "42{",
            '42["me"',
            '42{"me":1}',
            "42[]",
            "421[]",
            "42[1]",
            "4x",
            "44",
            "43",
            "431[]",
        ),
        *("451-", '451-["me",{"_placeholder":true,"num":5}]', "451000000-[]", '450-["me"]', "42/admin,[]"),
        *(
            "6",
            "zzz",
            "9",
            b"binary out of turn",
            "4199999999999999999999[]",
            '42999999999999999999999["me"]',
        ),
    ],
)
async def test_packets_that_are_none_do_not_hurt_others(cluster: Cluster, packet: str | bytes) -> None:
    """Whoever sends them may lose the connection; others notice nothing."""
    async with await raw(cluster, "bob") as bob, await raw(cluster, "ann") as ann:
        await ann.send(packet)
        await ann.send('429["me"]')
        while (frame := await ann.next()) is not None:
            if str(frame).startswith("439["):
                break
        await bob.send('421["me"]')
        assert (await bob.answer(1))["ok"]
    assert await is_well(cluster)


# --- signing in


@pytest.mark.parametrize(
    "auth",
    [
        None,
        {},
        {"token": "x"},
        {"identityToken": None},
        {"identityToken": 7},
        {"identityToken": ["x"]},
        {"identityToken": ""},
        {"identityToken": "nonsense"},
        {"identityToken": "x" * 10_000},
        {"identityToken": "line\r\nX-Other: 1"},
        {"identityToken": "nul\0"},
        {"identityToken": "snow ☃ man"},
        {"identityToken": "\ud800"},
        {"identityToken": "a", "authToken": "b"},
        {"authToken": "nonsense"},
        {"authToken": {"$ne": 1}},
        {"resumeToken": "nonsense"},
        {"resumeToken": "gAAAAA" + "A" * 200},
        {"resumeToken": "gAAAAA" + "A" * 15_000},
    ],
    ids=lambda auth: repr(auth)[:50],
)
async def test_whoever_has_no_good_token_is_refused_in_words(cluster: Cluster, auth: Any) -> None:
    async with await Raw.open(cluster[0].url) as somebody:
        await somebody.send("40" + ("" if auth is None else json.dumps(auth)))
        frame = await somebody.next()
        assert isinstance(frame, str)
        assert frame.startswith("44{")
        refusal = json.loads(frame[2:])
        assert refusal["message"] == refusal["data"]["code"] == "unauthenticated"
        assert refusal["data"]["message"]
        assert refusal["data"]["ticketId"]
    assert await is_well(cluster)


async def test_whoever_shows_no_token_or_several_is_told_to_show_one(cluster: Cluster) -> None:
    for auth in ({}, {"token": "x"}, {"identityToken": 7}, {"identityToken": "a", "authToken": "b"}):
        async with await Raw.open(cluster[0].url) as somebody:
            await somebody.send("40" + json.dumps(auth))
            told = json.loads(str(await somebody.next())[2:])["data"]["message"]
            assert told == "Expected auth with one token, as a text: identityToken, authToken or resumeToken."


@pytest.mark.parametrize("kind", ["identityToken", "authToken", "resumeToken"])
async def test_a_stranger_with_a_packet_larger_than_any_token_is_put_out(cluster: Cluster, kind: str) -> None:
    async with await Raw.open(cluster[0].url) as somebody:
        await somebody.send("40" + json.dumps({kind: "gAAAAA" + "A" * 100_000}))
        assert await somebody.next() is None
    assert await is_well(cluster)


@pytest.mark.parametrize("auth", ["[]", '"token"', "[{}]", "true", "{"])
async def test_an_auth_that_is_no_object_does_not_sign_in(cluster: Cluster, auth: str) -> None:
    async with await Raw.open(cluster[0].url) as somebody:
        await somebody.send("40" + auth)
        frame = await somebody.next()
        assert frame is None or str(frame).startswith("44{")


@pytest.mark.parametrize("name", ["me", "topic.get", "topic.subscribe", "sing"])
async def test_nothing_is_answered_to_whoever_has_not_signed_in(
    cluster: Cluster, topic: str, name: str
) -> None:
    async with await Raw.open(cluster[0].url) as somebody:
        await somebody.send(f'421["{name}",{{"topic":"{topic}"}}]', "40{}")
        frame = await somebody.next()
        assert frame is None or str(frame).startswith("44{")


async def test_other_namespaces_are_refused(cluster: Cluster) -> None:
    token = await (await cluster.person("ann")).identity_token()
    async with await Raw.open(cluster[0].url) as somebody:
        await somebody.send("40/admin," + json.dumps({"identityToken": token}))
        assert str(await somebody.next()).startswith("44/admin,")


async def test_signing_in_twice_on_one_connection_changes_nothing(cluster: Cluster) -> None:
    async with await raw(cluster, "ann") as ann:
        token = await (await cluster.person("bob")).identity_token()
        await ann.send("40" + json.dumps({"identityToken": token}), '421["me"]')
        answer = None
        while (frame := await ann.next()) is not None:
            if str(frame).startswith("431["):
                [answer] = json.loads(str(frame)[3:])
                break
        assert answer is None or answer["data"]["user"]["name"] == "Ann Archer"


# --- REST


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({}, "unauthenticated", 401),
        ({"X-MSTR-IdentityToken": ""}, "unauthenticated", 401),
        ({"X-MSTR-IdentityToken": "nonsense"}, "unauthenticated", 401),
        ({"X-MSTR-AuthToken": "nonsense"}, "unauthenticated", 401),
        ({"X-MSTR-AuthToken": "snow ☃"}, "unauthenticated", 401),
        ({"Authorization": "Bearer nonsense"}, "unauthenticated", 401),
        ({"Authorization": "Bearer"}, "unauthenticated", 401),
        ({"Authorization": "Basic YW5uOmFubg=="}, "unauthenticated", 401),
        ({"Authorization": "Bearer gAAAAA" + "A" * 3000}, "unauthenticated", 401),
        ({"X-MSTR-AuthToken": "a", "X-MSTR-IdentityToken": "b"}, "unauthenticated", 401),
        ({"X-MSTR-AuthToken": "a", "Cookie": "JSESSIONID=;;=,\x01"}, "unauthenticated", 401),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_rest_calls_without_a_good_token(
    cluster: Cluster, topic: str, headers: dict[str, str], code: str, status: int
) -> None:
    async with new_session(keeps_cookies=False) as http:
        for path in ("/me", f"/topics/{topic}", "/comments/x"):
            try:
                async with http.get(f"{cluster[0].url}/api{path}", headers=headers) as answer:
                    assert answer.status == status
                    error = await answer.json()
                    assert error["code"] == code
                    assert error["message"]
                    assert error["ticketId"]
            except (aiohttp.InvalidURL, ValueError):
                pytest.skip("the HTTP client itself refuses to send it")


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b"{}garbage",
            b'{"text":NaN}',
            b'{"text":"\\ud800"}',
        ),
        *(b'{"text":"a","text2":1}', b'{"text":"a","topic":"b"}', b'{"text":"\xed\xa0\x80"}'),
        b"[" * 200_000,
        b'{"text":' + b"9" * 5000 + b"}",
        b'{"text":"x","requestId":"r","viewState":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_bodies_that_are_refused(cluster: Cluster, topic: str, body: bytes) -> None:
    rest = await cluster.rest(0, "ann")
    async with rest.http.post(
        f"{rest.base}/topics/{topic}/comments", data=body, headers=rest.headers
    ) as answer:
        error = await answer.json()
        assert (answer.status, error["code"]) == (400, "invalid"), error
    assert (await rest.get(f"/topics/{topic}"))["seq"] == 0
    assert await is_well(cluster)


async def test_a_body_over_the_limit_is_too_large(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    status, error, _ = await rest.request("POST", f"/topics/{topic}/comments", {"text": "x" * 1_000_001})
    assert (status, error["code"]) == (413, "too_large")

    async def endless() -> Any:
        for _ in range(30):
            yield b"x" * 65_536

    url, headers = f"{rest.base}/topics/{topic}/comments", rest.headers
    async with rest.http.post(url, data=endless(), headers=headers) as answer:
        assert answer.status == 413
    assert (await rest.get(f"/topics/{topic}"))["seq"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "", 404),
        ("POST", "/me", 405),
        ("PUT", "/comments/x", 405),
        ("DELETE", "/topics/x/comments", 405),
        ("GET", "/topics//comments", 404),
        ("GET", "/topics/..%2f..%2fetc/comments", 404),
        ("GET", "/topics/%00/comments", 400),
        ("GET", "/topics/%ff%fe/comments", 400),
        ("GET", "/comments/%ed%a0%80", 400),
    ],
)
async def test_paths_that_are_not_there(cluster: Cluster, method: str, path: str, status: int) -> None:
    rest = await cluster.rest(0, "ann")
    async with rest.http.request(method, URL(rest.base + path, encoded=True), headers=rest.headers) as answer:
        error = await answer.json()
        assert answer.status == status, error
        assert error["code"] == {404: "not_found", 405: "unknown_command", 400: "invalid"}[status]
        assert {"code", "message", "ticketId"} <= error.keys()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=--5", "limit"),
        ("limit=-", "limit"),
        ("limit=+5", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%D9%A5", "limit"),  # an Arabic 5
        ("limit=" + "9" * 40, "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("pageKey=%ff", None),
        ("pageKey=%ed%a0%80", None),
    ],
)
async def test_query_parameters_that_are_refused(
    cluster: Cluster, topic: str, query: str, field: str | None
) -> None:
    rest = await cluster.rest(0, "ann")
    url = URL(f"{rest.base}/topics/{topic}/comments?{query}", encoded=True)
    async with rest.http.get(url, headers=rest.headers) as answer:
        error = await answer.json()
        assert (answer.status, error["code"], error.get("field")) == (400, "invalid", field)


async def test_a_body_that_is_not_utf_8_is_refused(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    url = f"{rest.base}/topics/{topic}/comments"
    for body in ('{"text":"x"}'.encode("utf-16"), b'{"text":"\xff"}'):
        async with rest.http.post(url, data=body, headers=rest.headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid")


async def test_query_parameters_given_twice_are_refused(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    status, error, _ = await rest.request("GET", f"/topics/{topic}/comments?limit=1&limit=2")
    assert (status, error["code"], error["field"]) == (400, "invalid", "limit")


async def test_a_request_id_belongs_into_the_header_or_the_body_not_both(
    cluster: Cluster, topic: str
) -> None:
    rest = await cluster.rest(0, "ann")
    body = {"text": "x", "requestId": "a"}
    status, error, _ = await rest.request(
        "POST", f"/topics/{topic}/comments", body, headers={"Idempotency-Key": "b"}
    )
    assert (status, error["code"], error["field"]) == (400, "invalid", "requestId")


@pytest.mark.parametrize("request_id", ["", "x" * 129, 7, None, ["x"]])
async def test_request_ids_that_are_refused(cluster: Cluster, topic: str, request_id: Any) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    if request_id is None:
        return  # left out: there is none
    error = await ann.refusal("comment.add", {"topic": topic, "text": "x", "requestId": request_id})
    assert (error["code"], error["field"]) == ("invalid", "requestId")


# --- Engine.IO


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("EIO=3&transport=polling", 400),
        ("EIO=4&transport=pigeon", 400),
        ("EIO=4&transport=polling&sid=nobody", 400),
        ("EIO=4&transport=polling&sid=%00", 400),
        ("EIO=x&transport=polling", 400),
    ],
)
async def test_bad_handshakes_are_refused(cluster: Cluster, query: str, status: int) -> None:
    async with new_session() as http, http.get(f"{cluster[0].url}/socket.io/?{query}") as answer:
        assert answer.status == status
        assert "Traceback" not in await answer.text()
    async with (
        new_session() as http,
        http.put(f"{cluster[0].url}/socket.io/?EIO=4&transport=polling") as answer,
    ):
        assert answer.status in (400, 405)
    assert await is_well(cluster)


async def test_a_foreign_page_may_not_connect(cluster: Cluster) -> None:
    person = await cluster.person("ann")
    with pytest.raises(Refused):
        await Client.connect(
            cluster[0].url,
            identity_token=await person.identity_token(),
            headers={"Origin": "https://evil.example"},
        )
    own = await Client.connect(
        cluster[0].url, identity_token=await person.identity_token(), headers={"Origin": cluster[0].url}
    )
    await own.close()


@pytest.mark.parametrize("origin", ["http://[", "null", "//", "[", "http://"])
async def test_an_origin_that_is_none_is_refused(cluster: Cluster, origin: str) -> None:
    url = f"{cluster[0].url}/socket.io/?EIO=4&transport="
    async with new_session() as http:
        async with http.get(url + "polling", headers={"Origin": origin}) as answer:
            assert answer.status == 400
            assert (await answer.json())["message"] == "Forbidden"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(url + "websocket", headers={"Origin": origin})
        assert refused.value.status == 400


async def test_after_all_of_it_the_nodes_are_well(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    await ann.call("comment.add", {"topic": topic, "text": "Still here"})
    await bob.wait_for_seq(topic, 1)
    for number, node in enumerate(cluster.nodes):
        assert await is_well(cluster, number)
        assert "Traceback" not in node.log
