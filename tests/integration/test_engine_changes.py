"""What people change of a run at work: its model, its definition, its budget, a failed delegate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, RunId
from perstack.domain.jobs import Limits, SomeLimits
from perstack.domain.messages import InstructionMessage, UserMessage, text_of
from perstack.domain.orders import Raise, RetryOrder
from perstack.domain.settings import BudgetSettings
from perstack.domain.steering_events import (
    ChangeModel,
    RaiseBudget,
    RefuseOrder,
    RetryDelegate,
    TakeDefinition,
)
from perstack.domain.usage import ModelPrice
from perstack.engine.plan import Deps, Plan
from perstack.errors import ConfigError
from perstack.ports.frontend import Continuation
from perstack.ports.model import ChatModel, Generation, ModelRequest
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import FakeModel, FakeSkills, World, expert, says

pytestmark = pytest.mark.anyio

LEAD, CHILD, SLOW = ExpertKey("lead"), ExpertKey("child"), ExpertKey("slow")


@dataclass
class ManyModels(World):
    """A world whose provider has other models as well."""

    others: dict[str, FakeModel] = field(default_factory=dict[str, FakeModel])
    as_begun: bool = False
    refused: str | None = None

    async def open_other(self, name: str) -> ChatModel:
        if name not in self.others:
            raise ConfigError(f"there is no model {name}")
        return self.others[name]

    @property
    def deps(self) -> Deps:
        return replace(super().deps, open_model=self.open_other)

    @property
    def plan(self) -> Plan:
        return replace(super().plan, admit=self.admit)

    def admit(self, experts: Mapping[ExpertKey, Expert]) -> None:
        if self.refused is not None:
            raise ConfigError(self.refused)


def three_steps(_: ModelRequest, turn: int) -> Generation:
    return says(f"turn {turn}", ("look", {})) if turn < 3 else says("the result")


def looking() -> FakeSkills:
    async def look(_: Mapping[str, JsonValue]) -> str:
        return "seen"

    return FakeSkills({"look": look})


def world(tmp_path: Path, desk: FakeDesk, **more: object) -> ManyModels:
    fast = FakeModel(three_steps, name="fast", price=ModelPrice(input=1, output=1))
    made = ManyModels(
        tmp_path,
        three_steps,
        (expert("lead"),),
        skills=looking(),
        desk=desk,
        others={"fast": fast, "priceless": FakeModel(three_steps, name="priceless")},
        **more,  # type: ignore[arg-type]
    )
    made.model.price = ModelPrice(input=1, output=1)
    return made


def at_first_call(own: World, do: object) -> None:
    """Have `do` called when the first step's calls are on record."""

    def heard(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            do()  # type: ignore[operator]

    own.heard.on = heard


def told(own: World, kind: type) -> list[object]:
    return [event.body for event in own.heard.events if isinstance(event.body, kind)]


# ---------------------------------------------------------------- the model


async def test_another_model_generates_from_the_next_step_on_and_is_recorded_with_who(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    at_first_call(own, lambda: desk.helms[LEAD].change_model("fast", "ana"))
    ended = await own.start()
    assert ended.outcome.text == "the result"
    assert (len(own.model.requests), len(own.others["fast"].requests)) == (1, 2)
    assert told(own, ChangeModel) == [
        ChangeModel(by="ana", model="fast", before="fake-model", context_window=1000)
    ]
    assert own.model.forgotten
    assert own.others["fast"].forgotten


async def test_a_job_that_goes_on_keeps_the_model_and_another_start_model_wins(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def heard(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[LEAD].change_model("fast", "ana")
        if event.body.type == "changeModel":
            own.control.stop("user")

    own.heard.on = heard
    assert (await own.start()).outcome.ending == "stopped"
    again = world(tmp_path, FakeDesk())
    await again.go_on(Continuation())
    assert not again.model.requests
    assert len(again.others["fast"].requests) == 2

    chosen = world(tmp_path, FakeDesk())
    chosen.model.name = "chosen"
    await chosen.go_on(Continuation(text="once more"))
    assert chosen.model.requests
    assert not chosen.others["fast"].requests


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("unheard-of", "there is no model unheard-of"),
        ("fake-model", "fake-model is what it generates with"),
        ("priceless", "so the budget in USD cannot be kept"),
    ],
)
async def test_a_model_that_cannot_be_had_is_refused_on_record_and_the_run_goes_on(
    tmp_path: Path, model: str, why: str
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk, budget=BudgetSettings(max_cost_usd=100))
    at_first_call(own, lambda: desk.helms[LEAD].change_model(model, "ana"))
    assert (await own.start()).outcome.text == "the result"
    (refused,) = told(own, RefuseOrder)
    assert isinstance(refused, RefuseOrder)
    assert (refused.by, refused.order) == ("ana", "model")
    assert why in refused.reason
    assert len(own.model.requests) == 3


# ---------------------------------------------------------------- the definition


def newer(**changes: object) -> Expert:
    return expert("lead", "helper").model_copy(
        update={"instruction": "You are lead, the second.", "version": "1.1.0", **changes}
    )


async def test_a_run_goes_by_its_new_definition_from_the_next_step_on(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    wanted = {LEAD: newer(), ExpertKey("helper"): expert("helper")}
    at_first_call(own, lambda: desk.helms[LEAD].take_definition(wanted, "ana"))
    await own.start()
    first, second = own.model.requests[0], own.model.requests[1]
    assert isinstance(second.messages[0], InstructionMessage)
    assert "You are lead." in text_of(first.messages[0].contents)  # type: ignore[union-attr]
    assert "the second" in text_of(second.messages[0].contents)
    assert second.messages[1] == first.messages[1]
    assert "helper" in [tool.name for tool in second.tools]
    assert "helper" not in [tool.name for tool in first.tools]
    (taken,) = told(own, TakeDefinition)
    assert isinstance(taken, TakeDefinition)
    assert (taken.by, taken.before.version, taken.expert.version) == ("ana", "1.0.0", "1.1.0")
    assert taken.changes == ("instruction", "delegates")
    assert set(taken.experts) == set(wanted)
    assert len(own.skills.opened) == 1  # skills that stay are not started anew


async def test_other_skills_are_opened_for_a_new_definition(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    at_first_call(own, lambda: desk.helms[LEAD].take_definition({LEAD: newer(skills={})}, "ana"))
    assert (await own.start()).outcome.text == "the result"
    assert len(own.skills.opened) == 2
    assert len(told(own, TakeDefinition)) == 1


async def test_what_a_definition_asks_for_must_have_been_accepted(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def take() -> None:
        own.refused = "start rm -rf was not accepted"
        desk.helms[LEAD].take_definition({LEAD: newer()}, "ana")

    at_first_call(own, take)
    assert (await own.start()).outcome.text == "the result"
    (refused,) = told(own, RefuseOrder)
    assert isinstance(refused, RefuseOrder)
    assert "not accepted" in refused.reason
    assert not told(own, TakeDefinition)
    assert "the second" not in text_of(own.model.requests[-1].messages[0].contents)  # type: ignore[union-attr]


async def test_a_taken_definition_stays_when_the_job_goes_on_and_travelling_back_undoes_it(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def heard(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 2:
            desk.helms[LEAD].take_definition({LEAD: newer()}, "ana")
        if event.body.type == "takeDefinition":
            own.control.stop("user")

    own.heard.on = heard
    assert (await own.start()).outcome.ending == "stopped"
    before = next(e.body for e in own.heard.events if e.body.type == "continueToNextStep")
    assert before.type == "continueToNextStep"

    again = world(tmp_path, FakeDesk())
    await again.go_on(Continuation(own_definitions=True))
    assert "the second" in text_of(again.model.requests[0].messages[0].contents)  # type: ignore[union-attr]
    assert "helper" in [tool.name for tool in again.model.requests[0].tools]

    back = world(tmp_path, FakeDesk())
    await back.go_on(Continuation(checkpoint_id=before.checkpoint_id, own_definitions=True))
    assert "You are lead." in text_of(back.model.requests[0].messages[0].contents)  # type: ignore[union-attr]
    assert "helper" not in [tool.name for tool in back.model.requests[0].tools]


# ---------------------------------------------------------------- the budget


async def test_a_raised_budget_counts_at_once_and_when_the_job_goes_on(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk, max_steps=2)
    at_first_call(own, lambda: desk.helms[LEAD].raise_budget(Raise(max_steps=5), "ana"))
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert told(own, RaiseBudget) == [RaiseBudget(by="ana", limits=Limits(max_steps=7))]
    assert (await own.history.get_job(ended.job_id)).raised == SomeLimits(max_steps=7)

    again = world(tmp_path, FakeDesk(), max_steps=2)
    assert (await again.go_on(Continuation(text="more"))).outcome.ending == "completed"


async def test_a_job_at_its_limit_goes_on_with_more_and_says_who_gave_it(tmp_path: Path) -> None:
    own = world(tmp_path, FakeDesk(), max_steps=2, budget=BudgetSettings(max_tokens=1_000))
    assert (await own.start()).outcome.ending == "limit"
    again = world(tmp_path, FakeDesk(), max_steps=2, budget=BudgetSettings(max_tokens=1_000))
    ended = await again.go_on(Continuation(more=Raise(max_steps=10, max_tokens=500)))
    assert ended.outcome.ending == "completed"
    limits = Limits(max_steps=12, budget=BudgetSettings(max_tokens=1_500))
    (given,) = told(again, RaiseBudget)
    assert isinstance(given, RaiseBudget)
    assert given.limits == limits
    assert "@" in given.by


async def test_what_has_no_limit_cannot_be_raised_and_says_so(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    at_first_call(own, lambda: desk.helms[LEAD].raise_budget(Raise(max_tokens=5), "ana"))
    await own.start()
    (refused,) = told(own, RefuseOrder)
    assert isinstance(refused, RefuseOrder)
    assert refused.order == "budget"


# ---------------------------------------------------------------- a delegate that failed


@dataclass
class Crew:
    """A lead that delegates to a child, which fails at first, and to a slow one."""

    world: World
    desk: FakeDesk
    go: anyio.Event

    @classmethod
    def of(cls, tmp_path: Path) -> Crew:
        go = anyio.Event()
        tries: list[int] = []

        async def slowly() -> Generation:
            await go.wait()
            return says("slow is done")

        def mind(request: ModelRequest, turn: int) -> Generation | Exception | object:
            if request.expert_key == SLOW:
                return slowly()
            if request.expert_key == CHILD:
                tries.append(turn)
                if len(tries) == 1:
                    return ConfigErrorOf.provider("the disk is full")
                return says("child is done")
            if turn == 1:
                return says("", ("child", {"query": "count"}), ("slow", {"query": "wait"}))
            return says("all is done")

        desk = FakeDesk()
        experts = (expert("lead", "child", "slow"), expert("child"), expert("slow"))
        own = World(tmp_path, mind, experts, desk=desk)  # type: ignore[arg-type]
        return cls(own, desk, go)


class ConfigErrorOf:
    @staticmethod
    def provider(message: str) -> Exception:
        from perstack.errors import ProviderError

        return ProviderError(message)


def failed_run(own: World) -> RunId:
    return next(e.run_id for e in own.heard.events if e.body.type == "stopRunByError")


async def test_a_failed_delegate_is_done_again_while_another_still_works(tmp_path: Path) -> None:
    crew = Crew.of(tmp_path)
    own = crew.world

    def heard(event: Event) -> None:
        if event.expert_key == LEAD and event.body.type == "toolReturned":
            result = event.body.result
            if result.is_error:
                order = RetryOrder(run_id=failed_run(own), expert_key=CHILD, query="count")
                crew.desk.helms[LEAD].retry(order, "ana")
            elif result.tool_name == "child":
                crew.go.set()

    own.heard.on = heard
    ended = await own.start()
    assert ended.outcome.text == "all is done"
    (again,) = told(own, RetryDelegate)
    assert isinstance(again, RetryDelegate)
    assert again.by == "ana"
    assert again.before == failed_run(own) != again.run_id
    seen = own.model.requests[-1].messages[-1].model_dump_json()
    assert "child is done" in seen
    assert "disk is full" not in seen


async def test_a_retry_that_was_cut_off_is_taken_up_when_the_job_goes_on(tmp_path: Path) -> None:
    crew = Crew.of(tmp_path)
    own = crew.world

    def heard(event: Event) -> None:
        if event.expert_key == LEAD and event.body.type == "toolReturned":
            order = RetryOrder(run_id=failed_run(own), expert_key=CHILD, query="count")
            crew.desk.helms[LEAD].retry(order, "ana")
            own.control.stop("user")

    own.heard.on = heard
    assert (await own.start()).outcome.ending == "stopped"
    crew.go.set()
    own.heard.on = None
    own.control = type(own.control)()
    ended = await own.go_on(Continuation())
    assert ended.outcome.text == "all is done"
    assert "child is done" in own.model.requests[-1].messages[-1].model_dump_json()


async def test_a_parent_that_read_the_failure_is_asked_to_delegate_again(tmp_path: Path) -> None:
    crew = Crew.of(tmp_path)
    own = crew.world
    crew.go.set()

    def heard(event: Event) -> None:
        if event.expert_key == LEAD and event.body.type == "continueToNextStep":
            order = RetryOrder(run_id=failed_run(own), expert_key=CHILD, query="count")
            crew.desk.helms[LEAD].retry(order, "ana")

    own.heard.on = heard
    await own.start()
    last = [m for m in own.model.requests[-1].messages if isinstance(m, UserMessage)][-1]
    assert "Your delegation to child failed: count" in text_of(last.contents)


async def test_what_comes_too_late_for_a_run_is_said_to_have(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def heard(event: Event) -> None:
        if event.body.type == "completeRun":
            desk.helms[LEAD].steer("wait!", "ana")

    own.heard.on = heard
    assert (await own.start()).outcome.ending == "completed"
    (refused,) = told(own, RefuseOrder)
    assert isinstance(refused, RefuseOrder)
    assert (refused.order, refused.reason) == ("steer", "the run ended before that")
