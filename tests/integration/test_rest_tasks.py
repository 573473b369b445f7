"""/api/v1/tasks: creating them past drift and consensus, the queue, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from httpx2 import AsyncClient

from tests.fakes.rest_answers import API, Json, data, refused
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio
TASKS = f"{API}/tasks"
GATED = """
[consensus]
enabled = true
reviewerStrategy = "human"
"""
DRIFTING = """
[memory.vectorSearch]
enabled = true
provider = "hashed"
[driftDetection]
enabled = true
behavior = "prevent"
asyncEmbedding = false
"""
CHOOSING = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""
CHOICE = """
[[turns]]
calls = [{ tool = "choose", args = { agentType = "tester", confidence = 0.9, reasoning = "x" } }]
"""
UNFIT: Final[tuple[object, ...]] = (
    {"priority": 11},
    {"priority": "5"},
    {"agentType": ""},
    {"riskLevel": "none"},
    {"input": 5},
    {"id": "mine"},
    [],
)


async def created(client: AsyncClient, **body: object) -> Json:
    return data(await client.post(TASKS, json={"agentType": "tester", **body}), 201)


async def test_a_task_is_made_listed_in_pages_and_completed_once(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        first = await created(client, input="one")
        assert (first["status"], first["priority"], first["dispatch"]) == ("pending", None, None)
        for each in ("two", "three"):
            await created(client, input=each)
        done = data(await client.put(f"{TASKS}/{first['id']}/complete", json={"output": "1"}))
        assert (done["status"], done["output"]) == ("completed", "1")
        said = refused(await client.put(f"{TASKS}/{first['id']}/complete"), 409)
        assert "completed" in said
        listed = (await client.get(TASKS, params={"limit": 1, "offset": 1})).json()
        assert [one["input"] for one in listed["data"]] == ["two"]
        assert listed["pagination"] == {"limit": 1, "offset": 1, "total": 3}
        some = (await client.get(TASKS, params={"status": "pending"})).json()
        assert some["pagination"]["total"] == len(some["data"]) == 2
        assert data(await client.get(f"{TASKS}/{first['id']}"))["completedAt"].endswith("Z")
        assert refused(await client.get(f"{TASKS}/none"), 404) == "Task not found"


async def test_lists_show_the_beginning_of_long_texts_and_a_task_all_of_it(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = await created(client, input="x" * 2_000)
        listed = data(await client.get(TASKS))[0]
        assert (listed["input"], listed["hasInput"]) == ("x" * 500 + "…", True)
        assert data(await client.get(f"{TASKS}/{made['id']}"))["input"] == "x" * 2_000


async def test_a_task_in_the_queue_can_be_assigned_and_comes_back_one_priority_lower(
    tmp_path: Path,
) -> None:
    async with rest_door(tmp_path) as door:
        client = door.client
        async with door.backend.use() as served:
            agent = (await served.coordination.agents.spawn("tester", name="bob")).id
        low = await created(client, input="low", priority=2)
        high = await created(client, input="high", priority=9)
        queue = data(await client.get(f"{TASKS}/queue"))
        assert queue["status"] == {"queued": 2, "processing": 0, "total": 2}
        assert [one["task"]["id"] for one in queue["pending"]] == [high["id"], low["id"]]
        assert queue["processing"] == []
        given = data(await client.put(f"{TASKS}/{high['id']}/assign", json={"agentId": agent}))
        assert (given["status"], given["agentId"]) == ("running", agent)
        queue = data(await client.get(f"{TASKS}/queue"))
        assert [one["task"]["id"] for one in queue["processing"]] == [high["id"]]
        again = await client.put(
            f"{TASKS}/{high['id']}/fail", params={"requeue": True}, json={"error": "no disk"}
        )
        back = data(again)
        assert (back["status"], back["priority"], back["feedback"]) == ("pending", 8, "no disk")
        failed = data(await client.put(f"{TASKS}/{low['id']}/fail", json={"error": "no use"}))
        assert (failed["status"], failed["output"]) == ("failed", "no use")
        unknown = await client.put(f"{TASKS}/{high['id']}/assign", json={"agentId": "nobody"})
        assert refused(unknown, 404) == "Agent not found"


async def test_a_risky_part_of_a_task_waits_and_is_made_once_it_is_approved(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path, GATED) as client:
        parent = (await created(client, agentType="researcher"))["id"]
        body = {"agentType": "devops", "input": "deploy it", "parentTaskId": parent}
        asked = data(await client.post(TASKS, json=body), 202)
        assert asked["consensusRequired"] is True
        assert asked["status"] == asked["checkpoint"]["status"] == "pending"
        assert asked["checkpoint"]["id"] == asked["checkpointId"]
        waits = asked["checkpoint"]["taskId"]
        refused(await client.get(f"{TASKS}/{waits}"), 404)
        data(await client.put(f"{API}/consensus/{asked['checkpointId']}/approve"))
        made = data(await client.get(f"{TASKS}/{waits}"))
        assert (made["parentTaskId"], made["consensusCheckpointId"]) == (
            parent,
            asked["checkpointId"],
        )


async def test_a_task_that_repeats_its_parent_is_refused_and_not_made(tmp_path: Path) -> None:
    async with rest(tmp_path, DRIFTING) as client:
        text = "write the parser of the settings file"
        parent = (await created(client, input=text))["id"]
        body = {"agentType": "tester", "input": text, "parentTaskId": parent}
        answered = await client.post(TASKS, json=body)
        assert refused(answered, 409) == "Task creation prevented due to semantic drift"
        told = answered.json()
        assert (told["code"], told["drift"]["action"]) == ("conflict", "prevented")
        assert told["drift"]["mostSimilarTaskId"] == parent
        assert (await client.get(TASKS)).json()["pagination"]["total"] == 1


async def test_the_dispatcher_is_asked_without_making_a_task_and_when_one_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "scenario.toml").write_text(CHOICE)
    async with rest(tmp_path, CHOOSING) as client:
        seen = data(await client.post(f"{TASKS}/dispatch", json={"input": "prove it"}))
        assert (seen["agentType"], seen["confidence"], seen["cached"]) == ("tester", 0.9, False)
        assert data(await client.get(TASKS)) == []
        made = data(await client.post(TASKS, json={"input": "prove it"}), 201)
        assert (made["agentType"], made["dispatch"]["cached"]) == ("tester", True)


async def test_where_no_dispatcher_is_enabled_a_preview_says_so(tmp_path: Path) -> None:
    async with rest(tmp_path, "[smartDispatcher]\nenabled = false\n") as client:
        said = refused(await client.post(f"{TASKS}/dispatch", json={"input": "x"}), 400)
        assert said == "Smart dispatcher is not enabled or no provider available"


async def test_a_task_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for body in UNFIT:
            refused(await client.post(TASKS, json=body), 400)
        assert data(await client.get(TASKS)) == []


async def test_a_task_of_no_session_or_no_parent_is_refused_in_words(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        body = {"agentType": "tester"}
        said = refused(await client.post(TASKS, json={**body, "sessionId": "none"}), 404)
        assert said == "Session not found"
        said = refused(await client.post(TASKS, json={**body, "parentTaskId": "none"}), 404)
        assert said == "Parent task not found"


async def test_a_viewer_sees_tasks_and_makes_none(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert data(await client.get(f"{TASKS}/queue"))["pending"] == []
        assert refused(await client.post(TASKS, json={}), 403) == "Insufficient permissions"
