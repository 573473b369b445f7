"""Themes, settings, clipboard, pictures and what is remembered, in a cockpit that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.app import Cockpit
from perstack_tui.outside import Outside
from perstack_tui.places import Places
from perstack_tui.restoring import read_session
from perstack_tui.settings import Settings
from tests.fakes.gateway import busy_view, running_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

SECRET = "sk-0123456789abcdef"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    config = tmp_path / "config" / "perstack"
    config.mkdir(parents=True)
    (tmp_path / "w").mkdir()
    return Places(config / "cockpit.toml", config / "themes", tmp_path / "state" / "w.json")


def furnished(
    view: WorkspaceView,
    places: Places | None = None,
    *,
    settings: Settings | None = None,
    environ: dict[str, str] | None = None,
) -> Stage:
    """A stage whose cockpit reads the files in `places`."""
    stage = Stage(view)
    opening = replace(
        stage.app.opening,
        places=places,
        settings=settings or Settings(),
        environ={"TERM": "xterm-kitty", **(environ or {})},
        session=read_session(places.session)[0] if places else None,
        workspace=places.settings.parents[2] / "w" if places else stage.app.opening.workspace,
    )
    stage.app = Cockpit(opening)
    return stage


def heard(stage: Stage) -> list[str]:
    """Have what the cockpit says to the terminal written into a list."""
    said: list[str] = []
    stage.app.outside = Outside(said.append, {"TERM": "xterm-kitty"})
    return said


def notice(stage: Stage) -> str:
    shown = stage.app.state.notice
    return shown.text if shown is not None else ""


async def test_theme_is_worn_while_choosing_kept_on_enter_and_put_back_on_escape() -> None:
    stage = furnished(busy_view())
    async with stage.play():
        await stage.press("ctrl+t", "j")
        assert stage.app.theme_name == "light"
        assert stage.app.ink.palette.name == "light"
        await stage.press("j", "escape")
        assert stage.app.theme_name == "dark"
        assert stage.app.chosen_theme is None
        await stage.press("ctrl+t", "G", "enter")
        assert stage.app.theme_name == stage.app.chosen_theme == "mono"
        assert notice(stage) == "theme: mono"
        worn = [name for name in stage.app.available_themes if name.startswith("mono-")]
        assert len(worn) == 1


async def test_theme_that_there_is_not_is_told_and_changes_nothing() -> None:
    stage = furnished(busy_view())
    async with stage.play():
        stage.app.set_theme("lihgt")
        await stage.settle()
        assert "did you mean light?" in notice(stage)
        assert stage.app.theme_name == "dark"


async def test_saved_settings_count_at_once_and_a_mistake_keeps_those_before(
    places: Places,
) -> None:
    stage = furnished(busy_view(), places)
    async with stage.play():
        places.settings.write_text('theme = "light"\nborders = "ascii"\nmotion = false\n')
        await stage.until(lambda: stage.app.settings.theme == "light")
        await stage.settle()
        assert stage.app.theme_name == "light"
        assert "╭" not in stage.screen_text()
        assert "+-" in stage.screen_text()
        assert not stage.app.settings.motion
        places.settings.write_text('theme = "light"\nborder = "round"\n')
        await stage.until(lambda: "did you mean borders?" in notice(stage))
        assert "line 2" in notice(stage)
        assert "stay" in notice(stage)
        assert stage.app.settings.borders == "ascii"
        places.settings.unlink()
        await stage.until(lambda: stage.app.settings == Settings())
        await stage.settle()
        assert "╭" in stage.screen_text()


async def test_own_theme_is_worn_anew_as_it_is_edited(places: Places) -> None:
    stage = furnished(busy_view(), places)
    async with stage.play():
        places.themes.mkdir()
        own = places.themes / "mine.toml"
        own.write_text('like = "dark"\n[colours]\nneed = "#ff00ff"\n')
        await stage.until(lambda: "mine" in stage.app.theme_names)
        stage.app.set_theme("mine")
        assert stage.app.ink.palette.colours["need"] == "#ff00ff"
        own.write_text('like = "dark"\n[colours]\nneed = "#00ffff"\n')
        await stage.until(lambda: stage.app.ink.palette.colours["need"] == "#00ffff")
        own.write_text('like = "dark"\n[colours]\nneeed = "#00ffff"\n')
        await stage.until(lambda: "mine.toml" in notice(stage))
        assert "did you mean need?" in notice(stage)


async def test_copying_tells_what_was_copied_or_why_not() -> None:
    stage = furnished(busy_view())
    async with stage.play():
        said = heard(stage)
        stage.app.copy("run-1", "the run's id")
        assert said[-1].startswith("\x1b]52;c;")
        assert notice(stage) == "copied: the run's id"
        stage.app.copy("x" * 80_000, "the text")
        assert notice(stage).startswith("the text: more than")
        stage.app.copy("", "the text")
        assert "nothing to copy" in notice(stage)


async def test_each_event_is_told_once_and_only_to_somebody_away() -> None:
    stage = furnished(running_view())
    async with stage.play():
        said = heard(stage)
        waiting = replace(running_view(), inbox=busy_view().inbox)
        await stage.show(waiting)
        assert not any(each == "\x07" for each in said)
        assert "\x1b]2;▲2 ●1 release-notes\x07" in said
        await stage.show(running_view())
        stage.app.app_focus = False
        gates = replace(waiting, inbox=InboxView(pending=waiting.inbox.pending))
        await stage.show(gates)
        await stage.show(replace(gates))
        told = [each for each in said if each.startswith("\x1b]9;")]
        assert told == ["\x1b]9;perstack release-notes: devops: deploy docs to prod\x07"]
        assert said.count("\x07") == 1
        await stage.show(replace(gates, inbox=InboxView(decided=gates.inbox.pending)))
        assert said.count("\x07") == 1


async def test_notifications_can_be_turned_off() -> None:
    stage = furnished(running_view(), settings=Settings(notify=False))
    async with stage.play():
        said = heard(stage)
        stage.app.app_focus = False
        await stage.show(busy_view())
        assert not any(each == "\x07" for each in said)


async def test_without_motion_nothing_ticks_unless_something_counts_down() -> None:
    stage = furnished(running_view(), settings=Settings(motion=False))
    async with stage.play():
        assert not stage.app.clock_running
        await stage.show(busy_view())
        assert stage.app.clock_running


async def test_picture_is_saved_without_secrets_and_its_place_told(places: Places) -> None:
    stage = furnished(busy_view(), places, environ={"THE_API_KEY": SECRET})
    async with stage.play():
        stage.app.state.filters["agents"] = "!" + SECRET
        stage.app.request_paint(now=True)
        await stage.settle()
        assert SECRET[:12] in stage.screen_text()
        stage.app.save_picture(Path("shot"))
        await stage.until(lambda: notice(stage).startswith("saved: "))
        saved = stage.app.opening.workspace / "shot.svg"
        assert notice(stage) == f"saved: {saved}"
        assert "coordinator" in saved.read_text()
        assert SECRET[:6] not in saved.read_text()
        stage.app.save_picture(Path("shot"))
        await stage.until(lambda: "cannot be saved" in notice(stage))


async def test_what_was_looked_at_and_typed_is_there_after_the_next_opening(
    places: Places,
) -> None:
    stage = furnished(busy_view(), places)
    async with stage.play():
        await stage.press("3", "j", "j")
        stage.app.state.drafts[("follow_up", "job-77aa")] = f"with {SECRET} and more"
        stage.app.set_theme("terminal")
        selected = stage.app.state.run_id
        stage.app.leave(0)
        await stage.until(places.session.exists)
    assert SECRET in places.session.read_text()
    again = furnished(busy_view(), places)
    async with again.play():
        assert again.app.main.active == "agents"
        assert again.app.state.run_id == selected
        assert again.app.state.drafts[("follow_up", "job-77aa")] == f"with {SECRET} and more"
        assert again.app.chosen_theme is None


async def test_session_is_written_while_the_cockpit_goes_on(places: Places) -> None:
    stage = furnished(busy_view(), places)
    async with stage.play():
        await stage.press("4")
        await stage.until(places.session.exists)
        found, _ = read_session(places.session)
        assert found is not None
        assert found.pane == "inbox"


async def test_editor_that_cannot_have_the_terminal_says_so() -> None:
    stage = furnished(busy_view(), environ={"EDITOR": "true", "PATH": "/usr/bin:/bin"})
    async with stage.play():
        assert await stage.app.edit_text("draft") is None
        assert "no terminal here" in notice(stage)
        stage.app.edit_file(Path("/w/perstack.toml"), 3)
        await stage.settle()
        assert not stage.app.editing


async def test_settings_are_written_out_only_when_asked_for(places: Places) -> None:
    stage = furnished(busy_view(), places, environ={"EDITOR": "true", "PATH": "/usr/bin:/bin"})
    async with stage.play():
        assert not places.settings.exists()
        stage.app.edit_settings()
        await stage.until(places.settings.exists)
        await stage.settle()
        assert "# theme" in places.settings.read_text()
        assert stage.app.settings == Settings()


async def test_what_is_told_again_and_again_is_counted_in_one_line() -> None:
    stage = furnished(busy_view())
    async with stage.play():
        for _ in range(14):
            stage.app.tell("the database is locked", "bad")
        await stage.settle()
        assert "the database is locked  ×14" in stage.screen_text()
        stage.app.tell("something else")
        await stage.settle()
        assert "×" not in stage.text_of("#notice")
