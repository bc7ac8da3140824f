"""Until when the certificates are valid that the configuration names.

Dates are read from the files when a function is called; nothing is raised for a file that cannot be read, for that is
said elsewhere (`certificates.check`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from collab_server.config.model import Config
from collab_server.config.problems import ConfigError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["WARN_DAYS", "Expiry", "expiries"]

WARN_DAYS = 30
_MOST_BYTES = 10_000_000  # of a file with certificates


@dataclass(frozen=True, slots=True)
class Expiry:
    """The certificate of a file that is valid for the shortest time. `property` names the file in the configuration."""

    property: str
    file: Path
    subject: str
    begins_at: datetime
    ends_at: datetime
    next: Expiry | None = None
    """Of several CAs in a file, the one that counts once this one has ended: the others are trusted all the same."""

    def days_left(self, now: datetime) -> float:
        """Days until it is not valid any more; less than 0 where it is not."""
        return (self._counting(now).ends_at - now) / timedelta(days=1)

    def warning(self, now: datetime) -> str | None:
        """What is wrong with its dates, in words for the administrator; None while nothing is, for `WARN_DAYS` more."""
        one = self._counting(now)
        who = f"the certificate of {one.subject} in {one.file}"
        if now < one.begins_at:
            return f"{who} is not valid before {one.begins_at:%Y-%m-%d %H:%M} UTC"
        left = self.days_left(now)
        if left <= 0:
            return f"{who} expired on {one.ends_at:%Y-%m-%d %H:%M} UTC"
        if left <= WARN_DAYS:
            return f"{who} expires in {left:.0f} days, on {one.ends_at:%Y-%m-%d %H:%M} UTC"
        return None

    def _counting(self, now: datetime) -> Expiry:
        one = self
        while one.next is not None and one.ends_at <= now:
            one = one.next
        return one


def expiries(config: Config) -> tuple[Expiry, ...]:
    """One for each file of certificates that a node of this configuration uses."""
    with warnings.catch_warnings():
        # Some old CAs of any machine have numbers of a kind that is not used any more, and own ones long names.
        warnings.simplefilter("ignore", UserWarning)
        return tuple(
            first
            for name, file, passphrase in _files(config)
            if (first := _first_to_end(name, file, _certificates_in(file, passphrase))) is not None
        )


def _first_to_end(name: str, file: Path, certificates: list[Certificate]) -> Expiry | None:
    """With those that end after it, where the file is of CAs; of very many, the last to end."""
    later: Expiry | None = None
    is_of_cas = name.startswith(_OF_CAS)
    if is_of_cas and len(certificates) > _MOST_OWN_CAS:
        certificates = [max(certificates, key=_ends_at)]
    for one in sorted(certificates, key=_ends_at, reverse=True):
        following = later if is_of_cas else None
        later = Expiry(
            name, file, _name_of(one), one.not_valid_before_utc, one.not_valid_after_utc, next=following
        )
    return later


_OF_CAS = ("trustedCerts", "dataSource.sslRoot")
_MOST_OWN_CAS = 20
"""In a file. More are those of a machine or a cloud, of which one ends every few months, and hardly ever the one that
has signed for a peer; updates bring the next."""


def _files(config: Config) -> Iterator[tuple[str, Path, SecretStr | None]]:
    """Property, file and passphrase of all there are."""
    try:
        serving = config.server_tls
    except ConfigError:
        serving = None
    if serving is not None and serving.pem is not None:
        yield "publicCertFile", serving.pem[0], None
    if serving is not None and serving.keystore_file is not None:
        yield "keystoreFile", serving.keystore_file, serving.passphrase
    for index, trusted in enumerate(config.trustedCerts):
        yield f"trustedCerts[{index}]", trusted, None
    for name in ("sslRootCertFile", "sslRootCertificate", "sslClientCertFile"):
        file = getattr(config.dataSource, name)
        if file is not None:
            yield f"dataSource.{name}", file, None
    if config.redis is not None and config.redis.client_cert_file is not None:
        yield "redisClientCertFile", config.redis.client_cert_file, None


def _certificates_in(file: Path, passphrase: SecretStr | None) -> list[Certificate]:
    # Imported where there are certificates alone: it takes a while.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES)
        if passphrase is None:
            return x509.load_pem_x509_certificates(content)
        store = load_pkcs12(content, passphrase.get_secret_value().encode())
        held = ([] if store.cert is None else [store.cert]) + list(store.additional_certs)
        return [one.certificate for one in held]
    except (ValueError, OSError):
        return []


def _ends_at(certificate: Certificate) -> datetime:
    return certificate.not_valid_after_utc


def _name_of(certificate: Certificate) -> str:
    """Whom it is of, on one line; that of a file is short, and may still be of somebody else's making."""
    from cryptography import x509

    try:
        names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        text = str(names[0].value) if names else certificate.subject.rfc4514_string()
    except ValueError:
        text = ""
    if not text:
        try:
            alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            text = ", ".join(alternatives.get_values_for_type(x509.DNSName)[:3])
        except (ValueError, x509.ExtensionNotFound):
            text = ""
    printable = "".join(character for character in text[:100] if character.isprintable())
    return printable or "no name"
