"""Whether this node's clock agrees with the database's, as far as the prober's looks can tell. Runs nothing.

A clock that is wrong drops nobody and puts no event out of order, for neither goes by it; but comments get the node's
time, people see it, and what is searched for is shown by it.
"""

from __future__ import annotations

import logging

__all__ = ["ClockWatch"]

log = logging.getLogger(__name__)

WRONG_SECONDS = 2.0
RIGHT_SECONDS = 1.0
"""Below the former, so that a clock at the edge does not fill the log."""


class ClockWatch:
    """`ahead_seconds`: by how much, at the least, this node's clock is ahead of the database's; negative is behind."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0
        self._is_wrong = False

    def compare(self, asked_at: float, database_at: float, answered_at: float) -> None:
        """Take up what the database's clock was between the two times of this node's, all in seconds since 1970.

        Says in the log when the clocks begin to differ, and when they agree again.
        """
        # What a slow answer leaves open counts for nothing.
        self.ahead_seconds = max(asked_at - database_at, 0.0) + min(answered_at - database_at, 0.0)
        apart = abs(self.ahead_seconds)
        if apart >= WRONG_SECONDS and not self._is_wrong:
            self._is_wrong = True
            where = "ahead of" if self.ahead_seconds > 0 else "behind"
            log.warning(
                "the clock of this node is %d s %s the database's: set it by NTP", round(apart), where
            )
        elif apart < RIGHT_SECONDS and self._is_wrong:
            self._is_wrong = False
            log.info("the clock of this node agrees with the database's again")
