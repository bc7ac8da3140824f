"""What is wrong with the certificate of PostgreSQL is said as it is, each fault in words of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from collab_server.config import DatabaseSection
from collab_server.storage.database import Database
from tests.harness.waiting import until


@contextlib.asynccontextmanager
async def greeting_with(leaf: trustme.LeafCert) -> AsyncIterator[int]:
    """The port of something that takes up TLS as PostgreSQL does, and hangs up after the handshake."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(context)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("host", "is_known", "days", "words"),
    [
        ("127.0.0.1", False, 1, "unable to get local issuer certificate"),
        ("localhost", True, 1, "Hostname mismatch"),
        ("127.0.0.1", True, -1, "certificate has expired"),
    ],
)
async def test_each_fault_of_a_certificate_has_its_words(
    tmp_path: Path, host: str, is_known: bool, days: int, words: str
) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=days))
    trusted = tmp_path / "ca.pem"
    (authority if is_known else trustme.CA()).cert_pem.write_to_path(trusted)
    async with greeting_with(leaf) as port:
        section = DatabaseSection(
            username="any",
            password=None,
            hosts=((host, port),),
            database="any",
            is_tls=True,
            root_cert_file=trusted,
        )
        database = Database.of(section, node="test")
        await database.start()
        try:
            await until(lambda: words in (database.problem or ""), what=lambda: str(database.problem))
        finally:
            await database.stop()
