"""Certificates that end soon are told of, wherever the configuration names them."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from collab_server.config import Config, certificates, load_config
from collab_server.config.expiry import WARN_DAYS
from collab_server.config.renewal import Certificates, Renewable
from tests.harness.certificates import PASSPHRASE, write_certificates

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificates(tmp_path_factory.mktemp("certificates"))


def problems_of(folder: Path, **content: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(content))
    return {one.property: one.message for one in load_config(folder / "config.json", {}).warnings}


def pem_that_ends(ends_at: datetime) -> bytes:
    return trustme.CA().issue_cert("dashboards.example.com", not_after=ends_at).cert_chain_pems[0].bytes()


WHERE: dict[str, dict[str, object]] = {
    "trustedCerts[0]": {"trustedCerts": ["ends.pem"]},
    "dataSource.sslRootCertFile": {"dataSource": {"sslRootCertFile": "ends.pem"}},
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("days", "words"), [(-1, "expired on"), (WARN_DAYS - 1, f"expires in {WARN_DAYS - 1} days"), (40, None)]
)
def test_a_certificate_that_ends_is_a_warning_of_check_config(
    folder: Path, where: str, days: int, words: str | None
) -> None:
    (folder / "ends.pem").write_bytes(pem_that_ends(NOW + timedelta(days=days, minutes=5)))
    told = problems_of(folder, **WHERE[where]).get(where)
    assert (words in told and "ends.pem" in told) if words and told else told is words


@pytest.mark.parametrize("kind", ["pem", "pkcs12"])
def test_the_servers_own_is_looked_at_too(folder: Path, kind: str) -> None:
    pair = {
        "pem": {"privateKeyFile": "key.pem", "publicCertFile": "cert.pem"},
        "pkcs12": {"keystoreFile": "store.p12", "passphrase": PASSPHRASE},
    }[kind]
    (folder / "config.json").write_text(json.dumps({"enableTls": True, **pair}))
    from collab_server.config.expiry import expiries

    [one] = expiries(load_config(folder / "config.json", {}).config)
    assert one.property in pair
    assert one.warning(one.ends_at + timedelta(seconds=1)) == (
        f"the certificate of {one.subject} in {one.file} expired on {one.ends_at:%Y-%m-%d %H:%M} UTC"
    )
    assert one.warning(one.begins_at - timedelta(days=1)) is not None
    assert one.warning(one.ends_at - timedelta(days=WARN_DAYS + 1)) is None


def test_of_a_chain_the_first_to_end_counts(folder: Path) -> None:
    late, soon = (pem_that_ends(NOW + timedelta(days=days)) for days in (300, 3))
    (folder / "ends.pem").write_bytes(late + soon + late)
    assert "expires in 3 days" in problems_of(folder, trustedCerts=["ends.pem"])["trustedCerts[0]"]


@pytest.mark.parametrize("where", WHERE)
def test_of_many_cas_in_a_file_one_that_has_expired_says_nothing_while_others_are_valid(
    folder: Path, where: str
) -> None:
    old, soon, late = (pem_that_ends(NOW + timedelta(days=days, minutes=5)) for days in (-300, 3, 300))
    told = []
    for content in (late + old, late + old + soon, old + old):
        (folder / "ends.pem").write_bytes(content)
        told.append(problems_of(folder, **WHERE[where]).get(where, ""))
    assert told[0] == ""
    assert "expires in 3 days" in told[1]
    assert "expired on" in told[2]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("days", "words"), [(300, None), (3, "expires in 3 days"), (-3, "expired on")])
def test_of_the_many_cas_of_a_machine_the_last_to_end_counts(
    folder: Path, where: str, days: int, words: str | None
) -> None:
    soon, last = (pem_that_ends(NOW + timedelta(days=each, minutes=5)) for each in (min(days, 2), days))
    (folder / "ends.pem").write_bytes(soon * 20 + last)
    told = problems_of(folder, **WHERE[where]).get(where)
    assert (words in told) if words and told else told is words


def test_the_certificates_of_the_server_count_each(folder: Path) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("dashboards.example.com", not_after=NOW - timedelta(days=3))
    (folder / "chain.pem").write_bytes(pair.cert_chain_pems[0].bytes() + authority.cert_pem.bytes())
    (folder / "chain.key").write_bytes(pair.private_key_pem.bytes())
    serving = {"enableTls": True, "privateKeyFile": "chain.key", "publicCertFile": "chain.pem"}
    assert "expired on" in problems_of(folder, **serving)["publicCertFile"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("what", ["number", "name"])
def test_the_cas_that_there_are_are_read_without_a_word_of_a_library(
    folder: Path, where: str, what: str, recwarn: pytest.WarningsRecorder
) -> None:
    pem = with_a_negative_number() if what == "number" else with_a_long_name()
    (folder / "ends.pem").write_bytes(pem)
    problems_of(folder, **WHERE[where])
    assert [str(one.message) for one in recwarn] == []


def with_a_long_name() -> bytes:
    """A CA whose name is longer than the standard has it, as other tools make one without a word."""
    der = ssl.PEM_cert_to_DER_cert(trustme.CA(organization_name="X" * 80).cert_pem.bytes().decode())
    organization, name = b"\x06\x03\x55\x04\x0a", b"\x06\x03\x55\x04\x03"
    return ssl.DER_cert_to_PEM_cert(der.replace(organization, name)).encode()


def with_a_negative_number() -> bytes:
    """A CA whose number is negative, as with a few that every machine trusts: no library makes one any more."""
    der = bytearray(ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode()))
    number = der.index(b"\xa0\x03\x02\x01\x02\x02") + 7  # behind the version and the number's length
    der[number] = 0x80 | der[number] & 0x3F
    return ssl.DER_cert_to_PEM_cert(bytes(der)).encode()


def spoken(writer: asyncio.StreamWriter) -> str | None:
    """The protocol that the two ends have agreed on."""
    protocol: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    return protocol


async def test_a_context_in_use_trusts_whom_it_is_told_to_trust_next() -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost").configure_cert(serving)
    used = Renewable(serving)
    used.set_alpn_protocols(["collab"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    def trusting(authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=used) as server:
        port = server.sockets[0].getsockname()[1]
        calling = Renewable(trusting(theirs))
        calling.set_alpn_protocols(["collab"])

        async def call() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection("127.0.0.1", port, ssl=calling, server_hostname="localhost")

        with pytest.raises(ssl.SSLCertVerificationError):
            await call()
        calling.use(trusting(ours))
        reader, writer = await call()  # trusted now
        assert spoken(writer) == "collab", "what was agreed on before is so with the next one too"
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        theirs.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(other)
        used.use(other)
        with pytest.raises(ssl.SSLCertVerificationError):
            await call()
        calling.use(trusting(theirs))
        _, other_writer = await call()
        assert spoken(other_writer) == "collab"
        other_writer.close()
        writer.write(b"still open\n")
        assert await reader.readline() == b"still open\n"
        writer.close()


LIBRARY = {"authorizationServerUrl": "http://library.example.com/api"}
OVER_TLS = {"authorizationServerUrl": "https://library.example.com/api"}


@pytest.mark.parametrize(
    ("content", "is_made"),
    [
        (LIBRARY, False),
        (OVER_TLS, True),
        ({}, True),
        ({**LIBRARY, "trustedCerts": ["ca.pem"]}, True),
        ({**LIBRARY, "channels": [{"kind": "inbox"}, {"kind": "post"}]}, True),
        ({**LIBRARY, "authorization": {"kind": "gate"}}, True),
    ],
)
async def test_the_machines_root_certificates_are_read_at_the_start_where_tls_may_be_spoken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, object], is_made: bool
) -> None:
    ours = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(serving)
    made = []

    def client_context(trusted: tuple[Path, ...]) -> ssl.SSLContext:
        made.append(trusted)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ours.configure_trust(context)
        return context

    config = Config.model_validate(content, strict=False)
    monkeypatch.setattr(certificates, "client_context", client_context)
    calling = Certificates(config).library
    assert len(made) == is_made

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    calling.set_alpn_protocols(["http/1.1"])  # as the client of HTTP does before each connection
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving) as server:
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=calling, server_hostname="localhost"
            )
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await asyncio.open_connection("127.0.0.1", port, ssl=calling, server_hostname="example.com")
    assert len(made) == 1
