"""The official JavaScript client, run by the Node.js of a wheel: what browsers do, done for real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from collab_server.web import STATIC
from tests.harness.node_js import node_binary
from tests.harness.waiting import until

SCRIPT = Path(__file__).with_name("official_client.mjs")
BUNDLE = Path(STATIC) / "vendor" / "socket.io.esm.min.js"


@dataclass(slots=True, eq=False)
class OfficialClient:
    """One client in a process of its own. `told` is what it has said so far; `seqs` the events of its topic, in order
    of arrival, caught up and live; not those of its inbox, in which other tests may have left something."""

    process: asyncio.subprocess.Process
    topic: str | None
    told: list[dict[str, Any]] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, url: str, auth: dict[str, Any], *, transports: Sequence[str], topic: str | None = None
    ) -> Self:
        """Start it; it connects, subscribes and comes back by itself."""
        process = await asyncio.create_subprocess_exec(
            node_binary(),
            str(SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        client = cls(process, topic)
        client._reading = asyncio.create_task(client._read())
        given = {"bundle": str(BUNDLE), "url": url, "auth": auth, "transports": transports, "topic": topic}
        client._write(given)
        return client

    def _write(self, value: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.told.append(json.loads(line))

    async def hears(
        self, what: str | Callable[[dict[str, Any]], Any], timeout: float = 10, skip: int = 0
    ) -> Any:
        """The first thing said, after the first `skip`, that has the key `what`, or for which it is true."""
        fits = (lambda told: what in told) if isinstance(what, str) else what
        return await until(
            lambda: next((told for told in self.told[skip:] if fits(told)), None),
            timeout,
            lambda: f"{what}; it said {[next(iter(told)) for told in self.told[-20:]]}",
        )

    async def order(self, *order: Any) -> None:
        """Tell it to do something; see the script."""
        self._write(order)

    async def ask(self, command: str, payload: dict[str, Any]) -> Any:
        """A command; the acknowledgement."""
        before = len(self.told)
        await self.order("ask", command, payload)
        return (await self.hears("answer", 12, before))["answer"]

    @property
    def seqs(self) -> list[int]:
        found = []
        for told in self.told:
            if "subscribed" in told:
                found += [event["seq"] for event in told["data"]["events"]]
            elif "event" in told and "seq" in (data := told["data"]) and data["topic"] == self.topic:
                found.append(data["seq"])
        return found

    async def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
