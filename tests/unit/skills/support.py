"""What the tests of the skills have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import anyio
import psutil
from pydantic import JsonValue, TypeAdapter

from perstack.domain.expert import Expert, McpStdioSkill, SkillSpec
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.messages import text_of
from perstack.domain.server_events import SkillStderr
from perstack.ports.skills import RunContext, SkillNotice, Todo, ToolOutcome
from perstack.ports.system import RandomIds
from perstack.skills.environment import RUN_ID
from perstack.skills.mcp.limits import ServerLimits

FAKE_SERVER: Final = str(Path(__file__).parents[2] / "fakes" / "mcp_server.py")
QUICK: Final = ServerLimits(
    start_s=20.0, call_s=0.4, ping_s=0.3, leave_s=0.3, grace_s=0.1, reopen_s=0.05
)
_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


def context_for(
    workspace: Path, *, env: Mapping[str, str] | None = None, todos: tuple[Todo, ...] = ()
) -> RunContext:
    """Return a context with a run id of its own."""
    return RunContext(
        job_id=JobId("job"),
        run_id=RunId(RandomIds().new()),
        workspace=workspace,
        env=dict(os.environ) | dict(env or {}),
        todos=todos,
    )


def expert_with(**skills: SkillSpec) -> Expert:
    """Return an Expert with these skills."""
    return Expert(key=ExpertKey("tester"), name="tester", instruction="Test.", skills=skills)


def fake_skill(
    *faults: str,
    options: tuple[str, ...] = (),
    pick: tuple[str, ...] = (),
    omit: tuple[str, ...] = (),
    required_env: tuple[str, ...] = (),
    require_approval: tuple[str, ...] = (),
) -> McpStdioSkill:
    """Return a skill that starts the fake server with these faults."""
    told = [word for fault in faults for word in ("--fault", fault)]
    return McpStdioSkill(
        command=sys.executable,
        args=("-S", FAKE_SERVER, *told, *options),
        pick=pick,
        omit=omit,
        required_env=required_env,
        require_approval=require_approval,
    )


class Notices(list[SkillNotice]):
    """What was told of skills, in order."""

    def __call__(self, notice: SkillNotice) -> None:
        self.append(notice)

    def of(self, skill: str) -> list[str]:
        """The types of the notices of one skill, standard error left out."""
        return [
            each.type
            for each in self
            if each.skill_name == skill and not isinstance(each, SkillStderr)
        ]

    def stderr(self) -> list[str]:
        """The lines that servers wrote to their standard error."""
        return [each.message for each in self if isinstance(each, SkillStderr)]


def text(outcome: ToolOutcome) -> str:
    """Return the text of an outcome."""
    return text_of(outcome.parts)


def result(outcome: ToolOutcome) -> dict[str, JsonValue]:
    """Return the JSON of an outcome that must be no error."""
    assert not outcome.is_error, text(outcome)
    return _OBJECT.validate_json(text(outcome))


def failure(outcome: ToolOutcome) -> dict[str, JsonValue]:
    """Return the JSON of an outcome that must be an error."""
    assert outcome.is_error, text(outcome)
    return _OBJECT.validate_json(text(outcome))


async def until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    """Wait until something is so."""
    with anyio.fail_after(within_s):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


def processes_of(run_id: str) -> list[psutil.Process]:
    """Return the live processes that carry the run's mark."""
    return [process for process in psutil.process_iter() if _is_of(process, run_id)]


async def none_survive(run_id: str) -> None:
    """Fail if a process of the run is still there 5 s later: one that is killed takes a moment."""
    await until(lambda: processes_of(run_id) == [], within_s=5.0)


def _is_of(process: psutil.Process, run_id: str) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(RUN_ID) == run_id
    except psutil.Error:
        return False
