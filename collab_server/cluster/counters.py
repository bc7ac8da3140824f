"""What a bus has counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Since the start of this node; heartbeats do not count as messages.

    `unknown_version`, `unopened` and `repeated` are envelopes: of another layout; not sealed by this installation, or
    changed; heard before. `unbelieved` are messages of nodes that have not shown yet, or not lately, that they live.
    `outages` says how often Redis was there and then was not.
    """

    published: int = 0
    received: int = 0
    dropped: int = 0
    missed: int = 0
    unknown_version: int = 0
    unopened: int = 0
    repeated: int = 0
    unbelieved: int = 0
    handler_errors: int = 0
    connections_lost: int = 0
    outages: int = 0
