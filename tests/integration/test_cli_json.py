"""The JSON that `perstack run` prints while a model speaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.cli import SCRIPTED, Program

pytestmark = pytest.mark.anyio

SCENARIO = """
[[turns]]
text = "A sentence that takes the model a while to say."
chars_per_s = 200
"""
EXPERT = """
[experts.solo]
instruction = "You are solo."
"""


async def test_each_piece_of_streaming_text_says_when_it_came(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + EXPERT, scenario=SCENARIO)
    ran = await program.run("run", "solo", "go", "--pace", "1")
    assert ran.code == 0, ran.stderr
    times = [event["timestamp"] for event in ran.all("streamText")]
    assert len(set(times)) > 1
    assert times == sorted(times)
