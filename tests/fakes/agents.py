"""Agents and identities to test with."""

from __future__ import annotations

import socket

from perstack.domain.agents import Agent, AgentOrigin, AgentStatus, DriverProcess
from perstack.domain.identities import Identity, IdentityStatus
from perstack.domain.ids import AgentId, IdentityId
from tests.fakes.consensus import NOW_MS


def make_agent(
    agent_id: str = "a1",
    *,
    name: str | None = None,
    agent_type: str = "coder",
    status: AgentStatus = "idle",
    origin: AgentOrigin = "spawned",
    created_at: int = NOW_MS,
) -> Agent:
    return Agent(
        id=AgentId(agent_id),
        type=agent_type,
        name=name or f"{agent_type}-{agent_id}",
        status=status,
        origin=origin,
        memory_namespace=f"session:{agent_id}",
        created_at=created_at,
        updated_at=created_at,
    )


def make_run(agent_id: str, *, process_id: str | None = None, name: str = "coder") -> Agent:
    run = make_agent(agent_id, name=name, origin="run", status="running")
    return run.model_copy(update={"process_id": process_id})


def make_process(
    process_id: str = "p1", *, pid: int = 1, beat_at: int = NOW_MS, host: str | None = None
) -> DriverProcess:
    return DriverProcess(
        id=process_id,
        pid=pid,
        host=host or socket.gethostname(),
        started_at=NOW_MS,
        beat_at=beat_at,
    )


def make_identity(
    identity_id: str = "i1",
    *,
    status: IdentityStatus = "created",
    display_name: str | None = None,
    agent_type: str = "coder",
    at: int = NOW_MS,
) -> Identity:
    return Identity(
        agent_id=IdentityId(identity_id),
        agent_type=agent_type,
        status=status,
        display_name=display_name,
        created_at=at,
        last_active_at=at,
        updated_at=at,
    )
