"""A program that lies, floods, hangs or dies: a clear error within bounds, and nothing is left.

The program is a process that plays a script (`tests.fakes.programs.stand_in`); no model is asked.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.ids import JobId, RunId
from perstack.engine.plan import JobOutcome
from perstack.errors import ProgramError
from perstack.ports.programs import Finished, Talk
from perstack.projection.plain import PlainLines
from tests.fakes.consensus import until
from tests.fakes.engine import World
from tests.fakes.programs import Act, StandInProgram, played, stand_in

pytestmark = pytest.mark.anyio

DONE: tuple[Act, JsonValue] = ("emit", {"done": "the result"})


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fail if any process of the stand-in, or that it started, outlives the test."""
    yield
    mark = str(tmp_path)
    left: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and mark in process.environ().get(
                "MARK", ""
            ):
                left.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    assert left == []


def world(tmp_path: Path, *acts: tuple[Act, JsonValue], timeout_ms: int = 20_000) -> World:
    program = stand_in(tmp_path / "bin", *acts)
    return of(tmp_path, str(program), timeout_ms=timeout_ms)


def of(tmp_path: Path, *argv: str, timeout_ms: int = 20_000) -> World:
    workspace = tmp_path / "work"
    workspace.mkdir()
    return played(
        workspace, StandInProgram(argv), timeout_ms=timeout_ms, env={"MARK": str(tmp_path)}
    )


def why(ended: JobOutcome) -> str:
    assert ended.outcome.ending == "failed"
    assert ended.outcome.error is not None
    return ended.outcome.error.message


async def test_a_program_that_does_its_work_is_heard_and_gone(tmp_path: Path) -> None:
    own = world(
        tmp_path,
        ("read", None),
        ("emit", {"session": "s"}),
        ("emit", {"call": "a"}),
        ("emit", {"result": "a"}),
        DONE,
    )
    ended = await own.start()
    assert ended.outcome.text == "the result"
    assert own.heard.results() == [("Act", "done", False)]


async def test_lines_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    own = world(
        tmp_path,
        ("raw", 'npm notice: a new version\n\n[1, 2]\n"text"\n{"half": \n'),
        ("base64", base64.b64encode(bytes(range(256)) * 40 + b"\n").decode()),
        ("raw", "{" + '"a":[' * 5000 + "\n"),
        ("emit", {"call": "a"}),
        ("raw", '{"result": "a", "result": "a"}\n'),
        ("raw", '{"x": NaN, "y": -Infinity, "z": 1e999, "n": ' + "9" * 3000 + "}\n"),
        ("raw", '{"n": ' + "9" * 9000 + "}\n"),
        ("raw", '{"text": "\\ud800 half"}\n'),
        DONE,
    )
    ended = await own.start()
    assert ended.outcome.text == "? half"
    assert own.heard.results() == [("Act", "done", False)]


@pytest.mark.parametrize(
    "value",
    ["NaN", "[Infinity, -Infinity, 1e999]", "9" * 4000, "[" * 900 + "]" * 900, '{"\\udfff": 1}'],
    ids=["nan", "infinity", "huge", "deep", "half"],
)
async def test_arguments_that_nobody_can_store_do_not_harm_the_run(
    tmp_path: Path, value: str
) -> None:
    own = world(tmp_path, ("raw", f'{{"call": {value}}}\n'), DONE)
    assert (await own.start()).outcome.ending == "completed"


async def test_a_record_of_no_known_shape_is_an_error_of_the_program(tmp_path: Path) -> None:
    own = world(tmp_path, ("emit", {"bad": 1}), ("hang", None))
    assert why(await own.start()) == "cursor says what this version does not understand"


async def test_nothing_but_garbage_ends_the_run(tmp_path: Path) -> None:
    own = world(tmp_path, ("raw", "what is this?\n" * 5000), ("hang", None))
    assert why(await own.start()) == "cursor says what nobody understands: what is this?"


async def test_a_line_without_an_end_is_not_kept(tmp_path: Path) -> None:
    own = world(tmp_path, ("fill", [100_000_000, "stdout"]), ("raw", "\n"), DONE)
    before = psutil.Process().memory_info().rss
    ended = await own.start()
    assert ended.outcome.ending == "completed"
    assert psutil.Process().memory_info().rss - before < 60_000_000


async def test_a_flood_of_steps_is_held_back_and_a_stop_ends_it_at_once(tmp_path: Path) -> None:
    own = world(tmp_path, ("flood", [{"call": "c#", "result": "c#"}, 0]), timeout_ms=20_000)
    own.max_steps = 1_000_000
    before = psutil.Process().memory_info().rss
    beats = 0

    def stop(event: Event) -> None:
        if event.step_number == 300 and event.body.type == "callTools":
            own.control.stop("user")

    async def beat() -> None:
        nonlocal beats
        while True:
            await anyio.sleep(0.01)
            beats += 1

    own.heard.on = stop
    endings: list[JobOutcome] = []
    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        endings.append(await own.start())
        group.cancel_scope.cancel()
    (ended,) = endings
    assert ended.outcome.ending == "stopped"
    assert 300 <= ended.spent.steps <= 302
    assert psutil.Process().memory_info().rss - before < 40_000_000
    assert beats > 5


async def test_a_flood_that_tells_nothing_is_silence(tmp_path: Path) -> None:
    own = world(tmp_path, ("flood", [{"ping": 1}, 0]), timeout_ms=1_000)
    assert why(await own.start()) == "cursor said nothing for 1 s"


async def test_an_end_without_a_result_is_a_failure(tmp_path: Path) -> None:
    own = world(tmp_path, ("emit", {"session": "s"}), ("exit", 0))
    assert why(await own.start()) == "it ended without a result"


async def test_of_a_long_complaint_the_last_lines_are_told(tmp_path: Path) -> None:
    own = world(
        tmp_path,
        ("stderr", "noise " * 100_000 + "\n"),
        ("fill", [10_000_000, "stderr"]),
        ("stderr", "\nnot signed in\n"),
        ("exit", 1),
    )
    said = why(await own.start())
    assert said.startswith("cursor CLI failed with exit code 1: ")
    assert said.endswith("\nnot signed in")
    assert len(said) < 5_000


async def test_no_part_of_a_secret_is_told_where_a_complaint_is_cut(tmp_path: Path) -> None:
    own = world(
        tmp_path,
        ("stderr", "x " * 495 + "key=sk-canary-that-goes-on and more\n"),
        ("stderr", "\x1b]0;owned\x07 sk-canary\n"),
        ("exit", 1),
    )
    said = why(await own.start())
    assert "sk-" not in said
    assert "[redacted]" in said


async def test_a_program_that_a_signal_ends_is_named_with_it(tmp_path: Path) -> None:
    own = world(tmp_path, ("emit", {"call": "a"}), ("kill", signal.SIGSEGV))
    assert why(await own.start()) == "cursor was ended by signal SIGSEGV"


async def test_a_program_that_closes_its_output_and_lives_on_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.runtimes.running._ENDS_WITHIN_S", 0.2)
    own = world(tmp_path, ("emit", {"session": "s"}), ("close", None), ("hang", None))
    assert why(await own.start()) == "cursor closed its output and did not end"


async def test_a_program_that_never_reads_its_prompt_is_heard_all_the_same(tmp_path: Path) -> None:
    program = StandInProgram((str(stand_in(tmp_path / "bin", DONE, ("hang", None))),))
    talk = a_talk(of(tmp_path, "unused"), tmp_path, prompt="x" * 1_000_000)
    with anyio.fail_after(20):
        async with program.talk(talk) as hearing:
            assert await hearing.next() == Finished("the result")


async def test_a_program_that_hangs_at_its_start_is_given_up(tmp_path: Path) -> None:
    own = world(tmp_path, ("hang", None), timeout_ms=300)
    assert why(await own.start()) == "cursor said nothing for 0.3 s"


async def test_what_does_not_want_to_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    own = world(tmp_path, ("deaf", None), ("children", 3), ("emit", {"call": "a"}), ("hang", None))
    stopped = anyio.Event()

    def note(event: Event) -> None:
        if event.body.type == "callTools":
            stopped.set()

    own.heard.on = note
    endings: list[JobOutcome] = []

    async def run() -> None:
        endings.append(await own.start())

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await stopped.wait()
        own.control.stop("user")
        own.control.stop("user")
    assert endings[0].outcome.ending == "stopped"
    assert own.heard.results()[0][1].startswith("In doubt")


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for name, text in (("gone", "No such file or directory"), ("plain", "Permission denied")):
        (tmp_path / name[0]).mkdir()
        own = of(tmp_path / name[0], str(tmp_path / name))
        assert why(await own.start()) == f"cursor could not be started: {text}"
    own = of(tmp_path, str(tmp_path))
    assert why(await own.start()) == "cursor could not be started: Permission denied"


async def test_a_workspace_that_is_gone_is_named(tmp_path: Path) -> None:
    program = StandInProgram((str(stand_in(tmp_path / "bin", DONE)),))
    talk = a_talk(of(tmp_path, "unused"), tmp_path / "gone")
    with pytest.raises(ProgramError, match="cannot work in"):
        async with program.talk(talk):
            pass


def a_talk(own: World, workspace: Path, *, prompt: str = "go") -> Talk:
    return Talk(
        job_id=JobId("j"),
        run_id=RunId("r"),
        expert=own.experts[0],
        experts={},
        prompt=prompt,
        workspace=workspace,
        settings=own.plan.settings,
        env=own.env,
    )


async def test_one_program_that_fails_leaves_other_runs_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    flag = tmp_path / "failed"
    bad = world(tmp_path / "one", ("raw", "garbage\n" * 3000), ("hang", None))
    good = world(tmp_path / "two", ("wait", str(flag)), DONE)
    endings: dict[str, JobOutcome] = {}

    async def run(name: str, own: World) -> None:
        endings[name] = await own.start()

    async with anyio.create_task_group() as group:
        group.start_soon(run, "bad", bad)
        group.start_soon(run, "good", good)
        await until(lambda: "bad" in endings)
        flag.touch()
    assert why(endings["bad"]).startswith("cursor says")
    assert endings["good"].outcome.text == "the result"


async def test_what_a_program_says_moves_no_cursor(tmp_path: Path) -> None:
    wild = "\x1b]0;owned\x07\x1b[2J\u202e"
    own = world(
        tmp_path,
        ("emit", {"session": f"s{wild}"}),
        ("emit", {"text": wild}),
        ("emit", {"call": f"a{wild}"}),
        ("emit", {"result": f"a{wild}"}),
        ("stderr", f"{wild} went wrong\n"),
        ("exit", 3),
    )
    ended = await own.start()
    lines = PlainLines()
    shown = "\n".join(line for event in own.heard.events for line in lines.event(event))
    assert "went wrong" in why(ended)
    assert "went wrong" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
