"""Emoji: what counts as one, and in which spelling it is kept. However it is written, one emoji is one reaction.

The grammar is that of Unicode Technical Standard #51 (ED-15 to ED-17); the ranges are generous towards emoji that
later versions of Unicode add. One emoji can be written with and without the selectors of its presentation (U+FE0E,
U+FE0F): keyboards, databases and clients differ. It is kept *fully qualified* (ED-18): U+FE0F behind each of its
characters that would be shown as text without it, and no other selector. Two texts are the same emoji if they are the
same without selectors.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

from collab_server.domain.jsontext import NOTHING, JsonText, dumps
from collab_server.errors import Invalid

MAX_CODE_POINTS = 32
"""Of how many code points an emoji may be, its selectors not counted."""

_PICTOGRAPH = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001fbff]"
)
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_KEYCAP = "[0-9#*]\u20e3"
_TAGS = "(?:[\U000e0020-\U000e007e]+\U000e007f)?"
_TONES = "[\U0001f3fb-\U0001f3ff]"
_ELEMENT = f"(?:{_FLAG}|{_KEYCAP}|{_PICTOGRAPH}{_TONES}?{_TAGS})"
_SEQUENCE = re.compile(f"{_ELEMENT}(?:\u200d{_ELEMENT})*|{_TONES}")  # without selectors

# Emoji that are text unless U+FE0F says otherwise: of Unicode 17's
# https://www.unicode.org/Public/17.0.0/ucd/emoji/emoji-data.txt those of Emoji that are not of Emoji_Presentation.
# Its licence is in unicode-license.txt, beside this file. Emoji of later versions need no U+FE0F.
# migrations/0016_one_emoji_one_reaction.sql has the same list.
_TEXT_BY_DEFAULT: Final = (
    "#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf\u23ed-\u23ef"
    "\u23f1\u23f2\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611"
    "\u2618\u261d\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660"
    "\u2663\u2665\u2666\u2668\u267b\u267e\u2692\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7"
    "\u26b0\u26b1\u26c8\u26cf\u26d1\u26d3\u26e9\u26f0\u26f1\u26f4\u26f7-\u26f9\u2702\u2708\u2709"
    "\u270c\u270d\u270f\u2712\u2714\u2716\u271d\u2721\u2733\u2734\u2744\u2747\u2763\u2764\u27a1"
    "\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299\U0001f170\U0001f171\U0001f17e\U0001f17f"
    "\U0001f202\U0001f237\U0001f321\U0001f324-\U0001f32c\U0001f336\U0001f37d\U0001f396\U0001f397"
    "\U0001f399-\U0001f39b\U0001f39e\U0001f39f\U0001f3cb-\U0001f3ce\U0001f3d4-\U0001f3df\U0001f3f3"
    "\U0001f3f5\U0001f3f7\U0001f43f\U0001f441\U0001f4fd\U0001f549\U0001f54a\U0001f56f\U0001f570"
    "\U0001f573-\U0001f579\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f5a5\U0001f5a8"
    "\U0001f5b1\U0001f5b2\U0001f5bc\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de"
    "\U0001f5e1\U0001f5e3\U0001f5e8\U0001f5ef\U0001f5f3\U0001f5fa\U0001f6cb\U0001f6cd-\U0001f6cf"
    "\U0001f6e0-\U0001f6e5\U0001f6e9\U0001f6f0\U0001f6f3"
)
_UNQUALIFIED = re.compile(f"([{_TEXT_BY_DEFAULT}])(?!{_TONES})")
_NO_SELECTORS = {0xFE0E: None, 0xFE0F: None}


def check_emoji(text: str, field: str = "emoji") -> str:
    """One emoji, in the spelling in which it is kept.

    Raises `Invalid`, naming `field`, for anything else.
    """
    bare = text[:1] + text[1:].translate(_NO_SELECTORS)  # a selector in front selects nothing
    if len(text) > 2 * MAX_CODE_POINTS or len(bare) > MAX_CODE_POINTS or not _SEQUENCE.fullmatch(bare):
        raise Invalid("expected one emoji", field=field)
    return _qualified(bare)


def one_each(reactions: JsonText) -> JsonText:
    """The reactions to a comment, `{emoji: [user id, …]}`, each emoji in the spelling in which it is kept.

    Nodes of versions before keep several; they are made one, at the place of the first, and nobody is in it twice.
    """
    if reactions == NOTHING:
        return reactions
    written: dict[str, list[str]] = json.loads(reactions)
    if all(_kept(emoji) == emoji for emoji in written):
        return reactions
    kept: dict[str, dict[str, None]] = {}
    for emoji, users in written.items():
        kept.setdefault(_kept(emoji), {}).update(dict.fromkeys(users))
    return dumps({emoji: [*users] for emoji, users in kept.items()})


@lru_cache(maxsize=1024)
def _kept(emoji: str) -> str:
    return _qualified(emoji.translate(_NO_SELECTORS))


def _qualified(bare: str) -> str:
    return _UNQUALIFIED.sub("\\1\ufe0f", bare)
