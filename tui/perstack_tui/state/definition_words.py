"""What a save of `perstack.toml` changed, in words and as lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import ExpertKey
from perstack.projection.views import RunView
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary, SavedDefinitions
from perstack_tui.state.index import Index, is_live
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import Role, clock_time, count_of, short_id, versioned
from perstack_tui.text import cell, crop, flat, width_of, wrap

if TYPE_CHECKING:
    from perstack.config.definition_diff import ExpertDiff, FieldChange
    from perstack_tui.state.cockpit import CockpitState

# Above so many lines a diff is shown in part until `d` shows all of it.
SHORT_DIFF: Final = 12
FIELD_CELLS: Final = 22


@dataclass(frozen=True, slots=True)
class ChangedItem:
    """One thing that a save changed: an Expert, or what is outside of any (`diff` None)."""

    save: SavedDefinitions
    diff: ExpertDiff | None

    @property
    def fields(self) -> tuple[FieldChange, ...]:
        """What changed of it."""
        return self.diff.fields if self.diff is not None else self.save.diff.settings


def items_of(definitions: DefinitionsUpdate) -> tuple[ChangedItem, ...]:
    """Return what was changed since the cockpit was opened, the newest save first."""
    found: list[ChangedItem] = []
    for save in definitions.saves:
        found += [ChangedItem(save, diff) for diff in save.diff.experts]
        found += [ChangedItem(save, None)] if save.diff.settings else []
    return tuple(found)


def diff_of(definitions: DefinitionsUpdate, key: ExpertKey) -> ExpertDiff | None:
    """Return how the newest save changed an Expert, None when it did not."""
    newest = next(iter(definitions.saves), None)
    experts = newest.diff.experts if newest is not None else ()
    return next((diff for diff in experts if diff.key == key), None)


def news_words(definitions: DefinitionsUpdate, index: Index) -> str:
    """Return the last save in a line: `writer 1.2 → 1.3, reviewer new · 2 runs keep theirs`."""
    newest = next(iter(definitions.saves), None)
    if newest is None:
        return ""
    parts = [title_words(diff) for diff in newest.diff.experts]
    parts += ["settings"] if newest.diff.settings else []
    powers = any(diff.change == "changed" and diff.powers for diff in newest.diff.experts)
    running = {run.run_id for diff in newest.diff.experts for run in keeping(index, newest, diff)}
    said = ", ".join(parts) + (" ! new powers" if powers else "")
    return said + (f" · {count_of(len(running), 'run')} at work as before" if running else "")


def title_words(diff: ExpertDiff) -> str:
    """Return `writer 1.2 → 1.3`, `reviewer new`, `tester gone` or `writer changed`."""
    key = flat(diff.key)
    if diff.change != "changed":
        return f"{key} {diff.change}"
    if diff.before_version == diff.after_version:
        return f"{key} changed"
    return f"{key} {flat(diff.before_version or '?')} → {flat(diff.after_version or '?')}"


def change_words(diff: ExpertDiff) -> str:
    """Return `new`, or the fields that changed: `instruction +6 −2, delegates +1`."""
    if diff.change != "changed":
        return diff.change
    parts = [_field_words(field) for field in diff.fields if field.field != "version"]
    return ", ".join(parts[:3]) + (" …" if len(parts) > 3 else "") or "version"


def _field_words(field: FieldChange) -> str:
    name = flat(field.field)
    if field.lines:
        return f"{name} +{field.added} −{field.removed}"
    gained = f" +{len(field.gained)}" if field.gained else ""
    lost = f" −{len(field.lost)}" if field.lost else ""
    return name + gained + lost


def keeping(index: Index, save: SavedDefinitions, diff: ExpertDiff) -> list[RunView]:
    """Return the runs at work that began before the save, and so with what was defined before."""
    return [
        run
        for run in index.runs.values()
        if run.expert_key == diff.key and is_live(run) and run.started_at < save.at
    ]


def resting(index: Index, diff: ExpertDiff) -> list[RunView]:
    """Return the runs that are not at work and could go on: they take what is defined then."""
    return [
        run
        for run in index.runs.values()
        if run.expert_key == diff.key and run.state in ("stop", "limit", "idle", "lost")
    ]


def has_newest(state: CockpitState, run: RunView) -> bool:
    """Say whether the run certainly goes by what is defined now: nothing would change.

    That is known of jobs of this process that brought no definitions of their own.
    """
    definitions, job = state.definitions, state.index.jobs.get(run.job_id)
    if job is None or job.job_id not in state.local_jobs:
        return False
    if any(one.forked_from is not None for one in job.runs):
        return False
    now = next((one for one in definitions.experts if one.key == run.expert_key), None)
    saved = [save for save in definitions.saves if save.at >= job.started_at]
    changed = {diff.key for save in saved for diff in save.diff.experts}
    return now is not None and now.version == run.expert_version and run.expert_key not in changed


# --- the sheet ------------------------------------------------------------------------------------


def item_title(item: ChangedItem) -> str:
    """Return the title of the sheet for one item."""
    what = title_words(item.diff) if item.diff is not None else "settings"
    return f"What changed · {what}"


def item_lines(item: ChangedItem, index: Index, width: int, *, full: bool) -> list[Line]:
    """Return what changed, field by field, the texts' diffs, and who is affected."""
    lines: list[Line] = [note(f"saved {clock_time(item.save.at)}"), BLANK]
    diff = item.diff
    if diff is not None and diff.change == "gone":
        lines.append(line(("It is defined no more. Runs at work keep their definition.", "text")))
    elif item.fields:
        new = diff is not None and diff.change == "new"
        lines += fields_lines(item.fields, width, new=new)
    lines.append(BLANK)
    for field in item.fields:
        if field.lines:
            lines += [*_diff_lines(field, width, full=full), BLANK]
    if diff is not None:
        lines += affected_lines(item, diff, index)
    return lines


def fields_lines(fields: Sequence[FieldChange], width: int, *, new: bool = False) -> list[Line]:
    """Return a table of fields: before and after, or only what is set."""
    room = max(12, width - FIELD_CELLS)
    half = room if new else room // 2
    head = cell("FIELD", FIELD_CELLS) + ("VALUE" if new else cell("BEFORE", half) + "AFTER")
    lines = [line((head, "muted"))]
    for field in fields:
        lines += _field_rows(field, half, new=new)
    return lines


def _field_rows(field: FieldChange, half: int, *, new: bool) -> list[Line]:
    if field.lines:
        counts = count_of(field.added, "line") if new else f"+{field.added} −{field.removed} lines"
        before, after = (counts, "") if new else (counts, "(below)")
    else:
        before, after = field.before or "-", _after(field)
    name: Span = (cell(field.field, FIELD_CELLS - 1) + " ", "text")
    rows: list[Line] = []
    if width_of(flat(field.field)) >= FIELD_CELLS:
        # A name that does not fit has a line of its own.
        rows.append(line((flat(field.field), "text")))
        name = (" " * FIELD_CELLS, "text")
    left = wrap(field.after or "-" if new and not field.lines else before, max(4, half - 2))
    right = () if new else wrap(after, max(4, half - 2))
    for at in range(max(len(left), len(right), 1)):
        spans: list[Span] = [name if at == 0 else (" " * FIELD_CELLS, "text")]
        spans.append(
            (cell(left[at] if at < len(left) else "", half), "muted" if not new else "text")
        )
        if not new:
            spans.append((right[at] if at < len(right) else "", "text"))
        rows.append(Line(tuple(spans)))
    said = "" if new else "new power: "
    rows += [
        line((" " * FIELD_CELLS, "text"), (f"! {said}{flat(power)}", "need"))
        for power in field.powers
    ]
    return rows


def _after(field: FieldChange) -> str:
    """Return what is set now; of a long list only what came and went."""
    if not (field.gained or field.lost) or len(field.after) <= 40:
        return field.after or "-"
    gained = [f"+ {name}" for name in field.gained]
    return ", ".join([*gained, *(f"− {name}" for name in field.lost)])


def _diff_lines(field: FieldChange, width: int, *, full: bool) -> Iterable[Line]:
    yield line((f"{flat(field.field)}", "strong"))
    shown = field.lines if full else field.lines[:SHORT_DIFF]
    for text in shown:
        role: Role = _ROLES.get(text[:1], "text")
        for part in wrap(text, max(8, width - 2)):
            yield Line((("  ", "text"), (part, role)), exact=True)
    if len(shown) < len(field.lines):
        yield note(f"  … {len(field.lines) - len(shown)} more lines: d shows all")


_ROLES: Final[dict[str, Role]] = {"+": "added", "-": "removed", "@": "accent"}


def affected_lines(item: ChangedItem, diff: ExpertDiff, index: Index) -> list[Line]:
    """Return the runs at work with what was defined before, and those that rest."""
    at_work, rest = keeping(index, item.save, diff), resting(index, diff)
    if not (at_work or rest):
        return [note("who is affected: nobody; new runs use what is defined now")]
    lines = [note("who is affected")]
    for run in at_work:
        keeps = f"step {run.step_number} · keeps {flat(run.expert_version)}"
        lines.append(_affected(run, keeps, "run"))
    lines += [
        _affected(run, "not at work · takes the new one when it goes on", "muted") for run in rest
    ]
    return lines


def _affected(run: RunView, words: str, role: Role) -> Line:
    who = versioned(crop(flat(run.expert_key), 24), flat(run.expert_version))
    name = f"{short_id(flat(run.job_id))}  {who}"
    return Line((("  ", "text"), (cell(name, 38), "text"), (words, role)), key=run.run_id)


# --- one Expert in full ---------------------------------------------------------------------------


def definition_lines(
    expert: ExpertSummary, definitions: DefinitionsUpdate, width: int
) -> list[Line]:
    """Return a definition in full, the instruction as it stands in the file."""
    lines = [
        line((f"{flat(expert.key)}@{flat(expert.version)}", "strong")),
        *(line((text, "muted")) for text in wrap(expert.description, width) if text),
        BLANK,
        line(
            (cell("model", FIELD_CELLS), "text"), (flat(expert.model or definitions.model), "text")
        ),
    ]
    gate = "waits for a decision when delegated to" if expert.gated else "no gate by its name"
    lines.append(line((cell("risk", FIELD_CELLS), "text"), (f"{expert.risk} · {gate}", "text")))
    shown = [one for one in expert.fields if one.field not in ("instruction", "description")]
    lines += fields_lines(shown, width, new=True)[1:]
    lines += [BLANK, line(("instruction", "strong"))]
    body = wrap(expert.instruction, max(8, width - 2))
    return lines + [Line((("  ", "text"), (text, "text")), exact=True) for text in body]
