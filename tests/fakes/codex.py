"""Codex's side of a test: a home of its own, set up for a fake model, and a project that uses it.

The program is the real one (`tests.fakes.npm_programs`); only the model's HTTP wire is a fake.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fakes.cli import Program
from tests.fakes.model_server import Answer, Decide, Seen
from tests.fakes.model_wire import Call, Refusal, Reply

# So that it reaches the fake; a user with a login needs none of it.
PASSED: Final = ("--env", "OPENAI_API_KEY")
TOML: Final = """
runtime = "codex"
model = "gpt-5"
[provider]
providerName = "openai"
[runtimes.codex]
command = [{command}]
{more}
[experts."lead"]
description = "Does it."
instruction = "You are lead."
"""
# What its user would have written for a gateway.
CONFIG: Final = """
model_provider = "gateway"
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


def codex_project(
    folder: Path, codex: Path, url: str, *, more: str = 'permissions = "all"'
) -> Program:
    """Make a project whose Expert `lead` codex executes; `more` is of its settings."""
    home = folder / "codex-home"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(CONFIG.format(url=url))
    # In a folder for what is temporary it makes none of its helpers.
    temporary = folder / "tmp"
    temporary.mkdir()
    env = {"CODEX_HOME": str(home), "TMPDIR": str(temporary)}
    toml = TOML.format(command=json.dumps(str(codex)), more=more)
    return Program.make(folder / "work", toml, base_url=url, env=env)


def shell(command: str, *, id_: str = "call_shell") -> Call:
    """Return a call of its tool for commands."""
    return Call("exec_command", {"cmd": command}, id_)


def patch(name: str, text: str, *, id_: str = "call_patch") -> Call:
    """Return a call that adds a file of one line, the way its models edit."""
    lines = ("*** Begin Patch", f"*** Add File: {name}", f"+{text}", "*** End Patch")
    return shell("\n".join(("apply_patch <<'EOF'", *lines, "EOF", "")), id_=id_)


def by_turns(replies: Sequence[Answer]) -> Decide:
    """Answer by the number of answers that a request holds."""

    def decide(seen: Seen) -> Answer:
        if seen.method != "POST" or "input" not in seen.body:
            return Refusal(404, "it only looks whether anybody is there")
        return replies[min(seen.assistant_messages, len(replies) - 1)]

    return decide


def always(text: str) -> Decide:
    """Answer every request with the same words."""
    return by_turns((Reply([text]),))


def asked(requests: Sequence[Seen]) -> list[Seen]:
    """Return the requests of its model, in order."""
    return [seen for seen in requests if seen.method == "POST" and "input" in seen.body]
