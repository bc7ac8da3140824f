"""What an administrator is told of Library: each change once, whatever the calls meet."""

from __future__ import annotations

import logging

import pytest

from collab_server.authority.library.health import LINE_SECONDS, LINES_AT_ONCE, Fault, Health, without_secrets

AWAY = Fault("unreachable", "cannot reach it", is_general=True)
SLOW = Fault("slow", "no answer", is_general=True)
SIGN_IN, PROBE, KEEP = "POST /auth/delegate", "GET /auth/identityToken", "PUT /sessions"


class Clock:
    """The monotonic time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock, caplog: pytest.LogCaptureFixture) -> Health:
    caplog.set_level(logging.INFO)
    return Health(has_address=True, clock=clock)


def wrong_path(call: str) -> Fault:
    return Fault("wrong_path", f"404 at {call}")


def test_nothing_is_said_before_something_is_known(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    health.look()
    assert health.problem == "not asked yet"
    assert caplog.messages == []
    health.answered(PROBE, 0.01)
    health.answered(SIGN_IN, 0.02)
    health.look()
    assert not health.problem
    assert health.latency_seconds == 0.02
    assert caplog.messages == ["Library is available"]


def test_without_an_address_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(has_address=False)
    for _ in range(3):
        health.look()
    assert health.problem == "authorizationServerUrl is not set: nobody can sign in"
    assert caplog.messages == [f"Library is unavailable: {health.problem}"]


def test_each_change_is_one_line(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    for fault in (AWAY, SLOW, wrong_path(SIGN_IN)):
        for call in (SIGN_IN, KEEP, SIGN_IN):
            health.failed(call, fault)
    for call in (KEEP, SIGN_IN, KEEP):
        health.answered(call, 0.01)
    assert caplog.messages == [
        "Library is unavailable: cannot reach it",
        "Library is unavailable: no answer",
        f"Library is unavailable: 404 at {SIGN_IN}",
        "Library is available",
    ]


def test_one_cause_is_said_once_whichever_calls_meet_it(
    health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for call in (PROBE, SIGN_IN, KEEP):
            health.failed(call, wrong_path(call))
        health.failed(KEEP, Fault("page", "403"))
    health.answered("GET /sessions", 0.01)
    assert health.problem == f"404 at {PROBE}"
    health.answered(PROBE, 0.01)
    assert not health.problem
    assert caplog.messages == [f"Library is unavailable: 404 at {PROBE}", "Library is available"]


def test_another_cause_of_the_same_kind_is_said_once_the_first_is_over(
    health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    refused, lost = [
        Fault("unreachable", words, is_general=True) for words in ("connection refused", "no route")
    ]
    for fault in (refused, lost) * 50:  # two machines under one name
        health.failed(PROBE, fault)
        clock.seconds += 5
    assert caplog.messages == ["Library is unavailable: connection refused"]
    for _ in range(50):
        health.failed(PROBE, lost)
        health.failed(SIGN_IN, lost)
        clock.seconds += 5
    assert health.problem == "no route"
    health.failed(PROBE, refused)
    assert health.problem == "no route"
    health.failed(
        SIGN_IN, Fault("unreachable", "of this call alone")
    )  # somebody answered: no longer all of it
    assert health.problem == "of this call alone"
    told = [refused.words, lost.words, "of this call alone"]
    assert caplog.messages == [f"Library is unavailable: {words}" for words in told]


def test_one_call_that_goes_wrong_among_others_does_not_flicker(
    health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        health.failed(SIGN_IN, Fault("page", "403"))
        health.answered(KEEP, 0.01)
    assert health.problem == "403"
    assert len(caplog.messages) == 1
    clock.seconds += 61
    health.answered(KEEP, 0.01)
    assert health.problem is None


def test_what_comes_and_goes_fills_no_log(
    health: Health, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        health.failed(KEEP, SLOW)
        health.answered(KEEP, 0.01)
        clock.seconds += 0.1
    health.failed(KEEP, AWAY)
    assert len(caplog.messages) <= LINES_AT_ONCE + 2
    clock.seconds += LINE_SECONDS
    health.look()
    assert caplog.messages[-1] == "Library is unavailable: cannot reach it"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://idp.example.com/login?SAMLRequest=secret#x", "https://idp.example.com/login"),
        ("/ui/login;jsessionid=secret?a=b", "https://library.example.com/ui/login"),
        ("//me:secret@idp.example.com/x", "https://idp.example.com/x"),
        ("login", "https://library.example.com/api/login"),
        ("", "https://library.example.com/api/sessions"),
        ("https://idp.example.com/\r\nX-Evil:\u20ac", "https://idp.example.com/X-Evil:?"),
        ("http://[", "nowhere"),
    ],
)
def test_a_redirect_is_named_without_what_may_be_secret(location: str, target: str) -> None:
    assert without_secrets("https://library.example.com/api/sessions", location) == target
    assert len(without_secrets("https://library.example.com/", "x" * 9000)) <= 200
