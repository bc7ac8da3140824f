"""What can be wrong with a configuration, in words for an administrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `property` is its name in the file (`dataSource.port`), or the file itself."""

    property: str
    message: str
    severity: Literal["error", "warning"] = "error"

    @override
    def __str__(self) -> str:
        return f"{self.severity}: {self.property}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds everything found, warnings included."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
