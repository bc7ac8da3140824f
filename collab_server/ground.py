"""What a node stands on: the bus, the database, the authority and the channels, and what it says of itself.

Nothing is opened here but memory; `node` starts the parts, and stops them.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from pydantic import SecretStr

from collab_server import __version__, logs
from collab_server.authority.kinds import make_authority
from collab_server.cluster.kinds import make_bus
from collab_server.config import Config
from collab_server.config.renewal import Certificates
from collab_server.config.values import DatabaseSection
from collab_server.ports import (
    Announcement,
    Authority,
    AuthoritySetup,
    Bus,
    BusSetup,
    ChannelSetup,
    Life,
    Queues,
)
from collab_server.services.channels import Channels, make_channels
from collab_server.services.opening import OpenDatabase
from collab_server.services.secret_watch import announced
from collab_server.status import DATABASE, BusAsNeeded, Counters, Dependency, Settings, Status
from collab_server.storage import notices
from collab_server.storage.database import Database
from collab_server.storage.installation import Preparation
from collab_server.telemetry.metrics import Labels, Metrics
from collab_server.telemetry.spans import Spans, spans_of
from collab_server.workers.seat import Seat, new_node_name
from collab_server.workers.siblings import OwnSiblings
from collab_server.workers.together import Together

__all__ = ["Ground"]


class Ground:
    """What a node stands on: the bus, the database and the authority, and what it says of itself.

    Raises `ConfigError` for certificates that cannot be read, and for parts that cannot be made.
    """

    def __init__(self, config: Config, certificates: Certificates, seat: Seat | None = None) -> None:
        self.name = new_node_name() if seat is None else seat.worker
        logs.speak_as(self.name)
        self.secret = _in_bytes(config.secret_in_clear)
        self.announcement = Announcement(version=__version__, state="paused", secret=announced(self.secret))
        self.metrics = metrics = Metrics()
        self.spans = spans = spans_of(self.name)
        metrics.gauges("certificate_days", partial(_days_left, certificates))
        self.bus = _bus_of(config, self.name, self.announcement, certificates.redis, seat)
        session = f"{self.name} {notices.KNOWN_BY}"
        self.bare = Database.of(
            _share_of(config.database, seat),
            node=session,
            tls=certificates.postgres,
            metrics=metrics,
            spans=spans,
        )
        self.preparation = Preparation(self.bare, secret=self.secret)
        self.database = self.bare.closed()  # for all that needs it to be ready
        together = None if seat is None else Together(seat, metrics.render, OwnSiblings(seat))
        self.authority = _authority_of(config, metrics, spans, self.bus, certificates.library, together)
        _tell_queues(metrics, self.authority.life)
        self.channels = _channels_of(config, metrics, certificates.library)
        opened = OpenDatabase(self.database, self.preparation)
        dependencies = _dependencies_of(opened, self.bus, self.authority, self.channels)
        settings = Settings(config.enableTls, config.scaling, config.logging, self.name)
        counters = Counters(metrics, together)
        self.status = Status(settings, self.database, self.bus, counters, dependencies)


def _in_bytes(secret: SecretStr | None) -> bytes | None:
    return None if secret is None else secret.get_secret_value().encode()


def _share_of(database: DatabaseSection, seat: Seat | None) -> DatabaseSection:
    """The connections that this worker may have of its node's."""
    if seat is None:
        return database
    return replace(
        database,
        pool_size=seat.share(database.pool_size),
        read_pool_size=seat.share(database.read_pool_size),
    )


def _bus_of(
    config: Config,
    name: str,
    announcement: Announcement,
    tls: ssl.SSLContext | None,
    seat: Seat | None,
) -> Bus:
    url = config.bus.url
    bus_url = None if url is None else url.get_secret_value()
    setup = BusSetup(name, announcement, bus_url, config.trustedCerts)
    return make_bus(config.bus_kind, setup, config.redis, tls, None if seat is None else seat.folder)


def _authority_of(
    config: Config,
    metrics: Metrics,
    spans: Spans | None,
    bus: Bus,
    tls: ssl.SSLContext,
    together: Together | None,
) -> Authority:
    kind = config.authorization.kind
    observe = metrics.calls("library" if kind == "library" else "authority")
    setup = AuthoritySetup(
        bus=bus,
        options=config.authorization.options,
        url=config.authorizationServerUrl,
        tls=tls,
        fresh_seconds=config.rightsSeconds,
        observe=observe if spans is None else spans.observing(observe),
        siblings=None if together is None or together.seat.of < 2 else together.siblings,
    )
    return make_authority(kind, setup)


def _channels_of(config: Config, metrics: Metrics, tls: ssl.SSLContext) -> Channels:
    chosen = [
        (one.kind, ChannelSetup(one.options, config.notification_base_url, tls)) for one in config.channels
    ]
    return Channels(make_channels(chosen), metrics)


def _dependencies_of(
    database: OpenDatabase, bus: Bus, authority: Authority, channels: Channels
) -> list[Dependency]:
    """What the node depends on, in the order in which `/status` names it."""
    of_bus = [] if bus.dependency is None else [Dependency(bus.dependency, BusAsNeeded(bus))]
    return [
        Dependency(DATABASE, database),
        *of_bus,
        Dependency(authority.dependency, authority.life, pauses=False),
        *(Dependency(name, channel, pauses=False) for name, channel in channels.by_name().items()),
    ]


def _tell_queues(metrics: Metrics, life: Life) -> None:
    if isinstance(life, Queues):
        metrics.gauges("queue_length", partial(_lengths, life))


def _lengths(queues: Queues) -> Mapping[Labels, float]:
    return {(name,): length for name, length in queues.waiting().items()}


def _days_left(certificates: Certificates) -> Mapping[Labels, float]:
    now = datetime.now(UTC)
    return {(one.property,): one.days_left(now) for one in certificates.ends}
