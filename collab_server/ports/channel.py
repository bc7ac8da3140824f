"""What tells people elsewhere of what is in their inbox."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from collab_server.domain.people import User
from collab_server.ports.life import Life

__all__ = ["Channel", "ChannelSetup", "Telling"]


@dataclass(frozen=True, slots=True)
class Telling:
    """Something in somebody's inbox that they are to be told elsewhere too.

    `id` is the notification's: who is told the same again gets it under the same one. `user_id` is whom to tell; `kind`
    (`mention`, `reply`, `invited`, `shared`) and `why` say of what, `by` whose doing it is. `text` is what a user
    wrote, in clear and unchecked: escape it. It is empty where it was deleted or edited meanwhile.
    """

    id: str
    user_id: str
    kind: str
    topic: str
    comment_id: str | None
    by: User
    text: str = field(repr=False)
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ChannelSetup:
    """What a node gives to the maker of a channel: what the configuration says.

    `options` are what its section of `channels` holds beside `kind`, and may hold secrets; links begin with `base_url`
    (`notificationBaseUrl`); `tls` trusts the machine's root certificates and `trustedCerts`. A maker raises
    `ValueError`, in words for an administrator and without a secret, for options that it cannot use.
    """

    options: Mapping[str, Any] = field(repr=False)
    base_url: str | None
    tls: ssl.SSLContext


class Channel(Life, Protocol):
    """What tells people elsewhere: made by a factory of the entry-point group `collab_server.channel`.

    What is told was permitted: it is in the person's inbox. One node of the cluster tells at a time; it may be another
    one for the next telling.
    """

    async def tell(self, telling: Telling) -> None:
        """Tell it, within 10 s. Whatever is raised means that it was not told: it is tried again, later and later.

        Something may be told twice, when a node dies in between.
        """
        ...
