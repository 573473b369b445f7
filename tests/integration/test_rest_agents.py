"""/api/v1/agents: spawned, given work, limited, stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from httpx2 import AsyncClient, Response
from starlette.types import Message

from perstack.domain.agents import Agent
from perstack.domain.ids import JobId
from perstack.services.looking import see_job
from tests.fakes.rest_door import RestDoor, rest, rest_door

pytestmark = pytest.mark.anyio
AGENTS: Final = "/api/v1/agents"
LIMITS: Final = "[resourceExhaustion]\nenabled = true\n"
TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "play.toml"
[experts.poet]
instruction = "You rhyme."
[experts.slow]
instruction = "You take your time."
[experts.walker]
instruction = "You walk."
[experts.asker]
instruction = "You ask."
[experts.asker.skills.ask]
type = "interactiveSkill"
[experts.asker.skills.ask.tools.askUser]
inputJsonSchema = '{"type": "object"}'
"""
PLAY: Final = """
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "askUser", args = { question = "which?" } }]
[[turns]]
expert = "slow"
text = "slow"
latency_ms = 60000
[[turns]]
expert = "walker"
turn = 1
text = "on my way"
latency_ms = 800
calls = [{ tool = "listDirectory", args = { path = "." } }]
[[turns]]
text = "verse {{turn}}"
"""


def _data(answer: Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


async def _spawned(client: AsyncClient, type_: str, **more: object) -> str:
    made = await client.post(AGENTS, json={"type": type_, **more})
    return _data(made, 201)["agent"]["id"]


@pytest.fixture
def team(tmp_path: Path) -> Path:
    (tmp_path / "play.toml").write_text(PLAY)
    return tmp_path


async def test_an_agent_is_spawned_looked_at_and_stopped(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = _data(await client.post(AGENTS, json={"type": "coder", "name": "ada"}), 201)
        assert (made["agent"]["status"], made["agent"]["sessionId"]) == ("idle", None)
        assert made["prompt"]
        agent = made["agent"]["id"]
        listed = _data(await client.get(AGENTS))
        assert (listed["count"], listed["agents"][0]["name"]) == (1, "ada")
        found = _data(await client.get(f"{AGENTS}/{agent}"))
        assert (found["id"], found["type"], found["pausedAt"]) == (agent, "coder", None)
        assert "write-code" in found["capabilities"]
        assert found["systemPrompt"] == made["prompt"]
        taken = await client.post(AGENTS, json={"type": "coder", "name": "ada"})
        assert (taken.status_code, taken.json()["error"]) == (
            409,
            "Agent with name 'ada' already exists",
        )
        assert _data(await client.delete(f"{AGENTS}/{agent}")) == {"stopped": True}
        gone = await client.get(f"{AGENTS}/{agent}")
        assert (gone.status_code, gone.json()["error"]) == (404, "Agent not found")
        assert (await client.delete(f"{AGENTS}/{agent}")).status_code == 404


async def test_types_come_core_first_and_sessions_filter_the_list(team: Path) -> None:
    async with rest(team, TOML) as client:
        types = _data(await client.get(f"{AGENTS}/types"))
        names = [one["type"] for one in types["types"]]
        assert names[0] == "coder"
        assert "poet" in names
        session = _data(await client.post("/api/v1/sessions"), 201)["id"]
        await _spawned(client, "coder")
        own = await _spawned(client, "poet", sessionId=session)
        listed = _data(await client.get(AGENTS, params={"sessionId": session}))
        assert [one["id"] for one in listed["agents"]] == [own]


async def test_all_five_statuses_can_be_set_and_stopped_stops(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        agent = await _spawned(client, "coder")
        for status in ("running", "completed", "failed", "idle"):
            done = await client.put(f"{AGENTS}/{agent}/status", json={"status": status})
            assert _data(done)["status"] == status
            assert _data(await client.get(f"{AGENTS}/{agent}"))["status"] == status
        assert (
            await client.put(f"{AGENTS}/{agent}/status", json={"status": "bogus"})
        ).status_code == 400
        done = await client.put(f"{AGENTS}/{agent}/status", json={"status": "stopped"})
        assert _data(done)["status"] == "stopped"
        assert (await client.get(f"{AGENTS}/{agent}")).status_code == 404


async def test_what_cannot_be_spawned_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for body in ({}, {"type": ""}, {"type": "nobody"}, {"type": "coder", "x": 1}):
            refused = await client.post(AGENTS, json=body)
            assert (refused.status_code, refused.json()["success"]) == (400, False), body
        unknown = await client.post(AGENTS, json={"type": "nobody"})
        assert unknown.json()["error"] == "Unknown agent type: nobody"


async def test_an_agent_really_runs_and_chat_goes_on_with_its_conversation(team: Path) -> None:
    async with rest(team, TOML) as client:
        agent = await _spawned(client, "poet")
        done = _data(await client.post(f"{AGENTS}/{agent}/execute", json={"task": "rhyme"}))
        assert (done["response"], done["ending"]) == ("verse 1", "completed")
        body = {"message": "another", "context": "about spring"}
        more = _data(await client.post(f"{AGENTS}/{agent}/chat", json=body))
        assert (more["response"], more["jobId"]) == ("verse 2", done["jobId"])
        assert more["model"] == done["model"]
        assert more["duration"] >= 0
        other = {"task": "rhyme", "provider": "openai"}
        refused = await client.post(f"{AGENTS}/{agent}/execute", json=other)
        assert (refused.status_code, refused.json()["error"]) == (
            400,
            "Provider 'openai' is not configured",
        )
        used = {"task": "rhyme", "provider": "scripted"}
        assert (await client.post(f"{AGENTS}/{agent}/execute", json=used)).status_code == 200


async def test_what_an_agent_asked_is_answered_by_saying_it(team: Path) -> None:
    async with rest(team, TOML) as client:
        agent = await _spawned(client, "asker")
        asked = _data(await client.post(f"{AGENTS}/{agent}/chat", json={"message": "paint"}))
        assert asked["ending"] == "asked"
        done = _data(await client.post(f"{AGENTS}/{agent}/chat", json={"message": "blue"}))
        assert (done["ending"], done["jobId"]) == ("completed", asked["jobId"])


async def test_a_job_stops_at_a_checkpoint_when_whoever_asked_goes_away(team: Path) -> None:
    async with rest_door(team, TOML) as door:
        agent = await _spawned(door.client, "slow")
        answered: list[Message] = []
        with anyio.fail_after(30):
            await _ask_and_leave(door, f"{AGENTS}/{agent}/execute", answered, agent)
        found = _data(await door.client.get(f"{AGENTS}/{agent}"))
        assert (found["status"], found["processId"]) == ("idle", None)
        history = door.backend.history
        seen = await see_job(history, await history.look_at_job(JobId(found["jobId"])))
        assert seen.state == "stopped"


async def _seen(door: RestDoor, agent: str, condition: Callable[[Agent], bool]) -> None:
    """Wait until what the table says of an agent is so."""
    async with (
        door.backend.use() as served,
        aclosing(served.coordination.agents.roll.watch()) as looks,
    ):
        async for agents in looks:
            if any(one.id == agent and condition(one) for one in agents):
                return


async def test_an_agent_at_work_in_this_server_waits_and_goes_on(team: Path) -> None:
    async with rest_door(team, LIMITS + TOML) as door:
        agent, answers = await _spawned(door.client, "walker"), list[Response]()

        async def work() -> None:
            body = {"task": "walk"}
            answers.append(await door.client.post(f"{AGENTS}/{agent}/execute", json=body))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await _seen(door, agent, lambda one: one.run_id is not None)
                _data(await door.client.post(f"{AGENTS}/{agent}/pause", json={"reason": "look"}))
                await _seen(door, agent, lambda one: one.paused_at is not None)
                assert answers == []
                _data(await door.client.post(f"{AGENTS}/{agent}/resume"))
        assert _data(answers[0])["ending"] == "completed"


async def test_an_agent_at_work_in_this_server_is_stopped(team: Path) -> None:
    async with rest_door(team, TOML) as door:
        agent, answers = await _spawned(door.client, "slow"), list[Response]()

        async def work() -> None:
            body = {"task": "think"}
            answers.append(await door.client.post(f"{AGENTS}/{agent}/execute", json=body))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await _seen(door, agent, lambda one: one.run_id is not None)
                assert _data(await door.client.delete(f"{AGENTS}/{agent}")) == {"stopped": True}
        assert _data(answers[0])["ending"] == "stopped"


async def _ask_and_leave(door: RestDoor, path: str, answered: list[Message], agent: str) -> None:
    """Ask as a server would hand it on, and go away once the agent is at work."""
    body = json.dumps({"task": "think"}).encode()
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await _seen(door, agent, lambda one: one.run_id is not None)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)

    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "root_path": "",
    }
    await door.app(scope, receive, send)


async def test_resources_have_the_seeds_shape_and_a_deliverable_restarts_the_clock(
    team: Path,
) -> None:
    async with rest(team, LIMITS + TOML) as client:
        agent = await _spawned(client, "poet")
        await client.post(f"{AGENTS}/{agent}/execute", json={"task": "rhyme"})
        used = _data(await client.get(f"{AGENTS}/{agent}/resources"))
        assert used["agentId"] == agent
        assert used["apiCallsCount"] == 1
        assert used["tokensConsumed"] > 0
        assert (used["phase"], used["pausedAt"], used["pauseReason"]) == ("normal", None, None)
        begun = used["startedAt"]
        body = {
            "type": "task_completed",
            "description": "Implemented user authentication",
            "artifacts": ["src/auth/login.ts", "src/auth/middleware.ts"],
        }
        made = _data(await client.post(f"{AGENTS}/{agent}/deliverable", json=body), 201)
        assert {name: made[name] for name in body} == body
        assert made["agentId"] == agent
        used = _data(await client.get(f"{AGENTS}/{agent}/resources"))
        assert used["lastDeliverableAt"] >= made["createdAt"] > begun
        refused = await client.post(f"{AGENTS}/{agent}/deliverable", json={"type": "bogus"})
        assert refused.status_code == 400


async def test_a_paused_agent_begins_nothing_until_it_is_resumed(team: Path) -> None:
    async with rest(team, LIMITS + TOML) as client:
        agent = await _spawned(client, "poet")
        why = {"reason": "Manual pause for review"}
        told = _data(await client.post(f"{AGENTS}/{agent}/pause", json=why))
        assert told == {"paused": True, **why}
        again = _data(await client.post(f"{AGENTS}/{agent}/pause"))
        assert again == told, "it is paused already, and for this reason"
        refused = await client.post(f"{AGENTS}/{agent}/execute", json={"task": "rhyme"})
        assert (refused.status_code, refused.json()["error"]) == (
            409,
            f"Agent {agent} is paused: Manual pause for review",
        )
        assert _data(await client.get(f"{AGENTS}/{agent}/resources"))["pauseReason"]
        assert _data(await client.post(f"{AGENTS}/{agent}/resume")) == {"resumed": True}
        done = await client.post(f"{AGENTS}/{agent}/execute", json={"task": "rhyme"})
        assert _data(done)["response"] == "verse 1"
        assert (await client.post(f"{AGENTS}/{agent}/resume")).status_code == 409
        unsaid = _data(await client.post(f"{AGENTS}/{agent}/pause"))
        assert unsaid == {"paused": True, "reason": "Manual pause via API"}


async def test_without_monitoring_its_four_routes_say_why_they_do_nothing(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        agent = await _spawned(client, "coder")
        answers = (
            await client.get(f"{AGENTS}/{agent}/resources"),
            await client.post(f"{AGENTS}/{agent}/deliverable", json={"type": "tests_passed"}),
            await client.post(f"{AGENTS}/{agent}/pause"),
            await client.post(f"{AGENTS}/{agent}/resume"),
        )
        for answer in answers:
            assert answer.status_code == 400
            assert answer.json()["error"] == "Resource exhaustion monitoring is not enabled"
            assert answer.json()["hint"] == "set [resourceExhaustion] enabled = true"


async def test_nobody_unknown_is_worked_with(team: Path) -> None:
    async with rest(team, LIMITS + TOML) as client:
        for path, body in (
            ("execute", {"task": "x"}),
            ("chat", {"message": "x"}),
            ("deliverable", {"type": "tests_passed"}),
            ("pause", {}),
            ("resume", {}),
        ):
            missing = await client.post(f"{AGENTS}/nope/{path}", json=body)
            assert (missing.status_code, missing.json()["error"]) == (404, "Agent not found"), path
        assert (await client.get(f"{AGENTS}/nope/resources")).status_code == 404


async def test_a_viewer_looks_at_agents_and_orders_none(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert (await client.get(AGENTS)).status_code == 200
        assert (await client.post(AGENTS, json={"type": "coder"})).status_code == 403
        assert (await client.delete(f"{AGENTS}/x")).status_code == 403
        assert (await client.post(f"{AGENTS}/x/execute", json={"task": "x"})).status_code == 403
