"""A channel for trying and for tests: each person's letters are lines of JSON in a file of theirs."""

import asyncio
import json
from pathlib import Path

from typing_extensions import override

from collab_server.ports import Channel, ChannelSetup, Telling


class Letters(Channel):
    """Writes into `{folder}/{user id}.jsonl`."""

    def __init__(self, setup: ChannelSetup) -> None:
        if not isinstance(setup.options.get("folder"), str):
            raise ValueError("folder is missing: where the letters go")
        self._folder = Path(setup.options["folder"])

    @property
    @override
    def problem(self) -> str | None:
        return None if self._folder.is_dir() else f"there is no folder {self._folder}"

    @override
    async def tell(self, telling: Telling) -> None:
        letter = {"id": telling.id, "subject": f"{telling.by.name} {telling.why}", "text": telling.text}
        await asyncio.to_thread(self._write, self._folder / f"{telling.user_id}.jsonl", json.dumps(letter))

    def _write(self, path: Path, line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")
