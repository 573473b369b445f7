"""/api/v1/identities: the seed's table, with its sample bodies."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx2 import AsyncClient

from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
IDENTITIES = "/api/v1/identities"
SAMPLE = {"agentType": "coder", "displayName": "My Coder", "autoActivate": True}


async def _made(client: AsyncClient, **body: object) -> str:
    answer = await client.post(IDENTITIES, json={"agentType": "coder", **body})
    assert answer.status_code == 201
    return answer.json()["data"]["agentId"]


async def test_the_seeds_example_makes_an_active_identity(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = await client.post(IDENTITIES, json=SAMPLE)
        assert made.status_code == 201
        assert (made.json()["success"], made.json()["data"]["status"]) == (True, "active")
        assert made.json()["data"]["retiredAt"] is None
        listed = await client.get(IDENTITIES, params={"status": "active", "limit": 10})
        assert listed.json()["data"]["count"] == 1
        by_name = (await client.get(f"{IDENTITIES}/name/My%20Coder")).json()["data"]
        by_id = (await client.get(f"{IDENTITIES}/{by_name['agentId']}")).json()["data"]
        assert by_id == by_name == made.json()["data"]


async def test_a_patch_changes_what_it_gives_and_its_author_is_whoever_is_signed_in(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path, name="ana") as client:
        made = await _made(client, displayName="One", description="old")
        changed = await client.patch(
            f"{IDENTITIES}/{made}",
            params={"actorId": "somebody-else"},
            json={
                "displayName": "Two",
                "capabilities": [{"name": "write-code", "enabled": True}],
            },
        )
        data = changed.json()["data"]
        assert (data["displayName"], data["description"], data["version"]) == ("Two", "old", 2)
        assert data["capabilities"][0]["name"] == "write-code"
        audit = (await client.get(f"{IDENTITIES}/{made}/audit")).json()["data"]
        assert [one["action"] for one in audit["entries"]] == ["updated", "created"]
        assert {one["actorId"] for one in audit["entries"]} == {"ana"}


async def test_where_nobody_signs_in_the_actor_is_who_the_request_says(tmp_path: Path) -> None:
    async with rest(tmp_path, user_id=None) as client:
        made = await _made(client)
        await client.patch(
            f"{IDENTITIES}/{made}", params={"actorId": "bo"}, json={"description": "new"}
        )
        audit = (await client.get(f"{IDENTITIES}/{made}/audit", params={"limit": 1})).json()
        assert [one["actorId"] for one in audit["data"]["entries"]] == ["bo"]


async def test_an_identity_lives_rests_and_ends(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = await _made(client)
        seen = [
            (await client.post(f"{IDENTITIES}/{made}/{deed}", json=body)).json()["data"]["status"]
            for deed, body in (
                ("activate", None),
                ("deactivate", {"reason": "lunch"}),
                ("activate", {}),
                ("retire", {"reason": "done", "actorId": "x"}),
            )
        ]
        assert seen == ["active", "dormant", "active", "retired"]
        again = await client.post(f"{IDENTITIES}/{made}/activate")
        assert again.status_code == 409
        assert "Allowed transitions from retired: none" in again.json()["error"]
        refused = await client.patch(f"{IDENTITIES}/{made}", json={"description": "x"})
        assert (refused.status_code, refused.json()["error"]) == (
            409,
            "Cannot update a retired identity",
        )


async def test_what_is_not_there_is_404_and_what_does_not_fit_is_400(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for path in ("nope", "name/nope", "nope/audit"):
            missing = await client.get(f"{IDENTITIES}/{path}")
            assert (missing.status_code, missing.json()["error"]) == (404, "Identity not found")
        for body in (
            {},
            {"agentType": ""},
            {"agentType": "a", "displayName": "x" * 101},
            {"agentType": "a", "more": 1},
        ):
            assert (await client.post(IDENTITIES, json=body)).status_code == 400
        assert (await client.get(IDENTITIES, params={"limit": 1_001})).status_code == 400
