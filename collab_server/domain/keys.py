"""Keys for one purpose each, made of the secrets that all nodes of an installation share.

What is sealed for one purpose never opens for another, and no derived key tells the secret or another key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32

Purpose = Literal["bus", "cursors", "handover"]
"""What a key is for; never renamed, for the nodes of a cluster have to agree on it."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Secrets of an installation, `KEY_BYTES` long each: `sealing` seals, any of `opening`, newest first, opens.

    Raises `ValueError` for one of another length, and where what is sealed would not open.
    """

    sealing: bytes = field(repr=False)
    opening: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if any(len(key) != KEY_BYTES for key in self.opening):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        if self.sealing not in self.opening:
            raise ValueError("the key that seals has to open too")

    @classmethod
    def of(cls, key: bytes) -> KeyRing:
        """A ring with one key."""
        return cls(key, (key,))

    @property
    def in_order(self) -> tuple[bytes, ...]:
        """All of them, the one that seals first."""
        return self.sealing, *(key for key in self.opening if key != self.sealing)


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The keys as PostgreSQL keeps them: `current` seals, `following` will, `earlier` did.

    `secret_check` is that of the configured secret that is needed besides, once all nodes have it; when it has been so
    for a while, `is_settled`, nothing opens any more without the secret.
    """

    current: bytes = field(repr=False)
    following: bytes | None = field(default=None, repr=False)
    earlier: bytes | None = field(default=None, repr=False)
    secret_check: bytes | None = None
    is_settled: bool = False

    def ring(self, secret: bytes | None) -> KeyRing:
        """What a node with this configured secret seals and opens with."""
        plain = [key for key in (self.following, self.current, self.earlier) if key is not None]
        if secret is None:
            return KeyRing(self.current, tuple(plain))
        hardened = [_hardened(key, secret) for key in plain]
        if self.secret_check != check_of(secret):
            return KeyRing(self.current, (*plain, *hardened))
        return KeyRing(
            _hardened(self.current, secret), tuple(hardened if self.is_settled else hardened + plain)
        )


def check_of(secret: bytes) -> bytes:
    """What tells a secret from another one, and does not tell the secret."""
    return HKDF(SHA256(), 16, salt=None, info=b"collab-server check of the secret").derive(secret)


def _hardened(key: bytes, secret: bytes) -> bytes:
    """A key that neither the database nor the configuration alone can tell."""
    return HKDF(SHA256(), KEY_BYTES, salt=secret, info=b"collab-server installation").derive(key)


def purpose_key(secret: bytes, purpose: Purpose) -> bytes:
    """The key, `KEY_BYTES` long, for one purpose; the same on every node that knows the installation's secret."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"collab-server {purpose}".encode()).derive(secret)
