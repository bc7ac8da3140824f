"""What is in the log, and what never is."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from collab_server import logs
from collab_server.config import ConfigError
from collab_server.telemetry import traces


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    names = ["", "collab_server", "uvicorn", "uvicorn.error", "uvicorn.access", "socketio", "engineio"]
    loggers = [logging.getLogger(name) for name in names]
    before = [
        (logger.level, list(logger.handlers), list(logger.filters), logger.propagate) for logger in loggers
    ]
    yield
    for logger, (level, handlers, filters, propagate) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.level, logger.handlers, logger.filters, logger.propagate = level, handlers, filters, propagate
        logger.manager._clear_cache()  # type: ignore[attr-defined]


ours = logging.getLogger("collab_server.services.live.feed")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_line_of_text_has_time_level_name_and_facts(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log")
    ours.info("Gap repaired", extra={"topic": "content:A:B", "missing": 3})
    (line,) = lines(tmp_path / "log")
    for part in (
        "Z [info",
        "Gap repaired",
        "[collab_server.services.live.feed]",
        "missing=3",
        "topic=content:A:B",
    ):
        assert part in line


def test_a_line_of_json_is_one_object(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log", log_format="json")
    ours.warning("Gap %s", "repaired ä\n", extra={"missing": 3})
    try:
        raise ValueError("why")
    except ValueError:
        ours.exception("Broken")
    gap, broken = (json.loads(line) for line in lines(tmp_path / "log"))
    assert (gap["event"], gap["level"], gap["missing"]) == ("Gap repaired ä\n", "warning", 3)
    assert gap["logger"] == "collab_server.services.live.feed"
    assert broken["exception"].endswith("ValueError: why")


def test_detailed_makes_only_our_own_loggers_louder(tmp_path: Path) -> None:
    for is_detailed in (False, True):
        logs.configure(log_file=tmp_path / str(is_detailed), is_detailed=is_detailed)
        ours.debug("ours")
        for name in ("socketio.server", "engineio.server", "httpx2", "asyncio"):
            logging.getLogger(name).info("packet with a token")
    assert lines(tmp_path / "False") == []
    assert len(lines(tmp_path / "True")) == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_and_query_strings_are_never_written(tmp_path: Path, log_format: str) -> None:
    logs.configure(log_file=tmp_path / "log", log_format=log_format, is_detailed=True)  # type: ignore[arg-type]
    ours.info("Signed in", extra={"identityToken": "hunter2", "Cookie": "hunter2", "password": "hunter2"})
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/docs?token=hunter2", "1.1", 200
    )
    logging.getLogger("uvicorn.error").info(
        '%s - "WebSocket %s" [accepted]', "127.0.0.1:1", "/socket.io/?sid=hunter2"
    )
    text = (tmp_path / "log").read_text()
    assert "hunter2" not in text
    assert "/docs" in text
    assert len(lines(tmp_path / "log")) == 3


def test_nobody_can_write_a_line_of_their_own(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log")
    ours.info("Refused %s", "x\n2026-01-01 [error] forged\x1b[31m", extra={"what": "a\r\nb"})
    (line,) = lines(tmp_path / "log")
    assert "\x1b" not in line


def test_every_request_and_socket_is_named_only_when_detailed(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log")
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "a", "GET", "/", "1.1", 200)
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "a", "/socket.io/")
    logging.getLogger("uvicorn.error").info("connection open")
    logging.getLogger("uvicorn.error").info("connection rejected (%d %s)", 400, "Bad Request")
    logging.getLogger("uvicorn.error").info("Uvicorn running on %s", "here")
    (line,) = lines(tmp_path / "log")
    assert "Uvicorn running" in line


def test_configuring_again_replaces_what_was_configured(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "first")
    logs.configure(log_file=tmp_path / "second")
    ours.info("once")
    assert (len(lines(tmp_path / "first")), len(lines(tmp_path / "second"))) == (0, 1)


def test_a_full_file_is_kept_and_a_new_one_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    logs.configure(log_file=tmp_path / "log")
    for number in range(200):
        ours.info("A line of some length, number %d", number)
    assert len(list(tmp_path.glob("log*"))) == 1 + logs.OLD_FILES


def test_a_file_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="logFile"):
        logs.configure(log_file=tmp_path)


def test_a_file_that_was_moved_away_is_begun_anew_when_asked(tmp_path: Path) -> None:
    assert logs.reopen() is None
    logs.configure(log_file=tmp_path / "log")
    ours.info("before")
    (tmp_path / "log").rename(tmp_path / "log.old")
    ours.info("still before")
    assert logs.reopen() == tmp_path / "log"
    ours.info("after")
    assert (len(lines(tmp_path / "log.old")), len(lines(tmp_path / "log"))) == (2, 1)


def test_a_file_that_cannot_be_begun_anew_is_not_given_up(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    logs.configure(log_file=tmp_path / "here" / "log")
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(OSError, match="here"):
        logs.reopen()
    ours.info("goes on")
    assert len(lines(tmp_path / "there" / "log")) == 1


def test_a_full_disk_is_one_line_on_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    logs.configure(log_file=tmp_path / "log")
    for number in range(100):
        ours.info("Gap repaired", extra={"token": f"secret{number}"})
    assert capfd.readouterr().err == "log lines are lost: No space left on device\n"
    (tmp_path / "log").unlink()
    logs.reopen()
    ours.info("Gap repaired")
    assert len(lines(tmp_path / "log")) == 1


def test_lines_that_repeat_themselves_are_left_out_and_counted(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log")
    (repeats,) = [
        found
        for handler in logging.getLogger().handlers
        for found in handler.filters
        if isinstance(found, logs._Repeats)
    ]
    now = 0.0
    repeats._clock = lambda: now
    theirs = logging.getLogger("uvicorn.error")
    for number in range(500):
        theirs.warning("Nonsense from %d", number)
        ours.info("Fact %d", number)
    ours.warning("Another")
    assert len(lines(tmp_path / "log")) == 20 + 500 + 1
    now = 5.0
    theirs.warning("Nonsense from %d", 500)
    assert "Nonsense from 500" in lines(tmp_path / "log")[-1]
    assert "left_out=480" in lines(tmp_path / "log")[-1]
    for number in range(logs.MOST_REPEATED * 3):
        ours.warning(f"Kind {number}")
    assert len(repeats._kinds) <= logs.MOST_REPEATED


def test_a_file_that_is_seen_can_be_asked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever moves it away as soon as it is there, and says so, gets a new one."""
    file = tmp_path / "log"
    opened = logs._FileHandler._open
    asking = threading.Thread(target=logs.reopen)

    def open_and_move_away(handler: logs._FileHandler) -> TextIO:
        stream = opened(handler)
        if not file.with_suffix(".1").exists():
            file.rename(file.with_suffix(".1"))
            asking.start()
        return stream

    monkeypatch.setattr(logs._FileHandler, "_open", open_and_move_away)
    logs.configure(log_file=file)
    asking.join()
    assert file.exists()


def test_a_file_that_cannot_be_written_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log")
    with pytest.raises(ConfigError, match="cannot be written"):
        logs.configure(log_file=tmp_path / "no folder" / "log")
    ours.info("As before")
    assert "As before" in lines(tmp_path / "log")[-1]


def test_checks_and_calls_that_have_lines_of_their_own_are_no_requests_of_uvicorns(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log", is_detailed=True)
    paths = ["/health/live", "/health/ready", "/status", "/status?verbose=1", "/metrics", "/api/me", "/docs"]
    for path in [*paths, *["/flood"] * 1000]:
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "a", "GET", path, "1.1", 200)
    (docs, *others) = lines(tmp_path / "log")
    assert '"GET /docs HTTP/1.1"' in docs
    assert len(others) < 50


def test_every_line_names_the_node_and_its_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_names", {})
    logs.configure(log_file=tmp_path / "log", log_format="json")
    logs.speak_as("node-1")
    ours.info("by itself")
    before = traces.CURRENT.set("a-trace")
    ours.info("of a request")
    ours.info("of another", extra={"trace": "its-own"})
    logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[36mStarted"})
    traces.CURRENT.reset(before)
    found = [json.loads(line) for line in lines(tmp_path / "log")]
    assert [line.get("trace") for line in found] == [None, "a-trace", "its-own", "a-trace"]
    assert {line["node"] for line in found} == {"node-1"}
    assert "color_message" not in found[-1]


def test_what_is_left_of_a_line_that_found_no_room_ends_before_the_next(tmp_path: Path) -> None:
    logs.configure(log_file=tmp_path / "log", log_format="json", is_shared=True)
    ours.info("before")
    with (tmp_path / "log").open("a") as another_worker:
        another_worker.write('{"event": "torn')
    ours.info("after")
    ours.info("and on")
    before, torn, *after = lines(tmp_path / "log")
    assert torn == '{"event": "torn'
    assert [json.loads(line)["event"] for line in (before, *after)] == ["before", "after", "and on"]
