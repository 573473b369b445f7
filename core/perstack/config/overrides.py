"""What the command line says instead of `perstack.toml`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perstack.config import limits
from perstack.config.cli_providers import with_program
from perstack.config.load import LoadedConfig
from perstack.config.models import DEFAULT_MODELS
from perstack.config.read_provider import provider_named, unavailable_provider
from perstack.config.read_provider_tools import doubts_about_tools
from perstack.config.read_runtimes import (
    nearest_runtime,
    runtime_named,
    unavailable_runtime,
)
from perstack.config.read_settings import model_doubts
from perstack.config.report import ConfigWarning, key_text, listed, shown
from perstack.config.table import among
from perstack.config.typed import Overrides
from perstack.config.vocabulary import PROVIDERS, REASONING_WORDS, ReasoningWord
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import RuntimeSettings
from perstack.domain.settings import BudgetSettings, ProviderSettings, Settings
from perstack.errors import ConfigError, UsageError

_REASONING_DIGITS: Final = 7


def apply_overrides(config: LoadedConfig, overrides: Overrides) -> LoadedConfig:
    """Join command line over file over default.

    Another provider than the file's starts from that provider's defaults: the file's URL, headers
    and model belong to the file's provider.

    Raises:
        UsageError: an option has a value that cannot be used; the message lists those that can.
        ConfigError: neither file nor command line name a model, and the provider has no default.
    """
    overrides = with_program(overrides, config.settings.provider.name)
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
            "budget": _budget(config.settings.budget, overrides),
            "runtime": _runtime(config, overrides, provider),
        }
    )
    return replace(
        config,
        settings=settings,
        env_paths=overrides.env_paths or config.env_paths,
        warnings=_warnings(config, settings),
        experts=_executed(config, overrides),
        model_given=config.model_given or overrides.model is not None,
        scenario_typed=overrides.scenario is not None,
        runtime_typed=overrides.runtime is not None,
    )


def _runtime(
    config: LoadedConfig, overrides: Overrides, provider: ProviderSettings
) -> RuntimeSettings:
    current, typed = config.settings.runtime, overrides.runtime
    name = runtime_named(typed)
    if typed is not None and name is None:
        raise UsageError(unavailable_runtime(typed), hint=f"--runtime {nearest_runtime(typed)}")
    for variable in overrides.pass_env:
        if not limits.ENV_NAME.fullmatch(variable):
            raise UsageError(
                f"--env {shown(variable)} is not the name of a variable",
                hint="write the name alone, such as --env NPM_TOKEN",
            )
    # The file's model is its provider's.
    same = provider.name == config.settings.provider.name
    return current.model_copy(
        update={
            "name": name or current.name,
            "typed": name is not None,
            "model_given": (current.model_given and same) or overrides.model is not None,
            "env": overrides.pass_env or current.env,
        }
    )


def _executed(config: LoadedConfig, overrides: Overrides) -> dict[ExpertKey, Expert]:
    """Return the Experts; a runtime that was typed is that of all of them."""
    if overrides.runtime is None:
        return config.experts
    return {
        key: expert.model_copy(update={"runtime": None}) if expert.runtime else expert
        for key, expert in config.experts.items()
    }


def _provider(current: ProviderSettings, overrides: Overrides) -> ProviderSettings:
    name = provider_named(overrides.provider)
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
        raise UsageError(f"--pace must be a number from {low:,.0f} to {high:,.0f}", hint="--pace 1")
    scenario = overrides.scenario or provider.scenario
    return provider.model_copy(update={"scenario": scenario, "pace": pace})


def _model(config: LoadedConfig, provider: ProviderSettings, given: str | None) -> str:
    usual = DEFAULT_MODELS.get(provider.name, "")
    if given is None:
        same = provider.name == config.settings.provider.name
        model = config.settings.model if same else usual
        if not model:
            raise ConfigError(
                f"the provider {provider.name} has no default model",
                hint='write model = "..." at the top of perstack.toml, or add --model NAME',
            )
        return model
    if not 1 <= len(given) <= limits.NAME_LENGTH or not given.isprintable():
        raise UsageError(
            f"--model {shown(given)} is not a model's name", hint=f"--model {usual or 'NAME'}"
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


def _budget(current: BudgetSettings, overrides: Overrides) -> BudgetSettings:
    given: dict[str, float | None] = {
        "max_tokens": _allowed("--max-tokens", overrides.max_tokens, limits.BUDGET_TOKENS, 100_000),
        "max_cost_usd": _allowed("--max-cost", overrides.max_cost_usd, limits.BUDGET_USD, 5),
        "max_duration": _allowed(
            "--max-duration", overrides.max_duration_ms, limits.BUDGET_MS, 600_000
        ),
    }
    return current.model_copy(update={key: n for key, n in given.items() if n is not None})


def _allowed(
    option: str, given: float | None, bounds: tuple[float, float], example: int
) -> float | None:
    low, high = bounds
    if given is not None and not low <= given <= high:
        raise UsageError(
            f"{option} must be a number from {low:,} to {high:,}, not {shown(given)}",
            hint=f"{option} {example}",
        )
    return given


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
    """Return the warnings, those about model and provider made anew for what is used."""
    if settings == config.settings:
        return config.warnings
    kept = tuple(one for one in config.warnings if one.key not in ("model", "reasoningBudget"))
    for doubt in model_doubts(settings):
        hint = f"{doubt.option} {doubt.instead}"
        kept = (*kept, ConfigWarning(None, doubt.key, doubt.fault, hint))
    if settings.provider.name == config.settings.provider.name:
        return kept
    # The file's settings of its own provider are left behind, and what was said about them.
    about_tools, about_settings = (".providerTools", ".providerSkills"), "provider.setting."
    kept = tuple(
        one
        for one in kept
        if not one.key.endswith(about_tools) and not one.key.startswith(about_settings)
    )
    doubts = doubts_about_tools(config.experts, settings.provider.name)
    return (*kept, *(ConfigWarning(None, key_text(key), *said) for key, *said in doubts))
