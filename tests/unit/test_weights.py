"""What commands cost of the limit on how often somebody may ask."""

from __future__ import annotations

from typing import Any

import pytest

from collab_server.config import Limits
from collab_server.contract.catalogue import COMMANDS
from collab_server.services.commands.payloads import Payloads
from collab_server.services.commands.weights import MOST, weight_of, weight_of_answer, weight_of_request

PAYLOADS = Payloads(((name, row.payload) for name, row in COMMANDS.items()), Limits())
ANN = {"kind": "user", "id": "A" * 32}
SALES = {"kind": "group", "id": "B" * 32}
CONTENT = {"projectId": "A" * 32, "objectId": "B" * 32}


@pytest.mark.parametrize(
    ("command", "payload", "weight"),
    [
        ("me", {}, 0),
        ("comment.add", {"topic": "x", "text": "Hello"}, 0),
        ("comment.add", {"topic": "x", "text": "x" * 10_000}, 2),
        ("comment.add", {"topic": "x", "text": "é" * 10_000}, 10),
        ("comment.add", {"topic": "x", "text": "x" * 10_000, "format": "markdown"}, 35),
        ("comment.add", {"topic": "x", "text": "x" * 10_000, "format": "plain"}, 2),
        ("comment.edit", {"commentId": "x", "text": "@[S](group:B) and @[T](group:C)"}, 20),
        ("comments.search", {"q": "x"}, 20),
        ("recipients.find", {"search": "x"}, 3),
        ("session.refresh", {"identityToken": "x"}, 9),
        ("topic.summaries", {"topics": ["x"] * 4}, 0),
        ("topic.summaries", {"topics": ["x"] * 500}, 100),
        ("topic.comments", {"topic": "x"}, 0),
        ("topic.comments", {"topic": "x", "limit": 200}, 3),
        ("notification.list", {"limit": 1}, 0),
        ("notification.list", {"limit": -(10**50)}, 0),
        ("discussion.list", {"limit": 10**50}, MOST),
        ("share", {"content": CONTENT, "recipients": [ANN] * 3}, 0),
        ("share", {"content": CONTENT, "recipients": [ANN] * 40 + [SALES] * 2}, 22),
        ("discussion.invite", {"discussionId": "x", "members": [SALES] * 200}, MOST),
    ],
)
def test_dear_commands_cost_more(command: str, payload: dict[str, Any], weight: int) -> None:
    assert weight_of(PAYLOADS.read(command, payload)) == weight


def test_many_bytes_cost_more_whichever_way_they_go() -> None:
    assert (weight_of_request(500), weight_of_answer(500)) == (0, 0)
    assert weight_of_request(1_000_000) > weight_of_answer(1_000_000) > 10
