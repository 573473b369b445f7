"""What tests of adapters need: a talk, and what a reader makes of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.settings import ProviderSettings, Settings
from perstack.ports.programs import Report, Talk
from perstack.runtimes.running import Reader

LEAD = Expert(key=ExpertKey("lead"), name="lead", instruction="You are lead.", skills={})


def talk_with(
    *,
    expert: Expert = LEAD,
    prompt: str = "Do it.",
    env: Mapping[str, str] | None = None,
    session: str | None = None,
    branch: bool = False,
    past: str = "",
    model: str | None = None,
    provider: str = "openai",
) -> Talk:
    """Return a talk in a workspace that nobody looks at."""
    chosen = ProviderSettings.model_validate({"name": provider})
    return Talk(
        job_id=JobId("job-1"),
        run_id=RunId("run-1"),
        expert=expert,
        experts={expert.key: expert},
        prompt=prompt,
        workspace=Path("/nowhere"),
        settings=Settings(model=model or "gpt-5", provider=chosen),
        env=env or {},
        session=session,
        branch=branch,
        past=past,
        model=model,
    )


def read_all(reader: Reader, records: Iterable[Mapping[str, JsonValue]]) -> list[Report]:
    """Return all that a reader tells of the records of a program that ended well."""
    told = [report for record in records for report in reader.read(record)]
    return [*told, *reader.ended(None)]
