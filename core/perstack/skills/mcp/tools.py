"""A server's tools as this run knows them: as first listed, and never otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from perstack.ports.skills import ToolSpec
from perstack.skills.mcp.schema import Checker


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as the server lists it."""

    name: str
    description: str
    input_schema: dict[str, JsonValue]
    output_schema: JsonValue = None


@dataclass(slots=True)
class PinnedTools:
    """The definitions that hold for the whole run.

    Those that came from a lock file say nothing of what a tool returns, until the live server
    has shown that it defines them the same.
    """

    _tools: dict[str, ListedTool] = field(default_factory=dict[str, ListedTool])
    _checkers: dict[str, Checker] = field(default_factory=dict[str, Checker])
    _locked: set[str] = field(default_factory=set[str])

    @property
    def names(self) -> Iterable[str]:
        """The names of all tools."""
        return self._tools.keys()

    @property
    def all(self) -> list[ListedTool]:
        """The tools, in the server's order."""
        return list(self._tools.values())

    def pin(self, tools: Sequence[ListedTool], tell: Callable[[str], None]) -> None:
        """Take what the server listed first."""
        for tool in tools:
            if tool.name in self._tools:
                tell(f"the tool {tool.name} was listed twice; the first one is used")
            self._tools.setdefault(tool.name, tool)

    def pin_locked(self, specs: Iterable[ToolSpec]) -> None:
        """Take what a lock file lists."""
        for spec in specs:
            tool = ListedTool(spec.name, spec.description, spec.input_schema)
            self._tools[spec.name] = tool
            self._locked.add(spec.name)

    def compare(self, live: Sequence[ListedTool]) -> None:
        """Take over what the live server says of tools that it defines as the lock file does."""
        defined = {tool.name: tool for tool in reversed(live)}
        for name in self._locked & defined.keys():
            tool = defined[name]
            if replace(tool, output_schema=None) == self._tools[name]:
                self._tools[name] = tool
                self._locked.discard(name)

    def is_locked(self, name: str) -> bool:
        """Whether only a lock file says how the tool is defined."""
        return name in self._locked

    def agrees(self, name: str, live: Sequence[ListedTool]) -> bool:
        """Whether the live server defines the tool as it is pinned."""
        return name not in self._locked and self._tools[name] in live

    def problem(self, name: str, args: Mapping[str, JsonValue]) -> str | None:
        """Return why the arguments do not fit, None if they do. Blocking: run it in a thread."""
        checker = self._checkers.get(name)
        if checker is None:
            checker = self._checkers[name] = Checker(self._tools[name].input_schema)
        return checker.problem(dict(args))
