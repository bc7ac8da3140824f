"""What an administrator can say in `config.json`, and what they are told when it is wrong."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

import pytest
from pydantic_core import PydanticCustomError
from redis.asyncio.connection import parse_url

from collab_server.app import Application
from collab_server.config import Config, ConfigError, DataSource, LoadedConfig, Problem, load_config
from collab_server.config.encryption import create_key_file, encrypt
from collab_server.config.loading import alternatives, leaves
from collab_server.config.values import database_hosts, parse_dburl, parse_redis_url
from collab_server.domain.commenting import Circle
from collab_server.domain.ids import library_id
from collab_server.workers.tallies import MOST_SEATS
from tests.harness.certificates import PASSPHRASE, write_certificates
from tests.harness.packages import EXAMPLES, install

EXAMPLE_OF_THE_HELP = {
    "port": 3000,
    "dataSource": {"username": "mstr_collab", "password": "xxx"},
    "logging": True,
    "authorizationServerUrl": "https://balancer.example.com/MicroStrategyLibrary/api",
    "scaling": "horizontal",
    "redisServerUrl": "redis://redis.example.com:6379",
}
LIBRARY = {"authorizationServerUrl": "https://library.example.com/MicroStrategyLibrary/api"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def load(file: Path, content: Any, environ: dict[str, str] | None = None) -> LoadedConfig:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_config(file, environ or {})


def errors(file: Path, content: Any, environ: dict[str, str] | None = None) -> dict[str, str]:
    """Property → message of every error."""
    with pytest.raises(ConfigError) as raised:
        load(file, content, environ)
    return {
        problem.property: problem.message for problem in raised.value.problems if problem.severity == "error"
    }


def warnings(file: Path, content: Any, environ: dict[str, str] | None = None) -> dict[str, str]:
    return {problem.property: problem.message for problem in load(file, content, environ).warnings}


# --- what is accepted


def test_cluster_example_of_the_help_works_unchanged(file: Path) -> None:
    config, found, path = load(file, EXAMPLE_OF_THE_HELP)
    assert {problem.property for problem in found} == {"redisServerUrl"}  # which has no password
    assert path == file
    assert config.port == 3000
    assert config.database.username == "mstr_collab"
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "xxx"
    assert config.redis is not None
    assert config.redis.hosts == (("redis.example.com", 6379),)


def test_documented_defaults(file: Path) -> None:
    config = load(file, {}).config
    assert (config.port, config.scaling, config.cpus, config.logging) == (3000, "none", 1, False)
    assert (config.enableTls, config.trustedCerts, config.administrators) == (False, (), ())
    assert (config.database.username, config.database.host, config.database.port) == (
        "mstr_collab",
        "localhost",
        5432,
    )
    assert config.database.database == "mstr_collab"
    assert not config.database.is_tls
    assert config.limits.model_dump() == {
        "textCharacters": 10000,
        "viewStateBytes": 65536,
        "packetBytes": 1000000,
        "discussionMembers": 200,
        "mentionsPerComment": 50,
        "recipientsPerCommand": 1000,
        "recipientsPerHour": 5000,
        "topicsPerConnection": 128,
        "commandsPerSecond": 50,
        "commandsBurst": 200,
        "commandsWaiting": 512,
        "connectionsPerUser": 20,
        "requestsPerUser": 32,
        "outgoingBytes": 1000000,
        "strangers": 10_000,
        "strangersPerAddress": 1_000,
        "strangersBytes": 64_000_000,
        "strangerPacketBytes": 16_384,
        "signInTries": 2,
        "failedSignIns": 20,
    }


def test_a_config_made_by_hand_has_the_same_defaults() -> None:
    assert Config(dataSource=DataSource(port=5433)).database.port == 5433


def test_port_zero_means_3000_and_counts_as_given(file: Path) -> None:
    config = load(file, {"port": 0}).config
    assert config.port == 3000
    assert config.is_port_given
    assert not load(file, {}).config.is_port_given


def test_comment_keys_are_ignored_at_every_level(file: Path) -> None:
    content = {"// port": 1, "//": "x", "dataSource": {"//host": "y", "host": "db.localhost"}, **LIBRARY}
    loaded = load(file, content)
    assert loaded.warnings == []
    assert loaded.config.database.host == "db.localhost"


def test_byte_order_mark_is_accepted(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps({"port": 4000}).encode())
    assert load_config(file, {}).config.port == 4000


@pytest.mark.parametrize(
    ("content", "scaling"),
    [({"cpus": 4}, "vertical"), ({"cpus": 1}, "none"), ({"cpus": 4, "scaling": "none"}, "none")],
)
def test_scaling_follows_cpus_unless_it_is_given(file: Path, content: dict[str, Any], scaling: str) -> None:
    assert load(file, content).config.scaling == scaling


def test_certificates_that_are_not_used_are_warnings(file: Path) -> None:
    write_certificates(file.parent)
    pem = {"privateKeyFile": "key.pem", "publicCertFile": "cert.pem"}
    words = "is not used: enableTls is false"
    assert warnings(file, {**LIBRARY, **pem}) == {"privateKeyFile": words, "publicCertFile": words}
    assert warnings(file, {**LIBRARY, "keystoreFile": "node.p12"}) == {"keystoreFile": words}
    assert warnings(file, {**LIBRARY, **pem, "enableTls": True}) == {}


def test_how_many_workers_a_node_has_and_what_cannot_be_meant_is_a_warning(file: Path) -> None:
    redis = {"redisServerUrl": "redis://localhost"}
    for content, workers, warned in (
        ({"cpus": 4}, 4, {}),
        ({"cpus": 4, "scaling": "horizontal", **redis}, 4, {}),
        ({"scaling": "vertical"}, 1, {"cpus": "is 1: scaling vertical has nothing to scale"}),
        ({"cpus": 4, "scaling": "none"}, 1, {"cpus": "is not used: scaling is none"}),
    ):
        assert load(file, content).config.workers == workers
        assert warnings(file, {**LIBRARY, **content}) == warned
    for name in ("poolSize", "readPoolSize"):
        few = {**LIBRARY, "cpus": 4, "dataSource": {name: 3}}
        assert list(warnings(file, few)) == [f"dataSource.{name}"]
        assert warnings(file, {**few, "dataSource": {name: 4}}) == {}


def test_relative_paths_are_taken_from_the_directory_of_the_file(file: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir("/")
    (file.parent / "certs").mkdir()
    write_certificates(file.parent / "certs")
    write_certificates(file.parent)
    config = load(
        file,
        {"trustedCerts": ["certs/ca.pem", "./certs/../other.pem"]},
        {"COLLAB_LOGFILE": "certs/collab.log"},
    ).config
    assert config.trustedCerts == (file.parent / "certs" / "ca.pem", file.parent / "other.pem")
    assert config.logFile == file.parent / "certs" / "collab.log"


# --- where it is


def test_file_is_found_by_argument_then_environment_then_directory(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name, port in (("config.json", 1), ("named.json", 2), ("argument.json", 3)):
        (tmp_path / name).write_text(json.dumps({"port": port}))
    environ = {"COLLAB_CONFIG": str(tmp_path / "named.json")}
    assert load_config(tmp_path / "argument.json", environ).config.port == 3
    assert load_config(None, environ).config.port == 2
    assert load_config(None, {}).config.port == 1


def test_without_any_file_the_defaults_are_used_with_a_warning(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_config(None, {"COLLAB_DATASOURCE__HOST": "db"})
    assert loaded.path is None
    assert loaded.config.database.host == "db"
    assert "defaults" in {problem.property: problem.message for problem in loaded.warnings}["config.json"]


@pytest.mark.parametrize("by_environment", [True, False])
def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path, by_environment: bool) -> None:
    missing = tmp_path / "absent.json"
    with pytest.raises(ConfigError, match="there is no such file") as raised:
        load_config(*((None, {"COLLAB_CONFIG": str(missing)}) if by_environment else (missing, {})))
    assert raised.value.problems[0].property == str(missing)


def test_a_directory_instead_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n  "port" 3000\n}', "line 2, column 10"),
        ('{\n  "port": 3000,\n}', ", column 1"),  # of line 2 or 3: newer Pythons point at the comma
        ("", "line 1, column 1"),
        ("[]", "expected an object {…}, not an array"),
        ("null", "expected an object {…}, not null"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"port": ' + "9" * 10_000 + "}", "is not valid JSON"),
        (" " * 1_000_001, "is larger than"),
    ],
)
def test_what_is_no_json_object_is_refused_in_words(file: Path, content: str, message: str) -> None:
    assert message in errors(file, content)[str(file)]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("", "the file is empty"),
        ('{"port": 3000', "it ends too early"),
        ('{"port": 3000,\n}', "comma"),
        ('{"trustedProxies": ["::1",]}', "comma"),
        ("{'port': 3000}", "straight double quotes"),
        ("{\u201cport\u201d: 3000}", "straight double quotes"),
        ('{"logging": True}', "small letters"),
        ('{"port": 3000 // the usual one\n}', "whose names begin with //"),
        ('# mine\n{"port": 3000}', "whose names begin with //"),
        ('{"logFile": "C:\\logs"}', r"a backslash in a text is written twice, \\"),
        ('{"logFile": "C:\\users"}', r"a backslash in a text is written twice, \\"),
    ],
)
def test_mistakes_that_are_often_made_in_json_are_said(file: Path, content: str, hint: str) -> None:
    assert hint in errors(file, content)[str(file)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_of_an_editor_that_saves_in_utf_16_is_refused_in_words(file: Path, encoding: str) -> None:
    file.write_bytes('{"port": 3000}'.encode(encoding))
    with pytest.raises(ConfigError, match="save it in UTF-8"):
        load_config(file, {})


def test_what_is_not_utf_8_is_refused(file: Path) -> None:
    file.write_bytes('{\n"logFile": "ä"}'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"is not in UTF-8 \(line 2\): save it in UTF-8"):
        load_config(file, {})


# --- what is wrong


def test_all_problems_are_found_at_once_by_name(file: Path) -> None:
    found = errors(
        file,
        {
            "port": 70000,
            "dataSource": {"port": "5432", "username": "", "poolSize": 0, "sslClientCertFile": 3},
            "authorizationServerUrl": "<web_load_balancer_url>/api",
            "enableTls": True,
            "trustedCerts": "ca.pem",
            "scaling": "horizental",
            "redisServerUrl": "redis.example.com:6379",
            "logging": "yes",
            "logFile": "absent/collab.log",
            "administrators": ["54F3D26011D2896560009A8E67019608", "ann"],
            "allowedOrigins": ["https://a.example.com/path"],
            "trustedProxies": ["nginx"],
            "limits": {"textCharacters": 1.5, "packetBytes": None},
        },
    )
    assert set(found) == {
        "port",
        "dataSource.port",
        "dataSource.username",
        "dataSource.poolSize",
        "dataSource.sslClientCertFile",
        "authorizationServerUrl",
        "enableTls",
        "trustedCerts",
        "scaling",
        "redisServerUrl",
        "logging",
        "logFile",
        "administrators[1]",
        "allowedOrigins[0]",
        "trustedProxies[0]",
        "limits.textCharacters",
        "limits.packetBytes",
    }
    assert found["port"] == "must be at most 65535 (is 70000)"
    assert found["dataSource.port"] == "expected a whole number, not a string"
    assert found["logging"] == "expected true or false, not a string"
    assert found["scaling"] == "expected 'none', 'vertical' or 'horizontal', not \"horizental\""
    assert found["limits.packetBytes"] == "expected a whole number, not null"
    assert "placeholder" in found["authorizationServerUrl"]
    assert "redis://" in found["redisServerUrl"]


ODD: tuple[Any, ...] = (
    *(None, True, -1, 10**30, 1.5, float("nan"), "", " ", "a\nb", "\x1b[31mred", "a\0b", "\ud800"),
    *(
        "x" * 5000,
        "a..b",
        ".",
        [None],
        ["\x1b"],
        [{"kind": "a\nb"}],
        {"": 1},
        {"\ud800": {}},
        {"a\nb": {"c": 1}},
    ),
)


@pytest.mark.parametrize("value", ODD)
def test_whatever_stands_anywhere_is_taken_or_refused_in_a_line_of_our_own_words(
    file: Path, value: Any
) -> None:
    everywhere: dict[str, Any] = {}
    for name, _ in leaves(Config):
        section, _, leaf = name.rpartition(".")
        (everywhere.setdefault(section, {}) if section else everywhere)[leaf] = value
    sections = {name: value for name, inner in everywhere.items() if isinstance(inner, dict)}
    for content in (everywhere, sections, {"commenting": {"projects": {"x": value}}}):
        file.write_text(json.dumps(content))
        try:
            lines = [str(problem) for problem in load_config(file, {}).warnings]
        except ConfigError as error:
            lines = [str(problem) for problem in error.problems]
        for line in lines:
            assert line.isprintable()
            assert len(line) < 600
            assert "Input should" not in line  # pydantic's


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sessionHours": "8"}, "expected a number, not a string"),
        ({"sessionHours": 0}, "must be more than 0 (is 0)"),
        ({"sessionHours": 721}, "must be at most 720 (is 721)"),
        ({"authorizationServerUrl": "https://a..b/api"}, "names a host that none can have"),
        ({"dataSource": {"host": "db..example.com"}}, "names a host that none can have"),
        ({"dataSource": {"host": "a" * 64}}, "names a host that none can have"),
        ({"dataSource": {"host": "db1,db 2"}}, "names a host that none can have"),
        (
            {"scaling": "horizontal", "redisServerUrl": "redis://:hunter2@.a"},
            "names a host that none can have",
        ),
        ({"logFile": "."}, "is a directory"),
        ({"dataSource": {"sslRootCertificate": "absent.pem"}}, "there is no file"),
        ({"dataSource": {"username": "a\0b"}}, "holds a character that no text can have"),
    ],
)
def test_what_is_wrong_is_said_of_the_property_that_was_given(
    file: Path, content: dict[str, Any], message: str
) -> None:
    [(name, said)] = errors(file, content).items()
    assert message in said
    assert name.rpartition(".")[2] in json.dumps(content)
    assert "hunter2" not in said


def test_a_long_name_takes_no_room_for_each_of_what_is_in_it(file: Path) -> None:
    inside = {f"{number}": "a\0b" for number in range(2000)}
    found = errors(file, {**LIBRARY, "n" * 400_000: {"inside": inside}})
    assert max(map(len, found)) <= 500


def test_a_log_file_that_cannot_be_written_is_said_before_the_start(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != file.parent)  # root may do anything
    assert "may not be written by this user" in errors(file, {**LIBRARY, "logFile": "collab.log"})["logFile"]


def test_what_only_follows_from_something_wrong_is_not_said(file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, {**LIBRARY, "scaling": "horizontl", "redisServerUrl": "redis://localhost"})
    assert [problem.property for problem in raised.value.problems] == ["scaling"]


@pytest.mark.parametrize("value", ["true", "yes", 1, 0, None, []])
def test_booleans_are_strict(file: Path, value: Any) -> None:
    assert "expected true or false" in errors(file, {"logging": value})["logging"]


@pytest.mark.parametrize("value", ["3000", True, 3000.5, -1, 65536, None, [3000]])
def test_port_must_be_a_number_in_range(file: Path, value: Any) -> None:
    assert list(errors(file, {"port": value})) == ["port"]


REDIS = {"scaling": "horizontal", "redisServerUrl": "redis://redis.example.com"}


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        (None, None, 0),
        ("10.0.0.5", "10.0.0.5", 0),
        ("10.0.0.5:3001", "10.0.0.5", 3001),
        (":3001", None, 3001),
        ("[fd00::5]:3001", "fd00::5", 3001),
        ("node-1.example.com:3001", "node-1.example.com", 3001),
    ],
)
def test_where_a_node_is_reached_by_others(
    file: Path, value: str | None, host: str | None, port: int
) -> None:
    content = REDIS if value is None else {**REDIS, "advertise": value}
    found = load(file, content).config.handover
    assert found is not None
    assert (found.host, found.port, found.towards) == (host, port, (("redis.example.com", 6379),))


def test_a_node_that_is_alone_or_told_to_hands_nothing_over(file: Path) -> None:
    assert load(file, {**REDIS, "advertise": "none"}).config.handover is None
    loaded = load(file, {"advertise": ":3001"})
    assert loaded.config.handover is None
    assert [one.property for one in loaded.warnings if one.property == "advertise"] == ["advertise"]


@pytest.mark.parametrize(
    "value", ["", ":0", ":65536", "a b", "http://10.0.0.5", "10.0.0.5:", "fd00::5:1", 3001]
)
def test_an_address_that_nobody_can_reach_is_refused(file: Path, value: Any) -> None:
    assert list(errors(file, {**REDIS, "advertise": value})) == ["advertise"]


def test_every_worker_has_a_port_for_what_is_handed_over(file: Path) -> None:
    assert load(file, {**REDIS, "cpus": 4, "advertise": ":65532"}).config.handover is not None
    assert list(errors(file, {**REDIS, "cpus": 4, "advertise": ":65533"})) == ["advertise"]


@pytest.mark.parametrize("value", ["", "short", "sixteen letters…", "has a blank in it!", "x" * 1025, 7])
def test_a_status_token_can_be_sent_and_not_be_guessed(file: Path, value: Any) -> None:
    assert list(errors(file, {"statusToken": value})) == ["statusToken"]


def test_a_status_token_may_be_encrypted_or_in_clear_beside_a_key_file(file: Path) -> None:
    key_file = file.parent / "collab.key"
    create_key_file(key_file)
    token = "the-token-of-the-monitor"
    for written in (encrypt(token, key_file), token):
        section = {"dataSource": {"encryptionKeyFile": "collab.key"}, "statusToken": written}
        shown = load(file, section).config.status_token
        assert shown is not None
        assert shown.get_secret_value() == token
    assert list(errors(file, {"statusToken": encrypt(token, key_file)})) == ["statusToken"]


def test_a_section_that_is_no_object_is_an_error(file: Path) -> None:
    found = errors(file, {"dataSource": "postgres://x", "limits": []}, {"COLLAB_DATASOURCE__HOST": "db"})
    assert found == {
        "dataSource": "expected an object, not a string",
        "limits": "expected an object, not an array",
    }


def test_horizontal_needs_redis(file: Path) -> None:
    assert list(errors(file, {"scaling": "horizontal"})) == ["redisServerUrl"]


def test_the_bus_is_that_of_the_scaling_unless_it_is_chosen(file: Path) -> None:
    redis = {"redisServerUrl": "redis://localhost"}
    for content, kind in (
        ({}, "alone"),
        ({"scaling": "vertical"}, "alone"),
        ({"scaling": "horizontal", **redis}, "redis"),
        ({"scaling": "horizontal", "bus": {"kind": "redis"}, **redis}, "redis"),
        ({"bus": {"kind": "alone"}}, "alone"),
        ({"bus": {"kind": "redis"}}, "alone"),
    ):
        config = load(file, content).config
        assert config.bus_kind == kind
        assert (config.redis is not None) is (kind == "redis")
    assert list(errors(file, {"scaling": "horizontal", "bus": {"kind": "redis"}})) == ["redisServerUrl"]
    assert list(errors(file, {"scaling": "horizontal", "bus": {"kind": "alone"}})) == ["bus.kind"]
    assert warnings(file, {**LIBRARY, "bus": {"kind": "alone"}}) == {}
    by_variable = load(file, {"scaling": "horizontal", **redis}, {"COLLAB_BUS__KIND": "redis"})
    assert by_variable.config.bus.kind == "redis"


def test_an_unknown_bus_is_an_error_that_names_those_that_are_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert errors(file, {"bus": {"kind": "natz"}}) == {
        "bus.kind": '"natz" is no bus that is installed here: expected alone or redis'
    }
    install(EXAMPLES / "unix_bus", tmp_path)
    broken = tmp_path / "broken-1.dist-info"
    broken.mkdir()
    broken.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    points = "[collab_server.bus]\ngone = not_there_at_all:make\nnothing = os:sep\nredis = os:abort\n"
    broken.joinpath("entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert errors(file, {"scaling": "horizontal", "bus": {"kind": "natz"}}) == {
        "bus.kind": '"natz" is no bus that is installed here: expected alone, gone, nothing, redis or unix'
    }
    gone = errors(file, {"scaling": "horizontal", "bus": {"kind": "gone"}})["bus.kind"]
    assert gone.startswith("cannot be imported from not_there_at_all:make: ModuleNotFoundError")
    nothing = errors(file, {"scaling": "horizontal", "bus": {"kind": "nothing"}})
    assert nothing == {"bus.kind": "is nothing that can be called: os:sep"}
    chosen = {
        "scaling": "horizontal",
        "bus": {"kind": "unix", "url": "/there"},
        "redisServerUrl": "redis://h",
    }
    assert load(file, chosen).config.bus_kind == "unix"
    assert warnings(file, {**LIBRARY, **chosen}) == {"redisServerUrl": "is not used: bus.kind is unix"}


def test_what_is_said_of_a_bus_that_is_not_used_is_a_warning(file: Path) -> None:
    bus = {"bus": {"kind": "redis", "url": "redis://:hunter2@h"}}
    assert warnings(file, {**LIBRARY, **bus}) == {
        "bus.kind": "is not used: scaling is none",
        "bus.url": "is not used: scaling is none",
    }
    redis = {"scaling": "horizontal", "redisServerUrl": "redis://localhost"}
    assert warnings(file, {**LIBRARY, **bus, **redis}) == {"bus.url": "is not used: bus.kind is redis"}
    assert "hunter2" not in repr(load(file, bus).config)


def test_limits_that_contradict_each_other_are_errors(file: Path) -> None:
    found = errors(file, {"limits": {"packetBytes": 100_000, "outgoingBytes": 50_000}})
    assert set(found) == {"limits.packetBytes", "limits.outgoingBytes"}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"enableTls": True}, {"enableTls"}),
        ({"enableTls": True, "privateKeyFile": "there"}, {"publicCertFile"}),
        ({"enableTls": True, "publicCertFile": "there"}, {"privateKeyFile"}),
        ({"enableTls": True, "keystoreFile": "there"}, {"passphrase"}),
        ({"enableTls": True, "passphrase": "p"}, {"keystoreFile"}),
        ({"enableTls": True, "keystoreFile": "absent", "passphrase": "p"}, {"keystoreFile"}),
        (
            {"enableTls": True, "publicCertFile": "absent", "privateKeyFile": "gone"},
            {"publicCertFile", "privateKeyFile"},
        ),
        ({"dataSource": {"sslClientCertFile": "there"}}, {"dataSource.sslClientKeyFile"}),
        ({"dataSource": {"sslRootCertFile": "absent"}}, {"dataSource.sslRootCertFile"}),
        ({"redisClientKeyFile": "absent"}, {"redisClientCertFile", "redisClientKeyFile"}),
        ({"trustedCerts": ["there", "absent"]}, {"trustedCerts[0]", "trustedCerts[1]"}),
        ({"dataSource": {"encryptionKeyFile": "absent", "password": "x"}}, {"dataSource.encryptionKeyFile"}),
    ],
)
def test_missing_partners_and_files_are_errors(file: Path, content: dict[str, Any], wrong: set[str]) -> None:
    (file.parent / "there").touch(mode=0o600)
    assert set(errors(file, content)) == wrong


def test_keystore_pair_wins_over_the_pem_pair(file: Path) -> None:
    write_certificates(file.parent)
    content = {"enableTls": True, "privateKeyFile": "key.pem", "publicCertFile": "cert.pem"}
    pem = load(file, content).config.server_tls
    assert pem is not None
    assert pem.pem == (file.parent / "cert.pem", file.parent / "key.pem")
    both = load(file, {**content, "keystoreFile": "store.p12", "passphrase": PASSPHRASE}).config.server_tls
    assert both is not None
    assert (both.pem, both.keystore_file) == (None, file.parent / "store.p12")
    half = load(file, {**content, "keystoreFile": "store.p12"})
    assert half.config.server_tls == pem
    assert "passphrase" in {problem.property for problem in half.warnings}


# --- what is unusual


@pytest.mark.parametrize(
    ("content", "name", "suggestion"),
    [
        ({"prot": 1}, "prot", "; did you mean port?"),
        ({"Port": 1}, "Port", "; did you mean port? (names are case sensitive)"),
        ({"dataSource": {"userName": "x"}}, "dataSource.userName", "did you mean dataSource.username?"),
        ({"datasource": {}}, "datasource", "did you mean dataSource?"),
        ({"password": "x"}, "password", "did you mean dataSource.password?"),
        ({"PASSWORD": "x"}, "PASSWORD", "did you mean dataSource.password? (names are case sensitive)"),
        ({"redisURL": "x"}, "redisURL", "; did you mean redisServerUrl?"),
        ({"dataSource": {"user": "x"}}, "dataSource.user", "; did you mean dataSource.username?"),
        ({"pass": "x"}, "pass", "; did you mean dataSource.password?"),
        ({"authServerUrl": "x"}, "authServerUrl", "; did you mean authorizationServerUrl?"),
        ({"somethingElse": 1}, "somethingElse", "is ignored"),
        ({"limits": {"textCharacter": 1}}, "limits.textCharacter", "did you mean limits.textCharacters?"),
    ],
)
def test_unknown_names_are_warnings_with_a_suggestion(
    file: Path, content: dict[str, Any], name: str, suggestion: str
) -> None:
    assert suggestion in warnings(file, content)[name]


def test_of_a_name_that_stands_elsewhere_it_is_not_said_that_case_matters(file: Path) -> None:
    assert warnings(file, {"password": "x"})["password"].endswith("; did you mean dataSource.password?")


@pytest.mark.parametrize("name", ["name", "trusted", "use", "redis"])
def test_a_name_that_could_be_short_for_many_or_for_little_suggests_nothing(file: Path, name: str) -> None:
    assert "did you mean" not in warnings(file, {name: "x"})[name]


def test_a_name_given_twice_is_a_warning(file: Path) -> None:
    loaded = load(file, '{"port": 1, "port": 2}')
    assert loaded.config.port == 2
    assert "port" in {problem.property for problem in loaded.warnings}


def test_a_name_given_twice_is_said_with_its_section(file: Path) -> None:
    content = '{"port": 1, "dataSource": {"port": 5432, "port": 5433}, "authorizationServerUrl": "http://localhost/api"}'
    assert warnings(file, content) == {"dataSource.port": "is given twice; the last one counts"}


def test_many_more_workers_than_processors_are_a_warning(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pools = {"dataSource": {"poolSize": 1000, "readPoolSize": 1000}}
    found = warnings(file, {**LIBRARY, **pools, "cpus": 9})
    assert list(found) == ["cpus"]
    assert found["cpus"].startswith("is 9, more than 4 for each processor of this machine (2)")
    assert warnings(file, {**LIBRARY, **pools, "cpus": 8}) == {}


def test_a_node_has_as_many_workers_as_can_count_together(file: Path) -> None:
    assert load(file, {**LIBRARY, "cpus": MOST_SEATS}).config.workers == MOST_SEATS
    found = errors(file, {**LIBRARY, "cpus": MOST_SEATS + 1})
    assert list(found) == ["cpus"]
    assert str(MOST_SEATS) in found["cpus"]


def test_no_library_is_a_warning(file: Path) -> None:
    assert warnings(file, {}) == {"authorizationServerUrl": "is not set: nobody can sign in"}


def test_what_is_set_but_not_used_is_a_warning(file: Path) -> None:
    content = {
        **LIBRARY,
        "redisServerUrl": "redis://h",
        "dburl": "postgres://h",
        "dataSource": {"host": "localhost"},
    }
    assert set(warnings(file, content)) == {"redisServerUrl", "dburl"}


# --- the environment


def test_every_property_can_be_overridden(file: Path) -> None:
    write_certificates(file.parent)
    config, found, _ = load(
        file,
        {"port": 3000, "dataSource": {"host": "file.localhost", "port": 1}, **LIBRARY},
        {
            "COLLAB_PORT": "3001",
            "COLLAB_DATASOURCE__PASSWORD": "from the environment",
            "COLLAB_DATASOURCE__PORT": "5433",
            "COLLAB_LOGGING": "TRUE",
            "COLLAB_TRUSTEDCERTS": '["ca.pem"]',
            "COLLAB_ADMINISTRATORS": "54f3d26011d2896560009a8e67019608, " + "0" * 32,
            "COLLAB_LIMITS__TEXTCHARACTERS": "500",
            "COLLAB_SCALING": "none",
            "COLLAB_DATASOURCE__SSLROOTCERTFILE": "",
            "COLLAB_CONFIG": "not used here",
            "HOME": "/",
        },
    )
    assert found == []
    assert (config.port, config.logging, config.limits.textCharacters) == (3001, True, 500)
    assert (config.database.host, config.database.port) == ("file.localhost", 5433)
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "from the environment"
    assert config.trustedCerts == (file.parent / "ca.pem",)
    assert config.administrators == ("54F3D26011D2896560009A8E67019608", "0" * 32)


def test_every_property_is_the_same_from_the_environment_as_from_the_file(file: Path) -> None:
    def outcome(content: Any, environ: dict[str, str]) -> Any:
        try:
            return load(file, content, environ).config.model_dump()
        except ConfigError as error:
            return [problem.message.partition(" (from ")[0] for problem in error.problems]

    samples: dict[Any, list[Any]] = {
        bool: [True, False],
        int: [0, 40, 10**6],
        float: [0, 9, 9.5, 10**6],
        tuple: [[], ["nobody"], [{"kind": "inbox"}]],
        dict: [{}, {PROJECT: ["nobody"]}],
    }
    for name, annotation in leaves(Config):
        kinds = {get_origin(kind) or kind for kind in alternatives(annotation)}
        for value in next((values for kind, values in samples.items() if kind in kinds), ["x", "json"]):
            content = value
            for step in reversed(name.split(".")):
                content = {step: content}
            variable = f"COLLAB_{name.replace('.', '__').upper()}"
            text = value if isinstance(value, str) else json.dumps(value)
            assert outcome({}, {variable: text}) == outcome(content, {}), (name, text)


def test_wrong_values_from_the_environment_name_property_and_variable(file: Path) -> None:
    found = errors(
        file,
        {},
        {
            "COLLAB_PORT": "many",
            "COLLAB_LOGGING": "1",
            "COLLAB_ADMINISTRATORS": "[",
            "COLLAB_TRUSTEDPROXIES": "::1,x",
        },
    )
    assert found == {
        "port": "expected a whole number, not a string (from COLLAB_PORT)",
        "logging": "expected true or false, not a string (from COLLAB_LOGGING)",
        "administrators": "expected an array, not a string (from COLLAB_ADMINISTRATORS)",
        "trustedProxies[1]": "expected an IP address, a network like 10.0.0.0/8, or *"
        " (from COLLAB_TRUSTEDPROXIES)",
    }


def test_unknown_variables_are_warnings_with_a_suggestion(file: Path) -> None:
    found = warnings(
        file, {}, {"COLLAB_DATASOURCE_PASSWORD": "x", "COLLAB_DATASOURCE": "{}", "COLLAB_XYZZY": "1"}
    )
    assert "did you mean COLLAB_DATASOURCE__PASSWORD?" in found["COLLAB_DATASOURCE_PASSWORD"]
    assert "own variable, like COLLAB_DATASOURCE__USERNAME" in found["COLLAB_DATASOURCE"]
    assert "COLLAB_XYZZY" in found
    assert "expected asgi" in warnings(file, {}, {"COLLAB_TRANSPORT": "agsi"})["COLLAB_TRANSPORT"]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("COLLAB_USER", "COLLAB_DATASOURCE__USERNAME"),
        ("COLLAB_PASSWORD", "COLLAB_DATASOURCE__PASSWORD"),
        ("COLLAB_REDIS_URL", "COLLAB_REDISSERVERURL"),
        ("COLLAB_LOG_LEVEL", "COLLAB_LOGGING"),
        ("COLLAB_TRANSPORTS", "COLLAB_TRANSPORT"),
        ("COLLAB_CONFIG_FILE", "COLLAB_CONFIG"),
        ("COLLAB_PASSWORD_FILE", "COLLAB_DATASOURCE__PASSWORD_FILE"),
        ("COLLAB_DB_PASSWORD_FILE", "COLLAB_DATASOURCE__PASSWORD_FILE"),
        ("COLLAB_KEY_STORE_FILE", "COLLAB_KEYSTOREFILE"),
        ("COLLAB_CERT_FILE", None),
        ("COLLAB_FILE", None),
        ("COLLAB_SERVICE_HOST", None),
        ("COLLAB_", None),
    ],
)
def test_a_variable_is_not_like_another_for_what_all_begin_with(
    file: Path, variable: str, meant: str | None
) -> None:
    hint = "" if meant is None else f"; did you mean {meant}?"
    assert warnings(file, {}, {variable: "x"})[variable] == f"this environment variable is not known{hint}"


# --- what follows


def test_addresses_that_follow_from_library(file: Path) -> None:
    config = load(file, {"authorizationServerUrl": "https://Lib.example.com:443/MSTR/api/"}).config
    assert config.authorizationServerUrl == "https://Lib.example.com:443/MSTR/api"
    assert config.notification_base_url == "https://Lib.example.com:443/MSTR"
    assert config.allowed_origins == {"https://lib.example.com"}


def test_addresses_that_are_given(file: Path) -> None:
    config = load(
        file,
        {
            **LIBRARY,
            "notificationBaseUrl": "https://mail.example.com/",
            "allowedOrigins": ["https://A.example.com:8443/"],
        },
    ).config
    assert config.notification_base_url == "https://mail.example.com"
    assert config.allowed_origins == {"https://a.example.com:8443", "https://mail.example.com"}
    assert config.library_beside is None
    assert load(file, {**LIBRARY, "allowedOrigins": []}).config.allowed_origins == frozenset()


def test_an_address_that_is_none_is_shown_one_of_its_kind(file: Path) -> None:
    wrong = dict.fromkeys(("authorizationServerUrl", "notificationBaseUrl"), "library.example.com")
    found = errors(file, wrong)
    assert {name: message.rpartition("/")[2] for name, message in found.items()} == {
        "authorizationServerUrl": "api",
        "notificationBaseUrl": "MicroStrategyLibrary",
    }


@pytest.mark.parametrize("url", [LIBRARY["authorizationServerUrl"], "http://127.0.0.1:8080/api"])
def test_pages_at_the_address_of_another_authority_have_to_be_allowed(
    url: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(EXAMPLES / "badges", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    other = {"authorizationServerUrl": url, "authorization": {"kind": "badges", "badges": {}}}
    config = load(file, other).config
    assert config.allowed_origins == frozenset()
    assert config.library_beside is None
    origins = {"allowedOrigins": ["https://a.example.com"], "notificationBaseUrl": "https://mail.example.com"}
    config = load(file, {**other, **origins}).config
    assert config.allowed_origins == {"https://a.example.com", "https://mail.example.com"}


def test_origins_are_those_that_browsers_send(file: Path) -> None:
    given = ["https://*.Example.com", "https://müller.example", "capacitor://localhost", "null"]
    expected = {"https://*.example.com", "https://xn--mller-kva.example", "capacitor://localhost", "null"}
    assert load(file, {**LIBRARY, "allowedOrigins": given}).config.allowed_origins == expected
    warned = load(file, {**LIBRARY, "allowedOrigins": given}).warnings
    assert any(problem.property == "allowedOrigins" and "null" in problem.message for problem in warned)
    found = errors(file, {"allowedOrigins": ["https://a.*.com", "wss://a.example", "https://a.example/x", 7]})
    assert set(found) == {f"allowedOrigins[{index}]" for index in range(4)}
    assert "first label" in found["allowedOrigins[0]"]
    assert "https://" in found["allowedOrigins[1]"]
    assert "expected an origin" in found["allowedOrigins[2]"]


def test_a_library_on_this_machine_is_beside_the_node(file: Path) -> None:
    here = {"authorizationServerUrl": "http://127.0.0.1:8080/MicroStrategyLibrary/api"}
    assert load(file, here).config.library_beside == "http://127.0.0.1:8080"
    assert load(file, {**here, "allowedOrigins": []}).config.library_beside is None
    assert load(file, LIBRARY).config.library_beside is None


@pytest.mark.parametrize(
    "url",
    [
        "library.example.com/api",
        "ftp://library/api",
        "https:///api",
        "https://h:0x/api",
        "https://u:p@h/api",
        "https://h/api?x=1",
        "https:h/api",
        "",
    ],
)
def test_a_wrong_library_address_is_an_error(file: Path, url: str) -> None:
    assert list(errors(file, {"authorizationServerUrl": url})) == ["authorizationServerUrl"]


def test_a_library_address_without_api_is_a_warning(file: Path) -> None:
    assert "/api" in warnings(file, {"authorizationServerUrl": "https://h/Library"})["authorizationServerUrl"]


def test_dburl_describes_the_database_where_data_source_is_absent(file: Path) -> None:
    url = "postgres://me:p%40ss@db.example.com:5433/collab?sslmode=require"
    database = load(file, {"dburl": url, "dataSource": {"poolSize": 3}}).config.database
    assert (database.username, database.host, database.port) == ("me", "db.example.com", 5433)
    assert (database.database, database.is_tls, database.pool_size) == ("collab", True, 3)
    assert database.password is not None
    assert database.password.get_secret_value() == "p@ss"
    plain = load(file, {"dburl": "postgresql://db"}).config.database
    assert (plain.username, plain.port, plain.database, plain.is_tls) == (
        "mstr_collab",
        5432,
        "mstr_collab",
        False,
    )


@pytest.mark.parametrize(
    ("how", "is_tls"),
    [
        *((f"sslmode={mode}", False) for mode in ("disable", "allow", "prefer")),
        *((f"sslmode={mode}", True) for mode in ("require", "verify-ca", "verify-full")),
        *((f"ssl={value}", False) for value in ("false", "0")),
        *((f"ssl={value}", True) for value in ("true", "1")),
        ("target_session_attrs=read-write", False),
    ],
)
def test_a_dburl_that_asks_for_tls_gets_it(file: Path, how: str, *, is_tls: bool) -> None:
    assert load(file, {"dburl": f"postgres://u:p@h/d?{how}"}).config.database.is_tls is is_tls


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660, 0o604, 0o606, 0o610])
def test_a_key_file_that_anybody_else_may_read_is_warned_of(file: Path, mode: int) -> None:
    key_file = file.parent / "key"
    create_key_file(key_file)
    key_file.chmod(mode)
    found = warnings(file, {"dataSource": {"encryptionKeyFile": "key"}})
    assert ("dataSource.encryptionKeyFile" in found) is (mode & 0o077 != 0)


@pytest.mark.parametrize("name", ["sslRootCertFile", "sslRootCertificate"])
def test_any_ssl_key_turns_ssl_on(file: Path, name: str) -> None:
    write_certificates(file.parent)
    database = load(file, {"dataSource": {name: "ca.pem"}}).config.database
    assert database.is_tls
    assert database.root_cert_file == file.parent / "ca.pem"


@pytest.mark.parametrize(
    ("url", "hosts", "database", "is_tls", "master"),
    [
        ("redis://h", (("h", 6379),), 0, False, None),
        ("rediss://u:p@h:6380/2", (("h", 6380),), 2, True, None),
        ("valkey://[::1]:7", (("::1", 7),), 0, False, None),
        ("valkeys://h", (("h", 6379),), 0, True, None),
        ("valkey+sentinel://a/main", (("a", 26379),), 0, False, "main"),
        ("valkeys+sentinel://a/main", (("a", 26379),), 0, True, "main"),
        ("redis+sentinel://a,b:1/main", (("a", 26379), ("b", 1)), 0, False, "main"),
        ("rediss+sentinel://u:p@a/main/3", (("a", 26379),), 3, True, "main"),
    ],
)
def test_redis_addresses(
    file: Path, url: str, hosts: Any, database: int, is_tls: bool, master: str | None
) -> None:
    redis = load(file, {"scaling": "horizontal", "redisServerUrl": url}).config.redis
    assert redis is not None
    assert (redis.hosts, redis.database) == (hosts, database)
    assert (redis.is_tls, redis.sentinel_master) == (is_tls, master)
    assert (redis.username == "u") == ("u:p@" in url)


def test_sentinels_may_have_credentials_of_their_own(file: Path) -> None:
    url = "redis+sentinel://u:p@a/main?sentinelUsername=s&sentinelPassword=t%3F"
    redis = load(file, {"scaling": "horizontal", "redisServerUrl": url}).config.redis
    assert redis is not None
    assert redis.sentinel_password is not None
    assert (redis.sentinel_username, redis.sentinel_password.get_secret_value()) == ("s", "t?")
    assert list(errors(file, {"redisServerUrl": "redis://a?sentinelUsername=s"})) == ["redisServerUrl"]


# --- secrets


@pytest.mark.parametrize(
    "content",
    [
        {"scaling": "horizontal", "redisServerUrl": "redis://me:hun/ter2@h:1"},
        {"scaling": "horizontal", "redisServerUrl": "redis://me:hunter2@h:port"},
        {"scaling": "horizontal", "redisServerUrl": "hunter2@h"},
        {"scaling": "horizontal", "redisServerUrl": "redis://a:hunter2@h,b:0"},
        {"scaling": "horizontal", "redisServerUrl": "redis://a:hunter2@h/x"},
        {"scaling": "horizontal", "redisServerUrl": ["hunter2"]},
        {"dburl": "postgres://me:hun/ter2@h"},
        {"dburl": "postgres://me:hunter2@h:hunter2"},
        {"dburl": "postgres://me:x@h?password=hunter2"},
        {"dburl": "mysql://me:hunter2@h"},
        {"dataSource": {"password": {"is": "hunter2"}}},
        {"dataSource": {"password": "ENC(hunter2)"}},
        {"authorizationServerUrl": "https://me:hunter2@h/api"},
        {"authorizationServerUrl": "https://me:hunter2 @h/api"},
        {"trustedProxies": ["hunter2"], "allowedOrigins": ["hunter2"], "administrators": ["hunter2"]},
    ],
)
def test_no_message_repeats_a_secret(file: Path, content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file, content)
    for words in (str(raised.value), repr(raised.value), repr(raised.value.problems)):
        assert "hunter2" not in words
        assert "ter2" not in words


def test_no_repr_shows_a_secret(file: Path) -> None:
    write_certificates(file.parent)
    config = load(
        file,
        {
            "dataSource": {"password": "hunter2"},
            "enableTls": True,
            "keystoreFile": "store.p12",
            "passphrase": PASSPHRASE,
            "scaling": "horizontal",
            "redisServerUrl": "redis://u:hunter2@h",
            "dburl": "postgres://u:hunter2@h",
        },
    ).config
    for section in (config, config.database, config.redis, config.server_tls):
        assert "hunter2" not in repr(section)
        assert "hunter2" not in str(section)
        assert PASSPHRASE not in repr(section)


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem("port", "is odd", "warning")) == "warning: port: is odd"


def test_in_the_log_a_warning_begins_with_its_property(caplog: pytest.LogCaptureFixture) -> None:
    Application.warn([Problem("port", "is odd", "warning")])
    assert caplog.messages == ["port: is odd"]


# --- insecure settings

_SAFE = {
    "authorizationServerUrl": "https://library.example.com/api",
    "dataSource": {"host": "database.example.com", "sslRootCertFile": "ca.pem"},
    "scaling": "horizontal",
    "redisServerUrl": "redis://:hunter2@redis.example.com",
    "secret": "the secret of all nodes".replace(" ", "-") + "-" * 9,
}


@pytest.mark.parametrize(
    ("content", "warned"),
    [
        ({}, set()),
        ({"authorizationServerUrl": "http://library.example.com/api"}, {"authorizationServerUrl"}),
        ({"authorizationServerUrl": "http://10.0.0.1/api"}, {"authorizationServerUrl"}),
        ({"redisServerUrl": "redis://redis.example.com"}, {"redisServerUrl"}),
        ({"redisServerUrl": "rediss://redis.example.com"}, {"redisServerUrl"}),
        ({"redisServerUrl": "redis+sentinel://localhost,other/main"}, {"redisServerUrl"}),
        ({"dataSource": {"host": "database.example.com"}}, {"dataSource.host"}),
        ({"dataSource": {"host": "::2"}}, {"dataSource.host"}),
        ({"allowedOrigins": ["https://a.example.com", "*"]}, {"allowedOrigins"}),
        ({"trustedProxies": ["*"]}, {"trustedProxies"}),
        ({"secret": None}, {"secret"}),
    ],
)
def test_what_is_open_to_others_is_warned_of(file: Path, content: dict[str, Any], warned: set[str]) -> None:
    write_certificates(file.parent)
    given = {name: value for name, value in {**_SAFE, **content}.items() if value is not None}
    assert set(warnings(file, given)) == warned


def test_a_database_url_in_clear_is_warned_of(file: Path) -> None:
    safe = {"dburl": "postgres://u:p@h/d?sslmode=require", "secret": _SAFE["secret"], **LIBRARY}
    assert warnings(file, safe) == {}
    assert set(warnings(file, {**safe, "dburl": "postgres://u:p@h/d"})) == {"dburl"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "collab.localhost"])
def test_nothing_is_warned_of_on_this_machine(file: Path, host: str) -> None:
    found = warnings(
        file,
        {
            "authorizationServerUrl": f"http://{host}:8080/api",
            "dataSource": {"host": host.strip("[]")},
            "scaling": "horizontal",
            "redisServerUrl": f"redis://{host}:6379",
        },
    )
    assert found == {}


# --- where the database is


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        ("a", (("a", 6000),)),
        ("a:5433", (("a", 5433),)),
        ("a,b", (("a", 6000), ("b", 6000))),
        ("a.example.com, b.example.com:5433", (("a.example.com", 6000), ("b.example.com", 5433))),
        ("[::1]:5433,10.0.0.2", (("::1", 5433), ("10.0.0.2", 6000))),
        ("/run/postgresql", (("/run/postgresql", 6000),)),
    ],
)
def test_the_database_may_be_on_one_of_several_hosts(file: Path, host: str, hosts: Any) -> None:
    config, _, _ = load(file, {**LIBRARY, "dataSource": {"host": host, "port": 6000}})
    assert config.database.hosts == hosts


def test_a_dburl_may_name_several_hosts_one_of_which_is_written_to(file: Path) -> None:
    url = "postgres://user:pass%40@a,b:5433/db?target_session_attrs=read-write&sslmode=require"
    database = load(file, {**LIBRARY, "dburl": url})[0].database
    assert database.hosts == (("a", 5432), ("b", 5433))
    assert (database.username, database.database, database.is_tls) == ("user", "db", True)
    found = errors(file, {**LIBRARY, "dburl": "postgres://u:p@a,b/db?target_session_attrs=standby"})
    assert "expected read-write" in found["dburl"]


@pytest.mark.parametrize("host", ["a,", ",a", "a,b:0", "a,b:70000", "a,b@c", ",".join("abcdefghijklmnopq")])
def test_hosts_that_are_none_are_refused(file: Path, host: str) -> None:
    assert "expected a host" in errors(file, {**LIBRARY, "dataSource": {"host": host}})["dataSource.host"]


HOSTS = [
    "db1.example.com",
    "localhost",
    "10.0.0.2",
    "::1",
    "fd00::5",
    "fd00::5:5433",
    "fe80::1%eth0",
    "::ffff:10.0.0.2",
]
PORTS = [None, 1, 5433, 65535]


def spelled(host: str, port: int | None) -> str:
    """As administrators write one of several: IPv6 in brackets."""
    return (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")


def combinations() -> Iterator[list[tuple[str, int | None]]]:
    """One, two and three hosts, with ports and without."""
    each = list(itertools.product(HOSTS, PORTS))
    yield from ([one] for one in each)
    yield from ([one, other] for one, other in zip(each, each[5:] + each[:5], strict=True))
    yield from ([each[at], each[at - 7], each[at - 13]] for at in range(len(each)))


def test_hosts_are_read_as_they_are_written() -> None:
    for hosts in combinations():
        text = ",".join(spelled(*one) for one in hosts)

        def of(default: int, hosts: list[tuple[str, int | None]] = hosts) -> tuple[tuple[str, int], ...]:
            return tuple((host, port or default) for host, port in hosts)

        in_url = text.replace("%", "%25")
        assert database_hosts(text, 6000) == of(6000)
        assert parse_dburl(f"postgres://u:p[%40]@{in_url}/db").hosts == of(5432)
        assert parse_redis_url(f"redis://u:p[@{in_url}/0").hosts == of(6379)
        assert parse_redis_url(f"redis+sentinel://{in_url}/main").hosts == of(26379)
        if len(hosts) == 1:
            said = parse_url(f"redis://{in_url}")
            assert (said["host"], said.get("port", 6379)) == of(6379)[0], "as redis-py reads it"


@pytest.mark.parametrize("host", [host for host in HOSTS if ":" in host])
def test_one_address_of_ipv6_needs_no_brackets(host: str) -> None:
    assert database_hosts(host, 6000) == ((host, 6000),)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "a:b:c",
            "10.0.0.2:5432:5433",
            ":::",
            "12345::1",
            "::1,a",
            "a,::1",
            "::1:99999",
            ":5432",
            "a:",
            "a:b",
        ),
        *(
            "[::1",
            "::1]",
            "[::1]5433",
            "[::1]:",
            "[::1]:0",
            "[::1]:x",
            "[a]",
            "[10.0.0.2]",
            "[]:1",
            "[[::1]]",
        ),
        *("[::1%]", "[::1]:5433:1", "x[::1]", "[:::]", "[::1],,[::2]"),
    ],
)
def test_what_is_no_host_is_refused_in_words(host: str) -> None:
    for parse in (
        lambda: database_hosts(host, 6000),
        lambda: parse_dburl(f"postgres://{host}/db"),
        lambda: parse_redis_url(f"redis://{host}"),
    ):
        with pytest.raises(PydanticCustomError) as refused:
            parse()
        assert re.search("expected|names a host", refused.value.message())


# --- values from files


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_variable_may_name_the_file_that_holds_the_value(file: Path, ending: str) -> None:
    (file.parent / "password").write_bytes(f"pass word{ending}".encode())
    (file.parent / "port").write_text(f"3100{ending}")
    config, found, _ = load(
        file,
        {**LIBRARY, "dataSource": {"password": "in the file"}},
        {
            "COLLAB_DATASOURCE__PASSWORD_FILE": str(file.parent / "password"),
            "COLLAB_PORT_FILE": str(file.parent / "port"),
        },
    )
    assert config.database.password is not None
    assert config.database.password.get_secret_value() == "pass word"
    assert config.port == 3100
    assert found == []


def test_every_property_may_be_in_a_file(file: Path) -> None:
    (file.parent / "value").write_bytes(b"\xff")
    for name, _ in leaves(Config):
        variable = f"COLLAB_{name.replace('.', '__').upper()}_FILE"
        found = errors(file, LIBRARY, {variable: str(file.parent / "value")})
        assert "expected a value in UTF-8" in found[variable], variable


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a\0b", b"\xff", b"x" * 64_001])
def test_a_file_without_a_value_is_an_error_that_names_the_variable(
    file: Path, content: bytes | None
) -> None:
    variable, path = "COLLAB_DATASOURCE__PASSWORD_FILE", file.parent / "value"
    if content is not None:
        path.write_bytes(content)
    assert list(errors(file, LIBRARY, {variable: str(path)})) == [variable]


def test_a_value_and_its_file_at_once_are_an_error(file: Path) -> None:
    (file.parent / "password").write_text("one")
    environ = {
        "COLLAB_DATASOURCE__PASSWORD": "two",
        "COLLAB_DATASOURCE__PASSWORD_FILE": str(file.parent / "password"),
    }
    assert "is given twice" in errors(file, LIBRARY, environ)["dataSource.password"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("logLevel", "logging"), ("log_level", "logging"), ("hsts", None), ("logFormt", "logFormat")],
)
def test_a_hint_is_given_only_where_it_helps(file: Path, name: str, meant: str | None) -> None:
    [warning] = [
        problem for problem in load(file, {**LIBRARY, name: "x"}).warnings if problem.property == name
    ]
    assert warning.message.partition("did you mean ")[2].partition("?")[0] == (meant or "")


# --- who may comment

PROJECT, OTHER = "F0000000000000000000000000000001", "F0000000000000000000000000000002"
GROUP = "6A000000000000000000000000000001"


def test_who_may_comment_is_everyone_unless_it_is_said(file: Path) -> None:
    rules = load(file, {}).config.commenting.rules(library_id)
    assert rules.is_for_all
    assert rules.circles(PROJECT) is None


def test_who_may_comment_by_installation_and_project(file: Path) -> None:
    said = {
        "who": [f"group:{GROUP.lower()}", "privilege:0226"],
        "projects": {PROJECT.lower(): ["everyone"], OTHER: ["nobody"]},
    }
    rules = load(file, {"commenting": said}).config.commenting.rules(library_id)
    assert not rules.is_for_all
    assert rules.circles("0" * 32) == (Circle("group", GROUP), Circle("privilege", "226"))
    assert (rules.circles(PROJECT), rules.circles(OTHER)) == (None, ())


def test_who_may_comment_from_the_environment(file: Path) -> None:
    environ = {
        "COLLAB_COMMENTING__WHO": f"group:{GROUP},privilege:7",
        "COLLAB_COMMENTING__PROJECTS": json.dumps({PROJECT: ["nobody"]}),
    }
    rules = load(file, {}, environ).config.commenting.rules(library_id)
    assert rules.circles(OTHER) == (Circle("group", GROUP), Circle("privilege", "7"))
    assert rules.circles(PROJECT) == ()


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"who": "everyone"}, "commenting.who"),
        ({"who": []}, "commenting.who"),
        ({"who": ["everyone", f"group:{GROUP}"]}, "commenting.who"),
        ({"who": ["nobody", "everyone"]}, "commenting.who"),
        ({"who": ["Everyone"]}, "commenting.who"),
        ({"who": ["group:sales"]}, "commenting.who"),
        ({"who": ["group:"]}, "commenting.who"),
        ({"who": ["privilege:x"]}, "commenting.who"),
        ({"who": ["privilege:²"]}, "commenting.who"),
        ({"who": [GROUP]}, "commenting.who"),
        ({"who": [7]}, "commenting.who[0]"),
        ({"projects": ["nobody"]}, "commenting.projects"),
        ({"projects": {PROJECT: "nobody"}}, f"commenting.projects.{PROJECT}"),
        ({"projects": {PROJECT: ["somebody"]}}, f"commenting.projects.{PROJECT}"),
        ({"projects": {"Retail": ["nobody"]}}, "commenting.projects.Retail"),
    ],
)
def test_what_is_wrong_with_who_may_comment_is_said(file: Path, said: dict[str, Any], name: str) -> None:
    found = errors(file, {"commenting": said})
    assert list(found) == [name]
    assert "expected" in found[name]
