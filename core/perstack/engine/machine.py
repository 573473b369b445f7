"""What a run does next, as a pure function of its state.

The order within one response's calls: what cannot be run is answered, tools run in parallel, a
gate is asked for and waited at, delegations run in parallel, the user is asked, and last comes
`attemptCompletion`, which is not taken while delegates or the user had a say in the same response
(their answers would never be read).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from perstack.domain.events import DelegateTo, ToolRoute
from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import ConsensusId
from perstack.domain.messages import ToolCallPart, UserMessage, text_of
from perstack.engine.toolset import query_of
from perstack.projection.run_state import RunState

COMPLETION_TOOL: Final = "attemptCompletion"
REMAINING_TODOS: Final = "remainingTodos"


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask the model; `final` asks for the result alone, without tools."""

    final: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer calls that must not be run."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class CallSkills:
    """Run tools in parallel."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class RequestGate:
    """Open one consensus checkpoint for all of these."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class AwaitGate:
    """Wait at a consensus checkpoint."""

    consensus_id: ConsensusId


@dataclass(frozen=True, slots=True)
class Delegate:
    """Begin delegations."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class AwaitDelegates:
    """Go on with delegations that have begun."""

    children: tuple[DelegateTo, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Stop until the user has answered the first of these."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class TryCompletion:
    """See whether the Expert may declare itself done."""

    call: ToolCallPart


@dataclass(frozen=True, slots=True)
class Declare:
    """The Expert may declare itself done, and has: only its final text is missing."""

    call: ToolCallPart


@dataclass(frozen=True, slots=True)
class CloseBatch:
    """All calls have results. `resumed`: delegates or the user were among those asked."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """The run is done; its text has been said."""


Effect = (
    Generate
    | Refuse
    | CallSkills
    | RequestGate
    | AwaitGate
    | Delegate
    | AwaitDelegates
    | Ask
    | TryCompletion
    | Declare
    | CloseBatch
    | Complete
)


def next_effect(state: RunState) -> Effect:
    """Return what the run has to do now."""
    if state.completing and not isinstance(state.messages[-1], UserMessage):
        return Complete() if state.last_text.strip() else Generate(final=True)
    if not state.calls:
        return Generate(final=False)
    if not state.pending_calls:
        taken = _taken_completion(state)
        return Declare(taken) if taken else CloseBatch(resumed=_others_had_a_say(state))
    return _next_in_batch(state)


def in_doubt(state: RunState) -> tuple[ToolCallPart, ...]:
    """Return the calls that a crashed process may or may not have made.

    Those that only read are not among them: they are simply made again. A run that was stopped in
    good order has none: what was cut off then has its result, the rest was never begun.
    """
    if state.suspended:
        return ()
    return tuple(
        call
        for call in state.pending_calls
        if (route := state.routes.get(call.tool_call_id)) is not None
        and route.kind == "mcp"
        and not route.repeatable
        and not is_completion(call, route)
        and call.invalid_args is None
        and _approval(state, call) in ("approved", None if not route.gated else "approved")
    )


def refusal(state: RunState, call: ToolCallPart) -> str | None:
    """Return why `call` must not be run, None when it may (or may have to wait)."""
    route = state.routes.get(call.tool_call_id)
    if call.invalid_args is not None:
        return f"The arguments of {call.tool_name} were not a JSON object; nothing was run."
    if route is None or route.kind == "unknown":
        return f"Tool {call.tool_name} not found; nothing was run."
    if route.kind == "delegate" and query_of(call) is None:
        return f"{call.tool_name} needs a query; nothing was delegated."
    if is_completion(call, route) and _others_had_a_say(state):
        return "Not taken: read the other answers first, then call attemptCompletion on its own."
    approval = state.approvals.get(call.tool_call_id)
    if approval is None or approval.status != "rejected":
        return None
    if approval.outcome == "expired":
        return "Nobody decided in time, so this was not done. Do not try it again unasked."
    who = approval.decided_by or "the reviewer"
    feedback = f": {approval.feedback}" if approval.feedback else "."
    return f"Rejected by {who}{feedback}"


def is_completion(call: ToolCallPart, route: ToolRoute) -> bool:
    """Tell whether this call is the base skill's `attemptCompletion`."""
    return route.skill_name == BASE_SKILL and call.tool_name == COMPLETION_TOOL


def _next_in_batch(state: RunState) -> Effect:
    pending = state.pending_calls
    refused = tuple(call for call in pending if refusal(state, call) is not None)
    if refused:
        return Refuse(refused)
    routes = state.routes

    def among(test: Callable[[ToolCallPart, ToolRoute], bool]) -> tuple[ToolCallPart, ...]:
        return tuple(call for call in pending if test(call, routes[call.tool_call_id]))

    ready = among(
        lambda call, route: (
            route.kind == "mcp"
            and not is_completion(call, route)
            and (not route.gated or _approval(state, call) == "approved")
        )
    )
    if ready:
        return CallSkills(ready)
    if state.waiting_approval:
        return AwaitGate(state.approvals[state.waiting_approval[0]].consensus_id)
    gated = among(lambda call, route: bool(route.gated) and _approval(state, call) is None)
    if gated:
        return RequestGate(gated)
    if state.pending_delegates:
        return AwaitDelegates(state.pending_delegates)
    if delegates := among(lambda _, route: route.kind == "delegate"):
        return Delegate(delegates)
    if questions := among(lambda _, route: route.kind == "interactive"):
        return Ask(questions)
    return TryCompletion(pending[0])


def _taken_completion(state: RunState) -> ToolCallPart | None:
    """Return the call that declared the Expert done, None when none did or todos are open."""
    for call in state.calls:
        route, result = state.routes[call.tool_call_id], state.results[call.tool_call_id]
        if is_completion(call, route) and not result.is_error:
            return None if REMAINING_TODOS in text_of(result.result) else call
    return None


def _approval(state: RunState, call: ToolCallPart) -> str | None:
    approval = state.approvals.get(call.tool_call_id)
    return approval.status if approval else None


def _others_had_a_say(state: RunState) -> bool:
    return any(route.kind in {"delegate", "interactive"} for route in state.routes.values())
