"""The certificates of a running node, which may be replaced while it runs.

Who serves or calls by TLS keeps one context for as long as it lives. `Renewable` is one that begins each connection by
the context that is the latest; those that are open stay as they are. `MadeWhenUsed` is one that is made when the first
connection begins by it: the machine's root certificates are two megabytes.

Contexts are made in any thread (`Certificates.made`), and replaced on the event loop (`Certificates.use`). Nothing
runs here.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from typing_extensions import override

from collab_server.config import certificates
from collab_server.config.expiry import Expiry, expiries
from collab_server.config.model import Config

__all__ = ["Certificates", "Made", "MadeWhenUsed", "Renewable"]


class _Another(ssl.SSLContext):
    """Begins connections by another context, the one that there is now."""

    _protocols: list[str] | None = None

    def _current(self) -> ssl.SSLContext:
        raise NotImplementedError

    @override
    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        return self._current().wrap_bio(*arguments, **more)

    @override
    def wrap_socket(self, *arguments: Any, **more: Any) -> ssl.SSLSocket:
        return self._current().wrap_socket(*arguments, **more)


class MadeWhenUsed(_Another):
    """One for calling, that `make` makes when a connection begins by it for the first time: of those who most likely
    never call by TLS. It takes some milliseconds then. `make` raises nothing."""

    def __new__(cls, make: Callable[[], ssl.SSLContext]) -> MadeWhenUsed:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._made: ssl.SSLContext | None = None

    @override
    def _current(self) -> ssl.SSLContext:
        if self._made is None:
            self._made = self._make()
            if self._protocols is not None:
                self._made.set_alpn_protocols(self._protocols)
        return self._made

    @override
    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self._protocols = list(alpn_protocols)
        if self._made is not None:
            self._made.set_alpn_protocols(self._protocols)


class Renewable(_Another):
    """Begins connections by the latest context it was given."""

    def __new__(cls, first: ssl.SSLContext) -> Renewable:
        return super().__new__(cls, first.protocol)

    def __init__(self, first: ssl.SSLContext) -> None:
        self._latest = first

    def use(self, context: ssl.SSLContext) -> None:
        """Begin connections by this one from now on."""
        if self._protocols is not None:
            context.set_alpn_protocols(self._protocols)
        self._latest = context

    @override
    def _current(self) -> ssl.SSLContext:
        return self._latest

    @override
    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self._protocols = list(alpn_protocols)
        self._latest.set_alpn_protocols(self._protocols)


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
            library=_for_calling(config),
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


def _for_calling(config: Config) -> ssl.SSLContext:
    """For Library and channels."""
    make = partial(certificates.client_context, config.trustedCerts)
    return make() if config.may_call_by_tls else MadeWhenUsed(make)
