"""What a refusal says is a sentence that names the field, wherever in the product it is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from collab_server import errors
from collab_server.errors import CODES, ClientError, Invalid, NotFound, Paused, sentence
from tests.harness.house import nodes_of

PACKAGE = Path(errors.__file__).parent
NAMES = {error.__name__ for error in CODES.values()}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Invalid("is required", field="text"), "text is required."),
        (
            Invalid("expected a text that is not blank", field="text"),
            "text: expected a text that is not blank.",
        ),
        (
            Invalid("U+0000 and lone surrogates are not allowed", field="a[1].b"),
            "a[1].b: U+0000 and lone surrogates are not allowed.",
        ),
        (Invalid("expected one object as payload"), "Expected one object as payload."),
        (Invalid("is not known here"), "What was sent is not known here."),
        (NotFound("comment"), "There is no such comment, or you may not see it."),
        (
            errors.Forbidden("comment.edit is for the author"),
            "comment.edit is for the author.",
        ),
        (Paused(), "The database is away."),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_a_refusal_is_a_sentence(error: ClientError, message: str) -> None:
    assert error.as_wire()["message"] == message


def raised() -> Iterator[tuple[str, str, bool]]:
    """Where in the product an error is made, its words (what is put in stands as 7), and whether it has a field."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for _, node in nodes_of(path.read_text()):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES:
                match node.args:
                    case [ast.Constant(value=str(words)), *_]:
                        pass
                    case [ast.JoinedStr(values=parts), *_]:
                        words = "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "7" for part in parts
                        )
                    case _:
                        continue
                if node.func.id != "NotFound":  # that is a noun
                    has_field = any(keyword.arg == "field" for keyword in node.keywords)
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", words, has_field


def test_all_words_that_are_raised_make_one() -> None:
    found = list(raised())
    assert len(found) > 80
    for where, words, has_field in found:
        said = sentence(words, "field" if has_field else None)
        assert words == words.strip(), where
        assert not words.endswith("."), where
        assert "field" in said or not has_field, where
        assert has_field or not said.startswith("What was sent"), f"{where}: of what does it say this?"
