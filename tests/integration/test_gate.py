"""Every command passes the one gate, through whichever door: what it has counted is what was asked."""

from __future__ import annotations

import re
from collections import Counter

from collab_server.services.commands.table import TABLE
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.integration.doors import CALLS, Door

IN_PATHS = {"topic": "x", "commentId": "x", "discussionId": "x", "userId": "x", "emoji": "x"}
LAST = "session.end"  # and then nobody may ask any more
_LINE = re.compile(
    r'collab_(commands_total|command_seconds_count){command="([^"]+)",door="([^"]+)"(.*)} (\S+)'
)


async def counted(cluster: Cluster) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """How many commands the first node says it has had, by name and door: by outcome together, and timed."""
    async with new_session(keeps_cookies=False) as http, http.get(f"{cluster[0].url}/metrics") as answer:
        lines = _LINE.findall(await answer.text())
    sums: dict[str, Counter[tuple[str, str]]] = {
        "commands_total": Counter(),
        "command_seconds_count": Counter(),
    }
    for kind, name, door, _, count in lines:
        sums[kind][name, door] += int(float(count))
    return sums["commands_total"], sums["command_seconds_count"]


async def test_every_command_is_counted_once_from_each_door(cluster: Cluster) -> None:
    socket = await Door.open(cluster, "socket", "ann")
    rest = await Door.open(cluster, "rest", "ann")
    before = await counted(cluster)
    for name in sorted(TABLE, key=lambda name: name == LAST):
        if name in CALLS:
            payload = {field: value for field, value in IN_PATHS.items() if f"{{{field}}}" in CALLS[name][1]}
            await rest.ask(name, payload)
    await socket.ask("no.such", {})
    for name in sorted(TABLE, key=lambda name: name == LAST):
        await socket.ask(name, {})
    wanted = Counter(
        {(name, "socketio"): 1 for name in [*TABLE, "unknown"]} | {(name, "rest"): 1 for name in CALLS}
    )
    after = await counted(cluster)
    assert after[0] - before[0] == wanted
    assert after[1] - before[1] == wanted
