"""Ours: serves the tree of `collab_server` that PYTHONPATH names, and refuses to serve another.

`python -P served.py TREE [arguments of uvicorn]`. The virtual environment knows a `collab_server` of its own (the
working tree), which would answer for a commit whose folder is missing or misspelled, and nobody would notice.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def origin() -> Path:
    """Where `import collab_server` would take it from; nothing is imported."""
    spec = importlib.util.find_spec("collab_server")
    if spec is None or spec.origin is None:
        sys.exit("there is no collab_server on the path")
    return Path(spec.origin).resolve()


if __name__ == "__main__":
    tree = Path(sys.argv.pop(1)).resolve()
    if origin() != tree / "collab_server" / "__init__.py":
        sys.exit(f"{tree} was to be served, but collab_server is {origin()}")
    from uvicorn.main import main

    main()
