"""The epoch: the name of one history of the database. Every `seq` is of one."""

from __future__ import annotations


class Epoch:
    """That in which this node serves; `name` is empty until the database has told it."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name
