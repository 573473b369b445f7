"""Experts handed work over MCP: the call waits, tells progress, asks, stops, goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from perstack.domain.ids import ConsensusId, JobId
from perstack.services.looking import see_job
from tests.fakes.consensus import until
from tests.fakes.mcp_door import McpDoor, door, text_of

pytestmark = pytest.mark.anyio

TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts.lead]
description = "Leads."
instruction = "You lead."
[experts.lead.skills."@perstack/base"]
type = "mcpStdioSkill"
requireApproval = ["exec"]
"""
DONE: Final = """
[[turns]]
turn = 1
text = "Looking."
calls = [{ tool = "listDirectory", args = { path = "." } }]
[[turns]]
turn = 2
text = "All is well."
[[turns]]
text = "Again: all is well."
"""
ASKS: Final = """
[[turns]]
turn = 1
calls = [{ tool = "askUser", args = { question = "Which colour?" } }]
[[turns]]
after = "blue"
text = "Blue it is."
"""
GATED: Final = """
[[turns]]
turn = 1
[[turns.calls]]
tool = "exec"
args = { command = "echo", args = ["hi"], env = {}, cwd = ".", stdout = true, stderr = true }
[[turns]]
text = "It ran."
"""
_WHERE: Final = "perstack consensus show "
ENDLESS: Final = """
[[turns]]
text = "On and on {{turn}}."
latency_ms = 30000
"""


class Told:
    """What progress said."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.totals: set[float | None] = set()
        self.lines: list[str] = []
        self.any = anyio.Event()

    async def hear(self, progress: float, total: float | None, message: str | None) -> None:
        self.steps.append(progress)
        self.totals.add(total)
        self.lines.append(message or "")
        self.any.set()


async def listed(door_: McpDoor) -> list[str]:
    return [one["key"] for one in (await door_.call("expert_list"))["experts"]]


async def test_an_expert_runs_and_its_result_comes_back_with_what_it_used(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(DONE)
    async with door(tmp_path, TOML) as it:
        assert (await listed(it))[0] == "lead"
        done = await it.call("expert_run", {"expert": "lead", "query": "look"})
        assert done["ending"] == done["state"] == "completed"
        assert done["text"] == "All is well."
        assert done["steps"] == 2
        assert done["tokens"] > 0
        again = await it.call("job_get", {"jobId": done["jobId"][:8]})
        assert again == done
        more = await it.call("job_continue", {"jobId": done["jobId"], "text": "and now?"})
        assert (more["jobId"], more["text"]) == (done["jobId"], "Again: all is well.")


async def test_progress_is_told_line_by_line_and_only_grows(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(DONE)
    told = Told()
    async with door(tmp_path, TOML) as it:
        asked = {"expert": "lead", "query": "look", "maxSteps": 7}
        await it.client.call_tool("expert_run", asked, progress_callback=told.hear)
    assert any("listDirectory" in line and "ok" in line for line in told.lines), told.lines
    assert told.steps == sorted(set(told.steps))
    assert told.steps == [round(step, 3) for step in told.steps]
    assert told.totals == {7.0}


async def test_a_question_is_told_and_its_answer_goes_on_with_the_job(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(ASKS)
    async with door(tmp_path, TOML + ASKING_SKILL) as it:
        asked = await it.call("expert_run", {"expert": "lead", "query": "paint"})
        assert asked["ending"] == "asked"
        assert asked["question"]["text"] == "Which colour?"
        assert "job_continue" in asked["hint"]
        done = await it.call("job_continue", {"jobId": asked["jobId"], "answer": "blue"})
        assert (done["ending"], done["text"]) == ("completed", "Blue it is.")


ASKING_SKILL: Final = """
[experts.lead.skills.ask]
type = "interactiveSkill"
description = "Asks."
[experts.lead.skills.ask.tools.askUser]
description = "Ask the user."
inputJsonSchema = '{"type":"object","properties":{"question":{"type":"string"}}}'
"""


async def test_a_gate_is_waited_at_and_progress_says_where(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(GATED)
    told, done = Told(), dict[str, Any]()
    async with door(tmp_path, TOML) as it, anyio.create_task_group() as group:

        async def run() -> None:
            asked = {"expert": "lead", "query": "go"}
            result = await it.client.call_tool("expert_run", asked, progress_callback=told.hear)
            done.update(result.structured_content or {})

        group.start_soon(run)
        await until(lambda: any(_WHERE in line for line in told.lines))
        said = next(line for line in told.lines if _WHERE in line)
        waiting = ConsensusId(said.rpartition(_WHERE)[2].strip())
        (job_id,) = it.who.started
        seen = await it.call("job_get", {"jobId": job_id})
        assert (seen["state"], seen["consensusId"]) == ("waiting", waiting)
        async with it.backend.use() as served:
            await served.runtime.consensus.decide(waiting, approved=True, allow_self=True)
    assert done["text"] == "It ran."


async def test_a_call_that_is_cancelled_stops_the_job_at_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(ENDLESS)
    told = Told()
    async with door(tmp_path, TOML) as it:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                asked = {"expert": "lead", "query": "go"}
                await it.client.call_tool("expert_run", asked, progress_callback=told.hear)

            group.start_soon(run)
            await told.any.wait()
            group.cancel_scope.cancel()
        job = await it.backend.history.find_latest_job()
        assert job is not None
        await until(lambda: it.jobs.get(job.id) is None)
        seen = await see_job(it.backend.history, await it.backend.history.look_at_job(job.id))
        assert seen.state == "stopped"


async def test_a_job_in_the_background_goes_on_and_is_asked_after(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(ENDLESS)
    async with door(tmp_path, TOML) as it:
        asked = {"expert": "lead", "query": "go", "background": True}
        begun = await it.call("expert_run", asked)
        assert begun["state"] == "running"
        assert "ending" not in begun
        assert it.jobs.get(JobId(begun["jobId"])) is not None
        both = await it.result("job_continue", {"jobId": begun["jobId"], "text": "more"})
        assert both.is_error
        assert begun["jobId"] in it.who.started


async def test_what_cannot_be_done_is_said_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(DONE)
    async with door(tmp_path, TOML) as it:
        for name, arguments, words in (
            ("expert_run", {"expert": "nobody", "query": "go"}, "nobody"),
            ("job_get", {"jobId": "nothere"}, "no job"),
            ("job_get", {"jobId": "../../etc"}, "not usable"),
            ("job_continue", {"jobId": "nothere", "text": "a", "answer": "b"}, "exclude"),
        ):
            result = await it.result(name, arguments)
            assert result.is_error
            assert words in text_of(result)


async def test_a_model_without_a_key_fails_that_tool_alone(tmp_path: Path) -> None:
    async with door(tmp_path, '[experts.lead]\ninstruction = "You lead."\n') as it:
        result = await it.result("expert_run", {"expert": "lead", "query": "go"})
        assert result.is_error
        assert "KEY" in text_of(result)
        assert (await it.call("agent_types"))["count"] >= 11
