"""Secrets kept in `config.json` as `ENC(…)` values.

The cipher is Fernet (AES-128-CBC with HMAC-SHA256) under a key in a file of its own. It is **not** the cipher
of the original server: a password encrypted there must be encrypted again (`collab-server encrypt-password`).
No message of this module ever contains a secret or a key.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

__all__ = ["EncryptionError", "create_key_file", "decrypt", "encrypt", "is_encrypted"]

_PREFIX, _SUFFIX = "ENC(", ")"
_KEY_CHARACTERS = 44
_KEY_FILE_BYTES = 4096  # far more than a key; keeps a wrong path (a device, a log) from being read whole


class EncryptionError(Exception):
    """A key file or an encrypted value cannot be used; the message says why, for the administrator."""


def is_encrypted(value: str) -> bool:
    """Whether `value` has the form `ENC(…)`."""
    return value.startswith(_PREFIX) and value.endswith(_SUFFIX)


def create_key_file(path: Path) -> None:
    """Write a new key to `path`, for its owner only (0600).

    Never overwrites; raises `EncryptionError`.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask is
            file.write(Fernet.generate_key() + b"\n")
    except OSError as error:
        raise EncryptionError(f"the key file {path} cannot be written: {error.strerror}") from None


def encrypt(secret: str, key_file: Path) -> str:
    """`secret` as an `ENC(…)` value under the key in `key_file`. Raises `EncryptionError`."""
    return f"{_PREFIX}{_read_key(key_file).encrypt(secret.encode()).decode()}{_SUFFIX}"


def decrypt(value: str, key_file: Path) -> str:
    """The secret inside an `ENC(…)` value. Raises `EncryptionError` for a wrong form, key or key file."""
    if not is_encrypted(value):
        raise EncryptionError("it is not an ENC(…) value made by `collab-server encrypt-password`")
    key = _read_key(key_file)
    try:
        return key.decrypt(value[len(_PREFIX) : -len(_SUFFIX)].encode()).decode()
    except (InvalidToken, UnicodeError):
        raise EncryptionError(
            f"the key in {key_file} does not decrypt it (another key, a damaged value, or a value that the"
            " original server encrypted: encrypt the password again with `collab-server encrypt-password`)"
        ) from None


def _read_key(path: Path) -> Fernet:
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_FILE_BYTES)
    except OSError as error:
        raise EncryptionError(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        if len(content.strip()) != _KEY_CHARACTERS:  # Fernet would take the first of several keys
            raise ValueError
        return Fernet(content.strip())
    except ValueError:
        raise EncryptionError(
            f"{path} does not hold a key of `collab-server encrypt-password` (32 bytes in URL-safe base64)"
        ) from None
