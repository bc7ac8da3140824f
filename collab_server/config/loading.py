"""File and environment → `LoadedConfig`, or all problems at once."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from collab_server.config import certificates
from collab_server.config.files import read_object, walk
from collab_server.config.model import Config
from collab_server.config.problems import ConfigError, Problem
from collab_server.config.rules import cross_check
from collab_server.config.values import json_type

ENVIRONMENT_PREFIX = "COLLAB_"
FILE_VARIABLE = "COLLAB_CONFIG"
TRANSPORT_VARIABLE = "COLLAB_TRANSPORT"
SWITCHES = frozenset({FILE_VARIABLE, TRANSPORT_VARIABLE})  # variables that are no properties
DEFAULT_FILE = Path("config.json")

_TRANSPORTS = ("", "lean", "asgi")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What no file and no service takes in a text: NUL, and halves of what UTF-16 has two of."""
_OF_FILE = "_FILE"
_VALUE_FILE_BYTES = 64_000


class LoadedConfig(NamedTuple):
    """`path` is the file that was read; None when there was none."""

    config: Config
    warnings: list[Problem]
    path: Path | None


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> LoadedConfig:
    """Read the file (`path`, else what `COLLAB_CONFIG` names, else `./config.json` if there) and overrides.

    Raises `ConfigError` with every problem found when at least one of them is an error.
    """
    problems: list[Problem] = []
    file, values = _read_file(path, environ, problems)
    overrides = _apply_environment(values, environ, problems)
    problems += _unknown_names(Config, values)
    if unusable := list(_no_texts(values)):
        raise ConfigError([_with_origin(problem, overrides) for problem in [*unusable, *problems]])

    context = {"directory": (file or DEFAULT_FILE).absolute().parent}
    wrong: set[str] = set()
    try:
        config = Config.model_validate(values, context=context)
    except ValidationError as error:
        found = problems_of(error)
        problems += found
        wrong = {problem.property.split("[")[0] for problem in found}
        for detail in error.errors(include_url=False):
            if detail["type"] != "default_factory_not_called":
                _remove(values, detail["loc"])
        # Without what was wrong the rest is valid, so the rules between properties can be checked too.
        config = Config.model_validate(values, context=context)

    for check in (cross_check, certificates.check):
        already_named = {problem.property for problem in problems if problem.severity == "error"}
        problems += [
            problem
            for problem in check(config)
            if problem.property not in already_named and not _is_hearsay(problem, wrong)
        ]
    problems = [_with_origin(problem, overrides) for problem in problems]
    if any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    return LoadedConfig(config, problems, file)


def _read_file(
    path: Path | None, environ: Mapping[str, str], problems: list[Problem]
) -> tuple[Path | None, dict[str, Any]]:
    """The file that counts and what is in it. What cannot be read at all raises `ConfigError` at once."""
    named = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = named or DEFAULT_FILE
    try:
        values, twice = read_object(file)
    except FileNotFoundError:
        if named is None:
            problems.append(
                Problem(str(DEFAULT_FILE), "there is no such file here: the defaults are used", "warning")
            )
            return None, {}
        said_by = "" if path else f" ({FILE_VARIABLE} names it)"
        raise ConfigError([Problem(str(file), f"there is no such file{said_by}")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(file), f"cannot be read: {error.strerror}")]) from None
    problems += twice
    return file, values


def _no_texts(values: dict[str, Any]) -> Iterator[Problem]:
    """What holds a character that neither a path nor a message may hold, which nothing below has to think of."""
    for place, value in walk(values):
        texts = value if isinstance(value, dict) else [value]
        if any(isinstance(text, str) and _NO_TEXT.search(text) for text in texts):
            message = "holds a character that no text can have: NUL, or one half of a surrogate pair"
            yield Problem(place, message)


def _is_hearsay(problem: Problem, wrong: Collection[str]) -> bool:
    """Whether a warning only follows from the default in the place of a property that is wrong."""
    return problem.severity == "warning" and any(
        re.search(rf"\b{re.escape(name)}\b", problem.message) for name in wrong
    )


def _apply_environment(
    values: dict[str, Any], environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, str]:
    """Overlay `COLLAB_*` on `values`; return property → variable. An empty variable counts as not set.

    `COLLAB_…_FILE` names a file that holds the value, as containers are given secrets.
    """
    known = {
        ENVIRONMENT_PREFIX + name.replace(".", "__").upper(): (name, annotation)
        for name, annotation in leaves(Config)
    }
    overrides: dict[str, str] = {}
    if environ.get(TRANSPORT_VARIABLE, "").lower() not in _TRANSPORTS:
        problems.append(Problem(TRANSPORT_VARIABLE, "is not used: expected asgi, or nothing", "warning"))
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in SWITCHES:
            continue
        full = variable.upper()
        base = full if full in known else full.removesuffix(_OF_FILE)
        if inside := [name for name in known if name.startswith(f"{base}__")]:
            message = f"this is a section: each property of it has its own variable, like {inside[0]}"
            problems.append(Problem(variable, message, "warning"))
            continue
        if base not in known:
            suggestion = _variable_like(base, known, is_of_file=base != full)
            problems.append(
                Problem(variable, f"this environment variable is not known{suggestion}", "warning")
            )
            continue
        if environ[variable] == "":
            continue
        name, annotation = known[base]
        text: str | None = environ[variable]
        if base != full:
            if name in overrides:
                problems.append(Problem(name, f"is given twice, by {overrides[name]} and {variable}"))
                continue
            text = _content_of(variable, Path(environ[variable]), problems)
        if text is None:
            continue
        *sections, leaf = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        if isinstance(place, dict):  # else the file has the wrong type there, and validation will say so
            place[leaf] = _from_text(text, annotation)
            overrides[name] = variable
    return overrides


def _variable_like(base: str, known: Collection[str], *, is_of_file: bool) -> str:
    """A suggestion of one of those that are known; for one that is to name a file, of one that does."""
    meant = {name: name for name in known}
    if is_of_file:
        end = _OF_FILE.removeprefix("_")
        meant = {name.removesuffix(end): name if name.endswith(end) else name + _OF_FILE for name in known}
    here = {_letters(name): full for name, full in meant.items()}
    here |= {_letters(name): name for name in sorted(SWITCHES)}
    in_sections = {name.rpartition("__")[2]: full for name, full in meant.items() if "__" in name}
    return _did_you_mean(_letters(base), here, in_sections)


def _letters(variable: str) -> str:
    """What tells one from another: all begin alike, and others write `REDIS_URL`."""
    return variable.removeprefix(ENVIRONMENT_PREFIX).replace("_", "")


def _content_of(variable: str, file: Path, problems: list[Problem]) -> str | None:
    """What a file that a variable names holds, without the end of its line; None where it is of no use."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_VALUE_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is not a path"
        problems.append(Problem(variable, f"the file it names cannot be read: {reason}"))
        return None
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text or len(content) > _VALUE_FILE_BYTES:
        expected = f"expected a value in UTF-8, of at most {_VALUE_FILE_BYTES} bytes"
        problems.append(Problem(variable, f"the file it names holds none: {expected}"))
        return None
    return text


def _from_text(text: str, annotation: Any) -> Any:
    """`text` as the JSON value that `annotation` wants; what does not fit stays text and is refused later."""
    kinds = {get_origin(kind) or kind for kind in alternatives(annotation)}
    stripped = text.strip()
    if bool in kinds:
        return {"true": True, "false": False}.get(stripped.lower(), text)
    if kinds & {int, float} and re.fullmatch(r"[+-]?[0-9]{1,18}", stripped):
        return int(stripped)
    if float in kinds and re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", stripped):
        return float(stripped)
    if dict in kinds:
        try:
            return json.loads(stripped)
        except (ValueError, RecursionError):
            return text
    if tuple in kinds:
        if not stripped.startswith("["):
            return [item.strip() for item in text.split(",")]
        try:
            return json.loads(stripped)
        except (ValueError, RecursionError):
            return text
    return text


def alternatives(annotation: Any) -> Iterator[Any]:
    """The types a value may have: unions and `Annotated` opened."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif isinstance(annotation, UnionType) or str(get_origin(annotation)) == "typing.Union":
        for alternative in get_args(annotation):
            yield from alternatives(alternative)
    else:
        yield annotation


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full name and type of every property that is not a section."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from leaves(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, info.annotation


def _unknown_names(model: type[BaseModel], values: dict[str, Any], prefix: str = "") -> Iterator[Problem]:
    for name, value in values.items():
        info = model.model_fields.get(name)
        if info is None:
            if model.model_config.get("extra") == "allow":
                continue  # it is for somebody else to judge
            here = {known: prefix + known for known in model.model_fields}
            everywhere = _by_last_part((full for full, _ in leaves(Config)), ".")
            suggestion = _did_you_mean(name, here, everywhere)
            yield Problem(prefix + name, f"this name is not known and is ignored{suggestion}", "warning")
        elif (
            isinstance(info.annotation, type)
            and issubclass(info.annotation, BaseModel)
            and isinstance(value, dict)
        ):
            yield from _unknown_names(info.annotation, value, f"{prefix}{name}.")


_ELSEWHERE = {"loglevel": "logging", "log_level": "logging", "debug": "logging", "verbose": "logging"}
"""What others call it."""


def _by_last_part(full_names: Iterable[str], between: str) -> dict[str, str]:
    return {full.rpartition(between)[2]: full for full in full_names}


def _did_you_mean(name: str, *full_names: Mapping[str, str]) -> str:
    """A suggestion of the first of these that has one. They are full names, by what `name` may be like."""
    folded = name.casefold()
    for names in full_names:
        by_folded = {candidate.casefold(): candidate for candidate in names}
        if close := _closest(folded, by_folded):
            found = by_folded[close]
            hint = " (names are case sensitive)" if close == folded and found != name else ""
            return f"; did you mean {names[found]}?{hint}"
    return ""


def _closest(name: str, known: Collection[str]) -> str | None:
    if (elsewhere := _ELSEWHERE.get(name)) in known:
        return elsewhere
    import difflib  # for mistakes alone: a node that has made none does without

    for close in difflib.get_close_matches(name, known, n=1, cutoff=0.75) or _longer(name, known):
        # Of a short name another letter is much: hsts is no host.
        if not len(name) == len(close) < 6 or sorted(name) == sorted(close):
            return close
    return None


def _longer(name: str, known: Iterable[str]) -> list[str]:
    """The one that it is short for: `user` for `username`, `redisurl` for `redisserverurl`."""

    def is_short_for(candidate: str) -> bool:
        letters = iter(candidate)
        return (
            len(name) >= max(4, len(candidate) / 2)
            and name[0] == candidate[0]
            and all(letter in letters for letter in name)
        )

    found = [candidate for candidate in known if is_short_for(candidate)]
    return found if len(found) == 1 else []


def problems_of(error: ValidationError, whole: str = "") -> list[Problem]:
    """What pydantic has found in a file, in words, by the names of the file; `whole` is the name of all of it."""
    return [
        Problem(_name(detail["loc"]) or whole, _in_words(detail))
        for detail in error.errors(include_url=False)
        if detail["type"] != "default_factory_not_called"
    ]


def _name(location: tuple[int | str, ...]) -> str:
    """`("administrators", 1)` → `administrators[1]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")


def _remove(values: dict[str, Any], location: tuple[int | str, ...]) -> None:
    """Take the named property out; for an item of an array, the whole array."""
    names = [step for step in location if isinstance(step, str)]
    place = values
    for name in names[:-1]:
        inner = place.get(name, {})
        if not isinstance(inner, dict):
            place.pop(name)  # it has names that the administrator chose
            return
        place = inner
    place.pop(names[-1], None)


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "tuple_type": "an array",
    "model_type": "an object",
    "dict_type": "an object",
}


def _in_words(detail: ErrorDetails) -> str:
    """pydantic's finding in the words of an administrator. Only numbers and misspelt choices are repeated."""
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _EXPECTED:
        found = json_type(given)
        if isinstance(given, float):
            found = "one with a fraction or exponent" if math.isfinite(given) else str(given)
        return f"expected {_EXPECTED[kind]}, not {found}"
    if kind == "greater_than":
        return f"must be more than {context['gt']:g} (is {given})"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']} (is {given})"
    if kind == "less_than_equal":
        return f"must be at most {context['le']:.15g} (is {given})"
    if kind == "literal_error":
        found = f'"{given[:40]}"' if isinstance(given, str) else json_type(given)
        return f"expected {context['expected']}, not {found}"
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch":
        return f"expected what fits {context['pattern']}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_too_short":
        return "must not be empty"
    return detail["msg"]


def _with_origin(problem: Problem, overrides: Mapping[str, str]) -> Problem:
    variable = overrides.get(problem.property.split("[")[0])
    if variable is None:
        return problem
    return Problem(problem.property, f"{problem.message} (from {variable})", problem.severity)
