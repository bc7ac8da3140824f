"""The rules between properties, and whether the files they name are there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from collab_server.config.kinds import AUTHORITIES, BUSES, CHANNELS, KindError
from collab_server.config.model import Config
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import is_this_machine
from collab_server.domain.commenting import parse_circles
from collab_server.domain.ids import library_id
from collab_server.errors import Invalid

_MOST_PER_PROCESSOR = 4
"""More workers than these were not meant; a few more than processors are for trying."""


def cross_check(config: Config) -> Iterator[Problem]:
    yield from _library_problems(config)
    yield from _commenting_problems(config)
    yield from _database_problems(config)
    yield from _tls_problems(config)
    yield from _scaling_problems(config)
    yield from _bus_problems(config)
    yield from _redis_certificate_problems(config)
    yield from _channel_problems(config)
    yield from _limit_problems(config)
    yield from _open_doors(config)
    for index, certificate in enumerate(config.trustedCerts):
        yield from _file_problems(f"trustedCerts[{index}]", certificate)
    if config.logFile is not None:
        yield from _log_file_problems(config.logFile)


def _library_problems(config: Config) -> Iterator[Problem]:
    try:
        AUTHORITIES.check(config.authorization.kind)
    except KindError as error:
        yield Problem("authorization.kind", str(error))
    if config.authorization.kind != "library":
        return
    yield from (
        Problem(f"authorization.{name}", "is not used: the kind is library", "warning")
        for name in config.authorization.options
    )
    url = config.authorizationServerUrl
    if url is None:
        yield Problem("authorizationServerUrl", "is not set: nobody can sign in", "warning")
    elif not url.endswith("/api"):
        yield Problem(
            "authorizationServerUrl", "does not end in /api, as Library's REST base does", "warning"
        )


def _commenting_problems(config: Config) -> Iterator[Problem]:
    """Ids of Library, where that is the authority."""
    rules: list[tuple[str, str | None, tuple[str, ...]]] = [("commenting.who", None, config.commenting.who)]
    rules += [
        (f"commenting.projects.{project}", project, words)
        for project, words in config.commenting.projects.items()
    ]
    for name, project, words in rules:
        if config.authorization.kind != "library":
            continue
        try:
            if project is not None:
                library_id(project, "project")
            parse_circles(words, library_id)
        except Invalid as error:
            yield Problem(name, f"{error.message} ({error.field})" if error.field else error.message)


def _database_problems(config: Config) -> Iterator[Problem]:
    source = config.dataSource
    if config.dburl is not None and config.has_data_source:
        yield Problem("dburl", "is not used, because dataSource is there too", "warning")
    if source.sslRootCertFile is not None and source.sslRootCertificate is not None:
        yield Problem(
            "dataSource.sslRootCertificate", "is not used, because sslRootCertFile is there", "warning"
        )
    if (source.sslClientCertFile is None) != (source.sslClientKeyFile is None):
        missing = "sslClientKeyFile" if source.sslClientKeyFile is None else "sslClientCertFile"
        yield Problem(
            f"dataSource.{missing}", "is missing: sslClientCertFile and sslClientKeyFile go together"
        )
    for name in ("sslRootCertFile", "sslRootCertificate", "sslClientCertFile", "sslClientKeyFile"):
        yield from _file_problems(f"dataSource.{name}", getattr(source, name))

    key_file = source.encryptionKeyFile
    unusable = list(_file_problems("dataSource.encryptionKeyFile", key_file))
    yield from unusable
    if unusable:
        return
    if key_file is not None and stat.S_IMODE(key_file.stat().st_mode) & 0o077:
        yield Problem("dataSource.encryptionKeyFile", f"others may read {key_file}: chmod 600", "warning")
    try:
        _ = config.database
    except ConfigError as error:
        yield from error.problems
    for secret in ("secret_in_clear", "status_token"):
        try:
            getattr(config, secret)
        except ConfigError as error:
            yield from error.problems


def _tls_problems(config: Config) -> Iterator[Problem]:
    if not config.enableTls:
        for name in ("privateKeyFile", "publicCertFile", "keystoreFile"):
            if getattr(config, name) is not None:
                yield Problem(name, "is not used: enableTls is false", "warning")
        return
    has_keystore = config.keystoreFile is not None and config.passphrase is not None
    has_pem = config.privateKeyFile is not None and config.publicCertFile is not None
    if has_keystore:
        yield from _file_problems("keystoreFile", config.keystoreFile)
        key_file = config.dataSource.encryptionKeyFile
        if key_file is None or not any(_file_problems("dataSource.encryptionKeyFile", key_file)):
            try:
                _ = config.server_tls
            except ConfigError as error:
                yield from error.problems
        return
    incomplete = [
        (name, partner)
        for name, partner in (
            ("passphrase", "keystoreFile"),
            ("keystoreFile", "passphrase"),
            ("publicCertFile", "privateKeyFile"),
            ("privateKeyFile", "publicCertFile"),
        )
        if getattr(config, name) is None and getattr(config, partner) is not None
    ]
    for name, partner in incomplete:
        yield Problem(name, f"is missing beside {partner}", "warning" if has_pem else "error")
    if has_pem:
        yield from _file_problems("privateKeyFile", config.privateKeyFile)
        yield from _file_problems("publicCertFile", config.publicCertFile)
    elif not incomplete:
        yield Problem(
            "enableTls",
            "is true, but neither privateKeyFile and publicCertFile nor keystoreFile and passphrase are set",
        )


def _scaling_problems(config: Config) -> Iterator[Problem]:
    has_redis = config.redisServerUrl is not None
    if config.scaling != "horizontal":
        has_bus = config.bus.kind not in (None, "alone")
        not_used = {
            "redisServerUrl": has_redis,
            "bus.kind": has_bus,
            "bus.url": config.bus.url,
            "advertise": config.advertise,
        }
        for name, is_given in not_used.items():
            if is_given:
                yield Problem(name, f"is not used: scaling is {config.scaling}", "warning")
    elif config.bus_kind == "alone":
        yield Problem("bus.kind", "is alone, but scaling horizontal is of several nodes, which need one")
    elif config.bus_kind == "redis" and not has_redis:
        yield Problem("redisServerUrl", "is missing: scaling horizontal needs it")
    elif config.bus_kind != "redis" and has_redis:
        yield Problem("redisServerUrl", f"is not used: bus.kind is {config.bus_kind}", "warning")
    if config.scaling == "vertical" and config.cpus == 1:
        yield Problem("cpus", "is 1: scaling vertical has nothing to scale", "warning")
    elif config.scaling == "none" and config.cpus > 1:
        yield Problem("cpus", "is not used: scaling is none", "warning")
    if config.handover is not None and config.handover.port + config.workers - 1 > 65535:
        words = f"is port {config.handover.port}, and each of {config.workers} workers takes the next one"
        yield Problem("advertise", f"{words}: there is none beyond 65535")
    processors = len(os.sched_getaffinity(0))
    if config.workers > _MOST_PER_PROCESSOR * processors:
        words = f"is {config.cpus}, more than {_MOST_PER_PROCESSOR} for each processor of this machine ({processors})"
        yield Problem("cpus", words, "warning")
    for name in ("poolSize", "readPoolSize"):
        size = getattr(config.dataSource, name)
        if size < config.workers:
            words = (
                f"is {size}, and cpus is {config.workers}: each worker has one connection, so there are more"
            )
            yield Problem(f"dataSource.{name}", words, "warning")


def _bus_problems(config: Config) -> Iterator[Problem]:
    if config.bus.kind is not None:
        try:
            BUSES.check(config.bus.kind)
        except KindError as error:
            yield Problem("bus.kind", str(error))
    if config.bus.url is not None and config.bus_kind in BUSES.built_in and config.scaling == "horizontal":
        yield Problem("bus.url", f"is not used: bus.kind is {config.bus_kind}", "warning")


def _redis_certificate_problems(config: Config) -> Iterator[Problem]:
    names = ("redisClientCertFile", "redisClientKeyFile")
    given = [name for name in names if getattr(config, name) is not None]
    if not given:
        return
    if len(given) == 1:
        [missing] = set(names) - set(given)
        yield Problem(missing, "is missing: redisClientCertFile and redisClientKeyFile go together")
    for name in given:
        yield from _file_problems(name, getattr(config, name))
    if config.redis is None or not config.redis.is_tls:
        yield Problem(given[0], "is not used: redisServerUrl does not begin with rediss://", "warning")


def _channel_problems(config: Config) -> Iterator[Problem]:
    kinds = [channel.kind for channel in config.channels]
    if "inbox" not in kinds:
        yield Problem("channels", "holds no inbox: clients read it, and the others tell what is in it")
    for index, kind in enumerate(kinds):
        try:
            CHANNELS.check(kind)
        except KindError as error:
            yield Problem(f"channels[{index}].kind", str(error))
        if kind in kinds[:index]:
            yield Problem(f"channels[{index}].kind", f'"{kind[:40]}" stands there already')


def _open_doors(config: Config) -> Iterator[Problem]:
    """What lets others read along or come in. Never of this machine itself: nobody is in between there."""
    library = config.authorizationServerUrl
    if (
        library is not None
        and library.startswith("http:")
        and not is_this_machine(urlsplit(library).hostname)
    ):
        message = "is http: users' tokens go over the network in clear; use https"
        yield Problem("authorizationServerUrl", message, "warning")
    redis = config.redis
    if (
        redis is not None
        and redis.password is None
        and not all(is_this_machine(host) for host, _ in redis.hosts)
    ):
        message = "has no password: whoever reaches Redis can disturb the nodes; give Redis one"
        yield Problem("redisServerUrl", message, "warning")
    with contextlib.suppress(ConfigError):  # said already
        database = config.database
        is_here = all(is_this_machine(host) for host, _ in database.hosts)
        if not database.is_tls and not is_here:
            is_by_url = config.dburl is not None and not config.has_data_source
            name = "dburl" if is_by_url else "dataSource.host"
            how = "add ?sslmode=require" if is_by_url else "set dataSource.sslRootCertFile"
            message = f"is another machine: password and comments go over the network in clear; {how}"
            yield Problem(name, message, "warning")
        if config.secret is None and not is_here:
            message = "is not set: whoever reads the database, or a dump of it, can make tokens of anybody"
            yield Problem("secret", message, "warning")
    if "*" in config.allowed_origins:
        yield Problem("allowedOrigins", "holds *: pages of any origin may connect; name them", "warning")
    if "null" in config.allowed_origins:
        message = "holds null: any page can make itself one without an origin, and connect"
        yield Problem("allowedOrigins", message, "warning")
    if "*" in config.trustedProxies:
        message = "holds *: anybody can claim any address; name the load balancers"
        yield Problem("trustedProxies", message, "warning")


def _limit_problems(config: Config) -> Iterator[Problem]:
    limits = config.limits
    needed = limits.viewStateBytes + 4 * limits.textCharacters  # a code point takes up to four bytes
    if limits.packetBytes < needed:
        yield Problem(
            "limits.packetBytes",
            f"must be at least {needed}, to hold a comment of textCharacters and viewStateBytes"
            f" (is {limits.packetBytes})",
        )
    if limits.outgoingBytes < limits.packetBytes:
        yield Problem(
            "limits.outgoingBytes",
            f"must be at least packetBytes, {limits.packetBytes} (is {limits.outgoingBytes}): an event of"
            " that size would close every connection",
        )


def _log_file_problems(path: Path) -> Iterator[Problem]:
    """Nothing is made yet: a file that is not there may be opened in its folder."""
    try:
        if path.is_dir():
            yield Problem("logFile", f"{path} is a directory")
        elif not path.parent.is_dir():
            yield Problem("logFile", f"there is no directory {path.parent}")
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            yield Problem("logFile", f"{path} may not be written by this user")
    except OSError as error:
        yield Problem("logFile", f"{path} cannot be looked at: {error.strerror}")


def _file_problems(name: str, path: Path | None) -> Iterator[Problem]:
    if path is None:
        return
    try:
        if not path.is_file():
            yield Problem(name, f"there is no file {path}")
        elif not os.access(path, os.R_OK):
            yield Problem(name, f"{path} may not be read by this user")
    except OSError as error:
        yield Problem(name, f"{path} cannot be looked at: {error.strerror}")
