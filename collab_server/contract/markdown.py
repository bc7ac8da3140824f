"""`protocol.md`: its prose from a template, its tables from the code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from collab_server.config.model import Limits
from collab_server.contract.commands import ROUTES, Route
from collab_server.contract.events import CONNECTION_ANSWERS, EVENTS, OBJECTS, SIGNALS, Shape
from collab_server.contract.openapi import (
    Schema,
    error_example,
    object_name,
    objects,
    payload,
    payload_example,
    plain,
    says,
    who_may,
)
from collab_server.contract.wording import WORDINGS, wording
from collab_server.errors import CODES
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE, Entry

GROUPS = {
    "Comments": ("comment", "thread"),
    "Topics": ("topic", "typing"),
    "Discussions": ("discussion",),
    "Inbox and sharing": ("notification", "share"),
    "Finding": ("comments", "recipients"),
    "The session": ("me", "session"),
}
"""Heading → the first parts of the names of the commands under it."""

ROUTE = {route.command: route for route in ROUTES}

REFUSALS: dict[str, tuple[str, ...]] = {
    "comment.add": (
        "`not_found`: `replyTo` is no comment of this topic",
        "`conflict`: the comment to reply to was deleted",
        "`invalid`: blank, or a mention of somebody who does not exist (`field` is `text`)",
        "`too_large`: text, mentions, anchor or view state",
    ),
    "comment.edit": (
        "`forbidden`: somebody else wrote it",
        "`conflict`: it was deleted",
        "`invalid`, `too_large`: as with `comment.add`",
    ),
    "comment.delete": ("`forbidden`: somebody else wrote it", "`conflict`: it was deleted before"),
    "comment.react": (
        "`invalid`: not one emoji",
        "`conflict`: the comment was deleted",
        "`too_large`: 100 different emoji are on it",
    ),
    "comment.unreact": ("`invalid`: not one emoji", "`conflict`: the comment was deleted"),
    "topic.subscribe": (
        "`too_large`: `topicsPerConnection` are subscribed to",
        "`invalid`: `limit` out of range",
    ),
    "topic.unsubscribe": ("`not_found`: this connection is not subscribed to it",),
    "topic.mute": ("`invalid`: `until` is no time to come, or comes with `muted: false`",),
    "topic.summaries": (
        "`too_large`: more than 500 topics. Those that the asker may not open are left out, not refused",
    ),
    "typing": ("`forbidden`: this connection is not subscribed to the topic",),
    "discussion.create": (
        "`not_found`: `about` may not be opened",
        "`invalid`: no such user or group (`field` is `members[0].id`), a blank name or text",
        "`too_large`: more than `discussionMembers`, the name, the text",
    ),
    "discussion.rename": ("`invalid`: blank", "`too_large`: over 200 characters"),
    "discussion.invite": (
        "`invalid`: no such user or group (`field` is `members[0].id`)",
        "`too_large`: more than `discussionMembers`",
    ),
    "discussion.remove": ("`not_found`: not a member", "`conflict`: oneself; use `discussion.leave`"),
    "discussion.transfer": ("`not_found`: not a member",),
    "share": (
        "`not_found`: the asker may not open the object",
        "`invalid`: no recipients, or no such user or group",
        "`too_large`: message, view state, recipients",
    ),
    "notification.read": (
        "`invalid`: both of `ids` and `upTo`, or neither",
        "`too_large`: more than 500 ids",
    ),
    "session.refresh": (
        "`unauthenticated`: not exactly one token, or not one Library accepts",
        "`forbidden`: the token is another user's",
    ),
    "comments.search": ("`invalid`: nothing to look for", "`too_large`: over 200 characters or 16 words"),
    "recipients.find": ("`too_large`: over 200 characters",),
}
"""Refusals that are particular to a command."""

REMARKS: dict[str, str] = {
    "comment.add": "Whoever is mentioned, and whoever takes part in the thread, is told in their inbox, if they may"
    " open the topic and have not muted it.",
    "comment.edit": (
        "Only those are told that the edit newly mentions, and who was told of the comment before is not told again."
    ),
    "topic.subscribe": "[Subscribing, catching up](#subscribing-catching-up) says what `after` does.",
    "topic.read": "Own comments are never unread. The other devices learn of it by `topic.was_read`.",
    "topic.anchors": "`items` has a place for every `pageKey` and `visualizationKey` that comments name, and one with"
    " both null for the others; deleted comments do not count. A reply that names neither counts at its root's place,"
    " here and in the filters of `topic.comments`.",
    "topic.summaries": "Each topic once, in the order asked; the asker's own inbox may be among them.",
    "topic.unsubscribe": "Who leaves their own inbox hears of it again after subscribing to it, or with the next"
    " connection.",
    "discussion.create": "The asker is a member and the owner. Those invited find it in their inboxes; `seq` is the"
    " event `discussion.created`.",
    "discussion.invite": "New members see all that was said before. When all of them are members already, nothing"
    " happens, and `seq` is the head.",
    "discussion.remove": "The removed person gets `member.removed` as the last event, then `topic.closed`.",
    "discussion.delete": "The members get `discussion.deleted`, then `topic.closed`. There is no way back. Nobody can"
    " read what was said there any more; what inboxes tell of it stays as it was told.",
    "discussion.leave": "When the owner leaves, the longest-standing member owns it. The last who leaves deletes it:"
    " then the only event is `discussion.deleted`.",
    "share": "The kind of the notification is `shared`. Whoever may not open the object is told nothing, unless they"
    " may one day. The answer does not say who that is.",
    "comments.search": "Every word of `q` has to be found, where a word begins with it (in scripts without spaces:"
    " anywhere), whatever its case and accents; deleted comments are not. `highlights` are `[first, how many]` in code"
    " points of the text. What is looked for does not decide where: a page searches some of the topics that the asker"
    " may open, back in time, and `next` leads to older comments there, then to further topics: first the asker's"
    " discussions, content that they were told of, wrote on or read, and the newest; in the end all. A page may be"
    " short, or empty, and still have a `next`.",
    "recipients.find": "Whom one can mention, invite and share with. With `kind`, a page may be short, or empty, and"
    " still have a `next`.",
    "session.end": "All connections and resume tokens of the sign-in, on all nodes, end at once;"
    " [Signing out](#signing-out).",
    "session.refresh": "The new token begins another sign-in: it counts for everything from here on.",
    "typing": "See [signals](#signals).",
}

BEYOND: dict[str, str] = {
    "textCharacters": "`too_large`",
    "viewStateBytes": "`too_large`",
    "packetBytes": "over Socket.IO the transport is closed; over REST `too_large`",
    "discussionMembers": "`too_large`",
    "mentionsPerComment": "`too_large`",
    "recipientsPerCommand": "`too_large`",
    "recipientsPerHour": "`rate_limited`, with `retryAfter`",
    "topicsPerConnection": "`too_large`",
    "commandsPerSecond": "`rate_limited`, with `retryAfter`",
    "commandsBurst": "`rate_limited`, with `retryAfter`",
    "commandsWaiting": "`rate_limited`",
    "connectionsPerUser": "CONNECT_ERROR `rate_limited`",
    "strangers": "the oldest of them is closed",
    "strangersPerAddress": "the oldest of the address is closed",
    "strangersBytes": "the oldest of them is closed",
    "strangerPacketBytes": "the transport is closed; over long-polling HTTP 413",
    "signInTries": "the transport is closed",
    "failedSignIns": "tokens of this address wait for one another, and may be `unavailable`",
    "requestsPerUser": "`rate_limited`, with `retryAfter`",
    "outgoingBytes": "the transport is closed",
}


def protocol(template: str) -> str:
    """The text of `protocol.md`: the template with each `{{part}}` in its place."""
    parts: dict[str, Callable[[], str]] = {
        "command-index": _command_index,
        "objects": _objects,
        "commands": _commands,
        "events": _events,
        "signals": _signals,
        "rest": _rest,
        "error-object": lambda: _fields_table("Error", objects()["Error"]),
        "errors": _errors,
        "limits": _limits,
    }
    used = set(re.findall(r"{{(.*?)}}", template))
    assert used == parts.keys(), used ^ parts.keys()
    return re.sub(r"{{(.*?)}}", lambda match: parts[match[1]](), template)


# -- types in words ------------------------------------------------------------------------------------------------


def type_text(schema: Schema) -> str:
    """A schema's type as people write it: `string`, `Comment[]`, `"newest" | "oldest"`, `{kind, id}`."""
    if "$ref" in schema:
        return _object_text(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " \\| ".join(f'`"{value}"`' for value in schema["enum"])
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        rest = {
            key: value for key, value in schema.items() if key not in ("anyOf", "description", "examples")
        }
        text = " or ".join(type_text({**rest, **option}) for option in options)
        return text + (" or null" if len(options) < len(schema["anyOf"]) else "")
    match schema.get("type"):
        case "array":
            return f"{type_text(schema['items'])}[]"
        case "object" if "properties" in schema:
            required = schema.get("required", ())
            fields = (name if name in required else f"{name}?" for name in schema["properties"])
            return "`{" + ", ".join(fields) + "}`"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"{{…: {type_text(schema['additionalProperties'])}}}"
        case "string" if "format" in schema:
            return {"uuid": "id", "date-time": "time"}[schema["format"]]
        case None:
            return "any JSON"
        case kind:
            return str(kind)


def _object_text(name: str) -> str:
    return f"[{name}](#{name.lower()})" if name in _shown_objects() else _inline(objects()[name])


def _shape_type(text: str) -> str:
    """A type of the catalogue as people write it."""
    words = {"libraryId": "string"}
    parts = []
    for part in text.split(" | "):
        name = part.removesuffix("[]")
        if name.startswith("'"):
            parts.append(f'`"{name[1:-1]}"`')
        else:
            shown = _object_text(name) if name in objects() or name in OBJECTS else words.get(name, name)
            parts.append(shown + "[]" * part.endswith("[]"))
    return (" \\| " if "'" in text else " or ").join(parts)


def _inline(schema: Schema) -> str:
    """`{comment: Comment, seq: integer}`."""
    fields = (f"{name}: {type_text(field)}" for name, field in schema.get("properties", {}).items())
    return "{" + ", ".join(fields) + "}"


def _inline_shape(shape: Shape) -> str:
    return "{" + ", ".join(f"{name}: {_shape_type(kind)}" for name, kind in shape.items()) + "}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


# -- objects -------------------------------------------------------------------------------------------------------


def _shown_objects() -> list[str]:
    """The objects with a table of their own: all that something else refers to, and those of signals."""
    referred: set[str] = set()
    for schema in objects().values():
        referred |= set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    first = [
        "Comment",
        "User",
        "Mention",
        "Resolved",
        "Discussion",
        "Member",
        "Content",
        "Notification",
        "Event",
    ]
    others = sorted((referred | OBJECTS.keys()) - {*first, "Error"})
    return [*first, *others]


def _objects() -> str:
    return "\n\n".join(_object(name) for name in _shown_objects())


def _object(name: str) -> str:
    if name in OBJECTS:
        rows = (
            (f"`{field}`", _shape_type(kind), _SHAPE_WORDS[f"{name}.{field}"])
            for field, kind in OBJECTS[name].items()
        )
        return f"### {name}\n\n{_table(('field', 'type', ''), rows)}"
    schema = objects()[name]
    return f"### {name}\n\n{schema['description']}\n\n{_fields_table(name, schema)}"


def _fields_table(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    if name == "Error":
        del (schema := deepcopy(schema))["properties"]["code"]["enum"]  # there is a table of them
    rows = (
        (
            f"`{field}`" if field in required else f"`{field}`, only where it applies",
            type_text(_plain_if_optional(about, field in required)),
            about.get("description", ""),
        )
        for field, about in schema["properties"].items()
    )
    return _table(("field", "type", ""), rows)


def _plain_if_optional(schema: Schema, is_required: bool) -> Schema:
    """The schema, without null where a field is either there or not."""
    return schema if is_required else plain(schema)


_SHAPE_WORDS = {
    "Serving.reads": "Whether reading commands work.",
    "Serving.writes": "Whether writing commands work.",
    "Serving.live": "Whether events of other nodes come at once; otherwise within 2 s.",
}


# -- commands ------------------------------------------------------------------------------------------------------


def _grouped() -> Iterator[tuple[str, list[str]]]:
    left = list(TABLE)
    for heading, firsts in GROUPS.items():
        names = [name for name in TABLE if name.partition(".")[0] in firsts]
        left = [name for name in left if name not in names]
        if names:
            yield heading, names
    assert not left, f"in no group: {left}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _command_index() -> str:
    return " · ".join(f"[{name}](#{_anchor(name)})" for _, names in _grouped() for name in names)


def _commands() -> str:
    sections = []
    for heading, names in _grouped():
        sections.append(f"### {heading}")
        sections += [_command(name, TABLE[name]) for name in names]
    return "\n\n".join(sections)


def _command(name: str, entry: Entry) -> str:
    lines = [f"#### `{name}`", says(entry)]
    if name in REMARKS:
        lines[-1] += f" {REMARKS[name]}"
    facts = [f"Who may: {who_may(name)}"]
    if name in ROUTE:
        facts.append(f"REST: {_call(ROUTE[name])}")
    else:
        facts.append("REST: none; it is about the connection.")
    facts.append(f"Answer: {_answer(name)}")
    caused = [f"`{event.name}`" for event in EVENTS.values() if name in event.by]
    if caused:
        facts.append(f"Events: {', '.join(caused)}")
    if name in REFUSALS:
        facts.append(f"Refusals: {'; '.join(REFUSALS[name])}.")
    lines.append("\n".join(f"- {fact}" for fact in facts))
    schema = payload(name)
    if schema["properties"]:
        lines.append(_payload_table(name, schema))
        lines.append(f"```json\n{json.dumps(payload_example(name), ensure_ascii=False)}\n```")
    else:
        lines.append("It takes no fields.")
    return "\n\n".join(lines)


def _payload_table(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = []
    for field, about in schema["properties"].items():
        found = wording(name, field)
        assert found is not None, f"{name}.{field} is not in contract/wording.py"
        default = about.get("default")
        rest = "" if default is None else f" Left out: {json.dumps(default)}."
        means = (
            "The name of a [topic](#topics-and-their-logs)." if found is WORDINGS["topic"] else found.means
        )
        rows.append(
            (
                f"**`{field}`**" if field in required else f"`{field}`",
                type_text(plain(about)),
                means + rest,
            )
        )
    return _table(("field", "type", ""), rows)


def _call(route: Route) -> str:
    return f"`{route.method} /api{route.path}`{' → 201' if route.status == 201 else ''}"


def _answer(name: str) -> str:
    if name in CONNECTION_ANSWERS:
        return _inline_shape(CONNECTION_ANSWERS[name])
    answer = object_name(ROUTE[name].answer)
    return _object_text(answer)


# -- events, signals, REST, errors, limits -------------------------------------------------------------------------


def _events() -> str:
    rows = (
        (f"`{event.name}`", ", ".join(event.on), _inline_shape(event.data), event.means)
        for event in EVENTS.values()
    )
    return _table(("type", "on", "`data`", ""), rows)


def _signals() -> str:
    rows = ((f"`{signal.name}`", _inline_shape(signal.data), signal.means) for signal in SIGNALS.values())
    return _table(("signal", "argument", ""), rows)


def _rest() -> str:
    rows = []
    for route in ROUTES:
        path = {name for name in re.findall(r"\{(\w+)\}", route.path)}
        schema = payload(route.command)
        taken = [
            f"**{name}**" if name in schema.get("required", ()) else name
            for name in schema["properties"]
            if name not in path and name != "requestId"
        ]
        place = "body" if route.has_body else "query"
        key = "yes" if isinstance(TABLE[route.command], Write) else ""
        rows.append(
            (
                _call(route),
                f"[{route.command}](#{_anchor(route.command)})",
                f"{place}: {', '.join(taken)}" if taken else "",
                key,
            )
        )
    return _table(("call", "command", "takes, besides the path", "`Idempotency-Key`"), rows)


def _errors() -> str:
    rows = []
    for code, error in CODES.items():
        more = {key: value for key, value in error_example(code).items() if key in ("retryAfter", "outcome")}
        rows.append(
            (f"`{code}`", str(error.http_status), error.meaning, ", ".join(f"`{key}`" for key in more))
        )
    return _table(("code", "HTTP", "", "always with"), rows)


def _limits() -> str:
    rows: list[tuple[str, str, str, str]] = []
    for name, field in Limits.model_fields.items():
        default: Any = field.default
        rows.append((f"`{name}`", str(default), str(field.description), BEYOND[name]))
    return _table(("limit", "default", "", "beyond it"), rows)
