"""What lists of records look like."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from textual.pilot import Pilot

from perstack_tui.ports.records import Cell, Column, Field, RecordKind, Row, Tone, Verb
from perstack_tui.screens.records import RecordsScreen
from tests.fakes.gateway import busy_view, definitions
from tests.fakes.stage import Stage
from tests.snapshot.test_cockpit_screens import Compare

SIZES = [(80, 24), (120, 40)]
X = Verb("x", "x", "terminate", warns="For good.")


@dataclass(frozen=True)
class Scene:
    """A kind with its records and what is known of the first one."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    details: tuple[Field, ...] = ()
    verbs: tuple[Verb, ...] = field(default=())


def row(name: str, *cells: tuple[str, Tone], verbs: tuple[Verb, ...] = ()) -> Row:
    return Row(name, tuple(Cell(text, tone) for text, tone in cells), verbs)


def text(*values: str) -> tuple[tuple[str, Tone], ...]:
    return tuple((value, "text") for value in values)


LIMITS = Scene(
    (
        Column("phase", 14),
        Column("agent", 0),
        Column("used", 5, right=True),
        Column("calls", 9, right=True),
        Column("tokens", 11, right=True),
        Column("files", 7, right=True),
        Column("subtasks", 8, right=True),
        Column("active", 6, right=True),
    ),
    (
        row(
            "a1",
            ("! paused", "stall"),
            ("writer run-8f3a2c", "text"),
            ("100%", "fail"),
            *text("100/100", "212k/500k", "12/50", "3/20", "41s"),
            verbs=(Verb("resume", "z", "resume"), X, Verb("reset", "D", "forget", warns="Gone.")),
        ),
        row(
            "a2",
            ("! warning", "stall"),
            ("collector run-11cd4e", "text"),
            ("76%", "stall"),
            *text("22/100", "380k/500k", "4/50", "0/20", "3s"),
        ),
        row(
            "a3",
            ("✓ normal", "done"),
            ("reviewer run-90bb1a", "text"),
            ("4%", "text"),
            *text("4/100", "9.6k/500k", "2/50", "0/20", "2m11"),
        ),
    ),
    (
        Field("state", "! paused", "stall"),
        Field("why paused", "Resource threshold exceeded: maxApiCalls"),
        Field("model calls", "100 of 100"),
        Field("tokens", "212,480 of 500,000"),
        Field("what happened", "10:31:02  warning, warned\n10:33:40  intervention, paused"),
    ),
)
MEMORY = Scene(
    (
        Column("key", 18),
        Column("content", 0),
        Column("namespace", 14),
        Column("by", 12),
        Column("age", 5, right=True),
    ),
    tuple(
        row(
            f"m{at}",
            (key, "strong"),
            (content, "text"),
            ("release", "muted"),
            ("writer", "muted"),
            ("3h05", "muted"),
            verbs=(
                Verb("restore", "R", "restore", asks="which"),
                Verb("tag", "T", "tag", asks="a tag"),
                Verb("delete", "D", "delete", warns="Gone."),
            ),
        )
        for at, (key, content) in enumerate(
            (
                ("style-of-the-notes", "Themes first, then what was fixed, each with its number"),
                ("reviewers", "ana reads the docs, bo the code; both have to agree"),
                ("漢字-terms", "版 is version, 修正 is fix \x1b[31m\u202e"),
            )
        )
    ),
    (
        Field("key", "style-of-the-notes", "strong"),
        Field("namespace", "release"),
        Field("tags", "style, notes"),
        Field("content", "Themes first, then what was fixed, each with its number.\nNo emoji."),
        Field("by", "agent writer"),
        Field("versions before", "2  09:12:40  agent writer: Fixes first\n1  08:55:01  person ana"),
    ),
    (Verb("new", "n", "remember", asks="what"),),
)


def same(
    compare: Compare,
    kind: RecordKind,
    scene: Scene | None,
    size: tuple[int, int],
    *keys: str,
    theme: str = "dark",
) -> bool:
    stage = Stage(busy_view(), theme=theme)
    records = stage.gateway.records
    if scene is not None:
        records.columns = scene.columns
        records.put(kind, scene.rows)
        records.details_of[scene.rows[0].id] = scene.details

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        stage.app.open_records(kind)
        await stage.until(lambda: bool(stage.app.screen.query("#records-keys")))
        screen = stage.app.screen
        assert isinstance(screen, RecordsScreen)
        await stage.until(lambda: screen.at.page is not None and not screen.loader.busy)
        await stage.press(*keys)
        await stage.settle()

    return compare(stage.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_tasks(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, "tasks", None, size)


@pytest.mark.parametrize("size", SIZES)
def test_limits(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, "limits", LIMITS, size)


@pytest.mark.parametrize("size", SIZES)
def test_memory(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, "memory", MEMORY, size, theme="light")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_yet(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, "workflows", None, size, theme="mono")


def test_what_a_verb_warns_of(snap_compare: Compare) -> None:
    assert same(snap_compare, "tasks", None, (80, 24), "D")
