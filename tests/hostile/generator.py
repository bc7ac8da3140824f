"""Hostile payloads, made by chance from the table of commands: whatever a command takes, in the shapes that hurt.

`attack(random)` makes one, for one door. A new command, or a new field of one, is covered once it is in the table.
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal
from urllib.parse import quote

from collab_server.contract.catalogue import ROUTES
from collab_server.contract.examples import payload_example
from collab_server.contract.rows import Route
from collab_server.contract.schemas import payload_schema
from collab_server.services.commands.table import TABLE

PACKET_BYTES = 1_000_000
SIZES = (100, 3000, 60_000, 300_000, 980_000)
HEAD_BYTES = 55_000
LEAVES = "session.end"
"""Not for those who are to go on being hostile."""

Make = Callable[[Random, int], str]
"""JSON text of about so many characters."""


def _many(*items: str) -> Make:
    def make(random: Random, size: int) -> str:
        item = random.choice(items)
        return f"[{','.join([item] * (size // (len(item) + 1)))}]"

    return make


def _deep(random: Random, size: int) -> str:
    levels = min(size // 10, random.choice((60, 130, 900, 30_000)))
    opened, closed = random.choice((("[", "]"), ('{"a":', "}"), ('[0,{"":', "}]")))
    return opened * levels + random.choice(("0", '""', "[]", '"\\ud800"')) + closed * levels


def _wide(random: Random, size: int) -> str:
    value = random.choice(("0", "[]", "{}", '""', '"\\u0000"', "1e5"))
    return "{" + ",".join(f'"{number:x}":{value}' for number in range(size // (7 + len(value)))) + "}"


def _long_keys(random: Random, size: int) -> str:
    key = random.choice(("k", "\\ud83d", "\\u0000", "\\\\", "é")) * random.choice(
        (10, 1000, max(1, size // 3))
    )
    inner = _any_of(random, max(10, size // 3))
    return (
        "{"
        + ",".join(f'"{key}{number}":{inner}' for number in range(max(1, size // (len(key) + len(inner)))))
        + "}"
    )


def _number(random: Random, size: int) -> str:
    digits = random.choice((19, 101, 4000, 5000))
    one = random.choice(
        ("9" * digits, "-" + "9" * digits, "1e999", "-1e-999", "0." + "1" * digits, "1E400", "NaN", "-0")
    )
    return random.choice((one, f"[{','.join([one] * (size // (len(one) + 1)))}]"))


_TEXTS = (
    *("x", " ", "ab ", "\\n", "\\\\", "\\u0041", "\\ud800", "\\u0000", "é", "中", "🦊", "\\ufeff"),
    *(
        "a\\u0301",
        "\\u0301\\u0316",
        "@[",
        "](user:",
        "@[x](user:A)",
        ":",
        ".",
        "-",
        "%",
        "{",
        "[,",
        "https://",
        "1",
    ),
)


def _text(random: Random, size: int) -> str:
    unit = random.choice(_TEXTS)
    times = size // len(unit.encode())
    return f'"{random.choice(("", "a", "@["))}{unit * times}"'


def _texts(random: Random, size: int) -> str:
    item = _text(random, random.choice((10, 1000, 30_000)))
    return f"[{','.join([item] * max(1, size // len(item.encode())))}]"


_KINDS: tuple[Make, ...] = (
    _many(
        "0", "{}", "[]", '""', "null", "1.5", "-1e9", "[[[]]]", '{"":{}}', '{"a":[{}]}', "[" * 50 + "]" * 50
    ),
    _many(
        '{"kind":"user","id":"A11A0000000000000000000000000001"}',
        '{"kind":"group","id":"6A000000000000000000000000000001"}',
        '"0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"',
        '"content:F0000000000000000000000000000001:DA000000000000000000000000000001"',
    ),
    _deep,
    _wide,
    _long_keys,
    _number,
    _text,
    _texts,
)


def _any_of(random: Random, size: int) -> str:
    return random.choice(_KINDS)(random, size)


@dataclass(frozen=True, slots=True)
class Attack:
    """One packet of the Socket.IO door, or one REST call; `what` says in short what it is."""

    what: str
    door: Literal["socket", "rest"]
    packet: str = ""
    method: str = ""
    path: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def _payload(random: Random, command: str, size: int) -> tuple[str, str]:
    """A payload of a command with something hostile in it, and where that is."""
    fields: dict[str, Any] = {name: json.dumps(value) for name, value in payload_example(command).items()}
    value = _any_of(random, size)
    known = [*payload_schema(command)["properties"]]
    place = random.choice(("field", "field", "field", "inside", "item", "unknown", "itself", "twice"))
    if place in ("field", "inside", "item") and known:
        name = random.choice(known)
        fields[name] = {"field": value, "inside": f'{{"a":{value}}}', "item": f"[{value}]"}[place]
        return _object(fields.items()), f"{place} {name}"
    if place == "itself":
        return value, "the payload itself"
    if place == "twice" and known:
        name = random.choice(known)
        return _object([(name, value), *fields.items(), (name, value)]), f"{name} twice"
    return _object([*fields.items(), (random.choice(("colour", "k" * 1000)), value)]), "an unknown field"


def _object(fields: Any) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}"


def attack(random: Random) -> Attack:
    """One hostile thing to do."""
    return random.choice((_packet, _packet, _call))(random)


def _packet(random: Random) -> Attack:
    size = random.choice(SIZES)
    name = random.choice([name for name in TABLE if name != LEAVES])
    payload, where = _payload(random, name, size)
    shown = json.dumps(name)
    if random.random() < 0.05:
        shown, where = random.choice((_any_of(random, size), json.dumps("x" * size))), "a name that is none"
    extra = f",{_any_of(random, 1000)}" if random.random() < 0.05 else ""
    packet = f"[{shown},{payload}{extra}]"
    return Attack(f"{name}: {where}, {packet[:120]}… {len(packet):,}", "socket", packet=packet)


def _call(random: Random) -> Attack:
    route = random.choice([route for route in ROUTES if route.command != LEAVES])
    path, query, headers = _hostile_head(random, route)
    body = ""
    if route.has_body or random.random() < 0.2:
        inside = {name for name in payload_schema(route.command)["properties"] if f"{{{name}}}" in route.path}
        body, where = _payload(random, route.command, random.choice(SIZES))
        if body.startswith("{") and random.random() < 0.8:
            body = _without(body, inside)
    else:
        where = "the head"
    return Attack(
        f"{route.method} {route.path}: {where}, {path[:80]}?{query[:80]} {body[:80]}… {len(path + query + body):,}",
        "rest",
        method=route.method,
        path=f"/api{path}" + (f"?{query}" if query else ""),
        body=body,
        headers=headers,
    )


def _without(body: str, names: set[str]) -> str:
    """What stands in the path is not given again, where that can be told."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return json.dumps({name: value for name, value in read.items() if name not in names})


def _hostile_head(random: Random, route: Route) -> tuple[str, str, dict[str, str]]:
    """Path, query and headers; one of them is hostile, or none."""
    example = payload_example(route.command)
    hostile = random.choice(("path", "query", "header", "none"))
    path = route.path
    for name in payload_schema(route.command)["properties"]:
        given = _in_head(random) if hostile == "path" else quote(str(example.get(name, "x")), safe=":")
        path = path.replace(f"{{{name}}}", given, 1)
    query = ""
    if hostile == "query":
        names = [*payload_schema(route.command)["properties"], "colour"]
        query = random.choice(
            (
                f"{random.choice(names)}={_in_head(random)}",
                "&".join(["a"] * random.choice((10, HEAD_BYTES // 2))),
                "&".join(f"{random.choice(names)}={number}" for number in range(random.choice((10, 4000)))),
                f"{_in_head(random)}=1",
            )
        )
    headers = {}
    if hostile == "header":
        headers["Idempotency-Key"] = random.choice(string.ascii_letters + "%") * random.choice((200, 7000))
    return path[:HEAD_BYTES], query[: HEAD_BYTES - len(path[:HEAD_BYTES])], headers


def _in_head(random: Random) -> str:
    unit = random.choice(
        ("x", "%00", "%ED%A0%80", "%C3%A9", "%F0%9F%A6%8A", ":", ".", "-", "9", "%20", "+", "%2F", "%FF")
    )
    return unit * (random.choice((30, 2000, HEAD_BYTES)) // len(unit))
