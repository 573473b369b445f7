"""Which Expert a task is for: what a model chose, read with care. Pure rules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.coordination import DispatcherSettings

NOT_OPERATIONAL: Final = "Smart dispatcher is not enabled or no provider available"
NO_REASONING: Final = "No reasoning provided"
MIDDLING: Final = 0.5

_MAX_REPLY: Final = 20_000
_MAX_BRACES: Final = 50
_MAX_REASONING: Final = 500
_SEPARATORS: Final = re.compile(r"[_\s]+")


class DispatchDecision(Model):
    """Who does it. `confidence` is 0 to 1; `cached`: no model was asked. `latency_ms` in ms."""

    agent_type: str
    confidence: float
    reasoning: str
    cached: bool = False
    latency_ms: int = 0


class DispatchOutcome(Model):
    """A decision, or why there is none."""

    success: bool
    decision: DispatchDecision | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model said, made regular; `agent_type` may still be none that exists."""

    agent_type: str
    confidence: float
    reasoning: str


def choice_in(fields: Mapping[str, JsonValue]) -> Choice | None:
    """Return the choice that an object says, None when it names no type."""
    named = fields.get("agentType")
    if not isinstance(named, str) or not named.strip():
        return None
    said = fields.get("reasoning")
    reasoning = said.strip()[:_MAX_REASONING] if isinstance(said, str) else ""
    return Choice(
        agent_type=regular(named),
        confidence=_confidence(fields.get("confidence")),
        reasoning=reasoning or NO_REASONING,
    )


def read_reply(text: str) -> Choice | None:
    """Return the choice of the first JSON object in a text, fenced or not; None without one."""
    decoder = json.JSONDecoder()
    text = text[:_MAX_REPLY]
    at = text.find("{")
    for _ in range(_MAX_BRACES):
        if at < 0:
            break
        try:
            found: JsonValue = decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        return choice_in(found) if isinstance(found, dict) else None
    return None


def regular(agent_type: str) -> str:
    """Return a type as it is compared: `Security_Auditor` is `security-auditor`."""
    return _SEPARATORS.sub("-", agent_type.strip().lower())


def decide(
    choice: Choice | None, types: Iterable[str], settings: DispatcherSettings
) -> DispatchDecision:
    """Return the decision that follows from a choice; None is a reply that was none."""
    fallback = settings.fallback_agent_type
    if choice is None:
        reasoning = "The reply could not be read, using fallback agent"
        return DispatchDecision(agent_type=fallback, confidence=0.0, reasoning=reasoning)
    known = {regular(one): one for one in types}
    confidence = choice.confidence
    found = known.get(choice.agent_type)
    if found is None:
        reasoning = f"Unknown agent type {choice.agent_type[:60]!a}, using fallback agent"
        return DispatchDecision(agent_type=fallback, confidence=confidence, reasoning=reasoning)
    if confidence < settings.confidence_threshold:
        reasoning = f"Low confidence ({confidence:.2f}), using fallback agent"
        return DispatchDecision(agent_type=fallback, confidence=confidence, reasoning=reasoning)
    return DispatchDecision(agent_type=found, confidence=confidence, reasoning=choice.reasoning)


def _confidence(value: JsonValue) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return MIDDLING
    if isinstance(value, float) and math.isnan(value):
        return MIDDLING
    return float(min(max(value, 0.0), 1.0))
