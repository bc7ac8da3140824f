"""Bodies: what is made of a text that is markdown."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import unquote

import pytest

from collab_server.contract.shapes import Block, BodyPartShape, Inline
from collab_server.domain.bodies import MAX_CHARACTERS, MAX_LEVELS, MAX_PARTS, body_of, plain_text
from collab_server.errors import TooLarge


def body(text: str) -> list[dict[str, Any]]:
    made = body_of(text)
    assert made is not None
    parts: list[dict[str, Any]] = json.loads(made)
    return parts


def short(parts: list[dict[str, Any]]) -> str:
    """A body in a few signs: `paragraph(a bold(b))`."""
    shown = []
    for part in parts:
        more = {key: value for key, value in part.items() if key not in ("type", "children", "text")}
        inner = short(part["children"]) if "children" in part else part.get("text", "")
        given = "".join(f" {key}={value}" for key, value in more.items())
        shown.append(inner if part["type"] == "text" else f"{part['type']}{given}({inner})")
    return "".join(shown)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**b** *i* _j_ ~~s~~ `c`", "paragraph(bold(b) italic(i) italic(j) strike(s) code(c))"),
        ("***both***", "paragraph(italic(bold(both)))"),
        ("one\n**two**", "paragraph(onebreak()bold(two))"),
        ("one\n\n**two**", "paragraph(one)paragraph(bold(two))"),
        (
            "- a\n  - b\n- c",
            "list(item(paragraph(a)list(item(paragraph(b))))item(paragraph(c)))",
        ),
        ("3. a\n4. b", "list start=3(item(paragraph(a))item(paragraph(b)))"),
        ("> *q*\n\nr", "quote(paragraph(italic(q)))paragraph(r)"),
        ("```sql\nSELECT *\n  FROM t\n```", "codeBlock language=sql(SELECT *\n  FROM t)"),
        ("[a *b*](https://x.y/z)", "paragraph(link url=https://x.y/z(a italic(b)))"),
        ("[a](https://x.y 'so')", "paragraph(link url=https://x.y title=so(a))"),
        ("<mailto:a@b.c>", "paragraph(link url=mailto:a@b.c(mailto:a@b.c))"),
        (r"\*not\*", "paragraph(*not*)"),
        (
            "**@[A *B*](user:a_b_c)** and `@[X](group:g)`",
            "paragraph(bold(mention kind=user id=a_b_c name=A *B*()) and code(@[X](group:g)))",
        ),
        ("<b>x</b> *y*", "paragraph(<b>x</b> italic(y))"),
        ("![x](https://x.y/z.png)", "paragraph(!link url=https://x.y/z.png(x))"),
        ("# *x*", "paragraph(# italic(x))"),
        ("[*x*]() **y**", "paragraph(italic(x) bold(y))"),
        ("```SELECT 1\nFROM t\n```", "codeBlock(SELECT 1\nFROM t)"),
        ("a&lt;b **x**", "paragraph(a&lt;b bold(x))"),
    ],
)
def test_markdown_becomes_a_tree(text: str, expected: str) -> None:
    assert short(body(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Plain.",
        "two\nlines",
        "2 * 3 * 4 = 24",
        "snake_case_name",
        "-1 and +1",
        "# no heading",
        "| a | b |\n|---|---|",
        "@[Ann](user:a1)",
        "@[A_B_](user:a1) _",
        "<script>alert(1)</script>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](data:text/html,x)",
        "[a](vbscript:x)",
        "[a](//evil.example)",
        "[a](/relative)",
        "[a](https:)",
        "<javascript:alert(1)>",
        "[](https://x.y)",
        "> ",
        "```\n```",
        "**",
    ],
)
def test_what_has_nothing_to_format_has_no_body(text: str) -> None:
    assert body_of(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**b** *i*\nnext", "b i\nnext"),
        ("2026. was good\n2027. too", "2026. was good\n2027. too"),
        ("- a\n- **b**", "- a\n- b"),
        ("> q\n\n`r`", "q\nr"),
        ("**@[A B](user:a)** [site](https://x.y)", "@[A B](user:a) site"),
        ("```\na\nb\n```\nc", "a\nb\nc"),
    ],
)
def test_the_plain_text_of_a_body_is_what_it_says(text: str, expected: str) -> None:
    assert plain_text(body(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "> " * (MAX_LEVELS + 1) + "deep",
        ">" * 5_000 + "deep",
        "\n".join(" " * 2 * level + "- deep" for level in range(MAX_LEVELS)),
        "*a* " * MAX_PARTS,
        "- a\n" * MAX_PARTS,
    ],
)
def test_what_would_be_too_much_of_a_tree_is_shown_as_it_was_written(text: str) -> None:
    assert body_of(text) is None


def test_markdown_has_a_length() -> None:
    assert body_of("a" * MAX_CHARACTERS) is None
    with pytest.raises(TooLarge, match="20001") as refused:
        body_of("a" * (MAX_CHARACTERS + 1))
    assert refused.value.field == "text"


SIGNS = [
    *(
        "*",
        "**",
        "_",
        "~~",
        "`",
        "```",
        "\n",
        "\n\n",
        "> ",
        "- ",
        "1. ",
        "7) ",
        "  ",
        "    ",
        "\t",
        "\\",
        "!",
    ),
    *(
        "[",
        "]",
        "(",
        ")",
        "](",
        "<",
        ">",
        "@[",
        "@[Ann](user:a1)",
        "](user:a1)",
        "](https://x.y)",
        "javascript:",
    ),
    *(
        "<img src=x onerror=y>",
        "&lt;",
        "&#0;",
        "word",
        "ünï",
        "汉",
        "\u202e",
        "\u0301",
        "\u200d",
        "👍🏽",
        "\r\n",
        "\x0b",
    ),
    *(
        "http://",
        "https://a.b/c?d=e&f",
        "<https://x>",
        "mailto:a@b",
        "#",
        "|",
        "---",
        "===",
        "^",
        "$",
        '"',
        "'",
    ),
]


def trees(count: int, seed: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    chance = random.Random(seed)
    for _ in range(count):
        text = "".join(chance.choices(SIGNS, k=chance.randint(2, 40)))
        made = body_of(text)
        if made is not None:
            yield text, json.loads(made)


def parts_of(tree: list[dict[str, Any]], level: int = 1) -> Iterator[tuple[int, dict[str, Any]]]:
    for part in tree:
        yield level, part
        yield from parts_of(part.get("children", []), level + 1)


def test_of_any_text_the_body_holds_to_its_shape_and_to_its_limits() -> None:
    blocks, inlines = set(get_args(Block)), set(get_args(Inline))
    holds = {
        **dict.fromkeys(("quote", "item"), blocks - {"item"}),
        "list": {"item"},
        **dict.fromkeys(("paragraph", "bold", "italic", "strike", "link"), inlines),
    }
    seen = set()
    for text, tree in trees(4_000, 1):
        assert {part["type"] for part in tree} <= blocks - {"item"}, text
        for level, part in parts_of(tree):
            seen.add(part["type"])
            BodyPartShape.model_validate(part, strict=True, extra="forbid")
            assert level <= MAX_LEVELS
            children = {child["type"] for child in part.get("children", [])}
            assert children <= holds.get(part["type"], set()), text
            if part["type"] == "link":
                assert re.match(r"(https?://|mailto:)\S+$", part["url"], re.IGNORECASE), text
    assert seen == blocks | inlines


def test_of_any_text_no_word_is_lost_in_its_body() -> None:
    for text, tree in trees(4_000, 2):
        values = [part[key] for _, part in parts_of(tree) for key in part.keys() - {"type", "children"}]
        said = unquote("\n".join(map(str, values)))
        for word in ("word", "ünï", "汉", "👍🏽", "Ann"):
            assert said.count(word) >= text.count(word), text
