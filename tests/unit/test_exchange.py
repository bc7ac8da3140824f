"""A poll that is not read, for it is like one before it, is what it would have been had it been read."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from collab_server.realtime.engine.requests import BY_NAME, header, query_of, trace_of
from collab_server.realtime.lean import heads
from collab_server.realtime.lean.exchange import LeanExchange, LearnedPoll

ALTERATIONS = 30_000
PIECES = [
    b"&t=",
    b"t=",
    b"?t=",
    b"sid=b",
    b"&sid=b",
    b"%73id=b",
    b"&",
    b"=",
    b"+",
    b"%",
    b"#",
    b" ",
    b"a1_-.",
]
PIECES += [b"\r\n", b"\r\n\r\n", b"Origin: x\r\n", b"GET /", b"\xff", b"\x00", b"transport=websocket"]


def request(query: bytes, headers: bytes = b"Host: x\r\n") -> bytes:
    return b"GET /socket.io/?%b HTTP/1.1\r\n%b\r\n" % (query, headers)


def learned(data: bytes) -> LearnedPoll | None:
    """What is learned of a request that was read."""
    read = heads.read(data)
    assert read is not None
    scope: dict[str, Any] = {
        "query_string": read.target.partition(b"?")[2],
        "headers": read.headers,
        BY_NAME: read.by_name,
    }
    return LearnedPoll.of(LeanExchange(cast("Any", None), cast("Any", None), scope, keep_alive=True), data)


@pytest.mark.parametrize("mark", [b"", b"PXYZ.b", b"1795901500.4739738", b"l3_-x"])
@pytest.mark.parametrize(
    "query", [b"EIO=4&transport=polling&t=%b&sid=a", b"t=%b&sid=a&EIO=4", b"sid=a&transport=polling&t=%b"]
)
def test_a_poll_with_another_mark_is_known(query: bytes, mark: bytes) -> None:
    one = learned(request(query % b"first!"))
    assert one is not None
    one.exchange.response_complete = True
    assert one.again(request(query % mark))
    assert one.exchange.scope["query_string"] == query % mark
    assert not one.exchange.response_complete
    assert one.sid == "a"


def test_a_poll_without_a_mark_is_known_by_all_that_it_is() -> None:
    data = request(b"EIO=4&sid=a")
    one = learned(data)
    assert one is not None
    assert one.again(data)
    for other in (data + b"a", b"a" + data, data[:-1], data + data, request(b"EIO=4&sid=ab")):
        assert not one.again(other)


@pytest.mark.parametrize("query", [b"EIO=4&t=%b&sid=a", b"EIO=4&sid=a&t=%b", b"sid=a"])
@pytest.mark.parametrize("name", [b"X-Request-ID", b"x-request-id"])
def test_of_a_poll_that_a_balancer_has_named_the_name_is_that_of_this_one(query: bytes, name: bytes) -> None:
    def named(id: bytes, mark: bytes) -> bytes:
        asked = query % mark if b"%" in query else query
        return request(asked, b"Host: x\r\n%b: %b\r\nAccept: */*\r\n" % (name, id))

    one = learned(named(b"0" * 32, b"m0"))
    assert one is not None
    scope = one.exchange.scope
    assert trace_of(scope) == "0" * 32
    for number in range(3):
        assert one.again(named(b"%032d" % number, b"m%d" % 10**number))
        assert trace_of(scope) == header(scope, b"x-request-id") == f"{number:032}"
        assert [value for key, value in scope["headers"] if key == b"x-request-id"] == [b"%032d" % number]
    for other in (
        b"0" * 31,
        b"0" * 33,
        b"0" * 31 + b" ",
        b"0" * 31 + b'"',
        b"0" * 16 + b"\r\nX-A: b" + b"0" * 8,
    ):
        assert not one.again(named(other, b"m"))
    assert trace_of(scope) == f"{2:032}"


@pytest.mark.parametrize(
    "query", [b"sid=a&sid=b", b"EIO=4", b"sid=", b"sid=a&%73id=b", b"sid=a+b", b"xsid=a"]
)
def test_nothing_is_learned_of_a_poll_whose_session_could_be_another(query: bytes) -> None:
    assert learned(request(query)) is None


@pytest.mark.parametrize("more", [b"", b"X-Request-ID: a1.b-c\r\n", b"x-request-id:a1\r\nAccept: */*\r\n"])
@pytest.mark.parametrize("query", [b"EIO=4&t=m0&sid=a", b"EIO=4&sid=a?t=m0", b"sid=a&t=m0&t=m1", b"sid=a"])
def test_whatever_is_altered_in_a_poll_that_is_known_it_differs_in_nothing_but_its_mark_and_its_id(
    query: bytes, more: bytes
) -> None:
    chance = random.Random(1)
    data = request(query, b"Host: x\r\nCookie: collab_session=abc\r\n" + more)
    one, read = learned(data), heads.read(data)
    assert one is not None
    assert read is not None
    known = 0
    for _ in range(ALTERATIONS):
        start = chance.randrange(len(data) + 1)
        end = start + chance.choice([0, 0, 1, 2, 5])
        altered = data[:start] + b"".join(chance.choices(PIECES, k=chance.randrange(3))) + data[end:]
        if not one.again(altered):
            continue
        known += 1
        other = heads.read(altered)
        assert other is not None, altered
        assert (other.method, other.body) == (read.method, read.body)
        assert one.exchange.scope["headers"] == other.headers
        assert one.exchange.scope[BY_NAME] == other.by_name
        headers = [[line for line in each.headers if line[0] != b"x-request-id"] for each in (other, read)]
        assert headers[0] == headers[1], altered
        queries = [query_of({"query_string": one.target.partition(b"?")[2]}) for one in (other, read)]
        for asked in queries:
            asked.pop("t", None)
        assert queries[0] == queries[1], altered
        assert one.exchange.scope["query_string"] == other.target.partition(b"?")[2]
    assert known
