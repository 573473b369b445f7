"""The tools of all skills of a run under names that are unique."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pydantic import JsonValue

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart
from perstack.ports.skills import ToolOutcome, ToolSpec
from perstack.skills.base.skill import NAMES

if TYPE_CHECKING:
    from perstack.skills.mcp.server import McpServer

_MAX_NAME: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]+")


class Callee(Protocol):
    """What can be called by a tool's own name."""

    async def call(
        self, tool: str, args: Mapping[str, JsonValue], tool_call_id: ToolCallId | None, /
    ) -> ToolOutcome:
        """Call the tool; progress and output are told under `tool_call_id`."""
        ...


@dataclass(frozen=True, slots=True)
class _Route:
    spec: ToolSpec
    callee: Callee
    own_name: str


class Base(Callee, Protocol):
    """The base skill, built in or not, or another built-in one."""

    def specs(self) -> list[ToolSpec]:
        """Return its tools."""
        ...


class OpenSkillSet:
    """An Expert's connected skills."""

    def __init__(
        self, base: Base, servers: Sequence[McpServer], *, beside: Sequence[Base] = ()
    ) -> None:
        self._servers = servers
        self._routes = {
            spec.name: _Route(spec, built_in, spec.name)
            for built_in in (base, *beside)
            for spec in built_in.specs()
        }
        self._is_complete = False
        if all(server.is_settled for server in servers):
            self._complete()

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        """The tools by name, base skill first; complete once `ready` has returned."""
        return {name: route.spec for name, route in self._routes.items()}

    async def ready(self) -> None:
        """Wait for skills with `lazyInit`.

        Raises:
            SkillError: one of them did not get ready.
        """
        for server in self._servers:
            await server.ready()
        if not self._is_complete:
            self._complete()

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        """Call a tool; whatever goes wrong is an error outcome."""
        route = self._routes.get(name)
        if route is None:
            return ToolOutcome((TextPart(text=f"Tool {name} not found"),), is_error=True)
        return await route.callee.call(route.own_name, args, tool_call_id)

    def _complete(self) -> None:
        """Give every tool its name, in the order of the skills, whoever was ready first."""
        self._is_complete = True
        for server in self._servers:
            self._add(server)

    def _add(self, server: McpServer) -> None:
        for tool in server.tools:
            name = free_name(server.name, tool.name, taken=[*NAMES, *self._routes])
            if name is None:
                server.tell(f"the tool {tool.name} was left out: its name is taken")
                continue
            spec = ToolSpec(
                skill_name=server.name,
                name=name,
                description=tool.description,
                input_schema=tool.input_schema,
                gated=tool.name in server.skill.require_approval,
                own_name=tool.name,
            )
            self._routes[name] = _Route(spec, server, tool.name)


def free_name(skill: str, tool: str, *, taken: Iterable[str]) -> str | None:
    """Return the tool's own name if it is free, else one made of the skill's and its own.

    The names of base tools are never free, also not of those that an Expert omits: no server may
    pose as a base tool. None if both names are taken.
    """
    known = set(taken)
    if tool not in known:
        return tool
    long_name = f"{skill}__{tool}"
    name = _NOT_IN_NAMES.sub("_", long_name).strip("_")
    if len(name) > _MAX_NAME:
        digest = hashlib.sha256(long_name.encode()).hexdigest()[:8]
        name = f"{name[: _MAX_NAME - 9]}_{digest}"
    return None if name in known else name
