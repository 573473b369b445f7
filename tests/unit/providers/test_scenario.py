"""Reading scenarios."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perstack.domain.consensus import ConsensusCheckpoint, ProposedSubtask
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, SubtaskId, ToolCallId
from perstack.errors import ConfigError
from perstack.providers.scenario import Scenario, load_scenario

TURN = '[[turns]]\ntext = "hi"\n'


def scenario(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "demo.toml"
    path.write_text(text)
    return load_scenario(path)


def gate(
    *, expert: str = "lead", agent: str = "coder", text: str = "delete it"
) -> ConsensusCheckpoint:
    subtask = ProposedSubtask(
        id=SubtaskId("s"),
        agent_type=agent,
        input=text,
        estimated_risk_level="high",
        tool_call_id=ToolCallId("c"),
        tool_name="coder",
    )
    return ConsensusCheckpoint(
        id=ConsensusId("k"),
        job_id=JobId("j"),
        run_id=RunId("r"),
        expert_key=ExpertKey(expert),
        task_id="r",
        reason="Risk level 'high'",
        proposed_subtasks=(subtask,),
        risk_level="high",
        created_at=0,
    )


def test_the_first_turn_that_fits_is_said(tmp_path: Path) -> None:
    read = scenario(
        tmp_path,
        """
        [[turns]]
        expert = "lead"
        turn = 2
        after = "rejected"
        text = "then differently"
        [[turns]]
        expert = "lead"
        turn = 2
        text = "going on"
        [[turns]]
        turn = 1
        text = "anybody's first"
        [[turns]]
        expert = "lead"
        text = "lead at any other turn"
        """,
    )

    def said(expert: str, turn: int, latest: str = "") -> str | None:
        found = read.turn_for(expert, turn, latest)
        return found.text if found else None

    assert said("lead", 2, "it was rejected: no") == "then differently"
    assert said("lead", 2, "approved") == "going on"
    assert said("other", 1) == "anybody's first"
    assert said("lead", 9) == "lead at any other turn"
    assert said("other", 2) is None


def test_answers_are_found_by_expert_tool_and_words(tmp_path: Path) -> None:
    read = scenario(
        tmp_path,
        TURN
        + """
        [[answers]]
        expert = "lead"
        tool = "ask"
        question = "colour"
        text = "blue"
        [[answers]]
        tool = "ask"
        text = "yes"
        """,
    )
    assert read.answer_for("lead", "ask", "which colour?") == "blue"
    assert read.answer_for("lead", "ask", "really?") == "yes"
    assert read.answer_for("lead", "other", "colour") is None


def test_decisions_are_found_by_agent_and_words(tmp_path: Path) -> None:
    read = scenario(
        tmp_path,
        TURN
        + """
        [[decisions]]
        agent_type = "coder"
        text = "delete"
        decision = "reject"
        feedback = "keep a copy"
        [[decisions]]
        expert = "lead"
        decision = "approve"
        """,
    )
    first = read.decision_for(gate())
    assert first is not None
    assert (first.decision, first.feedback) == ("reject", "keep a copy")
    second = read.decision_for(gate(text="read it"))
    assert second is not None
    assert second.decision == "approve"
    assert read.decision_for(gate(expert="somebody", agent="writer")) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "turns: Field required"),
        ("turns = []", "turns"),
        ("[[turns]]\n", "turns[0]: Value error, give at least one of"),
        (TURN + '[[turns]]\ntext = "x"\nexprt = "y"', "turns[1].exprt: Extra inputs"),
        ('[[turns]]\n[[turns.calls]]\ntol = "x"', "turns[0].calls[0].tool: Field required"),
        ('[[turns]]\ntext = "x"\nturn = 0', "turns[0].turn"),
        ('[[turns]]\ntext = "x"\nlatency_ms = -1', "turns[0].latency_ms"),
        ('[[turns]]\nerror = {status = 9}', "turns[0].error.status"),
        ('[[turns]]\ntext = "x"\nfinish = "tired"', "turns[0].finish"),
        (TURN + '[[decisions]]\ndecision = "maybe"', "decisions[0].decision"),
        (TURN + "[[answers]]\n", "answers[0].text"),
        ("[defaults]\npace = 1\n" + TURN, "defaults.pace"),
        ("[[turns]", "not TOML"),
        ("a = 1\na = 2", "not TOML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_and_place(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario(tmp_path, text)
    assert str(tmp_path / "demo.toml") in caught.value.message
    assert named in caught.value.message
    assert "scenarios.md" in (caught.value.hint or "")


def test_the_examples_of_the_documentation_are_a_scenario(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "scenarios.md"
    _configuration, *examples = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    read = scenario(tmp_path, "\n".join(examples))
    assert len(read.turns) == 4
    assert read.answers
    assert read.decisions


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(and 1 more\)"):
        scenario(tmp_path, "[[turns]]\ntext = 1\nturn = 0")


def test_a_file_that_is_missing_a_directory_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="directory"):
        load_scenario(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        load_scenario(binary)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * 5_000_001)
    with pytest.raises(ConfigError, match="larger than 5 MB"):
        load_scenario(huge)
