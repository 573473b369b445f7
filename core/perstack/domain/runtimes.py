"""What can execute an Expert, and how a project wants it done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeGuard, get_args

from pydantic import Field

from perstack.domain.base import Model

# Other agents' programs; each runs an Expert's steps by itself.
ProgramName = Literal["cursor", "claude-code", "gemini", "codex"]
RuntimeName = Literal["perstack", "docker", "cursor", "claude-code", "gemini", "codex"]
# What such a program may do unasked: nothing, edit files of the workspace, anything.
Permissions = Literal["ask", "edits", "all"]

PROGRAMS: Final[tuple[ProgramName, ...]] = get_args(ProgramName)
# What each may do where nobody says: as much as it can without a way of asking.
USUAL_PERMISSIONS: Final[Mapping[ProgramName, Permissions]] = {
    "cursor": "all",
    "claude-code": "ask",
    "gemini": "edits",
    "codex": "edits",
}


@dataclass(frozen=True, slots=True)
class _Makers:
    """Whose models a program asks: those of these providers, and others by how they are called."""

    providers: frozenset[str]
    called: re.Pattern[str]


# Cursor's program asks models of many makers, under names of its own.
_MAKERS: Final[Mapping[ProgramName, _Makers]] = {
    "claude-code": _Makers(
        frozenset({"anthropic"}), re.compile(r"claude-|(?:opus|sonnet|haiku)(?:\[|-|$)")
    ),
    "gemini": _Makers(
        frozenset({"google", "google-vertex"}),
        re.compile(r"(?:models/)?(?:gemini-|(?:auto|pro|flash|flash-lite)$)"),
    ),
    "codex": _Makers(frozenset({"openai"}), re.compile(r"gpt-|o\d|codex")),
}


def takes_model(program: ProgramName, model: str, provider: str) -> bool:
    """Tell whether a program can be told to ask a model that stands beside `provider`."""
    makers = _MAKERS.get(program)
    return makers is None or provider in makers.providers or bool(makers.called.match(model))


def is_program(name: RuntimeName) -> TypeGuard[ProgramName]:
    """Tell whether another agent's program executes the Expert, step by step."""
    return name in PROGRAMS


class ProgramSettings(Model):
    """How one of the programs is started.

    `command` is an argument vector that stands in place of its usual name; `env` names variables
    that it gets beside the usual ones, keys among them. `permissions` None: what is usual for it.
    """

    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    permissions: Permissions | None = None


class DockerSettings(Model):
    """How containers are made. `base_image` is what the image of the runtime is built on.

    `proxy_image` is what the proxy's is built on, `memory` in megabytes, `cpus` a number of them.
    `allowed_domains` may be reached beside those of skills and provider.
    """

    base_image: str = "python:3.12-slim-bookworm"
    proxy_image: str = "debian:bookworm-slim"
    memory: int = 2048
    cpus: float = 2.0
    pids: int = 256
    allowed_domains: tuple[str, ...] = ()


def _is_usual_docker(settings: DockerSettings) -> bool:
    return settings == DockerSettings()


class RuntimeSettings(Model):
    """What executes a job's Experts, unless an Expert names another.

    `env` are variables that the command line names for it (`--env`). `model_given` tells a model
    that somebody wrote from a default: programs with models of their own are told the former only.
    `typed`: the name is for this very job, so that a job that another executed moves to it.
    `contained`: a container is around it, where the name is that of what is in there.
    """

    name: RuntimeName = "perstack"
    typed: bool = False
    contained: bool = False
    model_given: bool = False
    env: tuple[str, ...] = ()
    programs: dict[ProgramName, ProgramSettings] = Field(
        default_factory=dict[ProgramName, ProgramSettings]
    )
    docker: Annotated[DockerSettings, Field(exclude_if=_is_usual_docker)] = DockerSettings()

    def program(self, name: ProgramName) -> ProgramSettings:
        """Return how a program is started, with the variables that the command line names."""
        found = self.programs.get(name, ProgramSettings())
        return found.model_copy(update={"env": tuple(dict.fromkeys((*found.env, *self.env)))})
