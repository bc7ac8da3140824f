"""Secrets: the password in the configuration, the key in the database."""

from __future__ import annotations

import argparse
import getpass
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import Commands, add_config, load
from .database import up_to_date, with_database
from .outcome import DONE, Failure, say, tell

if TYPE_CHECKING:
    from collab_server.storage.database import Database


def encrypt_password(arguments: argparse.Namespace) -> int:
    """Print an `ENC(…)` value for a password that is asked for."""
    from collab_server.config.encryption import EncryptionError, create_key_file, encrypt

    try:
        password = _ask_password()
        if not arguments.key_file.exists():
            create_key_file(arguments.key_file)
            say(f"A new key is in {arguments.key_file}: keep it secret, and give every node a copy.")
        value = encrypt(password, arguments.key_file)
    except EncryptionError as error:
        raise Failure(str(error)) from None
    say(
        f'Put this into config.json as "password", beside "encryptionKeyFile": "{arguments.key_file}".\n'
        "The cipher is Fernet, not that of the original server: neither can read the other's values."
    )
    tell(value)
    return DONE


def add_encrypt_password(commands: Commands) -> None:
    """`encrypt-password` and its arguments."""
    parser = commands.add(
        "encrypt-password",
        encrypt_password,
        "encrypt a password for config.json",
        "Asks for the password (or reads a line from standard input) and prints an ENC(…) value for"
        " dataSource.password or passphrase. Makes the key file when there is none. The cipher (Fernet) is not that"
        " of the original server.",
        """
        collab-server encrypt-password --key-file collab.key
        """,
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=Path("collab.key"),
        metavar="FILE",
        help="the file that encryptionKeyFile names (default: %(default)s)",
    )


def rotate_key(arguments: argparse.Namespace) -> int:
    """Replace the key in the database, gently or at once."""
    from collab_server.domain.keys import check_of
    from collab_server.storage import installation

    secret = load(arguments).config.secret_in_clear
    check = None if secret is None else check_of(secret.get_secret_value().encode())

    async def rotate(database: Database) -> None:
        if arguments.now:
            await installation.replace_key(database, check)
        else:
            say(f"The nodes are given {installation.ROTATE_SECONDS:.0f} s to learn the next key …")
            await installation.rotate_key(database)

    with_database(arguments, partial(up_to_date, work=rotate))
    if arguments.now:
        say("The key is replaced. Running nodes notice it within seconds; everybody has to sign in again.")
    else:
        say(
            "The next key seals from now on; what the one before has sealed still opens. Nobody is signed out."
        )
    return DONE


def add_rotate_key(commands: Commands) -> None:
    """`rotate-key` and its arguments."""
    parser = commands.add(
        "rotate-key",
        rotate_key,
        "replace the key that seals resume tokens and what the nodes tell each other",
        "Nobody is signed out: what the key before has sealed opens until the next rotation. With --now it opens no"
        " more, and everybody has to sign in again: after a key, or a dump of the database, got into wrong hands.",
        """
        collab-server rotate-key --config config.json
        collab-server rotate-key --now
        """,
    )
    parser.add_argument(
        "--now", action="store_true", help="let nothing open that was sealed before: sign everybody out"
    )
    add_config(parser)


def _ask_password() -> str:
    """From the terminal, twice and unseen; else the first line of standard input. Raises `Failure`."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise Failure("the two are not the same")
    if not password:
        raise Failure("there is no password to encrypt")
    return password
