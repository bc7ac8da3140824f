"""Keys for one purpose each, made of the one secret that all nodes of an installation share.

What is sealed for one purpose never opens for another, and no derived key tells the secret or another key.
"""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32

Purpose = Literal["cursors"]
"""What a key is for; never renamed, for the nodes of a cluster have to agree on it."""


def purpose_key(secret: bytes, purpose: Purpose) -> bytes:
    """The key, `KEY_BYTES` long, for one purpose; the same on every node that knows the installation's secret."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"collab-server {purpose}".encode()).derive(secret)
