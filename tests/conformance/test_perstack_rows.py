"""Perstack's own end-to-end cases, row by row of the table in its fact sheet (section 12).

The same configurations and the same expectations, with a scripted vendor on loopback in the place
of a live one, and read our better way: a Run keeps its id through delegation and questions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import pytest

from tests.fakes.cli import (
    Program,
    Ran,
    assert_calls_answered,
    by_expert,
    calls,
    finishes,
    is_subsequence,
    play,
)
from tests.fakes.model_server import Answer, ModelServer
from tests.fakes.model_wire import Call, Reply

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
ASK: Final = """
[experts."e2e-continue".skills."user"]
type = "interactiveSkill"
[experts."e2e-continue".skills."user".tools."askUser"]
description = "Ask the user."
inputJsonSchema = '{"type": "object", "properties": {"question": {"type": "string"}}}'
"""
TEAM: Final = f"""
[experts."hello"]
instruction = "You are hello."

[experts."e2e-continue"]
instruction = "You are e2e-continue."
[experts."e2e-continue".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["attemptCompletion"]
{ASK}

[experts."e2e-parallel-delegate"]
instruction = "You are e2e-parallel-delegate."
delegates = ["e2e-math", "e2e-text"]
[experts."e2e-math"]
instruction = "You are e2e-math."
[experts."e2e-text"]
instruction = "You are e2e-text."

[experts."e2e-mixed-tools"]
instruction = "You are e2e-mixed-tools."
delegates = ["e2e-helper"]
[experts."e2e-mixed-tools".skills."exa"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{MCP_SERVER}", "--tools", "web_search_exa"]
{ASK.replace("e2e-continue", "e2e-mixed-tools")}
[experts."e2e-helper"]
instruction = "You are e2e-helper."

[experts."e2e-delegate-chain"]
instruction = "You are e2e-delegate-chain."
delegates = ["e2e-level1"]
[experts."e2e-level1"]
instruction = "You are e2e-level1."
delegates = ["e2e-level2"]
[experts."e2e-level2"]
instruction = "You are e2e-level2."
"""

HELLO: Final = {"hello": finishes("Hello there.")}
CONTINUE: Final = {
    "e2e-continue": [calls(Call("askUser", {"question": "Your name?"})), *finishes("Hello, Ana.")]
}
PARALLEL: Final[Mapping[str, Sequence[Answer]]] = {
    "e2e-parallel-delegate": [
        calls(Call("e2e-math", {"query": "2 + 3"}), Call("e2e-text", {"query": "Upper-case a"})),
        *finishes("5 and A."),
        *finishes("OK"),
    ],
    "e2e-math": finishes("5"),
    "e2e-text": finishes("A"),
}
MIXED: Final[Mapping[str, Sequence[Answer]]] = {
    "e2e-mixed-tools": [
        calls(
            Call("web_search_exa", {"query": "perstack"}),
            Call("e2e-helper", {"query": "help"}),
            Call("askUser", {"question": "Go on?"}),
        ),
        *finishes("All three answered."),
    ],
    "e2e-helper": finishes("Helped."),
}
CHAIN: Final[Mapping[str, Sequence[Answer]]] = {
    "e2e-delegate-chain": [calls(Call("e2e-level1", {"query": "go down"})), *finishes("chain")],
    "e2e-level1": [calls(Call("e2e-level2", {"query": "go down"})), *finishes("level 1")],
    "e2e-level2": finishes("level 2"),
}
ROW_29: Final = ("startRun", "callDelegate", "stopRunByDelegate", "completeRun")


class Played(NamedTuple):
    """Commands that ran one after another, and what the vendor saw of them."""

    runs: list[Ran]
    server: ModelServer
    workspace: Path


def played(
    folder: Path,
    said: Mapping[str, Sequence[Answer]],
    *commands: tuple[str, ...],
    toml: str = TEAM,
) -> Played:
    ran, server = play(
        lambda url: Program.make(folder, toml, base_url=url), by_expert(said), *commands
    )
    return Played(ran, server, folder)


def refused(folder: Path, *args: str, toml: str | None = TEAM) -> Ran:
    """Run a command that must not reach the vendor."""

    async def run() -> Ran:
        program = Program.make(folder, toml or "")
        if toml is None:
            (folder / "perstack.toml").unlink()
        return await program.run(*args)

    ran = anyio.run(run)
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    return ran


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Row 91's run, with options that rows 5, 102 and 103 add and that change nothing else."""
    options = ("--runtime", "local", "--max-steps", "10", "--max-retries", "3")
    return played(tmp_path_factory.mktemp("hello"), HELLO, ("run", "hello", "Say hello", *options))


@pytest.fixture(scope="module", params=["anthropic", "openai"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A question to the user, then the answer; over each vendor's protocol."""
    vendor = ("--provider", str(request.param))
    return played(
        tmp_path_factory.mktemp("asked"),
        CONTINUE,
        ("run", "e2e-continue", "Ask my name", *vendor),
        ("run", "e2e-continue", "Ana", "--continue-job", "{job}", "-i", *vendor),
    )


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played(
        tmp_path_factory.mktemp("parallel"),
        PARALLEL,
        ("run", "e2e-parallel-delegate", "Do both"),
        ("run", "e2e-parallel-delegate", "Complete with OK", "--continue-job", "{job}"),
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played(
        tmp_path_factory.mktemp("mixed"),
        MIXED,
        ("run", "e2e-mixed-tools", "Call all three"),
        ("run", "e2e-mixed-tools", "yes", "--continue-job", "{job}", "-i"),
    )


# ---------------------------------------------------------------- continue


def test_row_1_a_question_stops_the_run_and_its_answer_completes_it(asked: Played) -> None:
    first, second = asked.runs
    assert (first.code, second.code) == (0, 0)
    assert len(first.all("stopRunByInteractiveTool")) == 1
    assert second.one("startRun")["initialCheckpoint"]["status"] == "stoppedByInteractiveTool"
    assert second.one("completeRun")["text"] == "Hello, Ana."


def test_row_1_the_run_keeps_its_id_and_the_model_reads_the_answer(asked: Played) -> None:
    first, second = asked.runs
    assert first.run_ids == second.run_ids
    assert len(first.run_ids) == 1
    assert "Ana" in str(asked.server.requests[1].body["messages"][-1])


def test_row_2_parallel_delegates_complete_and_the_job_goes_on(parallel: Played) -> None:
    first, second = parallel.runs
    assert (first.code, second.code) == (0, 0)
    assert len(first.one("callDelegate")["toolCalls"]) == 2
    assert len(first.all("completeRun")) == 3
    assert second.types("startRun", "completeRun") == ["startRun", "completeRun"]
    assert second.one("completeRun")["text"] == "OK"


def test_row_2_three_experts_are_three_runs(parallel: Played) -> None:
    assert len(parallel.runs[0].run_ids) == 3


def test_row_3_the_stop_event_names_its_checkpoint(asked: Played) -> None:
    checkpoint = asked.runs[0].one("stopRunByInteractiveTool")["checkpoint"]
    assert isinstance(checkpoint["id"], str)
    assert checkpoint["id"]


def test_row_4_and_25_resume_from_needs_a_job(tmp_path: Path) -> None:
    ran = refused(tmp_path, "run", "hello", "go on", "--resume-from", "x")
    assert ran.code == 1
    assert "--resume-from requires --continue-job" in ran.stderr


# ---------------------------------------------------------------- runtime selection


def test_row_5_the_runtime_is_also_known_as_local(hello: Played) -> None:
    (ran,) = hello.runs
    assert ran.code == 0
    assert is_subsequence(["startRun", "completeRun"], ran.types())


def test_row_6_and_26_a_runtime_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ran = refused(tmp_path, "run", "hello", "hi", "--runtime", "invalid-runtime")
    assert ran.code == 1
    assert "invalid-runtime" in ran.stderr


def test_row_11_the_file_may_name_the_runtime(tmp_path: Path) -> None:
    (ran,) = played(tmp_path, HELLO, ("run", "hello", "hi"), toml=f'runtime = "local"\n{TEAM}').runs
    assert is_subsequence(["startRun", "completeRun"], ran.types())


# ---------------------------------------------------------------- log


def test_row_12_the_help_of_log_names_its_options(tmp_path: Path) -> None:
    async def run() -> Ran:
        return await Program.make(tmp_path, TEAM).run("log", "--help")

    ran = anyio.run(run)
    assert ran.code == 0
    assert "View execution history" in ran.stdout
    for option in ("--job", "--run", "--checkpoint", "--errors", "--tools", "--json"):
        assert option in ran.stdout


EMPTY: Final = (
    ("--job", "no-such-job"),
    ("--json",),
    ("--step", "5"),
    ("--type", "callTools"),
    ("--errors",),
    ("--tools",),
    ("--summary",),
    ("--filter", ".stepNumber > 1"),
)


@pytest.mark.parametrize("options", EMPTY, ids=range(13, 21))
def test_rows_13_to_20_an_empty_store_holds_no_data(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    async def run() -> Ran:
        return await Program.make(tmp_path, TEAM).run("log", *options)

    ran = anyio.run(run)
    assert (ran.code, ran.stdout) == (0, "No data found\n")
    assert not (tmp_path / "perstack").exists()


SHOWN: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    ((), "(showing latest job)", "No data found"),
    (("--step", "1"), "callTools", "[Step 2]"),
    (("--type", "callTools"), "callTools", "startRun"),
    (("--tools",), "web_search_exa", "startGeneration"),
    (("--delegations",), "Delegate to: e2e-helper", "unknown"),
    (("--errors",), "No data found", "callTools"),
    (("--summary",), "events", "[Step"),
    (("--filter", '.toolCalls[].toolName == "askUser"'), "callTools", "completeRun"),
)


@pytest.mark.parametrize(("options", "has", "lacks"), SHOWN)
def test_rows_13_to_20_what_was_recorded_is_shown(
    mixed: Played, options: tuple[str, ...], has: str, lacks: str
) -> None:
    async def run() -> Ran:
        return await Program(mixed.workspace, Program.make(mixed.workspace, TEAM).env).run(
            "log", *options
        )

    ran = anyio.run(run)
    assert ran.code == 0
    assert has in ran.stdout
    assert lacks not in ran.stdout


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ((), "EXPERT"),
        (("hello",), "query"),
        (("no-such-expert", "hi"), "no-such-expert"),
        (("hello", "hi", "--config", "nowhere.toml"), "nowhere.toml"),
    ],
    ids=range(21, 25),
)
def test_rows_21_to_24_what_cannot_run_is_refused(
    tmp_path: Path, args: tuple[str, ...], word: str
) -> None:
    ran = refused(tmp_path, "run", *args)
    assert ran.code == 1
    assert word in ran.stderr


def test_row_24_without_any_configuration_the_file_is_named(tmp_path: Path) -> None:
    ran = refused(tmp_path, "run", "hello", "hi", toml=None)
    assert ran.code == 1
    assert "perstack.toml" in ran.stderr


def test_row_27_a_delegate_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    toml = '[experts."lead"]\ninstruction = "Lead."\ndelegates = ["nonexistent-expert"]\n'
    ran = refused(tmp_path, "run", "lead", "hi", toml=toml)
    assert ran.code == 1
    assert "nonexistent-expert" in ran.stderr


# ---------------------------------------------------------------- interactive, delegates


def test_row_28_three_kinds_of_calls_in_one_response(mixed: Played) -> None:
    first, _ = mixed.runs
    assert first.code == 0
    assert len(first.all("callTools")[0]["toolCalls"]) == 3
    assert is_subsequence(
        [
            "startRun",
            "callTools",
            "callDelegate",
            "stopRunByDelegate",
            "startRun",
            "completeRun",
            "startRun",
            "resumeToolCalls",
            "callInteractiveTool",
            "stopRunByInteractiveTool",
        ],
        first.types(),
    )


def test_row_28_what_came_back_is_partial_and_the_question_pending(mixed: Played) -> None:
    first, _ = mixed.runs
    partial = first.one("stopRunByDelegate")["checkpoint"]["partialToolResults"]
    assert [result["toolName"] for result in partial] == ["web_search_exa"]
    last = first.one("stopRunByInteractiveTool")["checkpoint"]
    assert last["status"] == "stoppedByInteractiveTool"
    assert len(last["partialToolResults"]) == 2
    assert [call["toolName"] for call in last["pendingToolCalls"]] == ["askUser"]


def test_row_28_two_experts_are_two_runs_and_the_answer_completes_the_first(
    mixed: Played,
) -> None:
    first, second = mixed.runs
    assert len(first.run_ids) == 2
    assert second.run_ids == first.run_ids[:1]
    assert second.one("completeRun")["text"] == "All three answered."


def test_row_28_skills_are_connected_first_and_disconnected_last(mixed: Played) -> None:
    for ran in mixed.runs:
        own = [event["type"] for event in ran.events if event["runId"] == mixed.runs[0].run_ids[0]]
        assert own.index("skillConnected") < own.index("startRun")
        assert own[-1] == "skillDisconnected"


def test_row_29_a_chain_of_delegates_comes_back_the_way_it_went(tmp_path: Path) -> None:
    (ran,) = played(tmp_path, CHAIN, ("run", "e2e-delegate-chain", "go down")).runs
    assert ran.code == 0
    assert ran.all("retry") == []
    chain, first, second = "e2e-delegate-chain", "e2e-level1", "e2e-level2"
    assert ran.who(*ROW_29) == [
        *((chain, type_) for type_ in ROW_29[:3]),
        *((first, type_) for type_ in ROW_29[:3]),
        (second, "startRun"),
        (second, "completeRun"),
        (first, "startRun"),
        (first, "completeRun"),
        (chain, "startRun"),
        (chain, "completeRun"),
    ]
    assert len(ran.run_ids) == 3


# ---------------------------------------------------------------- run, errors, limits


def test_row_91_saying_hello_completes_with_text(hello: Played) -> None:
    (ran,) = hello.runs
    assert ran.code == 0
    assert is_subsequence(["startRun", "completeRun"], ran.types())
    assert ran.one("completeRun")["text"] == "Hello there."


def test_row_99_a_missing_file_is_a_result_that_says_so(tmp_path: Path) -> None:
    reads = [calls(Call("readTextFile", {"path": "missing.txt"})), *finishes("It is not there.")]
    (ran,) = played(tmp_path, {"hello": reads}, ("run", "hello", "Read missing.txt")).runs
    assert ran.code == 0
    assert is_subsequence(
        ["startRun", "callTools", "resolveToolResults", "completeRun"], ran.types()
    )
    (result,) = ran.one("resolveToolResults")["toolResults"]
    assert "does not exist" in texts(result)


def texts(result: Mapping[str, Any]) -> str:
    return " ".join(part.get("text", "") for part in result["result"])


def test_row_100_a_skill_without_package_or_arguments_is_refused(tmp_path: Path) -> None:
    skill = '[experts."hello".skills."odd"]\ntype = "mcpStdioSkill"\ncommand = "npx"\nargs = []\n'
    ran = refused(tmp_path, "run", "hello", "hi", toml=f"{TEAM}\n{skill}")
    assert ran.code == 1
    assert "has no packageName or args" in ran.stderr


def test_row_101_a_provider_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ran = refused(tmp_path, "run", "hello", "hi", "--provider", "invalid-provider-xyz")
    assert ran.code == 1
    assert "invalid-provider-xyz" in ran.stderr


def test_rows_102_and_103_limits_are_taken_from_the_command_line(hello: Played) -> None:
    (ran,) = hello.runs
    begun = ran.one("initializeRuntime")
    assert ran.code == 0
    assert (begun["maxSteps"], begun["maxRetries"]) == (10, 3)


def test_row_126_a_question_is_announced_before_the_run_stops(asked: Played) -> None:
    first = asked.runs[0]
    assert is_subsequence(
        ["startRun", "callInteractiveTool", "stopRunByInteractiveTool"], first.types()
    )
    assert first.one("callInteractiveTool")["toolCall"]["toolName"] == "askUser"


def test_row_130_a_job_has_a_folder_of_its_own(hello: Played) -> None:
    (ran,) = hello.runs
    jobs = hello.workspace / "perstack" / "jobs"
    assert [path.name for path in jobs.iterdir()] == [ran.job_id]


def test_every_call_has_its_answer_in_every_request_to_the_vendor(
    mixed: Played, parallel: Played
) -> None:
    assert_calls_answered(mixed.server.requests)
    assert_calls_answered(parallel.server.requests)


def test_the_last_reply_of_a_run_needs_no_declaration(tmp_path: Path) -> None:
    said = {"hello": [Reply(["Just text."])]}
    (ran,) = played(tmp_path, said, ("run", "hello", "hi", "--provider", "openai")).runs
    assert ran.one("completeRun")["text"] == "Just text."
