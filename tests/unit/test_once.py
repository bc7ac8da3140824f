"""What tells a command from others that came under the same `requestId`."""

from __future__ import annotations

from typing import Any

import pytest

from collab_server.domain.comments import AddComment, Anchor
from collab_server.errors import Invalid
from collab_server.services.commands.once import request_of

ODD = AddComment(
    "content:A:B",
    'Q"\\\n\u2028é😀 {}',
    None,
    Anchor(page_key="p", visualization_key='v"'),
    {"a": [1, 2.5, None, True, {"é": -0.0}], "n": 1e400},
    "r",
)


@pytest.mark.parametrize(
    ("command", "fingerprint"),
    [
        (ODD, "029f4617b4c45dd3e8adedd0d804d38fd6b115f8cdd20c35d845640f14813e7e"),
        (
            AddComment("t", "x", request_id="q"),
            "84a9f78964cf3ce7dd9901c6bab9ef11ef8aad56fc854c20ba02b647389c588d",
        ),
    ],
)
def test_it_is_told_as_by_the_versions_before(command: AddComment, fingerprint: str) -> None:
    """Who repeats a command on a node of another version gets the first answer."""
    request = request_of("A", "comment.add", command)
    assert request is not None
    assert request.fingerprint.hex() == fingerprint


def test_a_field_that_a_command_got_later_tells_it_from_others_where_it_is_given() -> None:
    ids = [None, "019ab1c2-d3e4-7f50-8a1b-2c3d4e5f6071", "019ab1c2-d3e4-7f50-8a1b-2c3d4e5f6072"]
    requests = [
        request_of("A", "comment.add", AddComment("t", "x", request_id="q", comment_id=id)) for id in ids
    ]
    assert len({request.fingerprint for request in requests if request is not None}) == 3


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"a": {1, 2}}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(Invalid, match="expected JSON values"):
        request_of("A", "comment.add", AddComment("t", "x", view_state=value, request_id="q"))
