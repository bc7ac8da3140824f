"""Writes what Fernet reads, with a cipher that is made once.

    0x80, the time in seconds (8 bytes), IV (16), the text by AES-128-CBC with PKCS#7, HMAC-SHA256 of all of it (32)

in base64url, as Fernet's specification has it. The library's own makes a cipher for each text, which takes longer than
all else that a sign-in costs the processor: storms of clients that come back paid for that. The cipher here goes on
with one chain of blocks. Before each text goes a block of chance, whose encryption is the IV: nobody can foresee it,
and what follows is CBC from there, as by any cipher of its own. What is read, the library reads.

Belongs to one thread.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from collab_server.domain.chance import chance

_VERSION = b"\x80"
_BLOCK_BYTES = 16


class Sealer:
    """Seals with a key of Fernet's, of 32 bytes."""

    __slots__ = ("_chain", "_signing")

    def __init__(self, key: bytes) -> None:
        self._signing = HMAC(key[:16], SHA256())
        self._chain = Cipher(AES(key[16:]), CBC(chance(_BLOCK_BYTES))).encryptor()

    def seal(self, text: bytes) -> str:
        """A token that holds it."""
        missing = _BLOCK_BYTES - len(text) % _BLOCK_BYTES
        sealed = self._chain.update(chance(_BLOCK_BYTES) + text + bytes((missing,)) * missing)
        token = _VERSION + int(time.time()).to_bytes(8, "big") + sealed
        signing = self._signing.copy()
        signing.update(token)
        return urlsafe_b64encode(token + signing.finalize()).decode("ascii")
