"""The seal of what goes through Redis: what opens, and above all what does not."""

from __future__ import annotations

import struct
from itertools import product

import pytest

from collab_server.cluster.envelope import UnreadableEnvelope
from collab_server.cluster.seal import LAYOUT, OtherLayout, Seal
from collab_server.domain.keys import KeyRing

ONE, TWO = b"1" * 32, b"2" * 32
HEAD_BYTES = 37


def seal(sender: bytes = b"s" * 16, epoch: str = "e1", keys: KeyRing | None = None) -> Seal:
    made = Seal(sender)
    made.use(epoch, keys or KeyRing.of(ONE))
    return made


def test_what_one_node_seals_another_opens() -> None:
    data = seal().seal(2**40, b"inside")
    opened = seal(b"o" * 16).open(data)
    assert (opened.sender, opened.first, opened.inside) == (b"s" * 16, 2**40, b"inside")


def test_nothing_of_the_inside_shows() -> None:
    assert b"inside" not in seal().seal(0, b"inside" * 10)


def test_what_is_sealed_again_has_another_number_and_shares_no_byte_of_key_stream() -> None:
    """An unanswered PUBLISH is packed anew under the same first number, with more behind it."""
    sealing, opening = seal(), seal(b"o" * 16)
    once, again = sealing.seal(7, b"\0" * 64), sealing.seal(7, b"\0" * 64 + b"more")
    first, second = opening.open(once), opening.open(again)
    assert (first.first, second.first) == (7, 7)
    assert second.sealing == first.sealing + 1
    shared = sum(a == b for a, b in zip(once[HEAD_BYTES:-16], again[HEAD_BYTES:-20], strict=True))
    assert shared < 16, "with one nonce all 64 would be the same"


def test_two_starts_use_keys_of_their_own() -> None:
    one, other = seal(b"a" * 16).seal(0, b"\0" * 64), seal(b"b" * 16).seal(0, b"\0" * 64)
    assert one[HEAD_BYTES:] != other[HEAD_BYTES:]
    borrowed = one[:5] + b"b" * 16 + one[21:]
    with pytest.raises(UnreadableEnvelope):
        seal(b"o" * 16).open(borrowed)


def test_sealings_go_on_being_counted_when_keys_or_epoch_change() -> None:
    sealing = seal()
    sealing.seal(0, b"")
    sealing.use("e1", KeyRing(TWO, (TWO, ONE)))
    sealing.seal(0, b"")
    sealing.use("e2", KeyRing.of(ONE))
    opened = seal(b"o" * 16, "e2").open(sealing.seal(0, b""))
    assert opened.sealing == 3


@pytest.mark.parametrize("size", [0, 1, 100])
def test_every_change_of_every_bit_and_every_cut_is_refused(size: int) -> None:
    data, opening = seal().seal(3, b"x" * size), seal(b"o" * 16)
    for at, bit in product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        with pytest.raises(UnreadableEnvelope):
            opening.open(bytes(changed))
    for end in range(len(data)):
        with pytest.raises(UnreadableEnvelope):
            opening.open(data[:end])
    with pytest.raises(UnreadableEnvelope):
        opening.open(data + b"\0")
    assert opening.open(data).first == 3


def test_another_epoch_or_another_key_opens_nothing() -> None:
    data = seal().seal(0, b"inside")
    with pytest.raises(UnreadableEnvelope):
        seal(epoch="e2").open(data)
    with pytest.raises(UnreadableEnvelope):
        seal(keys=KeyRing.of(TWO)).open(data)


def test_another_layout_is_told_apart_from_a_forgery() -> None:
    for data in (b"", bytes((LAYOUT - 1,)) + b"x" * 80, bytes((LAYOUT + 1,)) + b"x" * 80):
        with pytest.raises(OtherLayout):
            seal().open(data)
    with pytest.raises(UnreadableEnvelope) as refusal:
        seal().open(bytes((LAYOUT,)) + b"x" * 80)
    assert not isinstance(refusal.value, OtherLayout)


def test_two_keys_open_and_one_seals() -> None:
    old, both, new = (KeyRing.of(ONE), KeyRing(ONE, (TWO, ONE)), KeyRing(TWO, (TWO, ONE)))
    sealed_old, sealed_both, sealed_new = (
        seal(bytes((n,)) * 16, keys=keys).seal(0, b"x") for n, keys in enumerate((old, both, new))
    )
    for data in (sealed_old, sealed_both, sealed_new):
        for keys in (both, new):
            assert seal(b"o" * 16, keys=keys).open(data).inside == b"x"
    assert seal(keys=old).open(sealed_both).inside == b"x", "who has only the old key is not shut out"
    only_new = seal(keys=KeyRing.of(TWO))
    assert only_new.open(sealed_new).inside == b"x"
    with pytest.raises(UnreadableEnvelope):
        only_new.open(sealed_old)


def test_a_key_that_was_taken_away_opens_nothing_more_not_even_of_a_node_that_is_known() -> None:
    sealing, opening = seal(), seal(b"o" * 16)
    assert opening.open(sealing.seal(0, b"x")).inside == b"x"
    opening.use("e1", KeyRing.of(TWO))
    with pytest.raises(UnreadableEnvelope):
        opening.open(sealing.seal(1, b"x"))


def test_a_thousand_starts_are_opened_and_few_keys_kept() -> None:
    opening = seal(b"o" * 16)
    for number in range(1000):
        assert opening.open(seal(struct.pack(">16x")[8:] + number.to_bytes(8)).seal(0, b"x")).inside == b"x"
    assert len(opening._ciphers) <= 256


def test_the_head_tells_nothing_of_the_key() -> None:
    data = seal().seal(0, b"")
    assert data[1:5] not in ONE


def test_a_ring_without_the_key_that_seals_and_a_short_key_are_refused() -> None:
    with pytest.raises(ValueError, match="has to open"):
        KeyRing(ONE, (TWO,))
    with pytest.raises(ValueError, match="32 bytes"):
        KeyRing.of(b"short")
    assert "1111" not in repr(KeyRing.of(ONE))
