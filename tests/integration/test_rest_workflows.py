"""/api/v1/workflows: they go on in the server, whoever listens."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from perstack.errors import LimitError
from perstack.serving.backend import Served
from perstack.serving.jobs import MOST_AT_ONCE, ServedJobs
from tests.fakes.consensus import until
from tests.fakes.rest_answers import API, becomes, data, refused
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio
WORKFLOWS = f"{API}/workflows"
SLOW = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""
NEVER = """
[[turns]]
text = "at last"
latency_ms = 600_000
"""


async def test_agentstack_row_134_a_document_that_names_a_missing_file_fails_in_the_background(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("# Guide\n\nSee `src/gone.py`.\n")
    async with rest(tmp_path) as client:
        body = {"workflow": "doc-sync", "config": {"docs": "./docs", "noModel": True}}
        begun = data(await client.post(WORKFLOWS, json=body), 202)
        assert (begun["workflow"], begun["status"]) == ("doc-sync", "running")
        ended = await becomes(
            client, f"/workflows/{begun['workflowId']}", lambda run: run["status"] != "running"
        )
        assert (ended["status"], ended["verdict"], ended["error"]) == ("completed", "FAIL", None)
        report = ended["report"]
        assert report["completedAt"].endswith("Z")
        assert report["summary"]["documentsScanned"] == 1
        found = {finding["severity"] for phase in report["phases"] for finding in phase["findings"]}
        assert {"medium", "high"} <= found
        assert data(await client.get(f"{WORKFLOWS}/running")) == []
        every = data(await client.get(f"{WORKFLOWS}/running", params={"all": True}))
        assert [one["id"] for one in every] == [begun["workflowId"]]
        again = await client.post(f"{WORKFLOWS}/{begun['workflowId']}/abort")
        assert refused(again, 409) == "the workflow run is already completed"


async def test_a_workflow_at_work_is_listed_as_running_and_can_be_aborted(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(NEVER)
    async with rest(tmp_path, SLOW) as client:
        body = {"workflow": "adversarial-review", "config": {"task": "write a parser"}}
        begun = data(await client.post(WORKFLOWS, json=body), 202)["workflowId"]
        running = data(await client.get(f"{WORKFLOWS}/running"))
        assert [(one["id"], one["verdict"]) for one in running] == [(begun, None)]
        aborted = data(await client.post(f"{WORKFLOWS}/{begun}/abort"))
        assert (aborted["id"], aborted["status"]) == (begun, "aborted")
        assert data(await client.get(f"{WORKFLOWS}/{begun}"))["report"] is None


async def test_a_workflow_that_failed_can_be_gone_on_with(tmp_path: Path) -> None:
    async with rest(tmp_path, SLOW) as client:
        body = {"workflow": "adversarial-review", "config": {"task": "x", "maxIterations": 1}}
        begun = data(await client.post(WORKFLOWS, json=body), 202)["workflowId"]
        failed = await becomes(
            client, f"/workflows/{begun}", lambda run: run["status"] != "running"
        )
        assert failed["status"] == "failed"
        assert "scenario.toml" in failed["error"]
        assert data(await client.post(f"{WORKFLOWS}/{begun}/resume"), 202)["workflowId"] == begun


async def test_a_server_with_its_hands_full_says_so_and_writes_no_run(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door:
        over = anyio.Event()

        async def work(_: Served) -> None:
            await over.wait()

        for number in range(MOST_AT_ONCE):
            door.jobs.spawn(f"work {number}", work)
        body = {"workflow": "doc-sync", "config": {"noModel": True}}
        said = refused(await door.client.post(WORKFLOWS, json=body), 429)
        assert said.startswith(f"{MOST_AT_ONCE} workflows and review loops are at work")
        refused(await door.client.post(f"{API}/review-loops", json={"codeInput": "x"}), 429)
        every = {"all": True}
        assert data(await door.client.get(f"{WORKFLOWS}/running", params=every)) == []
        over.set()
        await until(lambda: has_room(door.jobs))
        data(await door.client.post(WORKFLOWS, json=body), 202)


async def test_work_that_breaks_ends_neither_the_server_nor_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rest_door(tmp_path) as door:

        async def work(_: Served) -> None:
            raise RuntimeError("broken")

        for _ in range(MOST_AT_ONCE):
            door.jobs.spawn("some work", work)
        await until(lambda: has_room(door.jobs))
        assert data(await door.client.get(f"{WORKFLOWS}/running")) == []
    assert "some work failed" in caplog.text


def has_room(jobs: ServedJobs) -> bool:
    try:
        jobs.check_room()
    except LimitError:
        return False
    return True


async def test_what_can_be_started_is_listed(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        listed = data(await client.get(WORKFLOWS))
        assert {one["id"] for one in listed} == {
            "doc-sync",
            "full-stack-feature",
            "adversarial-review",
        }
        assert {one["id"]: one["needsModel"] for one in listed}["doc-sync"] is False


async def test_what_there_is_not_or_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        said = refused(await client.post(WORKFLOWS, json={"workflow": "nothing"}), 404)
        assert said == "Unknown workflow: nothing"
        body = {"workflow": "doc-sync", "config": {"docs": 5}}
        assert "docs" in refused(await client.post(WORKFLOWS, json=body), 400)
        refused(await client.post(WORKFLOWS, json={}), 400)
        for verb, path in (("GET", "none"), ("POST", "none/abort"), ("POST", "none/resume")):
            said = refused(await client.request(verb, f"{WORKFLOWS}/{path}"), 404)
            assert said == "Workflow run not found"
        assert data(await client.get(f"{WORKFLOWS}/running", params={"all": True})) == []
