"""Random bytes that are fetched many at a time: nobody gets what somebody else has got."""

from __future__ import annotations

import subprocess
import sys
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

from collab_server.domain.chance import base64url, chance, of_base64url


def test_everybody_gets_other_bytes_in_whatever_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        got = [
            piece
            for some in threads.map(lambda _: [chance(16) for _ in range(500)], range(16))
            for piece in some
        ]
    assert len(set(got)) == len(got) == 8000
    assert {len(chance(size)) for size in (0, 1, 8, 16, 17, 32)} == {0, 1, 8, 16, 17, 32}


FORKING = """
import os, sys
from collab_server.domain.chance import chance

chance(16)
if os.fork():
    os.wait()
sys.stdout.buffer.write(b"".join(chance(16) for _ in range(64)))
sys.stdout.flush()
"""


def test_a_process_that_is_forked_gets_other_bytes_than_its_parent() -> None:
    told = subprocess.run([sys.executable, "-c", FORKING], stdout=subprocess.PIPE, check=True).stdout
    pieces = {told[at : at + 16] for at in range(0, len(told), 16)}
    assert len(pieces) == 128


def test_bytes_are_spelled_as_base64url_is() -> None:
    for size in range(40):
        data = bytes(range(200, 200 + size))
        assert base64url(data) == urlsafe_b64encode(data).decode().rstrip("=")


def test_bytes_have_one_spelling() -> None:
    for size in range(40):
        data = bytes(range(200, 200 + size))
        bare, filled = base64url(data), urlsafe_b64encode(data).decode()
        assert (of_base64url(bare), of_base64url(filled, is_filled=True)) == (data, data)
        near = (
            bare[:-1] + chr(ord(bare[-1]) + 1) if size % 3 else bare + "A"
        )  # in the last one's bits to spare
        between = [
            bare[:at] + other + bare[at:]
            for at in (0, size // 2, len(bare))
            for other in "\n\t =!%+/?\0é日\ud800"
        ]
        for other in {
            near,
            bare + "=",
            bare + "==",
            bare + "===",
            *between,
            *map(spelled_plainly, (bare, filled)),
        }:
            assert of_base64url(other) == (data if other == bare else None), other
            assert of_base64url(other, is_filled=True) == (data if other == filled else None), other


def spelled_plainly(text: str) -> str:
    return text.replace("-", "+").replace("_", "/")
