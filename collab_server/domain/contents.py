"""Contents: what Library, or whoever takes its place, holds and people talk about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentInfo:
    """An object that somebody may open. `type` is 55 (dashboard or document) or 3 (report)."""

    id: str
    name: str
    type: int
