r"""Which characters a text may consist of: nothing that only looks like a text, and names that are what they look like.

The lists are of Unicode 17, written down, so that every Python draws the same line as every node and the published
patterns: https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt (Default_Ignorable_Code_Point) and
DerivedGeneralCategory.txt (Cc, Cf, Zl, Zp).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_IGNORABLE: Final = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F)),
    *((0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),
)
_WHITE_SPACE: Final = (
    *((0x9, 0xD), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
)
# Letters and signs by their category, which are drawn as nothing: the blank of Braille, a musical note without a head,
# fillers of Khitan, blanks of hieroglyphs.
_HOLLOW: Final = ((0x2800, 0x2800), (0x13441, 0x13442), (0x16FE4, 0x16FE4), (0x1D159, 0x1D159))
# Controls that only do something to what is beside them.
_CONTROLS: Final = ((0x0, 0x1F), (0x7F, 0x9F), (0xFFF9, 0xFFFB), (0x13430, 0x13440))
# Fillers and the like, which part two names that look the same. Variation selectors are left out, as emoji need them.
_FILLERS: Final = (
    *(
        (0x34F, 0x34F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x3164, 0x3164),
        (0xFFA0, 0xFFA0),
        (0xFFF0, 0xFFF8),
    ),
    *((0xE0000, 0xE0000), (0xE0002, 0xE001F), (0xE0080, 0xE00FF), (0xE01F0, 0xE0FFF)),
)
# Joiners (U+200C, U+200D) are left out: Persian, Indic scripts and emoji need them.
_UNSEEN: Final = (
    *(
        (0x0, 0x1F),
        (0x7F, 0x9F),
        (0xAD, 0xAD),
        (0x600, 0x605),
        (0x61C, 0x61C),
        (0x6DD, 0x6DD),
        (0x70F, 0x70F),
    ),
    *((0x890, 0x891), (0x8E2, 0x8E2), (0x180E, 0x180E), (0x200B, 0x200B), (0x200E, 0x200F), (0x2028, 0x202E)),
    *((0x2060, 0x2064), (0x2066, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0x110BD, 0x110BD)),
    *((0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0001, 0xE0001)),
    (0xE0020, 0xE007F),
)


def _class(*lists: Iterable[tuple[int, int]]) -> str:
    """What goes between the brackets of a pattern, for every dialect of them: the characters themselves."""
    return "".join(
        chr(first) if first == last else f"{chr(first)}-{chr(last)}" for of in lists for first, last in of
    )


_SEEN = f"[^{_class(_WHITE_SPACE, _IGNORABLE, _HOLLOW, _CONTROLS)}]"
_NOT_IN_NAMES = _class(_UNSEEN, _FILLERS, _HOLLOW)
_NAMED = f"[^{_NOT_IN_NAMES}]"

NOT_BLANK: Final = _SEEN
"""The pattern (to be searched for) of a text that is not blank."""

CLEAR_NAME: Final = f"^{_NAMED}*[^{_NOT_IN_NAMES}{_class(_WHITE_SPACE, _IGNORABLE, _CONTROLS)}]{_NAMED}*$"
"""The pattern of what `is_clear_name` takes."""

_SEEN_ONCE = re.compile(_SEEN)
_NOT_NAMED = re.compile(f"[{_NOT_IN_NAMES}]")
# Of these, what parts words for the eye.
_PARTING = re.compile(f"[{_class(((0x0, 0x1F), (0x7F, 0x9F), (0x2028, 0x2029), (0x3164, 0x3164)), _HOLLOW)}]")

# Joiners do something behind a letter of a script whose letters join or stack, or behind an emoji, if anything follows.
_JOINING = (
    "\u0600-\u109f\u1780-\u18af\u1a20-\u1aaf\u1b00-\u1cff\u2190-\u2bff\ua800-\uabff\ufe0f"
    "\U00010800-\U00011fff\U0001e900-\U0001e95f\U0001f000-\U0001faff"
)
_IDLE_JOINERS = re.compile(f"(?<![{_JOINING}])[\u200c\u200d]+|[\u200c\u200d]+(?=\\s|$)")


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in it: white space, and characters that show nothing by themselves."""
    return _SEEN_ONCE.search(text) is None


def is_clear_name(name: str) -> bool:
    """Whether a name can be shown among other words: not blank, on one line, and nothing in it that cannot be seen or
    turns the direction of what follows. Joiners may be in it; `one_name` drops those that join nothing."""
    return not is_blank(name) and _NOT_NAMED.search(name) is None


def clear_name(name: str, most: int) -> str:
    """A name that somebody else gave, made a clear one of at most so many characters; empty where nothing is left."""
    parted = _PARTING.sub(" ", name[: 4 * most])
    kept = one_name(_NOT_NAMED.sub("", parted))[:most].rstrip()
    return "" if is_blank(kept) else kept


def one_name(name: str) -> str:
    """A clear name in the one spelling in which it is kept: NFC, single spaces, no joiner that joins nothing."""
    return " ".join(_IDLE_JOINERS.sub("", unicodedata.normalize("NFC", name)).split())
