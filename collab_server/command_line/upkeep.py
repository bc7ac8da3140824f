"""The database's upkeep: migrations, a new epoch, what deleted things still have, what comments are found by."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .arguments import Commands, add_config
from .database import up_to_date, with_database
from .outcome import DONE, say, tell

if TYPE_CHECKING:
    from collab_server.storage.database import Database


def migrate(arguments: argparse.Namespace) -> int:
    """Bring the database up to date, or list what would do so."""
    from collab_server.storage import migrations

    work = migrations.pending if arguments.dry_run else migrations.apply
    names = with_database(arguments, work)
    for name in names:
        tell(f"{'would apply' if arguments.dry_run else 'applied'} {name}")
    if not names:
        tell("nothing to apply: the database is up to date")
    return DONE


def add_migrate(commands: Commands) -> None:
    """`migrate` and its arguments."""
    parser = commands.add(
        "migrate",
        migrate,
        "bring the database up to date",
        "Nodes do so by themselves when they start. This is for installations in which their role at the database may"
        " not change tables: run it as a role that may. Safe to run while nodes run or start.",
        """
        collab-server migrate --config config.json
        COLLAB_DATASOURCE__USERNAME=owner COLLAB_DATASOURCE__PASSWORD=… collab-server migrate --dry-run
        """,
    )
    add_config(parser)
    parser.add_argument("--dry-run", action="store_true", help="only list what would be applied")


def new_epoch(arguments: argparse.Namespace) -> int:
    """Begin a new epoch, and print it."""
    from collab_server.storage import installation

    tell(with_database(arguments, partial(up_to_date, work=installation.new_epoch)))
    say("Running nodes notice it by themselves; clients then begin afresh.")
    return DONE


def add_new_epoch(commands: Commands) -> None:
    """`new-epoch` and its arguments."""
    parser = commands.add(
        "new-epoch",
        new_epoch,
        "tell clients that the database was restored from a backup",
        "A step of every restore: numbers given after the backup are given again, so clients must not go on from"
        " theirs.",
        """
        collab-server new-epoch --config config.json
        """,
    )
    add_config(parser)


def purge(arguments: argparse.Namespace) -> int:
    """Take away the words of what is deleted."""
    from collab_server.services import purging

    async def purge(database: Database) -> tuple[int, int]:
        return await purging.purge_discussions(database), await purging.purge_tombstones(database)

    discussions, comments = with_database(arguments, partial(up_to_date, work=purge))
    say(f"Purged: {discussions} deleted discussions, {comments} deleted comments that still had words.")
    return DONE


def add_purge(commands: Commands) -> None:
    """`purge` and its arguments."""
    parser = commands.add(
        "purge",
        purge,
        "take away the words that deleted things still have",
        "Nodes purge deleted discussions by themselves, after ten minutes. Run this once after an update from a version"
        " that kept the earlier texts of deleted comments; it reads through all comments.",
        """
        collab-server purge --config config.json
        """,
    )
    add_config(parser)


def reindex(arguments: argparse.Namespace) -> int:
    """Make anew what all comments are found by."""
    from collab_server.services import search

    async def reindex(database: Database) -> int:
        return await search.reindex(database, lambda count: say(f"{count} comments so far"))

    count = with_database(arguments, partial(up_to_date, work=reindex))
    say(f"Indexed anew: {count} comments.")
    return DONE


def add_reindex(commands: Commands) -> None:
    """`reindex` and its arguments."""
    parser = commands.add(
        "reindex",
        reindex,
        "make anew what comments are found by",
        "Nodes do so by themselves for comments that a version before has indexed in another way, at a fifth of a"
        " processor. This does it for all comments, at once; run it where some are not found. It is safe while nodes"
        " run, and may be ended and begun again.",
        """
        collab-server reindex --config config.json
        """,
    )
    add_config(parser)
