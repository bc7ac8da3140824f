"""What a running node takes up of its configuration when SIGHUP asks it to look again.

Certificates always, the files being read anew; of the settings those of `MAY_CHANGE`. What else is another one now is
named in the log, and takes a restart. A configuration with an error changes nothing at all.

Besides, a certificate that is about to expire, or has, is one line a day. One task, `run`, owned by the node; files
are read in a thread, which is left behind where that takes longer than `READ_SECONDS`: a drive may hang, or a pipe be
there in place of a file. The end of the process waits for it for `LEAVING_SECONDS`: whoever still makes certificates of
what was read when OpenSSL is taken down crashes, and the process with it.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from collab_server import hangup, logs
from collab_server.api.operations import Observers
from collab_server.config import Config, ConfigError, LoadedConfig
from collab_server.config.loading import leaves
from collab_server.config.renewal import Certificates, Made
from collab_server.services.origins import Origins
from collab_server.services.sign_in import Authenticator
from collab_server.status import Status
from collab_server.storage.server import Server

__all__ = ["CERTIFICATES", "MAY_CHANGE", "Changing", "Reloading"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 24 * 3600.0
"""Between two warnings of the same certificate."""
READ_SECONDS = 10.0
MOST_LEFT_BEHIND = 4
LEAVING_SECONDS = 1.0

_threads: list[threading.Thread] = []  # that read, or have read

_LOG = frozenset({"logging", "logFile", "logFormat"})
_ORIGINS = frozenset({"allowedOrigins"})
_PASSWORD = frozenset({"dataSource.password", "dataSource.encryptionKeyFile"})
CERTIFICATES = frozenset(
    {
        "privateKeyFile",
        "publicCertFile",
        "keystoreFile",
        "passphrase",
        "trustedCerts",
        "redisClientCertFile",
        "redisClientKeyFile",
        "dataSource.sslRootCertFile",
        "dataSource.sslRootCertificate",
        "dataSource.sslClientCertFile",
        "dataSource.sslClientKeyFile",
    }
)
"""What may change while there is TLS before and after."""
MAY_CHANGE = _LOG | _ORIGINS | _PASSWORD | CERTIFICATES | {"administrators", "statusToken"}


@dataclass(frozen=True, slots=True)
class Changing:
    """The parts whose settings may change."""

    authenticator: Authenticator
    observers: Observers
    origins: Origins
    status: Status
    server: Server

    def use(self, config: Config, changed: frozenset[str]) -> None:
        """Go on with what has `changed`. Raises `ConfigError` for a log file that cannot be written."""
        if changed & _LOG:
            logs.configure(is_detailed=config.logging, log_format=config.logFormat, log_file=config.logFile)
            self.status.settings = replace(self.status.settings, logging=config.logging)
        if changed & _ORIGINS:
            self.origins.use(config.allowed_origins, beside=config.library_beside)
        self.authenticator.use_administrators(config.administrators)
        self.observers.use_token(config.status_token)
        if changed & _PASSWORD:
            password = config.database.password
            self.server.use_password(password.get_secret_value() if password else None)


class Reloading:
    """See the module. `config` is what the node was started with, `read` reads it again (None: nothing but the files
    it names)."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], LoadedConfig] | None,
        certificates: Certificates,
        changing: Changing,
    ) -> None:
        self._started_with = config
        self._latest = config
        self._read = read
        self._certificates = certificates
        self._changing = changing
        self._readings: list[Future[tuple[LoadedConfig, Made]]] = []  # that are not over

    async def run(self) -> None:
        """Look again whenever SIGHUP comes, and once a day at the certificates, until cancelled."""
        times = 0
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    times = await hangup.heard(times)
            except TimeoutError:
                self.warn(datetime.now(UTC))
            else:
                await self.look_again()

    def warn(self, now: datetime) -> None:
        """One line for each certificate that is not valid, or not for much longer; those of the start are said then."""
        for one in self._certificates.ends:
            if words := one.warning(now):
                log.warning("%s: %s", one.property, words)

    async def look_again(self) -> None:
        """Read the configuration and what it names, take up what may change, and say what may not."""
        try:
            loaded, made = await self._read_in_time()
            took_up = self._use(loaded.config, made)
        except ConfigError as error:
            for problem in error.problems:
                log.error("SIGHUP: %s", problem)
            log.error("SIGHUP: the configuration has errors: the one before stays in use")
        except TimeoutError:
            log.error(
                "SIGHUP: a file cannot be read in time, or is a pipe: the configuration before stays in use"
            )
        except Exception:
            log.exception("SIGHUP: the configuration could not be read again: the one before stays in use")
        else:
            for problem in loaded.warnings:
                log.warning("SIGHUP: %s", problem)
            log.info("SIGHUP: certificates are read again; settings that changed: %s", took_up or "none")

    async def _read_in_time(self) -> tuple[LoadedConfig, Made]:
        """Raises `ConfigError`, and `TimeoutError` after `READ_SECONDS`, or at once where too many still hang."""
        self._readings = [one for one in self._readings if not one.done()]
        if len(self._readings) >= MOST_LEFT_BEHIND:
            raise TimeoutError
        reading: Future[tuple[LoadedConfig, Made]] = Future()
        reading.set_running_or_notify_cancel()  # giving up leaves it as it is

        def read() -> None:
            try:
                reading.set_result(self._read_all())
            except BaseException as error:
                reading.set_exception(error)

        # Not the loop's own threads, for which the end of the process waits however long they take.
        thread = threading.Thread(target=read, name="reading again", daemon=True)
        thread.start()
        _threads[:] = [*(one for one in _threads if one.is_alive()), thread]
        self._readings.append(reading)
        async with asyncio.timeout(READ_SECONDS):
            return await asyncio.wrap_future(reading)

    def _read_all(self) -> tuple[LoadedConfig, Made]:
        loaded = LoadedConfig(self._started_with, [], None) if self._read is None else self._read()
        return loaded, Certificates.made(loaded.config)

    def _use(self, config: Config, made: Made) -> str:
        """Which settings were taken up, in words."""
        before = frozenset(_differences(self._started_with, config))
        left = before - MAY_CHANGE
        is_other_database = any(name.startswith("dataSource.") for name in left)
        if is_other_database or self._started_with.database.is_tls != config.database.is_tls:
            left |= {name for name in before if name.startswith("dataSource.")}
        changed = (frozenset(_differences(self._latest, config)) & MAY_CHANGE) - left
        self._changing.use(config, changed)
        self._certificates.use(made)
        self._latest = config
        if left:
            log.warning("SIGHUP: changed, which takes a restart: %s", ", ".join(sorted(left)))
        return ", ".join(sorted(changed))


@atexit.register
def _let_them_end() -> None:
    ends_at = time.monotonic() + LEAVING_SECONDS
    with contextlib.suppress(KeyboardInterrupt):  # somebody does not want to wait
        for thread in _threads:
            thread.join(max(0.0, ends_at - time.monotonic()))


def _differences(one: Config, other: Config) -> list[str]:
    """The names of the properties that are not the same; what is another part's to read as one."""
    names = [name for name, _ in leaves(Config)]
    found = [name for name in names if _value(one, name) != _value(other, name)]
    if one.authorization.options != other.authorization.options:
        found.append("authorization")
    return found


def _value(config: Config, name: str) -> Any:
    value: Any = config
    for step in name.split("."):
        value = getattr(value, step)
    return value
