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
            self._status.look()
            state = self._state()
            self._announcement.note(state=state["state"])
            if self._told and state != self._told:
                self._hub.tell_all("server.state", state)
            self._told = state
            await asyncio.sleep(LOOK_SECONDS)

    def drain(self) -> None:
        """This node is about to go: take nobody in any more, and say so."""
        self._status.drain()
        state = self._state()
        self._announcement.note(state=state["state"])
        self._hub.tell_all("server.state", state)

    def _greeting(self) -> JsonText | None:
        """What somebody is told who comes now: how the node is, unless it runs."""
        if self._told.get("state") == "running":
            return None  # where it no longer does they are told with all others
        state = self._state()
        return None if state["state"] == "running" else dumps(state)

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
