"""The figures for Prometheus: there, and moving."""

from __future__ import annotations

from pathlib import Path

import pytest
from httpx2 import AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from perstack.domain.memory import Caller
from perstack.serving.rest.metrics import HttpMetrics, Measured
from perstack.serving.rest.rules import Rules
from tests.fakes.rest_door import rest, rest_door

pytestmark = pytest.mark.anyio

FAMILIES = {
    "http_requests",
    "http_request_duration_seconds",
    "event_stream_clients",
    "websocket_clients",
    "agents_by_status",
    "agents_paused_current",
    "tasks_by_status",
    "tasks_queued_current",
    "memory_entries_current",
    "jobs_at_work",
    "resource_exhaustion_warnings",
    "resource_exhaustion_interventions",
    "resource_exhaustion_terminations",
    "agent_files_accessed",
    "agent_api_calls",
    "agent_tokens_consumed",
    "process_cpu_seconds",
    "process_resident_memory_bytes",
}

Sample = tuple[str, tuple[tuple[str, str], ...]]


async def scraped(client: AsyncClient) -> tuple[set[str], dict[Sample, float]]:
    answered = await client.get("/metrics")
    assert answered.status_code == 200
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answered.text))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    return {family.name for family in families}, samples


async def test_a_client_that_goes_before_it_is_answered_is_no_failure_of_the_server() -> None:
    metrics = HttpMetrics()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/breaks":
            raise RuntimeError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    measured = Measured(app, metrics)
    await measured({"type": "http", "method": "POST", "path": "/left"}, receive, send)
    with pytest.raises(RuntimeError):
        await measured({"type": "http", "method": "POST", "path": "/breaks"}, receive, send)
    for status in ("499", "500"):
        labels = {"method": "POST", "path": "(none)", "status": status}
        assert metrics.registry.get_sample_value("http_requests_total", labels) == 1


async def test_every_family_is_there_once(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        names, _ = await scraped(client)
        text = (await client.get("/metrics")).text
    assert names >= FAMILIES
    declared = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(declared) == len(set(declared))


async def test_figures_move_with_what_happens(tmp_path: Path) -> None:
    async with rest_door(tmp_path) as door:
        _, before = await scraped(door.client)
        async with door.backend.use() as served:
            await served.coordination.agents.spawn("coder")
            caller = Caller(name="somebody")
            await served.coordination.memory.store(caller, "key", "content")
        for _ in range(3):
            await door.client.get("/api/v1/agents")
        await door.client.get("/api/v1/nothing/of/the/sort")
        _, after = await scraped(door.client)
    agents = ("agents_by_status", (("status", "idle"),))
    entries: Sample = ("memory_entries_current", ())
    asked: Sample = (
        "http_requests_total",
        (("method", "GET"), ("path", "/api/v1/agents"), ("status", "200")),
    )
    missing: Sample = (
        "http_requests_total",
        (("method", "GET"), ("path", "(none)"), ("status", "404")),
    )
    took: Sample = (
        "http_request_duration_seconds_count",
        (("method", "GET"), ("path", "/api/v1/agents")),
    )
    assert after[agents] == before.get(agents, 0) + 1
    assert after[entries] == before[entries] + 1
    assert (after[asked], after[missing], after[took]) == (3, 1, 3)


async def test_what_clients_make_up_becomes_no_figure(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        for number in range(5):
            await client.get(f"/made/up/{number}")
            await client.get(f"/api/v1/agents/made-up-{number}")
        text = (await client.get("/metrics")).text
    assert "made" not in text


async def test_figures_are_for_those_who_may_read_the_system_unless_they_are_open(
    tmp_path: Path,
) -> None:
    token = "t" * 40
    async with rest_door(tmp_path, server_token=token) as door:
        assert (await door.client.get("/metrics")).status_code == 401
        allowed = await door.client.get("/metrics", headers={"x-api-key": token})
        assert allowed.status_code == 200
    rules = Rules(open_metrics=True)
    async with rest_door(tmp_path, server_token=token, rules=rules) as door:
        assert (await door.client.get("/metrics")).status_code == 200
