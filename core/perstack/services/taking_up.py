"""How a run is taken up again: in its place, as a fork, or from its very beginning."""

from __future__ import annotations

from dataclasses import dataclass

from perstack.domain.jobs import ForkPoint, InteractiveAnswer, Job
from perstack.domain.program_events import BeginSession
from perstack.engine.opening import Opening
from perstack.engine.recall import Recalled
from perstack.errors import AnswerWantedError, NotAskedError, NotFoundError, UsageError
from perstack.ports.frontend import Continuation
from perstack.ports.history import RunLog
from perstack.projection.run_state import RunState, initial, start_from
from perstack.services.answers import answers_of


@dataclass(frozen=True, slots=True)
class Taken:
    """A run about to be driven. `log` is None when a new run has to be begun."""

    state: RunState
    opening: Opening
    log: RunLog | None


def begun_again(wanted: Continuation, job: Job) -> Taken:
    """The process ended before the job's first record: begin with what is said now."""
    if wanted.text is None:
        raise NotFoundError(
            f"No checkpoint found: job {job.id} ended before its first step",
            hint="say what to do: perstack run <expert> <query> --continue",
        )
    return Taken(initial(), Opening(query=wanted.text), None)


def as_fork(
    wanted: Continuation,
    point: ForkPoint,
    state: RunState,
    *,
    session: BeginSession | None = None,
) -> Taken:
    """Begin a new run with what was said until `point`; `session` is that of what follows it."""
    answers = _answers(wanted, state)
    if state.status == "completed" and wanted.text is None:
        raise UsageError("the job is completed", hint="say what to do next")
    query = None if answers else wanted.text
    opening = Opening(
        status=state.status, query=query, answers=answers, parent=point, session=session
    )
    return Taken(start_from(state), opening, None)


def in_place(wanted: Continuation, recalled: Recalled) -> Opening:
    """Go on with the run itself."""
    state = recalled.state
    if state.status == "init":
        setting = recalled.stored.setting
        said = [text for text in (setting.query, wanted.text) if text]
        return Opening(query="\n\n".join(said) or None, parent=setting.parent)
    answers = _answers(wanted, state)
    query = None if answers else wanted.text
    return Opening(status=state.status, query=query, answers=answers)


def _answers(wanted: Continuation, state: RunState) -> tuple[InteractiveAnswer, ...]:
    pending = state.pending_interactive if state.status == "stoppedByInteractiveTool" else ()
    if not pending:
        if wanted.is_answer:
            raise NotAskedError(
                "nothing waits for an answer: it was given, or never asked",
                hint="without -i, what you say is a new message to the Expert",
            )
        return ()
    if not wanted.is_answer or wanted.text is None:
        call = next(call for call in state.calls if call.tool_call_id == pending[0])
        raise AnswerWantedError(
            f"the job waits for an answer to {call.tool_name}",
            hint="give it with -i: perstack run <expert> <answer> --continue -i",
        )
    return answers_of(wanted.text, state)
