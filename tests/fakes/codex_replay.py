"""A stand-in for `codex` that replays what codex 0.169.0 printed, for tests that must be short.

It runs no model and no command. How it was started is added to `codex-calls.jsonl` of the folder
that it is started in. It imports nothing of ours: it is started as a program.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

SESSION: Final = "01a2026b-b28c-7221-8a90-e27bee31eaac"
COMMAND: Final = {
    "id": "item_1",
    "type": "command_execution",
    "command": "/bin/bash -lc 'echo seen'",
}
PRINTED: Final = (
    {"type": "thread.started", "thread_id": SESSION},
    {"type": "turn.started"},
    {
        "type": "item.completed",
        "item": {"id": "item_0", "type": "agent_message", "text": "I look."},
    },
    {
        "type": "item.started",
        "item": {
            **COMMAND,
            "aggregated_output": "",
            "exit_code": None,
            "status": "in_progress",
        },
    },
    {
        "type": "item.completed",
        "item": {
            **COMMAND,
            "aggregated_output": "seen\n",
            "exit_code": 0,
            "status": "completed",
        },
    },
    {
        "type": "item.completed",
        "item": {"id": "item_2", "type": "agent_message", "text": "All done."},
    },
    {
        "type": "turn.completed",
        "usage": {
            "input_tokens": 200,
            "cached_input_tokens": 60,
            "cache_write_input_tokens": 0,
            "output_tokens": 40,
            "reasoning_output_tokens": 10,
        },
    },
)


def main(argv: list[str]) -> None:
    """Be `codex` once."""
    if argv == ["--version"]:
        sys.stdout.write("codex-cli 0.169.0\n")
        return
    call = {"argv": argv, "prompt": sys.stdin.read(), "env": dict(os.environ)}
    with Path("codex-calls.jsonl").open("a") as file:
        file.write(json.dumps(call) + "\n")
    for record in PRINTED:
        sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
