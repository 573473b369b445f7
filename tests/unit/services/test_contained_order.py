"""What a container is told and tells is read as it was meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.events import RunError
from perstack.domain.expert import Expert, McpStdioSkill
from perstack.domain.ids import AgentId, ConsensusId, ExpertKey, JobId, RunId
from perstack.domain.orders import Raise
from perstack.domain.runtimes import RuntimeSettings
from perstack.domain.settings import NotifySettings, ProviderSettings, Settings
from perstack.domain.usage import Cost, Usage
from perstack.engine.budget import Overrun, Spent
from perstack.engine.plan import JobOutcome, Plan, RunOutcome
from perstack.errors import (
    ConflictError,
    LimitError,
    NotAskedError,
    NotFoundError,
    PerstackError,
    ProgramError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.containers import SCENARIO
from perstack.ports.desk import Carrier
from perstack.services.contained_order import Failure, GoOn, NewJob, Order, Told, new_order

KEY = ExpertKey("lead")
SKILL = McpStdioSkill(command="npx", package_name="x", allowed_domains=("a.example",))
PLAN = Plan(
    settings=Settings(
        provider=ProviderSettings(name="scripted", scenario="mine.toml"),
        notify=NotifySettings(command=("notify-me",)),
        runtime=RuntimeSettings(name="docker", env=("NPM_TOKEN",)),
        max_steps=7,
    ),
    experts={KEY: Expert(key=KEY, name="lead", instruction="Lead.", skills={"x": SKILL})},
    workspace=Path("/work"),
    env={"SECRET_KEY": "canary-of-the-environment"},
    carrier=Carrier(agent_id=AgentId("agent-1")),
    service=True,
    wait_at_gates=False,
    as_begun=True,
)


def test_an_order_comes_over_whole_and_without_the_environment() -> None:
    order = new_order(PLAN, begins=NewJob(expert_key=KEY, query="Go $x", job_id=JobId("j")))
    text = order.model_dump_json()
    assert Order.model_validate_json(text) == order
    assert "canary-of-the-environment" not in text
    assert order.experts == PLAN.experts
    assert order.settings.max_steps == 7


def test_inside_the_built_in_runtime_drives_and_nobody_is_notified_twice() -> None:
    settings = new_order(PLAN).settings
    assert (settings.runtime.name, settings.runtime.env) == ("perstack", ())
    assert settings.notify == NotifySettings()
    assert settings.provider.scenario == SCENARIO


def test_whose_work_it_is_and_how_it_waits_is_the_same_inside() -> None:
    order = Order.model_validate_json(new_order(PLAN).model_dump_json())
    usual = Plan(settings=order.settings, experts={}, workspace=Path("/workspace"), env={})
    inside = order.plan(usual)
    assert (inside.carrier, inside.service, inside.as_begun) == (PLAN.carrier, True, True)
    assert order.wait_at_gates is False


def test_a_continuation_keeps_what_was_said_and_what_was_raised() -> None:
    goes_on = GoOn(job_id=JobId("j"), text="yes", is_answer=True, more=Raise(max_steps=3))
    order = Order.model_validate_json(new_order(PLAN, goes_on=goes_on).model_dump_json())
    assert order.goes_on == goes_on
    wanted = order.continuation(goes_on)
    assert (wanted.job_id, wanted.text, wanted.is_answer) == ("j", "yes", True)
    assert wanted.more == Raise(max_steps=3)


SPENT = Spent(3, Usage(input_tokens=5, output_tokens=2, total_tokens=7), Cost(usd=0.25), 1_200)
ENDED = JobOutcome(JobId("j"), RunId("r"), KEY, RunOutcome("completed", text="Done.\n"), SPENT)


@pytest.mark.parametrize(
    "outcome",
    [
        RunOutcome("completed", text="Done. \u2028 \x1b[1m"),
        RunOutcome("failed", error=RunError(name="X", message="no", status_code=500), hint="wait"),
        RunOutcome("awaiting", consensus_id=ConsensusId("c")),
        RunOutcome("limit", overrun=Overrun("tokens", 10, 5)),
        RunOutcome("stopped", by="somebody"),
    ],
)
def test_how_a_job_ended_comes_over_whole(outcome: RunOutcome) -> None:
    ended = replace(ENDED, outcome=outcome)
    line = Told.ended(ended).model_dump_json()
    assert "\n" not in line
    assert Told.model_validate_json(line).read_outcome() == ended


def test_what_is_no_outcome_is_none() -> None:
    assert Told(warning="x").read_outcome() is None
    assert Told(outcome='{"nonsense": 1}').read_outcome() is None


@pytest.mark.parametrize(
    "error",
    [
        UsageError("u", hint="h"),
        NotAskedError("n"),
        ConflictError("c"),
        NotFoundError("f"),
        LimitError("l"),
        ProgramError("p", hint="q"),
        UnknownExpertError("leda", ["lead"]),
    ],
)
def test_an_error_is_raised_again_with_its_words_hint_and_exit_code(error: PerstackError) -> None:
    told = Failure.model_validate_json(Failure.of(error).model_dump_json()).error()
    assert (told.message, told.hint) == (error.message, error.hint)
    assert told.exit_code == error.exit_code
    assert told.code.partition(".")[0] == error.code.partition(".")[0]
