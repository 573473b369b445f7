"""Which hosts a job's container may reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from perstack.domain.expert import Expert, McpSkill, McpStdioSkill, RemoteSkill
from perstack.domain.settings import ProviderSettings, Settings
from perstack.errors import ConfigError

_VARIABLES: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "openai": "OPENAI_BASE_URL",
    "google": "GOOGLE_GENERATIVE_AI_BASE_URL",
    "ollama": "OLLAMA_BASE_URL",
    "azure-openai": "AZURE_BASE_URL",
    "google-vertex": "GOOGLE_VERTEX_BASE_URL",
    "deepseek": "DEEPSEEK_BASE_URL",
}
_HOSTS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("api.anthropic.com",),
    "openai": ("api.openai.com",),
    "google": ("generativelanguage.googleapis.com",),
    "deepseek": ("api.deepseek.com",),
}
# One or more labels, perhaps all below them; or an address.
_NAME: Final = re.compile(
    r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
)
_SHOWN: Final = 100
_REGISTRY: Final = "api.perstack.ai"


def base_url_variable(settings: Settings) -> str | None:
    """Return the variable that says where the provider is asked."""
    return _VARIABLES.get(settings.provider.name)


def allowed_domains(
    experts: Iterable[Expert], settings: Settings, env: Mapping[str, str], indexes: Iterable[str]
) -> tuple[str, ...]:
    """Return what may be reached: provider, skills of all `experts`, `indexes`, the settings'.

    Raises:
        ConfigError: the provider is where a container cannot reach it, or one is no name.
    """
    found = {*settings.runtime.docker.allowed_domains, *indexes, *_of_provider(settings, env)}
    if env.get("PERSTACK_API_KEY"):
        found.add(_REGISTRY)
    for expert in experts:
        for skill in expert.skills.values():
            if isinstance(skill, McpSkill):
                found.update(skill.allowed_domains)
            if isinstance(skill, RemoteSkill):
                found.add(_host(skill.endpoint, "a skill's endpoint"))
    return tuple(sorted(_checked(name) for name in found))


def commands_of(experts: Iterable[Expert]) -> frozenset[str]:
    """Return the commands that start the Experts' tool servers, by their last parts."""
    return frozenset(
        skill.command.rpartition("/")[2]
        for expert in experts
        for skill in expert.skills.values()
        if isinstance(skill, McpStdioSkill)
    )


def _checked(name: str) -> str:
    """Return a name that is one. A region or a resource may come from a project's env file."""
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"a container cannot be let to {json.dumps(name[:_SHOWN])}, which is no host's name",
            hint="look at the provider's region, location or resource and at allowedDomains",
        )
    return name


def _of_provider(settings: Settings, env: Mapping[str, str]) -> tuple[str, ...]:
    provider = settings.provider
    if provider.name == "scripted":
        return ()
    variable = base_url_variable(settings)
    url = provider.base_url or (env.get(variable, "").strip() if variable else "")
    if url:
        hosts = (_host(url, "the provider's base URL"),)
    elif provider.name == "ollama":
        raise ConfigError(
            "a container cannot reach an Ollama on this machine",
            hint="set baseUrl to an https:// address that it is served at",
        )
    else:
        hosts = _usual(provider, env)
    vertex = provider.name == "google-vertex"
    return (*hosts, "oauth2.googleapis.com") if vertex else hosts


def _usual(provider: ProviderSettings, env: Mapping[str, str]) -> tuple[str, ...]:
    if provider.name == "azure-openai":
        resource = provider.resource_name or env.get("AZURE_RESOURCE_NAME", "").strip()
        return (f"{resource}.openai.azure.com",) if resource else ()
    if provider.name == "amazon-bedrock":
        region = provider.region or env.get("AWS_REGION", "").strip()
        return (f"bedrock-runtime.{region}.amazonaws.com",) if region else ()
    if provider.name == "google-vertex":
        location = provider.location or env.get("GOOGLE_VERTEX_LOCATION", "").strip()
        if location in ("us", "eu"):
            return (f"aiplatform.{location}.rep.googleapis.com",)
        first = f"{location}-" if location and location != "global" else ""
        return (f"{first}aiplatform.googleapis.com",)
    return _HOSTS.get(provider.name, ())


def _host(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
        parts = urlsplit("")
    if not host or parts.scheme != "https" or port not in (None, 443):
        raise ConfigError(
            f"a container cannot reach {what}: only https on port 443 is let through",
            hint="give an https:// address, or run it with --runtime perstack",
        )
    return host
