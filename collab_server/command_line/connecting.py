"""Trying whether what the configuration names is there, as a node would find it. Changes nothing anywhere.

The parts are those of a node: what they say here, they say in its log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collab_server.config import Config
    from collab_server.ground import Ground

LIMIT_SECONDS = 12.0
"""Library is asked for the first time after some 5 s."""
LOOK_SECONDS = 0.1
SETTLED_SECONDS = 1.0
"""What has been wrong in the same words for so long is believed."""


def try_all(config: Config) -> dict[str, str | None]:
    """What is wrong with each service that a node of this configuration depends on; None where it answers.

    Takes up to `LIMIT_SECONDS`.
    """
    logging.disable()  # it is printed
    return asyncio.run(_try_all(config))


async def _try_all(config: Config) -> dict[str, str | None]:
    from collab_server.config.renewal import Certificates
    from collab_server.ground import Ground

    ground = Ground(config, Certificates(config))
    before = _problems(ground)
    await ground.bare.start()
    await ground.authority.life.start()
    await ground.bus.start()
    try:
        found = await _settled(ground, before)
        name = next(iter(found))
        return {**found, name: found[name] or await _schema_problem(ground)}
    finally:
        await ground.bus.stop()
        await ground.authority.life.stop()
        await ground.bare.stop()


async def _settled(ground: Ground, before: dict[str, str | None]) -> dict[str, str | None]:
    """What is wrong once all answer, or have said for a while what is wrong; `before` is what nobody has tried yet."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LIMIT_SECONDS
    found, since = before, loop.time()
    while any(found.values()) and (now := loop.time()) < ends_at:
        are_tried = all(found[name] is None or found[name] != before[name] for name in found)
        if are_tried and now - since >= SETTLED_SECONDS:
            break
        await asyncio.sleep(LOOK_SECONDS)
        if (latest := _problems(ground)) != found:
            found, since = latest, loop.time()
    return found


def _problems(ground: Ground) -> dict[str, str | None]:
    """As the parts see it now, the database first."""
    from collab_server.status import DATABASE

    found = {DATABASE: ground.bare.problem}
    if ground.bus.dependency is not None:
        found[ground.bus.dependency] = None if ground.bus.is_available else ground.bus.problem or "not heard"
    found[ground.authority.dependency] = ground.authority.life.problem
    return found


async def _schema_problem(ground: Ground) -> str | None:
    """Why the schema could not be brought up to date; None where it is, or a node would do it."""
    from collab_server.storage import migrations

    try:
        await migrations.check(ground.bare)
    except Exception as error:
        return ground.bare.describe(error)
    return None
