"""What the command line says instead of `perstack.toml`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perstack.config import limits
from perstack.config.load import LoadedConfig
from perstack.config.models import DEFAULT_MODELS
from perstack.config.read_settings import (
    PROVIDERS,
    REASONING_WORDS,
    RUNTIMES,
    ReasoningWord,
    model_doubt,
    unavailable_provider,
    unavailable_runtime,
)
from perstack.config.report import ConfigWarning, listed, shown
from perstack.config.table import among
from perstack.config.typed import Overrides
from perstack.domain.settings import ProviderSettings, Settings
from perstack.errors import UsageError

_REASONING_DIGITS: Final = 7


def apply_overrides(config: LoadedConfig, overrides: Overrides) -> LoadedConfig:
    """Join command line over file over default.

    Another provider than the file's starts from that provider's defaults: the file's URL, headers
    and model belong to the file's provider.

    Raises:
        UsageError: an option has a value that cannot be used; the message lists those that can.
    """
    if overrides.runtime is not None and overrides.runtime not in RUNTIMES:
        raise UsageError(unavailable_runtime(overrides.runtime), hint=f"--runtime {RUNTIMES[0]}")
    provider = _provider(config.settings.provider, overrides)
    settings = config.settings.model_copy(
        update={
            "model": _model(config, provider, overrides.model),
            "provider": provider,
            "reasoning_budget": _reasoning(config.settings, overrides.reasoning_budget),
            "max_steps": _within(
                "--max-steps", overrides.max_steps, config.settings.max_steps, limits.MAX_STEPS
            ),
            "max_retries": _within(
                "--max-retries",
                overrides.max_retries,
                config.settings.max_retries,
                limits.MAX_RETRIES,
            ),
            "timeout": _within(
                "--timeout", overrides.timeout_ms, config.settings.timeout, limits.TIMEOUT_MS
            ),
        }
    )
    return replace(
        config,
        settings=settings,
        env_paths=overrides.env_paths or config.env_paths,
        warnings=_warnings(config, settings),
        model_given=config.model_given or overrides.model is not None,
    )


def _provider(current: ProviderSettings, overrides: Overrides) -> ProviderSettings:
    name = among(overrides.provider, PROVIDERS)
    if overrides.provider is not None and name is None:
        raise UsageError(
            unavailable_provider(overrides.provider), hint=f"--provider {PROVIDERS[0]}"
        )
    provider = current if name in (None, current.name) else ProviderSettings(name=name)
    if provider.name != "scripted" and (overrides.scenario, overrides.pace) != (None, None):
        raise UsageError(
            "a scenario and its pace are for the scripted provider",
            hint="add --provider scripted",
        )
    low, high = limits.PACE
    pace = provider.pace if overrides.pace is None else overrides.pace
    if not low <= pace <= high:
        raise UsageError(f"--pace must be a number from {low:g} to {high:g}", hint="--pace 1")
    scenario = overrides.scenario or provider.scenario
    return provider.model_copy(update={"scenario": scenario, "pace": pace})


def _model(config: LoadedConfig, provider: ProviderSettings, given: str | None) -> str:
    if given is None:
        same = provider.name == config.settings.provider.name
        return config.settings.model if same else DEFAULT_MODELS[provider.name]
    if not 1 <= len(given) <= limits.NAME_LENGTH or not given.isprintable():
        raise UsageError(
            f"--model {shown(given)} is not a model's name",
            hint=f"--model {DEFAULT_MODELS[provider.name]}",
        )
    return given


def _reasoning(settings: Settings, given: str | None) -> ReasoningWord | int:
    if given is None:
        return settings.reasoning_budget
    word = among(given, REASONING_WORDS)
    if word is not None:
        return word
    low, high = limits.REASONING_TOKENS
    if given.isascii() and given.isdigit() and len(given) <= _REASONING_DIGITS:
        tokens = int(given)
        if low <= tokens <= high:
            return tokens
    raise UsageError(
        f"--reasoning-budget must be one of {listed(REASONING_WORDS)} or a number of tokens "
        f"from {low} to {high:,}, not {shown(given)}",
        hint="--reasoning-budget low",
    )


def _within(option: str, given: int | None, current: int, bounds: tuple[int, int]) -> int:
    low, high = bounds
    if given is None:
        return current
    if not low <= given <= high:
        raise UsageError(
            f"{option} must be an integer from {low:,} to {high:,}, not {shown(given)}",
            hint=f"{option} {current}",
        )
    return given


def _warnings(config: LoadedConfig, settings: Settings) -> tuple[ConfigWarning, ...]:
    """Return the warnings, those about the model made anew for the one that is used."""
    if settings == config.settings:
        return config.warnings
    kept = tuple(warning for warning in config.warnings if warning.key != "model")
    doubt = model_doubt(settings)
    if doubt is None:
        return kept
    fault, successor = doubt
    return (*kept, ConfigWarning(None, "model", fault, f"--model {successor}"))
