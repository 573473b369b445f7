"""More ways in which the MCP server beside this file can misbehave. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

Json = dict[str, Any]
Say = Callable[[Json], None]
Raw = Callable[[bytes], None]

FAULTS: Final = (
    "bad_pictures",  # data that is not what it is said to be
    "blank_lines",
    "dup_reply",
    "flood_stdout",  # 30 MB of lines that are no messages
    "huge_line",  # one line without an end
    "huge_schema",
    "many_values",  # an answer of a million little things
    "late_reply",  # answers the first call together with the second
    "many_tools",
    "no_caps",  # announces no tools, and has some
    "odd_content",  # one part of each kind
    "string_id",
    "version",  # speaks a protocol that nobody knows
)
_WAITING: Final[list[object]] = []


def more_tools(has: Callable[[str], bool]) -> list[Json]:
    """Return the tools that a fault adds."""
    tools: list[Json] = []
    if has("many_tools"):
        tools += [_tool(f"tool_{number}", {"type": "object"}) for number in range(5_000)]
    if has("huge_schema"):
        words = {"type": "string", "description": "x" * 2_000_000}
        tools.append(_tool("huge", {"type": "object", "properties": {"a": words}}))
    return tools


def introduced(has: Callable[[str], bool], said: Json) -> Json:
    """Return what the server says of itself."""
    if has("version"):
        said = {**said, "protocolVersion": "1999-12-31"}
    return {**said, "capabilities": {}} if has("no_caps") else said


def answered(has: Callable[[str], bool], number: object, text: str, say: Say, raw: Raw) -> bool:
    """Answer a call as a fault wants it; False if none does."""
    good: Json = {"jsonrpc": "2.0", "id": number, "result": _result(_text(text))}
    for fault, answer in _ANSWERS.items():
        if has(fault):
            answer(good, say, raw)
            return True
    return False


def _late(good: Json, say: Say, _raw: Raw) -> None:
    if not _WAITING:
        _WAITING.append(good["id"])
        return
    say({**good, "id": _WAITING[0], "result": _result(_text("too late"))})
    say(good)


def _flood(good: Json, say: Say, raw: Raw) -> None:
    for number in range(300):
        raw(b"line %d " % number + b"x" * 100_000 + b"\n")
    say(good)


def _endless(_good: Json, _say: Say, raw: Raw) -> None:
    for _ in range(80):
        raw(b"x" * 1_000_000)


def _many_values(good: Json, _say: Say, raw: Raw) -> None:
    head = json.dumps({**good, "result": {"content": [], "structuredContent": {"a": "HERE"}}})
    raw(head.replace('"HERE"', f"[{'[],' * 1_000_000}[]]").encode() + b"\n")


def _twice(good: Json, say: Say, _raw: Raw) -> None:
    say(good)
    say(good)


def _blank(good: Json, say: Say, raw: Raw) -> None:
    raw(b"\n\n  \r\n\n")
    say(good)


def _bad_pictures(good: Json, say: Say, _raw: Raw) -> None:
    gif, pdf = "R0lGODlhAQABAAAAACw=", "JVBERi0="
    blobs = [(pdf, "text/x;y\u001b"), (gif, "application/pdf"), ("AAAA", "application/pdf")]
    content = [
        {"type": "image", "data": gif, "mimeType": "image/png"},
        {"type": "image", "data": "AAAA", "mimeType": "image/tiff"},
        {"type": "image", "data": "no base64!", "mimeType": "image/png"},
        *(
            {"type": "resource", "resource": {"uri": "file:///b", "blob": blob, "mimeType": kind}}
            for blob, kind in blobs
        ),
        {"type": "audio", "data": "A" * 3_000_000, "mimeType": "audio/wav"},
    ]
    say({**good, "result": {"content": content}})


def _odd_content(good: Json, say: Say, _raw: Raw) -> None:
    pdf = {"uri": "file:///p", "blob": "JVBERi0=", "mimeType": "application/pdf"}
    content = [
        {"type": "text", "text": ""},
        {"type": "image", "data": "R0lGODlhAQABAAAAACw=", "mimeType": "image/gif"},
        {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///x", "name": "x", "description": "d"},
        {"type": "resource", "resource": {"uri": "file:///t", "text": "inside"}},
        {"type": "resource", "resource": pdf},
    ]
    say({**good, "result": {"content": content}})


_ANSWERS: Final[dict[str, Callable[[Json, Say, Raw], None]]] = {
    "bad_pictures": _bad_pictures,
    "blank_lines": _blank,
    "dup_reply": _twice,
    "flood_stdout": _flood,
    "huge_line": _endless,
    "late_reply": _late,
    "many_values": _many_values,
    "odd_content": _odd_content,
    "string_id": lambda good, say, _raw: say({**good, "id": str(good["id"])}),
}


def _tool(name: str, schema: Json) -> Json:
    return {"name": name, "description": "A tool.", "inputSchema": schema}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _result(*parts: Json) -> Json:
    return {"content": list(parts)}
