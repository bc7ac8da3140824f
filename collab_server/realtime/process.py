"""What a process gets that is to keep many connections."""

from __future__ import annotations

import gc
import resource
import time

import psutil

MOST_DESCRIPTORS = 1_048_576


def allow_many_connections() -> int:
    """Raise this process's limit on file descriptors as far as it may; every connection takes one.

    Shells and systemd give 1,024 and allow far more; Node.js does the same. Returns the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def age_seconds() -> float:
    """Since this process began, as far as that can be told."""
    return max(0.0, time.time() - psutil.Process().create_time())


def tune_garbage_collector() -> None:
    """After start-up: collect once, and keep what is there out of later collections.

    How seldom those are `collab_server` says, for all its processes.
    """
    gc.collect()
    gc.freeze()
