"""What the stream looks like: prose, tables, code, calls closed and opened, searched, in mono."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import pytest
from textual.pilot import Pilot

from perstack.domain.ids import RunId, ToolCallId
from perstack.projection.run_fold import RunFold
from perstack.projection.views import CallView, EntryView, WorkspaceView
from perstack_tui.app import Cockpit
from tests.fakes.gateway import NOW, Said, definitions, job, run
from tests.fakes.stage import Stage
from tests.unit.projection.builder import finished, program_run

REPORT = """# Release 2.1

I grouped the **41 commits** by *theme*, see [the log](https://example.org/log) or `git log`.

- user-visible changes come first, since that is what people read
  - breaking ones before all others
- [x] checked against the tag
1. then the rest

> Nobody reads the rest.

| package | commits | breaking |
|---|--:|:--|
| core | 28 | `fold` takes a state |
| tui | 13 | none |

```python
def notes(commits: list[str]) -> str:
    return "\\n".join(f"- {one}" for one in commits)
```"""
DIFF = (
    "# Changelog\n\n## 2.0\n\n- first\n- second\n",
    "# Changelog\n\n## 2.1\n\n- streams\n- search\n\n## 2.0\n\n- first\n",
)


def called(number: int, title: str, args: str = "", text: str = "", **changes: object) -> EntryView:
    name = title.split()[0]
    entry = EntryView(
        "tool",
        title,
        text,
        ToolCallId(f"t{number}"),
        "ok",
        NOW - 60_000 + number * 1000,
        400 * number,
        len(text),
        CallView(name, "@perstack/base", args),
    )
    return replace(entry, **changes)


def transcript() -> tuple[EntryView, ...]:
    edit = CallView("editTextFile", "@perstack/base", '{\n  "path": "CHANGELOG.md"\n}', *DIFF)
    handed = CallView("reviewer", child=RunId("run-reviewer"))
    at = NOW - 60_000
    return (
        EntryView("query", "query", "Write the release notes for v2.1", timestamp=at),
        EntryView("reasoning", "reasoning", "The tag is v2.0, so " * 60, timestamp=at),
        called(1, "exec git log v2.0..HEAD --oneline", '{\n  "command": "git"\n}', "a\nb\n" * 400),
        called(2, "editTextFile CHANGELOG.md", call=edit),
        called(3, "exec make test", text="exited with 2.\ntests/x.py:3: F", status="error"),
        EntryView("note", "ana@pi says: mention the breaking ones first", timestamp=at),
        EntryView("retry", "retry 1", "529 overloaded", timestamp=at),
        replace(
            called(4, "reviewer check the notes", status="running"),
            kind="delegate",
            call=handed,
            duration_ms=None,
        ),
        EntryView("text", "", REPORT, timestamp=at),
        called(5, "exec make docs", status="running", duration_ms=None),
    )


def staged(theme: str = "dark") -> Stage:
    writer = run("writer", entries=transcript(), children=("reviewer",))
    reviewer = run("reviewer", parent="writer", doing="exec ls")
    view = WorkspaceView((job("job-8f3a", (writer, reviewer)),), caught_up=True)
    stage = Stage(view, theme=theme)
    printed = {ToolCallId("t5"): "reading docs/index.md\nreading docs/cockpit.md"}
    stage.fold.said[RunId("run-writer")] = Said(
        text="Now the **docs** are built:\n\n```sh\nmake docs", output=printed
    )
    return stage


class Compare(Protocol):
    """`snap_compare`, typed."""

    def __call__(
        self,
        app: Cockpit,
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[Pilot[int]], Awaitable[None]],
    ) -> bool: ...


def same(compare: Compare, stage: Stage, size: tuple[int, int], *keys: str) -> bool:
    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        await stage.press(*keys)

    return compare(stage.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", ["dark", "light", "mono"])
def test_prose_code_and_tables_on_the_desk(snap_compare: Compare, theme: str) -> None:
    assert same(snap_compare, staged(theme), (120, 40), "5", "5")


@pytest.mark.parametrize("theme", ["dark", "mono"])
def test_the_end_of_the_stream_in_a_small_terminal(snap_compare: Compare, theme: str) -> None:
    assert same(snap_compare, staged(theme), (80, 24), "5")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_calls_opened_in_place_with_times(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, staged(), size, "5", "5", "g", "t", "j", "j", "j", "enter")


def test_what_was_searched_is_marked(snap_compare: Compare) -> None:
    keys = ("5", "5", "slash", *"notes", "enter")
    assert same(snap_compare, staged(), (120, 40), *keys)


@pytest.mark.parametrize(("size", "theme"), [((80, 24), "mono"), ((120, 40), "dark")])
def test_a_run_that_a_program_executes(
    snap_compare: Compare, size: tuple[int, int], theme: str
) -> None:
    events = finished(program_run()).events
    fold = RunFold(events[0].run_id, events[0].job_id, events[0].expert_key)
    for event in events:
        fold.apply(event, None)
    seen = fold.build("done", 0)
    coder = replace(
        run("coder", "done", entries=seen.entries),
        model=seen.model,
        provider_name=seen.provider_name,
    )
    stage = Stage(WorkspaceView((job("job-8f3a", (coder,)),), caught_up=True), theme=theme)
    assert same(snap_compare, stage, size, "5")
