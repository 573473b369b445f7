"""A stand-in for a base skill that is a program of its own: some base tools over MCP, by stdio.

Standard library only. Answers as Perstack's does: one JSON text, pictures as their path.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PATH_SCHEMA: Json = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
}
TOOLS: list[Json] = [
    {"name": "attemptCompletion", "inputSchema": {"type": "object"}},
    {"name": "healthCheck", "inputSchema": {"type": "object"}},
    {"name": "exec", "inputSchema": {"type": "object"}},
    {"name": "readImageFile", "inputSchema": PATH_SCHEMA},
    {"name": "extra", "inputSchema": {"type": "object"}},
]


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": _result(message)}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


def _result(message: Json) -> Json:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "stand-in", "version": "0.0.34"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            params = message["params"]
            told = _told(str(params["name"]), params.get("arguments") or {})
            return {"content": [{"type": "text", "text": json.dumps(told)}]}
        case _:
            return {}


def _told(name: str, args: Json) -> Json:
    match name:
        case "healthCheck":
            return {"status": "ok", "workspace": str(Path.cwd())}
        case "readImageFile":
            return {"path": args["path"], "mimeType": "image/gif", "size": 1}
        case _:
            return {}


if __name__ == "__main__":
    main()
