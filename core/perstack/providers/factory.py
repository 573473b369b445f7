"""Opening the model a job's settings ask for; only its vendor's SDK is ever imported."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perstack.domain.settings import ProviderName, Settings, is_of_plugin
from perstack.errors import ConfigError, ProviderError
from perstack.ports.model import ChatModel, ProviderTools
from perstack.ports.system import Clock, SystemClock
from perstack.providers.breaker import Breakers
from perstack.providers.facts import model_facts, other_address
from perstack.providers.guarded import GuardedModel
from perstack.providers.setup import Setup

if TYPE_CHECKING:
    from perstack.domain.expert import Expert
    from perstack.providers.anthropic.model import ClaudeModel
    from perstack.providers.openai.base import OpenAISdkModel

_CLAUDE: Final = "claude"


def open_model(
    settings: Settings,
    *,
    env: Mapping[str, str],
    base_dir: Path,
    experts: Iterable[Expert] = (),
    breakers: Breakers | None = None,
    clock: Clock | None = None,
    alias: str | None = None,
) -> ChatModel:
    """Return the model, checked but not connected: the SDK is imported with the first request.

    `env` alone is looked at for keys and addresses. A scenario's path is relative to `base_dir`;
    reading it blocks for a moment. What `experts` want the provider to run is checked too.
    Models that are opened with the same `breakers` leave a failing vendor alone together. A script
    is played under the name `alias`, where one is given.

    Raises:
        ConfigError: a key is missing, an address is not allowed, a scenario has a mistake, or an
            Expert wants a tool that the provider does not offer.
    """
    if settings.provider.name == "scripted":
        return _open_scripted(settings, base_dir, alias)
    facts = model_facts(settings, env=env, now_ms=(clock or SystemClock()).now_ms())
    setup = Setup(
        settings.provider,
        settings.model,
        env,
        # What cannot think is not told how much to.
        "none" if facts.thinks is False else settings.reasoning_budget,
        settings.timeout / 1000,
        facts,
    )
    model = open_vendor(settings.provider.name, setup)
    for expert in experts:
        _check_tools(model, expert)
    address = other_address(settings, env)
    breaker = (breakers or Breakers()).of(settings.provider.name, address, settings.model)
    return GuardedModel(model, breaker, timeout_s=setup.timeout_s)


def warm_up(name: ProviderName, model: str) -> None:
    """Import the vendor's SDK ahead of the first request; meant for a worker thread."""
    if name != "scripted" and not is_of_plugin(name):
        importlib.import_module(_sdk(name, model))


def _sdk(name: ProviderName, model: str) -> str:
    if name in {"anthropic", "amazon-bedrock"} or (name == "google-vertex" and _CLAUDE in model):
        return "anthropic"
    return "openai"


def open_vendor(name: ProviderName, setup: Setup) -> ClaudeModel | OpenAISdkModel:
    """Return a vendor's own adapter.

    Raises:
        ConfigError: a key is missing, an address is not allowed, a setting is no such thing.
    """
    if _sdk(name, setup.model) == "anthropic":
        return _open_claude(name, setup)
    match name:
        case "openai":
            from perstack.providers.openai.responses import open_openai as open_
        case "azure-openai":
            from perstack.providers.openai.azure import open_azure as open_
        case "google":
            from perstack.providers.openai.gemini import open_google as open_
        case "google-vertex":
            from perstack.providers.openai.gemini import open_vertex as open_
        case "ollama":
            from perstack.providers.openai.ollama import open_ollama as open_
        case "deepseek":
            from perstack.providers.openai.deepseek import open_deepseek as open_
        case _:
            raise ConfigError(f"the provider {name} cannot be opened")
    return open_(setup)


def _open_claude(name: ProviderName, setup: Setup) -> ClaudeModel:
    from perstack.providers.anthropic.model import ClaudeModel

    match name:
        case "amazon-bedrock":
            from perstack.providers.anthropic.bedrock import Bedrock as Platform
        case "google-vertex":
            from perstack.providers.anthropic.vertex import ClaudeOnVertex as Platform
        case _:
            from perstack.providers.anthropic.platform import AnthropicApi as Platform
    return ClaudeModel(Platform(setup))


def _check_tools(model: ClaudeModel | OpenAISdkModel, expert: Expert) -> None:
    asked = ProviderTools(
        expert.provider_tools, expert.provider_tool_options, expert.provider_skills
    )
    try:
        model.check_tools(asked)
    except ProviderError as error:
        raise ConfigError(f"Expert {expert.key!r}: {error.message}", hint=error.hint) from error


def _open_scripted(settings: Settings, base_dir: Path, alias: str | None) -> ChatModel:
    from perstack.providers.scenario import load_scenario
    from perstack.providers.scripted import ScriptedModel

    scenario = settings.provider.scenario
    if not scenario:
        raise ConfigError(
            "the scripted provider has no scenario",
            hint='set scenario = "demo.scenario.toml" under [provider.setting]',
        )
    loaded = load_scenario(base_dir / Path(scenario).expanduser())
    return ScriptedModel(loaded, pace=settings.provider.pace, alias=alias)
