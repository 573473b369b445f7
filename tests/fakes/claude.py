"""Claude Code's side of a test: a model that answers it turn by turn, and a project that uses it.

The program is the real one (`tests.fakes.npm_programs`); only the model's HTTP wire is a fake.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.fakes.cli import Program
from tests.fakes.model_server import Answer, Decide, Seen
from tests.fakes.model_wire import Refusal, Reply

ENV: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
# So that it reaches the fake; a user with a login needs none of it.
PASSED: Final = ("--env", ENV[0], "--env", ENV[1])
TOML: Final = """
runtime = "claude-code"
[runtimes.claude-code]
command = [{command}]
{more}
[experts."lead"]
description = "Does it."
instruction = "You are lead."
[experts."lead".skills."user"]
type = "interactiveSkill"
[experts."lead".skills."user".tools."askUser"]
description = "Asks the user a question."
inputJsonSchema = '{{"type": "object", "properties": {{"question": {{"type": "string"}}}}}}'
"""


def claude_project(folder: Path, claude: Path, url: str, *, more: str = "") -> Program:
    """Make a project whose Expert `lead` Claude Code executes; `more` is of its settings."""
    toml = TOML.format(command=json.dumps(str(claude)), more=more)
    return Program.make(folder, toml, base_url=url)


def by_turns(replies: Sequence[Answer]) -> Decide:
    """Answer by the number of answers that a request holds; every answer has an id of its own."""
    numbers = itertools.count(1)

    def decide(seen: Seen) -> Answer:
        if seen.method != "POST":
            return Refusal(404, "it only looks whether anybody is there")
        if not seen.body.get("tools"):
            return Reply(["A title"], id="msg_title")
        turn = min(seen.assistant_messages, len(replies) - 1)
        answer = replies[turn]
        if isinstance(answer, Refusal):
            return answer
        return dataclasses.replace(answer, id=f"msg_{next(numbers)}")

    return decide


def asked(requests: Sequence[Seen]) -> list[Seen]:
    """Return the requests of its main model, in order."""
    return [seen for seen in requests if seen.method == "POST" and seen.body.get("tools")]
