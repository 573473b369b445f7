"""What changed settings of runtimes allow that was not allowed before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from perstack.domain.expert import Expert
from perstack.domain.runtimes import (
    PROGRAMS,
    USUAL_PERMISSIONS,
    DockerSettings,
    Permissions,
    ProgramName,
    ProgramSettings,
    RuntimeSettings,
    is_program,
)

# The setting's dotted name in `perstack.toml`, and the words.
Power = tuple[str, str]

_WIDTH: Final[tuple[Permissions, ...]] = ("ask", "edits", "all")
_UNASKED: Final = {"edits": "edits files unasked", "all": "does anything unasked"}


def settings_of_runtimes(runtime: RuntimeSettings) -> dict[str, object]:
    """Return every setting by its dotted name in `perstack.toml`, as JSON values."""
    found: dict[str, object] = {"runtime": runtime.name}
    tables = {**runtime.programs, "docker": runtime.docker}
    for name, table in tables.items():
        values = cast("dict[str, object]", table.model_dump(mode="json", by_alias=True))
        found |= {f"runtimes.{name}.{key}": value for key, value in values.items()}
    return found


def powers_of_runtimes(before: RuntimeSettings, after: RuntimeSettings) -> Iterable[Power]:
    """Yield what is gained, by the setting that gives it."""
    if before.name != after.name:
        if is_program(after.name):
            yield "runtime", f"{after.name} runs Experts, with tools of its own"
        elif before.name == "docker":
            yield "runtime", "Experts are no longer shut in a container"
    for name in PROGRAMS:
        usual = ProgramSettings()
        old, new = before.programs.get(name, usual), after.programs.get(name, usual)
        yield from _of_program(name, old, new)
    yield from _of_docker(before.docker, after.docker)


def power_of_expert(before: Expert | None, after: Expert) -> str | None:
    """Return what comes of the runtime that an Expert has of its own, None if nothing."""
    had = before.runtime if before is not None else None
    if after.runtime == had or after.runtime is None or not is_program(after.runtime):
        return None
    return f"runs on {after.runtime}, with tools of its own"


def _of_program(
    name: ProgramName, before: ProgramSettings, after: ProgramSettings
) -> Iterable[Power]:
    at = f"runtimes.{name}"
    if before.command != after.command:
        yield f"{at}.command", "starts another program"
    if names := [variable for variable in after.env if variable not in before.env]:
        yield f"{at}.env", f"is given {', '.join(names)}"
    usual = USUAL_PERMISSIONS[name]
    may = after.permissions or usual
    if _WIDTH.index(may) > _WIDTH.index(before.permissions or usual):
        yield f"{at}.permissions", _UNASKED[may]


def _of_docker(before: DockerSettings, after: DockerSettings) -> Iterable[Power]:
    at = "runtimes.docker"
    for key, old, new in (
        ("baseImage", before.base_image, after.base_image),
        ("proxyImage", before.proxy_image, after.proxy_image),
    ):
        if old != new:
            yield f"{at}.{key}", "containers are made of another image"
    for key, least, most in (
        ("memory", before.memory, after.memory),
        ("cpus", before.cpus, after.cpus),
        ("pids", before.pids, after.pids),
    ):
        if most > least:
            yield f"{at}.{key}", "limit raised"
    had = before.allowed_domains
    if domains := [domain for domain in after.allowed_domains if domain not in had]:
        yield f"{at}.allowedDomains", f"containers reach {', '.join(domains)}"
