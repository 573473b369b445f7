"""/api/v1/sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
SESSIONS = "/api/v1/sessions"


async def test_a_new_session_ends_the_one_before_it(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        assert (await client.get(f"{SESSIONS}/active")).json()["data"] is None
        first = await client.post(SESSIONS, json={"metadata": {"goal": "one"}})
        assert first.status_code == 201
        assert first.json()["data"]["metadata"] == {"goal": "one"}
        assert first.json()["data"]["endedAt"] is None
        second = (await client.post(SESSIONS)).json()["data"]
        was = (await client.get(f"{SESSIONS}/{first.json()['data']['id']}")).json()["data"]
        assert (was["status"], second["status"]) == ("ended", "active")
        assert was["endedAt"].endswith("Z")
        assert (await client.get(f"{SESSIONS}/active")).json()["data"]["id"] == second["id"]


async def test_sessions_are_listed_in_pages_whose_total_is_right(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for _ in range(3):
            await client.post(SESSIONS)
        listed = (await client.get(SESSIONS, params={"limit": 1, "offset": 1})).json()
        assert len(listed["data"]) == 1
        assert listed["pagination"] == {"limit": 1, "offset": 1, "total": 3}
        ended = (await client.get(SESSIONS, params={"status": "ended"})).json()
        assert ended["pagination"] == {"limit": 50, "offset": 0, "total": 2}
        assert {one["status"] for one in ended["data"]} == {"ended"}


async def test_a_session_ends_once(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = (await client.post(SESSIONS)).json()["data"]["id"]
        ended = await client.put(f"{SESSIONS}/{made}/end")
        assert (ended.status_code, ended.json()["data"]["status"]) == (200, "ended")
        again = await client.put(f"{SESSIONS}/{made}/end")
        assert again.status_code == 404
        assert again.json()["error"] == "Session not found or already ended"


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for query in ({"status": "gone"}, {"limit": "0"}, {"offset": "-1"}):
            refused = await client.get(SESSIONS, params=query)
            assert (refused.status_code, refused.json()["success"]) == (400, False)


async def test_metadata_that_is_too_large_ends_no_session(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        made = (await client.post(SESSIONS)).json()["data"]["id"]
        refused = await client.post(SESSIONS, json={"metadata": {"a": "x" * 70_000}})
        assert refused.status_code == 400
        assert (await client.get(f"{SESSIONS}/active")).json()["data"]["id"] == made


async def test_a_viewer_looks_but_begins_nothing(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert (await client.get(SESSIONS)).status_code == 200
        assert (await client.post(SESSIONS)).status_code == 403
