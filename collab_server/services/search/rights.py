"""Which topics somebody may read, settled for one page of a search, with few questions to Library."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collab_server.domain.contents import ContentInfo
from collab_server.domain.people import Identity
from collab_server.domain.topics import parse_topic
from collab_server.errors import Unavailable
from collab_server.ports import Silent
from collab_server.services.backends import Backends
from collab_server.storage.search import Place

MOST_CALLS = 50
"""How often Library is asked for one page."""
CALLS_A_TOPIC = 2  # an object is a dashboard, or else a report
TOPICS_AT_ONCE = 8
PAGE_SECONDS = 1.5


class Rights:
    """What the asker may open, found out for one page: `MOST_CALLS` questions at most, in `PAGE_SECONDS`.

    `silence` is why no more can be found out, if that is so.
    """

    def __init__(self, backends: Backends, who: Identity) -> None:
        self._gate = backends.gate
        self._who = who
        self._calls_left = MOST_CALLS
        self._has_asked = False
        self._deadline = asyncio.get_running_loop().time() + PAGE_SECONDS
        self.silence: Unavailable | None = None

    async def settle(self, places: Sequence[Place], *, is_urgent: bool = False) -> tuple[int, list[int]]:
        """How many of these, from the first on, are settled now, and the numbers of those that are open.

        To ask about the open ones again never takes more than a page's calls. Beyond the deadline it goes on
        only if it `is_urgent`, or nothing was asked before.
        """
        allowed: list[int] = []
        settled = calls_again = 0
        while settled < len(places) and self.silence is None:
            some = places[settled : settled + TOPICS_AT_ONCE]
            asked = [place.id for place in some if not self._is_remembered(place)]
            room = min(self._calls_left // CALLS_A_TOPIC, len(asked))
            if room < len(asked):
                some = some[: next(i for i, place in enumerate(some) if place.id in asked[room:])]
            some = some[: (MOST_CALLS - calls_again) // CALLS_A_TOPIC]
            is_late = asyncio.get_running_loop().time() > self._deadline
            if not some or (is_late and self._has_asked and not is_urgent):
                break
            self._has_asked = True
            answers = await asyncio.gather(*map(self._open, some), return_exceptions=True)
            for place, answer in zip(some, answers, strict=True):
                if isinstance(answer, Silent):
                    self.silence = answer
                    break
                if isinstance(answer, Unavailable):
                    answer = None  # an answer about this one that makes no sense: it hides no others
                if isinstance(answer, BaseException):
                    raise answer
                settled += 1
                if answer is not None:
                    allowed.append(place.id)
                    calls_again += _calls_for(answer)
                if place.id in asked:
                    self._calls_left -= _calls_for(answer)
        return settled, allowed

    def _is_remembered(self, place: Place) -> bool:
        topic = parse_topic(place.name)
        return self._gate.last_answer(self._who, topic.first, topic.second) is not None

    async def _open(self, place: Place) -> ContentInfo | None:
        topic = parse_topic(place.name)
        return await self._gate.may_open(self._who, topic.first, topic.second)


_DASHBOARD = 55


def _calls_for(content: ContentInfo | None) -> int:
    """How often Library is asked about an object: it is a dashboard, or else a report, or else closed."""
    return 1 if content is not None and content.type == _DASHBOARD else CALLS_A_TOPIC
