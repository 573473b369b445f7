"""What a gated call is called where it is shown."""

from __future__ import annotations

import json

import pytest

from perstack.domain.consensus import InputRequest, ProposedSubtask
from perstack.domain.ids import SubtaskId, ToolCallId
from perstack.projection.gates import is_tool_call, subtask_name, subtask_phrase, subtask_text


def task(agent: str, tool: str, text: str) -> ProposedSubtask:
    return ProposedSubtask(
        id=SubtaskId("s1"),
        agent_type=agent,
        input=text,
        estimated_risk_level="medium",
        tool_call_id=ToolCallId("c1"),
        tool_name=tool,
    )


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('{"path": "x.txt"}', "deleteFile x.txt"),
        ("{}", "deleteFile"),
        ('{"path": "x.txt', 'deleteFile {"path": "x.txt'),
        ('{"path": "' + "x" * 30_000 + '"}', 'deleteFile {"path": "xxx'),
        ("{" * 10_000, "deleteFile {{{"),
    ],
)
def test_phrase_of_a_tool_s_call_begins_with_its_name(text: str, phrase: str) -> None:
    told = subtask_phrase(task("@perstack/base", "deleteFile", text))
    assert told.startswith(phrase)
    assert len(told) <= 120


def test_tool_is_named_with_its_skill_and_all_of_its_arguments() -> None:
    text = json.dumps({"path": "x.txt", "why": "y" * 5_000})
    gated = task("@perstack/base", "deleteFile", text)
    assert subtask_name(gated) == "deleteFile (skill @perstack/base)"
    assert subtask_text(gated) == f"deleteFile {text}"


@pytest.mark.parametrize("tool", ["ship", "delegate__ship"])
@pytest.mark.parametrize("text", ["ship it", '{"ship": "it"}'])
def test_delegation_is_named_by_its_expert_and_told_as_it_is(tool: str, text: str) -> None:
    gated = task("@acme/ship@1.0.0", tool, text)
    assert not is_tool_call(gated)
    assert (subtask_name(gated), subtask_text(gated)) == ("@acme/ship@1.0.0", text)
    assert subtask_phrase(gated).endswith(text)


def test_arguments_never_stand_alone_even_if_skill_and_tool_share_a_name() -> None:
    assert subtask_phrase(task("deploy", "deploy", '{"to": "prod"}')) == 'deploy: {"to": "prod"}'


def test_question_of_a_server_is_no_call() -> None:
    asked = task("cloud", "elicitation", "{which} region?").model_copy(
        update={"input_request": InputRequest(kind="elicitation", skill_name="cloud")}
    )
    assert not is_tool_call(asked)
    assert subtask_phrase(asked) == "{which} region?"
