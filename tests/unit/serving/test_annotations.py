"""What tools say they do to the world: clients ask their user, or not, by it."""

from __future__ import annotations

from perstack.serving.mcp.server import tool_of
from perstack.serving.verbs.catalog import verbs

# What ends or removes something, decides for a person, or has Experts work with their own tools.
DESTROYS = {
    "agent_stop",
    "agent_update_status",
    "consensus_approve",
    "consensus_reject",
    "expert_run",
    "identity_retire",
    "job_continue",
    "memory_delete",
    "review_loop_abort",
    "review_loop_start",
    "session_end",
}
WRITES = {
    "agent_spawn",
    "github_issue_create",
    "github_pr_create",
    "identity_activate",
    "identity_create",
    "identity_deactivate",
    "identity_update",
    "memory_store",
    "session_start",
    "task_assign",
    "task_check_drift",
    "task_complete",
    "task_create",
}


def test_only_what_changes_nothing_calls_itself_read_only() -> None:
    told = {one.name: one.annotations for one in map(tool_of, verbs(reviews=True).values())}
    assert {name for name, a in told.items() if a and a.destructive_hint} == DESTROYS
    assert {name for name, a in told.items() if a and not a.read_only_hint} == DESTROYS | WRITES


def test_what_reaches_beyond_this_machine_says_so() -> None:
    beyond = {
        one.name
        for one in map(tool_of, verbs(reviews=True).values())
        if one.annotations and one.annotations.open_world_hint
    }
    assert {name for name in beyond if not name.startswith("github_")} == {
        "expert_run",
        "job_continue",
        "review_loop_start",
    }
    assert len(beyond) == 3 + 7
