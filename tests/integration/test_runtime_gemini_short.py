"""What is asked before the Gemini CLI starts, and how a stand-in for it is heard.

The stand-in is a process that prints records as the real program was seen to print them; the real
one is in `test_runtime_gemini.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.messages import ToolCallPart
from perstack.domain.runtimes import ProgramSettings
from perstack.domain.settings import Settings
from perstack.errors import ProgramError, SessionLostError
from perstack.ports.programs import Began, Finished, Report, Returned, Talk, Turn
from perstack.runtimes.gemini import open_program
from tests.fakes.cli import Program
from tests.fakes.programs import stand_in

pytestmark = pytest.mark.anyio

TOML: Final = """
[experts.lead]
instruction = "You are lead."
"""
INIT: Final[dict[str, Any]] = {"type": "init", "session_id": "5e55-1040", "model": "auto"}
RESULT: Final[dict[str, Any]] = {"type": "result", "status": "success", "stats": {}}
RUN: Final = ("run", "lead", "hi", "--runtime", "gemini")


def record(type_: str, **fields: Any) -> dict[str, Any]:
    return {"type": type_, **fields}


def use(id_: str) -> dict[str, Any]:
    return record("tool_use", tool_id=id_, tool_name="read_file", parameters={"file_path": id_})


def gave(id_: str) -> dict[str, Any]:
    return record("tool_result", tool_id=id_, status="success", output=f"of {id_}")


async def heard(
    folder: Path, *acts: Any, session: str | None = None, into: list[Report] | None = None
) -> list[Report]:
    """All that is heard of a stand-in, which does `acts`, until it has finished."""
    (folder / "work").mkdir()
    program = open_program(ProgramSettings(command=(str(stand_in(folder / "bin", *acts)),)))
    talk = Talk(
        job_id=JobId("j"),
        run_id=RunId("r"),
        expert=Expert(key=ExpertKey("lead"), name="lead", instruction="x", skills={}),
        experts={},
        prompt="hi",
        workspace=folder / "work",
        settings=Settings(),
        env={"PATH": "/usr/bin:/bin"},
        session=session,
    )
    found: list[Report] = [] if into is None else into
    with anyio.fail_after(30):
        async with program.talk(talk) as hearing:
            while not any(isinstance(one, Finished) for one in found):
                found.append(await hearing.next())
    return found


async def test_a_missing_key_is_told_with_the_hint_before_anything_starts(tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = stand_in(tmp_path / "bin", ("note", str(started)), version="0.61.0")
    program.rename(tmp_path / "bin" / "gemini")
    work = Program.make(tmp_path / "work", TOML)

    ran = await work.run(*RUN, env={"PATH": f"{tmp_path / 'bin'}:{work.env['PATH']}"})

    assert ran.code == 1
    assert 'Runtime "gemini" prerequisites not met: GEMINI_API_KEY is not set' in ran.stderr
    assert "set GEMINI_API_KEY" in ran.stderr
    assert "See: https://github.com/google-gemini/gemini-cli" in ran.stderr
    assert not started.exists()


async def test_a_missing_program_is_told_with_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    work = Program.make(tmp_path / "work", TOML, env={"GEMINI_API_KEY": "canary"})

    ran = await work.run(*RUN, env={"PATH": str(tmp_path / "bin")})

    assert ran.code == 1
    assert 'Runtime "gemini" prerequisites not met: gemini was not found' in ran.stderr
    assert "npm install -g @google/gemini-cli" in ran.stderr


async def test_the_calls_of_an_answer_are_one_turn_and_each_result_is_its_own(
    tmp_path: Path,
) -> None:
    said = record("message", role="assistant", content="Looking.", delta=True)
    records = (INIT, said, use("a"), use("b"), gave("a"), gave("b"), use("c"), gave("c"), RESULT)

    found = await heard(tmp_path, ("read", None), *(("emit", one) for one in records))

    assert found[0] == Began("5e55-1040", "auto")
    turns = [one for one in found if isinstance(one, Turn)]
    calls = [
        [part.tool_call_id for part in turn.parts if isinstance(part, ToolCallPart)]
        for turn in turns
    ]
    assert calls == [["a", "b"], ["c"]]
    returned = [one.tool_call_id for one in found if isinstance(one, Returned)]
    assert returned == ["a", "b", "c"]


async def test_a_program_that_dies_in_a_tool_is_heard_to_the_call_and_then_fails(
    tmp_path: Path,
) -> None:
    found: list[Report] = []

    with pytest.raises(ProgramError, match="gemini was ended by signal SIGKILL"):
        await heard(tmp_path, ("emit", INIT), ("emit", use("a")), ("kill", 9), into=found)

    assert [type(one) for one in found] == [Began, Turn]


async def test_its_exit_code_is_told_in_words(tmp_path: Path) -> None:
    acts = (("stderr", "Please set an Auth method\n"), ("exit", 41))

    with pytest.raises(ProgramError, match="could not sign in: Please set an Auth") as caught:
        await heard(tmp_path, *acts)

    assert caught.value.hint == "check GEMINI_API_KEY"


async def test_a_session_that_it_does_not_know_is_lost(tmp_path: Path) -> None:
    said = "Error resuming session: Invalid session identifier.\n"

    with pytest.raises(SessionLostError):
        await heard(tmp_path, ("stderr", said), ("exit", 42), session="5e55-1040")


async def test_nonsense_among_its_records_is_passed_over(tmp_path: Path) -> None:
    acts = (("emit", INIT), ("raw", "Loading…\n[1]\n{\n"), ("emit", RESULT))

    assert await heard(tmp_path, *acts) == [Began("5e55-1040", "auto"), Finished("")]
