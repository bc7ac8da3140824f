"""Letters that have several spellings which read the same, beyond what Unicode calls equivalent.

What is from Unicode 17 is under the licence in unicode-license.txt, beside this file:
https://www.unicode.org/Public/17.0.0/ucd/DoNotEmit.txt (Indic_Vowel_Letter, Tamil_Shrii, Malayalam_Chillu,
Bengali_Khanda_Ta, Deprecated) and EquivalentUnifiedIdeograph.txt (of CJK radicals). The rest was chosen by hand: where
writers use one letter for another because their keyboard has it or because it looks the same there. CLDR's collation
for searches, which most browsers have, says so of nearly all of them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final


def _read(text: str) -> str:
    return "".join(chr(int(point, 16)) for point in text.split())


# A sequence that should not be written, and the letter that it looks like.
_LOOKS_LIKE: Final = """
    0905 0946 = 0904, 0905 093E = 0906, 0930 094D 0907 = 0908, 0909 0941 = 090A, 090F 0945 = 090D,
    090F 0946 = 090E, 090F 0947 = 0910, 0905 0949 = 0911, 0906 0945 = 0911, 0905 094A = 0912,
    0906 0946 = 0912, 0905 094B = 0913, 0906 0947 = 0913, 0905 094C = 0914, 0906 0948 = 0914,
    0905 0945 = 0972, 0905 093A = 0973, 0905 093B = 0974, 0906 093A = 0974, 0905 094F = 0975,
    0905 0956 = 0976, 0905 0957 = 0977, 0985 09BE = 0986, 098B 09C3 = 09E0, 098C 09E2 = 09E1,
    0A05 0A3E = 0A06, 0A72 0A3F = 0A07, 0A72 0A40 = 0A08, 0A73 0A41 = 0A09, 0A73 0A42 = 0A0A,
    0A72 0A47 = 0A0F, 0A05 0A48 = 0A10, 0A73 0A4B = 0A13, 0A05 0A4C = 0A14, 0A85 0ABE = 0A86,
    0A85 0AC5 = 0A8D, 0A85 0AC7 = 0A8F, 0A85 0AC8 = 0A90, 0A85 0AC9 = 0A91, 0A85 0ACB = 0A93,
    0A85 0ABE 0AC5 = 0A93, 0A85 0ACC = 0A94, 0A85 0ABE 0AC8 = 0A94, 0AC5 0ABE = 0AC9, 0B05 0B3E = 0B06,
    0B0F 0B57 = 0B10, 0B13 0B57 = 0B14, 0B85 0BC2 = 0B86, 0C12 0C55 = 0C13, 0C12 0C4C = 0C14,
    0C3F 0C55 = 0C40, 0C46 0C55 = 0C47, 0C4A 0C55 = 0C4B, 0C89 0CBE = 0C8A, 0C92 0CCC = 0C94,
    0C8B 0CBE = 0CE0, 0D07 0D57 = 0D08, 0D09 0D57 = 0D0A, 0D0E 0D46 = 0D10, 0D12 0D3E = 0D13,
    0D12 0D57 = 0D14, 0D85 0DCF = 0D86, 0D85 0DD0 = 0D87, 0D85 0DD1 = 0D88, 0D8B 0DDF = 0D8C,
    0D8D 0DD8 = 0D8E, 0D8F 0DDF = 0D90, 0D91 0DCA = 0D92, 0D91 0DD9 = 0D93, 0D94 0DDF = 0D96,
    11005 11038 = 11006, 1100B 1103E = 1100C, 1100F 11042 = 11010, 11680 116AD = 11681,
    11686 116B2 = 11687, 11680 116B4 = 11688, 11680 116B5 = 11689, 11200 1122C = 11201,
    11240 1122E = 11202, 11206 1122C = 11203, 11200 11231 = 11205, 11200 11233 = 11207,
    11200 1122C 11231 = 11207, 1122C 11230 = 11232, 1122C 11231 = 11233, 112B0 112E0 = 112B1,
    112B0 112E5 = 112B6, 112B0 112E6 = 112B7, 112B0 112E7 = 112B8, 112B0 112E8 = 112B9,
    11481 114B0 = 11482, 114AA 114B5 = 11489, 114AA 114B6 = 1148A, 1148B 114BA = 1148C,
    1148D 114BA = 1148E, 11600 11639 = 1160A, 11600 1163A = 1160B, 11601 11639 = 1160C,
    11601 1163A = 1160D, 1118D 111BC = 1118E, 0BB8 0BCD 0BB0 0BC0 = 0BB6 0BCD 0BB0 0BC0
"""

# A radical of Han, and the ideograph that it is.
_RADICALS: Final = """
    2E81 5382, 2E82 4E5B, 2E83 4E5A, 2E84 4E59, 2E85 4EBB, 2E86 5182, 2E87 20628, 2E88 5200, 2E89 5202,
    2E8A 535C, 2E8B 353E, 2E8C 5C0F, 2E8D 5C0F, 2E8E 5140, 2E8F 5C23, 2E90 5C22, 2E91 21BC2, 2E92 5DF3,
    2E93 5E7A, 2E94 5F51, 2E95 2B739, 2E96 5FC4, 2E97 5FC3, 2E98 624C, 2E99 6535, 2E9B 65E1, 2E9C 65E5,
    2E9D 6708, 2E9E 6B7A, 2E9F 6BCD, 2EA0 6C11, 2EA1 6C35, 2EA2 6C3A, 2EA3 706C, 2EA4 722B, 2EA5 722B,
    2EA6 4E2C, 2EA7 725B, 2EA8 72AD, 2EA9 738B, 2EAA 24D14, 2EAB 76EE, 2EAC 793A, 2EAD 793B, 2EAE 25AD7,
    2EAF 7CF9, 2EB0 7E9F, 2EB1 7F53, 2EB2 7F52, 2EB3 34C1, 2EB4 5197, 2EB5 2626B, 2EB6 7F8A, 2EB7 2634C,
    2EB8 2634B, 2EB9 8002, 2EBA 8080, 2EBB 807F, 2EBC 8089, 2EBD 26951, 2EBE 8279, 2EBF 8279, 2EC0 8279,
    2EC1 864E, 2EC2 8864, 2EC3 8980, 2EC4 897F, 2EC5 89C1, 2EC6 89D2, 2EC7 278B2, 2EC8 8BA0, 2EC9 8D1D,
    2ECA 27FB7, 2ECB 8F66, 2ECC 8FB6, 2ECD 8FB6, 2ECE 8FB6, 2ECF 9091, 2ED0 9485, 2ED1 9577, 2ED2 9578,
    2ED3 957F, 2ED4 95E8, 2ED5 28E0F, 2ED6 961D, 2ED7 96E8, 2ED8 9752, 2ED9 97E6, 2EDA 9875, 2EDB 98CE,
    2EDC 98DE, 2EDD 98DF, 2EDE 2967F, 2EDF 98E0, 2EE0 9963, 2EE1 29810, 2EE2 9A6C, 2EE3 9AA8, 2EE4 9B3C,
    2EE5 9C7C, 2EE6 9E1F, 2EE7 5364, 2EE8 9EA6, 2EE9 9EC4, 2EEA 9EFE, 2EEB 6589, 2EEC 9F50, 2EED 6B6F,
    2EEE 9F7F, 2EEF 7ADC, 2EF0 9F99, 2EF1 9F9C, 2EF2 4E80, 2EF3 9F9F
"""


def _in_another_order() -> dict[str, str]:
    """Signs that are drawn the same in either order, typed in the wrong one: a tone of Thai or Lao in front of its
    vowel sign, or inside `am`; ro of Khmer below a letter, in front of what else is below it."""
    orders: dict[str, str] = {}
    for tones, vowels, round_sign, aa in (
        ("\u0e48\u0e49\u0e4a\u0e4b\u0e4c", "\u0e31\u0e34\u0e35\u0e36\u0e37\u0e47", "\u0e4d", "\u0e32"),
        ("\u0ec8\u0ec9\u0eca\u0ecb\u0ecc", "\u0eb1\u0eb4\u0eb5\u0eb6\u0eb7\u0ebb", "\u0ecd", "\u0eb2"),
    ):
        for tone in tones:
            orders.update({tone + vowel: vowel + tone for vowel in vowels})
            orders[round_sign + tone + aa] = tone + round_sign + aa
    below, ro, da, ta = "\u17d2", "\u179a", "\u178a", "\u178f"
    for letter in map(chr, range(0x1780, 0x17A3)):
        if letter != ro:
            orders[below + ro + below + letter] = below + (ta if letter == da else letter) + below + ro
    return orders | {below + da: below + ta}  # below a letter, the two are drawn the same


SEQUENCES: Final = {
    _read(sequence): _read(letter)
    for sequence, letter in (pair.split("=") for pair in _LOOKS_LIKE.replace("\n", " ").split(","))
} | {"เเ": "แ"}
"""Sequences that read as a letter of its own, and that letter."""

ORDERS: Final = _in_another_order()
"""Sequences that read as another one, and that one."""

_TWO_WAYS: Final = {
    "\u0627": "\u0671\u0672\u0673",  # alef with wasla, with wavy hamzas
    "\u064a": "\u0649\u06cc",  # yeh: without dots, of Persian
    "\u0643": "\u06a9\u06aa",  # kaf: of Persian, with a long arm
    "\u0647": "\u0629\u06be\u06c1\u06c3\u06d5",  # heh, and what ends words in its shape
    "\u0641": "\u06a2",  # feh and qaf of the Maghreb
    "\u0642": "\u06a7",
    "כ": "ך",  # of Hebrew, as they stand at a word's end
    "מ": "ם",
    "נ": "ן",
    "פ": "ף",
    "צ": "ץ",
    "г": "ґ",
    "d": "ð",
    "g": "\u0261",
    "j": "\u0237",
    "i": "ı",
    "ə": "ǝ",
    "\u0d57": "\u0d4c",  # au of Malayalam, as it is written today
    "\u102c": "\u102b",  # aa of Burmese, as it is drawn behind round letters
    "\u1a63": "\u1a64",
    "\u0f62": "\u0f6a",  # letters of Tibetan that keep their shape in a stack
    "\u0fad": "\u0fba",
    "\u0fb1": "\u0fbb",
    "\u0fb2": "\u0fbc",
    "\u17a2": "\u17a3",
    "\u07d6": "\u07e8",  # old shapes of N'Ko
    "\u07d7": "\u07e9",
    "\u07d9": "\u07ea",
    "〇": "○◯",
}
_IN_PARTS: Final = {
    "ae": "æ", "oe": "œ", "dz": "ʣ", "ts": "ʦ", "וו": "װ", "וי": "ױ", "יי": "ײ",
    "\u17a2\u17b6": "\u17a4",
    "\u09a4\u09cd": "\u09ce",  # a consonant without its vowel, as a letter of its own: khanda ta, chillus
    "\u0d23\u0d4d": "\u0d7a", "\u0d28\u0d4d": "\u0d7b", "\u0d30\u0d4d": "\u0d7c\u0d4e", "\u0d32\u0d4d": "\u0d7d",
    "\u0d33\u0d4d": "\u0d7e", "\u0d15\u0d4d": "\u0d7f", "\u0d2e\u0d4d": "\u0d54", "\u0d2f\u0d4d": "\u0d55",
    "\u0d34\u0d4d": "\u0d56",
}  # fmt: skip
_APOSTROPHES: Final = "ʹʺʻʼʽʾʿˈˊˋˮ\u07f4\u07f5ꞌꞋ"
"""Letters by their category, written like the apostrophes that are punctuation, which part words."""
_PASSED_OVER: Final = "\u0640\u07fa\u180a\u0674"
"""What only makes a line longer; the high hamza."""

_WITH_SOMETHING = re.compile("LATIN SMALL LETTER ([A-Z]) WITH .*")
_LATIN: Final = (
    (0xE0, 0x250),
    (0x250, 0x2B0),
    (0x1D6B, 0x1D9B),
    (0x2C60, 0x2C80),
    (0xA720, 0xA800),
    (0xAB30, 0xAB70),
)


def _of_latin() -> dict[int, str]:
    """Letters with a stroke, a hook or a tail, which Unicode does not take apart, by what their names say."""
    points = [point for of in _LATIN for point in range(*of)]
    named = [(point, _WITH_SOMETHING.fullmatch(unicodedata.name(chr(point), ""))) for point in points]
    return {
        point: name[1].lower()
        for point, name in named
        if name is not None and unicodedata.is_normalized("NFD", chr(point))
    }


def _letters() -> dict[int, str]:
    table = _of_latin()
    for letter, others in (_TWO_WAYS | _IN_PARTS).items():
        table.update(dict.fromkeys(map(ord, others), letter))
    for pair in _RADICALS.replace("\n", " ").split(","):
        radical, ideograph = pair.split()
        table[int(radical, 16)] = chr(int(ideograph, 16))
    table.update({katakana: chr(katakana - 0x60) for katakana in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)})
    table.update(dict.fromkeys(map(ord, _APOSTROPHES), "'"))
    table.update(dict.fromkeys(map(ord, _PASSED_OVER), ""))
    table[0x2800] = " "  # the blank of Braille
    return table


LETTERS: Final = _letters()
"""What is read for a letter, for `str.translate`."""
