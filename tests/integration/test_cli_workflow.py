"""`perstack workflow`: phases to a verdict that is the exit code."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import pytest

from perstack.errors import ConfigError, ConflictError, NotFoundError, UsageError
from tests.fakes.cli import SCRIPTED, Program
from tests.fakes.typed import Json, Typed
from tests.integration.test_cli_review import APPROVES, CODES, ENDLESS, EXPERTS, REJECTS

PHASES: Final = [
    *("inventory", "analysis", "sync", "consistency", "adversarial", "reconciliation"),
]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# A\n\nAll is well.\n")
    return Typed(tmp_path)


def found(run: Json, phase: str) -> list[str]:
    return [
        finding["severity"]
        for result in run["report"]["phases"]
        if result["phase"] == phase
        for finding in result["findings"]
    ]


def test_looking_where_no_workflow_was_run_makes_nothing(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    assert typed.says("workflow", "list").endswith("No workflow was run yet.\n")
    told = typed.tells("workflow", "list")
    assert [one["id"] for one in told["workflows"]] == [
        *("doc-sync", "full-stack-feature", "adversarial-review"),
    ]
    assert typed.says("workflow", "reset") == "0 runs aborted.\n"
    assert typed.says("workflow", "triggers") == "No triggers.\n"
    for verb in ("status", "abort", "resume"):
        error = typed.refuses("workflow", verb, "x")
        assert (type(error), error.message) == (NotFoundError, "Workflow run not found"), verb
    assert list(tmp_path.iterdir()) == []


def test_documents_that_are_right_pass_without_a_model_or_a_key(typed: Typed) -> None:
    run = typed.tells("workflow", "run", "doc-sync", "--no-model", "--docs", "./docs")
    assert run["report"]["verdict"] == "PASS"
    assert [one["phase"] for one in run["results"]] == PHASES
    assert run["startedAt"].endswith("Z")
    assert typed.tells("workflow", "status", run["id"]) == run
    assert typed.tells("workflow", "list")["runs"][0]["verdict"] == "PASS"
    assert "PASS by the judging phase" in typed.says("workflow", "resume", run["id"])


def test_agentstack_row_134_a_document_that_names_a_missing_file_fails_with_one(
    typed: Typed,
) -> None:
    (typed.workspace / "docs" / "b.md").write_text("# B\n\nSee `src/gone\u202e.py`, `src/no.py`.\n")
    words = ("workflow", "run", "doc-sync", "--no-model", "-d", "docs", "-s", ".")
    run = typed.tells(*words, code=1)
    assert run["report"]["verdict"] == "FAIL"
    assert set(found(run, "analysis")) == {"medium"}
    assert set(found(run, "adversarial")) == {"high"}
    ended = typed.ends(*words)
    assert ended.exit_code == 1
    assert "[high]" in ended.stdout
    assert "Phase adversarial." in ended.stderr
    assert "\u202e" not in ended.stdout + ended.stderr


def test_an_unknown_workflow_lists_what_there_is(typed: Typed) -> None:
    error = typed.refuses("workflow", "run", "nope")
    assert (error.message, error.exit_code) == ("Unknown workflow: nope", 1)
    assert error.hint == "available: doc-sync, full-stack-feature, adversarial-review"


def test_upstreams_names_are_known(typed: Typed) -> None:
    long_name = "documentation_truth_sync_with_adversarial_review"
    assert typed.tells("workflow", "run", long_name, "--no-model")["workflow"] == "doc-sync"


def test_without_a_key_nothing_is_begun(typed: Typed) -> None:
    error = typed.refuses("workflow", "run", "adversarial-review", "--task", "x")
    assert isinstance(error, ConfigError)
    assert typed.tells("workflow", "list")["runs"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("run", "doc-sync", "--no-model", "--task", "x"),
        ("run", "doc-sync", "--no-model", "--max-iterations", "11"),
        ("run", "doc-sync", "--no-model", "--options", "[]"),
        ("run", "doc-sync", "--no-model", "--options", '{"nope": 1}'),
        ("triggers", "--register-defaults"),
        ("triggers", "-c"),
        ("list", "-l", "0"),
    ],
)
def test_what_does_not_fit_is_refused(typed: Typed, words: tuple[str, ...]) -> None:
    assert isinstance(typed.refuses("workflow", *words), UsageError)


@pytest.mark.parametrize(("review", "code"), [(APPROVES, 0), (REJECTS, 1)])
def test_an_adversarial_review_ends_with_its_verdict(
    tmp_path: Path, review: str, code: int
) -> None:
    typed = Typed(Program.make(tmp_path, SCRIPTED + EXPERTS, scenario=CODES + review).workspace)
    words = ("adversarial-review", "--task", "assign one", "--max-iterations", "1")
    run = typed.tells("workflow", "run", *words, code=code)
    assert run["report"]["verdict"] == ("PASS" if code == 0 else "FAIL")
    assert isinstance(typed.refuses("workflow", "abort", run["id"]), ConflictError)


@pytest.mark.anyio
async def test_what_ctrl_c_stopped_is_reset_by_another_process(tmp_path: Path) -> None:
    program = Program.make(tmp_path, SCRIPTED + EXPERTS, scenario=ENDLESS)
    words = ("workflow", "run", "adversarial-review", "--task", "assign one")
    async with program.running(*words) as running:
        await running.wait_for(lambda: b"Phase " in running.err)
        running.send(signal.SIGTERM)
        ended = await running.ended()
    assert ended.code == 143, ended.stderr
    assert "Go on with: perstack workflow resume " in ended.stderr
    reset = await program.run("workflow", "reset")
    assert (reset.code, reset.stdout) == (0, "1 run aborted.\n")
