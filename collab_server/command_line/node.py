"""Running a node, and looking at the configuration of one."""

from __future__ import annotations

import argparse
import signal
from functools import partial

from .arguments import Commands, add_config, load, port
from .outcome import DONE, FAILED, WRONG, print_problems, tell


def serve(arguments: argparse.Namespace) -> int:
    """Run a node until it is told to stop."""
    from collab_server import hangup, logs

    signal.signal(
        signal.SIGHUP, signal.SIG_IGN
    )  # until it is known whose it is; all is being read now anyway
    loaded = load(arguments)
    config = loaded.config
    at = config.port if arguments.port is None else arguments.port
    is_shared = config.workers > 1
    if not is_shared:
        hangup.listen()
    logs.configure(
        is_detailed=config.logging,
        log_format=config.logFormat,
        log_file=config.logFile,
        is_shared=is_shared,
    )

    from collab_server.app import Application
    from collab_server.realtime.lean import adapter

    if is_shared:
        from .workers import serve_by_workers

        return serve_by_workers(loaded, partial(load, arguments), host=arguments.host, port=at)
    app = Application(config, partial(load, arguments))
    app.warn(loaded.warnings)
    was_served = adapter.serve(app, app.settings, host=arguments.host, port=at)
    return DONE if was_served else FAILED


def add_serve(commands: Commands) -> None:
    """`serve` and its arguments."""
    parser = commands.add(
        "serve",
        serve,
        "run a node",
        "Port, TLS and everything else come from the configuration; problems in it are printed all at once, before a"
        " port is opened. It has as many processes as cpus says. SIGTERM and Ctrl-C stop the node gracefully, within"
        " 10 s.",
        """
        collab-server serve --config /etc/collab/config.json
        COLLAB_DATASOURCE__HOST=db collab-server serve --port 3001
        """,
    )
    add_config(parser)
    parser.add_argument(
        "--host",
        default="::",
        help="address to listen on (default: every one, of IPv4 and IPv6; 0.0.0.0: all of IPv4)",
    )
    parser.add_argument(
        "--port", type=port, help="port to listen on (default: that of the configuration, else 3000)"
    )


def check_config(arguments: argparse.Namespace) -> int:
    """Print every problem of the configuration."""
    loaded = load(arguments)
    print_problems(loaded.warnings)
    if loaded.warnings and arguments.strict:
        return WRONG
    tell(f"{loaded.path or 'the defaults'}: no error")
    if not arguments.connect:
        return DONE

    from .connecting import try_all

    outcomes = try_all(loaded.config)
    for name, problem in outcomes.items():
        tell(f"{name}: {problem or 'answers'}")
    return DONE if not any(outcomes.values()) else FAILED


def add_check_config(commands: Commands) -> None:
    """`check-config` and its arguments."""
    parser = commands.add(
        "check-config",
        check_config,
        "print every problem of the configuration, and start nothing",
        "Exit status 2 when one of them is an error; with --connect 1 when something does not answer as it has to.",
        """
        collab-server check-config --config config.json
        collab-server check-config --strict           warnings fail too
        collab-server check-config --connect          Library, PostgreSQL and Redis are tried
        """,
    )
    add_config(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 2 for warnings too")
    parser.add_argument(
        "--connect",
        action="store_true",
        help="besides try PostgreSQL, Redis and Library, for 12 s at most; nothing is changed there",
    )
