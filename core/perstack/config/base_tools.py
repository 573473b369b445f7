"""The names of the built-in tools, and those of `perstack.toml` that were meant to be one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from perstack.config.report import Report, listed, meant, shown
from perstack.domain.expert import (
    BASE_SKILL,
    BaseSkill,
    Expert,
    MemorySkill,
)

BASE_TOOLS: Final = (
    "attemptCompletion",
    "todo",
    "clearTodo",
    "readTextFile",
    "readImageFile",
    "readPdfFile",
    "writeTextFile",
    "appendTextFile",
    "editTextFile",
    "listDirectory",
    "getFileInfo",
    "createDirectory",
    "moveFile",
    "deleteFile",
    "deleteDirectory",
    "exec",
    "healthCheck",
)
MEMORY_TOOLS: Final = (
    "storeMemory",
    "searchMemory",
    "getMemory",
    "listMemory",
    "deleteMemory",
)
# Perstack's own base skill had it once; files that pick it are to be read all the same.
_FORMER: Final = ("think",)


def check_base_tools(experts: Iterable[Expert], report: Report, *, replaced: bool = False) -> None:
    """Report names that are no built-in tool where a built-in skill is narrowed or gated.

    What was meant to be gated or taken away would be open without a word: a gate on no tool, or a
    misspelt tool to be taken away, refuses the file. `replaced`: another base skill is started.
    """
    for expert in experts:
        for name, skill in expert.skills.items():
            match skill:
                case BaseSkill() if not replaced:
                    _check(expert, BASE_SKILL, skill, "base", BASE_TOOLS, report)
                case MemorySkill():
                    _check(expert, name, skill, "memory", MEMORY_TOOLS, report)
                case _:
                    pass


def _check(
    expert: Expert,
    name: str,
    skill: BaseSkill | MemorySkill,
    kind: str,
    tools: tuple[str, ...],
    report: Report,
) -> None:
    at = ("experts", expert.key, "skills", name)
    for tool, remedy, _ in _unknown(skill.require_approval, kind, tools):
        report.problem((*at, "requireApproval"), _says(tool, kind), remedy)
    for tool, remedy, is_close in _unknown(skill.omit, kind, tools, but=_FORMER):
        tell = report.problem if is_close else report.warn
        tell((*at, "omit"), _says(tool, kind), remedy)
    for tool, remedy, _ in _unknown(skill.pick, kind, tools, but=_FORMER):
        report.warn((*at, "pick"), _says(tool, kind), remedy)


def _unknown(
    names: Iterable[str], kind: str, tools: tuple[str, ...], *, but: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, bool]]:
    """Yield each name that is no such tool, what to write instead, and whether one is close."""
    for name in names:
        if name not in tools and name not in but:
            guess = meant(name, tools)
            remedy = f"did you mean {guess}?" if guess else f"{kind} tools: {listed(tools)}"
            yield name, remedy, guess is not None


def _says(name: str, kind: str) -> str:
    return f"{shown(name)} is no {kind} tool"
