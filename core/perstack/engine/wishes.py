"""What people want changed of a run at work: its model, its definition, its budget, a retry.

Each is recorded with who wanted it, and so is what cannot be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

import anyio.to_thread

from perstack.config.builtin import reachable
from perstack.config.kept import fit_to_keep, made_whole
from perstack.domain.agents import OrderKind
from perstack.domain.expert import Expert, ref
from perstack.domain.ids import ExpertKey
from perstack.domain.messages import InstructionMessage, TextPart, UserMessage
from perstack.domain.orders import Raise, RetryOrder, raised
from perstack.domain.steering_events import (
    ChangeModel,
    RaiseBudget,
    RefuseOrder,
    SteerRun,
    TakeDefinition,
)
from perstack.engine import delegation, program_model
from perstack.engine.plan import RunOutcome
from perstack.engine.prompt import system_prompt
from perstack.errors import ConfigError, PerstackError
from perstack.ports.model import ChatModel

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

_NAMES: Final = ("key", "name", "version")
_STOPPED: Final = "the run was stopped before that"


@dataclass(frozen=True, slots=True)
class Said:
    """Something for the model to read."""

    text: str
    by: str


@dataclass(frozen=True, slots=True)
class OtherModel:
    """Another model of the same provider."""

    model: str
    by: str


@dataclass(frozen=True, slots=True)
class NewDefinition:
    """The Expert as it is defined now, and whom it can delegate to."""

    experts: Mapping[ExpertKey, Expert]
    by: str


Wish = Said | OtherModel | NewDefinition


async def fulfil(run: RunDriver, wish: Wish) -> RunOutcome | None:
    """Do at a step's boundary what somebody wants, or record why not; say if that ended the run."""
    match wish:
        case Said():
            said = UserMessage(id=run.new_message_id(), contents=(TextPart(text=wish.text),))
            await run.record(SteerRun(message=said, by=wish.by), durable=True)
        case OtherModel():
            await _change_model(run, wish)
        case NewDefinition():
            return await _take_definition(run, wish)
        case _:
            assert_never(wish)
    return None


async def refuse_rest(run: RunDriver) -> None:
    """Record what came too late for a run that was driven to its end."""
    while (wish := run.helm.next_wish()) is not None:
        await run.record(_refusal(run, _KINDS[type(wish)], wish.by, "the run ended before that"))


_KINDS: Final[Mapping[type[Wish], OrderKind]] = {
    Said: "steer",
    OtherModel: "model",
    NewDefinition: "definition",
}


def _refusal(run: RunDriver, order: OrderKind, by: str, why: str) -> RefuseOrder:
    return RefuseOrder(by=by, order=order, reason=run.job.deps.redact(why))


# ---------------------------------------------------------------- the model


def changed_model(run: RunDriver) -> str | None:
    """Return which model the run goes on with that was changed before, None for the job's own.

    Whoever has the job go on with another model than it began with means that one.
    """
    same = run.job.deps.model.name == run.state.model_before
    return run.state.model if same else None


async def _change_model(run: RunDriver, wish: OtherModel) -> None:
    opened = await _opened(run, wish.model)
    if isinstance(opened, str):
        await run.record(_refusal(run, "model", wish.by, opened))
        return
    before = run.model
    await run.record(
        ChangeModel(
            by=wish.by,
            model=wish.model,
            before=run.state.model or before.name,
            context_window=opened.context_window,
        ),
        durable=True,
    )
    before.forget(run.run_id)
    run.model = opened


async def _opened(run: RunDriver, name: str) -> ChatModel | str:
    """Return the model, or why the run cannot have it."""
    if name in (run.model.name, run.state.model):
        return f"{name} is what it generates with"
    if (why := program_model.refusal(run, name)) is not None:
        return why
    try:
        model = await program_model.opened(run, name)
    except PerstackError as error:
        return error.message
    if run.job.plan.settings.budget.max_cost_usd is not None and model.price is None:
        return f"what {name} costs is not known, so the budget in USD cannot be kept"
    return model


# ---------------------------------------------------------------- the definition


async def _take_definition(run: RunDriver, wish: NewDefinition) -> RunOutcome | None:
    try:
        taken = await _admitted(run, wish.experts)
    except PerstackError as error:
        await run.record(_refusal(run, "definition", wish.by, error.message))
        return None
    before, after = run.expert, taken[run.expert.key]
    run.expert = after
    run.job.learn(taken)
    if before.skills != after.skills and run.program is None:
        failure = await run.skills.open_anew()
        if failure is not None:
            return await _put_back(run, before, wish, failure)
        if run.control.stopping:
            await run.record(_refusal(run, "definition", wish.by, _STOPPED))
            return await run.suspend()
    await run.record(
        TakeDefinition(
            by=wish.by,
            expert=ref(after),
            before=ref(before),
            experts=fit_to_keep(taken),
            instruction=_instruction(run),
            changes=_changes(before, after),
        ),
        durable=True,
    )
    run.skills.offer()
    run.model.forget(run.run_id)
    return None


async def _admitted(run: RunDriver, experts: Mapping[ExpertKey, Expert]) -> dict[ExpertKey, Expert]:
    """Return the run's Expert as it is wanted, and those of its delegates that are new to the job.

    Raises:
        ConfigError: there is none, it is no other than the run's, or it asks for what the user has
            not accepted or orders do not carry.
    """
    key, known = run.expert.key, run.job.plan.experts
    wanted = experts.get(key)
    if wanted is None:
        raise ConfigError(f"no Expert {key} is defined now")
    found = reachable(wanted, {**experts, **known})
    new = {one: expert for one, expert in found.items() if one == key or one not in known}
    try:
        whole = made_whole(new, {**known, key: run.expert})
    except ConfigError as error:
        raise ConfigError(
            "it has a skill with headers or an address that are kept out of orders,"
            " so it can only be taken by a job that is stopped and goes on"
        ) from error
    if whole[key] == run.expert:
        raise ConfigError("it is what the run goes by already")
    if whole[key].runtime != run.expert.runtime:
        raise ConfigError("another runtime is to execute it, so it can only be taken by a new job")
    await anyio.to_thread.run_sync(partial(run.job.plan.admit, whole))
    return whole


async def _put_back(
    run: RunDriver, before: Expert, wish: NewDefinition, failure: PerstackError
) -> RunOutcome | None:
    """Go on with the skills that the run had; end it when those cannot be had any more."""
    await run.record(_refusal(run, "definition", wish.by, failure.message))
    run.expert = before
    lost = await run.skills.open_anew()
    if lost is not None:
        return await run.fail(lost)
    return await run.suspend() if run.control.stopping else None


def _instruction(run: RunDriver) -> InstructionMessage:
    prompt = system_prompt(
        run.expert,
        run.job.plan.experts,
        now_ms=run.job.deps.clock.now_ms(),
        workspace=str(run.job.plan.workspace),
    )
    return InstructionMessage(
        id=run.new_message_id(), contents=(TextPart(text=prompt),), cache=True
    )


def _changes(before: Expert, after: Expert) -> tuple[str, ...]:
    return tuple(
        field.alias or name
        for name, field in Expert.model_fields.items()
        if name not in _NAMES and getattr(before, name) != getattr(after, name)
    )


async def as_before(run: RunDriver) -> PerstackError | None:
    """Take up what was changed of the run before; return why that cannot be had."""
    try:
        _as_taken(run)
        if (name := changed_model(run)) is not None:
            run.model = await program_model.opened(run, name)
    except PerstackError as error:
        return error
    return None


def _as_taken(run: RunDriver) -> None:
    """Have a run that goes on with a job's own definitions keep what it took of later ones.

    Raises:
        ConfigError: it has a skill whose headers are nowhere any more.
    """
    taken = run.state.definition
    if taken is None or not run.job.plan.as_begun or run.expert.key not in taken.experts:
        return
    whole = made_whole(taken.experts, run.job.plan.experts)
    run.expert = whole[run.expert.key]
    run.job.learn(whole)


# ---------------------------------------------------------------- at once


class AtOnce:
    """What a run does between two of its steps as well: it is recorded, and takes effect, now."""

    def __init__(self, run: RunDriver) -> None:
        self._run = run

    def raise_budget(self, more: Raise, by: str) -> None:
        """Let the job use more."""
        limits = raised(self._run.job.limits, more)
        if limits == self._run.job.limits:
            self._run.tell(_refusal(self._run, "budget", by, "the job has no such limit"))
            return
        self._run.job.allow(limits, more)
        self._run.tell(RaiseBudget(by=by, limits=limits))

    def retry(self, failed: RetryOrder, by: str) -> None:
        """Do a failed delegation again, or ask the run to when it has read the failure already."""
        run = self._run
        match delegation.retry(run, failed.run_id, by):
            case "begun":
                pass
            case "at work":
                run.tell(_refusal(run, "retry", by, f"{failed.expert_key} is still at work"))
            case "closed":
                run.helm.steer(retry_words(failed), by)


def retry_words(failed: RetryOrder) -> str:
    """Return what a run is told whose delegation is to be done again by itself."""
    asked = f": {failed.query}" if failed.query else ""
    return (
        f"Your delegation to {failed.expert_key} failed{asked}\n\n"
        "Delegate it again now, with the whole request, then go on."
    )
