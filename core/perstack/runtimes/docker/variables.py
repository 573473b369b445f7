"""Which variables a job's container gets: what its provider and its skills need, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from perstack.config.provider_keys import has_credentials, variables_of
from perstack.domain.expert import Expert, McpSkill, RemoteSkill
from perstack.domain.settings import Settings
from perstack.errors import ConfigError
from perstack.runtimes.docker.domains import base_url_variable

# What a provider reads beside its key, where it is set.
_BESIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_ORGANIZATION", "OPENAI_PROJECT"),
    "azure-openai": ("AZURE_RESOURCE_NAME", "AZURE_API_VERSION"),
    "amazon-bedrock": ("AWS_REGION", "AWS_SESSION_TOKEN"),
    "google-vertex": ("GOOGLE_VERTEX_PROJECT", "GOOGLE_VERTEX_LOCATION"),
}
# A container has its own; others would steer the engine's commands, or what loads into programs.
_OWN: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TMPDIR|LANG|LC_.*|XDG_.*|.*_PROXY|PERSTACK_(?:RUN|JOB)_ID"
    r"|PERSTACK_DATABASE_URL|NODE_OPTIONS",
    re.IGNORECASE,
)
_STEERS: Final = re.compile(
    r"DOCKER_.*|COMPOSE_.*|BUILDKIT_.*|BUILDX_.*|CONTAINERS?_.*|SSH_AUTH_SOCK|LD_.*|DYLD_.*|PYTHON.*",
    re.IGNORECASE,
)


def variables_for(
    experts: Iterable[Expert], settings: Settings, env: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that the container gets, beside its own.

    Raises:
        ConfigError: some that are needed are not set, or one cannot be given.
    """
    needed = dict.fromkeys(_keys(settings, env))
    for expert in experts:
        for skill in expert.skills.values():
            if isinstance(skill, McpSkill):
                needed |= dict.fromkeys(_of_skill(skill))
    needed |= dict.fromkeys(settings.runtime.env)
    names = [name for name in needed if not _OWN.fullmatch(name)]
    if steers := [name for name in names if _STEERS.fullmatch(name)]:
        raise ConfigError(
            f"a container cannot be given {', '.join(steers)}",
            hint="such variables steer what starts containers and programs; rename it",
        )
    if missing := [name for name in names if not env.get(name)]:
        raise ConfigError(
            f"Missing required environment variables: {', '.join(missing)}",
            hint="set them in the environment or in a file that envPath names",
        )
    beside = (*_BESIDE.get(settings.provider.name, ()), base_url_variable(settings) or "")
    names += [name for name in (*beside, "PERSTACK_API_KEY") if env.get(name)]
    return {name: env[name] for name in names}


def _keys(settings: Settings, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the provider's variables, of the ways to give credentials the one that was taken."""
    provider = settings.provider
    usual = variables_of(provider.name)
    if provider.name == "google-vertex" and not env.get("GOOGLE_VERTEX_ACCESS_TOKEN"):
        raise ConfigError(
            "Missing required environment variables: GOOGLE_VERTEX_ACCESS_TOKEN",
            hint="a container is given a token, never the file that makes one",
        )
    if provider.name.startswith("plugin:") or has_credentials(provider.name, env):
        return tuple(name for name in usual if env.get(name))
    return usual


def _of_skill(skill: McpSkill) -> Iterable[str]:
    yield from skill.required_env
    if isinstance(skill, RemoteSkill):
        yield from skill.header_env.values()
        if skill.bearer_token_env:
            yield skill.bearer_token_env
