"""Certificates of an authority of our own, as the files that `config.json` names."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

PASSPHRASE = "sesame"


@cache
def authority() -> trustme.CA:
    """The one that signs everything of this run."""
    return trustme.CA()


@cache
def _contents() -> dict[str, bytes]:
    root = authority().cert_pem.bytes()
    leaf = authority().issue_cert("localhost", "127.0.0.1")
    chain = [blob.bytes() for blob in leaf.cert_chain_pems]
    key_pem = leaf.private_key_pem.bytes()
    key = load_pem_private_key(key_pem, None)
    first, *rest = (x509.load_pem_x509_certificate(pem) for pem in [*chain, root])
    locked = BestAvailableEncryption(PASSPHRASE.encode())
    return {
        "ca.pem": root,
        "cert.pem": b"".join(chain),
        "key.pem": key_pem,
        "store.p12": pkcs12.serialize_key_and_certificates(b"collab", key, first, rest, locked),  # type: ignore[arg-type]
        "locked.pem": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked),
        "other.pem": trustme.CA().cert_pem.bytes(),
        "text.pem": b"no certificate\n",
    }


def write_certificates(folder: Path) -> Path:
    """Put the files into `folder` and return it.

    ca.pem; cert.pem and key.pem for localhost and 127.0.0.1; both in store.p12 (`PASSPHRASE`); locked.pem, the key
    encrypted; other.pem, another authority; text.pem, which is no PEM.
    """
    for name, content in _contents().items():
        (folder / name).write_bytes(content)
    return folder
