"""Opening the model a job's settings ask for; only its vendor's SDK is ever imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from perstack.domain.settings import ProviderName, Settings
from perstack.errors import ConfigError
from perstack.ports.model import ChatModel


def open_model(settings: Settings, *, env: Mapping[str, str], base_dir: Path) -> ChatModel:
    """Return the model, checked but not connected: the SDK is imported with the first request.

    `env` alone is looked at for keys and addresses. A scenario's path is relative to `base_dir`;
    reading it blocks for a moment.

    Raises:
        ConfigError: a key is missing, an address is not allowed, a scenario has a mistake.
    """
    provider = settings.provider
    match provider.name:
        case "anthropic":
            from perstack.providers.anthropic import AnthropicModel as Model
        case "openai":
            from perstack.providers.openai import OpenAIModel as Model
        case "scripted":
            return _open_scripted(settings, base_dir)
        case _:
            raise ConfigError(f"the provider {provider.name} cannot be opened yet")
    return Model(
        provider,
        settings.model,
        env=env,
        reasoning_budget=settings.reasoning_budget,
        timeout_s=settings.timeout / 1000,
    )


def warm_up(name: ProviderName) -> None:
    """Import the vendor's SDK ahead of the first request; meant for a worker thread."""
    if name != "scripted":
        importlib.import_module(name)


def _open_scripted(settings: Settings, base_dir: Path) -> ChatModel:
    from perstack.providers.scenario import load_scenario
    from perstack.providers.scripted import ScriptedModel

    scenario = settings.provider.scenario
    if not scenario:
        raise ConfigError(
            "the scripted provider has no scenario",
            hint='set scenario = "demo.scenario.toml" under [provider.setting]',
        )
    loaded = load_scenario(base_dir / Path(scenario).expanduser())
    return ScriptedModel(loaded, pace=settings.provider.pace)
