"""An open collaboration server for dashboards: comments, discussions, mentions and presence, live."""

import atexit
import gc

__version__ = "0.3.0"

# Modules are many, stay, and are free of reference cycles: to walk all that is there again and again while they are
# imported, and for a last time when a process ends, took a third of the time of both. So are connections: to walk all
# of them took a third of a node's time.
gc.set_threshold(50_000, 20, 100)
atexit.register(gc.freeze)
