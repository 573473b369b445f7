"""Status, health and configuration of a workspace, over real databases."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.secrets import redact, secret_values
from perstack.domain.agents import AgentStatus, AgentType
from perstack.domain.coordination import (
    CoordinationSettings,
    GithubSettings,
    MemorySettings,
    SlackSettings,
    VectorSearchSettings,
)
from perstack.domain.ids import TaskId
from perstack.domain.memory import Caller, MemoryStats, NamespaceCount
from perstack.domain.moments import iso8601
from perstack.domain.settings import NotifySettings, PluginProvider, ProviderSettings, Settings
from perstack.domain.tasks import Task
from perstack.errors import CorruptRecordError
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.health import (
    DISK_FAIL_BYTES,
    HealthMonitor,
    disk_check,
    memory_check,
    provider_check,
    system_check,
)
from perstack.services.sessions import SessionService
from perstack.services.system import SystemService
from perstack.services.vitals import Vitals, measure
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio

ANA = Caller(name="ana@desk")
CALM = Vitals(
    memory_used=10,
    memory_limit=100,
    cpu_percent=5.0,
    disk_total=1_000 * 1024**3,
    disk_free=500 * 1024**3,
    uptime_s=12.5,
)
GIB = 1024**3


class Surroundings:
    """Agents, types and memory, as they are set."""

    def __init__(self) -> None:
        self.by_status: dict[AgentStatus, int] = {"idle": 1, "running": 2, "completed": 9}
        self.stored = MemoryStats(total=150, indexed=147, coverage=98.0, embedder="hashed")
        self.broken = False

    async def count_by_status(self) -> dict[AgentStatus, int]:
        if self.broken:
            raise CorruptRecordError("the table of agents is damaged")
        return self.by_status

    def list(self) -> Sequence[AgentType]:
        return [
            AgentType(
                type=name, name=name, description="", capabilities=(), system_prompt="", custom=own
            )
            for name, own in (("coder", False), ("reviewer", False), ("poet", True))
        ]

    async def stats(self, caller: Caller) -> MemoryStats:
        assert caller == ANA
        if self.broken:
            raise CorruptRecordError("the memory is damaged")
        return self.stored

    async def namespaces(self, caller: Caller) -> list[NamespaceCount]:
        assert caller == ANA
        return [NamespaceCount(namespace="default", entries=150)]


def make_settings(*, vectors: bool = False) -> Settings:
    memory = MemorySettings(vector_search=VectorSearchSettings(enabled=vectors))
    return Settings(coordination=CoordinationSettings(memory=memory))


def make_system(
    stores: Handle[Stores], around: Surroundings, settings: Settings | None = None, **env: str
) -> SystemService:
    return SystemService(
        stores,
        agents=around,
        types=around,
        memory=around,
        settings=settings or make_settings(),
        env=env,
        redact=lambda text: redact(text, secret_values(env)),
        version="1.2.3",
    )


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def stores(database_target: Path | str, clock: SetClock) -> AsyncGenerator[Handle[Stores]]:
    handle: Handle[Stores] = Handle(lambda: open_stores(database_target, clock=clock, ids=Uuids()))
    yield handle
    await handle.aclose()


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


async def test_the_status_is_the_union_of_both_shapes(
    stores: Handle[Stores], around: Surroundings, clock: SetClock
) -> None:
    begun = await SessionService(stores, clock=clock, ids=Uuids()).start()
    task = Task(id=TaskId("t1"), agent_type="coder", created_at=NOW_MS)
    await stores.ask(lambda s: s.tasks.add(task))
    system = make_system(stores, around, ANTHROPIC_API_KEY="sk-ant-0123456789")
    shown = (await system.status(ANA)).model_dump(mode="json", by_alias=True)
    assert shown == {
        "version": "1.2.3",
        "session": {
            "id": begun.id,
            "status": "active",
            "startedAt": iso8601(NOW_MS),
            "metadata": None,
        },
        "agents": {
            "active": 3,
            "byStatus": {"idle": 1, "running": 2, "completed": 9},
            "registered": {"core": 2, "custom": 1, "total": 3},
        },
        "memory": {
            "entries": 150,
            "namespaces": ["default"],
            "total": 150,
            "indexed": 147,
            "coverage": "98%",
            "vectorEnabled": False,
            "embedder": "hashed",
        },
        "tasks": {"pending": 1, "processing": 0},
        "providers": {"default": "anthropic", "available": ["anthropic", "ollama"]},
    }


async def test_a_workspace_in_order_is_healthy_in_both_shapes(
    stores: Handle[Stores], around: Surroundings
) -> None:
    found = await make_system(stores, around, make_settings(vectors=True)).health(ANA)
    assert found.model_dump(mode="json", by_alias=True) == {
        "healthy": True,
        "status": "healthy",
        "checks": {
            "database": True,
            "vectorSearch": True,
            "github": False,
            "memory": {"status": "ok", "message": "150 entries stored"},
            "vector_search": {"status": "ok", "message": "147/150 entries indexed"},
            "agents": {"status": "ok", "message": "3 types, 3 active"},
        },
    }


async def test_vector_search_that_is_off_is_no_fault(
    stores: Handle[Stores], around: Surroundings
) -> None:
    checks = (await make_system(stores, around).health(ANA)).checks
    assert checks.vector_search_on is False
    assert checks.vector_search.message == "Disabled (using FTS only)"


async def test_nothing_indexed_is_a_warning(stores: Handle[Stores], around: Surroundings) -> None:
    around.stored = MemoryStats(total=5, indexed=0, coverage=0.0)
    found = await make_system(stores, around, make_settings(vectors=True)).health(ANA)
    assert (found.healthy, found.status) == (False, "degraded")
    assert found.checks.vector_search.message == "Enabled but no entries indexed"


async def test_what_is_damaged_makes_it_unhealthy(
    stores: Handle[Stores], around: Surroundings
) -> None:
    around.broken = True
    found = await make_system(stores, around).health(ANA)
    assert found.status == "unhealthy"
    assert found.checks.memory.message == "the memory is damaged"
    assert found.checks.agents.message == "the table of agents is damaged"


async def test_a_database_that_is_none_is_unhealthy_and_not_ready(
    tmp_path: Path, around: Surroundings, clock: SetClock
) -> None:
    path = tmp_path / "perstack.db"
    path.write_bytes(b"this is no database" * 100)
    handle: Handle[Stores] = Handle(lambda: open_stores(path, clock=clock, ids=Uuids()))
    found = await make_system(handle, around).health(ANA)
    assert (found.status, found.checks.database) == ("unhealthy", False)
    monitor = make_monitor(handle, clock, tmp_path)
    ready = await monitor.readiness()
    assert ready.status == "not_ready"
    assert ready.reason is not None
    assert "not a database" in ready.reason
    report = await monitor.check()
    assert (report.status, report.checks.database.status) == ("unhealthy", "fail")


def make_monitor(
    stores: Handle[Stores], clock: SetClock, workspace: Path, vitals: Vitals = CALM, **env: str
) -> HealthMonitor:
    return HealthMonitor(
        stores,
        provider="anthropic",
        env=env,
        clock=clock,
        version="1.2.3",
        workspace=workspace,
        measured=lambda _folder: vitals,
    )


async def test_a_calm_machine_is_healthy(
    stores: Handle[Stores], clock: SetClock, tmp_path: Path
) -> None:
    monitor = make_monitor(stores, clock, tmp_path, ANTHROPIC_API_KEY="sk-ant-0123456789")
    shown = (await monitor.check()).model_dump(mode="json", by_alias=True)
    assert shown["status"] == "healthy"
    assert list(shown["checks"]) == ["database", "memory", "providers", "disk", "system"]
    assert {check["status"] for check in shown["checks"].values()} == {"pass"}
    assert (shown["timestamp"], shown["uptime"]) == (iso8601(NOW_MS), 12.5)
    assert "sk-ant" not in json.dumps(shown)
    assert (await monitor.readiness()).model_dump(mode="json") == {"status": "ready"}
    alive = monitor.liveness().model_dump(mode="json")
    assert alive == {"status": "ok", "timestamp": iso8601(NOW_MS)}


async def test_a_missing_key_degrades(
    stores: Handle[Stores], clock: SetClock, tmp_path: Path
) -> None:
    report = await make_monitor(stores, clock, tmp_path).check()
    assert report.status == "degraded"
    assert "ANTHROPIC_API_KEY" in report.checks.providers.message


async def test_the_real_machine_is_measured(
    stores: Handle[Stores], clock: SetClock, tmp_path: Path
) -> None:
    monitor = HealthMonitor(
        stores, provider="ollama", env={}, clock=clock, version="1", workspace=tmp_path
    )
    report = await monitor.check()
    assert report.checks.disk.details["totalMb"] == shutil.disk_usage(tmp_path).total // 1024**2
    vitals = measure(tmp_path / "not" / "there")
    assert 0 < vitals.memory_used < vitals.memory_limit
    assert vitals.disk_total
    assert vitals.uptime_s > 0


@pytest.mark.parametrize(
    ("used", "status"), [(75, "pass"), (76, "warn"), (90, "warn"), (91, "fail"), (100, "fail")]
)
def test_memory_use_is_judged_with_the_bounds_left_out(used: int, status: str) -> None:
    vitals = Vitals(used, 100, 0.0, None, None, 0.0)
    assert memory_check(vitals).status == status


@pytest.mark.parametrize(("used", "status"), [(90.0, "pass"), (90.1, "warn"), (100.0, "warn")])
def test_processors_are_judged_with_the_bound_left_out(used: float, status: str) -> None:
    assert system_check(Vitals(0, 1, used, None, None, 0.0)).status == status


@pytest.mark.parametrize(
    ("free", "total", "status"),
    [
        (500 * GIB, 1_000 * GIB, "pass"),
        (3 * GIB, 1_000 * GIB, "pass"),
        (1 * GIB, 1_000 * GIB, "warn"),
        (1 * GIB, 5 * GIB, "pass"),
        (DISK_FAIL_BYTES - 1, 5 * GIB, "fail"),
        (None, None, "warn"),
    ],
)
def test_the_disk_is_judged_by_what_is_left(
    free: int | None, total: int | None, status: str
) -> None:
    assert disk_check(Vitals(0, 1, 0.0, total, free, 0.0)).status == status


def test_vendors_without_keys_need_none() -> None:
    assert provider_check("ollama", {}).status == "pass"
    assert provider_check("openai", {"OPENAI_API_KEY": " "}).status == "warn"


def test_a_program_that_executes_experts_needs_no_key_of_the_provider() -> None:
    found = provider_check("anthropic", {}, "claude-code")
    assert (found.status, "claude-code asks its own models" in found.message) == ("pass", True)
    assert provider_check("anthropic", {}, "docker").status == "warn"


def test_what_a_provider_of_a_plugin_needs_is_not_known() -> None:
    found = provider_check(PluginProvider("plugin:house"), {"OPENAI_API_KEY": "x"})
    assert found.status == "pass"
    assert "not known" in found.message
    assert found.details == {"default": "plugin:house", "available": ["openai", "ollama"]}


SECRETS = st.text(
    alphabet=st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=40
).map(lambda text: f"zq{text}qz")


@given(SECRETS, st.sampled_from(["anthropic", "openai", "ollama", "google", "amazon-bedrock"]))
def test_no_secret_of_the_file_or_the_environment_is_in_the_configuration(
    secret: str, provider: str
) -> None:
    settings = Settings(
        model=f"model-{secret}",
        provider=ProviderSettings.model_validate(
            {
                "name": provider,
                "base_url": f"http://u:{secret}@127.0.0.1:11434/v1?key={secret}#{secret}",
                "headers": {"x-api-key": secret},
                "organization": secret,
            }
        ),
        notify=NotifySettings(command=("tell", secret), webhook=f"https://x.example/{secret}"),
        base_skill_command=("run", secret),
        coordination=CoordinationSettings(
            slack=SlackSettings(
                enabled=True, webhook_url=f"https://hooks.example/{secret}", channel=secret
            ),
            github=GithubSettings(enabled=True, token=secret, base_url=f"https://{secret}.x"),
            memory=MemorySettings(default_namespace=secret),
        ),
    )
    env = {
        "ANTHROPIC_API_KEY": secret,
        "OPENAI_API_KEY": secret,
        "AWS_ACCESS_KEY_ID": secret,
        "AWS_SECRET_ACCESS_KEY": secret,
        "MY_TOKEN": secret,
    }
    handle: Handle[Stores] = Handle(_never_opened)
    told = json.dumps(make_system(handle, Surroundings(), settings, **env).config())
    assert secret not in told


async def _never_opened() -> Stores:
    raise AssertionError("the configuration needs no database")


def test_the_configuration_has_upstreams_tables() -> None:
    settings = Settings(provider=ProviderSettings(name="ollama"))
    handle: Handle[Stores] = Handle(_never_opened)
    told = make_system(handle, Surroundings(), settings, OPENAI_API_KEY="sk-1").config()
    assert told["providers"] == {
        "default": "ollama",
        "openai": {"configured": True},
        "ollama": {"configured": True, "baseUrl": "http://localhost:11434"},
    }
    assert told["github"] == {"enabled": False, "useGhCli": False}
    assert told["hooks"] == {
        "sessionStart": True,
        "sessionEnd": True,
        "preTask": True,
        "postTask": True,
    }
    assert {"version", "memory", "agents", "plugins", "mcp"} <= set(told)
