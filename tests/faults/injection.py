"""Makes the faults of a schedule happen, and end.

`inject(arena, fault)` is a context: the fault begins on entering and has ended on leaving; for a process that was
stopped that is when it is ready again.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psutil
import redis.asyncio

from tests.faults.arena import MAX_CONNECTIONS, Arena
from tests.faults.history import Rewind
from tests.faults.proxy import Proxy
from tests.faults.schedule import ALL_KINDS, BACK_IN_TIME, EDGES, OF_WORKERS, Fault

__all__ = ["inject"]

EXIT_SECONDS = 10.0
DELAY_SECONDS = 0.3
SLOW_BYTES_PER_SECOND = 20_000

Injection = Callable[[Arena, Fault], AbstractAsyncContextManager[None]]
_INJECTIONS: dict[str, Injection] = {}


def inject(arena: Arena, fault: Fault) -> AbstractAsyncContextManager[None]:
    """The context of one fault; `fault.seconds` are for the caller to wait."""
    return _INJECTIONS[fault.kind](arena, fault)


def _injects(kind: str) -> Callable[[Callable[[Arena, Fault], AsyncIterator[None]]], Injection]:
    def register(function: Callable[[Arena, Fault], AsyncIterator[None]]) -> Injection:
        _INJECTIONS[kind] = asynccontextmanager(function)
        return _INJECTIONS[kind]

    return register


# --- edges


def _refuse(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.cut()


_AT_A_PROXY: dict[str, Callable[[Proxy], None]] = {
    "cut": Proxy.cut,
    "refuse": _refuse,
    "delay": lambda proxy: proxy.delay(DELAY_SECONDS),
    "stall": Proxy.stall,
    "half-open": Proxy.lose_target,
    "slow": lambda proxy: proxy.slow(SLOW_BYTES_PER_SECOND),
}


def _register_edge(edge: str, how: str) -> None:
    async def apply(arena: Arena, fault: Fault) -> AsyncIterator[None]:
        proxy = arena.proxies[edge, fault.node]
        await asyncio.to_thread(_AT_A_PROXY[how], proxy)
        try:
            yield
        finally:
            await asyncio.to_thread(proxy.heal)

    _injects(f"{edge} {how}")(apply)


for _edge in EDGES:
    for _how in _AT_A_PROXY:
        _register_edge(_edge, _how)


@_injects("library away")
async def _library_away(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    for proxy in arena.edges("library"):
        await asyncio.to_thread(_refuse, proxy)
    try:
        yield
    finally:
        for proxy in arena.edges("library"):
            await asyncio.to_thread(proxy.heal)


# --- nodes


@_injects("node kill")
async def _node_kill(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    node = arena.nodes[fault.node]
    await node.kill()
    try:
        yield
    finally:
        await node.start(60)


@_injects("node terminate")
async def _node_terminate(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    node = arena.nodes[fault.node]
    began = time.monotonic()
    node.process.send(signal.SIGTERM)
    try:
        yield
    finally:
        try:
            await asyncio.to_thread(node.process.wait, 3 * EXIT_SECONDS)
        except TimeoutError:
            await node.kill()
        took = time.monotonic() - began
        if took > EXIT_SECONDS + fault.seconds:
            arena.slow_exits.append(f"node {fault.node + 1} took {took:.1f} s to end after SIGTERM")
        await node.start(60)


@_injects("node freeze")
async def _node_freeze(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    node = arena.nodes[fault.node]
    node.freeze()
    try:
        yield
    finally:
        node.thaw()


@_injects("worker kill")
async def _worker_kill(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    arena.a_worker(fault.node, fault.seconds).kill()
    yield
    await arena.until_workers_are_back(fault.node)


@_injects("worker freeze")
async def _worker_freeze(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    worker = arena.a_worker(fault.node, fault.seconds)
    worker.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.resume()
    await arena.until_workers_are_back(fault.node)


# --- PostgreSQL


@_injects("postgres restart")
async def _postgres_restart(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(arena.postgres.stop)
    try:
        yield
    finally:
        await arena.restart(arena.postgres)


@_injects("postgres kill")
async def _postgres_kill(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(arena.postgres.kill)
    try:
        yield
    finally:
        await arena.restart(arena.postgres)


@_injects("postgres freeze")
async def _postgres_freeze(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    arena.postgres.freeze()
    try:
        yield
    finally:
        arena.postgres.thaw()


@_injects(BACK_IN_TIME)
async def _postgres_back_in_time(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    """A backup is put back under running nodes: what was committed since it was made is lost, as to a standby that
    lagged, and the numbers are given again.
    """
    data, copy = arena.postgres.folder / "pgdata", arena.folder / "backup"
    await asyncio.to_thread(arena.postgres.stop)
    copied_at = time.monotonic()
    await asyncio.to_thread(shutil.copytree, data, copy)
    await arena.restart(arena.postgres)
    try:
        yield
    finally:
        epoch = await arena.epoch()
        await asyncio.to_thread(arena.postgres.kill)
        await asyncio.to_thread(shutil.rmtree, data)
        await asyncio.to_thread(copy.rename, data)
        arena.rewinds.append(Rewind(epoch, copied_at, time.monotonic()))
        await arena.restart(arena.postgres)


async def _terminate_backends(arena: Arena) -> None:
    await asyncio.to_thread(
        arena.database.sql,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND usename = current_user AND application_name LIKE 'collab%'",
    )


@_injects("postgres terminate backends")
async def _postgres_terminate(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await _terminate_backends(arena)
    yield


@_injects("postgres out of connections")
async def _postgres_out_of_connections(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    hogs: list[asyncpg.Connection] = []

    async def take() -> None:
        with contextlib.suppress(asyncpg.PostgresError, OSError, TimeoutError):
            hogs.append(await asyncpg.connect(**arena.database.connect_arguments(), timeout=2))

    try:
        await _terminate_backends(arena)
        await asyncio.gather(*(take() for _ in range(MAX_CONNECTIONS)))
        yield
    finally:
        for hog in hogs:
            hog.terminate()


@_injects("postgres lock")
async def _postgres_lock(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    """Somebody's session holds every topic's row, as a careless administrator's would."""
    connection = await asyncpg.connect(**arena.database.connect_arguments(), timeout=2)
    try:
        while True:
            await connection.execute("BEGIN")
            try:
                await connection.execute(f"SELECT FROM {arena.locked_table} FOR UPDATE")
                break
            except (
                asyncpg.DeadlockDetectedError
            ):  # it takes them in any order, and this time it was the victim
                await connection.execute("ROLLBACK")
        yield
    finally:
        connection.terminate()


# --- Redis


async def _redis_does(arena: Arena, *command: str) -> None:
    client: Any = redis.asyncio.from_url(arena.valkey.url, socket_timeout=2)
    try:
        async with asyncio.timeout(5):
            await client.execute_command(*command)
    finally:
        await client.aclose()


@_injects("redis kill")
async def _redis_kill(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await asyncio.to_thread(arena.valkey.kill)
    try:
        yield
    finally:
        await arena.restart(arena.valkey)


@_injects("redis freeze")
async def _redis_freeze(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    arena.valkey.freeze()
    try:
        yield
    finally:
        arena.valkey.thaw()


@_injects("redis kill subscriptions")
async def _redis_kill_subscriptions(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await _redis_does(arena, "CLIENT", "KILL", "TYPE", "pubsub")
    yield


@_injects("redis out of memory")
async def _redis_out_of_memory(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    await _redis_does(arena, "CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        await _redis_does(arena, "CONFIG", "SET", "maxmemory", "0")


@_injects("redis output limit")
async def _redis_output_limit(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    """Every subscriber that gets a message is put out for having it in its output buffer."""
    await _redis_does(arena, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 1 1 1")
    try:
        yield
    finally:
        limit = "pubsub 33554432 8388608 60"
        await _redis_does(arena, "CONFIG", "SET", "client-output-buffer-limit", limit)


@_injects("redis forgets the channel")
async def _redis_reset(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    """Every connection to Redis ends, as in a failover; and once more when they are just back."""
    for _ in range(2):
        for kind in ("normal", "pubsub"):
            await _redis_does(arena, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await asyncio.sleep(fault.seconds)
    yield


# --- NGINX


@_injects("nginx kill")
async def _nginx_kill(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    assert arena.nginx is not None
    await asyncio.to_thread(arena.nginx.kill)
    try:
        yield
    finally:
        await arena.restart(arena.nginx)


@_injects("nginx freeze")
async def _nginx_freeze(arena: Arena, fault: Fault) -> AsyncIterator[None]:
    assert arena.nginx is not None
    arena.nginx.freeze()
    try:
        yield
    finally:
        arena.nginx.thaw()


assert set(_INJECTIONS) == {*ALL_KINDS, *OF_WORKERS}, set(_INJECTIONS) ^ {*ALL_KINDS, *OF_WORKERS}
