"""One task done side by side: the same Expert on several runtimes and models, each in a copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NewType, get_args

from perstack.domain.base import Model
from perstack.domain.ids import ConsensusId, ExpertKey, JobId
from perstack.domain.runtimes import RuntimeName
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.errors import UsageError

ComparisonId = NewType("ComparisonId", str)
# What a contestant's job came to, or how it stands. "unstarted": it could not be started at all;
# "lost": the process that ran it died.
ContestantState = Literal[
    "queued",
    "running",
    "waiting",
    "completed",
    "asked",
    "awaiting",
    "limit",
    "stopped",
    "failed",
    "unstarted",
    "lost",
]
RUNTIME_NAMES: Final[tuple[RuntimeName, ...]] = get_args(RuntimeName)
FEWEST: Final = 2
MOST: Final = 8
OVER: Final = frozenset(
    {"completed", "asked", "awaiting", "limit", "stopped", "failed", "unstarted", "lost"}
)
_LONGEST_MODEL: Final = 200
_LABEL: Final = 48
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9]+")
_EXAMPLE: Final = "perstack compare EXPERT QUERY --on perstack --on claude-code"


@dataclass(frozen=True, slots=True)
class Contestant:
    """What does the task. `model` None: the file's, or the program's own.

    `label` names its folder and its row: letters, digits, dashes; no two of a comparison share one.
    """

    label: str
    runtime: RuntimeName
    model: str | None = None

    @property
    def typed(self) -> str:
        """As it is said on a command line."""
        return self.runtime if self.model is None else f"{self.runtime}:{self.model}"


class ContestRow(Model):
    """How one contestant stands. Times in Unix milliseconds.

    `model` is that which answered, as far as it is known. `consensus_id` is the gate at which it
    waits, `exit_code` what its job would have ended a program with, `options` what goes on with
    it on a command line. `skipped` counts files that its folder lacks since they could not be
    copied. `changed` is how many files differ from the start, None while nobody has looked.
    """

    label: str
    runtime: RuntimeName
    model: str | None = None
    state: ContestantState = "queued"
    job_id: JobId | None = None
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = NO_USAGE
    cost: Cost = NO_COST
    started_at: int | None = None
    finished_at: int | None = None
    text: str | None = None
    error: str | None = None
    hint: str | None = None
    warnings: tuple[str, ...] = ()
    exit_code: int | None = None
    options: tuple[str, ...] = ()
    consensus_id: ConsensusId | None = None
    skipped: int = 0
    changed: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in OVER

    def lasted_ms(self, now_ms: int) -> int | None:
        """Return how long it worked, None where it never began."""
        if self.started_at is None:
            return None
        return max(0, (self.finished_at or now_ms) - self.started_at)


class Contest(Model):
    """A comparison. `finished_at` None: it goes on, or its process died meanwhile."""

    id: ComparisonId
    expert: ExpertKey
    query: str
    started_at: int
    finished_at: int | None = None
    rows: tuple[ContestRow, ...]

    def row(self, label: str) -> ContestRow | None:
        """Return a contestant's row."""
        return next((row for row in self.rows if row.label == label), None)

    def with_row(self, row: ContestRow) -> Contest:
        """Return the comparison with a contestant's row replaced."""
        rows = tuple(row if each.label == row.label else each for each in self.rows)
        return self.model_copy(update={"rows": rows})

    def as_lost(self) -> Contest:
        """Return it as it is once nobody runs it: what had not ended never will by itself."""
        rows = tuple(
            row if row.is_over else row.model_copy(update={"state": "lost"}) for row in self.rows
        )
        return self.model_copy(update={"rows": rows})


def contestants_of(typed: Sequence[str]) -> tuple[Contestant, ...]:
    """Return the contestants that were typed, as RUNTIME or RUNTIME:MODEL; a model may hold colons.

    Raises:
        UsageError: too few, too many, one twice, no such runtime, or no usable model.
    """
    if not FEWEST <= len(typed) <= MOST:
        raise UsageError(
            f"a comparison is between {FEWEST} and {MOST} contestants, not {len(typed)}",
            hint=_EXAMPLE,
        )
    found: list[Contestant] = []
    for text in typed:
        runtime, model = _parts(text)
        if any((one.runtime, one.model) == (runtime, model) for one in found):
            raise UsageError(f"--on {text[:80]!a} was given twice", hint=_EXAMPLE)
        taken = {one.label for one in found}
        found.append(Contestant(_label(runtime, model, taken), runtime, model))
    return tuple(found)


def _parts(text: str) -> tuple[RuntimeName, str | None]:
    name, colon, model = text.strip().partition(":")
    known: dict[str, RuntimeName] = {one: one for one in RUNTIME_NAMES}
    known["local"] = "perstack"
    runtime = known.get(name)
    if runtime is None:
        raise UsageError(
            f"--on {text[:80]!a}: there is no runtime {name[:40]!a}",
            hint=f"one of {', '.join(RUNTIME_NAMES)}, each with :MODEL or without",
        )
    if colon and not (0 < len(model) <= _LONGEST_MODEL and model.isprintable()):
        raise UsageError(
            f"--on {text[:80]!a} names no model behind the colon",
            hint=f"--on {runtime}, or --on {runtime}:MODEL",
        )
    return runtime, model if colon else None


def _label(runtime: str, model: str | None, taken: set[str]) -> str:
    plain = _UNSAFE.sub("-", f"{runtime}-{model}" if model else runtime).strip("-")[:_LABEL]
    label, number = plain, 2
    while label in taken:
        label, number = f"{plain}-{number}", number + 1
    return label
