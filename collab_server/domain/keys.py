"""Keys for one purpose each, made of the secrets that all nodes of an installation share.

What is sealed for one purpose never opens for another, and no derived key tells the secret or another key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32

Purpose = Literal["bus", "cursors"]
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


def purpose_key(secret: bytes, purpose: Purpose) -> bytes:
    """The key, `KEY_BYTES` long, for one purpose; the same on every node that knows the installation's secret."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"collab-server {purpose}".encode()).derive(secret)
