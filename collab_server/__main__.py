"""The command line: `collab-server COMMAND`, or `python -m collab_server COMMAND`.

Exit status: 0 done, 1 could not be done (the message says why), 2 wrong command line or configuration, 130 interrupted.
A mistake of the user's is told in one line per problem, on standard error; a traceback is always a bug of ours.

The commands themselves are in `command_line`; here they are put together, and their failures told.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from collab_server import __version__
from collab_server.command_line import demo, node, people, secrets, upkeep
from collab_server.command_line.arguments import Commands, Run, examples
from collab_server.command_line.outcome import INTERRUPTED, WRONG, Failure, print_problems, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status. `argv` is without the program's name."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return WRONG
    if arguments.run is node.serve:
        # Before the imports, which take a second: there is no log file yet to open again (`hangup`).
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
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
    except KeyboardInterrupt:
        return INTERRUPTED


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
        secrets.add_rotate_key,
        people.add_sign_out,
    ):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
