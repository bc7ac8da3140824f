"""Finding hosts by their names: each name is looked up once at a time, however many ask.

A lookup takes one of the few threads that an event loop has for it until the system's resolver gives up, ten seconds
where DNS says nothing, and goes on when whoever has asked has not waited for that. So a host that is tried again and
again would soon have all threads, and no other host would be found either. Whoever tries often waits for `find` first;
what connects then looks up by itself what has just been found.

What runs concurrently: a task for each name that is being looked up. How it stops: with the lookup, or the loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from functools import partial
from weakref import WeakKeyDictionary

__all__ = ["find"]

_Tasks = dict[str, asyncio.Task[None]]

_under_way: WeakKeyDictionary[asyncio.AbstractEventLoop, _Tasks] = WeakKeyDictionary()


async def find(host: str) -> None:
    """Wait until the host is found; an address, or the path of a socket, is. Has no timeout of its own.

    Raises `socket.gaierror`.
    """
    if host.startswith("/") or _is_address(host):
        return
    tasks = _under_way.setdefault(asyncio.get_running_loop(), {})
    task = tasks.get(host)
    if task is None:
        task = tasks[host] = asyncio.create_task(_look_up(host))
        task.add_done_callback(partial(_end, tasks, host))
    # No shield, which since Python 3.14 logs a failure that nobody waits for any more.
    await asyncio.wait((task,))
    task.result()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _look_up(host: str) -> None:
    await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)


def _end(tasks: _Tasks, host: str, task: asyncio.Task[None]) -> None:
    del tasks[host]
    if not task.cancelled():
        task.exception()  # those who still wait are told
