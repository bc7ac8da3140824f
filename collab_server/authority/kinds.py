"""The authority that the configuration names: Library, or what a package beside this one makes."""

from __future__ import annotations

from collab_server.authority.library.library import open_library
from collab_server.config.kinds import AUTHORITIES, KindError
from collab_server.config.problems import ConfigError, Problem
from collab_server.ports import Authority, AuthoritySetup

__all__ = ["make_authority"]


def make_authority(kind: str, setup: AuthoritySetup) -> Authority:
    """An authority of this kind, not started.

    Raises `ConfigError` for a kind that is not there, and for what its maker refuses.
    """
    if kind == "library":
        return open_library(setup)
    try:
        made = AUTHORITIES.maker(kind)(setup)
    except KindError as error:
        raise ConfigError([Problem("authorization.kind", str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem("authorization", str(error))]) from error
    if not isinstance(made, Authority):
        words = f'"{kind}" makes {type(made).__name__}, not a collab_server.ports.Authority'
        raise ConfigError([Problem("authorization.kind", words)])
    return made
