"""Phases that an Expert does: it reports by a tool call, and its text is only its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey, SessionId
from perstack.domain.workflows import Finding, FindingSeverity
from perstack.ports.experts import ExpertAnswer, ExpertRequest, ExpertRunner, OwnTool
from perstack.services.expert_tools import read_arguments, schema_of, why_not

EXPERT_S: Final = 1_800.0
MAX_FINDINGS: Final = 200
MAX_SUMMARY: Final = 20_000
_READING: Final = (
    "attemptCompletion",
    "todo",
    "clearTodo",
    "readTextFile",
    "readImageFile",
    "readPdfFile",
    "listDirectory",
    "getFileInfo",
)


class _Finding(Model):
    claim: str = Field(min_length=1, max_length=2_000)
    contradiction: str = Field(min_length=1, max_length=5_000)
    severity: FindingSeverity
    evidence: tuple[str, ...] = Field(default=(), max_length=20)
    file: str | None = Field(default=None, max_length=1_000)
    line: int | None = Field(default=None, ge=1)


class _Report(Model):
    success: bool
    summary: str = Field(max_length=MAX_SUMMARY)
    findings: tuple[_Finding, ...] = Field(default=(), max_length=MAX_FINDINGS)
    coverage: float | None = Field(default=None, ge=0, le=100)
    proposal: str | None = Field(default=None, max_length=1_000_000)


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """What an Expert reported. `handed_in`: through the tool; else only its text is there."""

    handed_in: bool
    success: bool
    summary: str
    findings: tuple[Finding, ...]
    coverage: float | None
    proposal: str | None
    job_id: str


async def ask_phase(
    runner: ExpertRunner,
    expert: ExpertKey | Expert,
    query: str,
    *,
    session_id: SessionId | None = None,
    model: str | None = None,
    timeout_s: float = EXPERT_S,
) -> PhaseReport:
    """Run an Expert with the tool `submitPhase` and return what it reported.

    Raises:
        ProviderError: it did not come to its end.
        ConfigError, StorageError: as `ExpertRunner.run`.
    """
    said: list[_Report] = []

    async def submit(arguments: Mapping[str, JsonValue]) -> str:
        said.append(read_arguments(_Report, arguments))
        return "Recorded. End now with attemptCompletion."

    tool = OwnTool("submitPhase", "Report how your part went.", schema_of(_Report), submit)
    request = ExpertRequest(
        expert=expert,
        query=query,
        model=model,
        tools=(tool,),
        session_id=session_id,
        timeout_s=timeout_s,
    )
    answer = await runner.run(request)
    if answer.ending == "completed" or (said and answer.ending == "limit"):
        return _report(said[-1] if said else None, answer)
    name = expert.key if isinstance(expert, Expert) else expert
    raise why_not(f"the Expert {name}", answer)


def reading_only(runner: ExpertRunner, key: ExpertKey) -> ExpertKey | Expert:
    """Return an Expert without the tools that change things; its key when it is not known."""
    expert = runner.experts.get(key)
    if expert is None:
        return key
    skills = {BASE_SKILL: BaseSkill(pick=_READING)}
    return expert.model_copy(update={"skills": skills, "delegates": ()})


def _report(said: _Report | None, answer: ExpertAnswer) -> PhaseReport:
    if said is None:
        return PhaseReport(False, False, answer.text[:MAX_SUMMARY], (), None, None, answer.job_id)
    findings = tuple(Finding(**one.model_dump(by_alias=False)) for one in said.findings)
    return PhaseReport(
        True, said.success, said.summary, findings, said.coverage, said.proposal, answer.job_id
    )
