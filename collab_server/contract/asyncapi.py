"""`asyncapi.json`: the Socket.IO side in AsyncAPI 3, from the rows that the server dispatches on."""

from __future__ import annotations

import json
from collections.abc import Iterator

from collab_server import __version__
from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.events import EVENTS, SIGNALS
from collab_server.contract.examples import error_example, example, payload_example
from collab_server.contract.named import event_name, message_schemas, titled, type_name
from collab_server.contract.rows import CommandType
from collab_server.contract.schemas import (
    REF,
    Schema,
    exactly,
    object_name,
    payload_schema,
    shape_schema,
)

CHANNEL = {"$ref": "#/channels/client"}

_DESCRIPTION = """\
The Socket.IO side of the collaboration server; docs/protocol.md says it in prose.

Each message is a Socket.IO event: its name is the name of the message, its one argument the payload. Messages that \
the server receives are commands, each acknowledged with exactly one object, which is the reply here. Sign in with \
`auth` of the CONNECT packet: `{identityToken}`, `{authToken}` or `{resumeToken}`."""


def asyncapi() -> str:
    """The text of `asyncapi.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Schema:
    """The document."""
    messages = dict(_messages())
    operations: dict[str, Schema] = {}
    for name, row in COMMANDS.items():
        operations[name] = {
            "action": "receive",
            "channel": CHANNEL,
            "summary": row.says,
            "description": f"Who may: {row.who.words}",
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
        "components": {"messages": messages, "schemas": dict(message_schemas())},
    }


def _messages() -> Iterator[tuple[str, Schema]]:
    for name, row in COMMANDS.items():
        yield name, _command(row)
        yield _answer_name(name), _answer(row)
    for event in EVENTS.values():
        caused = ", ".join(f"`{name}`" for name in event.by)
        description = f"On {' and '.join(event.on)} topics; caused by {caused}."
        payload = {"$ref": REF + event_name(event)}
        yield _sent(event.name), _message(event.name, event.means, description, payload)
    for signal in SIGNALS.values():
        yield (
            _sent(signal.name),
            _message(
                signal.name,
                signal.means,
                "A signal: it has no `seq` and is not stored.",
                titled(f"{type_name(signal.name)}Signal", shape_schema(signal.name, signal.data)),
            ),
        )


def _command(row: CommandType) -> Schema:
    return {
        "name": row.name,
        "summary": row.says,
        "payload": titled(f"{type_name(row.name)}Command", payload_schema(row.name)),
        "examples": [{"payload": payload_example(row.name)}],
    }


def _answer(row: CommandType) -> Schema:
    name = type_name(row.name)
    if isinstance(row.answer, type):
        data = {"$ref": REF + object_name(row.answer)}
    else:
        data = shape_schema(row.name, row.answer)
    return {
        "name": row.name,
        "title": f"The acknowledgement of {row.name}",
        "payload": {
            "title": f"{name}Answer",
            "oneOf": [
                titled(f"{name}Done", exactly({"ok": {"const": True}, "data": data})),
                titled(f"{name}Refused", exactly({"ok": {"const": False}, "error": {"$ref": REF + "Error"}})),
            ],
        },
        "examples": [
            {"name": "done", "payload": {"ok": True, "data": example(data, message_schemas())}},
            {"name": "refused", "payload": {"ok": False, "error": error_example("invalid")}},
        ],
    }


def _message(name: str, summary: str, description: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "summary": summary,
        "description": description,
        "payload": schema,
        "examples": [{"payload": example(schema, message_schemas())}],
    }


def _answer_name(command: str) -> str:
    return f"{command}.answer"


def _sent(name: str) -> str:
    """How a message that the server sends is called in the document, for commands may have the same name."""
    return f"{name}.sent" if name in COMMANDS else name


def _in_channel(name: str) -> Schema:
    return {"$ref": f"#/channels/client/messages/{name}"}
