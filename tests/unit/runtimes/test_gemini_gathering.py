"""Calls that are told one by one become the answers that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.usage import Usage
from perstack.errors import ProgramError
from perstack.ports.model import Spoken
from perstack.ports.programs import Finished, Report, Returned, Turn
from perstack.ports.skills import ToolOutcome
from perstack.runtimes.gathering import MOST_CALLS, Gathering

pytestmark = pytest.mark.anyio

DONE: Final = Finished("done")
# Longer than any test takes: where it matters, the next report ends the waiting.
LONG_S: Final = 60.0


class Told:
    """A `Hearing` that tells what it was given, and then nothing, or that the program failed."""

    def __init__(self, *reports: Report, fails: bool = False) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Report](len(reports) + 9)
        self.tell(*reports)
        self._fails = fails

    def tell(self, *reports: Report) -> None:
        for report in reports:
            self._send.send_nowait(report)

    async def next(self) -> Report:
        if self._fails and not self._receive.statistics().current_buffer_used:
            raise ProgramError("it broke")
        return await self._receive.receive()

    def close(self) -> None:
        self._send.close()
        self._receive.close()


def call(name: str, text: str = "", usage: int = 0) -> Turn:
    part = ToolCallPart(tool_call_id=ToolCallId(name), tool_name="t", args={})
    said = (TextPart(text=text),) if text else ()
    return Turn((*said, part), Usage(input_tokens=usage))


def result(name: str) -> Returned:
    return Returned(ToolCallId(name), ToolOutcome((TextPart(text=name),)))


async def heard(told: Told, count: int, *, breath_s: float = LONG_S) -> list[str]:
    """Hear `count` reports, and write them as `[a b]` for a turn and `a` for a result."""
    gathering = Gathering(told, breath_s=breath_s)
    with anyio.fail_after(10):
        found = [_short(await gathering.next()) for _ in range(count)]
    told.close()
    return found


def _short(report: Report) -> str:
    match report:
        case Turn():
            parts = [p.tool_call_id for p in report.parts if isinstance(p, ToolCallPart)]
            return f"[{' '.join(parts)}]"
        case Returned():
            return report.tool_call_id
        case Spoken():
            return f"~{report.text}"
        case _:
            return "done"


async def test_calls_told_one_after_another_are_one_turn() -> None:
    told = Told(call("a"), call("b"), result("a"), result("b"), call("c"), result("c"), DONE)

    assert await heard(told, 6) == ["[a b]", "a", "b", "[c]", "c", "done"]


async def test_texts_and_usage_of_joined_calls_stay() -> None:
    told = Told(call("a", "first", 3), call("b", "then", 4), result("a"))

    turn = await Gathering(told).next()
    told.close()

    assert isinstance(turn, Turn)
    assert [part.type for part in turn.parts] == ["textPart", "toolCallPart"] * 2
    assert turn.usage.input_tokens == 7


async def test_a_call_is_seen_while_it_is_still_being_done() -> None:
    assert await heard(Told(call("a")), 1, breath_s=0.01) == ["[a]"]


async def test_what_is_spoken_between_calls_is_heard_at_once() -> None:
    told = Told(call("a"), Spoken("text", "hm"), call("b"), result("b"))

    assert await heard(told, 3) == ["~hm", "[a b]", "b"]


async def test_a_late_call_of_an_answer_waits_for_those_before_it_and_is_not_lost() -> None:
    told = Told(call("a"))
    gathering = Gathering(told, breath_s=0.01)
    with anyio.fail_after(10):
        found = [_short(await gathering.next())]
        told.tell(call("b"), result("b"), result("a"), DONE)
        found += [_short(await gathering.next()) for _ in range(4)]
    told.close()

    assert found == ["[a]", "a", "[b]", "b", "done"]


async def test_a_result_that_never_comes_holds_up_nothing() -> None:
    told = Told(call("a"), call("b"), result("a"), call("c"), result("c"), call("d"))
    gathering = Gathering(told, breath_s=0.01)

    with anyio.fail_after(10):
        found = [_short(await gathering.next()) for _ in range(5)]
    told.close()

    assert found == ["[a b]", "a", "[c]", "c", "[d]"]


async def test_calls_without_results_are_told_before_the_end() -> None:
    assert await heard(Told(call("a"), call("b"), DONE), 2) == ["[a b]", "done"]


async def test_a_call_is_told_before_the_failure_that_followed() -> None:
    told = Told(call("a"), fails=True)
    gathering = Gathering(told, breath_s=LONG_S)

    assert _short(await gathering.next()) == "[a]"
    with pytest.raises(ProgramError, match="it broke"):
        await gathering.next()
    told.close()


async def test_a_flood_of_calls_is_refused() -> None:
    told = Told(*(call(str(number)) for number in range(MOST_CALLS + 1)))

    with pytest.raises(ProgramError, match="tools at once"):
        await Gathering(told).next()
    told.close()


async def test_a_wait_that_is_cut_off_loses_nothing() -> None:
    told = Told(call("a"))
    gathering = Gathering(told, breath_s=LONG_S)
    with anyio.move_on_after(0.01) as cut_off:
        await gathering.next()
    told.tell(result("a"))

    assert cut_off.cancelled_caught
    assert [_short(await gathering.next()) for _ in range(2)] == ["[a]", "a"]
    told.close()


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=4), max_size=5))
def test_every_call_and_result_is_told_once_and_in_order(answers: list[list[bool]]) -> None:
    """Each answer has as many calls as booleans; those that are true return."""
    reports: list[Report] = []
    for at, returns in enumerate(answers):
        names = [f"{at}.{number}" for number in range(len(returns))]
        reports += [call(name) for name in names]
        # Without any result no later answer can follow.
        reports += [result(name) for name, given in zip(names, returns, strict=True) if given]

    found = anyio.run(_all, [*reports, DONE])

    calls = [part.tool_call_id for one in found if isinstance(one, Turn) for part in _calls(one)]
    wanted = [part.tool_call_id for one in reports if isinstance(one, Turn) for part in _calls(one)]
    assert calls == wanted
    results = [one.tool_call_id for one in found if isinstance(one, Returned)]
    assert sorted(results) == sorted(
        one.tool_call_id for one in reports if isinstance(one, Returned)
    )
    assert all(calls_before(found, at) for at in range(len(found)))


def calls_before(found: Sequence[Report], at: int) -> bool:
    one = found[at]
    if not isinstance(one, Returned):
        return True
    known = [
        part.tool_call_id for turn in found[:at] if isinstance(turn, Turn) for part in _calls(turn)
    ]
    return one.tool_call_id in known


def _calls(turn: Turn) -> list[ToolCallPart]:
    return [part for part in turn.parts if isinstance(part, ToolCallPart)]


async def _all(reports: list[Report]) -> list[Report]:
    told = Told(*reports)
    gathering = Gathering(told, breath_s=LONG_S)
    found: list[Report] = []
    with anyio.fail_after(10):
        while DONE not in found:
            found.append(await gathering.next())
    told.close()
    return found
