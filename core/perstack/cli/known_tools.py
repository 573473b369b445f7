"""Which tools an Expert will have, as far as that is known without starting a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from perstack.config.lockfile import Lock, LockedTool
from perstack.config.positions import KeyPath
from perstack.domain.expert import (
    BASE_SKILL,
    MEMORY_SKILL,
    BaseSkill,
    Expert,
    InteractiveSkill,
    MemorySkill,
    SkillSpec,
    delegate_tool_name,
)
from perstack.domain.ids import ExpertKey, ToolCallId
from perstack.domain.messages import TextPart
from perstack.engine.toolset import Toolset, build_toolset
from perstack.ports.skills import SkillSet, ToolOutcome, ToolSpec
from perstack.skills.base.catalog import TOOLS
from perstack.skills.base.skill import NAMES
from perstack.skills.memory import skill as memory
from perstack.skills.toolset import free_name


@dataclass(frozen=True, slots=True)
class Collision:
    """Two things of one name: what became of the later one."""

    key: KeyPath
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class KnownTools:
    """An Expert's tools by skill, under the names that the model sees.

    None stands for a server that has to be asked. Delegates are under `delegates`.
    """

    by_skill: Mapping[str, tuple[str, ...] | None]
    delegates: tuple[str, ...]
    collisions: tuple[Collision, ...]


def known_tools(
    expert: Expert, experts: Mapping[ExpertKey, Expert], lock: Lock | None
) -> KnownTools:
    """Return the tools of the built-in skills, of delegates, and of what a `lock` lists."""
    locked = lock.tools.get(expert.key, ()) if lock else ()
    listed = _Listed(expert, locked)
    toolset = build_toolset(expert, experts, listed, may_ask=True)
    by_skill = {name: _names(name, skill, listed, toolset) for name, skill in expert.skills.items()}
    collisions = (
        *listed.collisions,
        *_taken_delegates(expert, toolset),
        *_taken_questions(expert, toolset),
    )
    return KnownTools(by_skill, tuple(toolset.delegates), collisions)


def _names(
    name: str, skill: SkillSpec, listed: _Listed, toolset: Toolset
) -> tuple[str, ...] | None:
    if isinstance(skill, InteractiveSkill):
        asked = toolset.interactive.items()
        return tuple(tool for tool, question in asked if question.skill_name == name)
    found = tuple(tool.name for tool in listed.tools.values() if tool.skill_name == name)
    return found if found or isinstance(skill, BaseSkill | MemorySkill) else None


class _Listed(SkillSet):
    """The tools that are known beforehand, named as a run will name them. None can be called."""

    def __init__(self, expert: Expert, locked: Sequence[LockedTool]) -> None:
        self.collisions: list[Collision] = []
        self._tools: dict[str, ToolSpec] = {}
        for skill in expert.skills.values():
            if isinstance(skill, BaseSkill):
                self._add_base(skill)
            elif isinstance(skill, MemorySkill):
                self._add_memory(skill)
        for name, skill in expert.skills.items():
            if not isinstance(skill, BaseSkill | MemorySkill | InteractiveSkill):
                for tool in locked:
                    if tool.skill_name == name and skill.offers(tool.name):
                        self._add(expert.key, tool)

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name, base skill first."""
        return self._tools

    async def ready(self) -> None:
        """Nothing is waited for."""

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        """Refuse: no skill is open."""
        return ToolOutcome((TextPart(text=f"Tool {name} is not open"),), is_error=True)

    def _add_base(self, skill: BaseSkill) -> None:
        for tool in TOOLS:
            if skill.offers(tool.name):
                self._tools[tool.name] = ToolSpec(BASE_SKILL, tool.name, tool.description, {})

    def _add_memory(self, skill: MemorySkill) -> None:
        for tool in memory.TOOLS:
            if skill.offers(tool.name):
                self._tools[tool.name] = ToolSpec(MEMORY_SKILL, tool.name, tool.description, {})

    def _add(self, expert: ExpertKey, tool: LockedTool) -> None:
        skill = tool.skill_name
        taken = [*NAMES, *self._tools] if skill != BASE_SKILL else [*self._tools]
        name = free_name(skill, tool.name, taken=taken)
        if name != tool.name:
            became = f"is offered as {name}" if name else "is left out"
            self.collisions.append(
                Collision(
                    ("experts", expert, "skills", skill),
                    f"its tool {tool.name} {became}: another tool has that name",
                    f'leave it out with omit = ["{tool.name}"] if it is not needed',
                )
            )
        if name is not None:
            spec = ToolSpec(skill, name, tool.description, tool.input_schema, own_name=tool.name)
            self._tools[name] = spec


def _taken_delegates(expert: Expert, toolset: Toolset) -> Iterator[Collision]:
    for name, key in toolset.delegates.items():
        if name != delegate_tool_name(key):
            yield Collision(
                ("experts", expert.key, "delegates"),
                f"the delegate {key} is offered as {name}: a tool has its name",
                "rename the Expert, so that instructions can call it by its name",
            )


def _taken_questions(expert: Expert, toolset: Toolset) -> Iterator[Collision]:
    for name, question in toolset.interactive.items():
        skill = expert.skills[question.skill_name]
        if isinstance(skill, InteractiveSkill) and name not in skill.tools:
            yield Collision(
                ("experts", expert.key, "skills", question.skill_name),
                f"its tool is offered as {name}: another tool has its name",
                "rename it, so that instructions can call it by its name",
            )
