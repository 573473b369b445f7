"""Servers that crash, hang, lie and refuse to die (M1 to M4, M8)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from perstack.domain.expert import McpStdioSkill
from perstack.errors import SkillError
from perstack.ports.skills import RunContext
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.opener import Skills
from tests.unit.skills.support import (
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    none_survive,
    processes_of,
    text,
    until,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
IMPATIENT = Skills(ServerLimits(start_s=1.0, leave_s=0.2, grace_s=0.1))
PATIENT = Skills(ServerLimits(leave_s=0.2, grace_s=0.1))
AGAIN = "(The server of skill fake had ended and was started again.)"
UNKNOWN = "Whether it did what was asked is unknown."


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash_start", "cannot find the flux capacitor"),
        ("crash_init", "lost the flux capacitor"),
        ("crash_list", "lost the list"),
    ],
)
async def test_a_server_that_dies_while_it_starts_is_named_with_its_last_words(
    context: RunContext, notices: Notices, fault: str, words: str
) -> None:
    with pytest.raises(SkillError) as caught:
        async with SKILLS.open(expert_with(fake=fake_skill(fault)), context, notices):
            pytest.fail("it opened")
    assert caught.value.message == (
        "Skill fake could not be started: its command ended with exit code 3\n"
        f"Its last error output:\n{words}"
    )
    assert caught.value.hint is not None
    assert notices.of("fake") == ["skillStarting"]
    await none_survive(context.run_id)


async def test_a_command_that_does_not_exist_is_named(context: RunContext) -> None:
    skill = McpStdioSkill(command="no-such-command", package_name="x")
    with pytest.raises(SkillError, match=r"could not be started: No such file or directory$"):
        async with SKILLS.open(expert_with(fake=skill), context, Notices()):
            pytest.fail("it opened")


@pytest.mark.parametrize("fault", ["hang_init", "hang_list"])
async def test_a_server_that_never_gets_ready_is_ended(context: RunContext, fault: str) -> None:
    skill = fake_skill(fault, "ignore_sigterm", "ignore_eof", "orphan")
    with pytest.raises(SkillError, match="it was not ready within 1 s"):
        async with IMPATIENT.open(expert_with(fake=skill), context, Notices()):
            pytest.fail("it opened")
    await none_survive(context.run_id)


async def test_one_server_that_fails_ends_the_others(context: RunContext, notices: Notices) -> None:
    expert = expert_with(good=fake_skill("orphan"), bad=fake_skill("crash_init"))
    with pytest.raises(SkillError, match="Skill bad could not be started"):
        async with SKILLS.open(expert, context, notices):
            pytest.fail("it opened")
    await none_survive(context.run_id)


@pytest.mark.parametrize("fault", ["crash_call", "crash_mid_reply"])
async def test_a_server_that_dies_in_a_call_is_started_again_at_the_next(
    context: RunContext, notices: Notices, tmp_path: Path, fault: str
) -> None:
    skill = fake_skill(fault, options=("--marker", str(tmp_path / "marker")))
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        died = await skills.call("echo", {"text": "one"})
        lived = await skills.call("echo", {"text": "two"})
        went_on = await skills.call("echo", {"text": "three"})
    assert died.is_error
    assert UNKNOWN in text(died)
    assert (lived.is_error, text(lived)) == (False, f"two\n{AGAIN}")
    assert text(went_on) == "three"
    life = ["skillStarting", "skillConnected", "skillDisconnected"]
    assert notices.of("fake") == life * 2


async def test_a_server_that_dies_after_its_reply_is_started_again_at_the_next_call(
    context: RunContext, notices: Notices, tmp_path: Path
) -> None:
    skill = fake_skill("crash_after_reply", options=("--marker", str(tmp_path / "marker")))
    async with SKILLS.open(expert_with(fake=skill), context, notices) as skills:
        assert text(await skills.call("echo", {"text": "one"})) == "one"
        await until(lambda: notices.of("fake")[-1] == "skillDisconnected")
        assert text(await skills.call("echo", {"text": "two"})) == f"two\n{AGAIN}"


async def test_a_server_that_keeps_dying_is_gone_after_three_restarts(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("crash_call")), context, notices) as skills:
        told = [await skills.call("echo", {"text": "x"}) for _ in range(6)]
        assert not (await skills.call("attemptCompletion", {})).is_error
    assert all(outcome.is_error for outcome in told)
    assert [UNKNOWN in text(outcome) for outcome in told] == [True] * 4 + [False] * 2
    assert "is gone: it ended 4 times" in text(told[-1])
    assert notices.of("fake").count("skillStarting") == 4


async def test_a_tool_that_came_back_as_another_is_not_called(
    context: RunContext, tmp_path: Path
) -> None:
    skill = fake_skill("crash_call", "rug_pull", options=("--marker", str(tmp_path / "marker")))
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        assert (await skills.call("echo", {"text": "x"})).is_error
        changed = await skills.call("echo", {"text": "x"})
        same = await skills.call("record", {"text": "x"})
    assert changed.is_error
    assert "now defines this tool differently" in text(changed)
    assert not same.is_error


async def test_a_server_that_hangs_is_stopped_and_its_answer_not_waited_for(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("hang_call")), context, notices) as skills:
        outcome = await skills.call("echo", {"text": "x"})
        await until(lambda: notices.of("fake")[-1] == "skillDisconnected")
        await none_survive(context.run_id)
    assert outcome.is_error
    assert "no answer within 0.4 s" in text(outcome)
    assert "was stopped" in text(outcome)


async def test_a_server_that_is_only_slow_goes_on(context: RunContext, notices: Notices) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill("slow")), context, notices) as skills:
        outcome = await skills.call("echo", {"text": "x"})
        assert notices.of("fake") == ["skillStarting", "skillConnected"]
    assert outcome.is_error
    assert "no answer within 0.4 s" in text(outcome)


@pytest.mark.parametrize(
    "fault",
    ["invalid_json", "wrong_id", "null_id", "multiline_json", "no_jsonrpc", "result_and_error"],
)
async def test_an_answer_that_breaks_the_protocol_is_an_error_in_time(
    context: RunContext, fault: str
) -> None:
    async with SKILLS.open(expert_with(fake=fake_skill(fault)), context, Notices()) as skills:
        with anyio.fail_after(10):
            outcome = await skills.call("echo", {"text": "x"})
        assert not (await skills.call("attemptCompletion", {})).is_error
    assert outcome.is_error
    assert text(outcome).startswith("Error calling tool echo: ")


async def test_bytes_that_are_no_text_are_replaced(context: RunContext) -> None:
    skill = fake_skill("invalid_utf8")
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        assert text(await skills.call("echo", {"text": "x"})) == "a\ufffdb"


@pytest.mark.parametrize(
    "faults", [("orphan",), ("ignore_eof",), ("orphan", "ignore_eof", "ignore_sigterm")]
)
async def test_nothing_survives_a_run(context: RunContext, faults: tuple[str, ...]) -> None:
    skill = fake_skill(*faults)
    async with SKILLS.open(expert_with(fake=skill), context, Notices()) as skills:
        await skills.call("spawn", {})
        assert len(processes_of(context.run_id)) >= 3
    await none_survive(context.run_id)


async def test_nothing_survives_a_cancelled_run(context: RunContext) -> None:
    expert = expert_with(fake=fake_skill("hang_call", "orphan", "ignore_sigterm", "ignore_eof"))
    opened = anyio.Event()

    async def run() -> None:
        async with PATIENT.open(expert, context, Notices()) as skills:
            opened.set()
            await skills.call("echo", {"text": "x"})
            pytest.fail("it answered")

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await opened.wait()
        assert processes_of(context.run_id)
        group.cancel_scope.cancel()
    await none_survive(context.run_id)


async def test_nothing_survives_a_run_cancelled_while_servers_start(context: RunContext) -> None:
    expert = expert_with(fake=fake_skill("hang_init", "orphan", "ignore_sigterm", "ignore_eof"))

    async def run() -> None:
        async with PATIENT.open(expert, context, Notices()):
            pytest.fail("it opened")

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: len(processes_of(context.run_id)) >= 3)
        group.cancel_scope.cancel()
    await none_survive(context.run_id)


PROGRAM = """
import sys, anyio
from pathlib import Path
from perstack.skills.opener import Skills
from tests.unit.skills.support import Notices, context_for, expert_with, fake_skill

async def main() -> None:
    skill = fake_skill("orphan", "ignore_sigterm", "ignore_eof")
    context = context_for(Path(sys.argv[1]))
    async with Skills().open(expert_with(fake=skill), context, Notices()) as skills:
        await skills.call("spawn", {})
        async with anyio.create_task_group() as group:
            group.start_soon(skills.call, "exec", {"command": "sleep", "args": ["600"]})
            print(context.run_id, flush=True)

anyio.run(main)
"""


async def test_nothing_survives_our_own_sudden_death(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    root = Path(__file__).parents[2]
    env = dict(os.environ) | {"PYTHONPATH": str(root)}
    process = await anyio.open_process(command, env=env, cwd=root, stderr=None)
    async with process:
        assert process.stdout is not None
        run_id = (await process.stdout.receive()).decode().strip()
        await until(lambda: len(processes_of(run_id)) >= 6)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    await until(lambda: processes_of(run_id) == [])


async def test_a_stopped_supervisor_saves_nobody(context: RunContext, tmp_path: Path) -> None:
    async with SKILLS.open(
        expert_with(fake=fake_skill("orphan", "ignore_eof", "ignore_sigterm")), context, Notices()
    ):
        for child in psutil.Process().children():
            if any("supervisor.py" in word for word in child.cmdline()):
                child.suspend()
    await none_survive(context.run_id)
