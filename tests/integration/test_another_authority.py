"""People who are known by the authority of another package: installed beside the server, which knows nothing of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, Refused, Rest
from tests.harness.cluster import ROOT, Cluster
from tests.harness.hurry import hurried
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


MOODY = """
import asyncio
from pathlib import Path

from badges import Badges
from collab_server.ports import Authority, Busy, Silent


class Moody(Badges):
    def __init__(self, options):
        super().__init__(options["badges"])
        self._mood = Path(options["mood"])

    def is_ended(self, session):
        return self._mood.read_text() == "over"

    async def _be(self):
        mood = self._mood.read_text()
        if mood == "slow":
            await asyncio.sleep(30)
        if mood in ("silent", "busy"):
            raise {"silent": Silent, "busy": Busy}[mood]


def in_mood(name):
    async def asked(self, *args, **options):
        await self._be()
        return await getattr(super(Moody, self), name)(*args, **options)

    setattr(Moody, name, asked)


for name in ("sign_in_with_identity_token", "may_open", "user", "recipients"):
    in_mood(name)


def make(setup):
    moody = Moody(setup.options)
    return Authority("Badges", moody, moody, moody)
"""


@pytest.fixture
def moody(badges: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Badges whose mood is what a file says: well, silent, busy, slow, or over, as all sessions are then."""
    source = tmp_path / "moody"
    source.mkdir()
    (source / "moody.py").write_text(MOODY)
    points = '[project.entry-points."collab_server.authority"]\nmoody = "moody:make"\n'
    (source / "pyproject.toml").write_text(f'[project]\nname = "moody"\nversion = "1"\n{points}')
    soon = hurried({"collab_server.services.backends": {"ASK_SECONDS": 0.5}})
    paths = [install(source, tmp_path / "more")["PYTHONPATH"], badges["PYTHONPATH"], soon["PYTHONPATH"]]
    return {**badges, **soon, "PYTHONPATH": os.pathsep.join(paths)}


class Words:
    """What a client is told where it is refused, by what it did."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.heard: dict[str, str] = {}

    async def connect(self, what: str, **shown: Any) -> None:
        with pytest.raises(Refused) as refused:
            await Client.connect(self._cluster[0].url, **shown)
        self.heard[what] = refused.value.error["message"]

    async def call(self, what: str, client: Client, command: str, payload: dict[str, Any]) -> None:
        with pytest.raises(Failed) as failed:
            await client.call(command, payload)
        assert failed.value.code == "unavailable"
        self.heard[what] = failed.value.error["message"]

    async def request(self, what: str, method: str, path: str, **shown: str) -> None:
        rest = Rest.open(self._cluster[0].url, **shown)
        try:
            with pytest.raises(Failed) as failed:
                await rest.call(method, path)
        finally:
            await rest.close()
        self.heard[what] = failed.value.error["message"]


async def test_no_error_names_library_where_another_authority_is_chosen(
    make_cluster: MakeCluster, moody: dict[str, str], config: dict[str, Any], tmp_path: Path
) -> None:
    mood = tmp_path / "mood"
    mood.write_text("well")
    config["authorization"] |= {"kind": "moody", "mood": str(mood)}
    cluster = await make_cluster(nodes=1, overrides=config, env=moody)
    words = Words(cluster)
    await words.connect("shows nothing")
    await words.connect("shows no token", identity_token="no token")
    await words.connect("is not known", identity_token="badge-of-mallory")
    await words.connect("is not known again", identity_token="badge-of-mallory")
    await words.connect("shows an auth token", auth_token="badge-of-mallory")
    await words.connect("shows no resume token", resume_token="gAAAAAno")
    await words.request("shows nothing at REST", "GET", "/me")
    await words.request("shows an auth token again", "GET", "/me", auth_token="badge-of-mallory")
    ended = Rest.open(cluster[0].url, identity_token="badge-of-eve")
    await ended.call("DELETE", "/session")
    await ended.close()
    await words.connect("has signed out", identity_token="badge-of-eve")
    async with await show(cluster, 0, "badge-of-ann") as ann:
        about = {"topic": "content:sales:q4"}
        for said in ("silent", "busy", "slow"):
            mood.write_text(said)
            await words.call(f"reads: {said}", ann, "topic.comments", about)
            await words.call(f"writes: {said}", ann, "comment.add", {"text": "x", **about})
            await words.call(f"looks for people: {said}", ann, "recipients.find", {"search": "bob"})
            await words.call(f"searches: {said}", ann, "comments.search", {"q": "x", **about})
            if said != "slow":
                await words.call(f"subscribes: {said}", ann, "topic.subscribe", about)
                await words.connect(f"comes: {said}", identity_token="badge-of-bob")
        mood.write_text("over")
        await words.connect("comes back: over", resume_token=ann.hello["resumeToken"])
    assert not [told for told in words.heard.items() if "library" in told[1].lower()]
    assert {what: told for what, told in words.heard.items() if "Badges" in told} == {
        "shows no token": "Badges does not accept this token.",
        "is not known again": "Badges does not accept this token.",
        "shows an auth token again": "Badges does not accept this token.",
        "has signed out": "You have signed out with this token: get another one from Badges.",
        "comes: silent": "Badges does not answer.",
        "reads: slow": "Badges takes too long.",
        "writes: slow": "Badges takes too long.",
        "looks for people: slow": "Badges takes too long.",
        "searches: slow": "Badges takes too long.",
        "comes back: over": "Your Badges session is over: sign in again.",
    }


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
