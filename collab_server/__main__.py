"""The command line: `collab-server COMMAND`, or `python -m collab_server COMMAND`.

Exit status: 0 done, 1 could not be done (the message says why), 2 wrong command line or configuration, 130 interrupted,
141 done, or left off, when whoever read the result had gone (`collab-server … | head -1`), which is not said in words.
A mistake of the user's is told in one line per problem, on standard error; a traceback is always a bug of ours.

The commands themselves are in `command_line`. It is imported late, for Ctrl-C is to be silent from the beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collab_server.command_line.outcome import (
    INTERRUPTED,
    Untold,
    leaving_at_once,
    status_once_told,
    status_untold,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status. `argv` is without the program's name."""
    with leaving_at_once():
        from collab_server.command_line.whole import run
    try:
        return status_once_told(run(argv))
    except KeyboardInterrupt:
        return status_once_told(INTERRUPTED)
    except Untold as untold:
        return status_untold(untold.why)
    except SystemExit as leaving:  # argparse, which has shown its help or refused something
        if isinstance(leaving.code, int):
            leaving.code = status_once_told(leaving.code)
        raise


if __name__ == "__main__":
    sys.exit(main())
