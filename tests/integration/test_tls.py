"""Certificates from files: serving by both kinds of pair, calling whom one trusts, and nobody else."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from collab_server.config import Config, ConfigError, certificates, load_config
from tests.harness.certificates import PASSPHRASE, authority, write_certificates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_certificates(tmp_path)


def config_of(folder: Path, **content: object) -> Config:
    (folder / "config.json").write_text(json.dumps(content))
    return load_config(folder / "config.json", {}).config


PEM: dict[str, object] = {"enableTls": True, "privateKeyFile": "key.pem", "publicCertFile": "cert.pem"}
PKCS12: dict[str, object] = {"enableTls": True, "keystoreFile": "store.p12", "passphrase": PASSPHRASE}


HELLO = b"\r\n5\r\nhello\r\n0\r\n\r\n"


async def hello(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"hello"})  # type: ignore[operator]


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a uvicorn that serves `hello` the way `collab-server serve` does."""
    server = uvicorn.Server(
        uvicorn.Config(
            hello,
            port=0,
            lifespan="off",
            log_config=None,
            ssl_context_factory=lambda *_: context,
        )
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown()


async def ask(port: int, context: ssl.SSLContext, host: str = "localhost") -> bytes:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer


@pytest.mark.parametrize("pair", [PEM, PKCS12, {**PEM, **PKCS12, "privateKeyFile": "text.pem"}])
async def test_serves_https_with_either_pair(folder: Path, pair: dict[str, object]) -> None:
    section = config_of(folder, **pair).server_tls
    assert section is not None
    trusting = certificates.client_context((folder / "ca.pem",))
    async with serving(certificates.server_context(section)) as port:
        assert (await ask(port, trusting)).endswith(HELLO)
        assert (await ask(port, trusting, "127.0.0.1")).endswith(HELLO)


async def test_whoever_is_not_trusted_or_not_who_we_called_is_refused(folder: Path) -> None:
    section = config_of(folder, **PKCS12).server_tls
    assert section is not None
    async with serving(certificates.server_context(section)) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed"):
            await ask(port, certificates.client_context(()))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed|issuer|signature"):
            await ask(port, certificates.client_context((folder / "other.pem",)))
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await ask(port, certificates.client_context((folder / "ca.pem",)), "library.example.com")


async def test_old_protocols_are_refused(folder: Path) -> None:
    section = config_of(folder, **PEM).server_tls
    assert section is not None
    assert certificates.server_context(section).minimum_version >= ssl.TLSVersion.TLSv1_2


def test_no_ssl_key_means_no_tls_to_postgres(folder: Path) -> None:
    assert certificates.postgres_context(config_of(folder).database) is None


async def test_postgres_is_verified_by_its_root_certificate_alone_and_shown_ours(
    folder: Path,
) -> None:
    """The handshake alone, with a TLS server that wants a certificate: the embedded Postgres has no TLS."""
    wanting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    wanting.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    wanting.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(wanting)
    files = {"sslClientCertFile": "cert.pem", "sslClientKeyFile": "key.pem"}
    good = certificates.postgres_context(
        config_of(folder, dataSource={**files, "sslRootCertFile": "ca.pem"}).database
    )
    other = certificates.postgres_context(
        config_of(folder, dataSource={"sslRootCertificate": "other.pem"}).database
    )
    assert good is not None
    assert other is not None
    assert (good.verify_mode, good.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(good.get_ca_certs()) == 1
    async with serving(wanting) as port:
        assert (await ask(port, good)).endswith(HELLO)
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, other)


def test_a_dburl_that_wants_tls_is_verified_by_the_machines_own_authorities(folder: Path) -> None:
    context = certificates.postgres_context(
        config_of(folder, dburl="postgres://h/d?sslmode=require").database
    )
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({**PEM, "publicCertFile": "text.pem"}, {"publicCertFile": "no certificate in PEM"}),
        ({**PEM, "privateKeyFile": "text.pem"}, {"privateKeyFile": "no private key in PEM"}),
        ({**PEM, "privateKeyFile": "locked.pem"}, {"privateKeyFile": "is encrypted"}),
        ({**PEM, "publicCertFile": "other.pem"}, {"privateKeyFile": "is not the key of"}),
        ({**PKCS12, "passphrase": "hunter2"}, {"keystoreFile": "passphrase is not the right one"}),
        ({**PKCS12, "keystoreFile": "text.pem"}, {"keystoreFile": "is not a PKCS12 store"}),
        (
            {"trustedCerts": ["ca.pem", "text.pem", "key.pem"]},
            {"trustedCerts[1]": "no", "trustedCerts[2]": "no"},
        ),
        ({"dataSource": {"sslRootCertFile": "text.pem"}}, {"dataSource.sslRootCertFile": "no certificate"}),
        (
            {"dataSource": {"sslClientCertFile": "other.pem", "sslClientKeyFile": "key.pem"}},
            {"dataSource.sslClientKeyFile": "is not the key of"},
        ),
        (
            {
                "scaling": "horizontal",
                "redisServerUrl": "rediss://redis",
                "redisClientCertFile": "other.pem",
                "redisClientKeyFile": "key.pem",
            },
            {"redisClientKeyFile": "is not the key of"},
        ),
    ],
)
def test_files_that_do_not_hold_what_they_should_are_named_by_property(
    folder: Path, content: dict[str, object], wrong: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        config_of(folder, port=-1, **content)
    found = {
        problem.property: problem.message for problem in raised.value.problems if problem.severity == "error"
    }
    assert found.keys() == {"port", *wrong}
    for name, words in wrong.items():
        assert words in found[name]
        assert "hunter2" not in found[name]


def test_right_files_have_no_problem(folder: Path) -> None:
    files = {"sslRootCertFile": "ca.pem", "sslClientCertFile": "cert.pem", "sslClientKeyFile": "key.pem"}
    content = {**PEM, **PKCS12, "trustedCerts": ["ca.pem", "other.pem"], "dataSource": files}
    assert certificates.check(config_of(folder, **content)) == []


def test_a_private_key_is_never_left_in_a_file(folder: Path) -> None:
    before = sorted(folder.iterdir())
    section = config_of(folder, **PKCS12).server_tls
    assert section is not None
    certificates.server_context(section)
    assert {path.name for path in folder.iterdir()} - {path.name for path in before} <= {"config.json"}


def test_a_file_that_is_damaged_later_raises_config_error(folder: Path) -> None:
    section = config_of(folder, **PKCS12).server_tls
    assert section is not None
    (folder / "store.p12").write_bytes(b"")
    with pytest.raises(ConfigError, match="keystoreFile"):
        certificates.server_context(section)
