"""Keys, going about, palette, help, marks and filters, over a gateway that only remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.ids import RunId
from perstack.projection.views import WorkspaceView
from perstack_tui.actions import ACTIONS, BY_ID
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.palette import PaletteSheet
from perstack_tui.settings import Settings
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.palette import Entry, Finder
from perstack_tui.widgets.field import Field
from tests.fakes.gateway import busy_view, job, run, running_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


def noticed(stage: Stage) -> str:
    """What the flash line says."""
    notice = stage.app.state.notice
    return "" if notice is None else notice.text


async def test_every_action_does_something_on_the_main_screen() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        missing = [
            action.id
            for action in ACTIONS
            if action.id != "interrupt" and action.id not in stage.app.main.deeds
        ]
        assert missing == []


# --- the keymap -----------------------------------------------------------------------------


async def test_key_of_the_settings_counts_as_soon_as_they_change() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        assert "n new" in stage.text_of("#footer")
        mine = {"filter": ("f7",), "new_run": ("f8",), "down": ("m",)}
        stage.app.settings = replace(stage.app.settings, keys=mine)
        await stage.press("f7")
        assert stage.app.main.prompt.display
        await stage.press("escape")
        assert "f8 new" in stage.text_of("#footer")
        before = stage.app.state.run_id
        await stage.press("m")
        assert stage.app.state.run_id != before
        stage.app.settings = Settings()
        await stage.press("slash")
        assert stage.app.main.prompt.display


async def test_clash_is_told_with_both_actions_and_both_stay_in_the_palette() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        stage.app.settings = replace(stage.app.settings, keys={"stop": ("E",), "peek": ("E",)})
        await stage.press("E")
        assert "stop" in noticed(stage)
        assert "peek" in noticed(stage)
        await stage.press("question_mark")
        assert "do not work as set" in stage.text_of("#help-keys")
        await stage.press("escape", "ctrl+p")
        await stage.write("peek")
        assert "Peek" in stage.text_of("#palette-list")
        peeks = stage.app.state.peek
        await stage.press("enter")
        assert stage.app.state.peek is not peeks


async def test_key_that_cannot_act_says_why_and_an_unknown_one_is_quiet() -> None:
    stage = Stage(WorkspaceView(caught_up=True))
    async with stage.play(here=()):
        await stage.press("x")
        assert noticed(stage)
        await stage.press("f9")
        assert isinstance(stage.app.screen, MainScreen)
        await stage.press("H")
        assert "timeline" in noticed(stage)


# --- going to -------------------------------------------------------------------------------


async def go(stage: Stage, text: str) -> None:
    """Type `text` behind `:` and enter it."""
    await stage.press("colon")
    await stage.write(text)
    await stage.press("enter")


async def test_going_to_a_pane_with_a_filter_shows_what_matches() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await go(stage, "agents limit")
        assert stage.app.main.active == "agents"
        assert stage.app.main.panes["agents"].keys == ["run-backfill"]
        assert "/limit" in stage.text_of("#agents")
        await stage.press("escape")
        assert "/limit" not in stage.text_of("#agents")
        await go(stage, "inbox high")
        assert stage.app.main.panes["inbox"].keys == [ItemKey("gate", "gate-1"), *_decided()]
        await go(stage, "tree auditor")
        assert "run-auditor" in stage.app.main.panes["tree"].keys
        assert "run-writer" not in stage.app.main.panes["tree"].keys


def _decided() -> list[ItemKey]:
    return [ItemKey("decided", "gate-0"), ItemKey("decided", "gate-9")]


async def test_going_to_a_job_at_a_time_puts_the_cursor_there() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await go(stage, "job 8f3a @#2")
        assert stage.app.main.active == "timeline"
        assert stage.app.state.run_id == RunId("run-coordinator")
        assert stage.app.state.point == "coordinator-2"
        await go(stage, "run writer")
        assert stage.app.state.run_id == RunId("run-writer")
        await go(stage, "expert researcher")
        assert stage.app.main.active == "experts"
        assert stage.app.state.expert_key == "researcher"


async def test_wrong_place_is_told_and_stays_to_be_mended() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await go(stage, "agnts")
        assert "did you mean :agents" in stage.text_of("#notice")
        assert stage.app.main.prompt.display
        await stage.press("escape")
        assert not stage.app.main.prompt.display
        await go(stage, "job zzz")
        assert "no job" in noticed(stage)


async def test_tab_completes_and_what_was_entered_is_recalled() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("colon")
        await stage.write("inb")
        assert "inbox" in stage.text_of("#notice")
        await stage.press("tab", "enter")
        assert stage.app.main.active == "inbox"
        await stage.press("colon")
        await stage.write("job ")
        await stage.press("tab", "tab")
        field = stage.app.main.query_one("#prompt-field", Field)
        assert field.value == "job job-5c1e"
        await stage.press("shift+tab")
        assert field.value == "job job-8f3a"
        await stage.press("up")
        assert field.value == "inbox"
        await stage.press("down", "escape")
        assert stage.app.main.active == "inbox"


async def test_actions_and_sheets_are_reached_by_name() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await go(stage, "keys")
        assert isinstance(stage.app.screen, HelpSheet)
        await stage.press("escape")
        await go(stage, "peek")
        assert not stage.app.state.peek


# --- jump labels, views ---------------------------------------------------------------------


async def test_label_of_a_line_goes_there_and_escape_leaves() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        plain = stage.text_of("#agents")
        await stage.press("semicolon")
        labels = stage.app.main.panes["agents"].overlay.labels
        assert f" {labels['run-backfill']} " in stage.text_of("#agents")
        await stage.press("escape")
        assert stage.text_of("#agents") == plain
        await stage.press("semicolon", *labels["run-backfill"])
        assert stage.app.main.active == "agents"
        assert stage.app.state.run_id == RunId("run-backfill")
        await stage.press("semicolon")
        await stage.press(*stage.app.main.panes["inbox"].overlay.label)
        assert stage.app.main.active == "inbox"


async def test_views_are_gone_back_to() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "j", "j", "4", "5")
        await stage.press("left_curly_bracket")
        assert stage.app.main.active == "inbox"
        await stage.press("left_curly_bracket")
        assert stage.app.main.active == "agents"
        await stage.press("right_curly_bracket", "right_curly_bracket")
        assert stage.app.main.active == "stream"
        await stage.press("right_curly_bracket")
        assert "no view after" in noticed(stage)
        await stage.press("minus")
        assert stage.app.main.active == "inbox"
        await stage.press("minus")
        assert stage.app.main.active == "stream"


# --- marks, sorting, looks ------------------------------------------------------------------


async def test_lines_are_marked_one_by_one_in_a_range_and_all_that_the_filter_shows() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "g", "space")
        (first,) = stage.app.state.marks
        assert stage.app.state.run_id != first
        assert "»" in stage.text_of("#agents")
        await stage.press("escape")
        assert not stage.app.state.marks
        assert "»" not in stage.text_of("#agents")
        await stage.press("g", "v", "j", "j", "v")
        assert stage.app.state.marks == set(stage.app.main.panes["agents"].keys[:3])
        await stage.press("escape", "slash")
        await stage.write("run !waits")
        await stage.press("enter", "asterisk")
        assert stage.app.state.marks == set(stage.app.main.panes["agents"].keys)
        await stage.press("5", "space")
        assert "marked in the tree" in noticed(stage)


async def test_sorting_shows_its_letters_and_sorts_under_the_cursor() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("3", "s")
        assert "tokens" in stage.text_of("#notice")
        await stage.press("t")
        assert stage.app.state.sort == "tokens"
        assert stage.app.main.panes["agents"].keys[0] == "run-auditor"
        await stage.press("s", "escape")
        assert stage.app.state.sort == "tokens"


async def test_looks_are_turned_on_and_off() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        for key, name in (("w", "wrap"), ("t", "show_times"), ("p", "peek")):
            before = getattr(stage.app.state, name)
            await stage.press(key)
            assert getattr(stage.app.state, name) is not before
        await stage.press("dollar_sign")
        assert stage.app.state.cost_of_subtree
        await stage.press("3", "plus", "plus")
        assert stage.app.state.zoom == "full"
        assert not stage.app.main.panes["tree"].display
        await stage.press("plus")
        assert "as large" in noticed(stage)
        await stage.press("underscore", "underscore")
        assert stage.app.state.zoom == "normal"
        await stage.press("3")
        assert stage.app.state.zoom == "full"
        await stage.press("escape")
        assert stage.app.state.zoom == "normal"


async def test_detail_scrolls_while_the_list_keeps_the_keyboard() -> None:
    view = running_view()
    entry = view.jobs[0].runs[0].entries[3]
    many = tuple(replace(entry, text=f"line {number}") for number in range(80))
    filled = replace(view.jobs[0].runs[0], entries=many)
    stage = Stage(replace(view, jobs=(replace(view.jobs[0], runs=(filled,)),)))
    async with stage.play():
        await stage.press("3")
        top = stage.app.main.panes["stream"].top
        await stage.press("K", "K")
        assert stage.app.main.panes["stream"].top < top
        assert stage.app.main.active == "agents"


async def test_search_in_the_stream_goes_from_match_to_match() -> None:
    view = running_view()
    entry = view.jobs[0].runs[0].entries[3]
    texts = ["needle" if number % 20 == 3 else f"line {number}" for number in range(100)]
    many = tuple(replace(entry, text=text) for text in texts)
    filled = replace(view.jobs[0].runs[0], entries=many)
    stage = Stage(replace(view, jobs=(replace(view.jobs[0], runs=(filled,)),)))
    async with stage.play():
        await stage.press("5", "g", "slash")
        await stage.write("needle")
        await stage.press("enter")
        seen = {stage.app.main.panes["stream"].top}
        for _ in range(3):
            await stage.press("n")
            assert "needle" in stage.text_of("#stream")
            seen.add(stage.app.main.panes["stream"].top)
        assert isinstance(stage.app.screen, MainScreen)
        assert len(seen) > 2
        assert "of 5" in noticed(stage)
        await stage.press("N")
        assert "match 2" in noticed(stage) or "match 3" in noticed(stage)
        await stage.press("escape", "N")
        assert "nothing is searched" in noticed(stage)


# --- copying --------------------------------------------------------------------------------


async def test_copy_menu_offers_ids_json_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(busy_view())
    async with stage.play():
        copied: list[str] = []

        def keep(text: str, what: str) -> None:
            copied.append(text)

        monkeypatch.setattr(stage.app, "copy", keep)
        stage.app.state.select(RunId("run-writer"))
        await stage.press("3", "y")
        assert "run id" in stage.text_of("#notice")
        await stage.press("r", "y", "j", "y", "s", "y", "t", "y", "J")
        await stage.until(lambda: len(copied) == 5)
        assert copied[:2] == ["run-writer", "job-8f3a"]
        assert copied[2] == "perstack log --job job-8f3a --run run-writer"
        assert "writer" in copied[3]
        assert '"run_id": "run-writer"' in copied[4]
        await stage.press("4", "g", "y", "s")
        assert copied[-1] == "perstack consensus approve gate-1"


async def test_dragging_the_mouse_copies_what_is_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(busy_view())
    async with stage.play():
        copied: list[str] = []

        def keep(text: str, what: str) -> None:
            copied.append(text)

        monkeypatch.setattr(stage.app, "copy", keep)
        before = stage.app.state.run_id
        rows = stage.text_of("#agents").splitlines()
        await stage.pilot.mouse_down("#agents", offset=(4, 3))
        await stage.pilot.hover("#agents", offset=(20, 4))
        await stage.pilot.mouse_up("#agents", offset=(20, 4))
        await stage.settle()
        assert copied == [f"{rows[3][4:-2].rstrip()}\n{rows[4][2:21].rstrip()}"]
        assert stage.app.state.run_id == before


# --- palette and help -----------------------------------------------------------------------


async def test_palette_has_the_selection_first_reasons_last_and_recents_on_top() -> None:
    stage = Stage(busy_view())
    async with stage.play(here=()):
        await stage.press("ctrl+p")
        sheet = stage.app.screen
        assert isinstance(sheet, PaletteSheet)
        assert "with the selection" in stage.text_of("#palette-list")
        await stage.write("previous match")
        await stage.press("escape", "ctrl+p")
        await stage.write("undo")
        shown = stage.text_of("#palette-list")
        assert "not available here" in shown
        await stage.press("enter")
        assert isinstance(stage.app.screen, PaletteSheet)
        await stage.press("escape", "ctrl+p")
        await stage.write("wrap")
        await stage.press("enter", "ctrl+p")
        assert "done last" in stage.text_of("#palette-list").splitlines()[1]
        assert "Wrap" in stage.text_of("#palette-list").splitlines()[2]


async def test_palette_goes_to_jobs_and_experts_and_copies_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(busy_view())
    async with stage.play():
        copied: list[str] = []

        def keep(text: str, what: str) -> None:
            copied.append(text)

        monkeypatch.setattr(stage.app, "copy", keep)
        await stage.press("ctrl+p")
        await stage.write("job auditor")
        await stage.press("ctrl+y")
        assert copied == ["perstack log --job job-5c1e"]
        await stage.press("tab")
        assert "job-5c1e" in stage.app.screen.query_one("#palette-field", Field).value
        await stage.press("enter")
        assert stage.app.state.run_id == RunId("run-auditor")


def test_ten_thousand_entries_are_found_among_without_looking_at_all_of_them_again() -> None:
    entries = [
        Entry(f"job {number}", f"Go to job {number:05}", f"go to job {number:05} writer done")
        for number in range(10_000)
    ]
    finder = Finder(entries)
    assert len(finder.find("")) == 10_000
    assert len(finder.find("job")) == 10_000
    assert finder.find("job 0042")[0].id == "job 42" or finder.find("job 0042")
    assert [entry.id for entry in finder.find("job 00042")] == ["job 42"]
    assert len(finder.find("job 0004")) >= 10


async def test_palette_over_thousands_of_jobs_paints_few_lines() -> None:
    many = tuple(job(f"job-{n:05}", (run(f"x{n}", job=f"job-{n:05}"),)) for n in range(3000))
    stage = Stage(WorkspaceView(many, caught_up=True))
    async with stage.play(here=()):
        await stage.press("ctrl+p")
        await stage.write("job 02999")
        assert "x2999" in stage.text_of("#palette-list").splitlines()[1]
        assert len(stage.app.screen.query("*")) <= 40


async def test_help_begins_with_the_pane_one_is_in_and_is_searched() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("4", "question_mark")
        assert "In the inbox" in stage.text_of("#help-keys").splitlines()[2]
        await stage.press("slash")
        await stage.write("budget")
        shown = stage.text_of("#help-keys")
        assert "Raise" in shown or "budget" in shown
        assert "delegation tree" not in shown.casefold()
        await stage.press("enter", "escape")
        assert isinstance(stage.app.screen, HelpSheet)
        assert "In the inbox" in stage.text_of("#help-keys")
        await stage.press("G", "g", "question_mark")
        assert isinstance(stage.app.screen, MainScreen)


# --- whatever is typed ----------------------------------------------------------------------

KEYS = sorted(
    {key for action in ACTIONS for key in action.keys.split(",") if key} - {"ctrl+c", "ctrl+z", "q"}
    | {"f3", "z", "1", "5", "ctrl+y", "enter", "escape", "tab", "backspace"}
)


@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(KEYS), min_size=30, max_size=40))
async def test_random_keys_never_raise_and_leave_with_q(keys: list[str]) -> None:
    await press_all(keys)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(KEYS), min_size=60, max_size=120))
async def test_thousands_of_random_keys_never_raise(keys: list[str]) -> None:
    await press_all(keys)


async def press_all(keys: list[str]) -> None:
    stage = Stage(busy_view())
    async with stage.play(here=()):
        for key in keys:
            await stage.press(key)
        for _ in range(8):
            # Keys are an editor's while one is opened, and a sheet that does its work stays.
            await stage.until(lambda: not at_work(stage))
            if isinstance(stage.app.screen, MainScreen) and not stage.app.main.prompt.display:
                break
            await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)
        await stage.press("escape")
        stage.app.post_message(_key("q"))
        await stage.until(lambda: not stage.app.is_running or stage.app.return_value is not None)


def at_work(stage: Stage) -> bool:
    """Whether what a key began in threads or beside the screen is still going on."""
    groups = {worker.group for worker in stage.app.workers if worker.is_running}
    return not groups.isdisjoint({"commands", "edit", "editing", "editor", "trust"})


def _key(key: str):
    from textual import events

    return events.Key(key, key)


def test_ids_of_actions_are_what_the_settings_name() -> None:
    assert all(name == name.strip().lower() for name in BY_ID)
