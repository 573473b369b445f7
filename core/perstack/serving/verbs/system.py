"""The verbs of the system as a whole: the seed's three."""

from __future__ import annotations

from perstack.domain.system import SystemConfiguration, SystemHealth, SystemStatus
from perstack.serving.verbs.verb import Call, Nothing, Verb


async def status(call: Call, _: Nothing) -> SystemStatus:
    """Return what there is."""
    return await call.coordination.system.status(call.caller)


async def health(call: Call, _: Nothing) -> SystemHealth:
    """Return whether it works."""
    return await call.coordination.system.health(call.caller)


async def config(call: Call, _: Nothing) -> SystemConfiguration:
    """Return how it is configured."""
    return SystemConfiguration.model_validate(call.coordination.system.config())


SYSTEM_VERBS = (
    Verb(
        "system_status",
        "Get system statistics: agents, memory, tasks, providers, the active session.",
        Nothing,
        SystemStatus,
        status,
    ),
    Verb("system_health", "Get system health check.", Nothing, SystemHealth, health),
    Verb(
        "system_config",
        "Get current configuration. It holds no secret.",
        Nothing,
        SystemConfiguration,
        config,
    ),
)
