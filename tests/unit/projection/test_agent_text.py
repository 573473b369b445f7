"""Agents as lines for a reader."""

from __future__ import annotations

import re

from perstack.domain.agent_views import AgentReport
from perstack.domain.agents import Agent, AgentType
from perstack.domain.ids import JobId
from perstack.projection.agent_text import agent_rows, prompt_lines, report_lines, type_rows
from tests.fakes.agents import make_agent


def report(agent: Agent) -> dict[str, str]:
    """The lines, by their labels."""
    shown = AgentReport(agent=agent, capabilities=("read", "write"), system_prompt="")
    return {line[:14].rstrip(): line[14:] for line in report_lines(shown)}


def test_columns_stand_under_each_other_also_beside_wide_names() -> None:
    agents = [make_agent("a1", name="名前"), make_agent("a2", name="bob", status="failed")]
    head, first, second = agent_rows(agents)
    assert head.index("STATUS") == second.index("failed")
    assert first.index("idle") == second.index("failed") - 2
    assert list(agent_rows([])) == ["No active agents."]


def test_every_row_is_one_line_that_acts_on_nothing() -> None:
    wild = "a\x1b[2J\nb\u202ec\r\t"
    agent = make_agent(name=wild, agent_type=wild, status="running")
    agent = agent.model_copy(
        update={"current_task": wild, "pause_reason": wild, "paused_at": 1, "last_error": wild}
    )
    kind = AgentType(
        type=wild, name=wild, description=wild, capabilities=(), system_prompt="", custom=True
    )
    lines = [*agent_rows([agent]), *type_rows([kind]), *report(agent).values()]
    lines += prompt_lines(wild)
    assert all(line.isprintable() for line in lines)
    assert len([*agent_rows([agent]), *type_rows([kind])]) == 4


def test_what_does_not_apply_is_left_out() -> None:
    assert list(report(make_agent())) == [
        "ID",
        "Type",
        "Name",
        "Status",
        "Created",
        "Session",
        "Capabilities",
    ]


def test_what_an_agent_did_and_why_it_stands_still_is_told() -> None:
    update = {
        "job_id": JobId("j1"),
        "step_number": 3,
        "input_tokens": 1_000,
        "output_tokens": 234,
        "cost_usd": 0.5,
        "cost_partial": True,
        "paused_at": 5,
        "pause_reason": "lunch",
    }
    found = report(make_agent(status="running").model_copy(update=update))
    assert found["Used"] == "3 steps, 1,234 tokens, ≥ $0.50"
    assert (found["Job"], found["Status"]) == ("j1", "running, paused: lunch")
    assert found["Capabilities"] == "read, write"
    lost = make_agent(status="failed").model_copy(update={"lost": True, "last_error": "gone"})
    assert (report(lost)["Status"], report(lost)["Last error"]) == ("failed, lost", "gone")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d .* UTC", found["Created"])
