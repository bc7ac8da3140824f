"""Who may comment on content, besides opening it: by the rules of the configuration, and by a switch on each object.

The rules name circles, of which the authority says whether somebody is in one; it is asked only where the answer
matters. The switch is a column of the topic's row: what would be a comment is looked at under the lock of that row, so
once it is switched off, no node stores another one. It is an event of the topic, so that everybody there learns of it.
"""

from __future__ import annotations

from collab_server.contract.rights import RIGHTS
from collab_server.domain.commenting import EVERYONE, CommentingRules, SwitchTopic
from collab_server.domain.jsontext import JsonText, dumps, json_object, now_ms
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Role
from collab_server.domain.topics import Topic
from collab_server.errors import Unavailable
from collab_server.ports import Gate
from collab_server.storage import event_log, topics
from collab_server.storage.database import Transaction

TELLING_RIGHTS = frozenset({"topic.get", "topic.subscribe"})
"""Commands that tell what somebody may do, besides needing a right themselves."""


class Commenting:
    """Says who may comment by `rules`; `gate` knows who is in which circle."""

    def __init__(self, rules: CommentingRules, gate: Gate) -> None:
        self.is_for_all = rules.is_for_all
        self._rules = rules
        self._gate = gate

    async def role(self, who: Identity, project_id: str) -> Role:
        """The part of somebody who may open an object of the project: `viewer` or `commenter`.

        Raises `Unavailable` when only the authority could tell and it is silent.
        """
        circles = self._rules.circles(project_id)
        if circles is EVERYONE:
            return "commenter"
        if circles and await self._gate.is_in_one(who, project_id, circles):
            return "commenter"
        return "viewer"

    async def role_for(self, who: Identity, topic: Topic, command: str) -> Role:
        """The same as far as it matters for a command: nobody is asked in vain, and reading needs no answer."""
        if command in RIGHTS["viewer"]:
            if command not in TELLING_RIGHTS:
                return "viewer"
            try:
                return await self.role(who, topic.first)
            except Unavailable:
                return "viewer"  # and so nothing is offered until it is known
        return await self.role(who, topic.first)


async def switch(tx: Transaction, who: Identity, command: SwitchTopic, on: Topic) -> JsonText:
    """`{seq}`."""
    topic = await topics.lock(tx, on)
    if topic.is_commenting is command.commenting:
        return json_object(seq=topic.last_seq)
    await topics.set_commenting(tx, topic.id, command.commenting)
    data = dumps({"commenting": command.commenting})
    event = await event_log.append(tx, topic, "topic.switched", who.user, now_ms(), data)
    return json_object(seq=event.seq)
