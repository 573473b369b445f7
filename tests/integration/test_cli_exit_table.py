"""The table of exit codes in docs/continuing.md, over the real program: each code of each command.

What `run` and the cockpit end with takes more than one command to bring about; those codes have
tests of their own, named in `ELSEWHERE`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pexpect
import pytest

from tests.fakes.cli import PROGRAM, SCRIPTED, Program
from tests.integration.test_cli_exit_codes import SCENARIO, TEAM

ROOT: Final = Path(__file__).parents[2]
CODES: Final = "tests/integration/test_cli_exit_codes.py::"
BY_SIGNAL: Final[dict[int, str]] = dict.fromkeys(
    (129, 130, 143),
    "tests/fault/test_cli_signals.py::test_a_signal_while_the_vendor_makes_it_wait_ends_the_wait",
)
SCREEN: Final = "tests/integration/test_cockpit_terminal.py::"
BY_SIGNAL_ON_SCREEN: Final[dict[int, str]] = dict.fromkeys(
    (129, 130, 143), f"{SCREEN}test_signal_restores_the_terminal_and_gives_its_code"
)
AGENTS: Final = "tests/integration/test_agent_command.py::"
AGENT_BY_SIGNAL: Final[dict[int, str]] = dict.fromkeys(
    (129, 130, 143), f"{AGENTS}test_a_signal_stops_at_a_checkpoint_and_what_it_says_goes_on"
)
AGENT_ORDERED: Final[dict[int, str]] = {
    0: f"{AGENTS}test_other_processes_look_at_pause_resume_and_steer_an_agent_at_work"
}
AGENT_LIMITED: Final[dict[int, str]] = {6: f"{AGENTS}test_a_limit_ends_with_6_and_what_to_type"}
ELSEWHERE: Final[Mapping[str, Mapping[int, str]]] = {
    "perstack run": {
        0: f"{CODES}test_a_completed_job_ends_with_0",
        1: f"{CODES}test_what_cannot_be_done_as_asked_ends_with_1_and_leaves_nothing",
        3: f"{CODES}test_not_waiting_at_a_gate_ends_with_3_until_it_is_decided",
        4: f"{CODES}test_what_is_not_there_ends_with_4",
        5: f"{CODES}test_a_full_disk_ends_with_5_and_the_job_goes_on_when_there_is_room",
        6: f"{CODES}test_the_step_limit_ends_with_6_and_more_steps_may_be_given",
        **BY_SIGNAL,
    },
    # One piece of code drives a job for these and for `run`.
    "perstack start --plain": BY_SIGNAL,
    "perstack demo": {
        5: f"{CODES}test_a_full_disk_ends_with_5_and_the_job_goes_on_when_there_is_room",
        **BY_SIGNAL,
    },
    "perstack start": {
        0: "tests/integration/test_cli_exit_table.py::test_leaving_the_screen_ends_with_0",
        **BY_SIGNAL_ON_SCREEN,
    },
    "perstack consensus answer": {
        0: "tests/integration/test_cli_requests.py::"
        "test_another_process_answers_and_the_call_goes_on"
    },
    "perstack agent spawn": {
        6: f"{AGENTS}test_names_are_unique_types_known_and_the_number_bounded"
    },
    # One piece of code drives an agent for both.
    "perstack agent run": {**AGENT_BY_SIGNAL, **AGENT_LIMITED},
    "perstack agent exec": {**AGENT_BY_SIGNAL, **AGENT_LIMITED},
    "perstack agent pause": AGENT_ORDERED,
    "perstack agent resume": AGENT_ORDERED,
    "perstack agent steer": AGENT_ORDERED,
}
# What is typed where a job is done, one is damaged, one waits at GATE, and `bad` is no history.
CASES: Final = [
    (0, "start solo hi --plain"),
    (0, "start solo hi"),  # there is no terminal
    (1, "start nobody hi --plain"),
    (4, "start solo hi --plain --continue-job nowhere"),
    (5, "start solo hi --plain --continue-job damaged"),
    (6, "start solo loop --plain --max-steps 1"),
    (1, ""),
    (0, "demo --plain --pace 0"),
    (1, "demo --plain --pace -1"),
    (1, "demo --plain --pace 0 --keep bad"),
    (1, "demo --plain --pace 0 --keep perstack.toml"),
    (0, "log"),
    (0, "log --job nowhere"),
    (1, "log --step x"),
    (5, "log --job damaged"),
    (0, "jobs"),
    (1, "jobs --workspace nowhere"),
    (5, "jobs --workspace bad"),
    (0, "export done"),
    (1, "export done --format none"),
    (4, "export nowhere"),
    (5, "export damaged"),
    (0, "consensus list"),
    (1, "consensus list --workspace nowhere"),
    (5, "consensus list --workspace bad"),
    (0, "consensus show GATE"),
    (1, "consensus show"),
    (4, "consensus show nowhere"),
    (5, "consensus show GATE --workspace bad"),
    (1, "consensus approve"),
    (4, "consensus approve nowhere"),
    (5, "consensus approve GATE --workspace bad"),
    (0, "consensus approve GATE"),
    (1, "consensus reject"),
    (4, "consensus reject GATE"),  # it has just been approved
    (5, "consensus reject GATE --workspace bad"),
    (0, "consensus reject OTHER"),
    (1, "consensus answer"),
    (4, "consensus answer nowhere {}"),
    (5, "consensus answer GATE {} --workspace bad"),
    (0, "agent run -t solo -n bob -p hi"),
    (1, "agent run -t nobody -p hi"),
    (4, "agent run -t solo -n bob -p hi"),
    (5, "agent run -t solo -p hi --workspace bad --trust"),
    (0, "agent exec -n bob -p hi"),
    (1, "agent exec -n bob"),
    (4, "agent exec -n nobody -p hi"),
    (5, "agent exec -n bob -p hi --workspace bad --trust"),
    (0, "agent spawn -t solo -n eve"),
    (1, "agent spawn -t nobody"),
    (4, "agent spawn -t solo -n eve"),
    (5, "agent spawn -t solo --workspace bad --trust"),
    (0, "agent list"),
    (1, "agent list --workspace nowhere"),
    (5, "agent list --workspace bad"),
    (0, "agent types"),
    (1, "agent types --config nowhere.toml"),
    (5, "agent types --workspace bad"),
    (0, "agent status -n eve"),
    (1, "agent status"),
    (4, "agent status -n nobody"),
    (5, "agent status -n eve --workspace bad"),
    (1, "agent pause"),
    (4, "agent pause -n eve"),
    (5, "agent pause -n eve --workspace bad"),
    (1, "agent resume"),
    (4, "agent resume -n eve"),
    (5, "agent resume -n eve --workspace bad"),
    (1, "agent steer hi"),
    (4, "agent steer hi -n eve"),
    (5, "agent steer hi -n eve --workspace bad"),
    (0, "agent stop -n eve"),
    (1, "agent stop"),
    (4, "agent stop -n eve"),
    (5, "agent stop -n eve --workspace bad"),
    (0, "config check"),
    (1, "config check --config nowhere.toml"),
    (0, "config schema"),
    (0, "install"),
    (1, "install --config nowhere.toml"),
    (5, "install --config bad/perstack.toml"),
    (0, "--help"),
    (0, "--version"),
]


@dataclass
class Prepared:
    """A program, the folder it works in, and two decisions that its jobs wait for."""

    program: Program
    gates: tuple[str, str]

    def words(self, typed: str) -> list[str]:
        """What is typed, the decisions named."""
        first, second = self.gates
        return [{"GATE": first, "OTHER": second}.get(word, word) for word in typed.split()]


async def prepare(workspace: Path) -> Prepared:
    """Run the jobs that the cases speak of, and do some damage."""
    program = Program.make(workspace, SCRIPTED + TEAM, scenario=SCENARIO)
    for job in ("done", "damaged"):
        assert (await program.run("run", "solo", "hi", "--job-id", job)).code == 0
    (workspace / "perstack/jobs/damaged/job.json").write_text("{}")
    rans = [await program.run("run", "lead", "ship", "--no-wait") for _ in range(2)]
    first, second = (ran.one("requestApproval")["consensusId"] for ran in rans)
    bad = workspace / "bad"
    (bad / "perstack.lock").mkdir(parents=True)
    (bad / "plugins").mkdir()
    (bad / "perstack.toml").write_text(SCRIPTED + TEAM)
    (bad / "scenario.toml").write_text(SCENARIO)
    (bad / "perstack").mkdir()
    (bad / "perstack" / "jobs").write_text("a file in the way")
    (bad / "perstack" / "perstack.db").write_text("no database at all" * 100)
    return Prepared(program, (first, second))


@pytest.mark.anyio
@pytest.mark.timeout(300)
@pytest.mark.long
async def test_each_command_ends_with_the_codes_of_the_table(tmp_path: Path) -> None:
    prepared = await prepare(tmp_path)
    wrong: list[tuple[int, int, str, str]] = []
    for code, typed in CASES:
        ran = await prepared.program.run(*prepared.words(typed))
        assert "Traceback" not in ran.stderr, typed
        if ran.code != code or (code in (1, 4, 5)) != ("Error: " in ran.stderr):
            wrong.append((code, ran.code, typed, ran.stderr))
    assert wrong == []


@pytest.mark.parametrize("command", [(), ("start",)], ids=["perstack", "start"])
def test_leaving_the_screen_ends_with_0(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = Program.make(tmp_path, SCRIPTED + TEAM, scenario=SCENARIO)
    child: pexpect.spawn[bytes] = pexpect.spawn(
        PROGRAM[0],
        [*PROGRAM[1:], *command],
        cwd=str(tmp_path),
        env={**program.env, "TERM": "xterm-256color"},
        dimensions=(40, 120),
        timeout=30,
    )
    try:
        child.expect(rb"4 Experts")
        for key in (b"\x1b", b"q") * 5:
            child.send(key)
            if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1) == 0:
                break
    finally:
        child.close(force=True)
    assert child.exitstatus == 0


def test_the_table_says_what_the_cases_show() -> None:
    shown: dict[str, set[int]] = {command: set(codes) for command, codes in ELSEWHERE.items()}
    for code, typed in CASES:
        shown.setdefault(command_of(typed), set()).add(code)
    assert documented() == shown


@pytest.mark.parametrize(
    "test", sorted({test for codes in ELSEWHERE.values() for test in codes.values()})
)
def test_the_tests_named_for_codes_exist(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def command_of(typed: str) -> str:
    """The row of the table that what was typed belongs to."""
    words = typed.split()
    if not words:
        return "perstack start"  # `perstack` alone
    if words[0] == "start":
        return "perstack start --plain"
    if words[0].startswith("-"):
        return "--help"
    nouns = {"agent", "consensus", "config"}
    return " ".join(["perstack", *words[: 2 if words[0] in nouns else 1]])


def documented() -> dict[str, set[int]]:
    """The codes that the table gives each command."""
    page = (ROOT / "docs" / "continuing.md").read_text()
    _, _, table = page.partition("| command | ends with |\n|---|---|\n")
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| (.*) \|$", table.partition("\n\n")[0], re.MULTILINE)
    return {command: {int(code) for code in re.findall(r"\d+", said)} for command, said in rows}
