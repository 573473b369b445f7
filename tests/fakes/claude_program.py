"""A stand-in for `claude` where no npm is: it prints records and asks permission, as the real does.

It runs no model and no tool. What it does stands in `claude-script.json` of the folder that it is
started in, a list of:

    {"type": ...}                 a record, printed as it stands
    {"ask": {"tool_name": "Bash", "input": {}, "tool_use_id": "t1"}}
                                  our server is asked; its decision is printed as t1's result
    {"call": "askUser"}           one of the server's own tools is called

How it was started is written to `claude-call.json`. It imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Server:
    """Our MCP server, as the file of servers names it."""

    def __init__(self, named: Json) -> None:
        self.url: str = named["url"]
        self.headers: dict[str, str] = {
            **named["headers"],
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        asked = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "claude", "version": "0"},
        }
        self.say("initialize", asked)
        self.say("notifications/initialized", {}, number=None)

    def say(self, method: str, params: Json, number: int | None = 1) -> Json:
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        body = json.dumps(message).encode()
        request = urllib.request.Request(self.url, body, self.headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer:
            if session := answer.headers.get("mcp-session-id"):
                self.headers["mcp-session-id"] = session
            for line in answer:
                if line.startswith(b"data: {"):
                    return json.loads(line.removeprefix(b"data: "))
        return {}

    def call(self, name: str, args: Json) -> str:
        said = self.say("tools/call", {"name": name, "arguments": args})
        return said["result"]["content"][0]["text"]


def option(name: str) -> str | None:
    found = [word.partition("=")[2] for word in sys.argv if word.startswith(f"--{name}=")]
    return found[0] if found else None


def show(record: Json) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def main() -> None:
    if "--version" in sys.argv:
        sys.stdout.write("2.1.0 (stand-in)\n")
        return
    prompt = sys.stdin.read()
    servers = option("mcp-config")
    instruction = option("append-system-prompt-file")
    call: Json = {
        "argv": sys.argv[1:],
        "env": dict(os.environ),
        "prompt": prompt,
        "modes": [oct(Path(one).stat().st_mode & 0o777) for one in (servers, instruction) if one],
        "instruction": Path(instruction).read_text() if instruction else None,
        "servers": json.loads(Path(servers).read_text()) if servers else None,
    }
    Path("claude-call.json").write_text(json.dumps(call))
    server: Server | None = None
    if call["servers"] is not None:
        server = Server(call["servers"]["mcpServers"]["perstack"])
    for step in json.loads(Path("claude-script.json").read_text()):
        if "ask" in step and server is not None:
            tool = (option("permission-prompt-tool") or "").rpartition("__")[2]
            told = server.call(tool, step["ask"])
            block = {"tool_use_id": step["ask"]["tool_use_id"], "content": told}
            message = {"content": [{"type": "tool_result", **block}]}
            show({"type": "user", "message": message})
        elif "call" in step and server is not None:
            server.call(step["call"], {})
        else:
            show(step)


if __name__ == "__main__":
    main()
