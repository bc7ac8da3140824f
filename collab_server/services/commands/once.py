"""Once: a command repeated under its `requestId` takes effect once and gets its first answer again.

A request is looked up at the beginning of the transaction that would carry it out, and stored at its end: the last
lock that a transaction takes, so that nobody who holds one waits for anything else. Two nodes that carry the same
command out at the same time meet there: the second one is rolled back, looks again, and finds the first one's answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar

from collab_server.domain.jsontext import JsonText, json_list, json_object, json_string
from collab_server.domain.wire import ADDED, APART, CONDITION
from collab_server.errors import ClientError, Conflict, Invalid, Paused
from collab_server.storage import requests
from collab_server.storage.database import Database, Reads, Transaction
from collab_server.storage.failures import Locked

REQUEST_ID_CHARACTERS = 128
TRIES = 3

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Answer = JsonText | ClientError
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Under which `requestId` a command of somebody came; `fingerprint` tells it from other commands."""

    user_id: str
    request_id: str
    fingerprint: bytes

    @property
    def key(self) -> tuple[str, str]:
        return self.user_id, self.request_id


def request_of(user_id: str, name: str, command: Any) -> Request | None:
    """The request under which a parsed command came, None if it carries no `requestId`.

    Raises `Invalid` for an id that is empty or too long.
    """
    request_id: str | None = command.request_id
    if request_id is None:
        return None
    if not 0 < len(request_id) <= REQUEST_ID_CHARACTERS:
        raise Invalid(f"expected 1 to {REQUEST_ID_CHARACTERS} characters", field="requestId")
    return Request(user_id, request_id, _fingerprint(name, command))


def _fingerprint(name: str, command: Any) -> bytes:
    """The same name and values, through whichever door and version, give the same bytes."""
    try:
        values = {field: _spelled(getattr(command, field)) for field in _values_of(command.__class__)}
        for field in _added_to(command.__class__):
            if (given := getattr(command, field)) is not None:
                values[field] = _spelled(given)
        text = json_list((json_string(name), json_object(**values)))
        return hashlib.sha256(text.encode()).digest()
    except (ValueError, TypeError, RecursionError):
        raise Invalid("expected JSON values") from None


def _spelled(value: Any) -> JsonText | int | None:
    """A value as JSON; texts, numbers and what is not there, as most are, in a fifth of the time of all others."""
    if value.__class__ is str:
        return json_string(value)
    if value is None or value.__class__ in (bool, int):
        return value
    # Not `dumps`: infinities are refused later, where their field is known.
    return JsonText(_encode(_plain(value)))


def _plain(value: Any) -> Any:
    """A command, and what is in it, as JSON values. `dataclasses.asdict` would copy every leaf of it."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in _field_names(value.__class__)}
    return value


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _values_of(kind: type) -> tuple[str, ...]:
    """What tells a command of this kind from others: not its `requestId`, nor what only some nodes are sent."""
    apart = {"request_id", *_added_to(kind), *_marked(kind, APART), *_marked(kind, CONDITION)}
    return tuple(name for name in _field_names(kind) if name not in apart)


@cache
def _added_to(kind: type) -> tuple[str, ...]:
    """What does so besides where it is given: see `ADDED`."""
    return _marked(kind, ADDED)


def _marked(kind: type, metadata: Mapping[str, bool]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.metadata == metadata)


async def earlier_answer(database: Reads, request: Request) -> Answer | None:
    """What the request was answered when it took effect; None if it has not."""
    found = await requests.find(database, request.user_id, request.request_id)
    return None if found is None else same_answer(found, request)


async def commit_once(
    database: Database,
    asked: Sequence[Request | None],
    carry_out: Callable[[Transaction, Sequence[int]], Awaitable[list[Answer]]],
    *,
    since: float | None = None,
    waits: bool = True,
) -> tuple[list[Answer], Sequence[Any]]:
    """Carry out several commands in one transaction, each of them once.

    `carry_out` gets the positions of those that have not taken effect before and answers them in that order; it may
    be called again, for a new transaction. `since` and `waits`: see `Database.run`. Returns all answers and what the
    committed transaction recorded.
    Raises what `carry_out` raises, which stores nothing, and what `Database.run` does.
    """

    async def work(tx: Transaction) -> tuple[list[Answer], Sequence[Any]]:
        return await _answer_each(tx, asked, carry_out), tx.recorded

    if since is None:
        since = asyncio.get_running_loop().time()
    return await until_not_taken(lambda: database.run(work, since=since, waits=waits))


async def until_not_taken(commit: Callable[[], Awaitable[T]]) -> T:
    """Commit, again where another node carried out one of the requests meanwhile: the next look finds its answer.

    Raises `Paused` when that goes on.
    """
    for _ in range(TRIES):
        with contextlib.suppress(requests.Taken):
            return await commit()
    raise Paused("the same command is being carried out elsewhere")


async def _answer_each(
    tx: Transaction,
    asked: Sequence[Request | None],
    carry_out: Callable[[Transaction, Sequence[int]], Awaitable[list[Answer]]],
) -> list[Answer]:
    keys = [request.key for request in asked if request is not None]
    earlier = await requests.find_many(tx, keys) if keys else {}
    new = [place for place, request in enumerate(asked) if request is None or request.key not in earlier]
    try:
        answers = dict(zip(new, await carry_out(tx, new), strict=True)) if new else {}
    except Locked:
        raise  # nothing is refused: it begins again
    except ClientError:
        await _look_again(tx, asked, new)
        raise
    await _look_again(tx, asked, [place for place in new if isinstance(answers[place], ClientError)])
    done: list[requests.Done] = []
    for place, request in enumerate(asked):
        if request is None:
            continue
        if place not in answers:
            answers[place] = same_answer(earlier[request.key], request)
        elif isinstance(answer := answers[place], str):  # refusals are not remembered
            done.append(requests.Done(request.user_id, request.request_id, request.fingerprint, answer))
    if done:
        await requests.store_many(tx, done)
    return [answers[place] for place in range(len(asked))]


async def _look_again(tx: Transaction, asked: Sequence[Request | None], refused: Sequence[int]) -> None:
    """A refusal may be due to the very same command, which took effect elsewhere while this one waited for a lock.

    Raises `Taken` then: the next transaction finds the answer.
    """
    keys = [request.key for place in refused if (request := asked[place]) is not None]
    if keys and await requests.find_many(tx, keys):
        raise requests.Taken


def same_answer(earlier: requests.Answered, request: Request) -> Answer:
    """What a repeated request is answered: as it was, or `Conflict` if it is for another command."""
    if earlier.fingerprint != request.fingerprint:
        return Conflict("this requestId was used for another command", field="requestId")
    return earlier.answer
