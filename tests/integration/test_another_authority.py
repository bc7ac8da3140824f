"""People who are known by the authority of another package: installed beside the server, which knows nothing of it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, Refused, Rest
from tests.harness.cluster import ROOT, Cluster
from tests.harness.packages import EXAMPLES, install

TOPIC = "content:sales:q3"


@pytest.fixture
def badges(tmp_path: Path) -> dict[str, str]:
    return install(EXAMPLES / "badges", tmp_path / "site")


@pytest.fixture
def config() -> dict[str, Any]:
    """As docs/extending.md has it."""
    blocks = re.findall(
        r"^```json\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (found,) = [one for one in blocks if '"authorization"' in one]
    return dict(json.loads(found))


async def show(cluster: Cluster, node: int, badge: str) -> Client:
    return await Client.connect(cluster[node].url, identity_token=badge)


async def test_an_authority_of_another_package_signs_people_in_and_says_what_they_may(
    make_cluster: MakeCluster, badges: dict[str, str], config: dict[str, Any]
) -> None:
    cluster = await make_cluster(nodes=2, overrides=config, env=badges)
    async with (
        await show(cluster, 0, "badge-of-ann") as ann,
        await show(cluster, 1, "badge-of-bob") as bob,
        await show(cluster, 1, "badge-of-eve") as eve,
    ):
        assert (ann.hello["user"]["id"], ann.hello["user"]["name"]) == ("ann", "Ann Archer")
        await bob.call("topic.subscribe", {"topic": TOPIC})
        with pytest.raises(Failed) as refused:
            await eve.call("topic.subscribe", {"topic": TOPIC})
        assert refused.value.code == "not_found"
        added = await ann.call("comment.add", {"topic": TOPIC, "text": "Look, @[Bob](user:bob)"})
        assert added["comment"]["mentions"] == [{"kind": "user", "id": "bob", "name": "Bob Baker"}]
        await bob.wait_for("comment.added")
        told = await bob.wait_for("notification.added")
        assert told.data["data"]["notification"]["by"]["id"] == "ann"
        found = await ann.call("recipients.find", {"search": "baker"})
        assert [one["id"] for one in found["items"]] == ["bob"]
        talk = await ann.call("discussion.create", {"name": "Q3", "members": [{"kind": "user", "id": "bob"}]})
        assert {one["id"] for one in talk["discussion"]["members"]} == {"ann", "bob"}
        assert (await bob.call("me"))["administrator"] is False
        assert (await ann.call("me"))["administrator"] is True
        token = ann.hello["resumeToken"]
    async with await Client.connect(cluster[1].url, resume_token=token) as again:
        assert again.hello["user"]["id"] == "ann"
    with pytest.raises(Refused):
        await show(cluster, 0, "badge-of-mallory")
    rest = Rest.open(cluster[1].url, identity_token="badge-of-bob")
    try:
        listed = await rest.call("GET", f"/topics/{TOPIC}/comments")
        assert [one["author"]["id"] for one in listed["items"]] == ["ann"]
    finally:
        await rest.close()
    names = (await cluster[0].status(is_verbose=True))["dependencies"]
    assert "Badges" in names
    assert "Library" not in names


def check(folder: Path, config: dict[str, Any], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "collab_server", "check-config", "--config", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)


async def test_an_unknown_kind_is_an_error_that_names_those_there_are(
    tmp_path: Path, badges: dict[str, str], config: dict[str, Any]
) -> None:
    unknown = {"authorization": {"kind": "bagdes"}}
    good, bad = await asyncio.gather(
        asyncio.to_thread(check, tmp_path, config, badges),
        asyncio.to_thread(check, tmp_path / "site", unknown, badges),
    )
    assert good.returncode == 0, good.stdout + good.stderr
    assert bad.returncode == 2
    words = 'authorization.kind: "bagdes" is no authority that is installed here: expected badges or library'
    assert words in bad.stdout + bad.stderr
