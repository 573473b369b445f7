"""What tells runs of one Expert in one job apart: where what they were asked begins to differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.projection.views import JobView, RunView
from perstack_tui.text import crop, flat

_LOOKED_AT: Final = 400
_LONGEST: Final = 60
_MOST_JOBS: Final = 500


class Twins:
    """Finds the hints of a job, anew only when the job changed."""

    def __init__(self) -> None:
        self._kept: dict[JobId, tuple[JobView, Mapping[RunId, str]]] = {}

    def hint(self, job: JobView | None, run_id: RunId) -> str:
        """Return what the run was asked as far as that tells, "" where its name stands once."""
        if job is None or len(job.runs) < 2:
            return ""
        kept = self._kept.get(job.job_id)
        if kept is None or kept[0] is not job:
            if len(self._kept) > _MOST_JOBS:
                self._kept.clear()
            kept = self._kept[job.job_id] = (job, hints_of(job.runs))
        return kept[1].get(run_id, "")


def hints_of(runs: Sequence[RunView]) -> Mapping[RunId, str]:
    """Return the hints of all runs whose Expert occurs more than once among `runs`."""
    groups: dict[ExpertKey, list[RunView]] = {}
    for run in runs:
        groups.setdefault(run.expert_key, []).append(run)
    found: dict[RunId, str] = {}
    for group in groups.values():
        if len(group) > 1:
            found.update(_told_apart(group))
    return found


def _told_apart(group: Sequence[RunView]) -> Mapping[RunId, str]:
    texts = [_beginning(run.query) for run in group]
    shared = _shared_beginning(min(texts), max(texts))
    # Words stay whole: what is left out ends at a blank, and only a long part is.
    start = shared.rfind(" ") + 1
    start = start if start > 3 else 0
    found: dict[RunId, str] = {}
    for number, (run, text) in enumerate(zip(group, texts, strict=True), 1):
        rest = text[start:]
        twice = not rest or texts.count(text) > 1
        words = f"#{number} {rest}".strip() if twice else rest
        found[run.run_id] = crop(("…" if start and not twice else "") + words, _LONGEST)
    return found


def _shared_beginning(first: str, last: str) -> str:
    """Return how the first and last of sorted texts begin alike, and so all between them."""
    alike = zip(first, last, strict=False)
    differs = next((at for at, (one, other) in enumerate(alike) if one != other), len(first))
    return first[:differs]


@lru_cache(maxsize=4_096)
def _beginning(query: str) -> str:
    return " ".join(flat(query[:_LOOKED_AT]).split())
