"""What executes Experts: `runtime` and `[runtimes]` of `perstack.toml`."""

from __future__ import annotations

from typing import Final

from perstack.config import limits
from perstack.config.report import listed, meant, shown
from perstack.config.table import Table, among, given
from perstack.config.vocabulary import EXPERT_RUNTIMES, PERMISSIONS, RUNTIMES
from perstack.domain.expert import ExpertRuntime
from perstack.domain.runtimes import (
    PROGRAMS,
    DockerSettings,
    ProgramName,
    ProgramSettings,
    RuntimeName,
    RuntimeSettings,
)

DOCKER_KEYS: Final = ("baseImage", "proxyImage", "memory", "cpus", "pids", "allowedDomains")
PROGRAM_KEYS: Final = ("command", "env", "permissions")


def runtime_named(name: str | None) -> RuntimeName | None:
    """Return the runtime of that name, None if there is none; `local` is the older `perstack`."""
    if name == "local":
        return "perstack"
    return among(name, RUNTIMES)


def unavailable_runtime(name: str) -> str:
    """Say that there is no runtime `name`."""
    return f"Runtime {shown(name)} is not available. Available runtimes: {listed(RUNTIMES)}"


def nearest_runtime(name: str) -> str:
    """Return the runtime that `name`, which is none, was most likely meant to be."""
    return meant(name, RUNTIMES) or RUNTIMES[0]


def read_runtime(top: Table) -> RuntimeSettings:
    """Read which runtime executes the Experts, and how each is started."""
    typed = top.text("runtime")
    name = runtime_named(typed)
    if typed is not None and name is None:
        top.problem(
            "runtime", unavailable_runtime(typed), f'write runtime = "{nearest_runtime(typed)}"'
        )
    tables = top.table("runtimes")
    programs: dict[ProgramName, ProgramSettings] = {}
    docker = DockerSettings()
    if tables is not None:
        for program in PROGRAMS:
            if (table := tables.table(program)) is not None:
                programs[program] = _read_program(table)
        docker = _read_docker(tables.table("docker"))
        tables.close(gates=(*PROGRAMS, "docker"))
    return RuntimeSettings(
        name=name or RUNTIMES[0], model_given="model" in top, programs=programs, docker=docker
    )


def read_expert_runtime(entry: Table) -> ExpertRuntime | None:
    """Read what executes one Expert, None for what executes the job."""
    return entry.choice("runtime", EXPERT_RUNTIMES)


def _read_program(table: Table) -> ProgramSettings:
    command = table.texts("command", longest=limits.ARGUMENT_LENGTH, empty_items=True)
    if command is not None and not (command and command[0].strip()):
        table.problem("command", "must name a program", 'write command = ["/path/to/it"]')
    env = table.texts("env", rule=limits.ENV_NAME)
    read = ProgramSettings(
        command=command or (), env=env or (), permissions=table.choice("permissions", PERMISSIONS)
    )
    table.close(gates=PROGRAM_KEYS)
    return read


def _read_docker(table: Table | None) -> DockerSettings:
    usual = DockerSettings()
    if table is None:
        return usual
    read = DockerSettings(
        base_image=given(table.text("baseImage", rule=limits.IMAGE), usual.base_image),
        proxy_image=given(table.text("proxyImage", rule=limits.IMAGE), usual.proxy_image),
        memory=given(table.integer("memory", limits.CONTAINER_MEGABYTES), usual.memory),
        cpus=given(table.number("cpus", limits.CONTAINER_CPUS), usual.cpus),
        pids=given(table.integer("pids", limits.CONTAINER_PIDS), usual.pids),
        allowed_domains=given(
            table.texts("allowedDomains", rule=limits.DOMAIN), usual.allowed_domains
        ),
    )
    table.close(gates=DOCKER_KEYS)
    return read
