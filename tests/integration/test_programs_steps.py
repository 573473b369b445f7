"""What a program reports becomes steps of the run: numbers, results, usage, cost, limits.

The program is `tests.fakes.programs.PlayedProgram`: it plays reports, no model is asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from perstack.domain.events import CallTools, CompleteRun, StopRunByError
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertMessage, TextPart, ToolCallPart, ToolMessage
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import LongPromptPrice, ModelFacts, ModelPrice, Usage
from perstack.engine.recall import recall
from perstack.errors import ProgramError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Spoken
from perstack.ports.programs import Hearing, Report, Returned, Talk
from perstack.ports.skills import ToolOutcome
from perstack.projection.run_state import RunState
from tests.fakes.engine import World
from tests.fakes.programs import (
    PlayedProgram,
    Say,
    began,
    call,
    finished,
    played,
    returned,
    turn,
)

pytestmark = pytest.mark.anyio

USED = Usage(input_tokens=100, output_tokens=10, total_tokens=110)


def reports(*items: Report) -> PlayedProgram:
    """A program that reports these in each talk."""

    async def script(talk: Talk, say: Say) -> None:
        del talk
        for item in items:
            await say(item)

    return PlayedProgram(script)


async def state_of(own: World) -> RunState:
    job = (await own.history.list_jobs())[0]
    return (await recall(own.history, job.id, job.coordinator_run_id)).state


def bodies(own: World, *types: type) -> list[object]:
    return [event.body for event in own.heard.events if isinstance(event.body, types)]


def stored(workspace: Path) -> str:
    files = workspace.glob("perstack/jobs/*/runs/*/events.jsonl")
    return "".join(file.read_text() for file in files)


async def test_each_turn_with_calls_is_a_step_and_the_end_is_the_last(tmp_path: Path) -> None:
    program = reports(
        began(),
        turn("first", call("a"), call("b")),
        returned("b", "B"),
        returned("a", "A"),
        turn("second", call("c")),
        returned("c", "C", is_error=True),
        turn("all done"),
        finished(),
    )
    own = played(tmp_path, program)
    ended = await own.start()
    assert ended.outcome.text == "all done"
    assert own.heard.results() == [("Bash", "B", False), ("Bash", "A", False), ("Bash", "C", True)]
    steps = [e.step_number for e in own.heard.events if isinstance(e.body, CallTools | CompleteRun)]
    assert steps == [1, 2, 3]
    assert ended.spent.steps == 3
    assert program.talks[0].prompt == "go"
    assert program.ended == 1


async def test_text_without_calls_is_joined_to_what_follows(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(turn("One."), turn("Two.", call("a")), returned("a"), turn("A."), turn("B."),
                finished("ignored")),
    )  # fmt: skip
    ended = await own.start()
    assert ended.outcome.text == "A.\n\nB."
    (first,) = [body for body in bodies(own, CallTools) if isinstance(body, CallTools)]
    assert first.new_message.text == "One.\n\nTwo."


async def test_what_a_program_says_only_at_its_end_is_the_result(tmp_path: Path) -> None:
    own = played(tmp_path, reports(finished("forty-two")))
    assert (await own.start()).outcome.text == "forty-two"


async def test_a_program_that_says_nothing_at_all_has_failed(tmp_path: Path) -> None:
    own = played(tmp_path, reports(turn(" \n"), finished("  ")))
    ended = await own.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "cursor gave no result"


async def test_a_program_that_stops_at_a_limit_of_its_own_says_so(tmp_path: Path) -> None:
    own = played(tmp_path, reports(finished("too many turns", limit=True)))
    ended = await own.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "cursor stopped at a limit of its own: too many turns"


async def test_turns_that_overlap_are_steps_of_their_own_with_their_own_results(
    tmp_path: Path,
) -> None:
    own = played(
        tmp_path,
        reports(
            turn(call("a", "Read")),
            turn("and", call("b", "Grep")),
            turn(call("c", "Write")),
            returned("c", "C"),
            returned("a", "A"),
            returned("b", "B"),
            finished(),
        ),
    )
    await own.start()
    assert own.heard.results() == [
        ("Read", "A", False),
        ("Grep", "B", False),
        ("Write", "C", False),
    ]
    state = await state_of(own)
    kinds = [type(message) for message in state.messages][2:]
    assert kinds == [ExpertMessage, ToolMessage] * 3 + [ExpertMessage]


async def test_results_that_are_never_told_are_said_to_be_unknown(tmp_path: Path) -> None:
    own = played(
        tmp_path, reports(turn(call("a")), turn(call("b")), returned("b", "B"), finished())
    )
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    untold = "The program did not tell what came of it."
    assert own.heard.results() == [("Bash", untold, True), ("Bash", "B", False)]


async def test_a_program_far_ahead_of_its_results_does_not_pile_up_turns(tmp_path: Path) -> None:
    turns = [turn(call(f"c{at}")) for at in range(90)]
    own = played(tmp_path, reports(*turns, finished()), max_steps=500)
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert len(own.heard.results()) == 90


async def test_results_of_calls_that_nobody_made_change_nothing(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(returned("x"), turn(call("a")), returned("y"), returned("a"), returned("a", "no"),
                finished()),
    )  # fmt: skip
    await own.start()
    assert own.heard.results() == [("Bash", "done", False)]


@pytest.mark.parametrize(
    "id_",
    ["", "x" * 1_000_000, "a\x1b[2Jb", "line\nbreak", "\ud800", "ключ"],
    ids=["empty", "long", "escape", "newline", "half", "letters"],
)
async def test_an_id_that_cannot_be_kept_is_replaced_and_still_leads_to_its_call(
    tmp_path: Path, id_: str
) -> None:
    own = played(tmp_path, reports(turn(call(id_)), returned(id_, "got it"), finished()))
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert own.heard.results() == [("Bash", "got it", False)]
    assert len(stored(tmp_path)) < 50_000
    assert "\x1b" not in stored(tmp_path)


async def test_the_same_id_twice_is_two_calls_in_one_turn_and_over_steps(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(
            turn(call("1", "Read"), call("1", "Grep")),
            returned("1", "R"),
            returned("1", "G"),
            turn(call("1", "Write")),
            returned("1", "W"),
            finished(),
        ),
    )
    await own.start()
    assert own.heard.results() == [
        ("Read", "R", False),
        ("Grep", "G", False),
        ("Write", "W", False),
    ]
    made = [
        one.tool_call_id
        for body in bodies(own, CallTools)
        if isinstance(body, CallTools)
        for one in body.new_message.tool_calls
    ]
    assert len(set(made)) == 3


async def test_wild_names_and_arguments_are_kept_as_far_as_they_can_be(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    wild = ToolCallPart.model_construct(
        type="toolCallPart",
        tool_call_id=ToolCallId("a"),
        tool_name="\x1b[31m" + "n" * 1_000_000,
        args={"n": float("nan"), "i": float("inf"), "half": "\udcff", "deep": deep, "big": 10**400},
        invalid_args=None,
    )
    own = played(tmp_path, reports(turn(wild), returned("a"), finished()))
    assert (await own.start()).outcome.ending == "completed"
    (step,) = [body for body in bodies(own, CallTools) if isinstance(body, CallTools)]
    (kept,) = step.new_message.tool_calls
    assert kept.tool_name.startswith("[31mnnn")
    assert len(kept.tool_name) <= 200
    assert kept.args["n"] is None
    assert kept.args["half"] == "?"
    assert (await state_of(own)).status == "completed"
    await own.go_on(Continuation(text="again"))


async def test_secrets_reach_neither_disk_nor_screen_whoever_says_them(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(
            Spoken("text", "my key is sk-ca"),
            Spoken("text", "nary ok"),
            Spoken("reasoning", "sk-canary"),
            turn(
                "it is sk-canary", call("a", cmd="echo sk-canary", env={"sk-canary": ["sk-canary"]})
            ),
            Returned(ToolCallId("a"), ToolOutcome((TextPart(text="sk-canary"),))),
            finished("sk-canary again"),
        ),
    )
    ended = await own.start()
    assert ended.outcome.text == "[redacted] again"
    assert "sk-canary" not in stored(tmp_path)
    shown = "".join(delta.text for delta in own.heard.deltas)
    assert "sk-canary" not in shown
    pieces = [d.text for d in own.heard.deltas if (d.kind, d.stream) == ("delta", "text")]
    assert "".join(pieces) == "my key is [redacted] ok"


async def test_a_failure_is_told_without_secrets(tmp_path: Path) -> None:
    async def script(talk: Talk, say: Say) -> None:
        await say(turn(call("a")))
        raise ProgramError("exit code 1: sk-canary was refused")

    own = played(tmp_path, PlayedProgram(script))
    ended = await own.start()
    assert ended.outcome.ending == "failed"
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "exit code 1: [redacted] was refused"
    (stop,) = bodies(own, StopRunByError)
    assert isinstance(stop, StopRunByError)


# ---------------------------------------------------------------- usage, cost


async def usage_and_cost(own: World) -> tuple[int, float, bool]:
    state = await state_of(own)
    return state.usage.total_tokens, round(state.cost.usd, 6), state.cost.partial


async def test_usage_comes_with_each_turn_and_the_end_adds_what_is_left(tmp_path: Path) -> None:
    all_used = Usage(input_tokens=1000, output_tokens=100, total_tokens=1100)
    own = played(
        tmp_path,
        reports(
            began(model="claude-sonnet-4-5"),
            turn("hm", usage=USED),
            turn(call("a"), usage=USED),
            returned("a"),
            turn("ok", usage=USED),
            finished(usage=all_used, cost_usd=0.5),
        ),
    )
    ended = await own.start()
    assert await usage_and_cost(own) == (1100, 0.5, False)
    assert (ended.spent.usage.total_tokens, round(ended.spent.cost.usd, 6)) == (1100, 0.5)
    (step,) = [body for body in bodies(own, CallTools) if isinstance(body, CallTools)]
    assert step.usage.total_tokens == 220
    assert step.cost_usd is not None


LONG = LongPromptPrice(above=150, input=1000.0, output=1000.0)
PRICED = ModelFacts(context_window=1000, price=ModelPrice(input=1.0, output=1.0, long_prompt=LONG))


async def test_answers_of_one_step_are_priced_each_by_its_own_length(tmp_path: Path) -> None:
    program = reports(
        began(model="long"),
        turn("hm", usage=USED),
        turn(call("a"), usage=USED),
        returned("a"),
        turn("ok", usage=USED),
        finished(),
    )
    own = played(tmp_path, program, models={"long": PRICED})
    await own.start()
    # Together they read more than 150 tokens, none of them does.
    assert await usage_and_cost(own) == (330, 0.00033, False)
    (step,) = [body for body in bodies(own, CallTools) if isinstance(body, CallTools)]
    assert step.context_window_usage == 0.11


async def test_what_a_sum_cost_is_not_known_where_its_parts_lengths_matter(tmp_path: Path) -> None:
    both = Usage(input_tokens=200, output_tokens=20, total_tokens=220)
    own = played(
        tmp_path,
        reports(began(model="long"), turn("ok"), finished(usage=both)),
        models={"long": PRICED},
    )
    await own.start()
    assert await usage_and_cost(own) == (220, 0.0, True)


async def test_an_end_that_used_nothing_more_leaves_nothing_open(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(
            began(model="long"),
            turn("look", call("a"), usage=USED),
            returned("a"),
            turn("ok"),
            finished(usage=USED, cost_usd=0.00011),
        ),
        models={"long": PRICED},
    )
    await own.start()
    state = await state_of(own)
    assert (state.usage, state.cost.usd, state.cost.partial) == (USED, 0.00011, False)


async def test_what_an_unknown_model_cost_is_at_least_nothing(tmp_path: Path) -> None:
    own = played(tmp_path, reports(began(model="nobody-knows"), turn("ok", usage=USED), finished()))
    await own.start()
    assert await usage_and_cost(own) == (110, 0.0, True)


async def test_a_program_that_tells_no_figures_used_more_than_nothing(tmp_path: Path) -> None:
    own = played(tmp_path, reports(turn(call("a")), returned("a"), finished()))
    ended = await own.start()
    assert (await state_of(own)).usage.partial
    assert ended.spent.cost.partial


async def test_a_price_without_figures_is_counted(tmp_path: Path) -> None:
    own = played(tmp_path, reports(finished(cost_usd=0.25)))
    ended = await own.start()
    assert ended.spent.cost.usd == 0.25


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), -1.0, 1e300])
async def test_a_price_that_cannot_be_is_not_believed(tmp_path: Path, usd: float) -> None:
    own = played(tmp_path, reports(turn("x", usage=USED), finished(cost_usd=usd)))
    ended = await own.start()
    assert (ended.spent.cost.usd, ended.spent.cost.partial) == (0.0, True)


async def test_figures_that_cannot_be_are_not_believed(tmp_path: Path) -> None:
    wild = Usage(input_tokens=-5, output_tokens=10**30, total_tokens=7)
    own = played(tmp_path, reports(turn("x", usage=wild), finished(usage=wild)))
    ended = await own.start()
    assert 0 <= ended.spent.usage.total_tokens <= 10**9


# ---------------------------------------------------------------- limits


async def endless(talk: Talk, say: Say) -> None:
    del talk
    at = 0
    while True:
        at += 1
        await say(turn(call(f"c{at}"), usage=USED))
        await say(returned(f"c{at}"))


async def test_the_job_takes_no_more_steps_than_it_may_and_goes_on_when_that_is_raised(
    tmp_path: Path,
) -> None:
    program = PlayedProgram(endless)
    own = played(tmp_path, program, max_steps=3)
    ended = await own.start()
    assert ended.outcome.ending == "limit"
    assert len(own.heard.types("callTools")) == 3
    assert program.ended == 1
    assert program.told < 30
    more = played(tmp_path, reports(finished("now done")), max_steps=10)
    assert (await more.go_on(Continuation())).outcome.text == "now done"


async def test_a_budget_of_tokens_ends_the_run_between_two_steps(tmp_path: Path) -> None:
    own = played(tmp_path, PlayedProgram(endless), budget=BudgetSettings(max_tokens=300))
    ended = await own.start()
    assert ended.outcome.ending == "limit"
    assert str(ended.outcome.overrun) == "the job's budget is used up: 330 tokens of 300 tokens"


async def test_a_budget_in_usd_needs_a_price(tmp_path: Path) -> None:
    own = played(tmp_path, PlayedProgram(endless), budget=BudgetSettings(max_cost_usd=1))
    own.model.price = ModelPrice(input=1, output=1)
    ended = await own.start()
    assert ended.outcome.error is not None
    assert "what the model's answer cost is not known" in ended.outcome.error.message


async def test_a_budget_cannot_be_kept_by_who_tells_nothing_of_what_it_uses(tmp_path: Path) -> None:
    own = played(
        tmp_path,
        reports(turn(call("a")), returned("a"), turn(call("b")), returned("b"), finished()),
        budget=BudgetSettings(max_tokens=300),
    )
    ended = await own.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message.startswith("cursor does not tell what it uses")


async def test_the_time_that_a_job_may_take_ends_the_program(tmp_path: Path) -> None:
    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(turn(call("a")))
        await anyio.sleep_forever()

    program = PlayedProgram(script)
    own = played(tmp_path, program, budget=BudgetSettings(max_duration=100))
    ended = await own.start()
    assert ended.outcome.ending == "limit"
    assert program.ended == 1
    assert own.heard.results()[0][1].startswith("In doubt")


async def test_a_program_that_is_silent_for_too_long_is_given_up(tmp_path: Path) -> None:
    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(began())
        await anyio.sleep_forever()

    program = PlayedProgram(script)
    own = played(tmp_path, program, timeout_ms=50)
    ended = await own.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "cursor said nothing for 0.05 s"
    assert program.ended == 1


async def test_a_tool_may_be_silent_for_longer_than_the_model(tmp_path: Path) -> None:
    async def script(talk: Talk, say: Say) -> None:
        del talk
        await say(turn(call("a")))
        await anyio.sleep(0.2)
        await say(returned("a"))
        await say(finished())

    own = played(tmp_path, PlayedProgram(script), timeout_ms=50)
    assert (await own.start()).outcome.ending == "completed"


async def test_a_program_that_does_not_begin_is_given_up(tmp_path: Path) -> None:
    class Slow(PlayedProgram):
        @asynccontextmanager
        async def talk(self, talk: Talk) -> AsyncGenerator[Hearing]:
            await anyio.sleep_forever()
            async with super().talk(talk) as hearing:
                yield hearing

    own = played(tmp_path, Slow(endless), timeout_ms=50)
    ended = await own.start()
    assert ended.outcome.error is not None
    assert ended.outcome.error.message == "cursor did not begin in 0.05 s"


async def test_endless_talk_and_endless_sessions_end_the_run(tmp_path: Path) -> None:
    async def talks(talk: Talk, say: Say) -> None:
        del talk
        while True:
            await say(Spoken("text", "la " * 100_000))

    async def begins(talk: Talk, say: Say) -> None:
        del talk
        for at in range(10_000):
            await say(began(f"s-{at}"))

    texts: Sequence[str] = ("talks without end", "one session after the other")
    for script, text in zip((talks, begins), texts, strict=True):
        own = played(tmp_path, PlayedProgram(script))
        ended = await own.start()
        assert ended.outcome.error is not None
        assert text in ended.outcome.error.message
    assert json.loads(stored(tmp_path).splitlines()[0])["seq"] == 0


@pytest.mark.parametrize("session", ["--dangerous", "", "two words", "x" * 300, "\x1b]0;x\x07"])
async def test_a_session_that_cannot_be_named_again_is_none(tmp_path: Path, session: str) -> None:
    own = played(tmp_path, reports(began(session), finished()))
    await own.start()
    assert (await state_of(own)).session is None
