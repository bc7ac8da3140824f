"""The one table of commands, which both doors dispatch on: each row of the contract with what carries it out.

A row without a function, and a function without a row, is said when the table is made, which is when a node starts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.rows import CommandType, Incomplete
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import Paused, UnknownCommand
from collab_server.services import (
    commenting,
    comments,
    discussions,
    ends,
    following,
    inbox,
    people,
    reading,
    search,
    sharing,
    threads,
    topics,
)
from collab_server.services.backends import Backends, in_time
from collab_server.services.commands.executor import Executor, Write
from collab_server.services.commands.payloads import Payloads
from collab_server.storage.database import Database, Patience

C = TypeVar("C")
H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Read(Generic[C]):
    """A command that changes nothing; `answer` returns the JSON text of its data."""

    name: str
    answer: Callable[[Backends, Identity, C], Coroutine[Any, Any, JsonText]]


@dataclass(frozen=True, slots=True)
class OfConnection:
    """A command about the client's own connection, which only the Socket.IO door can carry out."""

    name: str


Entry = Write[Any, Any] | Read[Any] | OfConnection

_FUNCTIONS: tuple[Write[Any, Any] | Read[Any], ...] = (
    Write("comment.add", comments.ask_add, comments.add, together=comments.commit_together),
    Write("comment.edit", comments.ask_edit, comments.edit),
    Write("comment.delete", comments.ask_delete, comments.delete),
    Write("comment.react", threads.ask_react, threads.react),
    Write("comment.unreact", threads.ask_unreact, threads.unreact),
    Write("thread.resolve", threads.ask_resolve, threads.resolve),
    Write("thread.reopen", threads.ask_reopen, threads.reopen),
    Write("thread.follow", following.ask_follow, following.follow),
    Write("thread.mute", following.ask_mute, following.mute),
    Write("topic.read", reading.ask_read_topic, reading.read_topic),
    Write("topic.unread", reading.ask_unread_topic, reading.unread_topic),
    Write("topic.switch", topics.ask_switch, commenting.switch),
    Write("topic.mute", reading.ask_mute_topic, reading.mute_topic),
    Write("discussion.create", discussions.ask_create, discussions.create),
    Write("discussion.rename", discussions.ask_rename, discussions.rename),
    Write("discussion.invite", discussions.ask_invite, discussions.invite),
    Write("discussion.remove", discussions.ask_remove, discussions.remove),
    Write("discussion.transfer", discussions.ask_transfer, discussions.transfer),
    Write("discussion.leave", discussions.ask_leave, discussions.leave),
    Write("discussion.delete", discussions.ask_delete, discussions.delete),
    Write("share", sharing.ask_share, sharing.share),
    Write("notification.read", inbox.ask_read_notifications, inbox.read_notifications),
    # Another sign-in of the same person may be ended under the same requestId.
    Write("session.end", ends.ask_end, ends.end, is_remembered=False),
    Read("topic.get", topics.get),
    Read("topic.events", topics.list_events),
    Read("topic.comments", comments.list_comments),
    Read("comment.get", comments.get),
    Read("comment.revisions", comments.list_revisions),
    Read("thread.marks", following.list_marks),
    Read("topic.summaries", topics.list_summaries),
    Read("topic.anchors", topics.list_anchors),
    Read("discussion.get", discussions.get),
    Read("discussion.list", discussions.list_mine),
    Read("notification.list", inbox.list_notifications),
    Read("notification.count", inbox.count_notifications),
    Read("recipients.find", people.find_recipients),
    Read("comments.search", search.search_comments),
    Read("me", people.about_me),
)


def bound(
    commands: Mapping[str, CommandType], functions: Iterable[Write[Any, Any] | Read[Any]]
) -> dict[str, Entry]:
    """What carries out each of the commands, by its name.

    Raises `Incomplete`, which names everything that is missing on either side.
    """
    table: dict[str, Entry] = {
        row.name: OfConnection(row.name) for row in commands.values() if row.call is None
    }
    wrong = []
    for entry in functions:
        row = commands.get(entry.name)
        if row is None:
            wrong.append(f"{entry.name} has no row in contract/commands")
        elif entry.name in table:
            wrong.append(
                f"{entry.name} is carried out twice, or is about a connection, as its row has no call"
            )
        elif isinstance(entry, Write) != row.is_write:
            has = "a" if row.is_write else "no"
            wrong.append(
                f"{entry.name} is a {type(entry).__name__}, but {row.payload.__name__} has {has} request_id"
            )
        table[entry.name] = entry
    wrong += [f"{name} has no function" for name in commands if name not in table]
    if wrong:
        raise Incomplete("services/commands/table.py: " + "; ".join(wrong))
    return {name: table[name] for name in commands}


def bound_to_connection(handlers: Mapping[str, H]) -> Mapping[str, H]:
    """What carries out the commands about a connection, by their names: the handlers, if there is one of each.

    Raises `Incomplete`.
    """
    names = {name for name, entry in TABLE.items() if isinstance(entry, OfConnection)}
    if names != handlers.keys():
        missing = ", ".join(sorted(names - handlers.keys())) or "none"
        beyond = ", ".join(sorted(handlers.keys() - names)) or "none"
        raise Incomplete(
            f"the Socket.IO door: commands about a connection without a handler: {missing};"
            f" handlers of no such command in contract/commands: {beyond}"
        )
    return handlers


TABLE: Mapping[str, Entry] = bound(COMMANDS, _FUNCTIONS)


class Commands:
    """The table with what stands behind it: read a payload, answer a command."""

    def __init__(self, database: Database, backends: Backends, executor: Executor) -> None:
        self._database = database
        self._backends = backends
        self.limits = backends.limits
        self._executor = executor
        self._payloads = Payloads(((row.name, row.payload) for row in COMMANDS.values()), backends.limits)
        self.check_text = self._payloads.check_text

    def read(self, entry: Entry, payload: Any) -> Any:
        """The command, a frozen dataclass of the domain, that a payload spells.

        Raises `Invalid` or `TooLarge`, naming the field and saying what was expected.
        """
        return self._payloads.read(entry.name, payload)

    async def answer(self, who: Identity, entry: Write[Any, Any] | Read[Any], command: Any) -> JsonText:
        """Carry out a parsed command of `entry`; returns the JSON text of its data.

        Raises the `ClientError`s of its service, and `Paused` before the node has finished starting: until then nobody
        knows what was ended.
        """
        if not self._database.is_open:
            raise Paused("the server has not finished starting")
        if isinstance(entry, Write):
            return await self._executor.run(entry, who, command)
        asking = entry.answer(self._backends.through(Patience(self._database)), who, command)
        return await in_time(self._backends.authority_name, asking)


def entry_named(name: Any) -> Entry:
    """The table's entry.

    Raises `UnknownCommand`.
    """
    entry = TABLE.get(name) if isinstance(name, str) else None
    if entry is None:
        raise UnknownCommand("there is no such command")
    return entry
