"""Whether this process, its database and its machine are well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

from perstack.config.provider_keys import credentialed, has_credentials, variables_of
from perstack.domain.runtimes import RuntimeName, is_program
from perstack.domain.settings import ProviderName, is_of_plugin
from perstack.domain.system import (
    Check,
    HealthReport,
    Liveness,
    MachineChecks,
    Readiness,
    health_of,
)
from perstack.errors import PerstackError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.handle import Handle
from perstack.services.vitals import Vitals, measure, uptime_s

DATABASE_S: Final = 5.0
MEMORY_FAIL: Final = 0.90
MEMORY_WARN: Final = 0.75
CPU_WARN: Final = 90.0
# A large disk is nearly full long before little is left on it.
DISK_FAIL_BYTES: Final = 100 * 1024**2
DISK_WARN_BYTES: Final = 2 * 1024**3
DISK_WARN: Final = 0.10

_MEGABYTE: Final = 1024**2


class HealthMonitor:
    """Looks when it is asked. `env` tells whether credentials are there; no value is shown."""

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        provider: ProviderName,
        env: Mapping[str, str],
        clock: Clock,
        version: str,
        workspace: Path,
        runtime: RuntimeName = "perstack",
        measured: Callable[[Path], Vitals] = measure,
        database_s: float = DATABASE_S,
    ) -> None:
        self._stores = stores
        self.provider: ProviderName = provider
        self._runtime: RuntimeName = runtime
        self._env = env
        self._clock = clock
        self._version = version
        self._workspace = workspace
        self._measured = measured
        self._database_s = database_s

    async def check(self) -> HealthReport:
        """Return what all checks found; bounded in time, never raises because of what it finds."""
        vitals = await to_thread.run_sync(partial(self._measured, self._workspace))
        checks = MachineChecks(
            database=await self._database(),
            memory=memory_check(vitals),
            providers=provider_check(self.provider, self._env, self._runtime),
            disk=disk_check(vitals),
            system=system_check(vitals),
        )
        found = [getattr(checks, name).status for name in MachineChecks.model_fields]
        return HealthReport(
            status=health_of(found.count("fail"), found.count("warn")),
            checks=checks,
            timestamp=self._clock.now_ms(),
            uptime=round(vitals.uptime_s, 3),
            version=self._version,
        )

    def uptime(self) -> float:
        """Return for how many seconds this process has been running."""
        return round(uptime_s(), 3)

    def liveness(self) -> Liveness:
        """Return that this process answers."""
        return Liveness(timestamp=self._clock.now_ms())

    async def readiness(self) -> Readiness:
        """Return whether work can begin: the database is what everything needs."""
        found = await self._database()
        if found.status == "fail":
            return Readiness(status="not_ready", reason=found.message)
        return Readiness(status="ready")

    async def _database(self) -> Check:
        try:
            with anyio.fail_after(self._database_s):
                await self._stores.ask(lambda stores: stores.version())
        except TimeoutError:
            return Check(status="fail", message=f"no answer within {self._database_s:g} s")
        except PerstackError as error:
            return Check(status="fail", message=error.message)
        return Check(status="pass", message="Database answers")


def memory_check(vitals: Vitals) -> Check:
    """Judge the memory of this process: above 90 % fails, above 75 % warns."""
    share = vitals.memory_used / max(vitals.memory_limit, 1)
    message = f"Memory use {share:.0%}"
    details: dict[str, JsonValue] = {
        "usedMb": vitals.memory_used // _MEGABYTE,
        "limitMb": vitals.memory_limit // _MEGABYTE,
        "percent": round(100 * share, 1),
    }
    if share > MEMORY_FAIL:
        return Check(status="fail", message=f"{message}: critically high", details=details)
    if share > MEMORY_WARN:
        return Check(status="warn", message=f"{message}: high", details=details)
    return Check(status="pass", message=message, details=details)


def disk_check(vitals: Vitals) -> Check:
    """Judge the disk: under 100 MiB free fails; under 10 % and under 2 GiB free warns."""
    if vitals.disk_free is None or vitals.disk_total is None:
        return Check(status="warn", message="The disk cannot be asked")
    free, total = vitals.disk_free, max(vitals.disk_total, 1)
    details: dict[str, JsonValue] = {
        "freeMb": free // _MEGABYTE,
        "totalMb": vitals.disk_total // _MEGABYTE,
        "freePercent": round(100 * free / total, 1),
    }
    message = f"{free // _MEGABYTE:,} MiB free"
    if free < DISK_FAIL_BYTES:
        return Check(status="fail", message=f"{message}: the disk is full", details=details)
    if free < DISK_WARN_BYTES and free / total < DISK_WARN:
        return Check(status="warn", message=f"{message}: little is left", details=details)
    return Check(status="pass", message=message, details=details)


def system_check(vitals: Vitals) -> Check:
    """Judge the machine: its processors above 90 % warn."""
    used = round(vitals.cpu_percent, 1)
    busy = vitals.cpu_percent > CPU_WARN
    return Check(
        status="warn" if busy else "pass",
        message=f"CPU use {used:g}%" + (": high" if busy else ""),
        details={"cpuPercent": used},
    )


def provider_check(
    provider: ProviderName, env: Mapping[str, str], runtime: RuntimeName = "perstack"
) -> Check:
    """Judge whether the vendor in use can be asked: without credentials it warns.

    Where another agent's program is the `runtime`, that asks a model, by a login of its own.
    """
    available: list[JsonValue] = [*credentialed(env)]
    details: dict[str, JsonValue] = {"default": provider, "available": available}
    if is_of_plugin(provider):
        said = f"{provider} is a plugin's: what it needs is not known"
        return Check(status="pass", message=said, details=details)
    if has_credentials(provider, env):
        return Check(status="pass", message=f"{provider} is configured", details=details)
    missing = " and ".join(variables_of(provider))
    if is_program(runtime):
        said = f"{runtime} asks its own models; {provider} is not configured"
        return Check(status="pass", message=said, details=details)
    return Check(
        status="warn", message=f"{provider} is not configured: set {missing}", details=details
    )
