"""Passwords in `config.json` that nobody can read there."""

from __future__ import annotations

import getpass
import io
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet

from collab_server.command_line.outcome import Failure
from collab_server.command_line.secrets import _ask_password
from collab_server.config import ConfigError, load_config
from collab_server.config.encryption import EncryptionError, create_key_file, decrypt, encrypt, is_encrypted
from tests.harness.certificates import PASSPHRASE, write_certificates


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "collab.key"
    create_key_file(path)
    return path


def test_what_is_encrypted_is_decrypted_with_the_same_key(key_file: Path) -> None:
    value = encrypt("grüße ❤ ENC()", key_file)
    assert is_encrypted(value)
    assert "grüße" not in value
    assert decrypt(value, key_file) == "grüße ❤ ENC()"


def test_the_same_secret_never_looks_the_same(key_file: Path) -> None:
    assert encrypt("x", key_file) != encrypt("x", key_file)


def test_a_new_key_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_key_file(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_file_is_never_overwritten(key_file: Path) -> None:
    content = key_file.read_bytes()
    with pytest.raises(EncryptionError, match="File exists"):
        create_key_file(key_file)
    assert key_file.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"too short", b"\xff" * 44, Fernet.generate_key() * 200])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(EncryptionError, match="does not hold a key"):
        encrypt("x", tmp_path / "key")


@pytest.mark.parametrize("value", ["ENC()", "ENC(hunter2)", "ENC(grüße)", "ENC(" + "A" * 200 + ")"])
def test_a_damaged_value_is_refused_without_repeating_it(key_file: Path, value: str) -> None:
    with pytest.raises(EncryptionError) as raised:
        decrypt(value, key_file)
    assert value not in str(raised.value)


def test_a_value_of_another_key_says_that_the_originals_cipher_is_another(
    tmp_path: Path, key_file: Path
) -> None:
    create_key_file(tmp_path / "other")
    with pytest.raises(EncryptionError, match="original server"):
        decrypt(encrypt("x", tmp_path / "other"), key_file)


def write(key_file: Path, **content: object) -> Path:
    path = key_file.parent / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_an_encrypted_password_reaches_the_database_in_clear(key_file: Path) -> None:
    source = {"password": encrypt("hunter2", key_file), "encryptionKeyFile": "collab.key"}
    password = load_config(write(key_file, dataSource=source), {}).config.database.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_an_encrypted_passphrase_opens_the_keystore(key_file: Path) -> None:
    write_certificates(key_file.parent)
    section = load_config(
        write(
            key_file,
            enableTls=True,
            keystoreFile="store.p12",
            passphrase=encrypt(PASSPHRASE, key_file),
            dataSource={"encryptionKeyFile": "collab.key"},
        ),
        {},
    ).config.server_tls
    assert section is not None
    assert section.passphrase is not None
    assert section.passphrase.get_secret_value() == PASSPHRASE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"password": "plain", "encryptionKeyFile": "collab.key"}, "not an ENC"),
        ({"password": "ENC(abc)"}, "does not say where its key is"),
        ({"password": "ENC(abc)", "encryptionKeyFile": "collab.key"}, "does not decrypt it"),
        ({"password": "ENC(abc)", "encryptionKeyFile": "config.json"}, "does not hold a key"),
    ],
)
def test_a_password_that_cannot_be_decrypted_is_an_error_of_its_property(
    key_file: Path, source: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(key_file, dataSource=source), {})
    found = {problem.property: problem.message for problem in raised.value.problems}
    assert message in found["dataSource.password"]


def test_a_key_file_that_others_may_read_is_a_warning(key_file: Path) -> None:
    key_file.chmod(0o644)
    source = {"password": encrypt("x", key_file), "encryptionKeyFile": "collab.key"}
    warnings = load_config(write(key_file, dataSource=source), {}).warnings
    assert (
        "chmod 600"
        in {problem.property: problem.message for problem in warnings}["dataSource.encryptionKeyFile"]
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", ""], ids=["a line", "a line of Windows", "no line"])
def test_a_password_is_read_as_it_is_with_its_blanks(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    password = " pass  word\t "
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + end + ("the next line" if end else "")))
    assert _ask_password() == password


def test_a_password_that_is_none_or_was_typed_in_two_ways_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(Failure):
        _ask_password()
    typed = iter(["one", "two", "same", "same"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: next(typed))
    with pytest.raises(Failure):
        _ask_password()
    assert _ask_password() == "same"
