"""What comparing runtimes looks like: the sheet that starts it, and the list of contestants."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from perstack_tui.local.records.comparisons import Comparisons
from perstack_tui.ports.records import Cell, Field, Row, Tone, Verb
from perstack_tui.screens.compare import CompareSheet
from perstack_tui.screens.records import RecordsScreen
from tests.fakes.gateway import busy_view, definitions
from tests.fakes.stage import Stage
from tests.snapshot.test_cockpit_screens import Compare

SIZES = [(80, 24), (120, 40)]
STOP = Verb("stop", "x", "stop", warns="All stop.")
DIFF = """--- start/notes.md
+++ claude-code/notes.md
@@ -1,2 +1,3 @@
 # Notes
-old words
+new words
+more of them"""
BESIDE = """contestant         status     steps  calls  time   tokens   cost  files
perstack:gpt-5     running        4      6   41s   21,480  $0.08      0
claude-code        completed      9     14  1m12   48,210  $0.31      2
cursor             no start                                           0"""


def row(name: str, cells: tuple[tuple[str, Tone], ...]) -> Row:
    return Row(name, tuple(Cell(text, tone) for text, tone in cells), (STOP,))


def figures(*values: str) -> tuple[tuple[str, Tone], ...]:
    return tuple((value, "text") for value in values)


TASK: tuple[tuple[str, Tone], ...] = (("writer: Draft the notes", "muted"), ("2m", "muted"))
ROWS = (
    row(
        "c1/claude-code",
        (
            ("✓ completed", "done"),
            ("claude-code", "strong"),
            *figures("9", "14", "1m12", "48,210", "$0.31", "2"),
            *TASK,
        ),
    ),
    row(
        "c1/perstack-gpt-5",
        (
            ("● running", "run"),
            ("perstack:gpt-5", "strong"),
            *figures("4", "6", "41s", "21,480", "$0.08", "0"),
            *TASK,
        ),
    ),
    row(
        "c1/cursor",
        (
            ("✗ no start", "fail"),
            ("cursor \x1b[31m\u202e", "strong"),
            *figures("", "", "", "", "", "0"),
            *TASK,
        ),
    ),
)
DETAILS = (
    Field("contestant", "claude-code", "strong"),
    Field("state", "✓ completed", "done"),
    Field("result", "The notes are drafted: themes first, then fixes."),
    Field("side by side", BESIDE),
    Field("files changed", DIFF),
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "mono"])
def test_contestants(snap_compare: Compare, size: tuple[int, int], theme: str) -> None:
    assert shown(snap_compare, size, theme)


def test_one_contestant_over_the_whole_width(snap_compare: Compare) -> None:
    assert shown(snap_compare, (80, 24), "dark", "enter")


def shown(compare: Compare, size: tuple[int, int], theme: str, *keys: str) -> bool:
    stage = Stage(busy_view(), theme=theme)
    records = stage.gateway.records
    records.columns = Comparisons.columns
    records.put("comparisons", ROWS)
    records.details_of["c1/claude-code"] = DETAILS

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        stage.app.open_records("comparisons")
        await stage.until(lambda: bool(stage.app.screen.query("#records-keys")))
        screen = stage.app.screen
        assert isinstance(screen, RecordsScreen)
        await stage.until(lambda: screen.at.page is not None and not screen.loader.busy)
        await stage.press(*keys)
        await stage.settle()

    return compare(stage.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_the_sheet_that_starts_one(snap_compare: Compare, size: tuple[int, int]) -> None:
    stage = Stage(busy_view())

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        await stage.press("colon")
        await stage.write("compare_runtimes")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, CompareSheet))
        await stage.write(", perstack:gpt-5")
        await stage.press("tab")
        await stage.write("Draft the release notes")
        await stage.settle()

    assert snap_compare(stage.app, terminal_size=size, run_before=before)
