"""Certificates: what is in the files → an `ssl.SSLContext` for serving, for Library, for Redis, for Postgres.

What it promises:

- a file that does not hold what its property says is a `ConfigError` naming that property, never a traceback;
- a private key is never written to disk and never asked for on a terminal;
- whom we call must show a valid certificate for the name that we called: nothing here can switch that off.

Nothing runs concurrently. Files are read when a function is called.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from collab_server.config.expiry import expiries
from collab_server.config.model import Config
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import DatabaseSection, RedisSection, ServerTlsSection

__all__ = ["check", "client_context", "postgres_context", "redis_context", "server_context"]

S = TypeVar("S")


def server_context(section: ServerTlsSection) -> ssl.SSLContext:
    """For serving: TLS 1.2 or newer, HTTP/1.1. Raises `ConfigError`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some builds of Python leave it to the system
    context.set_alpn_protocols(["http/1.1"])
    if section.pem is not None:
        certificate, key = section.pem
        _load_pem(context, certificate, "publicCertFile", key, "privateKeyFile")
    elif section.keystore_file is not None:
        _load_pkcs12(context, section.keystore_file, section.passphrase)
    return context


def client_context(trusted_certs: tuple[Path, ...]) -> ssl.SSLContext:
    """For calling Library: the machine's own root CAs and the `trustedCerts`.

    Raises `ConfigError`.
    """
    context = ssl.create_default_context()
    problems = []
    for index, certificate in enumerate(trusted_certs):
        try:
            _trust(context, certificate, f"trustedCerts[{index}]")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return context


def redis_context(section: RedisSection) -> ssl.SSLContext | None:
    """For Redis by `rediss://`: trusts as `client_context`, and shows a certificate where there is one.

    None for `redis://`. Raises `ConfigError`.
    """
    if not section.is_tls:
        return None
    context = client_context(section.trusted_certs)
    if section.client_cert_file is not None and section.client_key_file is not None:
        _load_pem(
            context,
            section.client_cert_file,
            "redisClientCertFile",
            section.client_key_file,
            "redisClientKeyFile",
        )
    return context


def postgres_context(section: DatabaseSection) -> ssl.SSLContext | None:
    """For Postgres; None where the section does not turn SSL on.

    Always what libpq calls `verify-full`: chain and host name are verified, with `sslRootCertFile` against
    that CA alone, else against the machine's own. Raises `ConfigError`.
    """
    if not section.is_tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which verifies chain and host name
    if section.root_cert_file is not None:
        _trust(context, section.root_cert_file, "dataSource.sslRootCertFile")
    else:
        context.load_default_certs()
    if section.client_cert_file is not None and section.client_key_file is not None:
        _load_pem(
            context,
            section.client_cert_file,
            "dataSource.sslClientCertFile",
            section.client_key_file,
            "dataSource.sslClientKeyFile",
        )
    return context


def check(config: Config, *, now: datetime | None = None) -> list[Problem]:
    """Every problem with the certificates that `config` names, found by loading them all. `load_config` calls it.

    One that is not valid `now`, or not for much longer, is a warning. Sections that cannot be had (a pair without its
    partner, a password that cannot be decrypted) are left out.
    """
    problems: list[Problem] = []

    def attempt(load: Callable[[S], object], section: Callable[[], S | None]) -> None:
        try:
            given = section()
        except ConfigError:
            return
        try:
            if given:
                load(given)
        except ConfigError as error:
            problems.extend(error.problems)

    attempt(server_context, lambda: config.server_tls)
    attempt(client_context, lambda: config.trustedCerts)
    attempt(postgres_context, lambda: config.database)
    attempt(redis_context, lambda: config.redis)
    if config.dataSource.sslRootCertFile is None and config.dataSource.sslRootCertificate is not None:
        older = "dataSource.sslRootCertificate"
        problems = [
            replace(one, property=older) if one.property == "dataSource.sslRootCertFile" else one
            for one in problems
        ]
    ends = expiries(config)
    at = now or datetime.now(UTC)
    return problems + [Problem(one.property, words, "warning") for one in ends if (words := one.warning(at))]


def _trust(context: ssl.SSLContext, certificate: Path, name: str) -> None:
    try:
        context.load_verify_locations(cafile=certificate)
    except ssl.SSLError:
        raise ConfigError([Problem(name, f"{certificate} holds no certificate in PEM form")]) from None
    except OSError as error:
        raise ConfigError([Problem(name, f"{certificate} cannot be read: {error.strerror}")]) from None


def _load_pem(
    context: ssl.SSLContext, certificate: Path, certificate_name: str, key: Path, key_name: str
) -> None:
    """Load the pair; the names are those of the two properties."""
    # Imported by nodes that serve TLS alone, here and below: it takes a while.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    problems = []
    try:
        x509.load_pem_x509_certificates(certificate.read_bytes())
    except (ValueError, OSError):
        problems.append(Problem(certificate_name, f"{certificate} holds no certificate in PEM form"))
    try:
        load_pem_private_key(key.read_bytes(), password=None)
    except TypeError:
        problems.append(
            Problem(key_name, f"the key in {key} is encrypted; use a plain one, or a PKCS12 keystoreFile")
        )
    except (ValueError, OSError):
        problems.append(Problem(key_name, f"{key} holds no private key in PEM form"))
    if problems:
        raise ConfigError(problems)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        words = f"{key} is not the key of {certificate}"
        if error.reason != "KEY_VALUES_MISMATCH":
            words = f"{certificate} cannot be used with {key}: {error.reason}"
        raise ConfigError([Problem(key_name, words)]) from None


def _load_pkcs12(context: ssl.SSLContext, keystore: Path, passphrase: SecretStr | None) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    password = passphrase.get_secret_value().encode() if passphrase else None
    try:
        store = load_pkcs12(keystore.read_bytes(), password)
    except OSError as error:
        raise ConfigError([Problem("keystoreFile", f"{keystore} cannot be read: {error.strerror}")]) from None
    except ValueError:
        raise ConfigError(
            [Problem("keystoreFile", f"{keystore} is not a PKCS12 store, or passphrase is not the right one")]
        ) from None
    if store.key is None or store.cert is None:
        raise ConfigError([Problem("keystoreFile", f"{keystore} holds no private key with its certificate")])
    chain = [store.cert, *store.additional_certs]
    pem = store.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(one.certificate.public_bytes(Encoding.PEM) for one in chain)
    # `ssl` takes keys from files only. This one is memory that no other process can name, gone when closed.
    descriptor = os.memfd_create("keystore", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as memory:
        memory.write(pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
