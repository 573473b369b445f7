"""`perstack consensus` as a person at a terminal uses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner, Result

from perstack.cli.consensus import consensus_app
from perstack.domain.consensus import ConsensusCheckpoint, Decision, Review, Verdict
from perstack.domain.ids import ConsensusId, ExpertKey
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    DeniedError,
    NotFoundError,
    PerstackError,
    UsageError,
)
from perstack.ports.consensus import ReviewClaim
from perstack.ports.system import SystemClock
from perstack.storage.database.opener import database_path, open_consensus_store
from tests.fakes.consensus import make_checkpoint, make_decision, make_proposal

K1 = "k1abcdefghijklmnopqrstuv"
HOSTILE = "rm \x1b[2J\x1b]52;c;eA==\x07 \u202egnp.exe \x9b31m [red]x[/] \r\n second line"


def soon() -> int:
    return SystemClock().now_ms() + 600_000


def put(workspace: Path, *checkpoints: ConsensusCheckpoint) -> None:
    async def create() -> None:
        store = await open_consensus_store(database_path(workspace), clock=SystemClock())
        for checkpoint in checkpoints:
            await store.create(checkpoint)
        await store.aclose()

    anyio.run(create)


def read(workspace: Path, name: str = K1) -> ConsensusCheckpoint:
    async def get() -> ConsensusCheckpoint:
        store = await open_consensus_store(database_path(workspace), clock=SystemClock())
        found = await store.get(ConsensusId(name))
        await store.aclose()
        return found

    return anyio.run(get)


def decide(workspace: Path, decision: Decision) -> None:
    async def do() -> None:
        clock = SystemClock()
        store = await open_consensus_store(database_path(workspace), clock=clock)
        await store.decide(ConsensusId(K1), decision, now_ms=clock.now_ms())
        await store.aclose()

    anyio.run(do)


def run(workspace: Path, *args: str) -> Result:
    return CliRunner().invoke(consensus_app(), [*args, "--workspace", str(workspace)])


def said(workspace: Path, *args: str) -> str:
    result = run(workspace, *args)
    assert result.exit_code == 0, result.exception
    return result.stdout


def refused(workspace: Path, *args: str) -> PerstackError:
    error = run(workspace, *args).exception
    assert isinstance(error, PerstackError)
    return error


def tool_gate(arguments: str, *, name: str = "deleteFile") -> ConsensusCheckpoint:
    made = make_checkpoint(K1, text=arguments)
    (task,) = made.proposed_subtasks
    named = task.model_copy(update={"agent_type": "@perstack/base", "tool_name": name})
    return made.model_copy(update={"proposed_subtasks": (named,)})


def test_an_empty_workspace_lists_nothing_and_stays_empty(tmp_path: Path) -> None:
    assert said(tmp_path, "list") == "Nothing waits for a decision.\n"
    assert json.loads(said(tmp_path, "list", "--json")) == []
    assert list(tmp_path.iterdir()) == []


def test_the_list_shows_what_waits_and_for_how_long(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, expires_at=soon()))
    lines = said(tmp_path, "list").splitlines()
    assert lines[0].split() == ["ID", "RISK", "STATE", "EXPERT", "WHAT", "REASON"]
    assert lines[1].startswith(f"{K1}  high  pending, 9 min ")
    assert "  release-captain  devops: " in lines[1]
    assert lines[1].endswith("  Risk level 'high' at depth 1 requires consensus")


def test_a_gated_tool_is_named_wherever_it_is_listed_or_shown(tmp_path: Path) -> None:
    put(tmp_path, tool_gate('{"path": "x.txt", "note": "' + "y" * 3_000 + ' the end"}'))
    assert "  deleteFile x.txt  " in said(tmp_path, "list")
    shown = said(tmp_path, "show", K1)
    assert "Subtask s1: deleteFile (skill @perstack/base), risk high" in shown
    assert '    deleteFile {"path": "x.txt", "note": "yyy' in shown
    assert 'y the end"}\n' in shown


def test_a_tool_s_hostile_name_and_arguments_are_printed_inert(tmp_path: Path) -> None:
    put(tmp_path, tool_gate('{"path": "\x1b[2J\u202egone"}', name="rm\x1b[31m"))
    for shown in (said(tmp_path, "list"), said(tmp_path, "show", K1)):
        assert "rm" in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_what_was_decided_is_listed_on_demand(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    decide(tmp_path, make_decision())
    assert said(tmp_path, "list") == "Nothing waits for a decision.\n"
    assert "approved by ana" in said(tmp_path, "list", "--all")


def test_what_is_overdue_is_not_shown_as_waiting(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, expires_at=1))
    assert re.search(rf"^{K1}  high  expired ", said(tmp_path, "list"), re.MULTILINE)


def test_the_json_list_uses_the_product_s_names(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, expires_at=2_000_000_000_000, text=HOSTILE))
    (found,) = json.loads(said(tmp_path, "list", "--json"))
    assert (found["id"], found["riskLevel"], found["status"]) == (K1, "high", "pending")
    assert found["expiresAt"] == 2_000_000_000_000
    assert found["proposedSubtasks"][0]["agentType"] == "devops"
    assert found["proposedSubtasks"][0]["input"] == HOSTILE


def test_a_checkpoint_is_shown_whole(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, subtasks=2, text="first line\nsecond line " + "x" * 3_000))
    shown = said(tmp_path, "show", K1)
    assert "Subtask s1: devops, risk high" in shown
    assert "Subtask s2: devops, risk high" in shown
    assert "    first line\n    second line " + "x" * 3_000 + "\n" in shown
    assert "created by release-captain" in shown
    assert f"perstack consensus approve|reject {K1}" in shown


def test_a_decided_checkpoint_is_shown_with_who_and_why(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, subtasks=2))
    decision = make_decision(rejected=("s2",)).model_copy(update={"feedback": "only the first"})
    decide(tmp_path, decision)
    shown = said(tmp_path, "show", "k1ab")
    assert "State     approved by ana" in shown
    assert "Subtask s2: devops, risk high, rejected" in shown
    assert "subtask_rejected by ana: s2" in shown
    assert "approved by ana: only the first" in shown
    assert "To decide" not in shown


def test_a_checkpoint_as_json_has_its_audit(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    found = json.loads(said(tmp_path, "show", K1, "--json"))
    assert found["id"] == K1
    (entry,) = found["audit"]
    assert (entry["event"], entry["actorType"]) == ("created", "agent")
    assert entry["details"] == {"riskLevel": "high", "subtaskCount": 1}


@pytest.mark.parametrize(
    "args", [("list",), ("list", "--json"), ("show", K1), ("show", K1, "--json")]
)
def test_nothing_printed_acts_on_a_terminal(tmp_path: Path, args: tuple[str, ...]) -> None:
    hostile = make_checkpoint(K1, text=HOSTILE).model_copy(
        update={"reason": HOSTILE, "expert_key": HOSTILE}
    )
    put(tmp_path, hostile)
    decide(tmp_path, make_decision(by=HOSTILE).model_copy(update={"feedback": HOSTILE}))
    shown = said(tmp_path, *args, *(("--all",) if args[0] == "list" else ()))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "[red]x[/]" in shown


def test_approving_keeps_everything(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, subtasks=2, expires_at=soon()))
    assert said(tmp_path, "approve", K1) == f"Approved {K1}: all 2 kept.\n"
    assert read(tmp_path).status == "approved"


def test_approving_can_leave_subtasks_out(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, subtasks=3))
    args = ("approve", K1, "--reject-subtask", "s1", "--reject-subtask", "s3", "--feedback", "so")
    assert said(tmp_path, *args) == f"Approved {K1}: 1 of 3 kept.\n"
    decision = read(tmp_path).decision
    assert decision is not None
    assert (decision.rejected_subtask_ids, decision.feedback) == (("s1", "s3"), "so")


def test_rejecting_carries_the_words(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    said(tmp_path, "reject", K1, "--feedback", "docs first\udcff")
    found = read(tmp_path)
    assert found.status == "rejected"
    assert found.decision is not None
    assert found.decision.feedback == "docs first\udcff"


@pytest.mark.parametrize("verb", ["show", "approve", "reject"])
@pytest.mark.parametrize("name", ["unknown", "../../x", "k1", "", "\x1b[31m"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, verb: str, name: str) -> None:
    put(tmp_path, make_checkpoint(K1))
    error = refused(tmp_path, verb, name)
    assert isinstance(error, NotFoundError)
    assert error.exit_code == 4
    assert "\x1b" not in error.message


def test_an_id_of_another_workspace_is_refused(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    put(there, make_checkpoint(K1))
    error = refused(here, "approve", K1)
    assert isinstance(error, NotFoundError)
    assert "--workspace" in str(error.hint)
    assert list(here.iterdir()) == []


def test_a_second_decision_is_refused(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    decide(tmp_path, make_decision())
    error = refused(tmp_path, "reject", K1)
    assert isinstance(error, ConflictError)
    assert "was already approved by ana" in error.message
    assert error.exit_code == 4


def test_a_late_decision_is_refused(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, expires_at=SystemClock().now_ms() - 12_000))
    error = refused(tmp_path, "approve", K1)
    assert isinstance(error, ConflictError)
    assert re.search(r"expired 1\d s ago", error.message)


def test_leaving_everything_out_is_refused(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    error = refused(tmp_path, "approve", K1, "--reject-subtask", "s1")
    assert isinstance(error, UsageError)
    assert "nothing would be kept" in error.message
    assert error.exit_code == 1


def test_a_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, make_checkpoint(K1))
    monkeypatch.setenv("PERSTACK_RUN_ID", "run1")
    error = refused(tmp_path, "approve", K1)
    assert isinstance(error, DeniedError)
    assert error.exit_code == 4
    assert read(tmp_path).status == "pending"


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1))
    database_path(tmp_path).write_bytes(b"")
    error = refused(tmp_path, "list")
    assert isinstance(error, CorruptRecordError)
    assert error.exit_code == 5


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "nowhere", "list")
    assert isinstance(error, UsageError)
    assert "nowhere" in error.message


@pytest.mark.parametrize("verb", ["", "list", "show", "approve", "reject"])
def test_help_is_plain_text(verb: str) -> None:
    result = CliRunner().invoke(consensus_app(), [*([verb] if verb else []), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert not re.search("[\x1b╭│]", result.stdout)


def test_approving_what_no_run_waits_with_says_which_tasks_were_made(tmp_path: Path) -> None:
    put(tmp_path, make_proposal(K1, parent=None))
    shown = said(tmp_path, "show", K1)
    assert "Asked by  release-captain\n" in shown
    text = said(tmp_path, "approve", K1, "--reject-subtask", f"{K1}-s1")
    assert text == f"Approved {K1}: 1 of 2 kept.\nTask {K1}-s2 was made.\n"


def test_what_a_reviewer_recommends_is_shown_inert(tmp_path: Path) -> None:
    review = Review(
        reviewer=ExpertKey("adversarial"),
        verdict=Verdict(approved=True, feedback=HOSTILE),
        structured=True,
        started_at=1,
        finished_at=2,
    )

    async def recommend() -> None:
        store = await open_consensus_store(database_path(tmp_path), clock=SystemClock())
        await store.create(make_checkpoint(K1))
        await store.claim_review(ConsensusId(K1), ReviewClaim("me", 9, "adversarial"), now_ms=1)
        assert await store.finish_review(ConsensusId(K1), "me", review)
        await store.aclose()

    anyio.run(recommend)
    shown = said(tmp_path, "show", K1)
    assert "  Review    adversarial would approve: rm " in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
