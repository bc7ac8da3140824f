"""The REST door does what its OpenAPI document says, whatever it is asked: schemathesis, in the name of two people.

For every call it makes up requests that follow the document and requests that do not, about things that are there and
things that are not, and holds each answer against the document: status, content type, schema, refusal of what is wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from collab_server.contract.catalogue import ROUTES
from collab_server.domain.ids import uuid7
from tests.harness.cluster import Cluster
from tests.integration.doors import Door
from tests.integration.scene import BOB, CAROL, Scene, users

EXAMPLES = 25
FRAMING = {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that say where a request ends, and whose it is: what is wrong with them is refused before there is a call."""


@dataclass(slots=True)
class Api:
    """The calls by their operationId, what there is to ask about, and who asks; `leaving` are tokens to end."""

    operations: dict[str, APIOperation[Any, Any, Any, Any]]
    scene: Scene
    tokens: tuple[str, str]
    leaving: tuple[str, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(shared_cluster: Cluster) -> AsyncIterator[Api]:
    ann, bob, eve = [await Door.open(shared_cluster, "rest", login) for login in ("ann", "bob", "eve")]
    scene = await Scene.make(shared_cluster, ann, bob, eve)
    assert ann.rest is not None
    _, document, _ = await ann.rest.request("GET", "/../openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=shared_cluster[1].url)
    schema.config.generation.update(allow_x00=False)  # which no schema says of every text in it
    # Too much of something is refused with a status of its own.
    schema.config.checks.negative_data_rejection.expected_statuses.append("413")
    operations = {
        found.definition.raw["operationId"]: found
        for outcome in schema.get_all_operations()
        if isinstance(outcome, Ok) and (found := outcome.ok()).path.startswith("/api/")
    }
    tokens = [(await shared_cluster.person(login)).auth_token for login in ("ann", "dan")]
    leaver = await shared_cluster.person("ann")
    leaving = [await leaver.identity_token() for _ in range(10)]
    yield Api(operations, scene, (tokens[0], tokens[1]), tuple(leaving))
    await shared_cluster.close_clients()


def test_every_call_is_in_the_document(api: Api) -> None:
    assert set(api.operations) == {route.command for route in ROUTES}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
@pytest.mark.parametrize("command", sorted({route.command for route in ROUTES}))
def test_a_call_answers_as_the_document_says(api: Api, command: str, mode: GenerationMode) -> None:
    operation = api.operations[command]

    is_leaving = command == "session.end"  # who has left is still answered as before
    kind = "X-MSTR-IdentityToken" if is_leaving else "X-MSTR-AuthToken"
    tokens = api.leaving if is_leaving else api.tokens

    @given(case=operation.as_strategy(mode), who=st.sampled_from(tokens), there=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any], who: str, there: bool) -> None:
        if mode is GenerationMode.POSITIVE:
            _name_what_can_be_named(case)
            if there:
                _ask_about_what_is_there(case, api.scene)
        _leave_framing_to_the_client(case)
        _wait_for_nothing(case)
        case.call_and_validate(headers={kind: who})

    ask()


def _leave_framing_to_the_client(case: schemathesis.Case[Any]) -> None:
    for name in [name for name in case.headers or () if name.lower() in FRAMING]:
        del case.headers[name]


def _wait_for_nothing(case: schemathesis.Case[Any]) -> None:
    """There is nothing to come: whoever may wait would wait to the end, whatever else is wrong."""
    if isinstance(case.query, dict) and case.query.get("wait") in range(1, 26):
        del case.query["wait"]


def _ask_about_what_is_there(case: schemathesis.Case[Any], scene: Scene) -> None:
    """Name things that exist, since a schema cannot say which do."""
    things = {
        "topic": scene.content,
        "commentId": scene.said,
        "discussionId": scene.discussion_id,
        "userId": BOB,
        "emoji": "👍",
    }
    for name in case.path_parameters:
        case.path_parameters[name] = things[name]


def _name_what_can_be_named(case: schemathesis.Case[Any]) -> None:
    """Put people, times, ids, cursors and words that may be into a request that is right in form."""
    case.query.pop("cursor", None)
    if "q" in case.query:
        case.query["q"] = "a" + case.query["q"][1:]  # a schema cannot say that there has to be a letter
    body: Any = case.body
    if not isinstance(body, dict):
        return
    if "commentId" in body:
        body["commentId"] = str(uuid7())  # of one to be added: a schema cannot say of what time an id is
    for name in ("members", "recipients"):
        if name in body:
            body[name] = users(BOB, CAROL)
    if "until" in body:
        body["until"] = "2101-01-01T00:00:00Z" if body["muted"] else None
