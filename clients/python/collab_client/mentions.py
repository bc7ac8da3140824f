"""Mentions in texts."""

from __future__ import annotations

from typing import Literal


def mention(kind: Literal["user", "group"], id: str, name: str) -> str:
    """The mention of somebody, to be put into a text."""
    return f"@[{name}]({kind}:{id})"
