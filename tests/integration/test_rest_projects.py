"""/api/v1/projects and their tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from httpx2 import AsyncClient

from tests.fakes.rest_answers import API, data, refused
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
PROJECTS = f"{API}/projects"
UNFIT: Final[tuple[object, ...]] = (
    {"path": "/x"},
    {"name": " ", "path": "/x"},
    {"name": "x" * 201, "path": "/x"},
    {"name": "x", "path": "/x", "owner": "me"},
    {"name": 5, "path": "/x"},
)


async def begun(client: AsyncClient, name: str = "Shop") -> str:
    made = data(await client.post(PROJECTS, json={"name": name, "path": "/srv/shop"}), 201)
    return str(made["id"])


async def added(client: AsyncClient, project: str, **more: object) -> str:
    body = {"title": "Pay", **more}
    return str(data(await client.post(f"{PROJECTS}/{project}/tasks", json=body), 201)["id"])


async def test_a_project_is_made_changed_listed_and_deleted(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        project = await begun(client)
        made = data(await client.get(f"{PROJECTS}/{project}"))
        assert (made["status"], made["description"], made["metadata"]) == ("active", None, {})
        assert made["createdAt"].endswith("Z")
        changed = data(
            await client.put(f"{PROJECTS}/{project}", json={"status": "archived", "name": "Old"})
        )
        assert (changed["name"], changed["path"]) == ("Old", "/srv/shop")
        await begun(client, "New")
        archived = data(await client.get(PROJECTS, params={"status": "archived"}))
        assert [one["name"] for one in archived] == ["Old"]
        assert len(data(await client.get(PROJECTS, params={"limit": 1}))) == 1
        assert data(await client.delete(f"{PROJECTS}/{project}")) == {"deleted": True}
        assert refused(await client.get(f"{PROJECTS}/{project}"), 404).startswith("Project not")
        refused(await client.delete(f"{PROJECTS}/{project}"), 404)


async def test_a_projects_tasks_come_by_priority_and_only_of_their_own_project(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        project, other = await begun(client), await begun(client, "Other")
        late = await added(client, project, priority=9)
        soon = await added(client, project, priority=1, assignedAgents=["coder"])
        tasks = f"{PROJECTS}/{project}/tasks"
        listed = data(await client.get(tasks))
        assert [(one["id"], one["phase"]) for one in listed] == [(soon, "draft"), (late, "draft")]
        assert listed[0]["assignedAgents"] == ["coder"]
        assert data(await client.get(f"{tasks}/{soon}"))["completedAt"] is None
        refused(await client.get(f"{PROJECTS}/{other}/tasks/{soon}"), 404)
        refused(await client.put(f"{PROJECTS}/{other}/tasks/{soon}", json={"priority": 2}), 404)
        refused(await client.delete(f"{PROJECTS}/{other}/tasks/{soon}"), 404)
        changed = data(await client.put(f"{tasks}/{late}", json={"title": "Paid", "priority": 2}))
        assert (changed["title"], changed["priority"]) == ("Paid", 2)
        given = data(await client.put(f"{tasks}/{late}/assign", json={"agents": ["a", "b"]}))
        assert given["assignedAgents"] == ["a", "b"]
        assert data(await client.delete(f"{tasks}/{soon}")) == {"deleted": True}
        assert len(data(await client.get(tasks))) == 1
        refused(await client.get(f"{PROJECTS}/nowhere/tasks"), 404)


async def test_agentstack_row_144_a_phase_that_does_not_lead_there_is_a_400_with_the_allowed_ones(
    tmp_path: Path,
) -> None:
    async with rest(tmp_path) as client:
        project = await begun(client)
        task = await added(client, project)
        phase = f"{PROJECTS}/{project}/tasks/{task}/phase"
        said = refused(await client.put(phase, json={"phase": "development"}), 400)
        assert said == (
            "Cannot transition from draft to development. Allowed: specification, cancelled"
        )
        for wanted in ("specification", "review", "development", "completed"):
            moved = data(await client.put(phase, json={"phase": wanted}))
            assert moved["phase"] == wanted
        assert moved["completedAt"].endswith("Z")
        said = refused(await client.put(phase, json={"phase": "draft"}), 400)
        assert said.endswith("Allowed: none")
        refused(await client.put(phase, json={"phase": "nowhere"}), 400)
        done = data(await client.get(f"{PROJECTS}/{project}/tasks", params={"phase": "completed"}))
        assert [one["id"] for one in done] == [task]


async def test_a_project_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for body in UNFIT:
            refused(await client.post(PROJECTS, json=body), 400)
        assert data(await client.get(PROJECTS)) == []


async def test_a_viewer_looks_and_changes_nothing(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert data(await client.get(PROJECTS)) == []
        refused(await client.post(PROJECTS, json={"name": "x", "path": "/x"}), 403)
