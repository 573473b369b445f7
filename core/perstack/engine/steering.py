"""What people and limits do to a run while it works: stop, pause, resume, say something."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import anyio

from perstack.domain.events import RunError, ToolReturned
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.messages import ToolCallPart
from perstack.domain.orders import Raise, RetryOrder
from perstack.domain.steering_events import JudgeDrift, PauseRun, ResumeRun
from perstack.engine.calls import result
from perstack.engine.control import StopControl
from perstack.engine.plan import RunOutcome
from perstack.engine.toolset import query_of
from perstack.engine.wishes import AtOnce, NewDefinition, OtherModel, Said, Wish, fulfil
from perstack.ports.desk import LIMITS, DriftVerdict

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

_Pauser = Literal["person", "limits"]


@dataclass(frozen=True, slots=True)
class _Pause:
    by: str
    reason: str | None


class RunHelm:
    """Implements `ports.desk.Helm` for one run; a delegated run's has its parent's above it."""

    def __init__(self, control: StopControl, above: RunHelm | None = None) -> None:
        self._control = control
        self._above = above
        self._pauses: dict[_Pauser, _Pause] = {}
        self._resumed_by = ""
        self._wishes: deque[Wish] = deque()
        self._changed = anyio.Event()
        # What is done between two steps as well; set by the run that is steered.
        self.at_once: AtOnce | None = None

    def stop(self, by: str, *, now: bool = False) -> None:
        """End the run, and what it delegates, at a checkpoint."""
        self._control.stop("user", by=by, now=now)

    def pause(self, by: str, reason: str | None = None) -> None:
        """Let it wait at the next step's boundary."""
        pauser = _pauser(by)
        if pauser not in self._pauses:
            self._pauses[pauser] = _Pause(by, reason)
            self._tell()

    def resume(self, by: str) -> None:
        """Let it go on: a person lifts every pause, the limits only their own."""
        lifted: tuple[_Pauser, ...] = ("limits",) if by == LIMITS else ("person", "limits")
        found = [self._pauses.pop(pauser, None) for pauser in lifted]
        if any(found):
            self._resumed_by = by
            self._tell()

    def steer(self, text: str, by: str) -> None:
        """Have the model read `text` with its next generation."""
        self._wishes.append(Said(text, by))

    def change_model(self, model: str, by: str) -> None:
        """Have it generate with another model of its provider from its next step on."""
        self._wishes.append(OtherModel(model, by))

    def take_definition(self, experts: Mapping[ExpertKey, Expert], by: str) -> None:
        """Have it go on with its Expert as `experts` define it, from its next step on."""
        self._wishes.append(NewDefinition(experts, by))

    def raise_budget(self, more: Raise, by: str) -> None:
        """Let the run's whole job use more, at once."""
        if self.at_once is not None:
            self.at_once.raise_budget(more, by)

    def retry(self, failed: RetryOrder, by: str) -> None:
        """Have a delegation of this run that failed done again."""
        if self.at_once is not None:
            self.at_once.retry(failed, by)

    @property
    def pause_wanted(self) -> PauseRun | None:
        """What to record if the run has to wait, because of itself or of a run above."""
        for first in self._pauses.values():
            return PauseRun(by=first.by, reason=first.reason)
        return self._above.pause_wanted if self._above else None

    def next_wish(self) -> Wish | None:
        """Return what is wanted next at a step's boundary, once; what follows it stays."""
        return self._wishes.popleft() if self._wishes else None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the next step's boundary."""
        return bool(self._wishes) or self.pause_wanted is not None

    async def until_resumed(self) -> str:
        """Wait until nothing pauses the run any more; return who resumed it last."""
        by = self._resumed_by
        while self.pause_wanted is not None:
            while self._pauses:
                await self._changed.wait()
                by = self._resumed_by
            if self._above is not None and self._above.pause_wanted is not None:
                by = await self._above.until_resumed()
        return by

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _pauser(by: str) -> _Pauser:
    return "limits" if by == LIMITS else "person"


async def at_boundary(run: RunDriver) -> RunOutcome | None:
    """Do before a generation, or the end, what people and limits want; say if that ends the run."""
    hold = run.job.deps.desk.hold(run.run_id)
    if hold is not None and hold.kind == "stop":
        run.helm.stop(f"{LIMITS}: {hold.reason}")
    elif hold is not None:
        run.helm.pause(LIMITS, hold.reason)
    wanted = None if run.control.stopping else run.helm.pause_wanted
    ended = None if wanted is None else await _wait(run, wanted)
    if ended is not None or run.control.stopping:
        return ended or await run.suspend()
    while (wish := run.helm.next_wish()) is not None:
        if (ended := await fulfil(run, wish)) is not None:
            return ended
    return await run.suspend() if run.control.stopping else None


async def _wait(run: RunDriver, wanted: PauseRun) -> RunOutcome | None:
    await run.record(wanted, durable=True)
    if not run.job.plan.wait_at_gates:
        return await run.suspend()
    by = ""
    with run.control.interruptible(), run.job.meter.waiting_for_a_person(run.run_id):
        by = await run.helm.until_resumed()
    if not run.control.stopping:
        await run.record(ResumeRun(by=by), durable=True)
    return None


def unjudged(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> tuple[ToolCallPart, ...]:
    """Return the delegations among `calls` that are still to be compared with their ancestors."""
    if not run.job.deps.desk.judges_drift:
        return ()
    return tuple(
        call
        for call in calls
        if run.state.routes[call.tool_call_id].kind == "delegate"
        and call.tool_call_id not in run.state.judged
    )


async def judge(run: RunDriver, calls: tuple[ToolCallPart, ...]) -> RunOutcome | None:
    """Compare delegations with the tasks they descend from; answer those that are prevented.

    A stop ends the run here; what it cuts off is compared when the run goes on.
    """
    for call in calls:
        key = run.toolset.delegates[call.tool_name]
        verdict: DriftVerdict | None = None
        with run.control.interruptible():
            verdict = await run.job.deps.desk.judge(run.run_id, key, query_of(call) or "")
        if verdict is None:
            break
        await run.record(
            JudgeDrift(
                tool_call_id=call.tool_call_id,
                action=verdict.action,
                similarity=verdict.similarity,
                task_id=verdict.task_id,
                checked_ancestors=verdict.checked_ancestors,
                reason=verdict.reason,
            ),
            durable=verdict.action == "prevented",
        )
        if verdict.action == "prevented":
            text = _refusal(verdict)
            await run.record(ToolReturned(result=result(run, call, text, is_error=True)))
    return await run.suspend() if run.control.stopping else None


def _refusal(verdict: DriftVerdict) -> str:
    if verdict.task_id is None:
        why = verdict.reason or "nothing is known of them"
        return (
            "Delegation refused: it could not be compared with the tasks that it descends from"
            f" ({why}). Do it yourself, or ask again later."
        )
    return (
        "Delegation refused: it repeats a task that this one descends from"
        f" (similarity {verdict.similarity:.2f}). Do it yourself, or ask for something"
        " that is a smaller part of it."
    )


def stopped_by(control: StopControl) -> RunError:
    """Return how a delegation ended that somebody stopped while its parent goes on."""
    return RunError(name="Stopped", message=f"stopped by {control.by or 'a person'}")
