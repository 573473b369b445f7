"""Looking at comparisons: lists, one with its files, and what is said while one goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from perstack.errors import UsageError

if TYPE_CHECKING:
    from perstack.domain.comparisons import ComparisonId, Contest, ContestRow
    from perstack.ports.comparisons import ComparisonStore
    from perstack.services.comparison_files import FileDiff

_NEEDS: Final = "perstack compare EXPERT QUERY --on perstack --on claude-code"
_HEAD: Final = ("COMPARISON", "STATE", "EXPERT", "CONTESTANTS", "QUERY")
_START: Final = "start"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed beside the task."""

    workspace: Path
    listed: bool = False
    show: str | None = None
    stop: str | None = None
    remove: str | None = None
    diff: bool = False
    between: tuple[str, str] | None = None
    as_json: bool = False

    @property
    def looks(self) -> bool:
        """Whether nothing is to be run."""
        return self.listed or any(one is not None for one in (self.show, self.stop, self.remove))

    def check(self, expert: str | None, query: str | None, on: Sequence[str]) -> None:
        """Refuse what does not fit together.

        Raises:
            UsageError: it does not.
        """
        given = [self.listed, *(one is not None for one in (self.show, self.stop, self.remove))]
        if sum(given) > 1:
            raise UsageError("--list, --show, --stop and --remove exclude each other")
        if self.looks and (expert is not None or on):
            raise UsageError("a comparison that is looked at takes no EXPERT and no --on")
        if not self.looks and (expert is None or query is None):
            raise UsageError("a comparison needs an Expert and a query", hint=_NEEDS)
        if (self.diff or self.between) and self.looks and self.show is None:
            raise UsageError("--diff and --between belong to --show, or to a new comparison")

    def check_between(self, labels: Sequence[str]) -> None:
        """Refuse contestants that are none of `labels`.

        Raises:
            UsageError: one is not.
        """
        for name in self.between or ():
            if name not in (_START, *labels):
                raise UsageError(
                    f"--between: there is no contestant {name[:60]!a}",
                    hint=f"one of {_START}, {', '.join(labels)}",
                )


class Progress:
    """Says on stderr what changes, a line a change, and what to type where somebody waits."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._told: dict[str, tuple[str, int]] = {}
        self._begun = False

    def take(self, contest: Contest) -> None:
        """Say what is new."""
        from perstack.cli.listeners import say
        from perstack.ports.system import SystemClock
        from perstack.projection.comparison_text import change_line, remedies

        if not self._begun:
            self._begun = True
            say(f"Comparison {contest.id}")
        for row in contest.rows:
            now = (row.state, row.steps)
            if row.state != "queued" and self._told.get(row.label) != now:
                self._told[row.label] = now
                say(change_line(row, SystemClock().now_ms()))
                if row.state == "waiting":
                    for remedy in remedies(contest, row, _folder(self._workspace, contest, row)):
                        say(f"    {remedy}")


def look(wanted: Wanted) -> None:
    """Do what was asked of comparisons that are there.

    Raises:
        NotFoundError: there is none such.
        ConflictError: it is at work, or is not.
        StorageError: it cannot be read or removed.
    """
    from perstack.cli.looking import say_what_is_logged
    from perstack.comparing import open_comparisons

    if not wanted.workspace.is_dir():
        raise UsageError(f"{wanted.workspace} is not a folder")
    say_what_is_logged()
    store = open_comparisons(wanted.workspace)
    if wanted.listed:
        _list(store, as_json=wanted.as_json)
    elif wanted.remove is not None:
        _remove(store, _found(store, wanted.remove), as_json=wanted.as_json)
    elif wanted.stop is not None:
        found = _found(store, wanted.stop)
        store.ask_stop(found)
        _print([_json({"id": found, "stopping": True}) if wanted.as_json else f"stopping {found}"])
    else:
        contest = store.get(_found(store, wanted.show or "")).shown
        wanted.check_between([row.label for row in contest.rows])
        show_contest(wanted, contest)


def show_contest(wanted: Wanted, contest: Contest) -> None:
    """Print a comparison: the table, what each came to, and diffs where they are wanted."""
    from perstack.comparing import open_comparisons

    store = open_comparisons(wanted.workspace)
    if wanted.as_json:
        _print([_json(_as_json(wanted, store, contest))])
    else:
        _print(_lines(wanted, store, contest))


def _list(store: ComparisonStore, *, as_json: bool) -> None:
    from perstack.projection.comparison_text import listed_line
    from perstack.projection.table_text import in_columns

    found = store.list()
    if as_json:
        shown = [{**one.shown.model_dump(mode="json"), "alive": one.alive} for one in found]
        _print([_json({"comparisons": shown})])
        return
    rows = [_HEAD, *(listed_line(one.shown, alive=one.alive) for one in found)]
    _print(in_columns(rows) if found else ["No comparisons."])


def _remove(store: ComparisonStore, comparison_id: ComparisonId, *, as_json: bool) -> None:
    size = store.remove(comparison_id)
    said = _json({"id": comparison_id, "bytes": size})
    _print([said if as_json else f"removed {comparison_id}, {size:,} bytes"])


def _found(store: ComparisonStore, typed: str) -> ComparisonId:
    """Return the comparison whose id is, or begins, as typed; `latest` is the newest."""
    from perstack.domain.comparisons import ComparisonId
    from perstack.errors import NotFoundError

    ids = [one.contest.id for one in store.list()]
    if typed == "latest" and ids:
        return ids[0]
    begun = [one for one in ids if typed and one.startswith(typed)]
    if len(begun) > 1 and typed not in begun:
        raise UsageError(f"several comparisons begin with {typed[:40]!a}", hint=", ".join(begun))
    if typed in begun or begun:
        return ComparisonId(typed) if typed in begun else begun[0]
    if typed == "latest":
        raise NotFoundError("there are no comparisons here", hint=_NEEDS)
    # One whose record is gone can still be removed; any other is said not to be there.
    return ComparisonId(typed)


# -------------------------------------------------------------------- printing


def _lines(wanted: Wanted, store: ComparisonStore, contest: Contest) -> Iterator[str]:
    from perstack.ports.system import SystemClock
    from perstack.projection.comparison_text import contest_lines, result_lines
    from perstack.projection.inert import inert

    now_ms = SystemClock().now_ms()
    width = shutil.get_terminal_size((79, 24)).columns
    folders = {row.label: _folder(wanted.workspace, contest, row) for row in contest.rows}
    yield from contest_lines(contest, now_ms, width)
    yield from result_lines(contest, folders)
    for row in contest.rows if wanted.diff else ():
        yield from _diff(store, contest, None, row.label)
    if wanted.between is not None:
        before, after = wanted.between
        yield from _diff(store, contest, before, after)
    yield ""
    yield inert(f"Comparison {contest.id}: perstack compare --show {contest.id} --diff")


def _diff(
    store: ComparisonStore, contest: Contest, before: str | None, after: str
) -> Iterator[str]:
    from perstack.errors import PerstackError
    from perstack.projection.inert import inert
    from perstack.services.comparison_files import diff_lines

    yield ""
    yield inert(f"Files, {before or _START} to {after}:", newlines=False)
    try:
        diffs = _diffs(store, contest, before, after)
    except PerstackError as error:
        yield inert(error.message, newlines=False)
        return
    if not diffs:
        yield "no difference"
    for line in diff_lines(diffs, before or _START, after):
        yield inert(line, newlines=False)


def _diffs(
    store: ComparisonStore, contest: Contest, before: str | None, after: str
) -> list[FileDiff]:
    from perstack.services.comparison_files import ComparisonFiles

    one, other = (None if name == _START else name for name in (before, after))
    return ComparisonFiles(store, contest.id).diffs(one, other)


def _as_json(wanted: Wanted, store: ComparisonStore, contest: Contest) -> dict[str, JsonValue]:
    from perstack.ports.system import SystemClock

    now_ms = SystemClock().now_ms()
    said = contest.model_dump(mode="json")
    rows: list[JsonValue] = [
        {
            **row.model_dump(mode="json"),
            "durationMs": row.lasted_ms(now_ms),
            "folder": str(store.folder(contest.id, row.label)),
            "files": _files(wanted, store, contest, None, row.label),
        }
        for row in contest.rows
    ]
    said["rows"] = rows
    if wanted.between is not None:
        before, after = wanted.between
        said["between"] = _files(wanted, store, contest, before, after)
    return said


def _files(
    wanted: Wanted, store: ComparisonStore, contest: Contest, before: str | None, after: str
) -> JsonValue:
    from perstack.errors import PerstackError

    try:
        diffs = _diffs(store, contest, before, after)
    except PerstackError:
        return None
    found: list[JsonValue] = []
    for each in diffs:
        change: dict[str, JsonValue] = {**asdict(each.change), "whyNot": each.why_not}
        del change["on_disk"]
        if wanted.diff or wanted.between:
            change["diff"] = list(each.lines)
        found.append(change)
    return found


def _folder(workspace: Path, contest: Contest, row: ContestRow) -> str:
    return str(workspace / "perstack" / "comparisons" / contest.id / row.label)


def _json(said: object) -> str:
    return json.dumps(said)


def _print(lines: Sequence[str] | Iterator[str]) -> None:
    from perstack.cli.printing import print_lines

    print_lines(lines)
