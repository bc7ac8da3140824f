"""The code blocks of README.md and docs/, as they are printed."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRINTED_ADDRESS = "http://127.0.0.1:8080"
"""What stands in a block for the address that the demo prints."""

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block that has a language; `number` counts those of its language in its document, `before` is the text
    between it and whatever block or heading precedes it."""

    document: str
    language: str
    number: int
    code: str
    before: str

    @property
    def name(self) -> str:
        """`README.md js 0`."""
        return f"{self.document} {self.language} {self.number}"

    def at(self, address: str) -> str:
        """The code, unchanged but for the address of the demo."""
        assert PRINTED_ADDRESS in self.code
        return self.code.replace(PRINTED_ADDRESS, address)

    def packages(self, installer: str) -> list[str]:
        """What the text before it says to install: `npm install …`, `pip install …`; with the address as printed."""
        text = " ".join(self.before.split())
        command: str
        [command] = re.findall(rf"`{installer} install ([^`]+)`", text)
        return command.split()


def _documents() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if not path.name.endswith(".template.md")]


def _blocks_of(path: Path) -> list[Block]:
    text, document = path.read_text(), str(path.relative_to(ROOT))
    blocks: list[Block] = []
    end = 0
    for found in _BLOCK.finditer(text):
        language, code = found[2], textwrap.dedent(found[3])  # one in a list is printed without its indent
        before = re.split(r"^(?:#+ .*|```)$", text[end : found.start()], flags=re.MULTILINE)[-1]
        number = sum(block.language == language for block in blocks)
        blocks.append(Block(document, language, number, code, before))
        end = found.end()
    return blocks


BLOCKS = {block.name: block for path in _documents() for block in _blocks_of(path)}
"""All of them, by name."""
