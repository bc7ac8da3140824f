"""Who has to go when there are too many who are not signed in, and where somebody comes from."""

from __future__ import annotations

import random

import pytest

from collab_server.domain.addresses import Addresses, network_of
from collab_server.domain.budgets import MOST_ADDRESSES, AddressBudget
from collab_server.realtime.strangers import Strangers


def strangers(most: int = 6, most_per_address: int = 3, most_bytes: int = 1000) -> Strangers[int]:
    return Strangers(most=most, most_per_address=most_per_address, most_bytes=most_bytes)


def test_the_oldest_of_an_address_goes_for_one_more_of_it() -> None:
    crowd = strangers()
    assert [crowd.add(number, "a") for number in range(5)] == [[], [], [], [0], [1]]
    assert crowd.add(9, "b") == []
    assert (len(crowd), crowd.of("a"), crowd.of("b"), crowd.of("c")) == (4, 3, 1, 0)


def test_the_oldest_of_all_goes_when_all_is_full() -> None:
    crowd = strangers()
    assert [crowd.add(number, f"{number}") for number in range(8)] == [[]] * 6 + [[0], [1]]


def test_who_has_shown_a_token_goes_last() -> None:
    crowd = strangers()
    for number in range(3):
        crowd.add(number, "a")
    crowd.has_shown_a_token(0)
    crowd.has_shown_a_token(1)
    assert [crowd.add(number, "a") for number in range(3, 6)] == [[2], [3], [4]]
    crowd.has_shown_a_token(5)
    assert crowd.add(6, "a") == [6] or crowd.of("a") == 3


def test_who_is_too_heavy_goes() -> None:
    crowd = strangers(most_bytes=100)
    crowd.add(1, "a", 6)
    crowd.add(2, "b", 10)
    assert crowd.weigh(1, 10) == []
    assert crowd.weigh(1, 11) == [1]
    assert crowd.add(3, "c", 11) == [3]
    assert crowd.add(4, None, 90) == []
    assert crowd.add(5, None, 1) == [2]
    assert crowd.weigh(9, 1000) == []


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    crowd, known = strangers(20, 5, 500), {}
    for number in range(2000):
        gone: list[int] = []
        if chance.random() < 0.7:
            known[number] = chance.choice(["a", "b", "c", "d", "e", None])
            gone = crowd.add(number, known[number], chance.randrange(60))
        elif known and chance.random() < 0.5:
            gone = crowd.weigh(chance.choice(list(known)), chance.randrange(40))
        elif known:
            gone = [chance.choice(list(known))]
            crowd.has_shown_a_token(gone[0])
            assert crowd.remove(gone[0])
        for who in gone:
            del known[who]
        assert len(crowd) == len(known) <= 20
        for address in "abcde":
            count = sum(1 for other in known.values() if other == address)
            assert crowd.of(address) == count <= 5
    for who in list(known):
        assert crowd.remove(who)
    assert (len(crowd), crowd._all.bytes, crowd._of) == (0, 0, {})


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7", "203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:80"], "2001:db8::1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["x" * 5000], "x" * 64),
        ("unix", ["203.0.113.9"], "203.0.113.9"),
    ],
)
def test_only_trusted_proxies_are_believed_about_the_client(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert Addresses(["10.0.0.0/8", "unix"]).client(peer, forwarded) == client


def test_with_every_proxy_trusted_the_first_of_the_list_is_the_client() -> None:
    assert Addresses(["*"]).client("192.0.2.1", ["198.51.100.7, 203.0.113.9"]) == "198.51.100.7"


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", "unix", False),
    ],
)
def test_one_network_of_ipv6_counts_as_one_address(one: str, other: str, are_one: bool) -> None:
    assert (network_of(one) == network_of(other)) is are_one


def test_a_budget_refills_and_forgets() -> None:
    now = 0.0
    budget = AddressBudget(burst=3, per_second=2, clock=lambda: now)
    for _ in range(3):
        assert budget.wait_seconds("a") == 0
        budget.spend("a")
    assert budget.wait_seconds("a") == 0.5
    assert budget.wait_seconds("b") == 0
    now = 0.5
    assert budget.wait_seconds("a") == 0
    for number in range(MOST_ADDRESSES + 1):
        budget.spend(f"{number}")
    assert len(budget._left) == MOST_ADDRESSES
