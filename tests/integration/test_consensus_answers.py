"""Answering what a tool server asks, in code and at a terminal, over a real database."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner, Result

from perstack.cli.consensus import consensus_app
from perstack.domain.consensus import ConsensusCheckpoint, nobody_decided
from perstack.domain.ids import ConsensusId
from perstack.errors import ConflictError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.consensus import make_checkpoint, make_question

K1 = ConsensusId("k1abcdefghijklmnopqrstuv")
CLOCK = SystemClock()


def service_for(workspace: Path) -> ConsensusService:
    def open_() -> Awaitable[Stores]:
        return open_stores(database_path(workspace), clock=CLOCK, ids=Uuids())

    return ConsensusService(Handle(open_), clock=CLOCK, workspace=workspace)


def soon() -> int:
    return CLOCK.now_ms() + 600_000


def question(**changes: object) -> ConsensusCheckpoint:
    return make_question(K1, expires_at=soon(), created_at=CLOCK.now_ms()).model_copy(
        update=changes
    )


# ---------------------------------------------------------------- the service


@pytest.mark.anyio
async def test_an_answer_approves_and_travels_as_json_in_the_decision(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    closed = await service.answer(K1, ' {"region": "eu", "machines": 3} ')
    await service.aclose()
    assert closed.status == "approved"
    assert closed.decision is not None
    assert json.loads(closed.decision.feedback or "") == {"region": "eu", "machines": 3}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"region": "mars"}', "'mars' is not one of"),
        ('{"machines": 3}', "'region' is a required property"),
        ('{"region": "eu", "machines": 0}', "less than the minimum"),
        ('{"region": "eu", "also": 1}', "also"),
        ("eu", "a JSON object is wanted"),
    ],
)
async def test_an_answer_that_does_not_fit_leaves_the_question_pending(
    tmp_path: Path, text: str, why: str
) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    with pytest.raises(UsageError, match=why) as told:
        await service.answer(K1, text)
    assert K1 in (told.value.hint or "")
    assert (await service.show(K1)).status == "pending"
    assert (await service.answer(K1, '{"region": "us"}')).status == "approved"
    await service.aclose()


@pytest.mark.anyio
async def test_approving_a_question_without_an_answer_is_refused(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    with pytest.raises(UsageError, match="a question needs an answer"):
        await service.decide(K1, approved=True)
    assert (await service.show(K1)).status == "pending"
    await service.aclose()


@pytest.mark.anyio
async def test_a_question_without_fields_is_answered_by_agreeing(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    asked = make_question(K1, schema={"type": "object", "properties": {}}, expires_at=soon())
    await service.propose(asked)
    closed = await service.decide(K1, approved=True)
    await service.aclose()
    assert closed.decision is not None
    assert closed.decision.feedback == "{}"


@pytest.mark.anyio
async def test_declining_needs_no_answer(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    closed = await service.decide(K1, approved=False, feedback="not now")
    await service.aclose()
    assert closed.status == "rejected"
    assert not nobody_decided(closed)


@pytest.mark.anyio
async def test_of_two_answers_the_first_counts(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    await service.answer(K1, '{"region": "eu"}')
    with pytest.raises(ConflictError, match="already approved"):
        await service.answer(K1, '{"region": "us"}')
    await service.aclose()


@pytest.mark.anyio
async def test_a_question_taken_back_was_decided_by_nobody_and_cannot_be_answered(
    tmp_path: Path,
) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    await service.withdraw(K1, "the tool server no longer waits for it")
    closed = await service.show(K1)
    assert nobody_decided(closed)
    with pytest.raises(ConflictError):
        await service.answer(K1, '{"region": "eu"}')
    await service.withdraw(K1, "again")
    await service.withdraw(ConsensusId("never"), "was there")
    await service.aclose()


@pytest.mark.anyio
async def test_what_was_decided_is_not_taken_back(tmp_path: Path) -> None:
    service = service_for(tmp_path)
    await service.propose(question())
    await service.answer(K1, '{"region": "eu"}')
    await service.withdraw(K1, "too late")
    assert (await service.show(K1)).status == "approved"
    await service.aclose()


@pytest.mark.anyio
async def test_the_wait_for_a_question_ends_with_the_answer(tmp_path: Path) -> None:
    asking, answering = service_for(tmp_path), service_for(tmp_path)
    await asking.propose(question())
    found: list[ConsensusCheckpoint] = []

    async def wait() -> None:
        found.append(await asking.wait(K1))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await answering.answer(K1, '{"region": "eu"}')
    await asking.aclose()
    await answering.aclose()
    assert found[0].form is not None
    assert found[0].decision is not None
    assert found[0].decision.feedback == '{"region": "eu"}'


# ---------------------------------------------------------------- the command


def put(workspace: Path, checkpoint: ConsensusCheckpoint) -> None:
    async def create() -> None:
        service = service_for(workspace)
        await service.propose(checkpoint)
        await service.aclose()

    anyio.run(create)


def run(workspace: Path, *args: str) -> Result:
    return CliRunner().invoke(consensus_app(), [*args, "--workspace", str(workspace)])


def test_showing_a_question_says_what_is_asked_and_how_to_answer(tmp_path: Path) -> None:
    hostile = "Which region?\x1b]52;c;eA==\x07 \u202e"
    put(tmp_path, make_question(K1, message=hostile, expires_at=soon()))
    shown = run(tmp_path, "show", K1[:6])
    assert shown.exit_code == 0
    assert "Which region?‹U+001B›" in shown.output
    assert "\x1b" not in shown.output
    assert "region (Region): eu | us" in shown.output
    assert "machines: integer, may be left out" in shown.output
    assert f"perstack consensus answer {K1} ANSWER" in shown.output
    assert f"perstack consensus reject {K1}" in shown.output
    listed = run(tmp_path, "list")
    assert "show|approve|reject|answer ID" in listed.output


def test_answering_at_a_terminal_closes_the_question(tmp_path: Path) -> None:
    put(tmp_path, question())
    wrong = run(tmp_path, "answer", K1, '{"region": "mars"}')
    assert isinstance(wrong.exception, UsageError)
    assert run(tmp_path, "answer", K1[:4], '{"region": "us"}').output == f"Answered {K1}.\n"
    listed = json.loads(run(tmp_path, "list", "--all", "--json").output)
    assert listed[0]["decision"]["feedback"] == '{"region": "us"}'
    assert listed[0]["proposedSubtasks"][0]["inputRequest"]["kind"] == "elicitation"


def test_a_checkpoint_that_asks_nothing_cannot_be_answered(tmp_path: Path) -> None:
    put(tmp_path, make_checkpoint(K1, expires_at=soon()))
    told = run(tmp_path, "answer", K1, "yes")
    assert isinstance(told.exception, UsageError)
    assert "asks no question" in told.exception.message
