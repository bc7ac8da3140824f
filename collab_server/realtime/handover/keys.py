"""The keys of what goes between the nodes: one that session ids are sealed with, one for each connection.

Both are derived from the installation's secrets, which all nodes know and nobody else does. Useless until `set_epoch`.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collab_server.domain.keys import KEY_BYTES, KeyRing, purpose_key

__all__ = ["KEY_ID_BYTES", "HandoverKeys"]

KEY_ID_BYTES = 4


class HandoverKeys:
    """Those of now: one seals, several open. The epoch is in all of them."""

    def __init__(self) -> None:
        self.ids: tuple[AESGCM, ...] = ()
        """That which seals ids, then the others that open them."""
        self.key_id = b""
        """Which key new connections are made under; empty while there is none."""
        self._secrets: dict[bytes, bytes] = {}
        self._epoch = b""

    def set_epoch(self, epoch: str, keys: KeyRing) -> None:
        """Seal and open for this epoch, with these keys, from now on."""
        self._epoch = epoch.encode()
        made = [purpose_key(secret, "handover") for secret in keys.in_order]
        self._secrets = {self._derive(key, b"which key", KEY_ID_BYTES): key for key in made}
        self.key_id = next(iter(self._secrets))
        self.ids = tuple(AESGCM(self._derive(key, b"session ids", KEY_BYTES)) for key in made)

    def knows(self, key_id: bytes) -> bool:
        """Whether connections under this key are still good."""
        return key_id in self._secrets

    def of_connection(self, key_id: bytes, salt: bytes) -> tuple[AESGCM, AESGCM]:
        """What seals on one connection: towards the home, and back. Raises `KeyError` for a key that is not known."""
        made = self._derive(self._secrets[key_id], b"connection", 2 * KEY_BYTES, salt)
        return AESGCM(made[:KEY_BYTES]), AESGCM(made[KEY_BYTES:])

    def _derive(self, key: bytes, what: bytes, length: int, salt: bytes | None = None) -> bytes:
        info = b"collab-server handover, %b, epoch %b" % (what, self._epoch)
        return HKDF(SHA256(), length, salt, info).derive(key)
