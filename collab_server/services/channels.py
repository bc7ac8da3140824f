"""Channels: what tells people elsewhere of what is in their inbox.

A telling is stored in the transaction that puts its notification into the inbox, so by then it is known that the person
may know of it. A job of each channel, which one node of the cluster does at a time, tells what is due.

What it promises: everything is told at least once, in no certain order; a node that dies between telling and storing
that it has told makes it twice, under the same id. What cannot be told is tried again, later and later, `MOST_TRIES`
times; then it is dropped and counted. What a channel has left that no node has any more is dropped by the upkeep once
it has been due for a day. Who has read it in the inbox meanwhile is not told. A channel that fails, or
takes longer than `TELL_SECONDS`, keeps no other from telling.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from collab_server.config.kinds import CHANNELS, KindError
from collab_server.config.problems import ConfigError, Problem
from collab_server.ports import Channel, ChannelSetup, Telling
from collab_server.services.jobs import Job, Lease
from collab_server.storage import tellings
from collab_server.telemetry.metrics import Metrics

__all__ = ["Channels", "make_channels"]

log = logging.getLogger(__name__)

EVERY_SECONDS = 2.0
TELL_SECONDS = 10.0
MOST_TRIES = 15
"""With the time between them that is a day."""
BATCH = 50
MOST_IN_VAIN = 3
"""After so many failures one after the other a channel is left alone until its job's next turn: it is away."""


@dataclass(slots=True)
class _Counts:
    told: int = 0
    failed: int = 0
    dropped: int = 0


class Channels:
    """The channels of a node by their kinds, the inbox left out: it is what they tell from."""

    def __init__(self, channels: Mapping[str, Channel], metrics: Metrics) -> None:
        self._channels = channels
        self.kinds = tuple(channels)
        self._counts = _Counts()
        metrics.include("channels", self.counts)

    def by_name(self) -> Mapping[str, Channel]:
        """Each of them, as `/status` calls it."""
        return {f"channel {kind}": channel for kind, channel in self._channels.items()}

    def counts(self) -> Mapping[str, int]:
        """How much was told, failed to be told, and was dropped for that, since the node started."""
        return asdict(self._counts)

    def jobs(self) -> tuple[Job, ...]:
        """What tells what is due."""
        return tuple(
            Job(tellings.JOB + kind, EVERY_SECONDS, partial(self._tell_due, kind)) for kind in self.kinds
        )

    async def start(self) -> None:
        """Let all of them make ready."""
        for channel in self._channels.values():
            await channel.start()

    async def stop(self) -> None:
        """End all of them."""
        for channel in self._channels.values():
            await channel.stop()

    async def _tell_due(self, kind: str, lease: Lease) -> None:
        while due := await lease.run(partial(tellings.due, channel=kind, most=BATCH)):
            in_vain = 0
            for telling, is_read, tries in due:
                has_told = is_read or await self._tell(kind, telling)
                in_vain = 0 if has_told else in_vain + 1
                if not has_told and tries + 1 >= MOST_TRIES:
                    self._counts.dropped += 1
                    log.warning("somebody could not be told, and will not be", extra={"channel": kind})
                    has_told = True
                settle = tellings.told if has_told else tellings.later
                await lease.run(partial(settle, channel=kind, id=telling.id))
                if in_vain >= MOST_IN_VAIN:
                    return

    async def _tell(self, kind: str, telling: Telling) -> bool:
        """Whether it was told. Whatever somebody else's channel raises is its failure, not that of the node."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._channels[kind].tell(telling)
        except Exception as error:
            self._counts.failed += 1
            extra = {"channel": kind, "error": type(error).__name__}
            log.warning("somebody could not be told; it is tried again", extra=extra)
            return False
        self._counts.told += 1
        return True


def make_channels(chosen: Sequence[tuple[str, ChannelSetup]]) -> Mapping[str, Channel]:
    """The channels of these kinds, not started; the inbox is ours, and left out.

    Raises `ConfigError` for a kind that is not there, and for what its maker refuses.
    """
    made: dict[str, Channel] = {}
    for index, (kind, setup) in enumerate(chosen):
        if kind in CHANNELS.built_in:
            continue
        try:
            channel: Any = CHANNELS.maker(kind)(setup)
        except KindError as error:
            raise ConfigError([Problem(f"channels[{index}].kind", str(error))]) from error
        except ValueError as error:
            raise ConfigError([Problem(f"channels[{index}]", str(error))]) from error
        made[kind] = channel
    return made
