"""The registry in the cockpit with keys: searching, reading, adding, over a made-up registry."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from textual import events

from perstack.config.untrusted import Demand, UntrustedError
from perstack.errors import ConfigError, ConflictError, RegistryError, RegistryUnreachableError
from perstack.projection.views import WorkspaceView
from perstack_tui.deeds.working import open_registry
from perstack_tui.ports.gateway import Trouble
from perstack_tui.ports.registry import UntrustedExpertsError
from perstack_tui.screens.add_delegate import AddDelegateSheet
from perstack_tui.screens.asking import AskingSheet
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.screens.registry import RegistryScreen
from perstack_tui.screens.registry_expert import RegistryExpertSheet
from perstack_tui.screens.trust import TrustSheet
from perstack_tui.widgets.pane import Pane
from tests.fakes.catalog import SKILLS, published
from tests.fakes.gateway import busy_view, definitions
from tests.fakes.hostile import WORST, assert_aligned, assert_inert
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio
IDLE = WorkspaceView(caught_up=True)
DOWN = RegistryUnreachableError(
    "the registry at https://registry.example cannot be reached", hint="is it running?"
)


@asynccontextmanager
async def opened(
    stage: Stage, words: str = "", *, size: tuple[int, int] = (120, 40)
) -> AsyncGenerator[RegistryScreen]:
    async with stage.play(size=size, here=()):
        open_registry(stage.app, words)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        screen = stage.app.screen
        assert isinstance(screen, RegistryScreen)
        await stage.settle()
        if stage.gateway.registry.gate is None:
            await answered(stage, screen)
        yield screen


async def answered(stage: Stage, screen: RegistryScreen) -> None:
    await stage.until(lambda: not screen.loader.busy)
    await stage.settle()


async def read(stage: Stage, key: str) -> RegistryExpertSheet:
    """Wait until an Expert is shown in full."""

    def is_shown() -> bool:
        screen = stage.app.screen
        card = screen.walk.card if isinstance(screen, RegistryExpertSheet) else None
        return card is not None and card.expert.key == key

    await stage.until(is_shown)
    await stage.settle()
    screen = stage.app.screen
    assert isinstance(screen, RegistryExpertSheet)
    return screen


def painted(stage: Stage) -> None:
    """Whatever is painted is inert, and each line as wide as its widget."""
    for widget in stage.app.screen.query(Pane):
        for y in range(widget.size.height):
            text = widget.render_line(y).text
            assert_inert(text)
            assert_aligned(text, widget.size.width)


async def test_typed_registry_words_search_it_and_enter_reads() -> None:
    stage = Stage(busy_view())
    async with stage.play(size=(120, 40)):
        await stage.press("colon")
        await stage.write("registry question")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        screen = stage.app.screen
        assert isinstance(screen, RegistryScreen)
        await answered(stage, screen)
        assert stage.gateway.registry.asked == [("search", "question", 50, 0)]
        listed = stage.text_of("#registry-list")
        assert "1 with /question" in listed
        assert "@acme/researcher" in listed
        assert "✓ available" in listed
        assert "latest, stable" in listed
        assert "https://registry.example" in stage.text_of("#registry-place")
        about = stage.text_of("#registry-about")
        assert "@acme/reader@1.0.0, checker" in about
        assert "web" in about
        await stage.press("escape")
        await answered(stage, screen)
        assert "4" in stage.text_of("#registry-list")
        assert "! deprecated" in stage.text_of("#registry-list")
        assert screen.shelf.key == "@acme/researcher@1.1.0"
        await stage.press("enter")
        await read(stage, "@acme/researcher@1.1.0")
        card = stage.text_of("#registry-expert")
        for said in (
            "Looks into a question, with sources",
            "owner        acme",
            "latest, stable",
            "sha256-",
            "→ @acme/reader@1.0.0",
            "npx @acme/web-search",
            "SEARCH_KEY",
            "Do it well.",
        ):
            assert said in card
        await stage.press("escape", "q")
        assert not isinstance(stage.app.screen, RegistryScreen)


async def test_delegates_are_walked_into_and_back_and_versions_picked() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.press("j", "enter")
        sheet = await read(stage, "@acme/researcher@1.1.0")
        await stage.press("tab", "tab", "enter")
        await read(stage, "checker@0.3.0")
        assert "! deprecated" in stage.text_of("#registry-expert")
        assert "works alone" in stage.text_of("#registry-expert")
        asked = len(stage.gateway.registry.asked)
        await stage.press("escape")
        await read(stage, "@acme/researcher@1.1.0")
        assert len(stage.gateway.registry.asked) == asked, "what was read is not asked for again"
        await stage.press("shift+tab", "enter")
        await read(stage, "@acme/researcher@1.0.0")
        assert len(sheet.walk.way) == 1, "another version takes the place of the one before"
        await stage.press("y", "escape")
        assert stage.app.screen is screen


async def test_typing_asks_for_the_last_words_alone_and_what_was_listed_stays() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        registry = stage.gateway.registry
        await stage.press("slash")
        registry.gate = anyio.Event()
        await stage.write("tic")
        assert "@acme/reader" in stage.text_of("#registry-list"), "the last answer stays"
        assert "asking the registry" in stage.text_of("#registry-notice")
        await stage.until(lambda: registry.asked[-1] == ("search", "tic", 50, 0))
        assert ("search", "t", 50, 0) not in registry.asked
        registry.gate.set()
        await answered(stage, screen)
        assert "@acme/reader" not in stage.text_of("#registry-list")
        assert "tic-tac-toe" in stage.text_of("#registry-list")
        await stage.press("enter")
        await stage.press("n")
        assert isinstance(stage.app.screen, NewRunSheet)


async def test_words_typed_in_one_burst_are_searched_for_as_they_were_typed() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.press("slash")
        await stage.rush(*"into", "space", "a")
        await answered(stage, screen)
        assert screen.shelf.answered == "into a"
        assert "1 with /into a" in stage.text_of("#registry-list")
        assert len(stage.gateway.registry.asked) == 2


async def test_words_typed_right_behind_the_key_that_begins_a_search_are_all_of_it() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.rush("slash", *"into", "space", "a")
        await answered(stage, screen)
        assert screen.shelf.words == "into a"
        assert screen.shelf.answered == "into a"


async def test_enter_and_escape_typed_right_behind_the_words_keep_the_search_or_drop_it() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.rush("slash", *"into", "enter")
        await answered(stage, screen)
        assert stage.app.screen is screen, "enter keeps the words, and reads nothing yet"
        assert screen.shelf.answered == "into"
        assert not screen.query_one(".search-line").display
        await stage.rush("slash", "x", "escape")
        await answered(stage, screen)
        assert stage.app.screen is screen
        assert not screen.shelf.answered


async def test_a_slow_registry_holds_up_nothing_and_can_be_left() -> None:
    stage = Stage(IDLE)
    stage.gateway.registry.gate = anyio.Event()
    async with opened(stage) as screen:
        assert "Asking the registry…" in stage.text_of("#registry-list")
        await stage.press("slash")
        await stage.write("x")
        await stage.press("escape", "q")
        assert stage.app.screen is not screen
        stage.gateway.registry.gate.set()
        await stage.settle()


async def test_more_is_asked_for_as_one_moves_on_and_never_for_ever() -> None:
    stage = Stage(IDLE)
    registry = stage.gateway.registry
    registry.experts = [published(f"expert-{at:03}") for at in range(120)]
    async with opened(stage) as screen:
        assert "50 of 120" in stage.text_of("#registry-list")
        await stage.press("G")
        await stage.until(lambda: len(screen.shelf.experts) == 100)
        await answered(stage, screen)
        await stage.press("G")
        await stage.until(lambda: len(screen.shelf.experts) == 120)
        await answered(stage, screen)
        assert registry.asked[-1] == ("search", "", 50, 100)
        await stage.press("G")
        assert "expert-119" in stage.text_of("#registry-list")
        assert len(registry.asked) == 3


async def test_nobody_there_is_said_with_what_to_do_and_r_asks_again() -> None:
    stage = Stage(IDLE)
    stage.gateway.registry.refuse = DOWN
    async with opened(stage, size=(80, 24)) as screen:
        said = stage.text_of("#registry-list")
        assert "cannot be reached" in said
        assert "is it running?" in said
        assert "PERSTACK_API_BASE_URL" in said
        assert "perstack registry serve" in said
        stage.gateway.registry.refuse = None
        await stage.press("r")
        await answered(stage, screen)
        assert "tic-tac-toe" in stage.text_of("#registry-list")
        stage.gateway.registry.refuse = DOWN
        await stage.press("r")
        await answered(stage, screen)
        assert "tic-tac-toe" in stage.text_of("#registry-list"), "what was answered stays"
        assert "cannot be reached" in stage.text_of("#registry-notice")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, RegistryExpertSheet))
        await stage.until(lambda: "cannot be reached" in stage.text_of("#registry-expert"))


@pytest.mark.parametrize(
    ("words", "said"), [("", "The registry has no Experts yet."), ("zz", "has 'zz'; esc shows all")]
)
async def test_nothing_found_explains_itself(words: str, said: str) -> None:
    stage = Stage(IDLE)
    stage.gateway.registry.experts = []
    async with opened(stage, words):
        assert said in stage.text_of("#registry-list")


async def test_a_delegate_that_is_gone_leaves_what_is_shown() -> None:
    stage = Stage(IDLE)
    stage.gateway.registry.experts = [published("a", delegates=("gone", "Not a key"))]
    async with opened(stage):
        await stage.press("enter")
        await read(stage, "a@1.0.0")
        await stage.press("tab", "enter")
        await stage.until(lambda: "gone is not in" in stage.text_of("#registry-expert-notice"))
        await stage.press("tab", "enter")
        await stage.until(lambda: "is not the key" in stage.text_of("#registry-expert-notice"))
        assert "Do one thing." in stage.text_of("#registry-expert")
        await stage.press("escape", "escape")
        assert isinstance(stage.app.screen, RegistryScreen)


async def test_adding_shows_the_change_and_saves_it_once_it_is_confirmed() -> None:
    stage = Stage(IDLE)
    async with opened(stage):
        await stage.press("j", "enter")
        await read(stage, "@acme/researcher@1.1.0")
        await stage.press("a")
        await stage.until(lambda: "+ " in stage.text_of("#add-diff"))
        change = stage.text_of("#add-diff")
        assert '"writer", # writes' in change, "what is around it is shown"
        assert '+   "@acme/researcher",' in change
        assert "follows the tag latest" in stage.text_of("#add-diff")
        await stage.press("v")
        await stage.until(lambda: "@1.1.0" in stage.text_of("#add-diff"))
        assert "this version stays" in stage.text_of("#add-diff")
        await stage.press("enter")
        assert not stage.gateway.calls, "enter saves nothing"
        await stage.press("y", after=1.5)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryExpertSheet))
        assert stage.gateway.calls == [("save", "coordinator", "@acme/researcher@1.1.0")]


async def add(stage: Stage) -> None:
    """Add the Expert that is read to the one that the cockpit proposes."""
    await stage.press("a")
    await stage.until(lambda: "+ " in stage.text_of("#add-diff"))
    await stage.press("y", after=1.5)
    await stage.until(lambda: isinstance(stage.app.screen, RegistryExpertSheet))
    await stage.settle()


async def test_u_puts_the_file_back_as_it_was_before_each_that_was_added() -> None:
    stage = Stage(IDLE)
    registry = stage.gateway.registry
    before = registry.text
    async with opened(stage, size=(80, 24)):
        await stage.press("enter")
        await read(stage, "@acme/reader@1.0.0")
        await stage.press("u")
        assert not stage.gateway.calls, "nothing was added yet"
        assert " undo " not in stage.text_of("#registry-expert-keys")
        await add(stage)
        once = registry.text
        await stage.press("a", "j", "j")
        await stage.until(lambda: "writer" in stage.text_of("#add-diff"))
        await stage.until(lambda: "+ " in stage.text_of("#add-diff"))
        await stage.press("y", after=1.5)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryExpertSheet))
        assert "u undo" in stage.text_of("#registry-expert-keys")
        assert "esc close" in stage.text_of("#registry-expert-keys")
        await stage.press("u", after=0.1)
        assert "after a quiet moment" in stage.text_of("#registry-expert-notice")
        await stage.press("u", after=1.5)
        await stage.until(lambda: registry.text == once)
        await stage.press("u", after=1.5)
        await stage.until(lambda: registry.text == before)
        await stage.settle()
        assert " undo " not in stage.text_of("#registry-expert-keys")
        said = stage.app.state.notice
        assert said is not None
        assert said.text == "undone: perstack.toml is as it was before"


async def test_what_was_told_covers_nothing_of_a_sheet_that_opens_then() -> None:
    stage = Stage(IDLE)
    async with stage.app.run_test(size=(80, 24), notifications=True) as pilot:
        await stage.join(pilot, definitions(), ())
        open_registry(stage.app)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        stage.app.tell("somebody saved something")
        await stage.until(lambda: bool(stage.app.screen.query("Toast")))
        error = UntrustedError(Path("perstack.toml"), (Demand("command", "start x"),))
        stage.app.open_sheet(TrustSheet(stage.app, error))
        await stage.until(lambda: isinstance(stage.app.screen, TrustSheet))
        await stage.settle()
        assert not stage.app.screen.query("Toast")


async def test_what_was_told_over_a_sheet_stands_once_on_the_main_screen() -> None:
    stage = Stage(IDLE)
    async with stage.app.run_test(size=(80, 24), notifications=True) as pilot:
        await stage.join(pilot, definitions(), ())
        open_registry(stage.app)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        await stage.press("n")
        await stage.write("go")
        await stage.press("enter")
        await stage.until(lambda: "started @acme/reader" in stage.text_of("#notice"))
        await stage.settle()
        assert not stage.app.screen.query("Toast")
        open_registry(stage.app)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        stage.app.tell("nobody answers", "bad")
        await stage.until(lambda: bool(stage.app.screen.query("Toast")))
        await stage.press("escape")
        await stage.until(lambda: stage.app.screen is stage.app.main)
        await stage.settle()
        assert not stage.app.screen.query("Toast")
        assert "nobody answers" in stage.text_of("#notice")


async def test_an_error_over_a_sheet_stays_longer_than_other_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, shown = Stage(IDLE), dict[str, float]()

    def notify(message: str, *, markup: bool, timeout: float) -> None:
        assert not markup
        shown[message] = timeout

    async with opened(stage):
        monkeypatch.setattr(stage.app, "notify", notify)
        stage.app.tell("nobody answers", "bad")
        stage.app.tell("copied", "good")
        assert shown["nobody answers"] > shown["copied"]


async def test_u_leaves_a_file_alone_that_was_saved_since() -> None:
    stage = Stage(IDLE)
    registry = stage.gateway.registry
    async with opened(stage, size=(80, 24)):
        await stage.press("enter")
        await read(stage, "@acme/reader@1.0.0")
        await add(stage)
        registry.text += "# more"
        await stage.press("u", after=1.5)
        await stage.until(lambda: "was saved since" in stage.text_of("#registry-expert-notice"))
        assert "nothing is undone; edit it by hand" in stage.text_of("#registry-expert-notice")
        assert registry.text.endswith("# more")
        assert " undo " not in stage.text_of("#registry-expert-keys")
        await stage.press("j")
        assert "saved since" not in stage.text_of("#registry-expert-notice")


async def test_a_file_saved_meanwhile_is_said_and_the_change_made_anew() -> None:
    stage = Stage(IDLE)
    registry = stage.gateway.registry
    async with opened(stage):
        await stage.press("enter")
        await read(stage, "@acme/reader@1.0.0")
        await stage.press("a")
        await stage.until(lambda: "+ " in stage.text_of("#add-diff"))
        registry.refuse_save = ConflictError("perstack.toml was saved meanwhile")
        registry.text = registry.text.replace("# writes", "# writes well")
        await stage.press("y", after=1.5)
        await stage.until(lambda: "writes well" in stage.text_of("#add-diff"))
        assert "was saved meanwhile" in stage.text_of("#add-notice")
        assert not stage.gateway.calls
        await stage.press("y", after=1.5)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryExpertSheet))
        assert stage.gateway.calls[0][0] == "save"


async def test_what_cannot_be_added_is_said_and_pastes_save_nothing() -> None:
    stage = Stage(IDLE)
    async with opened(stage):
        await stage.press("enter")
        await read(stage, "@acme/reader@1.0.0")
        stage.gateway.registry.refuse = ConfigError("delegates would both be the tool reader")
        await stage.press("a")
        await stage.until(lambda: "both be the tool" in stage.text_of("#add-notice"))
        stage.app.screen.post_message(events.Paste("y"))
        await stage.settle()
        await stage.press("y", after=1.5)
        assert isinstance(stage.app.screen, AddDelegateSheet)
        await stage.press("escape", after=1.5)
        assert not stage.gateway.calls


async def test_an_observer_reads_but_neither_runs_nor_adds() -> None:
    stage = Stage(IDLE, observing=True)
    async with opened(stage) as screen:
        assert " run " not in stage.text_of("#registry-keys")
        await stage.press("n")
        assert stage.app.screen is screen
        await stage.press("enter")
        sheet = await read(stage, "@acme/reader@1.0.0")
        await stage.press("a", "n")
        assert stage.app.screen is sheet
        assert "add" not in stage.text_of("#registry-expert-keys")


async def test_running_one_asks_the_registry_shows_its_card_and_starts_it_once_accepted() -> None:
    stage = Stage(IDLE)
    async with opened(stage):
        await stage.press("enter")
        await read(stage, "@acme/reader@1.0.0")
        await stage.press("n")
        assert "@acme/reader@1.0.0 from the registry" in " ".join(stage.text_of("#experts").split())
        demand = Demand("expert", "run @acme/reader@1.0.0 of acme (sha256-1); start npx x")
        card = tuple(f"line {at} of the card" for at in range(60))
        stage.gateway.refuse = UntrustedExpertsError(
            Path("perstack.toml"), (demand,), {demand: card}
        )
        await stage.write("go")
        await stage.press("enter")
        await stage.until(lambda: isinstance(stage.app.screen, TrustSheet))
        await stage.settle()
        shown = stage.text_of("#trust")
        assert "Run Experts of the registry?" in shown
        assert "start npx x" in shown
        assert "line 1 of the card" in shown
        await stage.press("y", after=1.0)
        assert not stage.gateway.calls, "not before its last line was on the screen"
        await stage.press(*["pagedown"] * 8, "y", after=1.0)
        await stage.until(lambda: len(stage.gateway.calls) == 2)
        assert stage.gateway.calls == [
            ("accept", (demand,)),
            ("start", "@acme/reader@1.0.0", "go"),
        ]
        await stage.until(lambda: stage.app.screen is stage.app.main)


async def test_a_run_started_from_the_list_is_shown_and_one_given_up_leaves_the_list() -> None:
    stage = Stage(IDLE)
    async with opened(stage) as screen:
        await stage.press("n", "escape")
        assert stage.app.screen is screen
        await stage.press("n")
        await stage.write("go")
        await stage.press("enter")
        await stage.until(lambda: stage.app.screen is stage.app.main)
        assert stage.gateway.calls == [("start", "@acme/reader@1.0.0", "go")]
        assert stage.app.state.awaited_job == "job-started"


async def test_a_very_long_card_holds_up_nothing_and_is_accepted_only_once_it_was_read() -> None:
    stage = Stage(IDLE)
    demand = Demand("expert", "run a@1.0.0 of acme (sha256-1)")
    card = tuple(f"  rule {at} " + "漢字 and more " * 12 for at in range(2_000))
    error = UntrustedExpertsError(Path("perstack.toml"), (demand,), {demand: card})
    given: list[bool | None] = []
    async with stage.play(here=(), size=(80, 24)):
        stage.app.open_sheet(TrustSheet(stage.app, error), given.append)
        await stage.until(lambda: isinstance(stage.app.screen, TrustSheet))
        await stage.settle()
        await stage.press("y", after=1.5)
        await stage.until(lambda: "rule 0" in stage.text_of("#trust"))
        await stage.settle()
        await stage.press("y", after=1.5)
        assert isinstance(stage.app.screen, TrustSheet)
        pane = stage.app.screen.query_one("#trust", Pane)
        assert len(pane.lines) > 4_000
        while pane.top + pane.inner_height < len(pane.lines):
            pane.scroll_lines(pane.inner_height)
            stage.app.screen.refresh_view()
            await stage.pilot.pause(0)
        await stage.settle()
        await stage.press("y", after=1.5)
        await stage.until(lambda: bool(given))
    assert given == [True]


async def start_of_the_registry(stage: Stage) -> None:
    """Ask for a run of the first Expert of the registry."""
    await stage.press("n")
    await stage.write("go")
    await stage.press("enter")
    await stage.until(lambda: isinstance(stage.app.screen, AskingSheet))
    await stage.settle()


async def test_while_the_registry_is_asked_that_is_said_and_escape_starts_nothing() -> None:
    stage = Stage(IDLE)
    stage.gateway.start_gate = anyio.Event()
    async with opened(stage) as screen:
        await start_of_the_registry(stage)
        assert "Asking the registry for @acme/reader@1.0.0" in stage.text_of("#asking-pane")
        await stage.press("n", "enter")
        assert isinstance(stage.app.screen, AskingSheet), "other keys do nothing"
        await stage.press("escape")
        await stage.until(lambda: stage.app.screen is screen)
        stage.gateway.start_gate.set()
        await stage.settle()
        assert not stage.gateway.calls
        await stage.press("n")
        stage.gateway.start_gate = None
        await stage.press("enter")
        await stage.until(lambda: bool(stage.gateway.calls))
        assert stage.gateway.calls == [("start", "@acme/reader@1.0.0", "go")]


async def test_why_nothing_was_started_stays_until_it_was_read() -> None:
    stage = Stage(IDLE)
    stage.gateway.start_gate = anyio.Event()
    async with opened(stage, size=(80, 24)) as screen:
        await start_of_the_registry(stage)
        stage.gateway.refuse = DOWN
        stage.gateway.start_gate.set()
        await stage.until(lambda: "cannot be reached" in stage.text_of("#asking-pane"))
        assert "is it running?" in stage.text_of("#asking-pane")
        await stage.press("x")
        assert isinstance(stage.app.screen, AskingSheet)
        await stage.press("escape")
        await stage.until(lambda: stage.app.screen is screen)
        assert not stage.gateway.calls


@pytest.mark.parametrize("query", ["Let's play!", None])
async def test_one_that_was_named_is_started_where_there_is_no_file(query: str | None) -> None:
    stage = Stage(IDLE, expert="tic-tac-toe", query=query)
    nothing = replace(definitions(), path=None, experts=())
    async with stage.app.run_test(size=(120, 40)) as pilot:
        stage.take_over(pilot)
        stage.gateway.say(nothing)
        if query is None:
            await stage.until(lambda: isinstance(stage.app.screen, NewRunSheet))
            await stage.settle()
            await stage.write("go")
            await stage.press("enter")
        await stage.until(lambda: bool(stage.gateway.calls))
        assert stage.gateway.calls == [("start", "tic-tac-toe", query or "go")]


async def test_a_disabled_one_is_not_run() -> None:
    stage = Stage(IDLE)
    stage.gateway.registry.experts = [published("a", status="disabled")]
    async with opened(stage) as screen:
        assert "✗ disabled" in stage.text_of("#registry-list")
        await stage.press("n")
        assert stage.app.screen is screen


async def test_a_warning_is_told_calmly() -> None:
    stage = Stage(IDLE)
    async with stage.play(here=()):
        stage.gateway.say(Trouble("x@1.0.0 is deprecated", is_warning=True))
        await stage.until(lambda: "x@1.0.0 is deprecated" in stage.text_of("#notice"))
        told = stage.app.state.notice
        assert told is not None
        assert told.tone == "info"


async def test_a_registry_that_the_file_names_is_asked_once_that_was_accepted() -> None:
    stage = Stage(IDLE)
    demand = Demand("address", "take Experts from https://registry.example, with your key for it")
    stage.gateway.registry.refuse = UntrustedError(Path("perstack.toml"), (demand,))
    async with stage.play(here=()):
        open_registry(stage.app)
        await stage.until(lambda: isinstance(stage.app.screen, TrustSheet))
        await stage.settle()
        stage.gateway.registry.refuse = None
        await stage.press("a", after=1.0)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        await stage.until(lambda: "tic-tac-toe" in stage.text_of("#registry-list"))
        assert stage.gateway.calls == [("accept", (demand,))]


async def test_what_a_hostile_registry_answers_does_nothing() -> None:
    stage = Stage(IDLE)
    hostile = published(
        "a",
        description=WORST,
        instruction=WORST * 50,
        owner=WORST,
        tags=("latest", WORST),
        delegates=(WORST,),
        skills={WORST: {**SKILLS["web"], "command": WORST, WORST: WORST}},
    )
    stage.gateway.registry.experts = [hostile, hostile]
    async with opened(stage, size=(80, 24)) as screen:
        assert len(screen.shelf.experts) == 1, "what comes twice is listed once"
        painted(stage)
        await stage.press("enter")
        await read(stage, "a@1.0.0")
        painted(stage)
        await stage.press("G", "tab", "enter")
        await stage.until(lambda: "✗ '" in stage.text_of("#registry-expert-notice"))
        painted(stage)


async def test_a_registry_that_dies_while_one_walks_leaves_what_was_read() -> None:
    stage = Stage(IDLE)
    async with opened(stage):
        await stage.press("j", "enter")
        await read(stage, "@acme/researcher@1.1.0")
        stage.gateway.registry.refuse = RegistryError("the answer was cut off")
        await stage.press("tab", "enter")
        await stage.until(lambda: "cut off" in stage.text_of("#registry-expert-notice"))
        assert "Looks into a question" in stage.text_of("#registry-expert")
        stage.gateway.registry.refuse = None
        await stage.press("r")
        await read(stage, "@acme/reader@1.0.0")
