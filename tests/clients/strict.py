"""What a developer writes with `collab_client`: mypy --strict has to take it, and what is wrong must not pass.

Nothing is run here: where something wrong passes, mypy says of this file that its `type: ignore` is not needed.
"""

from __future__ import annotations

from collab_client import Client, Code, Refused, Shown, SyncClient, TopicState


async def write(client: Client, topic: str) -> list[str]:
    """Commands, their payloads and their answers."""
    answer = await client.change("comment.add", {"topic": topic, "text": "one", "anchor": {"pageKey": "K53"}})
    text: str = answer["comment"]["text"]
    following: int = answer["seq"] + 1
    page = await client.ask("topic.comments", {"topic": topic, "order": "newest"})
    await client.change("comment.add", {"topic": topic, "text": "one", "txt": "two"})  # type: ignore[call-overload]
    await client.ask("topic.coments", {"topic": topic})  # type: ignore[call-overload]
    await client.change("topic.mute", {"topic": topic, "muted": "yes"})  # type: ignore[call-overload]
    no_such = [answer["comment"]["txt"]]  # type: ignore[typeddict-item]
    no_such += [page["seqs"]]  # type: ignore[typeddict-item]
    return [*no_such, text, page["items"][0]["text"], str(following)]


def script(client: SyncClient, topic: str) -> int:
    """The same without `await`."""
    client.ask("topic.get", {"topics": topic})  # type: ignore[call-overload]
    return client.ask("topic.get", {"topic": topic})["unread"]


def shown(state: TopicState) -> list[Shown]:
    """What a topic shows."""
    no_such = [state.thread]  # type: ignore[attr-defined]
    state.unread = 1  # type: ignore[misc]
    no_such += [state.threads[0].comments[0]["pending"].states]  # type: ignore[attr-defined]
    return [*no_such, *pending(state)]


def pending(state: TopicState) -> list[Shown]:
    """What is on its way."""
    return [comment for thread in state.threads for comment in thread.comments if "pending" in comment]


def said(refused: Refused) -> str:
    """Why something was not done."""
    code: Code = refused.code
    is_no_code = code == "forbiden"  # type: ignore[comparison-overlap]
    if is_no_code:
        return ""
    return f"{refused.field} is too long" if code == "too_large" else refused.message
