"""Mentions in texts."""

from __future__ import annotations

import re
from typing import Any, Literal

from collab_client.wire import Mention

# The grammar of docs/protocol.md, as the server reads texts by.
_MENTION = re.compile(r"@\[((?:(?!\]\(|@\[)[^\n]){1,256})\]\((user|group):([A-Za-z0-9._~@+-]{1,64})\)")
_ENDS_OR_BEGINS = re.compile(r"\](?=\()|@(?=\[)")


def mention(kind: Literal["user", "group"], id: str, name: str) -> str:
    """The mention of somebody, to be put into a text. What would end it early, or begin another one, in a name, is
    parted by a space."""
    parted = _ENDS_OR_BEGINS.sub(r"\g<0> ", name)
    return f"@[{parted}]({kind}:{id})"


def mentions_of(text: str) -> list[Mention]:
    """Whom a text mentions, each once, by the names that the text has for them."""
    found: dict[str, Any] = {}
    for name, kind, id in _MENTION.findall(text):
        found[kind + id] = {"kind": kind, "id": id, "name": name}
    return list(found.values())
