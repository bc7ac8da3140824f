"""The seal of an envelope: nobody but the nodes of this installation can read it, make it, or change it.

    layout     1 byte      LAYOUT; whoever does not know it reads Postgres instead
    key        4 bytes     which key of the installation: a number that tells nothing of it
    sender     16 bytes    random per start of a node: tells a node's own echo, and a restart
    sealing    8 bytes     counts what this start has sealed
    first      8 bytes     number of the first message; a node numbers its messages from 0 without a hole
    sealed     the inside of `cluster.envelope`, by AES-256-GCM, with its tag of 16 bytes

All of the head is authenticated, and so is the epoch. A start of a node seals with a key of its own, derived by HKDF
from the installation's for the bus, with `sender` as salt. Each sealing has a number of its own as nonce: not that of
its first message, for what Redis did not answer is packed anew, with more behind it, under the same number.

What opens was made by a node of this installation, at some time. That it was made just now is `cluster.peers`' to find
out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collab_server.cluster.envelope import UnreadableEnvelope
from collab_server.domain.keys import KEY_BYTES, KeyRing, purpose_key

__all__ = ["LAYOUT", "SENDER_BYTES", "Opened", "OtherLayout", "Seal"]

LAYOUT = 2
SENDER_BYTES = 16
MAX_CIPHERS = 256
"""How many starts of nodes a derived key is kept for; making one anew takes some microseconds."""

_HEAD = struct.Struct(">B4s16sQQ")
_TAG_BYTES = 16
_WHO = slice(1, 21)
"""Key and sender within the head: what a cipher is kept under."""


class OtherLayout(UnreadableEnvelope):
    """What another version may have sent."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was sealed, and what its head says."""

    sender: bytes
    sealing: int
    first: int
    inside: bytes


class Seal:
    """Seals for one start of a node, `sender`; opens what any node has sealed. Useless until `use` was called."""

    def __init__(self, sender: bytes) -> None:
        self.sender = sender
        self.epoch: str | None = None
        self._sealings = 0
        self._epoch = b""
        self._keys: dict[bytes, bytes] = {}
        self._key_id = b""
        self._own: AESGCM | None = None
        self._ciphers: dict[bytes, AESGCM] = {}

    def use(self, epoch: str, keys: KeyRing) -> None:
        """Seal and open for this epoch, with these keys, from now on. The sealings go on being counted."""
        self.epoch = epoch
        self._epoch = epoch.encode()
        made = {secret: purpose_key(secret, "bus") for secret in reversed(keys.opening)}
        self._keys = {_key_id(key): key for key in made.values()}
        self._ciphers = {}
        self._key_id = _key_id(made[keys.sealing])
        self._own = self._derive(self._key_id, self.sender)

    def seal(self, first: int, inside: bytes) -> bytes:
        """The envelope of messages numbered from `first` on. Never twice the same, whatever is inside."""
        assert self._own is not None, "no key yet"
        self._sealings = sealing = self._sealings + 1
        head = _HEAD.pack(LAYOUT, self._key_id, self.sender, sealing, first)
        return head + self._own.encrypt(_nonce(sealing), inside, head + self._epoch)

    def open(self, data: bytes) -> Opened:
        """What is in an envelope. Raises `OtherLayout`, or `UnreadableEnvelope` for what no node of this installation
        and epoch has made.
        """
        if not data or data[0] != LAYOUT:
            raise OtherLayout(f"layout {data[0]}" if data else "empty")
        if len(data) < _HEAD.size + _TAG_BYTES:
            raise UnreadableEnvelope("cut short")
        _, key_id, sender, sealing, first = _HEAD.unpack_from(data)
        who = data[_WHO]
        cipher = self._ciphers.get(who)
        is_known = cipher is not None
        if cipher is None:
            if key_id not in self._keys:
                raise UnreadableEnvelope("sealed with another key")
            cipher = self._derive(key_id, sender)
        try:
            inside = cipher.decrypt(_nonce(sealing), data[_HEAD.size :], data[: _HEAD.size] + self._epoch)
        except InvalidTag:
            raise UnreadableEnvelope("forged or changed") from None
        if not is_known:
            if len(self._ciphers) >= MAX_CIPHERS:
                del self._ciphers[next(iter(self._ciphers))]
            self._ciphers[who] = cipher
        return Opened(sender, sealing, first, inside)

    def _derive(self, key_id: bytes, sender: bytes) -> AESGCM:
        info = b"collab-server bus, layout %d, epoch %b" % (LAYOUT, self._epoch)
        return AESGCM(HKDF(SHA256(), KEY_BYTES, sender, info).derive(self._keys[key_id]))


def _nonce(sealing: int) -> bytes:
    return sealing.to_bytes(12)


def _key_id(key: bytes) -> bytes:
    return HKDF(SHA256(), 4, None, b"collab-server bus, which key").derive(key)
