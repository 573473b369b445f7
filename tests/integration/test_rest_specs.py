"""/api/v1/specs, also as /specifications, and those of a project's task."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx2 import AsyncClient

from tests.fakes.rest_answers import API, data, refused
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio


async def drafted(client: AsyncClient, **more: object) -> tuple[str, str]:
    """Return a project's task, and a draft for it."""
    made = await client.post(f"{API}/projects", json={"name": "Shop", "path": "/srv/shop"})
    project = data(made, 201)["id"]
    added = await client.post(f"{API}/projects/{project}/tasks", json={"title": "Pay"})
    task = data(added, 201)["id"]
    body = {"type": "api", "title": "Paying", "content": "POST /pay", **more}
    made = await client.post(f"{API}/tasks/{task}/specs", json=body)
    return task, data(made, 201)["id"]


@pytest.mark.parametrize("prefix", ["specs", "specifications"])
async def test_a_specification_goes_through_review_under_both_names(
    tmp_path: Path, prefix: str
) -> None:
    async with rest(tmp_path, name="ana") as client:
        task, spec = await drafted(client, createdBy="somebody else")
        one = f"{API}/{prefix}/{spec}"
        made = data(await client.get(one))
        assert (made["createdBy"], made["status"], made["version"]) == ("ana", "draft", 1)
        assert (made["reviewedBy"], made["approvedAt"], made["comments"]) == (None, None, [])
        changed = data(await client.put(one, json={"content": "POST /v2/pay"}))
        assert (changed["version"], changed["content"]) == (2, "POST /v2/pay")
        assert data(await client.put(f"{one}/submit"))["status"] == "pending_review"
        rejected = data(await client.put(f"{one}/reject", json={"comments": ["No limits"]}))
        assert rejected["status"] == "rejected"
        assert rejected["comments"][0]["content"] == "No limits"
        assert rejected["comments"][0]["author"] == "ana"
        assert rejected["comments"][0]["createdAt"].endswith("Z")
        data(await client.put(f"{one}/submit"))
        approved = data(await client.put(f"{one}/approve", json={"reviewedBy": "boss"}))
        assert (approved["status"], approved["reviewedBy"]) == ("approved", "ana")
        assert approved["approvedAt"].endswith("Z")
        said = refused(await client.put(one, json={"title": "Other"}), 400)
        assert said == "Cannot update an approved specification"
        listed = data(await client.get(f"{API}/tasks/{task}/specs"))
        assert [each["id"] for each in listed] == [spec]
        assert data(await client.delete(one)) == {"deleted": True}
        refused(await client.get(one), 404)


async def test_agentstack_row_145_a_draft_cannot_be_approved_nor_anything_rejected_without_comments(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        _, spec = await drafted(client)
        one = f"{API}/specifications/{spec}"
        said = refused(await client.put(f"{one}/approve", json={"reviewedBy": "boss"}), 400)
        assert said == "Cannot approve a specification that is draft: it must be pending_review"
        data(await client.put(f"{one}/submit"))
        said = refused(await client.put(f"{one}/reject", json={"reviewedBy": "boss"}), 400)
        assert said == "Comments are required to reject a specification"
        assert data(await client.get(one))["status"] == "pending_review"


async def test_what_was_edited_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        _, spec = await drafted(client)
        one = f"{API}/specs/{spec}"
        data(await client.put(one, json={"title": "Other"}))
        data(await client.put(f"{one}/submit"))
        said = refused(await client.put(f"{one}/approve", json={"version": 1}), 409)
        assert said == "Specification is at version 2, not 1"


async def test_where_nobody_signs_in_a_claim_is_kept_with_who_made_it(tmp_path: Path) -> None:
    async with rest(tmp_path, name="the token", user_id=None) as client:
        _, spec = await drafted(client, createdBy="ana")
        made = data(await client.get(f"{API}/specs/{spec}"))
        assert made["createdBy"] == "ana (said the token)"


async def test_a_specification_of_no_task_or_of_no_type_is_refused(tmp_path: Path) -> None:
    body = {"type": "api", "title": "Paying", "content": "POST /pay"}
    async with rest(tmp_path) as client:
        refused(await client.post(f"{API}/tasks/none/specs", json=body), 404)
        refused(await client.get(f"{API}/tasks/none/specs"), 404)
        task, _ = await drafted(client)
        specs = f"{API}/tasks/{task}/specs"
        refused(await client.post(specs, json={**body, "type": "poem"}), 400)
        refused(await client.post(specs, json={**body, "content": " "}), 400)
