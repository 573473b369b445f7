"""Comparisons: a row a contestant, those of the newest comparison first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from anyio import to_thread

from perstack.comparing import open_comparisons
from perstack.domain.comparisons import ComparisonId, Contest, ContestantState, ContestRow
from perstack.errors import NotFoundError, PerstackError
from perstack.ports.comparisons import ComparisonStore, Stored
from perstack.projection.comparison_text import (
    IN_FRAME,
    STATE_WORDS,
    cells_of,
    contest_lines,
    named,
    remedies,
)
from perstack.services.comparison_files import ComparisonFiles, diff_lines
from perstack_tui.local.records.rows import age, many, moment, said, selected, unknown, word
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Cell, Column, Field, Row, Tone, Verb

_STOP: Final = Verb(
    "stop", "x", "stop", warns="All its contestants stop at a checkpoint; what they did is kept."
)
_REMOVE: Final = Verb(
    "remove", "D", "remove", warns="Its folders go for good, with the jobs of all its contestants."
)
_GLYPHS: Final[dict[ContestantState, tuple[str, Tone]]] = {
    "queued": ("○", "idle"),
    "running": ("●", "run"),
    "waiting": ("▲", "need"),
    "awaiting": ("▲", "need"),
    "asked": ("▲", "need"),
    "completed": ("✓", "done"),
    "limit": ("!", "stall"),
    "stopped": ("■", "stop"),
    "failed": ("✗", "fail"),
    "unstarted": ("✗", "fail"),
    "lost": ("✗", "fail"),
}


class Comparisons:
    """Contestants of comparisons; a record's id is that of its comparison, a slash, its label."""

    empty = (
        "Nothing was compared yet.\n"
        "Type :compare_runtimes to have one task done on several runtimes and models side by side."
    )
    columns = (
        Column("state", 11),
        Column("contestant", 0),
        Column("steps", 5, right=True),
        Column("calls", 5, right=True),
        Column("time", 5, right=True),
        Column("tokens", 7, right=True),
        Column("cost", 7, right=True),
        Column("files", 5, right=True),
        Column("task", 20),
        Column("age", 5, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services
        self._store: ComparisonStore = open_comparisons(services.workspace)

    async def version(self) -> str:
        """Return what changes whenever a comparison does; cheap."""
        return await to_thread.run_sync(self._store.version)

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await to_thread.run_sync(self._store.list)
        rows = [(one, row) for one in found for row in one.shown.rows]
        made = partial(_row, now_ms=self._own.clock.now_ms())
        return await selected(rows, made, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a contestant: its result, its figures beside the others', its diff."""
        return await to_thread.run_sync(self._details, record_id)

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        comparison_id = ComparisonId((record_id or "").partition("/")[0])
        if record_id is None or verb_id not in ("stop", "remove"):
            raise unknown(verb_id)
        if verb_id == "stop":
            await to_thread.run_sync(self._store.ask_stop, comparison_id)
            return f"comparison {comparison_id} stops at checkpoints"
        size = await to_thread.run_sync(self._store.remove, comparison_id)
        return f"comparison {comparison_id} is removed, {size:,} bytes"

    def _details(self, record_id: str) -> Sequence[Field]:
        comparison_id, _, label = record_id.partition("/")
        contest = self._store.get(ComparisonId(comparison_id)).shown
        row = contest.row(label)
        if row is None:
            raise NotFoundError(f"{record_id[:80]!a} is gone")
        now_ms = self._own.clock.now_ms()
        folder = str(self._store.folder(contest.id, label))
        glyph, tone = _GLYPHS[row.state]
        return [
            Field("contestant", named(row), "strong"),
            Field("state", f"{glyph} {STATE_WORDS[row.state]}", tone),
            *said("error", row.error, "fail"),
            *said("hint", row.hint),
            *many("warnings", row.warnings),
            *said("result", row.text),
            Field("side by side", "\n".join(contest_lines(contest, now_ms, IN_FRAME))),
            *many("files changed", list(self._diff(contest, row))),
            *said("Expert", contest.expert),
            *said("task", contest.query),
            *moment("begun", row.started_at),
            *moment("ended", row.finished_at),
            *many("commands", remedies(contest, row, folder)),
            *said("folder", folder),
            *said("comparison", contest.id),
        ]

    def _diff(self, contest: Contest, row: ContestRow) -> Iterator[str]:
        try:
            diffs = ComparisonFiles(self._store, contest.id).diffs(None, row.label)
        except PerstackError as error:
            yield error.message
            return
        yield from diff_lines(diffs, "start", row.label)
        if not diffs:
            yield "none"


def _row(one: tuple[Stored, ContestRow], *, now_ms: int) -> Row:
    stored, row = one
    contest = stored.contest
    glyph, tone = _GLYPHS[row.state]
    _, state, steps, calls, time, tokens, cost, files = cells_of(row, now_ms)
    return Row(
        f"{contest.id}/{row.label}",
        (
            Cell(f"{glyph} {state}", tone),
            word(named(row), "strong"),
            *(word(text) for text in (steps, calls, time, tokens, cost, files)),
            word(f"{contest.expert}: {contest.query}", "muted"),
            age(contest.started_at, now_ms),
        ),
        (_STOP,) if stored.alive else (_REMOVE,),
    )
