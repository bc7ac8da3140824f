"""Kinds: parts that the configuration chooses by name, of this server or of a package that is installed beside it.

A package offers one by an entry point in a group of ours; its name is the kind, its object makes the part. What this
server has itself is never replaced by another package's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["AUTHORITIES", "BUSES", "CHANNELS", "KindError", "Kinds"]


class KindError(Exception):
    """A kind that cannot be had; the text says why, in words for an administrator."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds of one part: those that the server has, and those of an entry-point group. `part` is its name."""

    part: str
    group: str
    built_in: tuple[str, ...]

    def known(self) -> list[str]:
        """The names of all there are now."""
        return sorted({*self.built_in, *self._offered()})

    def maker(self, kind: str) -> Callable[..., Any]:
        """What makes a part of a kind that is not built in. Raises `KindError`."""
        found = self._offered().get(kind)
        if found is None:
            raise KindError(
                f'"{kind[:40]}" is no {self.part} that is installed here: expected {self._in_words()}'
            )
        try:
            maker = found.load()
        except Exception as error:  # whatever somebody else's module raises
            raise KindError(
                f"cannot be imported from {found.value}: {type(error).__name__}: {error}"
            ) from error
        if not callable(maker):
            raise KindError(f"is nothing that can be called: {found.value}")
        return maker  # type: ignore[no-any-return]

    def check(self, kind: str) -> None:
        """Raises `KindError` for a kind that cannot be had."""
        if kind not in self.built_in:
            self.maker(kind)

    def _offered(self) -> dict[str, EntryPoint]:
        return {
            found.name: found for found in entry_points(group=self.group) if found.name not in self.built_in
        }

    def _in_words(self) -> str:
        *others, last = self.known()
        return f"{', '.join(others)} or {last}" if others else last


BUSES = Kinds("bus", "collab_server.bus", ("alone", "redis"))
AUTHORITIES = Kinds("authority", "collab_server.authority", ("library",))
CHANNELS = Kinds("channel", "collab_server.channel", ("inbox",))
