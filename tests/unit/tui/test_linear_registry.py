"""The registry in a screen-reader conversation: listed, read out, added from, run."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perstack.config.untrusted import Demand
from perstack.errors import RegistryUnreachableError
from perstack_tui.ports.gateway import Trouble
from perstack_tui.ports.registry import UntrustedExpertsError
from tests.fakes.catalog import published
from tests.fakes.consensus import until
from tests.fakes.hostile import WORST, assert_inert
from tests.unit.tui.test_linear_hearing import Opened

pytestmark = pytest.mark.anyio


async def test_experts_are_listed_read_and_started_by_their_numbers() -> None:
    opened = Opened("", "", "", "")
    told = await opened.types("registry", "read 2", "start 2 look into it")
    assert "Asking the registry." in told
    assert "1 @acme/reader@1.0.0 of acme: Reads what it is given" in told
    assert "3 checker@0.3.0 of bo, deprecated: Checks claims 漢字" in told
    assert "npx @acme/web-search" in told
    assert "Do it well." in told
    assert opened.calls == [("start", "@acme/researcher@1.1.0", "look into it")]
    assert "4 in all" not in told


async def test_words_are_searched_for_and_nothing_is_said_so() -> None:
    opened = Opened()
    told = await opened.types("registry question", "registry no such words")
    assert opened.gateway.registry.asked == [
        ("search", "question", 20, 0),
        ("search", "no such words", 20, 0),
    ]
    assert "1 @acme/researcher@1.1.0" in told
    assert "Nothing in the registry has no such words." in told


@pytest.mark.parametrize(("answer", "saved"), [("yes", True), ("", False), ("y", False)])
async def test_a_change_is_said_and_saved_for_a_word(answer: str, saved: bool) -> None:
    opened = Opened(answer)
    told = await opened.types("add checker coordinator")
    assert "checker: it follows the tag latest. perstack.toml would change:" in told
    assert 'new:   "checker",' in told
    assert (opened.calls == [("save", "coordinator", "checker")]) is saved
    assert ("Saved: coordinator delegates to checker." in told) is saved
    assert ("Nothing was changed." in told) is not saved


@pytest.mark.parametrize("key", ["77", "@acme/nope"])
async def test_what_the_registry_does_not_have_is_not_added(key: str) -> None:
    opened = Opened("yes")
    told = await opened.types("registry", f"add {key} coordinator")
    assert f"Error: {key} is not in the registry" in told
    assert "would change" not in told
    assert not opened.calls


async def test_what_was_listed_is_not_asked_for_again_to_be_added() -> None:
    opened = Opened("yes")
    await opened.types("registry", "add 1 coordinator")
    assert [asked[0] for asked in opened.gateway.registry.asked] == ["search", "draft"]
    assert opened.calls == [("save", "coordinator", "@acme/reader@1.0.0")]


async def test_to_whom_has_to_be_said() -> None:
    opened = Opened()
    told = await opened.types("add checker")
    assert "There are: coordinator, researcher, writer." in told


async def test_an_observer_lists_and_reads_alone() -> None:
    opened = Opened("", "", observing=True)
    told = await opened.types("registry", "read checker", "add checker writer", "start checker go")
    assert "Checks claims" in told
    assert told.count("This only observes") == 2
    assert not opened.calls


async def test_nobody_there_is_said() -> None:
    opened = Opened()
    opened.gateway.registry.refuse = RegistryUnreachableError("nobody answers", hint="is it up?")
    told = await opened.types("registry", "read x")
    assert told.count("Error: nobody answers") == 2
    assert "Hint: is it up?" in told


async def test_the_whole_card_is_read_out_before_one_is_started() -> None:
    demand = Demand("expert", "run x@1.0.0 of acme from https://r (sha256-1); start npx y")
    opened = Opened("yes")
    card = ("Instruction", "  Do harm.")
    opened.gateway.refuse = UntrustedExpertsError(Path("perstack.toml"), (demand,), {demand: card})
    told = await opened.types("start x go")
    assert "These Experts of the registry come from others." in told
    assert "start npx y" in told
    assert "Do harm." in told
    assert [call[0] for call in opened.calls] == ["accept", "start"]


async def test_what_a_hostile_registry_says_does_nothing_to_a_terminal() -> None:
    opened = Opened(*[""] * 300)
    opened.gateway.registry.experts = [
        published("a", description=WORST, owner=WORST, instruction=WORST, delegates=(WORST,))
    ]
    for line in (await opened.types("registry", "read a")).split("\n"):
        assert_inert(line)


async def test_a_warning_is_called_one() -> None:
    heard = await Opened().hearing.take(Trouble("x@1.0.0 is deprecated", is_warning=True))
    assert heard.told[-1] == "Warning: x@1.0.0 is deprecated."


@pytest.mark.parametrize("line", ["registry", "read checker", "start checker go"])
async def test_what_is_slow_is_given_up_and_what_comes_next_is_obeyed(line: str) -> None:
    opened = Opened()
    gate = opened.gateway.registry.gate = opened.gateway.start_gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(opened.types, line)
        await until(opened.doing.give_up)
        assert not opened.doing.give_up(), "once is enough: the next Ctrl+C means leaving"
    gate.set()
    assert "Given up." in opened.said.text
    assert not opened.calls
    await opened.types("start checker go")
    assert [call[0] for call in opened.calls] == ["start"]
    assert not opened.doing.give_up(), "nothing is waited for any more"


async def test_the_registry_is_named_only_where_it_is_asked() -> None:
    opened = Opened()
    assert "Asking the registry" not in await opened.types("start writer go")
    assert "Asking the registry" in await opened.types("start checker go")
