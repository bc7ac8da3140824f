"""`make bench`: the measurements against the peers. `python -m tests.bench [fanout|writes] [options]`; both if none."""

from __future__ import annotations

import sys

from tests.bench import fanout, writes

PARTS = {"fanout": fanout.main, "writes": writes.main}


def main() -> int:
    """Run what was asked for."""
    names = sys.argv[1:2] or list(PARTS)
    if names[0] not in PARTS:
        print(__doc__, file=sys.stderr)
        return 2
    return max(PARTS[name](sys.argv[2:]) for name in names)


if __name__ == "__main__":
    raise SystemExit(main())
