"""The part of `perstack.toml` that says how to run: model, provider, limits, gates, notices."""

from __future__ import annotations

from typing import Final, Literal, TypeVar

from perstack.config import limits
from perstack.config.models import DEFAULT_MODELS, doubt_about_model, suggest_model
from perstack.config.report import listed, printable, shown
from perstack.config.table import Table, among, is_table
from perstack.config.urls import fault_of_url
from perstack.domain.settings import (
    DEFAULT_MAX_PARALLEL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MAX_STEPS,
    DEFAULT_TIMEOUT_MS,
    ConsensusSettings,
    NotifySettings,
    ProviderName,
    ProviderSettings,
    ReviewerStrategy,
    RiskLevel,
    Settings,
)

ReasoningWord = Literal["none", "minimal", "low", "medium", "high"]
PROVIDERS: Final[tuple[ProviderName, ...]] = ("anthropic", "openai", "scripted")
RUNTIMES: Final = ("perstack", "local")
DEFAULT_ENV_PATHS: Final = (".env", ".env.local")
REASONING_WORDS: Final[tuple[ReasoningWord, ...]] = ("none", "minimal", "low", "medium", "high")

_RISKS: Final[tuple[RiskLevel, ...]] = ("low", "medium", "high")
_STRATEGIES: Final[tuple[ReviewerStrategy, ...]] = ("adversarial", "different-model", "human")
_CONSENSUS_KEYS: Final = (
    "enabled",
    "requireForRiskLevels",
    "reviewerStrategy",
    "timeout",
    "maxDepth",
    "autoReject",
    "highRiskAgentTypes",
    "mediumRiskAgentTypes",
    "highRiskPatterns",
    "mediumRiskPatterns",
)
_CONSENSUS_TIMEOUT_MS: Final = (30_000, 3_600_000)
_CONSENSUS_DEPTH: Final = (1, 10)
_NOT_YET: Final = (
    "perstackApiBaseUrl",
    "perstackBaseSkillCommand",
    "memory",
    "driftDetection",
    "resourceExhaustion",
    "agents",
    "mcp",
    "github",
    "slack",
    "hooks",
    "plugins",
    "smartDispatcher",
)

Value = TypeVar("Value")


def read_settings(top: Table) -> Settings:
    """Read everything but Experts, env files and runtime."""
    provider = _read_provider(top)
    settings = Settings(
        model=top.text("model", shortest=1, longest=limits.NAME_LENGTH)
        or DEFAULT_MODELS[provider.name],
        provider=provider,
        reasoning_budget=_read_reasoning_budget(top),
        max_steps=_given(top.integer("maxSteps", limits.MAX_STEPS), DEFAULT_MAX_STEPS),
        max_retries=_given(top.integer("maxRetries", limits.MAX_RETRIES), DEFAULT_MAX_RETRIES),
        timeout=_given(top.integer("timeout", limits.TIMEOUT_MS), DEFAULT_TIMEOUT_MS),
        max_parallel=_given(top.integer("maxParallel", limits.MAX_PARALLEL), DEFAULT_MAX_PARALLEL),
        consensus=_read_consensus(top),
        notify=_read_notify(top),
    )
    _doubt_model(top, settings)
    top.not_yet(*_NOT_YET)
    return settings


def read_env_paths(top: Table) -> tuple[str, ...]:
    """Read the env files' paths, relative to the folder of the project."""
    paths = top.texts("envPath", longest=limits.TEXT_LENGTH)
    if paths is None:
        return DEFAULT_ENV_PATHS
    if any("\0" in path for path in paths):
        top.problem("envPath", "must not hold NUL characters")
    return paths


def read_runtime(top: Table) -> str:
    """Read which runtime executes the Experts; `local` is an older name of `perstack`."""
    runtime = top.text("runtime")
    if runtime is not None and runtime not in RUNTIMES:
        top.problem("runtime", unavailable_runtime(runtime), f'write runtime = "{RUNTIMES[0]}"')
    return RUNTIMES[0]


def unavailable_runtime(name: str) -> str:
    """Say that this version cannot execute Experts with the runtime `name`."""
    return f"Runtime {shown(name)} is not available. Available runtimes: {listed(RUNTIMES)}"


def unavailable_provider(name: str) -> str:
    """Say that this version cannot ask the provider `name`."""
    return f"Provider {shown(name)} is not available. Available providers: {listed(PROVIDERS)}"


def model_doubt(settings: Settings) -> tuple[str, str] | None:
    """Return what speaks against the model and what to write instead."""
    provider = settings.provider
    doubt = doubt_about_model(settings.model, provider.name, own_url=provider.base_url is not None)
    if doubt is None:
        return None
    return printable(doubt, longest=160), suggest_model(settings.model, provider.name)


def _doubt_model(top: Table, settings: Settings) -> None:
    if found := model_doubt(settings):
        doubt, successor = found
        top.warn("model", doubt, f'write model = "{successor}"')


def _read_reasoning_budget(top: Table) -> ReasoningWord | int:
    value = top.raw("reasoningBudget")
    low, high = limits.REASONING_TOKENS
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    word = among(value, REASONING_WORDS)
    if value is not None and word is None:
        top.problem(
            "reasoningBudget",
            f"must be one of {listed(REASONING_WORDS)} or a number of tokens "
            f"from {low} to {high:,}, not {shown(value)}",
        )
    return word or "low"


def _read_provider(top: Table) -> ProviderSettings:
    table = top.table("provider")
    if table is None:
        return ProviderSettings()
    name = _read_provider_name(table)
    setting = table.table("setting")
    provider = _read_provider_setting(setting, name) if setting else ProviderSettings(name=name)
    table.close()
    return provider


def _read_provider_name(table: Table) -> ProviderName:
    name = table.text("providerName")
    found = among(name, PROVIDERS)
    if name is not None and found is None:
        table.problem(
            "providerName", unavailable_provider(name), f'write providerName = "{PROVIDERS[0]}"'
        )
    return found or PROVIDERS[0]


def _read_provider_setting(setting: Table, name: ProviderName) -> ProviderSettings:
    read = ProviderSettings(
        name=name,
        base_url=_read_url(setting, "baseUrl"),
        headers=_read_headers(setting),
        organization=setting.text("organization"),
        project=setting.text("project"),
        scenario=setting.text("scenario", shortest=1),
        pace=_given(setting.number("pace", limits.PACE), 1.0),
    )
    foreign = {
        "anthropic": ("organization", "project", "scenario", "pace"),
        "openai": ("scenario", "pace"),
        "scripted": ("baseUrl", "headers", "organization", "project"),
    }[name]
    for key in foreign:
        if key in setting:
            setting.warn(key, f"has no effect with the provider {name}")
    setting.not_yet("name")
    setting.close()
    return read


def _read_url(table: Table, key: str) -> str | None:
    url = table.text(key, shortest=1)
    if url is not None and (fault := fault_of_url(url)):
        table.problem(key, fault, "write an https:// URL")
        return None
    return url


def _read_headers(setting: Table) -> dict[str, str]:
    headers = setting.table("headers")
    if headers is None:
        return {}
    read: dict[str, str] = {}
    for name in headers.keys:
        value = headers.text(name)
        if value is None:
            continue
        if not limits.HEADER_NAME.fullmatch(name):
            headers.problem(name, "is not a header name: use letters, digits and '-'")
        elif not value.isascii() or not value.isprintable():
            headers.problem(name, "must be printable ASCII text")
        read[name] = value
    return read


def _read_consensus(top: Table) -> ConsensusSettings:
    table = top.table("consensus")
    usual = ConsensusSettings()
    if table is None:
        return usual
    read = ConsensusSettings(
        enabled=_given(table.flag("enabled"), usual.enabled),
        require_for_risk_levels=_given(
            table.choices("requireForRiskLevels", _RISKS), usual.require_for_risk_levels
        ),
        reviewer_strategy=table.choice("reviewerStrategy", _STRATEGIES) or usual.reviewer_strategy,
        timeout=_given(table.integer("timeout", _CONSENSUS_TIMEOUT_MS), usual.timeout),
        max_depth=_given(table.integer("maxDepth", _CONSENSUS_DEPTH), usual.max_depth),
        auto_reject=_given(table.flag("autoReject"), usual.auto_reject),
        high_risk_agent_types=_given(
            table.texts("highRiskAgentTypes"), usual.high_risk_agent_types
        ),
        medium_risk_agent_types=_given(
            table.texts("mediumRiskAgentTypes"), usual.medium_risk_agent_types
        ),
        high_risk_patterns=_given(table.texts("highRiskPatterns"), usual.high_risk_patterns),
        medium_risk_patterns=_given(table.texts("mediumRiskPatterns"), usual.medium_risk_patterns),
    )
    table.close(gates=_CONSENSUS_KEYS)
    return read


def _read_notify(top: Table) -> NotifySettings:
    table = top.table("notify")
    if table is None:
        return NotifySettings()
    read = NotifySettings(command=_read_command(table), webhook=_read_url(table, "webhook"))
    table.close()
    return read


def _read_command(table: Table) -> tuple[str, ...]:
    value = table.raw("command")
    if isinstance(value, str):
        command = _split(table, value)
    else:
        command = table.texts("command", longest=limits.ARGUMENT_LENGTH, empty_items=True) or ()
    if any("\0" in part for part in command):
        table.problem("command", "must not hold NUL characters")
    if value is not None and not is_table(value) and (not command or not command[0]):
        table.problem(
            "command", "must name a program", 'write command = ["notify-send", "Perstack"]'
        )
    return command


def _split(table: Table, line: str) -> tuple[str, ...]:
    import shlex

    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        table.problem(
            "command", f"has unbalanced quotes ({error})", "write it as a list of strings"
        )
        return ("unread",)


def _given(value: Value | None, default: Value) -> Value:
    return default if value is None else value
