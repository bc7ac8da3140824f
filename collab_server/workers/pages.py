"""The metrics of all workers as one page: whoever is asked asks the others, each by a socket in their folder.

Every sample gets a label `worker`, for what one of them counts is no other's. One that does not answer in time, or is
known not to run, is left out, as a process that does not answer Prometheus would be.

What runs concurrently: `serve`, which answers the others; the composition root owns it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from collab_server.workers.seat import Seat

__all__ = ["all_pages", "merged", "serve"]

ANSWER_SECONDS = 0.5
MOST_BYTES = 4_000_000
_KIND = "metrics"
_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(\{)?")


async def serve(seat: Seat, page: Callable[[], bytes]) -> None:
    """Give this worker's page to whoever of the node asks for it, until cancelled."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(page())
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # who asked has gone, or does not read
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, seat.path_of(_KIND))
    async with server:
        await server.serve_forever()


async def all_pages(seat: Seat, page: Callable[[], bytes]) -> bytes:
    """One page with those of all workers that answer."""
    awake = {row.number for row in seat.figures.rows() if row.is_awake} - {seat.number}
    found = {number: path for path in seat.folder.glob(f"*.{_KIND}") if (number := _number_of(path)) in awake}
    pages = await asyncio.gather(*(_ask(path) for path in found.values()))
    told = {seat.number: page(), **dict(zip(found, pages, strict=True))}
    return merged({number: text.decode() for number, text in sorted(told.items()) if text}).encode()


def merged(pages: dict[int, str]) -> str:
    """One page in the text format of Prometheus, of one for each worker: families together, samples labelled."""
    families: dict[str, tuple[list[str], list[str]]] = {}  # by name: what is said of it, its samples
    for number, page in pages.items():
        heads: list[str] = []
        samples: list[str] = []
        for line in page.splitlines():
            if line.startswith("# HELP "):
                heads, samples = families.setdefault(line.split(" ", 3)[2], ([], []))
            if line.startswith("#"):
                if line not in heads:
                    heads.append(line)
            elif line:
                samples.append(_labelled(line, number))
    return "".join(f"{line}\n" for heads, samples in families.values() for line in (*heads, *samples))


def _labelled(sample: str, number: int) -> str:
    named = _SAMPLE.match(sample)
    if named is None:
        return sample
    rest = sample[named.end() :]
    label = f'worker="{number}"'
    return f"{named[1]}{{{label},{rest}" if named[2] else f"{named[1]}{{{label}}}{rest}"


def _number_of(path: Path) -> int:
    number = path.name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


async def _ask(path: Path) -> bytes:
    """A worker's page; nothing if it does not give it in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                text = b""
                while more := await reader.read(65_536):
                    text += more
                    if len(text) > MOST_BYTES:
                        return b""
                return text
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
