"""What is sealed for clients to come back with is what Fernet, as the library has it, opens and no other does."""

from __future__ import annotations

import hmac
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.fernet import Fernet, InvalidToken

from collab_server.services.sign_in.resume_tokens import FERNET_BEGINS
from collab_server.services.sign_in.sealer import Opener, Sealer

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


def test_what_the_library_or_a_sealer_has_sealed_is_opened_in_any_order() -> None:
    library, sealer, opener = Fernet(urlsafe_b64encode(KEY)), Sealer(KEY), Opener(KEY)
    for size in (*range(70), 1000, 6000):
        text = os.urandom(size)
        for token in (library.encrypt(text), sealer.seal(text)):
            assert opener.open(urlsafe_b64decode(token)) == text


def forged(sealed: bytes, key: bytes = KEY) -> bytes:
    """Signed with the key, whatever it is."""
    return sealed + hmac.digest(key[:16], sealed, "sha256")


def test_what_nobody_has_sealed_does_not_open_nor_spoil_the_next() -> None:
    library, opener = Fernet(urlsafe_b64encode(KEY)), Opener(KEY)
    token = urlsafe_b64decode(library.encrypt(b"a text"))
    head = token[:25]
    wrong = [
        *(token[:at] + bytes((token[at] ^ 1,)) + token[at + 1 :] for at in range(len(token))),
        *(token[:size] for size in range(len(token))),
        token + b"x",
        urlsafe_b64decode(Fernet(urlsafe_b64encode(KEY[::-1])).encrypt(b"a text")),
        forged(b"\x81" + token[1:-32]),
        *(forged(head + os.urandom(size)) for size in (0, 1, 15, 17, 31)),
    ]
    for one in wrong:
        with pytest.raises(ValueError, match=r"^(no|a) "):
            opener.open(one)
        assert opener.open(token) == b"a text"


def test_a_text_without_its_end_does_not_open() -> None:
    opener, refused = Opener(KEY), 0
    for _ in range(500):  # by chance one in 255 has an end
        try:
            opener.open(forged(b"\x80" + os.urandom(8 + 16 + 32)))
        except ValueError:
            refused += 1
    assert refused > 450
