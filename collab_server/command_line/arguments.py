"""How commands and their arguments are told to `argparse`."""

from __future__ import annotations

import argparse
import ipaddress
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collab_server.config import LoadedConfig

Run = Callable[[argparse.Namespace], int]
"""Carries a command out; returns the exit status. May raise `Failure` and `ConfigError`."""


class Commands:
    """The commands of a parser, to which others can be added. `refuse`, among what it parses, ends the program for what
    is wrong with a command, and shows how that one is used."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(run=None, refuse=parser.error)
        self._parsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(self, name: str, run: Run, summary: str, details: str, example: str) -> argparse.ArgumentParser:
        """One command more; returns its parser, for its arguments. `run` is found in the parsed ones."""
        command = self._parsers.add_parser(
            name,
            help=summary,
            description=textwrap.fill(f"{summary[0].upper()}{summary[1:]}. {details}", 100),
            epilog=examples(example),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run, refuse=command.error)
        return command


def examples(text: str) -> str:
    """The end of a help text."""
    return "examples:\n" + textwrap.indent(textwrap.dedent(text).strip(), "  ")


def add_config(command: argparse.ArgumentParser) -> None:
    """The argument that says which file `load` reads."""
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: the file that COLLAB_CONFIG names, else ./config.json)",
    )


def load(arguments: argparse.Namespace) -> LoadedConfig:
    """The configuration that the arguments name. Raises `ConfigError`."""
    from collab_server.config import load_config

    return load_config(arguments.config)


def folder(text: str) -> Path:
    """A folder, from the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the name of a folder")
    return Path(text)


def file(text: str) -> Path:
    """A file, from the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the name of a file")
    return Path(text)


def address(text: str) -> str:
    """The number of an address of this machine, from the command line; a name is looked up."""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError):
        message = "expected an address of this machine, like 127.0.0.1, or 0.0.0.0 for all"
        raise argparse.ArgumentTypeError(message) from None


def port(text: str) -> int:
    """A port, from the command line."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("expected a number from 1 to 65535")
    return int(text)
