"""Bodies: what a text written as markdown is shown as, a small tree that is made once, where the text is stored.

The text stays the truth: it is what is searched, edited and kept as a revision, and what clients show that know no
body. Of markdown (CommonMark, read by markdown-it) there are bold, italic, strike, code, code blocks, links, lists and
quotes; everything else stands there as it was written, HTML, images, headings and tables among it. A line ends where
its writer ended it. Mentions are read by their own grammar first, but in code, where they are shown as written.

A text that has nothing of it, or too much (`MAX_PARTS`, `MAX_LEVELS`), has no body: it is shown as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from collab_server.domain.jsontext import JsonText, dumps
from collab_server.domain.letters import is_blank
from collab_server.domain.mentions import MENTION
from collab_server.errors import TooLarge

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

MAX_CHARACTERS: Final = 20_000
"""Code points of a text that is read as markdown: some 200 ms at worst."""
MAX_PARTS: Final = 2_000
MAX_LEVELS: Final = 8
URL_CHARACTERS: Final = 2_048
_LANGUAGE_CHARACTERS: Final = 64

Part = dict[str, Any]
"""A part as on the wire: `type`, and `text`, `children`, `url`, … as its type has them (contract/shapes.py)."""

_RULES = (
    *("fence", "list", "blockquote"),
    *("newline", "escape", "backticks", "strikethrough", "emphasis", "link", "autolink", "text_join"),
)
_MARKED = re.compile(r"[*_~`\[<\\]|^ {0,3}(?:[-+>]|\d{1,9}[.)])", re.MULTILINE)
"""What nothing is formatted without. Most texts have none of it."""
_SCHEMES = re.compile(r"(?:https?://|mailto:)[^\s]", re.IGNORECASE)

_CONTAINERS = {
    "paragraph": "paragraph",
    "blockquote": "quote",
    "bullet_list": "list",
    "ordered_list": "list",
    "list_item": "item",
    "strong": "bold",
    "em": "italic",
    "s": "strike",
    "link": "link",
}


class _TooMuch(Exception):
    """More parts or levels than a body has."""


def body_of(text: str) -> JsonText | None:
    """The body of a text, a list of block parts as JSON text; None where it is to be shown as it was written.

    It takes time in proportion to the text, up to 10 µs for a character. Raises `TooLarge` for a text of more than
    `MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLarge(
            f"expected at most {MAX_CHARACTERS} characters of markdown, got {len(text)}", field="text"
        )
    if not _MARKED.search(text):
        return None
    body: list[Part] = []
    try:
        _grow(body, _reader().parse(text))
    except _TooMuch:
        return None
    # An escape is a reason for a body too: what is shown is not what was written.
    if not (_is_formatted(body) or "\\" in text) or is_blank(plain_text(body)):
        return None
    return dumps(body)


def plain_text(body: Sequence[Part]) -> str:
    """What a body says without any form: its blocks as lines, mentions as they are written in texts."""
    return "".join(_plain(body)).strip("\n")


def _plain(parts: Sequence[Part], number: int | None = None) -> Iterator[str]:
    for place, part in enumerate(parts):
        match part["type"]:
            case "list":
                yield from _plain(part["children"], part.get("start", 0))
            case "item":
                yield f"{number + place}. " if number else "- "
                yield from _plain(part["children"])
            case "break":
                yield "\n"
            case "mention":
                yield f"@[{part['name']}]({part['kind']}:{part['id']})"
            case "code" | "text":
                yield part["text"]
            case "codeBlock":
                yield part["text"] + "\n"
            case type:
                yield from _plain(part["children"])
                if type == "paragraph":
                    yield "\n"


def _is_formatted(parts: Sequence[Part]) -> bool:
    return any(
        part["type"] not in ("paragraph", "text", "break", "mention")
        or _is_formatted(part.get("children", ()))
        for part in parts
    )


@cache
def _reader() -> MarkdownIt:
    """Made when the first markdown comes: a server that gets none never loads the library."""
    from markdown_it import MarkdownIt

    # Deeper than this the library drops what is written; so deep a tree is given up before. Within lines it tries so
    # many levels for every bracket: what a text of brackets takes is in proportion to it.
    reader = MarkdownIt("zero", {"maxNesting": MAX_LEVELS + 2}).enable(list(_RULES))
    reader.inline.ruler.before("link", "mention", _read_mention)
    reader.validateLink = _is_link  # type: ignore[method-assign]
    # The rules are put together with the first text, which is no time for two threads to meet.
    reader.parse("*first*")
    return reader


def _is_link(url: str) -> bool:
    return len(url) <= URL_CHARACTERS and _SCHEMES.match(url) is not None


def _read_mention(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("@[", state.pos):
        return False
    written = MENTION.match(state.src, state.pos, state.posMax)
    if written is None:
        return False
    if not silent:
        state.push("mention", "", 0).meta = {"kind": written[2], "id": written[3], "name": written[1]}
    state.pos = written.end()
    return True


def _grow(body: list[Part], tokens: Sequence[Token]) -> None:
    """Hang the tree of these tokens, of blocks, under `body`. Raises `_TooMuch`."""
    open_: list[list[Part]] = [body]
    count = 0
    for token in _flat(tokens):
        if token.nesting < 0:
            open_.pop()
            continue
        if token.type == "link_open" and not token.attrs["href"]:  # [words](): only the words are there
            open_.append(open_[-1])
            continue
        part = _part(token)
        if not part:
            continue
        count += 1
        if count > MAX_PARTS or len(open_) > MAX_LEVELS:
            raise _TooMuch
        here = open_[-1]
        if part["type"] == "text" and here and here[-1]["type"] == "text":
            here[-1]["text"] += part["text"]
            continue
        here.append(part)
        if token.nesting > 0:
            open_.append(part["children"])


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "inline":
            yield from token.children or ()
        else:
            yield token


def _part(token: Token) -> Part | None:
    """The part that a token opens or is, None for an empty text."""
    if token.nesting > 0:
        type = _CONTAINERS[token.type.removesuffix("_open")]
        part: Part = {"type": type, "children": []}
        if token.type == "ordered_list_open":
            part["start"] = int(token.attrs.get("start", 1))
        elif type == "link":
            part["url"] = str(token.attrs["href"])
            if title := token.attrs.get("title"):
                part["title"] = str(title)
        return part
    match token.type:
        case "softbreak" | "hardbreak":
            return {"type": "break"}
        case "mention":
            return {"type": "mention", **token.meta}
        case "code_inline":
            return {"type": "code", "text": token.content}
        case "fence":
            return _code_block(token.info.strip(), token.content.removesuffix("\n"))
        case _:
            return {"type": "text", "text": token.content} if token.content else None


def _code_block(info: str, code: str) -> Part:
    """Behind the fence may stand the language; whoever has begun with the code there wants to see it."""
    if not info:
        return {"type": "codeBlock", "text": code}
    if len(info) > _LANGUAGE_CHARACTERS or len(info.split()) > 1:
        return {"type": "codeBlock", "text": f"{info}\n{code}"}
    return {"type": "codeBlock", "text": code, "language": info}
