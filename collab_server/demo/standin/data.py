"""The data file of the stand-in: people, groups and projects with what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from collab_server.config import ConfigError, problems_of, read_object

__all__ = ["Content", "Group", "LibraryData", "Model", "Person", "Project", "load_data"]

BUILT_IN = Path(__file__).parents[1] / "library.json"

_MOST_BYTES = 100_000_000

LibraryId = Field(pattern=r"^[0-9A-F]{32}$")


class Model(BaseModel):
    """What is read from JSON."""

    model_config = ConfigDict(frozen=True)


class Person(Model):
    """Somebody who can sign in. The password is the login."""

    login: str
    id: str = LibraryId
    fullName: str
    initials: str
    privileges: dict[str, tuple[str, ...] | None] = {}
    """By their ids: in which projects; None is in all."""


class Group(Model):
    """A user group; `members` are logins, `groups` the ids of groups in it, whether there are such or not any more."""

    id: str = LibraryId
    name: str
    members: tuple[str, ...]
    groups: tuple[str, ...] = ()


class Content(Model):
    """An object: type 55 a dashboard, 3 a report. `openTo` lists logins; absent means everybody."""

    id: str = LibraryId
    name: str
    type: int
    openTo: tuple[str, ...] | None = None


class Project(Model):
    """A project and what is in it."""

    id: str = LibraryId
    name: str
    objects: tuple[Content, ...]


class LibraryData(Model):
    """The data file."""

    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    projects: tuple[Project, ...]

    @model_validator(mode="after")
    def _logins_exist(self) -> Self:
        named = {login for group in self.groups for login in group.members}
        named |= {
            login for project in self.projects for item in project.objects for login in item.openTo or ()
        }
        unknown = named - {person.login for person in self.people}
        if unknown:
            raise ValueError(f"nobody among the people has the login {', '.join(sorted(unknown))}")
        return self


def load_data(path: Path = BUILT_IN) -> LibraryData:
    """The data of the file at `path`, by default the one in the package.

    Raises `OSError`, or `ConfigError` with each thing that is wrong in it.
    """
    values, warnings = read_object(path, _MOST_BYTES)
    try:
        return LibraryData.model_validate(values)
    except ValidationError as error:
        raise ConfigError([*problems_of(error, str(path)), *warnings]) from None
