"""Mentions in texts."""

from __future__ import annotations

import re
from typing import Literal

_ENDS_OR_BEGINS = re.compile(r"\](?=\()|@(?=\[)")


def mention(kind: Literal["user", "group"], id: str, name: str) -> str:
    """The mention of somebody, to be put into a text. What would end it early, or begin another one, in a name, is
    parted by a space."""
    parted = _ENDS_OR_BEGINS.sub(r"\g<0> ", name)
    return f"@[{parted}]({kind}:{id})"
