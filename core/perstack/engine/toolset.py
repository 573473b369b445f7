"""The tools an Expert sees, and where each of its calls goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from perstack.domain.consensus import estimate_risk, why_required
from perstack.domain.events import ToolRoute
from perstack.domain.expert import Expert, InteractiveSkill, delegate_tool_name
from perstack.domain.ids import ExpertKey
from perstack.domain.messages import ToolCallPart
from perstack.domain.settings import ConsensusSettings
from perstack.ports.model import ToolDefinition
from perstack.ports.skills import SkillSet

_QUERY_SCHEMA: Final[dict[str, JsonValue]] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "The whole request; the Expert sees only this."}
    },
    "required": ["query"],
}


@dataclass(frozen=True, slots=True)
class _Interactive:
    skill_name: str
    definition: ToolDefinition


@dataclass(frozen=True, slots=True)
class Toolset:
    """Everything callable by one run, each name once: skills, then delegates, then questions."""

    skills: SkillSet
    delegates: Mapping[str, ExpertKey]
    interactive: Mapping[str, _Interactive]
    definitions: Sequence[ToolDefinition]

    def route(self, call: ToolCallPart, *, depth: int, rules: ConsensusSettings) -> ToolRoute:
        """Say where `call` goes and whether it must wait for a decision.

        `depth` is that of the delegated run, the coordinator's being 0.
        """
        name = call.tool_name
        if spec := self.skills.tools.get(name):
            return ToolRoute(
                tool_call_id=call.tool_call_id,
                skill_name=spec.skill_name,
                kind="mcp",
                gated=spec.gated or None,
                repeatable=spec.repeatable or None,
            )
        if key := self.delegates.get(name):
            risk = estimate_risk(key, query_of(call) or "", rules)
            return ToolRoute(
                tool_call_id=call.tool_call_id,
                skill_name=f"delegate/{key}",
                kind="delegate",
                gated=why_required(risk, depth, rules) is not None or None,
            )
        if question := self.interactive.get(name):
            return ToolRoute(
                tool_call_id=call.tool_call_id, skill_name=question.skill_name, kind="interactive"
            )
        return ToolRoute(tool_call_id=call.tool_call_id, skill_name="", kind="unknown")


def build_toolset(
    expert: Expert, experts: Mapping[ExpertKey, Expert], skills: SkillSet, *, may_ask: bool
) -> Toolset:
    """Join skills, delegates and, where the run `may_ask` the user, interactive tools."""
    definitions = [
        ToolDefinition(spec.name, spec.description, spec.input_schema)
        for spec in skills.tools.values()
    ]
    taken = {definition.name for definition in definitions}
    delegates: dict[str, ExpertKey] = {}
    for key in expert.delegates:
        name = _free_name(delegate_tool_name(key), "delegate", taken)
        delegates[name] = key
        known = experts.get(key)
        description = (known.description if known else None) or f"Delegate to {key}."
        definitions.append(ToolDefinition(name, description.strip(), _QUERY_SCHEMA))
    interactive = _questions(expert, taken) if may_ask else {}
    definitions += [question.definition for question in interactive.values()]
    return Toolset(skills, delegates, interactive, tuple(definitions))


def query_of(call: ToolCallPart) -> str | None:
    """Return a delegation's query, None when it is missing or not a text."""
    query = call.args.get("query")
    return query if isinstance(query, str) and query.strip() else None


def _questions(expert: Expert, taken: set[str]) -> dict[str, _Interactive]:
    found: dict[str, _Interactive] = {}
    for skill_name, skill in expert.skills.items():
        if not isinstance(skill, InteractiveSkill):
            continue
        for tool_name, tool in skill.tools.items():
            name = _free_name(tool_name, "ask", taken)
            definition = ToolDefinition(name, tool.description or "", tool.input_schema)
            found[name] = _Interactive(skill_name, definition)
    return found


def _free_name(name: str, prefix: str, taken: set[str]) -> str:
    free = name if name not in taken else f"{prefix}__{name}"
    taken.add(free)
    return free
