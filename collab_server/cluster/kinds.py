"""The bus that the configuration names: one of ours, or what a package beside this one makes."""

from __future__ import annotations

import ssl
from pathlib import Path

from collab_server.cluster.alone import Alone
from collab_server.cluster.between_workers import WorkersBus
from collab_server.cluster.over_redis import RedisBus
from collab_server.config.kinds import BUSES, KindError
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import RedisSection
from collab_server.ports import Bus, BusSetup

__all__ = ["make_bus"]


def make_bus(
    kind: str,
    setup: BusSetup,
    redis: RedisSection | None,
    tls: ssl.SSLContext | None = None,
    folder: Path | None = None,
) -> Bus:
    """A bus of this kind, not started; `redis` is where the one over Redis finds it, `tls` what it calls it by; in
    `folder` those meet who are alone together, the workers of one node.

    Raises `ConfigError` for a kind that is not there, and for what its maker refuses.
    """
    if kind == "alone":
        return (
            Alone()
            if folder is None
            else WorkersBus(folder, worker=setup.node, announcement=setup.announcement)
        )
    if kind == "redis":
        if redis is None:
            raise ConfigError([Problem("redisServerUrl", "is missing: the bus of kind redis needs it")])
        return RedisBus(redis, node=setup.node, announcement=setup.announcement, ssl_context=tls)
    try:
        bus: Bus = BUSES.maker(kind)(setup)
    except KindError as error:
        raise ConfigError([Problem("bus.kind", str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem("bus.url", str(error))]) from error
    return bus
