"""Which keys open and which one seals, while a key or the secret of the configuration is being changed."""

from __future__ import annotations

import pytest

from collab_server.domain.keys import KeyRing, StoredKeys, check_of

OLD, NOW, NEXT = b"o" * 32, b"n" * 32, b"x" * 32
SECRET, OTHER = b"s" * 32, b"t" * 32


def test_the_next_key_opens_before_it_seals_and_the_one_before_goes_on_opening() -> None:
    before, during = StoredKeys(NOW).ring(None), StoredKeys(NOW, following=NEXT).ring(None)
    after = StoredKeys(NEXT, earlier=NOW).ring(None)
    assert (before.sealing, during.sealing, after.sealing) == (NOW, NOW, NEXT)
    for sealing, opening in ((before, during), (during, after), (after, during)):
        assert sealing.sealing in opening.opening
    assert OLD not in StoredKeys(NEXT, earlier=NOW).ring(None).opening
    assert after.in_order == (NEXT, NOW)


def test_a_secret_opens_at_once_and_seals_when_all_have_it() -> None:
    without, waiting = StoredKeys(NOW).ring(None), StoredKeys(NOW).ring(SECRET)
    agreed = StoredKeys(NOW, secret_check=check_of(SECRET)).ring(SECRET)
    settled = StoredKeys(NOW, secret_check=check_of(SECRET), is_settled=True).ring(SECRET)
    assert waiting.sealing == without.sealing == NOW
    assert agreed.sealing == settled.sealing != NOW
    assert agreed.sealing in waiting.opening
    assert NOW in agreed.opening
    assert NOW not in settled.opening, "the database alone must not be able to seal"
    assert agreed.sealing != StoredKeys(NOW, secret_check=check_of(OTHER)).ring(OTHER).sealing


def test_a_key_is_replaced_under_a_secret_too() -> None:
    check = check_of(SECRET)
    rings = [
        StoredKeys(current, following, earlier, check, is_settled=True).ring(SECRET)
        for current, following, earlier in ((OLD, None, None), (OLD, NOW, None), (NOW, None, OLD))
    ]
    for one in rings:
        assert not {OLD, NOW} & set(one.opening)
    for sealing, opening in ((0, 1), (1, 0), (1, 2), (2, 1)):
        assert rings[sealing].sealing in rings[opening].opening


@pytest.mark.parametrize("keys", [(b"short",), (NOW, b"short")])
def test_a_key_of_another_length_is_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeyRing(keys[0], keys)


def test_no_repr_tells_a_key() -> None:
    stored = StoredKeys(NOW, NEXT, OLD, check_of(SECRET))
    for words in (repr(stored), repr(stored.ring(SECRET))):
        assert not any(letter * 8 in words for letter in ("n", "x", "o"))
