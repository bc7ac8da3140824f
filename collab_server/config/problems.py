"""What can be wrong with a configuration, in words for an administrator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

_LONGEST = 500
_NAMELESS = '""'
_NOT_SHOWN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `property` is its name in the file (`dataSource.port`), or the file itself."""

    property: str
    message: str
    severity: Literal["error", "warning"] = "error"

    @override
    def __str__(self) -> str:
        """One line, of which no terminal takes anything for a command, whatever a file has in its names and paths."""
        words = f"{self.severity}: {self.property or _NAMELESS}: {self.message}"
        words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
        return _NOT_SHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", words)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds everything found, warnings included."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
