"""What a language has to say, by the English sentences and its own plurals."""

from __future__ import annotations

import re
from collections.abc import Mapping

PLURALS = {
    "en": ["one", "other"],
    "de": ["one", "other"],
    "ja": ["other"],
    "ar": ["zero", "one", "two", "few", "many", "other"],
}
"""The forms of a plural, as Unicode's rules have them: what `Intl.PluralRules` chooses among."""


def _wanted(language: str, english: Mapping[str, str]) -> dict[str, set[str]]:
    """Each sentence that the language needs, and the values in it."""
    plural = {key.removesuffix(".one") for key in english if key.endswith(".one")}
    keys = dict[str, str]()
    for key, sentence in english.items():
        family, _, form = key.rpartition(".")
        if family not in plural or form not in PLURALS["ar"]:
            keys[key] = sentence
        elif form == "other":
            keys |= {f"{family}.{each}": sentence for each in PLURALS[language]}
    return {key: _values(sentence) for key, sentence in keys.items()}


def _values(sentence: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", sentence))


def problems_of(language: str, words: Mapping[str, str], english: Mapping[str, str]) -> list[str]:
    """What is wrong with the words of a language: what falls back to English, what nobody says, lost values."""
    wanted = _wanted(language, english)
    problems = [f"falls back to English: {key}" for key in sorted(wanted.keys() - words.keys())]
    problems += [f"is said by nobody: {key}" for key in sorted(words.keys() - wanted.keys())]
    for key in sorted(wanted.keys() & words.keys()):
        # "one" and "two" may be words.
        may_lack = {"{count}"} if key.endswith((".zero", ".one", ".two")) else set[str]()
        if not wanted[key] - may_lack <= _values(words[key]) <= wanted[key]:
            problems.append(f"has other values: {key}")
    return problems
