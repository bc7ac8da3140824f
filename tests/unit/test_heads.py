"""A request that is read without a parser is what the parser would have read."""

import random
from dataclasses import dataclass, field

import httptools
import pytest

from collab_server.realtime.engine.requests import query_of
from collab_server.realtime.lean import heads

REQUESTS = 20_000


@dataclass
class Told:
    """What httptools says of some bytes."""

    targets: list[bytes] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    ends: int = 0

    def on_url(self, url: bytes) -> None:
        self.targets.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ends += 1


def by_parser(data: bytes) -> tuple[str, bytes, list[tuple[bytes, bytes]], bytes, bool] | None:
    """Method, target, headers, body and whether it has an offer; None unless it is one whole request of HTTP/1.1."""
    told = Told()
    parser = httptools.HttpRequestParser(told)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as stopped:
        if stopped.args[0] != len(data):
            return None
    except httptools.HttpParserError:
        return None
    if told.ends != 1 or len(told.targets) != 1 or parser.get_http_version() != "1.1":
        return None
    has_offer = bool(parser.should_upgrade())
    if not (has_offer or parser.should_keep_alive()):
        return None
    return parser.get_method().decode(), told.targets[0], told.headers, told.body, has_offer


TARGETS = [
    b"/socket.io/?EIO=4&transport=websocket",
    b"/socket.io/?EIO=4&transport=polling&sid=a",
    b"/",
    b"/a#b",
    b"*",
    b"/\xc3\xa4",
]
LINES = [
    b"Host: a", b"host:a", b"Accept:  */*  ", b"Cookie: a=b; c=d", b"Cookie: e=f", b"X-Empty:", b"X:\tb", b"X: a\tb",
    b" folded", b"X : a", b"X: \xe4", b"X: a\rb", b"X: a\nY: b", b"no colon", b": nothing", b"X: a\0b",
    b"Upgrade: websocket", b"upgrade: WebSocket", b"Upgrade: h2c", b"Upgrade: websocket, h2c",
    b"Connection: Upgrade", b"connection: keep-alive, Upgrade", b"Connection: keep-alive", b"Connection: close",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13",
    b"Content-Length: 0", b"Content-Length: 3", b"content-length: 03", b"Content-Length: +3", b"Content-Length: 3, 3",
    b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
]  # fmt: skip
WAYS = [b"GET", b"POST", b"GET", b"POST", b"PUT", b"get", b"CONNECT"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]
HANDSHAKE = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: a"]
BODIES = [b"", b"", b"40{", b"3\r\n40{\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]


def some_request(chance: random.Random) -> bytes:
    """Half of them plain, but for what chance has added."""
    is_odd = chance.random() < 0.5
    way, body = chance.choice([(b"GET", b""), (b"POST", b"40{")])
    lines = chance.sample(LINES, chance.randint(1, 3)) if is_odd else []
    if way == b"GET" and chance.random() < 0.3:
        lines += HANDSHAKE
    if way == b"POST" and chance.random() < 0.9:
        lines.append(b"Content-Length: 3")
    chance.shuffle(lines)
    if is_odd and chance.random() < 0.3:
        way, body = chance.choice(WAYS), chance.choice(BODIES)
    end = b"\n" if chance.random() < 0.02 else b"\r\n"
    target = TARGETS[0] if chance.random() < 0.5 else chance.choice(TARGETS)
    version = b"HTTP/1.1" if chance.random() < 0.9 else chance.choice(VERSIONS)
    return end.join([b" ".join([way, target, version]), b"Host: a", *lines, b"", b""]) + body


def test_what_is_read_is_what_the_parser_reads() -> None:
    read, handshakes = 0, 0
    for seed in range(REQUESTS):
        data = some_request(random.Random(seed))
        request = heads.read(data)
        if request is None:
            continue
        read, handshakes = read + 1, handshakes + request.is_handshake
        found = (request.method, request.target, request.headers, request.body, request.is_handshake)
        assert found == by_parser(data), data
    assert read > REQUESTS / 4
    assert handshakes > REQUESTS / 100


@pytest.mark.parametrize(
    "head",
    [
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a:1\r\nConnection: keep-alive, Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n",
        b"POST /socket.io/?sid=a HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\n40{",
    ],
)
def test_what_clients_send_needs_no_parser(head: bytes) -> None:
    assert heads.read(head) is not None
    assert heads.read(head[:-1]) is None
    assert heads.read(head + b"x") is None
    assert heads.read(head + head) is None


def test_a_head_of_very_many_short_headers_is_for_the_parser_which_bounds_them() -> None:
    def with_headers(number: int) -> bytes:
        lines = [b"%x:\r\n" % one for one in range(number)]
        return b"GET /socket.io/?sid=1 HTTP/1.1\r\n" + b"".join(lines) + b"\r\n"

    assert heads.read(with_headers(heads.MOST_HEADERS)) is not None
    assert heads.read(with_headers(heads.MOST_HEADERS + 1)) is None


def test_a_head_that_fits_nowhere_costs_no_more_than_its_length() -> None:
    for piece in (b"a", b" ", b": ", b"a:\r\n", b"a: b\r\n"):
        assert (
            heads.read(b"GET /socket.io/ HTTP/1.1\r\n" + piece * (heads.MOST_BYTES // len(piece) - 20))
            is None
        )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (
            b"EIO=4&transport=polling&t=a.b&sid=x_-",
            {"EIO": "4", "transport": "polling", "t": "a.b", "sid": "x_-"},
        ),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=1&a=&a", {"a": "1"}),
        (b"&&=1&b==2&&c", {"": "1", "b": "=2"}),
        (b"a=%31&b=1+1", {"a": "1", "b": "1 1"}),
        (b"", {}),
        (b"\xff=\xff", {"\xff": "\xff"}),
    ],
)
def test_a_query_is_read_as_pairs_with_a_value(query: bytes, found: dict[str, str]) -> None:
    assert query_of({"query_string": query}) == found
