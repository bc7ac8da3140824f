"""`asyncapi.json`: the Socket.IO side in AsyncAPI 3, from the table that the server dispatches on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from collab_server import __version__
from collab_server.contract.commands import ROUTES
from collab_server.contract.events import CONNECTION_ANSWERS, EVENTS, OBJECTS, SIGNALS, Shape
from collab_server.contract.openapi import (
    Schema,
    error_example,
    example,
    object_name,
    objects,
    payload,
    payload_example,
    says,
    who_may,
)
from collab_server.contract.wording import BOB, COMMENT_ID, TIME, wording
from collab_server.services.commands.table import TABLE, Entry

REF = "#/components/schemas/"
CHANNEL = {"$ref": "#/channels/client"}

_DESCRIPTION = """\
The Socket.IO side of the collaboration server; docs/protocol.md says it in prose.

Each message is a Socket.IO event: its name is the name of the message, its one argument the payload. Messages that \
the server receives are commands, each acknowledged with exactly one object, which is the reply here. Sign in with \
`auth` of the CONNECT packet: `{identityToken}`, `{authToken}` or `{resumeToken}`."""

_SIMPLE: dict[str, Schema] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "time": {"type": "string", "format": "date-time", "examples": [TIME]},
    "id": {"type": "string", "format": "uuid", "examples": [COMMENT_ID]},
    "libraryId": {"type": "string", "pattern": "^[0-9A-F]{32}$", "examples": [BOB]},
}


def asyncapi() -> str:
    """The text of `asyncapi.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Schema:
    """The document."""
    messages = dict(_messages())
    operations: dict[str, Schema] = {}
    for name, entry in TABLE.items():
        operations[name] = {
            "action": "receive",
            "channel": CHANNEL,
            "summary": says(entry),
            "description": f"Who may: {who_may(name)}",
            "messages": [_in_channel(name)],
            "reply": {"channel": CHANNEL, "messages": [_in_channel(_answer_name(name))]},
        }
    for name in (*EVENTS, *SIGNALS):
        operations[_sent(name)] = {
            "action": "send",
            "channel": CHANNEL,
            "messages": [_in_channel(_sent(name))],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Collaboration server", "version": __version__, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": "localhost:3000",
                "pathname": "/socket.io/",
                "protocol": "ws",
                "protocolVersion": "13",
                "description": "A node, or the load balancer in front; wss with TLS. Engine.IO 4, or its long-polling.",
            }
        },
        "channels": {
            "client": {
                "address": "/",
                "title": "The namespace / of Socket.IO",
                "servers": [{"$ref": "#/servers/node"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _schemas() -> Schema:
    shown = dict(objects())
    for name, shape in OBJECTS.items():
        shown[name] = _schema_of_shape(name, shape)
    # Its `data` by its type is said by the messages.
    return {name: shown[name] for name in sorted(shown)}


def _messages() -> Iterator[tuple[str, Schema]]:
    for name, entry in TABLE.items():
        yield name, _command(name, entry)
        yield _answer_name(name), _answer(name)
    for event in EVENTS.values():
        envelope: Schema = {
            "type": "object",
            "required": ["topic", "seq", "type", "at", "actor", "data"],
            "properties": {
                **objects()["Event"]["properties"],
                "type": {"const": event.name},
                "data": _schema_of_shape(event.name, event.data),
            },
        }
        caused = ", ".join(f"`{name}`" for name in event.by)
        yield (
            _sent(event.name),
            _message(
                event.name, event.means, f"On {' and '.join(event.on)} topics; caused by {caused}.", envelope
            ),
        )
    for signal in SIGNALS.values():
        yield (
            _sent(signal.name),
            _message(
                signal.name,
                signal.means,
                "A signal: it has no `seq` and is not stored.",
                _schema_of_shape(signal.name, signal.data),
            ),
        )


def _command(name: str, entry: Entry) -> Schema:
    return {
        "name": name,
        "summary": says(entry),
        "payload": payload(name),
        "examples": [{"payload": payload_example(name)}],
    }


def _answer(name: str) -> Schema:
    if name in CONNECTION_ANSWERS:
        data = _schema_of_shape(name, CONNECTION_ANSWERS[name])
    else:
        [answer] = [route.answer for route in ROUTES if route.command == name]
        data = {"$ref": REF + object_name(answer)}
    return {
        "name": name,
        "title": f"The acknowledgement of {name}",
        "payload": {
            "oneOf": [
                _exactly({"ok": {"const": True}, "data": data}),
                _exactly({"ok": {"const": False}, "error": {"$ref": REF + "Error"}}),
            ]
        },
        "examples": [
            {"name": "done", "payload": {"ok": True, "data": example(data, _schemas())}},
            {"name": "refused", "payload": {"ok": False, "error": error_example("invalid")}},
        ],
    }


def _message(name: str, summary: str, description: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "summary": summary,
        "description": description,
        "payload": schema,
        "examples": [{"payload": example(schema, _schemas())}],
    }


def _schema_of_shape(owner: str, shape: Shape) -> Schema:
    properties = {name: _schema_of(kind) for name, kind in shape.items()}
    for name, schema in properties.items():
        found = wording(owner, name)
        if found is not None:
            schema["description"] = found.means
            if found.example is not None:
                schema.setdefault("examples", [found.example])
    return _exactly(properties)


def _exactly(properties: dict[str, Any]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _schema_of(kind: str) -> Schema:
    """The schema of a type as the catalogue writes it."""
    options = kind.split(" | ")
    if kind.startswith("'"):
        return {"enum": [option.strip("'") for option in options]}
    if len(options) > 1:
        return {"anyOf": [_schema_of(option) for option in options]}
    if kind.endswith("[]"):
        return {"type": "array", "items": _schema_of(kind.removesuffix("[]"))}
    return dict(_SIMPLE[kind]) if kind in _SIMPLE else {"$ref": REF + kind}


def _answer_name(command: str) -> str:
    return f"{command}.answer"


def _sent(name: str) -> str:
    """How a message that the server sends is called in the document, for commands may have the same name."""
    return f"{name}.sent" if name in TABLE else name


def _in_channel(name: str) -> Schema:
    return {"$ref": f"#/channels/client/messages/{name}"}
