"""The state watch: clients and the other nodes are told when the state of this one changes, and those who come while it
is paused how it is.

One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
from typing import Any

from collab_server.domain.jsontext import JsonText, dumps
from collab_server.ports import Announcement
from collab_server.services.hub import Hub
from collab_server.status import Status

LOOK_SECONDS = 0.5


class StateWatch:
    """Watches `status`; `hub` reaches the clients, `announcement` the other nodes."""

    def __init__(self, status: Status, hub: Hub, announcement: Announcement) -> None:
        self._status = status
        self._hub = hub
        self._announcement = announcement
        self._told: dict[str, Any] = {}
        hub.greeting = self._greeting

    async def run(self) -> None:
        """Watch until cancelled. What it finds first is told to those who come."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> bool:
        """Tell everybody how the node is, where that is another than they were told; whether it was."""
        self._status.look()
        state = self._state()
        self._announcement.note(state=state["state"])
        former, self._told = self._told, state
        if not former or state == former:
            return False
        self._hub.tell_all("server.state", state)
        return True

    def drain(self) -> None:
        """This node is about to go: take nobody in any more, and say so."""
        self._status.drain()
        self.look()

    def _greeting(self) -> JsonText | None:
        """What somebody is told who comes now: how the node is, unless it runs.

        That is what all others have been told, too: who was told of what is over before the next look would never be
        told so.
        """
        if self._told.get("state") == "running":
            return None  # where it no longer does they are told with all others
        if self.look():
            return None  # with all others, just now
        return None if self._told["state"] == "running" else dumps(self._told)

    def _state(self) -> dict[str, Any]:
        """The data of the signal `server.state`."""
        status = self._status
        serving = status.serving
        state = "draining" if status.is_draining else "running" if status.is_running else "paused"
        return {
            "state": state,
            "reason": status.reason,
            "serving": {"reads": serving.reads, "writes": serving.writes, "live": serving.live},
        }
