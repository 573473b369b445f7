"""What a job may use: tokens, USD, time, depth. A limit is an outcome that can be gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import StopRunByExceededBudget
from perstack.domain.ids import ConsensusId
from perstack.domain.jobs import Job
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import NO_USAGE, ModelPrice, Usage
from perstack.engine.control import StopControl
from perstack.errors import ConfigError, LimitError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.engine import (
    USAGE,
    FakeGate,
    FakeSkills,
    Reply,
    World,
    decided,
    done,
    expert,
    latest_text,
    says,
)

pytestmark = pytest.mark.anyio

PRICE = ModelPrice(input=1_000_000, output=1_000_000)  # a dollar a token


async def noted(_: Mapping[str, JsonValue]) -> str:
    return "noted"


def works(request: ModelRequest, turn: int) -> Generation:
    return says("", ("note", {})) if turn < 4 else done("all done")


def worker(path: Path, budget: BudgetSettings) -> World:
    """A world whose Expert takes notes for three turns; a turn takes 15 tokens."""
    skills = FakeSkills({"note": noted})
    return World(path, works, (expert("host"),), skills=skills, budget=budget)


def parts(count: int) -> list[tuple[str, dict[str, JsonValue]]]:
    return [("helper", {"query": f"part {number}"}) for number in range(count)]


def stops(world: World) -> list[StopRunByExceededBudget]:
    bodies = [event.body for event in world.heard.events]
    return [body for body in bodies if isinstance(body, StopRunByExceededBudget)]


async def test_a_job_stops_before_it_asks_a_model_beyond_its_tokens(tmp_path: Path) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=20))
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert len(world.model.requests) == 2
    (stop,) = stops(world)
    assert (stop.budget, stop.used, stop.allowed) == ("tokens", 30, 20)
    assert str(ended.outcome.overrun) == "the job's budget is used up: 30 tokens of 20 tokens"
    assert (await world.history.get_job(ended.job_id)).status == "stoppedByMaxSteps"
    stored = await world.history.read_run(ended.job_id, ended.run_id)
    assert stop in [event.body for event in stored.events]


async def test_a_used_up_budget_refuses_to_go_on_until_it_is_raised(tmp_path: Path) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=20))
    ended = await world.start("remember the milk")
    with pytest.raises(LimitError, match="30 tokens of 20") as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert refused.value.exit_code == 6
    assert refused.value.hint == "raise it: --max-tokens 60, or [budget] maxTokens"
    world.budget = BudgetSettings(max_tokens=60)
    again = await world.go_on(Continuation(job_id=ended.job_id))
    assert again.outcome.text == "all done"
    assert "remember the milk" in str(list(world.model.requests[-1].messages))
    assert len(world.model.requests) == 4


async def test_a_generation_in_flight_may_go_beyond_and_still_complete_the_run(
    tmp_path: Path,
) -> None:
    world = World(
        tmp_path,
        lambda _, __: says("the answer"),
        (expert("host"),),
        budget=BudgetSettings(max_tokens=1),
    )
    assert (await world.start()).outcome.text == "the answer"


async def test_a_job_stops_at_what_it_may_cost(tmp_path: Path) -> None:
    world = worker(tmp_path, BudgetSettings(max_cost_usd=40))
    world.model.price = PRICE
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    (stop,) = stops(world)
    assert (stop.budget, stop.used, stop.allowed) == ("cost", 45, 40)
    with pytest.raises(LimitError, match=r"\$45\.0000 of \$40\.0000") as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert refused.value.hint == "raise it: --max-cost 90.00, or [budget] maxCostUsd"


async def test_a_budget_in_usd_needs_a_price(tmp_path: Path) -> None:
    world = worker(tmp_path, BudgetSettings(max_cost_usd=40))
    with pytest.raises(ConfigError, match="what fake-model costs is not known"):
        await world.start()
    assert await world.history.find_latest_job() is None


async def test_a_job_that_ran_without_a_price_is_given_no_budget_in_usd_later(
    tmp_path: Path,
) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=20))
    ended = await world.start()
    world.budget, world.model.price = BudgetSettings(max_cost_usd=1000), PRICE
    with pytest.raises(ConfigError, match="what the job has cost so far is not known"):
        await world.go_on(Continuation(job_id=ended.job_id))


@pytest.mark.parametrize(
    "budget", [BudgetSettings(max_tokens=1000), BudgetSettings(max_cost_usd=1000)]
)
async def test_a_model_that_hides_its_usage_is_held_to_no_budget(
    tmp_path: Path, budget: BudgetSettings
) -> None:
    world = worker(tmp_path, budget)
    world.mind = world.model.mind = lambda _, __: replace(says("", ("note", {})), usage=NO_USAGE)
    world.model.price = PRICE
    ended = await world.start()
    assert (ended.outcome.ending, len(world.model.requests)) == ("failed", 1)
    assert ended.outcome.error is not None
    assert "does not say how many tokens" in ended.outcome.error.message


async def test_a_cost_that_is_not_known_is_no_zero(tmp_path: Path) -> None:
    cached = Usage(input_tokens=10, output_tokens=5, total_tokens=15, cached_input_tokens=10)
    world = worker(tmp_path, BudgetSettings(max_cost_usd=1000))
    world.model.mind = lambda _, __: replace(says("", ("note", {})), usage=cached)
    world.model.price = PRICE
    ended = await world.start()
    assert ended.outcome.error is not None
    assert "what the model's answer cost is not known" in ended.outcome.error.message


@pytest.mark.parametrize(
    "odd",
    [
        Usage(input_tokens=10, output_tokens=5, total_tokens=-1_000_000),
        Usage(input_tokens=-1_000_000, output_tokens=15, total_tokens=15),
        Usage(input_tokens=10, output_tokens=5, total_tokens=0),
    ],
)
async def test_figures_that_cannot_be_give_no_credit(tmp_path: Path, odd: Usage) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=30))
    world.model.mind = lambda _, __: replace(says("", ("note", {})), usage=odd)
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert len(world.model.requests) == 2


async def test_a_figure_beyond_all_bounds_is_stored_as_one_that_can_be_added(
    tmp_path: Path,
) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=10**12))
    huge = Usage(input_tokens=10**30, output_tokens=5, total_tokens=10**30)
    world.model.mind = lambda _, turn: replace(works(_, turn), usage=huge)
    ended = await world.start()
    job = await world.history.get_job(ended.job_id)
    assert ended.outcome.ending == "completed"
    assert 0 < job.usage.total_tokens < 10**11


# -------------------------------------------------------------------- time


async def never() -> Generation:
    await anyio.sleep_forever()
    raise AssertionError


async def test_time_that_is_up_ends_a_generation_at_once(tmp_path: Path) -> None:
    world = World(
        tmp_path, lambda _, __: never(), (expert("host"),), budget=BudgetSettings(max_duration=50)
    )
    ended = await world.start("think hard")
    assert ended.outcome.ending == "limit"
    (stop,) = stops(world)
    assert (stop.budget, stop.allowed) == ("duration", 50)
    assert stop.used >= 50
    with pytest.raises(LimitError, match=r"of 0\.1 s") as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert "--max-duration" in str(refused.value.hint)
    world.budget, world.control = BudgetSettings(), StopControl()
    world.model.mind = lambda _, __: says("found it")
    assert (await world.go_on(Continuation(job_id=ended.job_id))).outcome.text == "found it"
    assert "think hard" in str(list(world.model.requests[-1].messages))


async def test_time_that_is_up_leaves_a_tool_in_doubt_and_what_had_not_begun_alone(
    tmp_path: Path,
) -> None:
    async def hang(_: Mapping[str, JsonValue]) -> str:
        if world.budget.max_duration is None:
            return "returned"
        await anyio.sleep_forever()
        raise AssertionError

    calls: list[tuple[str, dict[str, JsonValue]]] = [("hang", {}) for _ in range(20)]
    world = World(
        tmp_path,
        lambda _, turn: says("", *calls) if turn == 1 else done("end"),
        (expert("host"),),
        skills=FakeSkills({"hang": hang}),
        budget=BudgetSettings(max_duration=50),
        control=StopControl(tool_grace_s=0.01),
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    doubtful = [text for _, text, _ in world.heard.results() if text.startswith("In doubt")]
    assert len(doubtful) == 16
    world.budget, world.control = BudgetSettings(), StopControl()
    assert (await world.go_on(Continuation(job_id=ended.job_id))).outcome.text == "end"
    told = latest_text(world.model.requests[-1])
    assert (told.count("In doubt"), told.count("returned")) == (16, 4)


async def test_time_that_is_up_ends_all_delegates_and_the_coordinator_can_go_on(
    tmp_path: Path,
) -> None:
    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "helper":
            return never()
        if turn == 1:
            return says("", *parts(3))
        return done("without help")

    world = World(
        tmp_path,
        mind,
        (expert("lead", "helper"), expert("helper")),
        budget=BudgetSettings(max_duration=50),
        max_parallel=2,
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert {key for key, _ in world.heard.types("stopRunByExceededBudget")} == {"lead", "helper"}
    failed = [text for tool, text, _ in world.heard.results() if tool == "helper"]
    assert len(failed) == 3
    assert all(text.startswith("Delegation failed: the job's budget is used up") for text in failed)
    world.budget, world.control = BudgetSettings(), StopControl()
    again = await world.go_on(Continuation(job_id=ended.job_id))
    assert again.outcome.text == "without help"


class SlowGate(FakeGate):
    """Is decided a while after it is asked for; `waited_s` is how long that took."""

    waited_s = 0.0

    async def wait(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        began = anyio.current_time()
        with anyio.move_on_after(0.1):
            await anyio.sleep_forever()
        self.proposed[consensus_id] = decided(self.proposed[consensus_id], approved=True)
        self.waited_s += anyio.current_time() - began
        return self.proposed[consensus_id]


async def test_the_time_that_a_job_waits_at_a_gate_is_not_counted(tmp_path: Path) -> None:
    gate = SlowGate()
    world = worker(tmp_path, BudgetSettings(max_duration=60_000))
    world.gate, world.skills.gated = gate, frozenset({"note"})
    began = anyio.current_time()
    ended = await world.start()
    elapsed_ms = (anyio.current_time() - began) * 1000
    job = await world.history.get_job(ended.job_id)
    assert gate.waited_s >= 0.3
    assert 0 < job.driven_ms <= elapsed_ms - gate.waited_s * 1000 + 1


async def test_time_adds_up_over_continuations(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _, turn: says(f"answer {turn}"), (expert("host"),))
    ended = await world.start()
    first = await world.history.get_job(ended.job_id)
    assert first.driven_since is None
    await world.go_on(Continuation(job_id=ended.job_id, text="and now?"))
    second = await world.history.get_job(ended.job_id)
    assert second.driven_ms > first.driven_ms > 0


# -------------------------------------------------------------------- delegates


async def test_children_beyond_the_budget_are_results_and_then_the_parent_ends(
    tmp_path: Path,
) -> None:
    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "helper":
            return says("", ("note", {})) if turn == 1 else done("helped")
        if turn == 1:
            return says("", *parts(3))
        return done("joined")

    world = World(
        tmp_path,
        mind,
        (expert("lead", "helper"), expert("helper")),
        skills=FakeSkills({"note": noted}),
        budget=BudgetSettings(max_tokens=31),
        max_parallel=1,
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    texts = [text for tool, text, _ in world.heard.results() if tool == "helper"]
    assert len(texts) == 3
    assert all(text.startswith("Delegation failed: the job's budget") for text in texts[1:])
    ends = [event for event in world.heard.events if event.body.type == "stopRunByExceededBudget"]
    assert ends[-1].expert_key == "lead"
    world.budget = BudgetSettings(max_tokens=500)
    again = await world.go_on(Continuation(job_id=ended.job_id))
    assert (again.outcome.text, again.expert_key) == ("joined", "lead")


async def test_delegation_ends_at_max_depth_and_the_model_is_told(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        return says("", ("ring", {"query": "deeper"})) if turn == 1 else done("up")

    world = World(tmp_path, mind, (expert("ring", "ring"),), max_depth=3)
    ended = await world.start()
    assert ended.outcome.ending == "completed"
    assert len(world.skills.opened) == 4
    (told,) = [text for _, text, _ in world.heard.results() if "too deep" in text]
    assert told.startswith("Delegation failed: too deep: maxDepth is 3")


# -------------------------------------------------------------------- after a crash


async def test_what_a_killed_process_used_is_counted_from_the_events(tmp_path: Path) -> None:
    world = worker(tmp_path, BudgetSettings(max_tokens=40))
    record: list[bytes] = []
    job_file: list[Path] = []

    def keep(_: object) -> None:
        if not record:
            job_file.extend(tmp_path.glob("perstack/jobs/*/job.json"))
            record.append(job_file[0].read_bytes())

    world.heard.on = keep
    ended = await world.start()
    saved: Job = await world.history.get_job(ended.job_id)
    job_file[0].write_bytes(record[0])  # as a process that was killed would have left it
    lost = await world.history.get_job(ended.job_id)
    assert (lost.usage, lost.driven_since is not None) == (NO_USAGE, True)
    with pytest.raises(LimitError, match=r"45 tokens of 40"):
        await world.go_on(Continuation(job_id=ended.job_id))
    assert saved.usage.total_tokens == 3 * USAGE.total_tokens
