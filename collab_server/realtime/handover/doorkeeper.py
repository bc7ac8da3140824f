"""Who may keep a connection to the listener before it is known that they are a node.

There are `MOST_UNPROVED` of them at once, for as long as the channel gives them; the oldest goes for the next. A node
proves itself in two round trips, so that a flood of others does not keep it out.
"""

from __future__ import annotations

from collections import OrderedDict

from collab_server.realtime.handover.channel import Accepted

__all__ = ["Doorkeeper"]

MOST_UNPROVED = 256


class Doorkeeper:
    """See the module."""

    def __init__(self) -> None:
        self.strangers = 0
        """Connections that were of no node, since the start."""
        self._unproved: OrderedDict[Accepted, None] = OrderedDict()

    def came(self, channel: Accepted) -> None:
        """A connection has come."""
        self._unproved[channel] = None
        if len(self._unproved) > MOST_UNPROVED:
            oldest, _ = self._unproved.popitem(last=False)
            oldest.abort()

    def proved(self, channel: Accepted) -> None:
        """It is a node's."""
        self._unproved.pop(channel, None)

    def failed(self, channel: Accepted) -> None:
        """It has ended without having been a node's."""
        self._unproved.pop(channel, None)
        self.strangers += 1

    def close(self) -> None:
        """End all that are not known."""
        for channel in list(self._unproved):
            channel.abort()
