"""Writes what Fernet reads, and reads what Fernet writes, with ciphers that are made once.

    0x80, the time in seconds (8 bytes), IV (16), the text by AES-128-CBC with PKCS#7, HMAC-SHA256 of all of it (32)

in base64url, as Fernet's specification has it. The library's own makes a cipher for each text, which takes longer than
all else that a sign-in costs the processor: storms of clients that come back paid for that. The ciphers here go on with
one chain of blocks each. Before each text that is sealed goes a block of chance, whose encryption is the IV: nobody can
foresee it, and what follows is CBC from there, as by any cipher of its own. Before each that is opened goes its IV:
what that is decrypted to is nothing, and what follows is the text.

Belongs to one thread.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from collab_server.domain.chance import chance

_VERSION = b"\x80"
_BLOCK_BYTES = 16
_HEAD_BYTES = 9  # version and time
_MARK_BYTES = 32
_LEAST_BYTES = _HEAD_BYTES + 2 * _BLOCK_BYTES + _MARK_BYTES


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


class Opener:
    """Opens what was sealed with a key of Fernet's."""

    __slots__ = ("_chain", "_signing")

    def __init__(self, key: bytes) -> None:
        self._signing = HMAC(key[:16], SHA256())
        self._chain = Cipher(AES(key[16:]), CBC(bytes(_BLOCK_BYTES))).decryptor()

    def open(self, token: bytes) -> bytes:
        """The text of a token, which is given without its base64. Raises `ValueError` for one that is none of this key.

        Nothing is decrypted before it is known who has written it.
        """
        if token[:1] != _VERSION or len(token) < _LEAST_BYTES:
            raise ValueError("no token")
        sealed, signing = token[:-_MARK_BYTES], self._signing.copy()
        signing.update(sealed)
        try:
            signing.verify(token[-_MARK_BYTES:])
        except InvalidSignature:
            raise ValueError("a token of another key, or of nobody") from None
        if (len(sealed) - _HEAD_BYTES) % _BLOCK_BYTES:
            raise ValueError("no whole blocks")  # they would be part of the next one
        text = self._chain.update(sealed[_HEAD_BYTES:])[_BLOCK_BYTES:]
        padding = text[-1:] * text[-1]
        if not 0 < len(padding) <= _BLOCK_BYTES or not text.endswith(padding):
            raise ValueError("no end")
        return text[: -len(padding)]
