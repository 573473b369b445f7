"""AgentStack's names of other agents' programs, which stand where a provider can be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from perstack.config.models import DEFAULT_MODELS
from perstack.config.typed import Overrides
from perstack.domain.runtimes import ProgramName, takes_model
from perstack.domain.settings import ProviderName, ProviderSettings, Settings, VendorName
from perstack.errors import UsageError


@dataclass(frozen=True, slots=True)
class CliProvider:
    """A program, and the vendor whose models it asks."""

    runtime: ProgramName
    vendor: VendorName


_CLAUDE: Final = CliProvider("claude-code", "anthropic")
_GEMINI: Final = CliProvider("gemini", "google")
CLI_PROVIDERS: Final[Mapping[str, CliProvider]] = {
    "claude-code": _CLAUDE,
    "claude_code": _CLAUDE,
    "gemini-cli": _GEMINI,
    "gemini_cli": _GEMINI,
    "codex": CliProvider("codex", "openai"),
}


def with_program(overrides: Overrides, current: ProviderName) -> Overrides:
    """Return the options with a program that was named as a provider as the runtime.

    A model that was typed for a program is its own vendor's, whatever the `current` provider is.

    Raises:
        UsageError: another runtime was named, too.
    """
    named = overrides.provider
    found = CLI_PROVIDERS.get(named) if named is not None else None
    if found is None:
        vendor = _vendor_typed(overrides, current)
        return overrides if vendor is None else replace(overrides, provider=vendor)
    if overrides.runtime not in (None, found.runtime):
        raise UsageError(
            f"--provider {named} and --runtime {overrides.runtime} exclude each other",
            hint=f"--runtime {overrides.runtime}",
        )
    return replace(overrides, provider=found.vendor, runtime=found.runtime)


def _vendor_typed(overrides: Overrides, current: ProviderName) -> VendorName | None:
    """Return the vendor of a model that was typed for a program, None where none needs naming."""
    model = overrides.model
    if model is None or overrides.provider is not None:
        return None
    for known in CLI_PROVIDERS.values():
        if known.runtime == overrides.runtime and not takes_model(known.runtime, model, current):
            return known.vendor
    return None


def executed_with(settings: Settings, program: ProgramName, model: str | None) -> Settings:
    """Return the settings of a job that a program executes instead of what they say.

    `model` is one of the program's that somebody named; without it the settings' own counts where
    it is one of the same vendor.
    """
    provider, given, usual = settings.provider, settings.runtime.model_given, settings.model
    for known in CLI_PROVIDERS.values():
        if known.runtime == program and known.vendor != provider.name:
            provider, given = ProviderSettings(name=known.vendor), False
            usual = DEFAULT_MODELS[known.vendor]
    runtime = settings.runtime.model_copy(
        update={"name": program, "typed": True, "model_given": given or model is not None}
    )
    update = {"provider": provider, "runtime": runtime, "model": model or usual}
    return settings.model_copy(update=update)
