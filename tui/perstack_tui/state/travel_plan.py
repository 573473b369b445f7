"""Going on from a moment: what will happen, in words, before any key makes it happen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from perstack_tui.ports.travel import FileView, ForkWish, Moment, RestorePlan
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import Role, count_of, short_id
from perstack_tui.text import cell, flat, wrap

Going = Literal["resume", "fork", "restore"]
TITLES: Final[dict[Going, str]] = {
    "resume": "Resume from here",
    "fork": "Fork from here",
    "restore": "Restore files only",
}
RESTS: Final[dict[str, str]] = {
    "done": "it was done there: e says what comes next",
    "ask": "a question waits there: e answers it",
}
KEYS: Final[dict[Going, str]] = {"resume": "R", "fork": "F", "restore": "W"}


@dataclass(slots=True)
class Plan:
    """What is to be done from a moment. `what` names it, `later` counts checkpoints after it.

    `plan` is None until it is loaded and where there is no snapshot (`without` says so then);
    `files` are what a fork takes along. `also` are kept files that are to be overwritten. `wants`
    is why something has to be said to resume, empty if nothing has to be. `rests` is why a fork
    does nothing until something is said to it; `is_delegate`: another run delegated it.
    """

    going: Going
    moment: Moment
    what: str
    later: int = 0
    plan: RestorePlan | None = None
    files: tuple[FileView, ...] | None = None
    loaded: bool = False
    without: str = ""
    refused: str = ""
    wants: str = ""
    rests: str = ""
    is_delegate: bool = False
    also: set[str] = field(default_factory=set[str])
    selected: str | None = None
    text: str = ""
    with_files: bool = True
    newest: bool = False
    here: bool = False

    @property
    def restores(self) -> bool:
        """Whether files are written and removed."""
        wanted = self.going == "restore" or (self.going == "resume" and self.with_files)
        return wanted and self.plan is not None

    def why_not(self) -> str | None:
        """Return why it cannot be done now, None when it can."""
        if not self.loaded:
            return "what it would do is still being looked up"
        if self.refused:
            return self.refused
        if self.going == "resume" and self.wants and not self.text.strip():
            return f"{self.wants} (e)"
        if self.going != "restore":
            return None
        if self.plan is None:
            return self.without or "no snapshot of the files was taken here"
        touched = self.plan.written or self.plan.removed or self.also
        return None if touched else "every file is as it was, or stays as you changed it"

    def wish(self) -> ForkWish:
        """Return how to fork."""
        return ForkWish(
            text=self.text.strip() or None,
            copy_files=not self.here,
            newest_definition=self.newest,
        )

    def toggle(self) -> None:
        """Overwrite the selected kept file, or keep it after all."""
        if self.plan is not None and self.selected in self.plan.kept:
            self.also ^= {str(self.selected)}

    def toggle_all(self) -> None:
        """Overwrite all kept files, or none."""
        kept = set(self.plan.kept) if self.plan is not None else set[str]()
        self.also = set() if self.also == kept else kept

    def consequence(self) -> str:
        """Return what the key will do."""
        if (refused := self.why_not()) is not None:
            return f"not now: {refused}"
        if self.going == "fork":
            return f"{KEYS['fork']}: {self._fork_words()}"
        files = self._file_words()
        if self.going == "restore":
            return f"{KEYS['restore']}: {files}; what is there now is kept in a snapshot first"
        job = short_id(flat(self.moment.job_id))
        later = f"{count_of(self.later, 'later checkpoint')} stay, a branch" if self.later else ""
        parts = (f"job {job} goes on from {self.what}", later, files)
        return f"{KEYS['resume']}: " + "; ".join(part for part in parts if part)

    def _file_words(self) -> str:
        if not self.restores or self.plan is None:
            return "the files stay as they are now"
        written = len(self.plan.written) + len(self.also)
        stay = len(self.plan.kept) - len(self.also)
        parts = (
            f"{count_of(written, 'file')} written" if written else "",
            f"{len(self.plan.removed)} removed" if self.plan.removed else "",
            f"{stay} left as changed since" if stay else "",
        )
        return ", ".join(part for part in parts if part) or "no file changes"

    def _fork_words(self) -> str:
        where = (
            "in this folder, whose files stay as they are now"
            if self.here
            else f"in a folder of its own, with the files as they {'were' if self.files else 'are'}"
        )
        version = ", the Expert as defined now" if self.newest else ""
        job = short_id(flat(self.moment.job_id))
        alone = ", of that run alone" if self.is_delegate else ""
        return f"a new job from {self.what}{alone}, {where}{version}: {self._starts()}; {job} stays"

    def _starts(self) -> str:
        """Return whether the fork is at work at once."""
        if self.rests and not self.text.strip():
            return f"it waits, since {self.rests}"
        return "it goes on at once"


def plan_lines(plan: Plan, width: int) -> list[Line]:
    """Return what is to be read before the key: options first, then the list of files."""
    lines = [line((plan.what, "strong")), BLANK, *_options(plan, width)]
    if not plan.loaded:
        return [*lines, note("Looking up what it would do…")]
    if plan.refused:
        return [*lines, *(line((text, "fail")) for text in wrap(f"✗ {plan.refused}", width))]
    if plan.going == "fork":
        return [*lines, *_taken_along(plan)]
    if plan.plan is None:
        return [*lines, note(plan.without or "No snapshot of the files was taken here.")]
    if not plan.restores:
        return [*lines, note("The files stay as they are now (f takes those of then).")]
    return [*lines, *_restored(plan, plan.plan)]


def _options(plan: Plan, width: int) -> list[Line]:
    lines: list[Line] = []
    if plan.going == "fork":
        where = "this folder" if plan.here else "a folder of its own"
        version = "as defined now" if plan.newest else "as it was then"
        lines += [_option("w", "workspace", where), _option("v", "Expert", version)]
    if plan.going == "resume":
        files = "as they were then" if plan.with_files else "as they are now"
        lines.append(_option("f", "files", files))
    if plan.going != "restore":
        said = wrap(plan.text, max(8, width - 18)) if plan.text.strip() else ("nothing",)
        lines.append(_option("e", "message", said[0]))
        lines += [line((" " * 17, "text"), (more, "text")) for more in said[1:12]]
        lines += [note(f"{'':17}… {len(said) - 12} more lines")] if len(said) > 12 else []
    return [*lines, BLANK] if lines else lines


def _option(key: str, name: str, value: str) -> Line:
    return line((f"{key}  ", "accent"), (cell(name, 14), "muted"), (value, "text"))


def _restored(plan: Plan, found: RestorePlan) -> list[Line]:
    lines: list[Line] = []
    lines += _group("written as they were", "~", "accent", found.written)
    lines += _group("removed: they came later", "−", "removed", found.removed)
    if found.kept:
        lines.append(note("changed on disk since: they stay; space overwrites one, * all"))
        lines += [_kept(plan, path) for path in found.kept]
        lines.append(BLANK)
    lines += _group("not stored, so they stay as they are", "?", "muted", found.missing)
    return lines or [note("Every file is as it was then.")]


def _kept(plan: Plan, path: str) -> Line:
    marked = path in plan.also
    box: Span = ("[x] ", "need") if marked else ("[ ] ", "muted")
    word: tuple[Span, ...] = (("  is overwritten", "need"),) if marked else ()
    return Line((("  ", "text"), box, (flat(path), "text"), *word), key=path)


def _group(title: str, sign: str, role: Role, paths: Iterable[str]) -> list[Line]:
    rows = [line((f"  {sign} ", role), (flat(path), "text"), key=path) for path in paths]
    return [note(title), *rows, BLANK] if rows else []


def _taken_along(plan: Plan) -> list[Line]:
    if plan.here:
        return [note("The new job works in this folder, beside whatever runs here.")]
    if plan.files is None:
        told = [note(plan.without)] if plan.without else []
        return [*told, note("The new folder gets the files as they are now.")]
    stored = [one.path for one in plan.files if one.is_stored]
    lacking = [one.path for one in plan.files if not one.is_stored]
    lines = _group(f"{count_of(len(stored), 'file')} as they were", "+", "added", stored)
    return lines + _group(
        "not stored: large ones are copied as they are now, others are not", "?", "muted", lacking
    )
