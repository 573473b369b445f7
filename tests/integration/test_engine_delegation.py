"""Delegation: pausing and resuming as the same run, in parallel, nested, and when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import StartRun, StopRunByDelegate
from perstack.domain.messages import ExpertMessage, ToolMessage
from perstack.engine.plan import JobOutcome
from perstack.errors import ProviderError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.engine import FakeSkills, Reply, World, done, expert, latest_text, says
from tests.integration.test_engine_runs import ASK

pytestmark = pytest.mark.anyio

LIFE = ("startRun", "callDelegate", "stopRunByDelegate", "completeRun")


def chain(request: ModelRequest, turn: int) -> Generation:
    match request.expert_key, turn:
        case "chain", 1:
            return says("", ("level1", {"query": "one"}))
        case "level1", 1:
            return says("", ("level2", {"query": "two"}))
        case _:
            return done(f"{request.expert_key} done")


CHAIN = (expert("chain", "level1"), expert("level1", "level2"), expert("level2"))


async def test_a_chain_pauses_and_resumes_each_run_in_order(tmp_path: Path) -> None:
    world = World(tmp_path, chain, CHAIN)
    ended = await world.start()
    assert ended.outcome.text == "chain done"
    assert world.heard.types(*LIFE) == [
        ("chain", "startRun"),
        ("chain", "callDelegate"),
        ("chain", "stopRunByDelegate"),
        ("level1", "startRun"),
        ("level1", "callDelegate"),
        ("level1", "stopRunByDelegate"),
        ("level2", "startRun"),
        ("level2", "completeRun"),
        ("level1", "startRun"),
        ("level1", "completeRun"),
        ("chain", "startRun"),
        ("chain", "completeRun"),
    ]


async def test_the_parent_keeps_its_run_id_and_its_skills_while_delegates_run(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, chain, CHAIN)
    await world.start()
    assert len({event.run_id for event in world.heard.events}) == 3
    assert len(world.skills.opened) == 3
    assert world.skills.closed == list(reversed(world.skills.opened))


async def test_a_delegate_sees_only_its_query(tmp_path: Path) -> None:
    world = World(tmp_path, chain, CHAIN)
    await world.start("the secret plan")
    for request in world.model.requests:
        if request.expert_key != "chain":
            assert "the secret plan" not in str(list(request.messages))


async def test_steps_are_numbered_through_the_job_without_repeats(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "lead" and turn == 1:
            return says("", ("a", {"query": "x"}), ("b", {"query": "y"}))
        return done("ok")

    world = World(tmp_path, mind, (expert("lead", "a", "b"), expert("a"), expert("b")))
    ended = await world.start()
    generated = [e.step_number for e in world.heard.events if e.body.type == "startGeneration"]
    assert len(generated) == len(set(generated))
    assert (await world.history.get_job(ended.job_id)).total_steps == max(generated)


async def test_delegates_of_one_response_run_at_the_same_time(tmp_path: Path) -> None:
    both = anyio.Event()
    inside = 0

    async def meet() -> Generation:
        nonlocal inside
        inside += 1
        if inside == 2:
            both.set()
        await both.wait()
        return done("met")

    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "lead":
            if turn == 1:
                return says("", ("a", {"query": "x"}), ("b", {"query": "y"}))
            return done("both met")
        return meet()

    world = World(tmp_path, mind, (expert("lead", "a", "b"), expert("a"), expert("b")))
    assert (await world.start()).outcome.text == "both met"


async def test_one_slot_is_enough_for_any_depth(tmp_path: Path) -> None:
    world = World(tmp_path, chain, CHAIN, max_parallel=1)
    assert (await world.start()).outcome.text == "chain done"


async def test_nested_delegation_inside_a_parallel_branch_returns_to_its_own_parent(
    tmp_path: Path,
) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        match request.expert_key, turn:
            case "lead", 1:
                return says("", ("a", {"query": "x"}), ("b", {"query": "y"}))
            case "a", 1:
                return says("", ("deep", {"query": "z"}))
            case "a", 2:
                return done("a after " + ("deep!" if "deep result" in latest_text(request) else ""))
            case "deep", _:
                return done("deep result")
            case _:
                return done(f"{request.expert_key} done")

    experts = (expert("lead", "a", "b"), expert("a", "deep"), expert("b"), expert("deep"))
    world = World(tmp_path, mind, experts)
    await world.start()
    results = [m for m in world.model.requests[-1].messages if isinstance(m, ToolMessage)]
    assert "a after deep!" in str(results)
    assert "b done" in str(results)


async def test_a_failed_delegate_is_a_tool_result_and_the_job_goes_on(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation | Exception:
        if request.expert_key == "broken":
            return ProviderError("the vendor said no")
        if turn == 1:
            return says("", ("broken", {"query": "x"}), ("sound", {"query": "y"}))
        return done("decided")

    lead = expert("lead", "broken", "sound")

    def all_minds(request: ModelRequest, turn: int) -> Generation | Exception:
        return done("fine") if request.expert_key == "sound" else mind(request, turn)

    world = World(tmp_path, all_minds, (lead, expert("broken"), expert("sound")))
    ended = await world.start()
    assert ended.outcome.text == "decided"
    results = {tool: text for tool, text, _ in world.heard.results()}
    assert results["broken"] == "Delegation failed: the vendor said no"
    assert results["sound"] == "fine"
    assert ("broken", "stopRunByError") in world.heard.types("stopRunByError")


async def test_a_delegation_without_a_query_is_answered_not_run(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        lambda _, turn: says("", ("helper", {})) if turn == 1 else done("ok"),
        (expert("lead", "helper"), expert("helper")),
    )
    assert (await world.start()).outcome.text == "ok"
    assert world.heard.results()[0][2] is True


async def test_delegates_have_no_interactive_tools(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        names = [tool.name for tool in request.tools]
        if request.expert_key == "lead":
            assert "askUser" in names
            return says("", ("helper", {"query": "x"})) if turn == 1 else done("ok")
        assert "askUser" not in names
        return done("helped")

    lead = expert("lead", "helper", skills={"ask": ASK})
    world = World(tmp_path, mind, (lead, expert("helper", skills={"ask": ASK})))
    assert (await world.start()).outcome.text == "ok"


async def test_tool_delegate_and_question_of_one_response_come_in_that_order(
    tmp_path: Path,
) -> None:
    async def search(_: Mapping[str, JsonValue]) -> str:
        return "found"

    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "helper":
            return done("helped")
        if turn == 1:
            return says("", ("search", {}), ("helper", {"query": "q"}), ("askUser", {}))
        return done("all three")

    lead = expert("lead", "helper", skills={"ask": ASK})
    world = World(tmp_path, mind, (lead, expert("helper")), skills=FakeSkills({"search": search}))
    asked = await world.start()
    assert asked.outcome.ending == "asked"
    among = (
        *LIFE,
        "callTools",
        "resumeToolCalls",
        "callInteractiveTool",
        "stopRunByInteractiveTool",
    )
    kinds = [kind for key, kind in world.heard.types(*among) if key == "lead"]
    assert kinds == [
        "startRun",
        "callTools",
        "callDelegate",
        "stopRunByDelegate",
        "startRun",
        "resumeToolCalls",
        "callInteractiveTool",
        "stopRunByInteractiveTool",
    ]
    ended = await world.go_on(Continuation(job_id=asked.job_id, text="yes", is_answer=True))
    assert ended.outcome.text == "all three"


async def test_the_step_limit_counts_delegates_and_the_coordinator_stays_resumable(
    tmp_path: Path,
) -> None:
    async def again(_: Mapping[str, JsonValue]) -> str:
        return "again"

    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "helper":
            return says("", ("again", {}))
        return says("", ("helper", {"query": "x"})) if turn == 1 else done("ok")

    world = World(
        tmp_path,
        mind,
        (expert("lead", "helper"), expert("helper")),
        skills=FakeSkills({"again": again}),
        max_steps=5,
    )
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    world.max_steps = 50
    assert (await world.go_on(Continuation(job_id=ended.job_id))).outcome.text == "ok"


async def test_stopping_while_delegates_run_resumes_them_where_they_were(tmp_path: Path) -> None:
    hold = True
    started = anyio.Event()

    async def slow() -> Generation:
        started.set()
        if hold:
            await anyio.sleep_forever()
        return done("slow done")

    def mind(request: ModelRequest, turn: int) -> Reply:
        match request.expert_key, turn:
            case "lead", 1:
                return says("", ("quick", {"query": "x"}), ("slow", {"query": "y"}))
            case "quick", _:
                return done("quick done")
            case "slow", _:
                return slow()
            case _:
                return done("joined")

    experts = (expert("lead", "quick", "slow"), expert("quick"), expert("slow"))
    world = World(tmp_path, mind, experts)
    endings: list[JobOutcome] = []

    async def stop() -> None:
        await started.wait()
        while ("quick", "completeRun") not in world.heard.types("completeRun"):
            await anyio.lowlevel.checkpoint()
        world.control.stop("signal")

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        endings.append(await world.start())
    stopped = endings[0]
    assert stopped.outcome.ending == "stopped"
    hold = False
    world.control = type(world.control)()
    ended = await world.go_on(Continuation(job_id=stopped.job_id))
    assert ended.outcome.text == "joined"
    asked = [str(request.expert_key) for request in world.model.requests]
    assert asked.count("quick") == 1
    runs = {e.run_id for e in world.heard.events if e.expert_key == "slow"}
    assert len(runs) == 1
    bodies = [event.body for event in world.heard.events if event.expert_key == "lead"]
    assert sum(isinstance(body, StopRunByDelegate) for body in bodies) == 1
    assert sum(isinstance(body, StartRun) for body in bodies) == 3


async def test_a_ring_of_experts_ends_at_the_depth_limit(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        said = [m for m in request.messages if isinstance(m, ExpertMessage)]
        if said:
            return done("up")
        return says("", ("ring", {"query": "down"}))

    world = World(tmp_path, mind, (expert("ring", "ring"),), max_steps=1000)
    ended = await world.start()
    assert ended.outcome.ending == "completed"
    assert any("too deep" in text for _, text, _ in world.heard.results())


def helpers(count: int) -> list[tuple[str, dict[str, JsonValue]]]:
    return [("helper", {"query": f"part {number}"}) for number in range(count)]


async def test_parallel_delegates_never_take_more_steps_than_allowed(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "helper":
            return done("helped")
        return says("", *helpers(10))

    world = World(tmp_path, mind, (expert("lead", "helper"), expert("helper")), max_steps=3)
    ended = await world.start()
    assert ended.outcome.ending == "limit"
    assert len(world.model.requests) <= 3


async def test_a_stop_begins_no_delegate_that_was_still_queued(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Reply:
        if request.expert_key == "helper":
            world.control.stop("signal")
            return done("helped")
        if turn == 1:
            return says("", *helpers(5))
        return done("joined")

    world = World(tmp_path, mind, (expert("lead", "helper"), expert("helper")), max_parallel=1)
    stopped = await world.start()
    assert stopped.outcome.ending == "stopped"
    assert len(world.skills.opened) == 2


async def test_a_delegate_that_the_job_was_begun_without_is_a_failed_delegation(
    tmp_path: Path,
) -> None:
    """As one of a registry that nobody fetched, where a service runs an Expert of the file."""

    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "lead" and turn == 1:
            return says("", ("helper", {"query": "x"}), ("there", {"query": "y"}))
        return done("did it")

    world = World(
        tmp_path, mind, (expert("lead", "@acme/helper@1.0.0", "there"), expert("there", "@acme/x"))
    )
    ended = await world.start()
    assert ended.outcome.ending == "completed"
    (asked,) = [each for each in world.model.requests if each.expert_key == "lead"][1:]
    (told,) = [each for each in asked.messages if isinstance(each, ToolMessage)]
    texts = {result.tool_name: str(result.contents) for result in told.contents}
    assert "Expert @acme/helper@1.0.0 not found: the job was begun without it" in texts["helper"]
    assert "did it" in texts["there"]
