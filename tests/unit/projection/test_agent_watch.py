"""The table of agents: order, durations, columns, whatever names and tasks hold."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.agents import Agent, AgentOrigin, AgentStatus
from perstack.domain.ids import AgentId, SessionId
from perstack.projection.agent_watch import (
    WIDTH,
    duration_text,
    frame,
    in_order,
    plain,
    snapshot,
    task_text,
)
from tests.fakes.agents import make_agent
from tests.fakes.consensus import NOW_MS

SEED_FRAME = """\
AISTACK Agent Monitor                                     Last updated: 14:32:45
═══════════════════════════════════════════════════════════════════════════════
Agents: 3 active (1 running, 1 idle, 1 completed)                     Limit: 10
───────────────────────────────────────────────────────────────────────────────
STATUS   NAME                 TYPE         UPTIME     TASK
● RUN    my-coder             coder        2m 15s     Processing...
○ IDLE   test-agent           tester       5m 30s     —
✓ DONE   code-reviewer        reviewer     10m 45s    Done
───────────────────────────────────────────────────────────────────────────────
Press Ctrl+C to exit"""


def agent(name: str, agent_type: str, status: AgentStatus, age_s: int) -> Agent:
    at = NOW_MS - age_s * 1_000
    return make_agent(name, name=name, agent_type=agent_type, status=status, created_at=at)


def test_the_frame_is_the_seeds() -> None:
    agents = [
        agent("code-reviewer", "reviewer", "completed", 645),
        agent("test-agent", "tester", "idle", 330),
        agent("my-coder", "coder", "running", 135),
    ]
    lines = frame(snapshot(agents, max_concurrent=10), now_ms=NOW_MS, clock="14:32:45")
    shown = plain(lines).splitlines()
    wanted = SEED_FRAME.splitlines()
    # The seed's first line is one column wider than its rules; ours keeps to them.
    assert shown[0] == wanted[0].replace("Monitor ", "Monitor", 1)
    assert shown[1:] == wanted[1:]


def test_nobody_there_is_said_with_what_to_type() -> None:
    text = plain(frame(snapshot([], max_concurrent=20), now_ms=NOW_MS, clock="00:00:00"))
    assert "Agents: 0 active " in text
    assert "No active agents\nSpawn agents with: perstack agent spawn -t <type>" in text


def test_agentstack_row_141_one_json_object_holds_the_agents_that_were_filtered() -> None:
    full = agent("a", "coder", "running", 5).model_copy(update={"session_id": SessionId("s1")})
    shown = snapshot([full, agent("b", "coder", "failed", 3)], max_concurrent=5, active=7)
    read = shown.model_dump(mode="json", by_alias=True)
    assert set(read) == {"agents", "stats"}
    assert read["agents"][0]["sessionId"] == "s1"
    assert read["agents"][0]["createdAt"].endswith("Z")
    assert read["stats"] == {
        "active": 7,
        "maxConcurrent": 5,
        "byStatus": {"idle": 0, "running": 1, "completed": 0, "failed": 1, "stopped": 0},
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (59.999, "59s"),
        (65, "1m 5s"),
        (150, "2m 30s"),
        (3_665, "1h 1m"),
        (90_000, "25h 0m"),
        (-3, "0s"),
    ],
)
def test_agentstack_row_142_durations_have_two_units_and_never_days(
    seconds: float, text: str
) -> None:
    assert duration_text(round(seconds * 1_000)) == text


def test_agentstack_row_143_a_running_agent_stands_before_idle_ones_and_the_newest_first() -> None:
    agents = [
        agent("old", "coder", "idle", 20),
        agent("new", "coder", "idle", 5),
        agent("busy", "coder", "running", 60),
    ]
    assert [one.name for one in in_order(agents)] == ["busy", "new", "old"]


def test_what_it_does_is_its_task_or_follows_from_its_status() -> None:
    busy = agent("a", "coder", "running", 1)
    assert task_text(busy) == "Processing..."
    assert task_text(busy.model_copy(update={"current_task": "fix\nit"})) == "fix it"
    failed = agent("a", "coder", "failed", 1)
    assert task_text(failed) == "Error"
    assert task_text(failed.model_copy(update={"last_error": "no key"})) == "Error: no key"
    assert task_text(agent("a", "coder", "stopped", 1)) == "Stopped"


@pytest.mark.parametrize(("origin", "status"), [("run", "stopped"), ("spawned", "running")])
def test_a_paused_agent_says_so_and_why(origin: AgentOrigin, status: AgentStatus) -> None:
    update = {"origin": origin, "paused_at": 1, "current_task": "fix it"}
    paused = agent("a", "coder", status, 1).model_copy(update=update)
    assert task_text(paused) == "paused"
    lunch = paused.model_copy(update={"pause_reason": "lunch\nbreak"})
    assert task_text(lunch) == "paused: lunch break"
    assert task_text(paused.model_copy(update={"pause_reason": "paused by ana"})) == "paused by ana"
    assert "paused: lunch break" in plain(
        frame(snapshot([lunch], max_concurrent=3), now_ms=NOW_MS, clock="12:00")
    )


WILD = st.text(st.characters(codec="utf-8"), max_size=60)


@given(name=WILD, kind=WILD, task=WILD)
def test_no_name_or_task_breaks_the_columns_or_moves_the_cursor(
    name: str, kind: str, task: str
) -> None:
    wild = make_agent("a", status="running", created_at=NOW_MS).model_copy(
        update={"name": name, "type": kind, "current_task": task, "id": AgentId("a")}
    )
    lines = frame(snapshot([wild], max_concurrent=5), now_ms=NOW_MS, clock="12:00:00")
    text = plain(lines)
    assert len(text.split("\n")) == 8
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    for line in text.split("\n"):
        assert sum(not unicodedata.combining(letter) for letter in line) <= WIDTH
