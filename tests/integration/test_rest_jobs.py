"""/api/v1/jobs: starting, looking at, going on with and stopping them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio
import pytest
from httpx2 import AsyncClient

from perstack.config.typed import Overrides
from perstack.domain.ids import ExpertKey
from perstack.serving.backend import Place, open_backend
from perstack.serving.jobs import open_jobs
from tests.fakes.rest_answers import API, Json, becomes, data, refused
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
JOBS = f"{API}/jobs"
TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts."writer"]
instruction = "You write."
[experts."asker"]
instruction = "You ask."
[experts."asker".skills."user"]
type = "interactiveSkill"
[experts."asker".skills."user".tools."askUser"]
inputJsonSchema = '{"type": "object"}'
[experts."slow"]
instruction = "You take your time."
[experts."careful"]
instruction = "You ask first."
[experts."careful".skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
requireApproval = ["writeTextFile"]
"""
SCENARIO = """
[[turns]]
expert = "writer"
turn = 1
calls = [{ tool = "healthCheck" }]
[[turns]]
expert = "writer"
text = "A line"
[[turns]]
expert = "asker"
turn = 1
calls = [{ tool = "askUser", args = { question = "Which?", choices = ["red", "blue"] } }]
[[turns]]
expert = "asker"
text = "Painted."
[[turns]]
expert = "careful"
turn = 1
calls = [{ tool = "writeTextFile", args = { path = "note.txt", text = "kept" } }]
[[turns]]
expert = "careful"
text = "Noted."
[[turns]]
expert = "slow"
text = "at last"
latency_ms = 600_000
"""
UNFIT: Final[tuple[object, ...]] = (
    {"expert": "writer"},
    {"expert": "writer", "query": " "},
    {"expert": "writer", "query": "x" * 20_481},
    {"expert": "No Body", "query": "x"},
    {"expert": "writer", "query": "x", "maxSteps": 0},
    {"expert": "writer", "query": "x", "maxSteps": 2.5},
)


def staged(workspace: Path) -> Path:
    (workspace / "scenario.toml").write_text(SCENARIO)
    return workspace


async def begun(client: AsyncClient, expert: str, **more: object) -> str:
    body = {"expert": expert, "query": "do it", **more}
    return str(data(await client.post(JOBS, json=body), 202)["jobId"])


async def came_to(client: AsyncClient, job: str, state: str) -> Json:
    """Return the job once it is in that state."""
    return await becomes(client, f"/jobs/{job}", lambda seen: seen["state"] == state)


async def test_a_job_runs_in_the_server_and_can_be_looked_at_from_all_sides(
    tmp_path: Path,
) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        job = await begun(client, "writer", maxSteps=7)
        done = await came_to(client, job, "completed")
        assert (done["text"], done["ending"], done["maxSteps"]) == ("A line", "completed", 7)
        runs = data(await client.get(f"{JOBS}/{job}/runs"))
        assert [(one["runId"], one["query"]) for one in runs] == [(done["runId"], "do it")]
        listed = (await client.get(JOBS, params={"state": "completed"})).json()
        assert [one["jobId"] for one in listed["data"]] == [job]
        assert listed["pagination"] == {"limit": 50, "offset": 0, "total": 1}
        assert listed["data"][0]["lastActivityAt"].endswith("Z")
        assert data(await client.get(JOBS, params={"state": "lost"})) == []
        points = (await client.get(f"{JOBS}/{job}/checkpoints")).json()
        assert points["pagination"]["total"] == len(points["data"]) == 2
        assert [one["madeBy"] for one in points["data"]] == ["continueToNextStep", "completeRun"]
        last = points["data"][-1]["checkpointId"]
        whole = data(await client.get(f"{JOBS}/{job}/checkpoints/{last}"))
        assert (whole["id"], whole["status"]) == (last, "completed")
        assert "A line" in str(whole["messages"])


async def test_a_runs_events_are_read_in_pages_that_join_without_a_gap(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        job = await begun(client, "writer")
        run = (await came_to(client, job, "completed"))["runId"]
        path = f"{JOBS}/{job}/runs/{run}/events"
        whole = data(await client.get(path, params={"limit": 500}))
        assert [one["seq"] for one in whole["events"]] == list(range(len(whole["events"])))
        assert whole["events"][0]["runId"] == run
        assert whole["events"][-1]["type"] == "completeRun"
        assert (whole["more"], whole["lastSeq"]) == (False, len(whole["events"]) - 1)
        joined: list[Json] = []
        after, more = -1, True
        while more:
            part = data(await client.get(path, params={"after": after, "limit": 3}))
            assert len(part["events"]) <= 3
            joined += part["events"]
            after, more = part["lastSeq"], part["more"]
        assert joined == whole["events"]
        beyond = data(await client.get(path, params={"after": 10_000}))
        assert beyond == {"events": [], "lastSeq": None, "more": False}


async def test_a_question_is_answered_and_what_is_completed_goes_on_with_a_text(
    tmp_path: Path,
) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        job = await begun(client, "asker")
        asks = await came_to(client, job, "asks")
        assert (asks["question"]["text"], asks["question"]["choices"]) == (
            "Which?",
            ["red", "blue"],
        )
        more = f"{JOBS}/{job}/continue"
        said = refused(await client.post(more, json={"text": "red"}), 400)
        assert "waits for an answer" in said
        refused(await client.post(more, json={"text": "red", "answer": "red"}), 400)
        begun_again = data(await client.post(more, json={"answer": "red"}), 202)
        assert begun_again == {"jobId": job, "warnings": []}
        assert (await came_to(client, job, "completed"))["text"] == "Painted."
        refused(await client.post(more, json={"answer": "blue"}), 409)
        point = data(await client.get(f"{JOBS}/{job}/checkpoints"))[-1]["checkpointId"]
        body = {"text": "again", "fromCheckpoint": point}
        data(await client.post(more, json=body), 202)
        await came_to(client, job, "completed")
        runs = data(await client.get(f"{JOBS}/{job}/runs"))
        assert (runs[-1]["fromCheckpointId"], runs[-1]["delegated"]) == (point, False)
        refused(await client.post(more, json={"fromCheckpoint": "none", "text": "x"}), 404)


async def test_a_job_that_waits_for_a_decision_goes_on_once_it_is_approved_here(
    tmp_path: Path,
) -> None:
    async with rest(staged(tmp_path), TOML + "[consensus]\nenabled = true\n", name="ana") as client:
        job = await begun(client, "careful")
        waits = await becomes(client, f"/jobs/{job}", lambda seen: seen["consensusId"] is not None)
        assert (waits["state"], waits["ending"]) == ("waiting", None)
        assert not (tmp_path / "note.txt").exists()
        one = f"{API}/consensus/{waits['consensusId']}"
        shown = data(await client.get(one))
        assert (shown["jobId"], shown["proposedSubtasks"][0]["toolName"]) == (job, "writeTextFile")
        assert data(await client.put(f"{one}/approve"))["reviewerId"] == "ana"
        assert (await came_to(client, job, "completed"))["text"] == "Noted."
        assert (tmp_path / "note.txt").read_text() == "kept"


async def test_jobs_are_listed_in_pages_last_driven_first(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        jobs: list[str] = []
        for _ in range(3):
            jobs.append(await begun(client, "writer"))
            await came_to(client, jobs[-1], "completed")
        told = (await client.get(JOBS, params={"limit": 1, "offset": 1})).json()
        assert told["pagination"] == {"limit": 1, "offset": 1, "total": 3}
        some = (await client.get(JOBS, params={"limit": 2, "state": "completed"})).json()
        assert (len(some["data"]), some["pagination"]["total"]) == (2, 3)
        every = data(await client.get(JOBS))
        assert {one["jobId"] for one in every} == set(jobs)
        assert [one["jobId"] for one in told["data"]] == [every[1]["jobId"]]


async def test_a_job_of_this_server_is_stopped_at_a_checkpoint(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        job = await begun(client, "slow")
        stopping = data(await client.post(f"{JOBS}/{job}/stop"), 202)
        assert stopping == {"jobId": job, "stopping": True, "ordered": False}
        stopped = await came_to(client, job, "stopped")
        assert stopped["ending"] == "stopped"
        said = refused(await client.post(f"{JOBS}/{job}/stop"), 409)
        assert said == "the job is not at work"


async def test_a_job_that_something_else_drives_is_ordered_to_stop(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        place = Place(tmp_path, overrides=Overrides(), trust=True)
        async with open_backend(place) as backend, open_jobs(backend) as elsewhere:
            work = await elsewhere.start(ExpertKey("slow"), "take your time")
            job = await work.begin()
            await becomes(client, "/agents", lambda agents: agents["count"] == 1)
            stopping = data(await client.post(f"{JOBS}/{job}/stop"), 202)
            assert stopping["ordered"] is True
            with anyio.fail_after(20):
                await work.wait()
        assert (await came_to(client, job, "stopped"))["runId"]


async def test_what_there_is_not_is_not_found_and_ids_are_exact(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        job = await begun(client, "writer")
        await came_to(client, job, "completed")
        for path in (job[:8], "nothing", "nothing/runs", "nothing/checkpoints"):
            said = refused(await client.get(f"{JOBS}/{path}"), 404)
            assert said == f"no job {path.partition('/')[0]}"
        assert refused(await client.get(f"{JOBS}/{job}/runs/none/events"), 404) == "Run not found"
        refused(await client.get(f"{JOBS}/{job}/checkpoints/none"), 404)
        refused(await client.post(f"{JOBS}/none/continue", json={"text": "x"}), 404)
        refused(await client.get(f"{JOBS}/..%2F..%2Fetc"), 404)
        refused(await client.get(f"{JOBS}/.hidden"), 400)


async def test_a_job_that_cannot_begin_is_refused_and_not_there(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML) as client:
        for body in UNFIT:
            refused(await client.post(JOBS, json=body), 400)
        assert data(await client.get(JOBS)) == []


async def test_a_viewer_looks_at_jobs_and_starts_none(tmp_path: Path) -> None:
    async with rest(staged(tmp_path), TOML, role="viewer") as client:
        assert data(await client.get(JOBS)) == []
        refused(await client.post(JOBS, json={"expert": "writer", "query": "x"}), 403)
        refused(await client.post(f"{JOBS}/some/stop"), 403)
