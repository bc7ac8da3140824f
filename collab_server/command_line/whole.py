"""All commands together: the parser, and how each ends."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from collab_server import __version__
from collab_server.command_line import demo, node, people, secrets, upkeep
from collab_server.command_line.arguments import Commands, Run, examples
from collab_server.command_line.outcome import (
    FAILED,
    WRONG,
    Failure,
    Untold,
    in_words,
    leaving_at_once,
    print_problems,
    say,
)


def run(argv: Sequence[str] | None) -> int:
    """Run one command; return the exit status."""
    parser = _parser()
    try:
        # Not `parse_args`, which would show how all of it is used, and not the command that is meant.
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            arguments.refuse(f"unrecognized arguments: {' '.join(unknown)}")
    except BrokenPipeError as error:  # of what shows its help without a buffer
        raise Untold(error) from None
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return WRONG
    if arguments.run is node.serve:
        # Before the imports, which take a second: there is no log file yet to open again (`hangup`).
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with leaving_at_once():
        from collab_server.config import ConfigError

    run: Run = arguments.run
    try:
        return run(arguments)
    except ConfigError as error:
        print_problems(error.problems)
        return WRONG
    except Failure as failure:
        say(f"collab-server {arguments.command}: {failure}")
        return failure.status
    except OSError as error:  # of files and of the machine: what is said over a network has its own words
        if isinstance(error, ConnectionError):
            raise
        say(f"collab-server {arguments.command}: {in_words(error)}")
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collab-server",
        description="A collaboration server for dashboards: comments, discussions, mentions and presence, live.",
        epilog=examples(
            """
            collab-server demo                            try it, with nothing but this package
            collab-server serve --config config.json      run a node

            Exit status: 0 done, 1 could not be done, 2 wrong command line or configuration.
            Every property of the configuration: docs/configuration.md
            """
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"collab-server {__version__}")
    commands = Commands(parser)
    for add in (
        node.add_serve,
        demo.add_demo,
        demo.add_library,
        upkeep.add_migrate,
        node.add_check_config,
        secrets.add_encrypt_password,
        upkeep.add_new_epoch,
        upkeep.add_purge,
        upkeep.add_reindex,
        secrets.add_rotate_key,
        people.add_sign_out,
    ):
        add(commands)
    return parser
