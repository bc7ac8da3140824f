"""The one table of commands, which both doors dispatch on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from collab_server.domain import comments as said
from collab_server.domain import discussions as private
from collab_server.domain import inbox as told
from collab_server.domain import search as sought
from collab_server.domain import sign_ins
from collab_server.domain import subscriptions as about
from collab_server.domain.people import Identity
from collab_server.domain.presence import SetTyping
from collab_server.errors import UnknownCommand
from collab_server.services import comments, discussions, ends, inbox, search, threads, topics
from collab_server.services.backends import Backends, asking_in_time
from collab_server.services.commands.executor import Executor, Write
from collab_server.services.commands.payloads import Payloads
from collab_server.storage.database import Database, Patience

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Read(Generic[C]):
    """A command that changes nothing; `answer` returns the JSON text of its data."""

    name: str
    command: type[C]
    answer: Callable[[Backends, Identity, C], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class OfConnection(Generic[C]):
    """A command about the client's own connection, which only the Socket.IO door can carry out."""

    name: str
    command: type[C]


Entry = Write[Any, Any] | Read[Any] | OfConnection[Any]

_ENTRIES: tuple[Entry, ...] = (
    OfConnection("topic.subscribe", about.Subscribe),
    OfConnection("topic.unsubscribe", about.Unsubscribe),
    OfConnection("session.refresh", about.RefreshSession),
    OfConnection("typing", SetTyping),
    Write("comment.add", said.AddComment, comments.ask_add, comments.add, together=comments.commit_together),
    Write("comment.edit", said.EditComment, comments.ask_edit, comments.edit),
    Write("comment.delete", said.DeleteComment, comments.ask_delete, comments.delete),
    Write("comment.react", said.React, threads.ask_react, threads.react),
    Write("comment.unreact", said.Unreact, threads.ask_unreact, threads.unreact),
    Write("thread.resolve", said.ResolveThread, threads.ask_resolve, threads.resolve),
    Write("thread.reopen", said.ReopenThread, threads.ask_reopen, threads.reopen),
    Write("topic.read", told.ReadTopic, inbox.ask_read_topic, inbox.read_topic),
    Write("topic.mute", told.MuteTopic, inbox.ask_mute_topic, inbox.mute_topic),
    Write("discussion.create", private.CreateDiscussion, discussions.ask_create, discussions.create),
    Write("discussion.rename", private.RenameDiscussion, discussions.ask_rename, discussions.rename),
    Write("discussion.invite", private.InviteMembers, discussions.ask_invite, discussions.invite),
    Write("discussion.remove", private.RemoveMember, discussions.ask_remove, discussions.remove),
    Write("discussion.transfer", private.TransferDiscussion, discussions.ask_transfer, discussions.transfer),
    Write("discussion.leave", private.LeaveDiscussion, discussions.ask_leave, discussions.leave),
    Write("discussion.delete", private.DeleteDiscussion, discussions.ask_delete, discussions.delete),
    Write("share", told.Share, inbox.ask_share, inbox.share),
    Write(
        "notification.read", told.ReadNotifications, inbox.ask_read_notifications, inbox.read_notifications
    ),
    # Another sign-in of the same person may be ended under the same requestId.
    Write("session.end", sign_ins.EndSession, ends.ask_end, ends.end, is_remembered=False),
    Read("topic.get", about.GetTopic, topics.get),
    Read("topic.events", about.ListEvents, topics.list_events),
    Read("topic.comments", said.ListComments, comments.list_comments),
    Read("comment.get", said.GetComment, comments.get),
    Read("comment.revisions", said.ListRevisions, comments.list_revisions),
    Read("topic.summaries", told.ListSummaries, topics.list_summaries),
    Read("topic.anchors", told.ListAnchors, topics.list_anchors),
    Read("discussion.get", private.GetDiscussion, discussions.get),
    Read("discussion.list", private.ListDiscussions, discussions.list_mine),
    Read("notification.list", told.ListNotifications, inbox.list_notifications),
    Read("notification.count", told.CountNotifications, inbox.count_notifications),
    Read("recipients.find", sought.FindRecipients, search.find_recipients),
    Read("comments.search", sought.SearchComments, search.search_comments),
    Read("me", about.AboutMe, topics.about_me),
)

TABLE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


class Commands:
    """The table with what stands behind it: read a payload, answer a command."""

    def __init__(self, database: Database, backends: Backends, executor: Executor) -> None:
        self._database = database
        self._backends = backends
        self._executor = executor
        self._payloads = Payloads(((entry.name, entry.command) for entry in _ENTRIES), backends.limits)
        self.check_text = self._payloads.check_text

    def read(self, entry: Entry, payload: Any) -> Any:
        """The command, a frozen dataclass of the domain, that a payload spells.

        Raises `Invalid` or `TooLarge`, naming the field and saying what was expected.
        """
        return self._payloads.read(entry.name, payload)

    async def answer(self, who: Identity, entry: Write[Any, Any] | Read[Any], command: Any) -> str:
        """Carry out a parsed command of `entry`; returns the JSON text of its data.

        Raises the `ClientError`s of its service.
        """
        if isinstance(entry, Write):
            return await self._executor.run(entry, who, command)
        async with asking_in_time():
            return await entry.answer(
                replace(self._backends, database=Patience(self._database)), who, command
            )


def entry_named(name: Any) -> Entry:
    """The table's entry.

    Raises `UnknownCommand`.
    """
    entry = TABLE.get(name) if isinstance(name, str) else None
    if entry is None:
        raise UnknownCommand("there is no such command")
    return entry
