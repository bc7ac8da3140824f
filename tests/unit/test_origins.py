"""One notion of an origin: what browsers send, what is allowed by name, what is a node's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from collab_server.domain.addresses import Addresses
from collab_server.domain.origins import LONGEST, AllowedOrigins, NoOrigin, parse, parse_allowed
from collab_server.services.origins import LINES, TOLD_AGAIN_SECONDS, Origins

PROXY = ("127.0.0.1", 40000)
STRANGER = ("203.0.113.7", 40000)


def origins(*allowed: str, **more: Any) -> Origins:
    return Origins([parse_allowed(name) for name in allowed], Addresses(["127.0.0.1"]), **more)


def asked(of: Origins, origin: str, *, client: Any = PROXY, scheme: str = "http", **headers: str) -> bool:
    """Whether it is admitted; headers by their names with _ for -."""
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return of.admits(origin, sent, scheme, client)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://a.example", "https://a.example"),
        ("HTTPS://A.Example:443/", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://müller.example", "https://xn--mller-kva.example"),
        ("https://MÜLLER.example", "https://xn--mller-kva.example"),
        ("https://straße.example:8443", "https://xn--strae-oqa.example:8443"),
        ("https://例え。テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("http://my_host:8080", "http://my_host:8080"),
        ("http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
        ("http://10.0.0.7", "http://10.0.0.7"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("file://", "file://"),
        ("null", "null"),
    ],
)
def test_what_is_allowed_is_what_browsers_send(written: str, sent: str) -> None:
    assert parse(sent) in AllowedOrigins([parse_allowed(written)])
    assert asked(origins(written), sent, host="elsewhere.example")
    assert not asked(origins("https://another.example"), sent, host="elsewhere.example")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "a.example",
        "https://",
        "https://a.example/path",
        "https://a.example?x",
        "https://user@a.example",
        "https://a b.example",
        "https://a..example",
        "https://a.example:0x50",
        "https://a.example:65536",
        "https://*",
        "https://a.*.example",
        "https://*a.example",
        "https://*.*.example",
        "https://*.10.0.0.7",
        "https://*.[::1]",
        "https://a.example:*",
        "http://10.0.0.7:*",
        "http://localhost.example:*",
        "capacitor://localhost:*",
        "http://*.localhost:*",
        "http://:*",
        "*.example.com",
        "*://a.example",
        "chrome-extension://*",
        "capacitor://*.localhost",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "http://300.1.1.1",
        "http://127.1",
        "wss://a.example",
        "ws://a.example",
        "data:text/html,x",
        "blob:https://a.example",
        "https://" + "a" * LONGEST,
    ],
)
def test_what_would_match_nobody_is_refused(written: str) -> None:
    with pytest.raises(NoOrigin):
        parse_allowed(written)


def test_a_star_is_for_subdomains_of_any_depth_and_for_nothing_else() -> None:
    of = origins("https://*.example.com", "http://*.müller.example:8080")
    for sent in ("https://a.example.com", "https://b.a.example.com", "http://x.xn--mller-kva.example:8080"):
        assert asked(of, sent)
    for sent in (
        "https://example.com",
        "http://a.example.com",
        "https://a.example.com:8443",
        "https://aexample.com",
        "https://a.example.com.evil.example",
        "https://evil.example",
        "null",
    ):
        assert not asked(of, sent), sent


def test_any_port_is_for_pages_of_this_machine_alone() -> None:
    of = origins("http://localhost:*", "http://127.0.0.1:*", "https://[::1]:*", "http://app.localhost:*")
    for sent in (
        "http://localhost",
        "http://localhost:5173",
        "http://127.0.0.1:3000",
        "https://[::1]:8443",
        "http://app.localhost:1",
    ):
        assert asked(of, sent, host="elsewhere.example"), sent
    for sent in (
        "https://localhost:5173",
        "http://other.localhost:5173",
        "http://127.0.0.2:3000",
        "http://localhost.example:5173",
        "http://xlocalhost:5173",
        "null",
    ):
        assert not asked(of, sent, host="elsewhere.example"), sent


def test_any_is_any() -> None:
    of = origins("*")
    assert all(asked(of, sent) for sent in ("null", "https://a.example", "what is this"))


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("https://dash.example.com", {"host": "dash.example.com"}),
        ("http://dash.example.com", {"host": "dash.example.com"}),
        ("https://dash.example.com", {"host": "DASH.example.com:443"}),
        ("http://dash.example.com", {"host": "dash.example.com:80"}),
        ("https://dash.example.com", {"host": "dash.example.com:80"}),  # TLS ends before
        ("https://dash.example.com:8443", {"host": "dash.example.com:8443"}),
        ("https://dash.example.com:8443", {"host": "dash.example.com", "x_forwarded_port": "8443"}),
        ("https://dash.example.com", {"host": "dash.example.com:8080", "x_forwarded_port": "443"}),
        ("https://dash.example.com", {"host": "collab:3000", "x_forwarded_host": "dash.example.com"}),
        ("https://dash.example.com", {"host": "collab", "x_forwarded_host": "dash.example.com:443"}),
        ("https://dash.example.com", {"host": "c", "x_forwarded_host": "dash.example.com, inner:80"}),
        (
            "https://dash.example.com:8443",
            {"x_forwarded_host": "dash.example.com", "x_forwarded_port": "8443"},
        ),
        ("https://dash.example.com", {"host": "dash.example.com", "x_forwarded_proto": "https"}),
        ("http://dash.example.com", {"host": "dash.example.com", "x_forwarded_proto": "http"}),
        ("http://[::1]:3000", {"host": "[0::1]:3000"}),
        ("http://10.0.0.7:3000", {"host": "10.0.0.7:3000"}),
    ],
)
def test_own_pages_are_recognised_behind_proxies(origin: str, headers: dict[str, str]) -> None:
    assert asked(origins(), origin, **headers)
    assert asked(origins(), origin, client=("203.0.113.9", 0), **headers)  # whom a trusted proxy has named
    is_told_by_proxies = "x_forwarded_host" in headers or "x_forwarded_port" in headers
    assert asked(origins(), origin, client=STRANGER, **headers) is not is_told_by_proxies


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("https://evil.example", {"host": "dash.example.com"}),
        ("https://dash.example.com:8443", {"host": "dash.example.com"}),
        ("https://dash.example.com", {"host": "dash.example.com:8443"}),
        ("http://dash.example.com", {"host": "dash.example.com:443"}),
        ("http://dash.example.com", {"host": "dash.example.com", "x_forwarded_proto": "https"}),
        ("https://dash.example.com.evil.example", {"host": "dash.example.com"}),
        ("capacitor://dash.example.com", {"host": "dash.example.com"}),
        ("null", {"host": "null"}),
        ("null", {}),
        ("https://dash.example.com", {}),
        ("https://dash.example.com", {"host": ""}),
        ("https://", {"host": ""}),
        ("https://dash.example.com, https://evil.example", {"host": "dash.example.com"}),
    ],
)
def test_others_are_not_its_own(origin: str, headers: dict[str, str]) -> None:
    assert not asked(origins(), origin, **headers)


def test_a_page_over_http_is_not_that_of_a_node_with_tls() -> None:
    assert not asked(
        origins(), "http://dash.example.com", scheme="wss", client=STRANGER, host="dash.example.com"
    )
    assert asked(
        origins(), "https://dash.example.com", scheme="wss", client=STRANGER, host="dash.example.com"
    )


def test_library_on_the_same_machine_is_known_by_whatever_name_the_node_has() -> None:
    of = origins("http://127.0.0.1:8080", beside="http://127.0.0.1:8080")
    assert asked(of, "http://collab:8080", client=STRANGER, host="collab:3000")
    assert asked(of, "http://127.0.0.1:8080", client=STRANGER, host="collab:3000")
    for sent in ("http://collab:8081", "https://collab:8080", "http://evil.example:8080"):
        assert not asked(of, sent, client=STRANGER, host="collab:3000"), sent


def test_each_refused_origin_is_one_line_and_a_flood_of_them_few(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    of = origins(clock=lambda: now)
    with caplog.at_level(logging.INFO, "collab_server"):
        for _ in range(3):
            assert not asked(of, "https://evil.example", host="dash.example.com:443")
        [line] = caplog.records
        assert "https://evil.example" in line.getMessage()
        assert "allowedOrigins" in line.getMessage()
        assert line.__dict__["host"] == "dash.example.com"
        for number in range(1000):
            asked(of, f"https://e{number}.example", host="dash.example.com")
        assert len(caplog.records) == LINES
        now += TOLD_AGAIN_SECONDS
        asked(of, "https://evil.example")
        assert caplog.records[-1].__dict__["left_out"] == str(1000 - LINES + 1)
        asked(of, "what\nis this")
        assert "what" not in caplog.records[-1].getMessage().removeprefix("what sends")
        assert len(caplog.records) == LINES + 2
