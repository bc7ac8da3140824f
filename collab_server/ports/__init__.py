"""What may be somebody else's: the contracts that this server's own parts and those of other packages keep alike.

Each is a Protocol: nothing has to be inherited. What a method promises stands with it, for those who call it rely on
that and on nothing else. Everything here is called on the one event loop of the node, from start to end.
"""

from collab_server.ports.authority import (
    FRESH_SECONDS,
    MOST_CALLS_PER_USER,
    MOST_SESSION_SECONDS,
    NOBODY,
    Authority,
    AuthoritySetup,
    Busy,
    ContentAnswer,
    Directory,
    Ended,
    Gate,
    Origin,
    SessionUse,
    SignedIn,
    SignsIn,
    Silent,
)
from collab_server.ports.bus import Announcement, Bus, BusSetup, Handler, Peer, Queueing
from collab_server.ports.channel import Channel, ChannelSetup, Telling
from collab_server.ports.life import AlwaysThere, Life, Queues
from collab_server.ports.siblings import Siblings

__all__ = [
    "FRESH_SECONDS",
    "MOST_CALLS_PER_USER",
    "MOST_SESSION_SECONDS",
    "NOBODY",
    "AlwaysThere",
    "Announcement",
    "Authority",
    "AuthoritySetup",
    "Bus",
    "BusSetup",
    "Busy",
    "Channel",
    "ChannelSetup",
    "ContentAnswer",
    "Directory",
    "Ended",
    "Gate",
    "Handler",
    "Life",
    "Origin",
    "Peer",
    "Queueing",
    "Queues",
    "SessionUse",
    "Siblings",
    "SignedIn",
    "SignsIn",
    "Silent",
    "Telling",
]
