"""Asking a Sentinel where the master is: by redis-py, for this is not urgent.

Imported only where there are Sentinels.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from typing_extensions import override

from collab_server.config.values import RedisSection

__all__ = ["RedisError", "ask"]


async def ask(
    redis: RedisSection, host: str, port: int, ssl_context: ssl.SSLContext | None
) -> tuple[str, int] | None:
    """Where this Sentinel says the master is; None if it does not know. Raises `RedisError`; waits without limit."""
    connection = _SentinelConnection(
        host=host,
        port=port,
        username=redis.sentinel_username,
        password=redis.sentinel_password.get_secret_value() if redis.sentinel_password else None,
        context=ssl_context if redis.is_tls else None,
    )
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", redis.sentinel_master)
        found = await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)
    return None if found is None else (found[0].decode(), int(found[1]))


class _SentinelConnection(Connection):
    """redis-py's connection, once and without its retries, over our own TLS context."""

    def __init__(self, *, context: ssl.SSLContext | None, **arguments: Any) -> None:
        super().__init__(**arguments, retry=Retry(NoBackoff(), 0))
        self._context = context

    @override
    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._context}
