"""The part of `perstack.toml` that says how to run: model, provider, limits, gates, notices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from perstack.config import limits
from perstack.config.model_table import facts_of
from perstack.config.models import DEFAULT_MODELS, doubt_about_model, suggest_model
from perstack.config.read_coordination import read_coordination
from perstack.config.read_gates import read_budget, read_consensus, read_exec
from perstack.config.read_models import read_models
from perstack.config.read_notify import read_notify
from perstack.config.read_provider import read_provider
from perstack.config.read_runtimes import read_runtime
from perstack.config.read_snapshots import read_snapshots
from perstack.config.report import listed, printable, shown
from perstack.config.table import Table, among, given
from perstack.config.urls import fault_of_url
from perstack.config.vocabulary import (
    DEFAULT_ENV_PATHS,
    LATER_TABLES,
    REASONING_WORDS,
    ReasoningWord,
)
from perstack.domain.settings import Settings
from perstack.domain.usage import ModelFacts


def read_settings(top: Table) -> Settings:
    """Read everything but Experts, env files and registry.

    Where neither the file nor a default names a model, `model` is empty: the command line may.
    """
    usual = Settings()
    provider = read_provider(top)
    settings = Settings(
        model=top.text("model", shortest=1, longest=limits.NAME_LENGTH)
        or DEFAULT_MODELS.get(provider.name, ""),
        provider=provider,
        reasoning_budget=_read_reasoning_budget(top),
        max_steps=given(top.integer("maxSteps", limits.MAX_STEPS), usual.max_steps),
        max_retries=given(top.integer("maxRetries", limits.MAX_RETRIES), usual.max_retries),
        timeout=given(top.integer("timeout", limits.TIMEOUT_MS), usual.timeout),
        max_parallel=given(top.integer("maxParallel", limits.MAX_PARALLEL), usual.max_parallel),
        max_depth=given(top.integer("maxDepth", limits.MAX_DEPTH), usual.max_depth),
        budget=read_budget(top),
        exec=read_exec(top),
        models=read_models(top),
        base_skill_command=_read_base_skill_command(top),
        consensus=read_consensus(top),
        notify=read_notify(top),
        snapshots=read_snapshots(top),
        coordination=read_coordination(top),
        runtime=read_runtime(top),
    )
    _doubt_model(top, settings)
    top.not_yet(*LATER_TABLES)
    return settings


def read_env_paths(top: Table) -> tuple[str, ...]:
    """Read the env files' paths, relative to the folder of the project."""
    paths = top.texts("envPath", longest=limits.TEXT_LENGTH)
    if paths is None:
        return DEFAULT_ENV_PATHS
    if any("\0" in path for path in paths):
        top.problem("envPath", "must not hold NUL characters")
    return paths


def read_api_base_url(top: Table) -> str | None:
    """Read where the registry of Experts is."""
    key = "perstackApiBaseUrl"
    url = top.text(key, shortest=1)
    if url is None:
        return None
    if fault := fault_of_url(url):
        top.problem(key, fault, "write an https:// URL")
        return None
    return url


@dataclass(frozen=True, slots=True)
class ModelDoubt:
    """What speaks against the model, and the key and option that would mend it."""

    key: Literal["model", "reasoningBudget"]
    option: str
    fault: str
    instead: str


def model_doubts(settings: Settings) -> Iterator[ModelDoubt]:
    """Yield what speaks against the model and what is asked of it."""
    model, provider = settings.model, settings.provider
    own_url = provider.base_url is not None
    if doubt := doubt_about_model(model, provider.name, own_url=own_url):
        successor = suggest_model(model, provider.name)
        yield ModelDoubt("model", "--model", printable(doubt, longest=160), successor)
    if settings.reasoning_budget not in ("none", 0) and _cannot_reason(settings):
        fault = f"{printable(model, longest=80)} cannot reason, so that it has no effect"
        yield ModelDoubt("reasoningBudget", "--reasoning-budget", fault, "none")


def _cannot_reason(settings: Settings) -> bool:
    """Tell whether somebody states so; behind an address of one's own, only the user can."""
    model, provider = settings.model, settings.provider
    if provider.name == "scripted":
        return False
    if provider.base_url is not None:
        return settings.models.get(model, ModelFacts()).thinks is False
    return facts_of(model, settings.models, provider=provider.name).thinks is False


def _doubt_model(top: Table, settings: Settings) -> None:
    for doubt in model_doubts(settings):
        top.warn(doubt.key, doubt.fault, f'write {doubt.key} = "{doubt.instead}"')


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


def _read_base_skill_command(top: Table) -> tuple[str, ...]:
    key = "perstackBaseSkillCommand"
    command = top.texts(key, longest=limits.ARGUMENT_LENGTH, empty_items=True)
    if command is None:
        return ()
    if any("\0" in part for part in command):
        top.problem(key, "must not hold NUL characters")
    if not command or not command[0]:
        top.problem(key, "must name a program", f'write {key} = ["npx", "-y", "@perstack/base"]')
    return command
