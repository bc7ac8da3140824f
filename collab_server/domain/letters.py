r"""Which characters a text may consist of: nothing that only looks like a text, and names that are what they look like.

The lists are of Unicode 17, written down, so that every Python draws the same line as every node and the published
patterns: https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt (Default_Ignorable_Code_Point) and
DerivedGeneralCategory.txt (Cc, Cf, Zl, Zp). Those of what people see as one letter are from the same version's
auxiliary/GraphemeBreakProperty.txt and Indic_Conjunct_Break of DerivedCoreProperties.txt. They are under the licence in
unicode-license.txt, beside this file.
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
# Variation selectors choose a shape behind Han, Mongolian and its kin, Myanmar, hieroglyphs, signs and emoji, each one
# selector, and behind a digit in a keycap. Behind anything else they are nothing, and would part two equal names.
_CHOOSING = (
    "\u00a9\u00ae\u1000-\u109f\u1800-\u180a\u1810-\u18af\u2000-\u200a\u2010-\u2027\u2030-\u2bff\u3000-\u9fff"
    "\ua840-\ua87f\ua9e0-\uaa7f\uf900-\ufaff\uff00-\uffef\U00010ac0-\U00010aff\U00013000-\U0001345f"
    "\U0001f000-\U0001faff\U00020000-\U0003ffff"
)
_SELECTORS = "[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_IDLE_SELECTORS = re.compile(f"(?<![{_CHOOSING}0-9#*]){_SELECTORS}|(?<=[0-9#*]){_SELECTORS}(?!\u20e3)")


def is_blank(text: str) -> bool:
    """Whether there is nothing to see in it: white space, and characters that show nothing by themselves."""
    return _SEEN_ONCE.search(text) is None


def is_clear_name(name: str) -> bool:
    """Whether a name can be shown among other words: not blank, on one line, and nothing in it that cannot be seen or
    turns the direction of what follows. Joiners and selectors may be in it; `one_name` drops those that do nothing."""
    return not is_blank(name) and _NOT_NAMED.search(name) is None


def clear_name(name: str, most: int) -> str:
    """A name that somebody else gave, made a clear one of at most so many characters, cut inside no letter; empty where
    nothing is left."""
    parted = _PARTING.sub(" ", name[: 4 * most])
    name = one_name(_NOT_NAMED.sub("", parted))
    kept = name[: whole_letters(name, most) or most].rstrip()
    return "" if is_blank(kept) else kept


def one_name(name: str) -> str:
    """A clear name in the one spelling in which it is kept: NFC, single spaces, no joiner that joins nothing, no
    selector that selects nothing."""
    seen = _IDLE_SELECTORS.sub("", unicodedata.normalize("NFC", name))
    return " ".join(_IDLE_JOINERS.sub("", seen).split())


# Without the last range, which has 4,096 of them: half a megabyte.
_SCATTERED = frozenset(chr(point) for first, last in _IGNORABLE[:-1] for point in range(first, last + 1))
_FIRST_OF_MANY, _LAST_OF_MANY = map(chr, _IGNORABLE[-1])


def is_ignorable(character: str) -> bool:
    """Whether Unicode calls it default-ignorable: not to be seen, unless it does something to what is beside it."""
    return character in _SCATTERED or _FIRST_OF_MANY <= character <= _LAST_OF_MANY


# What is seen as one letter with what is in front of it, besides marks: vowels that are drawn around it, joiners, voice
# marks, the later letters of a Korean syllable, tones and tags of emoji.
_TRAILING: Final = (
    *((0xE33, 0xE33), (0xEB3, 0xEB3), (0x1160, 0x11FF), (0x200C, 0x200D), (0xD7B0, 0xD7FB), (0xFF9E, 0xFF9F)),
    *((0x16D63, 0x16D63), (0x16D67, 0x16D6A), (0x1F3FB, 0x1F3FF), (0xE0020, 0xE007F)),
)
# And what is with what follows it: a joiner, signs in front of numbers, letters that stand above the next.
_LEADING: Final = (
    *((0x200D, 0x200D), (0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2)),
    *((0xD4E, 0xD4E), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x111C2, 0x111C3), (0x113D1, 0x113D1)),
    *((0x1193F, 0x1193F), (0x11941, 0x11941), (0x11A3A, 0x11A3A), (0x11A84, 0x11A89), (0x11D46, 0x11D46)),
    (0x11F02, 0x11F02),
)
# Signs by which two consonants become one letter.
_LINKING: Final = (
    *((0x94D, 0x94D), (0x9CD, 0x9CD), (0xACD, 0xACD), (0xB4D, 0xB4D), (0xC4D, 0xC4D), (0xD4D, 0xD4D)),
    *(
        (0x1039, 0x1039),
        (0x17D2, 0x17D2),
        (0x1A60, 0x1A60),
        (0x1B44, 0x1B44),
        (0x1BAB, 0x1BAB),
        (0xA9C0, 0xA9C0),
    ),
    *((0xAAF6, 0xAAF6), (0x10A3F, 0x10A3F), (0x11133, 0x11133), (0x113D0, 0x113D0), (0x1193E, 0x1193E)),
    *((0x11A47, 0x11A47), (0x11A99, 0x11A99), (0x11F42, 0x11F42)),
)
_TRAILS = re.compile(f"[{_class(_TRAILING)}]")
_LEADS = re.compile(f"[{_class(_LEADING)}]")
_LINKS = re.compile(f"[{_class(_LINKING)}]")
_KOREAN = re.compile("[\u1100-\u115f\ua960-\ua97c][\u1100-\u11ff\ua960-\ua97c\uac00-\ud7fb]|\r\n")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]+")


def whole_letters(text: str, end: int) -> int:
    """The last place up to `end` at which a text may be cut without cutting what people see as one letter: an extended
    grapheme cluster of Unicode (UAX #29), or, where this is quicker to tell, a little more. Takes time in proportion to
    how far that is.
    """
    while 0 < end < len(text) and _is_inside(text, end):
        end -= 1
    return end


def whole_span(text: str, start: int, end: int) -> tuple[int, int]:
    """A stretch of a text, made as much longer as it cuts what people see as one letter, if that is not endless."""
    least, most = max(0, start - _LONGEST_LETTER), min(len(text), end + _LONGEST_LETTER)
    while start > least and _is_inside(text, start):
        start -= 1
    while end < most and _is_inside(text, end):
        end += 1
    return start, end


_LONGEST_LETTER = 32


def _is_inside(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    if _TRAILS.match(after) or _LEADS.match(before) or _KOREAN.match(text, place - 1):
        return True
    category = unicodedata.category(after)
    if category[0] == "M" or category == "Cn":  # which a Python of an older Unicode says of newer marks, too
        return True
    if category == "Lo" and not before.isascii():
        while place > 0 and unicodedata.category(text[place - 1])[0] == "M":
            place -= 1
            if _LINKS.match(text[place]):
                return True
        return False
    if _REGIONAL.match(after):
        begun = place
        while begun > 0 and _REGIONAL.match(text[begun - 1]):
            begun -= 1
        return (place - begun) % 2 == 1
    return False
