"""The servers under the nodes: one PostgreSQL, one Valkey, one stand-in Library, for a whole test run.

What runs concurrently: PostgreSQL and Valkey as child processes, the stand-in in a thread with an event loop
of its own. How it stops: `World.close`, or with this process, however that ends.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres, EmbeddedValkey
from collab_server.demo.serving import LoopbackServer
from collab_server.demo.standin import Content, LibraryData, create_standin, load_data
from collab_server.storage import migrations
from collab_server.storage.database import Database
from collab_server.storage.server import Server

PROJECT_ID = "F0000000000000000000000000000001"
ADMIN_ID = "ADAD0000000000000000000000000006"
EXTRA_DASHBOARDS = 2000
POSTGRES_SETTINGS = {**NOT_DURABLE, "max_connections": "300", "shared_buffers": "64MB"}

_names = itertools.count(1)


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """A database of its own, with the migrations applied unless it was asked for empty."""

    __test__ = False

    server: EmbeddedPostgres
    name: str

    @property
    def url(self) -> str:
        """`postgres://…` with the password in it."""
        return self.server.url(self.name)

    def data_source(self, address: tuple[str, int] | None = None) -> dict[str, Any]:
        """The `dataSource` of a config.json; `address` may lead through a proxy."""
        host, port = address or (self.server.host, self.server.port)
        return {
            "username": self.server.user,
            "password": self.server.password,
            "host": host,
            "port": port,
            "database": self.name,
        }

    def connect_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `asyncpg.connect`."""
        return {
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "password": self.server.password,
            "database": self.name,
        }

    def sql(self, statement: str) -> str:
        """Run SQL in it (through psql, some 15 ms) and return what is printed."""
        return self.server.sql(statement, database=self.name)

    def drop(self) -> None:
        """Drop it, whoever is connected."""
        self.server.drop_database(self.name)


def test_data() -> LibraryData:
    """The package's people and projects, and `EXTRA_DASHBOARDS` more dashboards that everybody may open."""
    data = load_data()
    extra = tuple(
        Content(id=_dashboard_id(n), name=f"Test dashboard {n}", type=55)
        for n in range(1, EXTRA_DASHBOARDS + 1)
    )
    first, *others = data.projects
    assert first.id == PROJECT_ID
    grown = first.model_copy(update={"objects": (*first.objects, *extra)})
    return data.model_copy(update={"projects": (grown, *others)})


test_data.__test__ = False  # type: ignore[attr-defined]


def _dashboard_id(number: int) -> str:
    return f"7E57{number:028X}"


def fresh_topic() -> str:
    """The `content:` topic of a dashboard that no other test has used; everybody may open it."""
    number = next(_names)
    assert number <= EXTRA_DASHBOARDS, "raise EXTRA_DASHBOARDS"
    return f"content:{PROJECT_ID}:{_dashboard_id(number)}"


class StandInLibrary(LoopbackServer):
    """The stand-in Library on a port of loopback; can be stopped and started again there, with its sessions.

    `balanced`: so many members behind a balancer.
    """

    def __init__(
        self,
        *,
        session_timeout_seconds: float = 1800,
        identity_token_seconds: float = 600,
        balanced: int | None = None,
        data: LibraryData | None = None,
    ) -> None:
        app = create_standin(
            test_data() if data is None else data,
            session_timeout_seconds=session_timeout_seconds,
            identity_token_seconds=identity_token_seconds,
            balanced=balanced,
        )
        super().__init__(app, name="stand-in Library")

    @property
    def url(self) -> str:
        """`authorizationServerUrl`: the REST base, which ends in `/api`."""
        return f"http://{self.address}/api"

    @property
    def root(self) -> str:
        """Where `/standin/…` is."""
        return f"http://{self.address}"


class World:
    """PostgreSQL, Valkey and the stand-in Library; each starts when it is first asked for. Main thread only.

    For use outside pytest too: `with World() as world: …`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="collab-tests-"))
        self.folder.chmod(0o755)
        self._postgres: EmbeddedPostgres | None = None
        self._valkey: EmbeddedValkey | None = None
        self._library: StandInLibrary | None = None
        self._template: str | None = None

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL that everybody shares: do not freeze or stop it, start your own."""
        if self._postgres is None:
            self._postgres = EmbeddedPostgres(self.folder / "postgres", settings=POSTGRES_SETTINGS).start()
        return self._postgres

    @property
    def valkey(self) -> EmbeddedValkey:
        """The Valkey that everybody shares: do not freeze or stop it, start your own."""
        if self._valkey is None:
            self._valkey = EmbeddedValkey().start()
        return self._valkey

    @property
    def library(self) -> StandInLibrary:
        """The stand-in that everybody shares."""
        if self._library is None:
            self._library = StandInLibrary().start()
        return self._library

    def new_database(self, *, is_empty: bool = False) -> TestDatabase:
        """A fresh database: a copy of the one that has the migrations, or an empty one. Some 50 ms."""
        name = f"test_{next(_names)}_{secrets.token_hex(3)}"
        self.postgres.create_database(name, None if is_empty else self._migrated_template())
        return TestDatabase(self.postgres, name)

    def _migrated_template(self) -> str:
        if self._template is None:
            name = "migrated"
            self.postgres.create_database(name)
            apply_migrations(TestDatabase(self.postgres, name))
            self._template = name
        return self._template

    def close(self) -> None:
        """Stop everything and remove its folder."""
        if self._library is not None:
            self._library.stop()
        if self._valkey is not None:
            self._valkey.stop()
        if self._postgres is not None:
            self._postgres.abort()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def apply_migrations(target: TestDatabase) -> None:
    """Bring a database to the newest schema. May be called with or without a running event loop."""
    arguments = target.connect_arguments()

    async def apply() -> None:
        database = Database(Server(**arguments), pool_size=1, read_pool_size=1)
        await migrations.apply(database)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, apply()).result(30)
