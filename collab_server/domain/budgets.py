"""What strangers may do before it is known who they are: so much at once, and a little a second, per address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from collab_server.domain.addresses import network_of

MOST_ADDRESSES = 20_000


class AddressBudget:
    """Counts what each address may do only so often, for example fail.

    Of too many addresses those that did nothing for longest are forgotten, so that it takes bounded memory.

    Args:
        burst: so many at once after a quiet time.
        per_second: so many a second in the long run.
    """

    def __init__(
        self, *, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → (left, at)

    def wait_seconds(self, address: str) -> float:
        """After how many seconds this address may do it again; 0 if it may now. Spends nothing."""
        left = self._left_of(network_of(address))
        return 0.0 if left >= 1 - 1e-6 else (1 - left) / self._per_second

    def spend(self, address: str) -> None:
        """Note that it was done once; it may be more than was left."""
        key = network_of(address)
        left = max(self._left_of(key) - 1, -self._burst)
        self._left[key] = (left, self._clock())
        self._left.move_to_end(key)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)

    def _left_of(self, key: str) -> float:
        left, at = self._left.get(key, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - at) * self._per_second)
