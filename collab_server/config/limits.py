"""The limits of a node, as `config.json` has them: all of the configuration that services and doors are given."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class Limits(Section):
    """What one client, user or text may take. The defaults are those of the wire contract."""

    textCharacters: int = Field(default=10_000, ge=1, le=1_000_000, description="Code points in one text.")
    viewStateBytes: int = Field(default=65_536, ge=2, le=10_000_000, description="Bytes of one `viewState`.")
    packetBytes: int = Field(
        default=1_000_000,
        ge=10_000,
        le=100_000_000,
        description="Bytes of one packet or request; a larger packet closes the socket.",
    )
    discussionMembers: int = Field(default=200, ge=2, le=10_000, description="Members of one discussion.")
    mentionsPerComment: int = Field(default=50, ge=0, le=1_000, description="Mentions in one comment.")
    recipientsPerCommand: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="People that one command mentions, invites or sends to, groups opened.",
    )
    recipientsPerHour: int = Field(
        default=5_000,
        ge=1,
        le=10_000_000,
        description="People that one user mentions, invites or sends to within an hour, each counted every time.",
    )
    topicsPerConnection: int = Field(
        default=128, ge=1, le=100_000, description="Topics that one connection may be subscribed to."
    )
    commandsPerSecond: int = Field(
        default=50, ge=1, le=1_000_000, description="Commands per second and user, in the long run."
    )
    commandsBurst: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Commands that a user may send at once after a quiet time.",
    )
    commandsWaiting: int = Field(
        default=512,
        ge=1,
        le=100_000,
        description="Commands of one connection that may wait for their turn, together of two packets' bytes at most.",
    )
    connectionsPerUser: int = Field(
        default=20, ge=1, le=1_000_000, description="Connections of one user to one node."
    )
    requestsPerUser: int = Field(
        default=32,
        ge=1,
        le=1_000_000,
        description="REST calls of one user that are not answered yet, or whose answer is not taken, at one node.",
    )
    outgoingBytes: int = Field(
        default=1_000_000,
        ge=10_000,
        le=1_000_000_000,
        description="Bytes that may wait for a client that reads too slowly; beyond, it is disconnected: at once, or"
        " after 30 s when it is one answer that is larger. So is whoever takes nothing for 30 s while something waits.",
    )
    strangers: int = Field(
        default=10_000,
        ge=10,
        le=10_000_000,
        description="Connections to one node that are not signed in. When there are more, the oldest of them goes.",
    )
    strangersPerAddress: int = Field(
        default=1_000,
        ge=1,
        le=10_000_000,
        description="Those of them that come from one address (of IPv6: from one /64).",
    )
    strangersBytes: int = Field(
        default=64_000_000,
        ge=1_000_000,
        le=10_000_000_000,
        description="What all of them may take together, in bytes; those of one address a tenth of it.",
    )
    strangerPacketBytes: int = Field(
        default=16_384,
        ge=1_000,
        le=100_000_000,
        description="Bytes of one packet, or body for Socket.IO, of somebody who is not signed in.",
    )
    signInTries: int = Field(
        default=2, ge=1, le=1_000_000, description="Times that one connection may try to sign in."
    )
    failedSignIns: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Tokens of one address that Library may refuse at once, and one a second in the long run. Of those"
        " that come from it then, at most two are asked about at a time; tokens that are known are no matter.",
    )
