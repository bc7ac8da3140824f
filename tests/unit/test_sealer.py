"""What is sealed for clients to come back with is what Fernet, as the library has it, opens and no other does."""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.fernet import Fernet, InvalidToken

from collab_server.services.sign_in.resume_tokens import FERNET_BEGINS
from collab_server.services.sign_in.sealer import Sealer

KEY = bytes(range(32))


def test_the_library_opens_texts_of_any_length_and_when_they_were_sealed() -> None:
    library, sealer = Fernet(urlsafe_b64encode(KEY)), Sealer(KEY)
    began = int(time.time())
    for size in (*range(70), 1000, 6000):
        text = os.urandom(size)
        token = sealer.seal(text)
        assert library.decrypt(token) == text
        assert began <= library.extract_timestamp(token) <= time.time()
        assert token.startswith(FERNET_BEGINS)
        assert len(token) == len(library.encrypt(text))


def test_the_same_text_is_sealed_otherwise_each_time_and_by_each_sealer() -> None:
    sealers = Sealer(KEY), Sealer(KEY)
    tokens = [urlsafe_b64decode(sealer.seal(b"the same")) for sealer in sealers for _ in range(500)]
    for part in (slice(9, 25), slice(25, 41), slice(-32, None)):  # IV, first block, HMAC
        assert len({token[part] for token in tokens}) == 1000


def test_what_was_changed_and_what_another_key_has_sealed_does_not_open() -> None:
    library, token = Fernet(urlsafe_b64encode(KEY)), bytearray(urlsafe_b64decode(Sealer(KEY).seal(b"a text")))
    for at in range(len(token)):
        changed = bytes(token[:at]) + bytes((token[at] ^ 1,)) + bytes(token[at + 1 :])
        with pytest.raises(InvalidToken):
            library.decrypt(urlsafe_b64encode(changed))
    with pytest.raises(InvalidToken):
        library.decrypt(Sealer(KEY[::-1]).seal(b"a text"))
