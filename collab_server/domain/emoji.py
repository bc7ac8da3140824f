"""What counts as one emoji: a single sequence as keyboards make it, with its joiners, tones and flags.

The grammar is that of Unicode Technical Standard #51 (ED-15 to ED-17); the ranges are generous towards emoji that
later versions of Unicode add.
"""

from __future__ import annotations

import re

from collab_server.errors import Invalid

MAX_CODE_POINTS = 32

_PICTOGRAPH = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001fbff]"
)
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_KEYCAP = "[0-9#*]\ufe0f?\u20e3"
_TAGS = "(?:[\U000e0020-\U000e007e]+\U000e007f)?"
_ELEMENT = f"(?:{_FLAG}|{_KEYCAP}|{_PICTOGRAPH}(?:[\U0001f3fb-\U0001f3ff]|\ufe0f|\ufe0e)?{_TAGS})"
_SEQUENCE = re.compile(f"{_ELEMENT}(?:\u200d{_ELEMENT})*")
_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")


def check_emoji(text: str, field: str = "emoji") -> str:
    """One emoji.

    Raises `Invalid`, naming `field`, for anything else.
    """
    is_one = len(text) <= MAX_CODE_POINTS and (_SEQUENCE.fullmatch(text) or _TONE.fullmatch(text))
    if not is_one:
        raise Invalid("expected one emoji", field=field)
    return text
