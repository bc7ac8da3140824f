"""What an administrator does about a person."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .arguments import Commands, add_config, load
from .database import up_to_date, with_database
from .outcome import DONE, WRONG, Failure, say

if TYPE_CHECKING:
    from collab_server.storage.database import Database


def sign_out(arguments: argparse.Namespace) -> int:
    """End all sign-ins of a person."""
    from collab_server.domain.ids import library_id, opaque_id
    from collab_server.errors import Invalid
    from collab_server.services import ends

    config = load(arguments).config
    is_of_library = config.authorization.kind == "library"
    try:
        user_id = (library_id if is_of_library else opaque_id)(arguments.user, "USER")
    except Invalid:
        expected = "the id of a user at Library, 32 hex digits" if is_of_library else "the id of a user"
        raise Failure(f"expected {expected}, not {arguments.user!r}", WRONG) from None
    hours = config.sessionHours

    async def sign_out(database: Database) -> None:
        await ends.sign_out(database, user_id, hours)

    with_database(arguments, partial(up_to_date, work=sign_out))
    say(
        f"All that {user_id} had begun until now is ended: running nodes close their connections and refuse their"
        f" resume tokens within {ends.LOOK_SECONDS:.0f} s, others when they start. Whether they can sign in again"
        " is for Library to say."
    )
    return DONE


def add_sign_out(commands: Commands) -> None:
    """`sign-out` and its arguments."""
    parser = commands.add(
        "sign-out",
        sign_out,
        "end all sign-ins of a person, on all nodes",
        "Connections are closed and resume tokens refused, on running nodes and on those started later. It does not"
        " keep anybody from signing in again: first disable them, or end their sessions, at Library.",
        """
        collab-server sign-out A11A0000000000000000000000000001 --config config.json
        """,
    )
    parser.add_argument("user", metavar="USER", help="the person's id at Library: 32 hex digits")
    add_config(parser)
