"""Hot reload: flow (e), and the Experts pane."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from perstack.config.definition_diff import diff_definitions
from perstack.config.load import LoadedConfig, parse_config
from perstack.domain.ids import ExpertKey, RunId
from perstack.errors import ConflictError
from perstack.projection.views import WorkspaceView
from perstack_tui.local.definitions import summaries_of
from perstack_tui.ports.gateway import DefinitionsUpdate, SavedDefinitions
from perstack_tui.screens.definitions import DefinitionsSheet, ExpertSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.state.definition_words import news_words
from tests.fakes.gateway import NOW, busy_view, definitions
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

BEFORE = '''
[consensus]
enabled = true

[experts.coordinator]
instruction = "Plan."
delegates = ["writer"]

[experts.writer]
version = "1.2.0"
instruction = """
You write release notes.
Group by package."""
[experts.writer.skills."@perstack/base"]
pick = ["readTextFile", "writeTextFile"]

[experts.devops]
instruction = "Deploy."
'''
AFTER = (
    BEFORE.replace("1.2.0", "1.3.0")
    .replace("Group by package.", "Group by theme. Put user-visible changes first.\nBe brief.")
    .replace('"writeTextFile"]', '"writeTextFile", "exec"]')
    + '[experts.reviewer]\ninstruction = "Review."\n'
)


def config(text: str) -> LoadedConfig:
    return parse_config(Path("/w/release-notes/perstack.toml"), text.encode())


def saved(*texts: str, error: str | None = None) -> DefinitionsUpdate:
    """What is told after saves of `texts`, one after the other."""
    read = [config(text) for text in texts]
    saves = tuple(
        SavedDefinitions(NOW - 1_000 * place, diff_definitions(old, new))
        for place, (old, new) in enumerate(reversed(list(pairwise(read))), start=1)
    )
    return replace(
        definitions(), experts=summaries_of(read[-1]), saves=saves, error=error, error_hint=None
    )


async def test_changes_are_shown_field_by_field_with_new_powers_and_who_is_affected() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, AFTER)):
        await stage.press("ctrl+r")
        assert isinstance(stage.app.screen, DefinitionsSheet)
        shown = stage.text_of("#definitions")
        assert "What changed · writer 1.2.0 → 1.3.0" in shown
        assert "+2 −1 lines" in shown
        assert "! new power: runs commands" in shown
        assert "-Group by package." in shown
        assert "+Be brief." in shown
        assert "step 14 · keeps 1.0.0" in shown
        assert "1 of 2" in shown
        await stage.press("]")
        assert "What changed · reviewer new" in stage.text_of("#definitions")
        assert "nobody; new runs use what is defined now" in stage.text_of("#definitions")
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)


async def test_t_takes_the_new_version_in_runs_at_work_once_asked() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, AFTER)):
        await stage.press("ctrl+r", "T")
        assert "from the next step on?" in stage.text_of("#definitions-said")
        assert not stage.gateway.calls
        await stage.press("enter")
        assert not stage.gateway.calls
        await stage.press("T", "y")
        assert stage.gateway.calls == [
            ("take_definition", RunId("run-writer"), ExpertKey("writer"))
        ]
        assert "uses 1.3.0 from its next step on" in stage.text_of("#definitions-said")


async def test_refused_take_says_why() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, AFTER)):
        stage.gateway.refuse = ConflictError("nothing drives it", hint="i goes on with it")
        await stage.press("ctrl+r", "T", "y")
        assert "nothing drives it - i goes on with it" in stage.text_of("#definitions-said")


async def test_who_only_observes_takes_nothing() -> None:
    stage = Stage(busy_view(), observing=True)
    async with stage.play(defined=saved(BEFORE, AFTER)):
        await stage.press("ctrl+r", "T")
        assert "only observes" in stage.text_of("#definitions-said")


async def test_long_diff_is_shown_in_full_with_d() -> None:
    long = AFTER.replace("Be brief.", "\n".join(f"Rule {number}." for number in range(40)))
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, long)):
        await stage.press("ctrl+r")
        assert "more lines: d shows all" in stage.text_of("#definitions")
        await stage.press("d", "pagedown")
        assert "+Rule 39." in stage.text_of("#definitions")


async def test_saves_since_the_cockpit_was_opened_are_kept_newest_first() -> None:
    stage = Stage(busy_view())
    third = AFTER.replace("Deploy.", "Deploy with care.")
    async with stage.play(defined=saved(BEFORE, AFTER, third)):
        await stage.press("ctrl+r")
        assert "devops changed" in stage.text_of("#definitions")
        await stage.press("]")
        assert "writer 1.2.0 → 1.3.0" in stage.text_of("#definitions")


async def test_invalid_file_keeps_the_old_ones_and_opens_at_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[Path, int]] = []
    path = "/w/release-notes/perstack.toml"
    error = f"{path}: Validation failed:\n  - experts.writer (line 41): instruction is missing"
    stage = Stage(busy_view())

    def edit(path: Path, line: int = 1) -> None:
        opened.append((path, line))

    monkeypatch.setattr(stage.app, "edit_file", edit)
    async with stage.play(defined=saved(BEFORE, AFTER, error=error)):
        await stage.press("ctrl+r")
        shown = stage.text_of("#definitions")
        assert "✗ perstack.toml:41" in shown
        assert "stays in force" in shown
        await stage.press("o")
        assert opened == [(Path(path), 41)]


async def test_nothing_changed_is_said_and_opens_nothing() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE)):
        await stage.press("ctrl+r")
        assert isinstance(stage.app.screen, MainScreen)
        assert "has not changed since the cockpit was opened" in stage.text_of("#notice")


async def test_experts_pane_lists_marks_and_opens_definitions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []
    stage = Stage(busy_view())

    def edit(path: Path, line: int = 1) -> None:
        opened.append(line)

    monkeypatch.setattr(stage.app, "edit_file", edit)
    update = saved(BEFORE, AFTER)
    update = replace(
        update,
        experts=tuple(replace(one, line=10 * at) for at, one in enumerate(update.experts, 1)),
    )
    async with stage.play(size=(160, 50), defined=update):
        await stage.press("6")
        shown = stage.text_of("#experts")
        assert "~ writer@1.2.0 → 1.3.0" in shown
        assert "+ reviewer@1.0.0" in shown
        assert "HIGH · gate" in shown
        await stage.press("j", "e")
        assert opened == [20]
        await stage.press("enter")
        assert isinstance(stage.app.screen, ExpertSheet)
        text = stage.text_of("#definition")
        assert "writer@1.3.0" in text
        assert "Group by theme." in text
        await stage.press("n")
        assert isinstance(stage.app.screen, NewRunSheet)


async def test_news_line_names_experts_powers_and_runs_that_keep_theirs() -> None:
    stage = Stage(busy_view())
    async with stage.play(defined=saved(BEFORE, AFTER)):
        state = stage.app.state
        assert news_words(state.definitions, state.index) == (
            "writer 1.2.0 → 1.3.0, reviewer new ! new powers · 1 run at work as before"
        )


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (10, 4)])
async def test_texts_of_the_file_are_inert(size: tuple[int, int]) -> None:
    hostile = "\\u001B[31m\\u202E\\u200B[/][@click=app.quit]"
    text = AFTER.replace("Be brief.", hostile).replace("Deploy.", hostile)
    stage = Stage(busy_view())
    async with stage.play(size=size, defined=saved(BEFORE, text)):
        for keys in (("6",), ("j", "enter"), ("escape",), ("ctrl+r",), ("]",), ("escape",)):
            await stage.press(*keys)
            shown = stage.screen_text()
            assert not [bad for bad in ("\x1b", "\u202e", "\u200b") if bad in shown]


async def test_a_file_with_a_mistake_is_not_asked_for_as_if_there_were_none() -> None:
    stage = Stage(WorkspaceView(caught_up=True))
    error = "/w/release-notes/perstack.toml: line 3: instruction: missing"
    broken = replace(definitions(), experts=(), builtins=(), error=error, error_hint=None)
    async with stage.play(defined=broken):
        assert "✗ perstack.toml cannot be used" in stage.text_of("#tree")
        await stage.press("6")
        shown = stage.text_of("#experts")
        assert "✗ perstack.toml:3: instruction: missing" in shown
        assert "Write a perstack.toml" not in stage.text_of("#tree") + shown
