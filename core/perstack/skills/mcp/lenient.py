"""Makes of a server's messages what the SDK accepts: one bad tool must not cost the others.

Works on parsed JSON, before the SDK's models see it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from pydantic import JsonValue

from perstack.skills.mcp.limits import MAX_DESCRIPTION_CHARS, MAX_SCHEMA_CHARS
from perstack.skills.mcp.notifications import heard, is_notification
from perstack.skills.text import cut, printable

Json = dict[str, JsonValue]
INPUT_SCHEMA: Final = "perstack/inputSchema"
OUTPUT_SCHEMA: Final = "perstack/outputSchema"
BROKEN_REPLY: Final = -32603
# Made here, for a server at an address that has forgotten what was spoken before.
CONVERSATION_LOST: Final = -32098
# Made here, when the connection broke before an answer was complete.
CONNECTION_CUT: Final = -32097

_TOOL_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SHOWN_CHARS: Final = 80


def mended(message: JsonValue, tell: Callable[[str], None]) -> Json | None:
    """Return the message as the SDK can take it, None if it is none; `tell` gets a sentence."""
    taken = sound(message)
    if taken is not None and is_notification(taken):
        return heard(taken)
    result = taken.get("result") if taken is not None else None
    if taken is None or not isinstance(result, dict):
        return taken
    return {**taken, "result": _mend_result(result, tell)}


def sound(message: JsonValue) -> Json | None:
    """Return what can be taken for a message, None if it cannot.

    A reply that breaks the protocol but says which request it answers becomes an error reply, so
    that nobody waits for a better one.
    """
    if not isinstance(message, dict):
        return None
    if "method" in message or not _is_broken_reply(message):
        return message
    reply_to = message.get("id")
    if reply_to is None:
        return None
    error: Json = {"code": BROKEN_REPLY, "message": "the server's reply breaks the protocol"}
    return {"jsonrpc": "2.0", "id": reply_to, "error": error}


def _is_broken_reply(message: Json) -> bool:
    has_result = isinstance(message.get("result"), dict)
    has_error = isinstance(message.get("error"), dict)
    return message.get("jsonrpc") != "2.0" or has_result == has_error or "id" not in message


def _mend_result(result: Json, tell: Callable[[str], None]) -> Json:
    tools, content = result.get("tools"), result.get("content")
    if isinstance(tools, list):
        kept = (_mend_tool(tool, tell) for tool in tools)
        listing: Json = {"tools": [tool for tool in kept if tool is not None]}
        cursor = result.get("nextCursor")
        return listing | {"nextCursor": cursor} if isinstance(cursor, str) else listing
    if isinstance(content, list):
        return {**result, "content": [_shorten(part) for part in content]}
    return result


def _mend_tool(tool: JsonValue, tell: Callable[[str], None]) -> Json | None:
    """Keep the name, the description and the schemas; a tool without a usable name is dropped."""
    if not isinstance(tool, dict):
        tell("a tool was left out: it is no object")
        return None
    name, description = tool.get("name"), tool.get("description")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        shown = printable(str(name)[:_SHOWN_CHARS])
        tell(f"the tool {shown!r} was left out: models take 1 to 64 letters, digits, '_' and '-'")
        return None
    given = tool.get("inputSchema")
    schema: Json = {**given, "type": "object"} if isinstance(given, dict) else {"type": "object"}
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        too_long = f"its schema is longer than {MAX_SCHEMA_CHARS:,} characters"
        tell(f"the tool {name} was left out: {too_long}")
        return None
    # The schemas go past the SDK: it would refuse the whole list for a broken one, and would check
    # results itself, with patterns.
    meta: Json = {INPUT_SCHEMA: schema}
    if isinstance(tool.get("outputSchema"), dict):
        meta[OUTPUT_SCHEMA] = tool["outputSchema"]
    mended: Json = {"name": name, "inputSchema": {"type": "object"}, "_meta": meta}
    if isinstance(description, str):
        mended["description"] = cut(description, MAX_DESCRIPTION_CHARS)
    return mended


def _shorten(part: JsonValue) -> JsonValue:
    if isinstance(part, dict):
        text = part.get("text")
        if isinstance(text, str):
            return {**part, "text": cut(text)}
    return part
