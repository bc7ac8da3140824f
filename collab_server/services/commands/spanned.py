"""The command gate of a node whose traces are collected."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from typing_extensions import override

from collab_server.services.commands.figures import Figures
from collab_server.services.commands.gate import CommandGate, Passage
from collab_server.services.commands.table import Commands
from collab_server.services.commands.turns import Turns
from collab_server.telemetry.journal import Journal
from collab_server.telemetry.spans import Kind, Spans

T = TypeVar("T")


class SpannedGate(CommandGate):
    """A gate that makes a span of each command that is carried out."""

    def __init__(
        self, door: str, commands: Commands, turns: Turns, figures: Figures, journal: Journal, spans: Spans
    ) -> None:
        super().__init__(door, commands, turns, figures, journal)
        self._spans = spans

    @override
    async def see_through(self, passage: Passage, work: Awaitable[T]) -> T:
        # Over REST the call has a span of its own, and this is a part of it.
        kind: Kind = "internal" if self.door == "rest" else "server"
        with self._spans.during(passage.entry.name, kind, {"collab.door": self.door}):
            return await super().see_through(passage, work)
