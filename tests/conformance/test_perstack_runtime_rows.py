"""Rows 82 to 90, 126 and 135 to 141: `perstack-runtime`, the program inside containers.

The console script itself, as it is installed beside the interpreter. Rows 30 and 31 stand here as
well: an Expert of a registry that is not to be had, asked for by both programs.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import pytest

from tests.fakes.cli import ANTHROPIC_KEY, Program, Ran, by_expert, calls, finishes, is_subsequence
from tests.fakes.model_server import Seen, model_server
from tests.fakes.model_wire import Call, Reply

RUNTIME: Final = str(Path(sys.executable).parent / "perstack-runtime")
PERSTACK: Final = str(Path(sys.executable).parent / "perstack")
TOML: Final = """
[experts."e2e-global-runtime"]
instruction = "You are e2e-global-runtime."

[experts."e2e-continue"]
instruction = "You are e2e-continue."
[experts."e2e-continue".skills."user"]
type = "interactiveSkill"
[experts."e2e-continue".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object", "properties": {"question": {"type": "string"}}}'
"""
SAID: Final = {
    "e2e-global-runtime": finishes("Hello there."),
    "e2e-continue": [calls(Call("askUser", {"question": "Your name?"}))],
}
HELLO: Final = ("run", "e2e-global-runtime", "Say hello")
FILE_KEY: Final = "sk-ant-of-the-env-file"


class Heard(NamedTuple):
    """A run that completed, and what the vendor saw of it."""

    ran: Ran
    requests: list[Seen]
    workspace: Path


def heard(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Heard:
    """Run `perstack-runtime` against the stand-in vendor."""

    async def run() -> Heard:
        async with model_server(decide=by_expert(SAID)) as server:
            program = Program.make(folder, TOML, base_url=server.url)
            return Heard(await program.run_words(RUNTIME, *words, env=env), server.requests, folder)

    return anyio.run(run)


def said(folder: Path, *words: str, toml: str | None = TOML) -> Ran:
    """Run a command that must not reach a vendor."""

    async def run() -> Ran:
        program = Program.make(folder, toml or "")
        if toml is None:
            (folder / "perstack.toml").unlink()
        return await program.run_words(*words)

    ran = anyio.run(run)
    assert "Traceback" not in ran.stderr
    return ran


# ---------------------------------------------------------------- an Expert that is not to be had


@pytest.mark.parametrize("program", [PERSTACK, RUNTIME], ids=["perstack", "perstack-runtime"])
def test_row_30_an_expert_of_nobody_is_not_found(tmp_path: Path, program: str) -> None:
    ran = said(tmp_path, program, "run", "@nonexistent-user/nonexistent-expert", "hi")
    assert (ran.code, ran.stdout) == (1, "")
    assert "'@nonexistent-user/nonexistent-expert' not found" in ran.stderr


@pytest.mark.parametrize("program", [PERSTACK, RUNTIME], ids=["perstack", "perstack-runtime"])
def test_row_31_what_is_no_experts_name_is_not_found(tmp_path: Path, program: str) -> None:
    ran = said(tmp_path, program, "run", "@invalid", "hi")
    assert (ran.code, ran.stdout) == (1, "")
    assert "'@invalid' not found" in ran.stderr
    assert "perstack.toml defines: e2e-continue, e2e-global-runtime" in ran.stderr


# ---------------------------------------------------------------- options


def begun(heard: Heard, name: str) -> object:
    return heard.ran.one("initializeRuntime")[name]


def is_openai(heard: Heard) -> bool:
    return {seen.protocol for seen in heard.requests} == {"openai"}


def has_the_files_key(heard: Heard) -> bool:
    return {seen.headers["authorization"] for seen in heard.requests} == {f"Bearer {FILE_KEY}"}


def has_the_job(heard: Heard) -> bool:
    folder = heard.workspace / "perstack" / "jobs" / "my-job"
    return folder.is_dir() and heard.ran.one("startRun")["jobId"] == "my-job"


OPTIONS: Final[Mapping[int, tuple[tuple[str, ...], Callable[[Heard], bool]]]] = {
    82: (("--provider", "openai"), is_openai),
    83: (
        ("--model", "claude-haiku-4-5"),
        lambda it: {seen.body["model"] for seen in it.requests} == {"claude-haiku-4-5"},
    ),
    84: (("--max-steps", "10"), lambda it: begun(it, "maxSteps") == 10),
    85: (("--max-retries", "3"), lambda it: begun(it, "maxRetries") == 3),
    86: (("--timeout", "120000"), lambda it: begun(it, "timeout") == 120_000),
    87: (("--job-id", "my-job"), has_the_job),
    88: (("--run-id", "my-run"), lambda it: it.ran.run_ids[0] != "my-run"),
    89: (("--env-path", "keys.env"), has_the_files_key),
    90: (("--verbose",), lambda it: it.ran.stderr == ""),
}
ALONE: Final[Mapping[int, Mapping[str, str]]] = {82: {}, 89: {"ANTHROPIC_API_KEY": ""}}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """One run with all the options but two, which say another provider and another key."""
    options = [option for row, (option, _) in OPTIONS.items() if row not in ALONE]
    return heard(tmp_path_factory.mktemp("together"), *HELLO, *chain.from_iterable(options))


@pytest.mark.parametrize("row", OPTIONS)
def test_rows_82_to_90_each_option_is_taken_and_the_run_completes(
    tmp_path: Path, together: Heard, row: int
) -> None:
    options, took_effect = OPTIONS[row]
    hello = together
    if row in ALONE:
        (tmp_path / "keys.env").write_text(f"ANTHROPIC_API_KEY={FILE_KEY}\n")
        hello = heard(tmp_path, *HELLO, *options, env=ALONE[row])
    assert hello.ran.code == 0, hello.ran.stderr
    assert is_subsequence(["startRun", "completeRun"], hello.ran.types())
    assert hello.ran.one("completeRun")["text"] == "Hello there."
    assert took_effect(hello)


# ---------------------------------------------------------------- the rest of the program


def test_row_126_a_question_stops_the_run_at_a_checkpoint(tmp_path: Path) -> None:
    ran = heard(tmp_path, "run", "e2e-continue", "Ask my name").ran
    assert ran.code == 0, ran.stderr
    assert is_subsequence(
        ["startRun", "callInteractiveTool", "stopRunByInteractiveTool"], ran.types()
    )
    checkpoint_id = ran.one("stopRunByInteractiveTool")["checkpoint"]["id"]
    assert isinstance(checkpoint_id, str)
    assert checkpoint_id


def test_row_135_the_version_is_a_semantic_one(tmp_path: Path) -> None:
    ran = said(tmp_path, RUNTIME, "--version")
    assert (ran.code, ran.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\n", ran.stdout)


def test_row_136_the_help_names_the_one_command(tmp_path: Path) -> None:
    ran = said(tmp_path, RUNTIME, "--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert "perstack-runtime" in ran.stdout
    assert re.findall(r"^  (\w+)  ", ran.stdout.partition("Commands:")[2], re.MULTILINE) == ["run"]


def test_row_137_the_help_of_run_names_its_arguments_and_options(tmp_path: Path) -> None:
    ran = said(tmp_path, RUNTIME, "run", "--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert "expertKey" in ran.stdout
    assert "query" in ran.stdout
    for (option, *_), _ in OPTIONS.values():
        assert (option in ran.stdout) is (option != "--run-id"), option


@pytest.mark.parametrize(
    ("row", "words", "named"),
    [
        (138, ("run",), "expertKey"),
        (139, ("run", "e2e-global-runtime"), "query"),
        (140, ("run", "no-such-expert", "hi"), "no-such-expert"),
        (141, (*HELLO, "--config", "nowhere.toml"), "nowhere.toml"),
    ],
    ids=str,
)
def test_rows_138_to_141_what_cannot_run_is_refused_by_name(
    tmp_path: Path, row: int, words: tuple[str, ...], named: str
) -> None:
    ran = said(tmp_path, RUNTIME, *words)
    assert (ran.code, ran.stdout) == (1, "")
    assert named in ran.stderr


def test_row_138_without_a_command_the_help_is_shown_as_an_error(tmp_path: Path) -> None:
    ran = said(tmp_path, RUNTIME)
    assert ran.code == 1
    assert "run" in ran.stdout + ran.stderr


def test_row_141_without_any_configuration_the_file_is_named(tmp_path: Path) -> None:
    ran = said(tmp_path, RUNTIME, *HELLO, toml=None)
    assert (ran.code, ran.stdout) == (1, "")
    assert "perstack.toml" in ran.stderr


@pytest.mark.anyio
async def test_a_container_that_is_stopped_keeps_a_checkpoint_to_go_on_from(
    tmp_path: Path,
) -> None:
    def decide(seen: Seen) -> Reply:
        return calls(Call("exec", {"command": "sleep", "args": ["600"], "cwd": "."}))

    async with model_server(decide=decide) as server:
        program = Program.make(tmp_path, TOML, base_url=server.url)
        async with program.running_words(RUNTIME, *HELLO) as running:
            await running.until("callTools")
            running.send(signal.SIGTERM)
            ran = await running.ended()
    assert ran.code == 128 + signal.SIGTERM
    assert ran.one("suspendRun")["checkpointId"]
    assert ANTHROPIC_KEY not in ran.stdout + ran.stderr
