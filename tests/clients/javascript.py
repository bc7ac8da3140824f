"""A client in JavaScript, in Node, that a test drives."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from collab_server.web import CLIENTS
from tests.harness.clients import LibraryUser
from tests.harness.node_js import node_binary, node_with_socket_io
from tests.harness.waiting import until

DRIVER = Path(__file__).with_name("driver.mjs")


def node_with_packages(folder: Path) -> Path:
    """Node; scripts in `folder` find the clients and socket.io-client there as packages.

    Skips the test where Node is not installed.
    """
    if not (folder / "node_modules").exists():
        node_with_socket_io(folder)
        shutil.copy(DRIVER, folder)  # once: a process may just be reading it
        for name, source in CLIENTS.items():
            shutil.copytree(source, folder / "node_modules" / name)
    return node_binary()


class JavaScriptError(AssertionError):
    """What the code of a test threw. `code` is that of a refusal."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error.get("stack") or error["message"])
        self.code = error.get("code")


class JavaScriptClient:
    """`collab-client` in Node, signed in as `user` at `url`. `kept`: a file for what waits, over processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, url: str, user: LibraryUser, folder: Path, *, kept: Path | None = None) -> Self:
        """Start one. `folder` holds its packages; several may share it."""
        node = node_with_packages(folder)
        process = await asyncio.create_subprocess_exec(
            node,
            folder / DRIVER.name,
            url,
            user.url,
            user.auth_token,
            user.cookie_header,
            *([kept] if kept else []),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if future.done():
                continue
            if "error" in answer:
                future.set_exception(JavaScriptError(answer["error"]))
            else:
                future.set_result(answer["value"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(AssertionError("the process of the client has ended"))

    async def run(self, code: str, given: Any = None) -> Any:
        """What the body of an async function returns, of `client`, `given` and `tools`."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "code": code, "given": given}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(30):
            return await future

    async def until(
        self, code: str, holds: Callable[[Any], Any], timeout: float = 10, given: Any = None
    ) -> Any:
        """What the code returns, once that `holds`."""
        last: Any = None

        async def look() -> bool:
            nonlocal last
            last = await self.run(code, given)
            return bool(holds(last))

        await until(look, timeout, lambda: json.dumps(last, indent=1)[:4000])
        return last

    async def kill(self) -> None:
        """End it at once, as a browser's tab ends."""
        self._process.kill()
        await self._process.wait()
        await self._reading

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._process.returncode is None:
            await self.kill()
