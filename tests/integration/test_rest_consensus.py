"""/api/v1/consensus: what waits, and who decides it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from httpx2 import AsyncClient, Response

from tests.fakes.consensus import NOW_MS, make_checkpoint
from tests.fakes.rest_answers import API, Json, data, refused
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio
CONSENSUS = f"{API}/consensus"
HUMAN = """
[consensus]
enabled = true
reviewerStrategy = "human"
"""


async def proposed(client: AsyncClient, text: str = "deploy it") -> Json:
    """Have a risky task wait, and return what was said of it."""
    made = await client.post(f"{API}/tasks", json={"agentType": "researcher"})
    parent = data(made, 201)["id"]
    body = {"agentType": "devops", "input": text, "parentTaskId": parent}
    return data(await client.post(f"{API}/tasks", json=body), 202)


async def test_agentstack_row_108_what_waits_is_listed_in_pages_oldest_first(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path, HUMAN) as client:
        ids = [(await proposed(client, f"deploy {n}"))["checkpointId"] for n in range(3)]
        told = (await client.get(f"{CONSENSUS}/pending", params={"limit": 1})).json()
        assert [one["id"] for one in told["data"]] == ids[:1]
        assert told["pagination"] == {"limit": 1, "offset": 0, "total": 3}
        assert told["data"][0]["subtaskCount"] == 1
        assert told["data"][0]["decidedAt"] is None


async def test_who_is_signed_in_decides_whatever_the_body_claims(tmp_path: Path) -> None:
    async with rest(tmp_path, HUMAN, name="ana") as client:
        asked = await proposed(client)
        one = f"{CONSENSUS}/{asked['checkpointId']}"
        shown = data(await client.get(one))
        assert shown["proposedSubtasks"][0]["input"] == "deploy it"
        assert (shown["status"], shown["decision"], shown["jobId"]) == ("pending", None, None)
        body = {"reviewedBy": "the boss", "feedback": "Looks good"}
        decided = data(await client.put(f"{one}/approve", json=body))
        assert (decided["status"], decided["reviewerId"], decided["reviewerType"]) == (
            "approved",
            "ana",
            "human",
        )
        assert decided["decision"]["feedback"] == "Looks good"
        events = data(await client.get(f"{one}/events"))
        assert [event["eventType"] for event in events] == ["created", "approved"]
        assert (events[1]["actorId"], events[1]["checkpointId"]) == ("ana", asked["checkpointId"])
        assert len(data(await client.get(f"{one}/events", params={"limit": 1}))) == 1
        said = refused(await client.put(f"{one}/reject", json={"reviewedBy": "x"}), 409)
        assert said == "Checkpoint is already approved"


async def test_where_nobody_signs_in_the_claim_is_kept_with_who_made_it(tmp_path: Path) -> None:
    async with rest(tmp_path, HUMAN, name="token", user_id=None) as client:
        one = f"{CONSENSUS}/{(await proposed(client))['checkpointId']}"
        decided = data(await client.put(f"{one}/reject", json={"reviewedBy": "user-1"}))
        assert (decided["status"], decided["reviewerId"]) == ("rejected", "user-1 (said token)")


async def test_of_those_who_decide_at_once_one_wins_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path, HUMAN) as client:
        one = f"{CONSENSUS}/{(await proposed(client))['checkpointId']}"
        answered: list[Response] = []

        async def decide(verb: str) -> None:
            answered.append(await client.put(f"{one}/{verb}"))

        async with anyio.create_task_group() as group:
            for verb in ("approve", "reject") * 5:
                group.start_soon(decide, verb)
        statuses = sorted(each.status_code for each in answered)
        assert statuses == [200] + [409] * 9
        assert len(data(await client.get(f"{one}/events"))) == 2


async def test_a_check_says_why_and_changes_nothing(tmp_path: Path) -> None:
    async with rest(tmp_path, HUMAN) as client:
        parent = data(await client.post(f"{API}/tasks", json={"agentType": "researcher"}), 201)
        body = {"agentType": "coder", "input": "Delete production database"}
        root = data(await client.post(f"{CONSENSUS}/check", json=body))
        assert (root["requiresConsensus"], root["riskLevel"]) == (False, "high")
        assert root["reason"] == "Root tasks do not require consensus"
        below = await client.post(f"{CONSENSUS}/check", json={**body, "parentTaskId": parent["id"]})
        assert data(below)["requiresConsensus"] is True
        assert data(await client.get(f"{CONSENSUS}/pending")) == []


async def test_what_is_overdue_is_rejected_by_the_system_when_that_is_set(tmp_path: Path) -> None:
    async with rest_door(tmp_path, HUMAN + "autoReject = true\n") as door:
        overdue = make_checkpoint(expires_at=NOW_MS + 1)
        async with door.backend.use() as served:
            await served.runtime.consensus.propose(overdue)
        settled = data(await door.client.post(f"{CONSENSUS}/expire"))
        assert settled["expired"] == 1
        assert [one["id"] for one in settled["checkpoints"]] == [overdue.id]
        assert data(await door.client.post(f"{CONSENSUS}/expire"))["expired"] == 0
        shown = data(await door.client.get(f"{CONSENSUS}/{overdue.id}"))
        assert (shown["status"], shown["reviewerId"]) == ("rejected", "system")
        said = refused(await door.client.put(f"{CONSENSUS}/{overdue.id}/approve"), 409)
        assert said == "Checkpoint is already rejected"


async def test_agentstack_row_109_with_the_strategy_human_a_review_starts_no_agent(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path, HUMAN) as client:
        asked = await proposed(client)
        started = await client.post(f"{CONSENSUS}/{asked['checkpointId']}/start-review")
        told = data(started, 202)
        assert (told["started"], told["agentType"]) == (False, None)
        assert told["reason"] == "It waits for a human."
        refused(await client.post(f"{CONSENSUS}/none/start-review"), 404)


async def test_an_unknown_checkpoint_is_not_found_at_every_route(tmp_path: Path) -> None:
    async with rest(tmp_path, HUMAN) as client:
        for verb, path in (
            ("GET", "none"),
            ("GET", "none/events"),
            ("PUT", "none/approve"),
            ("PUT", "none/reject"),
        ):
            said = refused(await client.request(verb, f"{CONSENSUS}/{path}"), 404)
            assert said == "Checkpoint not found"


async def test_without_consensus_its_rules_are_told_and_the_rest_says_what_is_missing(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        assert data(await client.get(f"{CONSENSUS}/config"))["enabled"] is False
        for verb, path in (
            ("GET", "pending"),
            ("POST", "expire"),
            ("GET", "some"),
            ("PUT", "some/approve"),
            ("POST", "some/start-review"),
        ):
            answered = await client.request(verb, f"{CONSENSUS}/{path}")
            assert refused(answered, 400) == "Consensus service not available"
            assert "[consensus]" in answered.json()["hint"]


async def test_a_viewer_decides_nothing_even_where_there_is_no_consensus(tmp_path: Path) -> None:
    async with rest_door(tmp_path, role="viewer") as door:
        refused(await door.client.put(f"{CONSENSUS}/some/approve"), 403)
        refused(await door.client.post(f"{CONSENSUS}/expire"), 403)
