"""The harness itself: what every other test relies on."""

import asyncio

import asyncpg
import pytest

from collab_server.demo.embedded import EmbeddedValkey
from tests.harness.clients import LibraryUser
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase, fresh_topic


async def test_every_test_gets_a_migrated_database_of_its_own(database: TestDatabase) -> None:
    connection = await asyncpg.connect(**database.connect_arguments())
    try:
        assert await connection.fetchval("SELECT count(*) FROM collab.schema_migrations") >= 1
        assert await connection.fetchval("SELECT current_user") == "mstr_collab"
    finally:
        await connection.close()


def test_an_empty_database_has_no_schema_yet(empty_database: TestDatabase) -> None:
    assert empty_database.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'collab'") == "0"


def test_topics_are_never_given_twice() -> None:
    assert fresh_topic() != fresh_topic()


async def test_people_sign_in_at_the_stand_in_and_get_identity_tokens(library: StandInLibrary) -> None:
    ann, bob = [await LibraryUser.sign_in(library.url, login) for login in ("ann", "bob")]
    assert (ann.name, bob.name) == ("Ann Archer", "Bob Baker")
    assert await ann.identity_token() != await ann.identity_token()


def test_valkey_is_there_and_wants_a_password(valkey: EmbeddedValkey) -> None:
    assert valkey.password in valkey.url


async def test_until_returns_what_it_waited_for() -> None:
    values = iter([None, 0, "there"])
    assert await until(lambda: next(values)) == "there"


async def test_until_says_what_did_not_happen() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.05 s: rain"):
        await until(lambda: asyncio.sleep(0, False), 0.05, "rain")
