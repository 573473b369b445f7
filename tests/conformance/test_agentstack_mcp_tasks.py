"""The tools of tasks and consensus over MCP: the seed's shapes, the door's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perstack.domain.ids import JobId
from tests.fakes.consensus import make_checkpoint
from tests.fakes.mcp_door import McpDoor, door, text_of
from tests.fixtures.seed_responses.consensus import CONSENSUS_RESPONSES
from tests.fixtures.seed_responses.shape import misfits
from tests.fixtures.seed_responses.tasks import CONSENSUS_REQUIRED, TASK_RESPONSES

pytestmark = pytest.mark.anyio

GATED = """
[consensus]
enabled = true
reviewerStrategy = "human"
requireForRiskLevels = ["high", "medium"]
"""
DRIFT = """
[memory.vectorSearch]
enabled = true
provider = "hashed"
[driftDetection]
enabled = true
threshold = 0.95
asyncEmbedding = false
"""
NOBODY = "00000000-0000-4000-8000-000000000000"
RISKY = {"agentType": "devops", "input": "deploy it to production"}


def fits(schema: dict[str, Any], answer: dict[str, Any]) -> None:
    """Fail, and say where, unless the answer has what the seed says must be there."""
    assert misfits(answer, schema) == [], answer


async def ask(it: McpDoor, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and hold its answer against the seed's."""
    answer = await it.call(name, arguments)
    fits({**TASK_RESPONSES, **CONSENSUS_RESPONSES}[name], answer)
    return answer


async def propose(it: McpDoor) -> dict[str, Any]:
    """Ask for a risky task below a plain one, and return the answer."""
    parent = (await it.call("task_create", {"agentType": "researcher"}))["task"]["id"]
    answer = await it.call("task_create", {**RISKY, "parentTaskId": parent})
    fits(CONSENSUS_REQUIRED, answer)
    return answer


def somebody_else(it: McpDoor) -> None:
    """Let another client sit at the door from here on."""
    it.who.proposed.clear()
    it.who.started.clear()


async def test_every_tool_of_tasks_answers_as_the_seed_has_it(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        session = (await it.call("session_start"))["session"]["id"]
        agent = (await it.call("agent_spawn", {"type": "coder", "name": "ada"}))["agent"]["id"]
        made = await ask(it, "task_create", agentType="coder", input="add it up", sessionId=session)
        parent = made["task"]["id"]
        assert made["task"]["input"] == "add it up"
        child = (await ask(it, "task_create", agentType="tester", parentTaskId=parent))["task"]
        assert child["parentTaskId"] == parent
        await ask(it, "task_assign", taskId=parent, agentId=agent)
        assert (await ask(it, "task_get", taskId=parent))["task"]["status"] == "running"
        done = await ask(it, "task_complete", taskId=parent, output="3")
        assert done["task"] == {"id": parent, "status": "completed", "hasOutput": True}
        whole = (await ask(it, "task_get", taskId=parent))["task"]
        assert (whole["output"], whole["agentId"]) == ("3", agent)
        listed = await ask(it, "task_list")
        assert [one["id"] for one in listed["tasks"]] == [child["id"], parent]
        assert (await ask(it, "task_list", status="completed"))["count"] == 1
        related = await ask(it, "task_get_relationships", taskId=parent, direction="outgoing")
        assert [one["toTaskId"] for one in related["relationships"]] == [child["id"]]
        assert (await ask(it, "task_get_relationships", taskId=NOBODY))["count"] == 0


async def test_agentstack_row_064_without_a_type_or_a_dispatcher_the_fallback_does_it(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, "[smartDispatcher]\nenabled = false\n") as it:
        made = await ask(it, "task_create", input="anything")
        assert made["task"]["agentType"] == "coder"
        assert "dispatch" not in made


async def test_agentstack_row_066_a_failed_task_keeps_its_output(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        task = (await ask(it, "task_create", agentType="coder"))["task"]["id"]
        failed = await ask(it, "task_complete", taskId=task, status="failed", output="why")
        assert failed["task"] == {"id": task, "status": "failed", "hasOutput": True}
        assert "completedAt" in (await ask(it, "task_get", taskId=task))["task"]


async def test_agentstack_row_067_an_unknown_task_is_not_found(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        assigned = await it.call("task_assign", {"taskId": NOBODY, "agentId": NOBODY})
        completed = await it.call("task_complete", {"taskId": NOBODY})
        for told in (assigned, completed):
            assert (told["success"], told["error"]) == (False, "Task not found")
            assert told["code"] == "not_found"
        got = await it.call("task_get", {"taskId": NOBODY})
        assert (got["found"], got["message"]) == (False, "Task not found")


async def test_agentstack_row_068_a_completed_task_is_not_given_to_anybody(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        agent = (await it.call("agent_spawn", {"type": "coder"}))["agent"]["id"]
        task = (await ask(it, "task_create", agentType="coder"))["task"]["id"]
        await ask(it, "task_complete", taskId=task, output="kept")
        refused = await it.call("task_assign", {"taskId": task, "agentId": agent})
        assert (refused["success"], refused["code"]) == (False, "conflict")
        assert (await ask(it, "task_get", taskId=task))["task"]["output"] == "kept"


async def test_agentstack_rows_083_and_093_without_drift_detection_all_figures_are_zero(
    tmp_path: Path,
) -> None:
    async with door(tmp_path) as it:
        checked = await ask(it, "task_check_drift", taskInput="x", taskType="coder")
        result = checked["result"]
        assert (result["isDrift"], result["highestSimilarity"], result["action"]) == (
            False,
            0,
            "allowed",
        )
        assert (result["checkedAncestors"], checked["config"]["enabled"]) == (0, False)
        figures = await ask(it, "task_drift_metrics")
        assert set(figures["metrics"].values()) == {0}
        assert figures["recentEvents"] == []


async def test_agentstack_rows_087_and_091_a_task_that_repeats_its_parent_is_warned_of(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, DRIFT) as it:
        text = "write the report about the harbour"
        parent = (await ask(it, "task_create", agentType="coder", input=text))["task"]["id"]
        again = {"agentType": "coder", "input": text, "parentTaskId": parent}
        made = await ask(it, "task_create", **again)
        assert made["drift"]["isDrift"]
        assert (made["drift"]["action"], made["drift"]["mostSimilarTaskId"]) == ("warned", parent)
        checked = await ask(
            it, "task_check_drift", taskInput=text, taskType="coder", parentTaskId=parent
        )
        assert checked["result"]["mostSimilarTaskInput"] == text
        figures = await ask(it, "task_drift_metrics", since="2020-01-01")
        assert figures["metrics"]["warnedCount"] == 2
        later = await ask(it, "task_drift_metrics", since="2999-01-01T00:00:00Z")
        assert (later["metrics"]["totalEvents"], len(later["recentEvents"])) == (0, 2)
        wrong = await it.call("task_drift_metrics", {"since": "yesterday"})
        assert (wrong["success"], wrong["code"]) == (False, "usage")


async def test_agentstack_row_085_a_prevented_task_is_not_made(tmp_path: Path) -> None:
    async with door(tmp_path, DRIFT + 'behavior = "prevent"\n') as it:
        text = "write the report about the harbour"
        parent = (await ask(it, "task_create", agentType="coder", input=text))["task"]["id"]
        refused = await it.call(
            "task_create", {"agentType": "coder", "input": text, "parentTaskId": parent}
        )
        assert refused["error"] == "Task creation prevented due to semantic drift"
        assert refused["code"] == "conflict"
        assert refused["drift"]["mostSimilarTaskInput"] == text
        assert (await ask(it, "task_list"))["count"] == 1


async def test_every_tool_of_consensus_answers_as_the_seed_has_it(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        root = await ask(it, "consensus_check", **RISKY)
        assert (root["requiresConsensus"], root["config"]["enabled"]) == (False, True)
        asked = await propose(it)
        below = await ask(
            it,
            "consensus_check",
            **RISKY,
            parentTaskId=(await ask(it, "task_list"))["tasks"][0]["id"],
        )
        assert (below["requiresConsensus"], below["riskLevel"], below["depth"]) == (
            True,
            "high",
            1,
        )
        second = (await propose(it))["checkpointId"]
        first = asked["checkpointId"]
        pending = await ask(it, "consensus_list_pending")
        assert [one["id"] for one in pending["checkpoints"]] == [first, second]
        assert pending["checkpoints"][0]["subtaskCount"] == 1
        waiting = (await ask(it, "consensus_get", checkpointId=first))["checkpoint"]
        assert waiting["proposedSubtasks"][0]["input"] == RISKY["input"]
        assert "decision" not in waiting
        somebody_else(it)
        approved = await ask(
            it, "consensus_approve", checkpointId=first, reviewedBy="bo", feedback="go"
        )
        assert approved["checkpoint"]["status"] == "approved"
        rejected = await ask(it, "consensus_reject", checkpointId=second, reviewedBy="bo")
        assert rejected["checkpoint"]["status"] == "rejected"


async def test_agentstack_row_101_what_waits_is_no_task_yet(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        asked = await propose(it)
        assert (await ask(it, "task_list"))["count"] == 1
        got = await it.call("task_get", {"taskId": asked["checkpoint"]["taskId"]})
        assert got["found"] is False


async def test_agentstack_row_106_an_approved_task_exists_with_the_id_that_was_named(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, GATED) as it:
        asked = await propose(it)
        somebody_else(it)
        named = asked["checkpoint"]["taskId"]
        told = await ask(
            it, "consensus_approve", checkpointId=asked["checkpointId"], reviewedBy="bo"
        )
        assert told["checkpoint"]["approvedSubtaskIds"] == [named]
        made = (await ask(it, "task_get", taskId=named))["task"]
        assert (made["input"], made["status"]) == (RISKY["input"], "pending")
        assert made["consensusCheckpointId"] == asked["checkpointId"]


async def test_agentstack_row_102_a_decision_is_made_once(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        which = {"checkpointId": (await propose(it))["checkpointId"], "reviewedBy": "bo"}
        somebody_else(it)
        await ask(it, "consensus_approve", **which)
        for tool in ("consensus_approve", "consensus_reject"):
            again = await it.call(tool, which)
            assert (again["success"], again["error"]) == (False, "Checkpoint is already approved")
        unknown = await it.call("consensus_get", {"checkpointId": NOBODY})
        assert (unknown["success"], unknown["error"]) == (False, "Checkpoint not found")


async def test_agentstack_row_108_a_page_of_what_waits_says_how_much_there_is(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, GATED) as it:
        ids = [(await propose(it))["checkpointId"] for _ in range(3)]
        page = await ask(it, "consensus_list_pending", limit=1, offset=1)
        assert (page["count"], page["total"]) == (1, 3)
        assert page["checkpoints"][0]["id"] == ids[1]


async def test_agentstack_row_105_rejecting_a_part_approves_the_rest(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        two = make_checkpoint("k1", subtasks=2, run="elsewhere")
        async with it.backend.use() as served:
            await served.runtime.consensus.propose(two)
        out, kept = (one.id for one in two.proposed_subtasks)
        told = await it.call(
            "consensus_reject",
            {"checkpointId": "k1", "reviewedBy": "bo", "rejectedSubtaskIds": [out]},
        )
        assert told["checkpoint"]["status"] == "approved"
        assert told["checkpoint"]["approvedSubtaskIds"] == [kept]


@pytest.mark.parametrize("tool", ["consensus_approve", "consensus_reject"])
async def test_who_proposed_it_cannot_decide_it_whatever_name_it_gives(
    tmp_path: Path, tool: str
) -> None:
    async with door(tmp_path, GATED) as it:
        checkpoint = (await propose(it))["checkpointId"]
        refused = await it.result(tool, {"checkpointId": checkpoint, "reviewedBy": "the boss"})
        assert refused.is_error
        assert "whoever proposed this cannot decide it" in text_of(refused)
        assert f"perstack consensus approve {checkpoint}" in text_of(refused)
        still = await ask(it, "consensus_get", checkpointId=checkpoint)
        assert still["checkpoint"]["status"] == "pending"


async def test_a_client_cannot_decide_what_a_job_of_its_own_waits_at(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        waiting = make_checkpoint("k1", run="run1")
        async with it.backend.use() as served:
            await served.runtime.consensus.propose(waiting)
        assert waiting.job_id is not None
        it.who.started.add(JobId(waiting.job_id))
        which = {"checkpointId": "k1", "reviewedBy": "bo"}
        assert (await it.result("consensus_approve", which)).is_error
        somebody_else(it)
        assert (await it.call("consensus_approve", which))["success"]


async def test_the_audit_log_has_the_claimed_name_and_who_claimed_it(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        checkpoint = (await propose(it))["checkpointId"]
        somebody_else(it)
        await ask(it, "consensus_approve", checkpointId=checkpoint, reviewedBy=" the boss ")
        found = (await ask(it, "consensus_get", checkpointId=checkpoint))["checkpoint"]
        expected = f"the boss (said {it.who.name})"
        assert found["decision"]["reviewedBy"] == found["reviewerId"] == expected
        async with it.backend.use() as served:
            entries = await served.coordination.checkpoints.events(found["id"])
        assert [one.actor for one in entries if one.event == "approved"] == [expected]


async def test_a_process_of_a_run_decides_nothing_over_mcp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door(tmp_path, GATED) as it:
        checkpoint = (await propose(it))["checkpointId"]
        somebody_else(it)
        monkeypatch.setenv("PERSTACK_RUN_ID", "run1")
        refused = await it.result(
            "consensus_approve", {"checkpointId": checkpoint, "reviewedBy": "bo"}
        )
        assert refused.is_error
        assert "a run cannot decide a consensus checkpoint" in text_of(refused)


async def test_a_declared_low_risk_does_not_pass_the_gate(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        parent = (await it.call("task_create", {"agentType": "researcher"}))["task"]["id"]
        asked = await it.call("task_create", {**RISKY, "parentTaskId": parent, "riskLevel": "low"})
        assert asked["consensusRequired"]
        assert asked["checkpoint"]["riskLevel"] == "high"


async def test_agentstack_row_103_what_has_expired_cannot_be_approved(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        async with it.backend.use() as served:
            late = make_checkpoint("k1", run="elsewhere", created_at=0, expires_at=1)
            await served.runtime.consensus.propose(late)
        told = await it.call("consensus_approve", {"checkpointId": "k1", "reviewedBy": "bo"})
        assert (told["success"], told["error"]) == (False, "Checkpoint has expired")
        found = (await it.call("consensus_get", {"checkpointId": "k1"}))["checkpoint"]
        assert found["status"] == "expired"


async def test_a_reviewer_has_a_name(tmp_path: Path) -> None:
    async with door(tmp_path, GATED) as it:
        checkpoint = (await propose(it))["checkpointId"]
        somebody_else(it)
        for name in ("", "  \n", "x" * 101):
            which = {"checkpointId": checkpoint, "reviewedBy": name}
            assert (await it.result("consensus_approve", which)).is_error
        still = await ask(it, "consensus_get", checkpointId=checkpoint)
        assert still["checkpoint"]["status"] == "pending"


async def test_secrets_reach_neither_a_task_nor_a_checkpoint(tmp_path: Path) -> None:
    secret = "ghp_canary0123456789canary0123456789"
    (tmp_path / ".env").write_text(f"GITHUB_TOKEN={secret}\n")
    async with door(tmp_path, f'envPath = [".env"]\n{GATED}') as it:
        made = await ask(it, "task_create", agentType="researcher", input=f"use {secret}")
        parent = made["task"]["id"]
        await ask(it, "task_complete", taskId=parent, output=f"used {secret}")
        asked = await it.call(
            "task_create",
            {"agentType": "devops", "input": f"deploy {secret}", "parentTaskId": parent},
        )
        seen = [
            await ask(it, "task_get", taskId=parent),
            await ask(it, "consensus_get", checkpointId=asked["checkpointId"]),
        ]
        assert secret not in f"{made}{asked}{seen}"
        assert seen[0]["task"]["output"].startswith("used ")


async def test_tools_say_whether_they_only_look(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        tools = await it.tools()
    looking = {
        name
        for name in (*TASK_RESPONSES, *CONSENSUS_RESPONSES)
        if (notes := tools[name].annotations) is not None and notes.read_only_hint
    }
    assert looking == {
        "task_list",
        "task_get",
        "task_get_relationships",
        "task_drift_metrics",
        "consensus_check",
        "consensus_list_pending",
        "consensus_get",
    }
