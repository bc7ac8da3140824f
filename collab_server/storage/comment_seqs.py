"""The `seq` of comments in what was written before they had one: events, and answers kept for whoever asks again.

A version that did not know it wrote the comment without. Whoever reads such a text puts it in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from collab_server.domain.comments import comment_text
from collab_server.domain.jsontext import NOTHING, NULL, JsonText, json_object
from collab_server.storage.database import Reads

_READ = """
    SELECT id, seq
      FROM collab.comments
     WHERE id = ANY($1::uuid[])
"""

_WITH_COMMENT = json_object(comment=NOTHING)[:-2]
_ID = re.compile(
    re.escape(json_object(comment=json_object(id=NULL)).partition("null")[0]) + '"([0-9a-f-]{36})"'
)
_SEQ = re.escape(comment_text("", 0)).replace("0", "[0-9]+")
# How an event's data and an answer end whose comment has it, as its last field; and all of them.
_HAS_IT = re.compile(rf"{_SEQ}(?:\}}|{_SEQ})$")
_END = re.compile(rf"\}}(?:\}}|{_SEQ})$")
_END_CHARACTERS = 60


async def filled_in(db: Reads, texts: Sequence[JsonText]) -> list[JsonText]:
    """These events' data, or answers, with the `seq` in every comment that an event or an answer brings."""
    lacking = {
        number: UUID(found[1])
        for number, text in enumerate(texts)
        if text.startswith(_WITH_COMMENT) and not _HAS_IT.search(text, _near_end(text))
        if (found := _ID.match(text))
    }
    if not lacking:
        return list(texts)
    rows = await db.fetch(_READ, [*set(lacking.values())])
    seqs = {row["id"]: row["seq"] for row in rows}
    return [
        _with_seq(text, seqs[lacking[number]]) if lacking.get(number) in seqs else text
        for number, text in enumerate(texts)
    ]


def _with_seq(text: JsonText, seq: int) -> JsonText:
    end = _END.search(text, _near_end(text))
    assert end is not None  # both are written by us
    return JsonText(comment_text(text[: end.start()], seq) + end[0][1:])


def _near_end(text: str) -> int:
    return max(0, len(text) - _END_CHARACTERS)
