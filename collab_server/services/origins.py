"""Of which pages browsers may connect, for both doors; and one line in the log for those that may not.

Promised: whoever sends many origins writes few lines. An origin is told again after an hour, `LINES` in a minute are
all there are, and the next one says how many were left out. Runs nothing of its own.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from collab_server.domain.addresses import Addresses
from collab_server.domain.origins import (
    ANY,
    AllowedOrigins,
    NoOrigin,
    Origin,
    Reached,
    parse,
    reached_by,
)
from collab_server.telemetry.metrics import Count

log = logging.getLogger(__name__)

LINES = 10
"""So many lines a minute."""
TOLD_AGAIN_SECONDS = 3600.0
MOST_TOLD = 500


class Origins:
    """Decides. Pages of a node's own origin always may.

    Args:
        allowed: origins as the configuration gives them; may hold `*`.
        proxies: whose word is taken for how a node is reached.
        beside: the origin by which the node itself reaches Library on its own machine: whoever reaches the node by
            another name reaches Library's pages by that name too. None where Library is elsewhere.
        refused: is added to for each that may not.
    """

    def __init__(
        self,
        allowed: Iterable[str],
        proxies: Addresses,
        *,
        beside: str | None = None,
        refused: Count | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.proxies = proxies
        self._take(allowed, beside)
        self._refused = refused or Count()
        self._refusals = _Refusals(clock)
        self._parse = functools.lru_cache(1024)(_parse)

    def _take(self, allowed: Iterable[str], beside: str | None) -> None:
        self.names = sorted(allowed)
        self._allowed = AllowedOrigins(self.names)
        self._beside = None if beside is None else parse(beside)

    def use(self, allowed: Iterable[str], *, beside: str | None) -> None:
        """Let in the pages of these from now on, and say so; who is connected stays."""
        self._take(allowed, beside)
        self.start()

    def admits(
        self,
        sent: str | None,
        headers: Iterable[tuple[bytes, bytes]],
        scheme: str,
        client: tuple[str, int] | None,
    ) -> bool:
        """Whether a page whose browser sent this as `Origin` may connect; what is no browser sends none, and may.

        The rest is of the request, as `domain.origins.reached_by` takes it. Writes a line if it may not.
        """
        if sent is None or self._allowed.allows_any:
            return True
        origin = self._parse(sent)
        if origin is not None and origin in self._allowed:
            return True
        reached = reached_by(headers, scheme, client, self.proxies)
        if origin is not None and self._is_at_home(origin, reached):
            return True
        self._refused.add()
        self._refusals.tell(origin, reached)
        return False

    def _is_at_home(self, origin: Origin, reached: Reached) -> bool:
        if reached.is_at(origin):
            return True
        return self._beside is not None and reached.is_beside(origin, self._beside)

    def start(self) -> None:
        """The node starts: say in the log which pages may connect."""
        beside = "" if self._beside is None else f", Library's at the same host ({self._beside})"
        named = "any" if ANY in self.names else ", ".join(["the node's own", *self.names])
        log.info("pages that may connect: %s%s; others need allowedOrigins", named, beside)

    def stop(self) -> None:
        """Nothing to do."""


class _Refusals:
    """Tells of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: OrderedDict[Origin | None, float] = OrderedDict()
        self._left, self._at = float(LINES), clock()
        self._left_out = 0

    def tell(self, origin: Origin | None, reached: Reached) -> None:
        now = self._clock()
        if (at := self._told.get(origin)) is not None and now - at < TOLD_AGAIN_SECONDS:
            return
        self._left, self._at = min(LINES, self._left + (now - self._at) * LINES / 60), now
        if self._left < 1:
            self._left_out += 1
            return
        self._left -= 1
        self._told[origin] = now
        self._told.move_to_end(origin)
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        facts = {"host": ", ".join(host for host, _ in reached.hosts)}
        if self._left_out:
            facts["left_out"] = str(self._left_out)
            self._left_out = 0
        what = "what sends an Origin that is none" if origin is None else f"a page of {origin}"
        log.warning("%s may not connect: if it is yours, add its origin to allowedOrigins", what, extra=facts)


def _parse(sent: str) -> Origin | None:
    try:
        return parse(sent) if sent.isascii() else None
    except NoOrigin:
        return None
