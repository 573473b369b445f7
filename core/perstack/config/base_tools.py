"""The names of the base tools, and those of `perstack.toml` that were meant to be one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from perstack.config.report import Report, listed, meant, shown
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert

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
# Perstack's own base skill had it once; files that pick it are to be read all the same.
_FORMER: Final = ("think",)


def check_base_tools(experts: Iterable[Expert], report: Report) -> None:
    """Report names that are no base tool where the built-in base skill is narrowed or gated.

    What was meant to be gated or taken away would be open without a word: a gate on no tool, or a
    misspelt tool to be taken away, refuses the file.
    """
    for expert in experts:
        skill = expert.skills[BASE_SKILL]
        if not isinstance(skill, BaseSkill):
            continue
        at = ("experts", expert.key, "skills", BASE_SKILL)
        for name, remedy, _ in _unknown(skill.require_approval):
            report.problem((*at, "requireApproval"), _says(name), remedy)
        for name, remedy, is_close in _unknown(skill.omit, but=_FORMER):
            tell = report.problem if is_close else report.warn
            tell((*at, "omit"), _says(name), remedy)
        for name, remedy, _ in _unknown(skill.pick, but=_FORMER):
            report.warn((*at, "pick"), _says(name), remedy)


def _unknown(names: Iterable[str], *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, str, bool]]:
    """Yield each name that is no base tool, what to write instead, and whether one is close."""
    for name in names:
        if name not in BASE_TOOLS and name not in but:
            guess = meant(name, BASE_TOOLS)
            remedy = f"did you mean {guess}?" if guess else f"base tools: {listed(BASE_TOOLS)}"
            yield name, remedy, guess is not None


def _says(name: str) -> str:
    return f"{shown(name)} is no base tool"
