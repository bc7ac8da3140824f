"""The certificates of a running node, which may be replaced while it runs.

Who serves or calls by TLS keeps one context for as long as it lives. `Renewable` is one that begins each connection by
the context that is the latest; those that are open stay as they are.

Contexts are made in any thread (`Certificates.made`), and replaced on the event loop (`Certificates.use`). Nothing
runs here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from collab_server.config import certificates
from collab_server.config.expiry import Expiry, expiries
from collab_server.config.model import Config

__all__ = ["Certificates", "Made", "Renewable"]


class Renewable(ssl.SSLContext):
    """Begins connections by another context, the latest it was given."""

    def __new__(cls, first: ssl.SSLContext) -> Renewable:
        return super().__new__(cls, first.protocol)

    def __init__(self, first: ssl.SSLContext) -> None:
        self._latest = first
        self._protocols: list[str] | None = None

    def use(self, context: ssl.SSLContext) -> None:
        """Begin connections by this one from now on."""
        if self._protocols is not None:
            context.set_alpn_protocols(self._protocols)
        self._latest = context

    @override
    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self._protocols = list(alpn_protocols)
        self._latest.set_alpn_protocols(self._protocols)

    @override
    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        return self._latest.wrap_bio(*arguments, **more)

    @override
    def wrap_socket(self, *arguments: Any, **more: Any) -> ssl.SSLSocket:
        return self._latest.wrap_socket(*arguments, **more)


@dataclass(frozen=True, slots=True)
class Made:
    """All contexts of one configuration; None where it has no TLS there. `ends` is until when they are of use."""

    serving: ssl.SSLContext | None
    library: ssl.SSLContext
    postgres: ssl.SSLContext | None
    redis: ssl.SSLContext | None
    ends: tuple[Expiry, ...]


class Certificates:
    """What a node serves by and calls by: `serving` clients, `library` and channels, `postgres` and `redis`.

    Each is None where the configuration that the node was started with has no TLS there. Raises `ConfigError`.
    """

    def __init__(self, config: Config) -> None:
        first = self.made(config)
        self.serving = None if first.serving is None else Renewable(first.serving)
        self.library = Renewable(first.library)
        self.postgres = None if first.postgres is None else Renewable(first.postgres)
        self.redis = None if first.redis is None else Renewable(first.redis)
        self.ends = first.ends
        """Until when each is valid, as of the last reading of the files."""

    @staticmethod
    def made(config: Config) -> Made:
        """Read all files of a configuration. Takes some milliseconds for each. Raises `ConfigError`."""
        serving, redis = config.server_tls, config.redis
        return Made(
            serving=None if serving is None else certificates.server_context(serving),
            library=certificates.client_context(config.trustedCerts),
            postgres=certificates.postgres_context(config.database),
            redis=None if redis is None else certificates.redis_context(redis),
            ends=expiries(config),
        )

    def use(self, made: Made) -> None:
        """Serve and call by these from the next connection on. Where there is TLS, and where not, stays as it is."""
        self.library.use(made.library)
        for ours, theirs in (
            (self.serving, made.serving),
            (self.postgres, made.postgres),
            (self.redis, made.redis),
        ):
            if ours is not None and theirs is not None:
                ours.use(theirs)
        self.ends = made.ends
