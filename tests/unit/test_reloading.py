"""A file that cannot be read, and never will be, holds nothing up but itself."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trustme

from collab_server import reloading
from collab_server.config import ConfigError, LoadedConfig, Problem, load_config
from collab_server.config.renewal import Renewable
from collab_server.reloading import MOST_LEFT_BEHIND, Reloading

HANGS = "SIGHUP: a file cannot be read in time, or is a pipe: the configuration before stays in use"
BROKEN = "SIGHUP: the configuration has errors: the one before stays in use"


async def test_a_file_that_hangs_is_said_and_the_next_time_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reloading, "READ_SECONDS", 0.05)
    pipe = tmp_path / "cert.pem"
    os.mkfifo(pipe)
    ended: list[threading.Thread] = []

    def read() -> LoadedConfig:
        pipe.read_bytes()
        ended.append(threading.current_thread())
        raise ConfigError([Problem("publicCertFile", "holds no certificate in PEM form")])

    parts = cast("Any", None)  # nothing is taken up
    again = Reloading(parts, read, parts, parts)
    threads = set(threading.enumerate())
    with caplog.at_level(logging.INFO, logger="collab_server.reloading"):
        for _ in range(MOST_LEFT_BEHIND + 2):
            await again.look_again()
        assert caplog.messages == [HANGS] * (MOST_LEFT_BEHIND + 2)
        left = [one for one in threading.enumerate() if one not in threads]
        assert len(left) == MOST_LEFT_BEHIND
        assert all(one.daemon for one in left)
        pipe.rename(tmp_path / "away")
        pipe.write_bytes(b"")
        (tmp_path / "away").open("wb").close()  # somebody writes into it at last
        for one in left:
            one.join(10)
        assert len(ended) == MOST_LEFT_BEHIND
        monkeypatch.setattr(reloading, "READ_SECONDS", 10.0)
        await again.look_again()
    assert caplog.messages[-1] == BROKEN


LEAVING = """
import asyncio, threading
from collab_server import reloading
from collab_server.reloading import Reloading

reloading.LEAVING_SECONDS = {leaving}
begun, goes_on = threading.Event(), threading.Event()

def read():
    begun.set()
    goes_on.wait({patience})
    print("read to its end", flush=True)

async def leave():
    task = asyncio.create_task(Reloading(None, read, None, None).look_again())
    await asyncio.to_thread(begun.wait)
    task.cancel()

asyncio.run(leave())
"""


@pytest.mark.parametrize(
    ("patience", "leaving", "expected"), [(0.2, 30.0, "read to its end\n"), (600, 0.1, "")]
)
def test_the_end_of_the_process_waits_a_moment_for_what_is_being_read(
    patience: float, leaving: float, expected: str
) -> None:
    """Within OpenSSL a thread would crash the process that takes it down; what hangs holds nobody up."""
    script = LEAVING.format(patience=patience, leaving=leaving)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (expected, "")


async def test_what_is_set_back_to_what_it_was_at_the_start_is_taken_up_too(tmp_path: Path) -> None:
    def configured(*origins: str) -> LoadedConfig:
        (tmp_path / "config.json").write_text(json.dumps({"allowedOrigins": origins}))
        return load_config(tmp_path / "config.json", {})

    first, second = configured("https://a.example"), configured("https://b.example")
    readings = iter([second, second, first])
    taken_up: list[tuple[frozenset[str], Any]] = []
    changing = SimpleNamespace(use=lambda config, changed: taken_up.append((changed, config.allowedOrigins)))
    certificates = SimpleNamespace(use=lambda made: None)
    again = Reloading(first.config, lambda: next(readings), cast("Any", certificates), cast("Any", changing))
    for _ in range(3):
        await again.look_again()
    both = second.config.allowedOrigins, first.config.allowedOrigins
    changed, nothing = frozenset({"allowedOrigins"}), frozenset[str]()
    assert taken_up == [(changed, both[0]), (nothing, both[0]), (changed, both[1])]


def test_a_certificate_that_takes_anothers_place_is_served_by_the_same_protocols() -> None:
    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("node.example").configure_cert(made)
        return made

    authority = trustme.CA()
    serving = Renewable(context())
    serving.set_alpn_protocols(["http/1.1"])
    client = ssl.create_default_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    authority.configure_trust(client)
    for _ in range(2):
        ways = [ssl.MemoryBIO() for _ in range(2)]
        ends = [
            client.wrap_bio(ways[0], ways[1], server_hostname="node.example"),
            serving.wrap_bio(ways[1], ways[0], server_side=True),
        ]
        for end in ends * 2:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        assert [end.selected_alpn_protocol() for end in ends] == ["http/1.1"] * 2
        serving.use(context())


def test_whoever_interrupts_that_too_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(_timeout: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reloading, "_threads", [SimpleNamespace(join=join)])
    reloading._let_them_end()
