"""What the registry looks like: its list, an Expert, adding one, accepting one."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from perstack.config.untrusted import Demand
from perstack.errors import PerstackError, RegistryUnreachableError
from perstack_tui.deeds.working import open_registry
from perstack_tui.ports.registry import UntrustedExpertsError
from perstack_tui.screens.add_delegate import AddDelegateSheet
from perstack_tui.screens.registry import RegistryScreen
from perstack_tui.screens.registry_expert import RegistryExpertSheet
from perstack_tui.screens.trust import TrustSheet
from tests.fakes.gateway import busy_view, definitions
from tests.fakes.stage import Stage
from tests.snapshot.test_cockpit_screens import Compare

SIZES = [(80, 24), (120, 40)]
DOWN = RegistryUnreachableError(
    "the registry at https://registry.example cannot be reached: connection refused",
    hint="is it running, and is PERSTACK_API_BASE_URL right?",
)
READ = ("j", "enter")


def same(
    compare: Compare,
    size: tuple[int, int],
    *keys: str,
    theme: str = "dark",
    refuse: PerstackError | None = None,
) -> bool:
    stage = Stage(busy_view(), theme=theme)
    stage.gateway.registry.refuse = refuse

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        open_registry(stage.app)
        await stage.until(lambda: isinstance(stage.app.screen, RegistryScreen))
        await still(stage)
        for key in keys:
            await stage.press(key, after=1.5)
            await still(stage)

    return compare(stage.app, terminal_size=size, run_before=before)


async def still(stage: Stage) -> None:
    """Wait until nothing is asked for any more."""

    def is_still() -> bool:
        screen = stage.app.screen
        if isinstance(screen, RegistryScreen | RegistryExpertSheet):
            return not screen.loader.busy
        return not isinstance(screen, AddDelegateSheet) or not screen.busy

    await stage.settle()
    await stage.until(is_still)
    await stage.settle()


@pytest.mark.parametrize("size", SIZES)
def test_the_list(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, size, "j")


def test_the_list_in_light_colours(snap_compare: Compare) -> None:
    assert same(snap_compare, (80, 24), "j", "slash", theme="light")


@pytest.mark.parametrize("size", SIZES)
def test_nobody_there(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, size, refuse=DOWN)


@pytest.mark.parametrize("size", SIZES)
def test_an_expert(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, size, *READ, "tab")


@pytest.mark.parametrize("size", SIZES)
def test_adding_a_delegate(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, size, *READ, "a", "v")


def test_running_one(snap_compare: Compare) -> None:
    assert same(snap_compare, (80, 24), *READ, "n")


@pytest.mark.parametrize("size", SIZES)
def test_a_card_before_the_first_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    stage = Stage(busy_view())
    text = (
        "run @acme/reader@1.0.0 of acme from https://registry.example "
        "(sha256-7b1d9f6c3a5e8042d6c1b9a7f0e3d5c2b4a6978812345678901234567890abcd); "
        "start npx @acme/web-search with SEARCH_KEY; delegate to checker"
    )
    demand = Demand("expert", text)
    card = (
        "Key           @acme/reader@1.0.0",
        "Owner         acme",
        "Delegates     checker",
        "Skill         web",
        "  starts        npx @acme/web-search",
        "  is given      SEARCH_KEY",
        "Instruction",
        *(f"  Rule {at}: read what you are given, and say what it is about." for at in range(30)),
    )

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(), ("job-8f3a",))
        error = UntrustedExpertsError(Path("perstack.toml"), (demand,), {demand: card})
        stage.app.open_sheet(TrustSheet(stage.app, error))
        await stage.until(lambda: isinstance(stage.app.screen, TrustSheet))
        await stage.settle()

    assert snap_compare(stage.app, terminal_size=size, run_before=before)
