"""What one person is told: their notifications, and the badge."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from typing_extensions import override

from collab_client.connection import Connection
from collab_client.following import Following
from collab_client.outbox import Outbox
from collab_client.refused import Refused
from collab_client.store import Store
from collab_client.wire import Notification, TopicSubscribeAnswer

_PAGE: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class InboxState:
    """`notifications` with the newest first; `has_older`: whether `older()` has more; `unread` is the badge."""

    state: Literal["loading", "live", "behind"]
    notifications: tuple[Notification, ...]
    has_older: bool
    unread: int


class Inbox(Store[InboxState]):
    """The inbox of whoever is signed in, from `open()` on, or from the first topic that is opened."""

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        readers: dict[str, list[Following]],
        elsewhere: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__()
        self._connection = connection
        self._outbox = outbox
        self._readers = readers
        self._elsewhere = elsewhere  # told what the inbox says of a topic
        self._following: Following | None = None
        self._task: asyncio.Task[None] | None = None
        self._owner = ""
        self._is_open = False
        self._notifications: dict[str, Notification] = {}
        self._older_cursor: str | None = None
        self._unread = 0
        # What is listed holds the events up to the first, the badge those up to the second; former nodes do not say.
        self._listed_to = 0
        self._counted_to: int | None = None
        self._has_begun = False

    def open(self) -> None:
        """Follow it, until the client is closed."""
        self._is_open = True
        is_running = self._task is not None and not self._task.done() and not self._task.cancelling()
        if self._following is not None and not is_running:
            self._task = asyncio.create_task(self._run(self._following))

    async def live(self) -> InboxState:
        """What is so, once that is what the server has. Raises `Refused` when nobody is signed in."""
        self.open()
        async for state in self.states():
            if state.state == "live":
                return state
            if self._connection.state in ("closed", "signed_out"):
                await self._connection.live()
        raise AssertionError("not reached")

    async def older(self) -> None:
        """Load older notifications. Raises `Refused`."""
        while (cursor := self._older_cursor) is not None:
            page = await self._connection.ask("notification.list", {"limit": _PAGE, "cursor": cursor})
            if self._older_cursor != cursor:
                return
            if page.get("seq", self._seq) >= self._seq:  # else something has happened meanwhile
                for notification in page["items"]:
                    self._notifications.setdefault(notification["id"], notification)
                self._older_cursor = page["next"]
                self._changed()
                return

    def read(self, ids: Iterable[str] | None = None) -> asyncio.Future[Any]:
        """Mark notifications as read: these, or all up to now. The answer may be left alone."""
        payload = {"upTo": self._seq} if ids is None else {"ids": list(ids)}
        return self._outbox.add("notification.read", payload, None)

    async def close(self) -> None:
        """Follow it no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _seq(self) -> int:
        return (self._following.seq or 0) if self._following is not None else 0

    def hello(self, owner: str, said: Mapping[str, Any]) -> None:
        """Somebody is signed in: the same person as before, or another."""
        if owner != self._owner:
            self._owner = owner
            self._has_begun = False
            self._notifications, self._older_cursor, self._unread = {}, None, 0
            # All that it says of topics from here on counts: they may be read before it is followed.
            after, epoch = (said["inboxSeq"], said["epoch"]) if "knows" in said else (None, None)
            self._following = Following(self._connection, f"inbox:{owner}", after, epoch, self._readers, self)
            if self._task is not None:
                self._task.cancel()
            self._changed()
        if self._is_open:
            self.open()

    async def _run(self, following: Following) -> None:
        with contextlib.suppress(Refused):  # nobody is signed in any more, or another
            async for event in following:
                self._event(event)

    async def caught_up(self, answer: TopicSubscribeAnswer) -> bool:
        if answer["recovered"] and self._has_begun:
            return True
        page, count = await asyncio.gather(
            self._connection.ask("notification.list", {"limit": _PAGE}),
            self._connection.ask("notification.count", {}),
        )
        self._notifications = {one["id"]: one for one in page["items"]}
        self._older_cursor = page["next"]
        self._unread = count["unread"]
        self._listed_to = page.get("seq", 0)
        self._counted_to = count.get("seq")
        self._has_begun = True
        return self._counted_to is not None

    def signalled(self, name: str, said: Any) -> None:
        pass

    def woken(self) -> None:
        self._changed()

    def _event(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "gap":
            return
        if not event["type"].startswith("notification."):
            self._elsewhere(event)
            return
        data = event["data"]
        added = data.get("notification")
        is_new = added is None or added["id"] not in self._notifications
        if event["seq"] > self._listed_to:
            self._show(event, added if is_new else None)
        if is_new if self._counted_to is None else event["seq"] > self._counted_to:
            is_unread = added is not None and not added["readAt"]
            self._unread = data.get("unread", self._unread + is_unread)
        self._changed()

    def _show(self, event: Mapping[str, Any], added: Notification | None) -> None:
        if added is not None:
            self._notifications = {added["id"]: added, **self._notifications}
        for id in event["data"].get("ids", ()):
            known = self._notifications.get(id)
            if event["type"] == "notification.removed":
                self._notifications.pop(id, None)
            elif known is not None:
                self._notifications[id] = {**known, "readAt": known["readAt"] or event["at"]}

    @override
    def _look(self) -> InboxState:
        is_live = self._following is not None and self._following.is_live
        return InboxState(
            state=("live" if is_live else "behind") if self._has_begun else "loading",
            notifications=tuple(self._notifications.values()),
            has_older=self._older_cursor is not None,
            unread=self._unread,
        )
