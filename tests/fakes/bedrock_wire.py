"""Amazon's event stream: Anthropic's events in frames with checksums."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable, Iterator

CONTENT_TYPE = "application/vnd.amazon.eventstream"


def bedrock_frames(events: Iterable[bytes]) -> Iterator[bytes]:
    """Return each server-sent event as a frame."""
    for event in events:
        for line in event.splitlines():
            if line.startswith(b"data: "):
                inner = base64.b64encode(line.removeprefix(b"data: ")).decode()
                yield _frame("event", "chunk", json.dumps({"bytes": inner}).encode())


def bedrock_exception(kind: str, message: str) -> bytes:
    """Return the frame of a failure in mid-stream."""
    return _frame("exception", kind, json.dumps({"message": message}).encode())


def _frame(message_type: str, kind: str, payload: bytes) -> bytes:
    headers = {
        ":exception-type" if message_type == "exception" else ":event-type": kind,
        ":content-type": "application/json",
        ":message-type": message_type,
    }
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + encoded + payload
    return body + struct.pack(">I", zlib.crc32(body))


def _header(name: str, value: str) -> bytes:
    said = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(said)) + said
