"""What `perstack config check` tells: how a configuration was understood, and its warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from perstack.cli.known_tools import KnownTools
from perstack.config.commands import server_command
from perstack.config.kept_settings import without_secrets
from perstack.config.model_table import facts_of
from perstack.config.report import ConfigWarning, printable
from perstack.config.untrusted import Demand
from perstack.domain.base import Model
from perstack.domain.coordination import CoordinationSettings, DriftSettings, ResourceSettings
from perstack.domain.expert import (
    BaseSkill,
    Expert,
    InteractiveSkill,
    McpSseSkill,
    McpStdioSkill,
    MemorySkill,
    SkillSpec,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import (
    USUAL_PERMISSIONS,
    Permissions,
    RuntimeSettings,
    is_program,
)
from perstack.domain.settings import (
    BudgetSettings,
    ConsensusSettings,
    ExecSettings,
    Settings,
    SnapshotSettings,
)
from perstack.domain.usage import ModelFacts

Json = dict[str, JsonValue]

_LABEL = 12
_UNASKED: Final[Mapping[Permissions, str]] = {
    "ask": "does nothing unasked",
    "edits": "edits files unasked",
    "all": "does anything unasked",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration that can be used. `demands` tell whether each was accepted.

    `database` is where the shared tables are: a file, or a server's URL without a password.
    """

    source: str
    text_hash: str
    settings: Settings
    env_paths: tuple[str, ...]
    experts: Mapping[ExpertKey, Expert]
    tools: Mapping[ExpertKey, KnownTools]
    demands: Mapping[Demand, bool]
    warnings: tuple[ConfigWarning, ...]
    database: str

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model, as this provider serves it."""
        provider = self.settings.provider
        return facts_of(
            self.settings.model,
            self.settings.models,
            provider=provider.name,
            elsewhere=provider.base_url is not None,
        )


def as_json(checked: Checked) -> Json:
    """Return everything for a program; header values are left out."""
    return {
        "ok": True,
        "file": checked.source,
        "sha256": checked.text_hash,
        "model": {"name": checked.settings.model, **_dump(checked.facts)},
        "settings": _dump(without_secrets(checked.settings)),
        "envPath": list(checked.env_paths),
        "database": checked.database,
        "experts": [
            _expert_json(expert, checked.tools[key]) for key, expert in checked.experts.items()
        ],
        "asksFor": [
            {"kind": demand.kind, "text": demand.text, "accepted": accepted}
            for demand, accepted in checked.demands.items()
        ],
        "warnings": [warning_json(one) for one in checked.warnings],
    }


def warning_json(warning: ConfigWarning) -> Json:
    """Return a warning or problem for a program."""
    return {
        "line": warning.line,
        "key": warning.key,
        "message": warning.message,
        "hint": warning.hint,
    }


def as_lines(checked: Checked) -> Iterator[str]:
    """Yield everything for a person."""
    yield _row("file", checked.source)
    yield _row("sha256", checked.text_hash)
    yield from _settings_lines(checked)
    yield _row("database", printable(checked.database, longest=200))
    for key, expert in checked.experts.items():
        yield ""
        yield f"{printable(key)} {expert.version}"
        yield from _expert_lines(expert, checked.tools[key])
    if checked.demands:
        yield ""
        yield "It asks for:"
        for demand, accepted in checked.demands.items():
            yield f"  {demand.text}{'' if accepted else '   (not accepted yet)'}"
    yield ""
    yield from warning_lines(checked.warnings)


def warning_lines(warnings: tuple[ConfigWarning, ...]) -> Iterator[str]:
    """Yield each warning with its remedy below it."""
    count = len(warnings)
    yield "No warnings." if not count else f"{count} warning{'' if count == 1 else 's'}:"
    for warning in warnings:
        yield f"  {warning}"
        if warning.hint:
            yield f"      {warning.hint}"


def _settings_lines(checked: Checked) -> Iterator[str]:
    settings = checked.settings
    provider = settings.provider
    at = f" at {provider.base_url}" if provider.base_url else ""
    yield _row("provider", f"{provider.name}{at}")
    yield _row("model", f"{printable(settings.model)}: {_facts(checked.facts)}")
    yield _row("runtime", _runtime(settings.runtime))
    yield _row("reasoning", str(settings.reasoning_budget))
    yield _row("limits", _limits(settings))
    yield _row("budget", _budget(settings.budget))
    yield _row("exec", _exec(settings.exec))
    yield _row("snapshots", _snapshots(settings.snapshots))
    yield _row("consensus", _consensus(settings.consensus))
    told = [*settings.notify.command[:1], *(("a webhook",) if settings.notify.webhook else ())]
    yield _row("notify", ", ".join(map(printable, told)) or "nobody")
    yield from _coordination_lines(settings.coordination)
    yield _row("env files", ", ".join(map(printable, checked.env_paths)) or "none")


def _runtime(runtime: RuntimeSettings) -> str:
    if runtime.name == "perstack":
        return "perstack"
    if not is_program(runtime.name):
        docker = runtime.docker
        return f"docker: {docker.memory:,} MB, {docker.cpus:g} cpus, {docker.pids:,} processes"
    says = runtime.program(runtime.name)
    may = says.permissions or USUAL_PERMISSIONS[runtime.name]
    given = f", is given {', '.join(says.env)}" if says.env else ""
    started = f" ({printable(' '.join(says.command), longest=80)})" if says.command else ""
    return f"{runtime.name}{started}: {_UNASKED[may]}{given}"


def _facts(facts: ModelFacts) -> str:
    window = f"{facts.context_window:,} tokens" if facts.context_window else "unknown"
    price = facts.price
    cost = f"${price.input:g} in, ${price.output:g} out" if price else "unknown"
    thinks = {True: "yes", False: "no", None: "unknown"}[facts.thinks]
    return f"window {window}; reasons: {thinks}; a million tokens: {cost}"


def _limits(settings: Settings) -> str:
    return (
        f"{settings.max_steps:,} steps, {settings.max_retries:,} retries, "
        f"{settings.timeout:,} ms a generation, {settings.max_parallel:,} runs at once, "
        f"delegation {settings.max_depth} deep"
    )


def _budget(budget: BudgetSettings) -> str:
    parts = (
        (budget.max_tokens, "{:,} tokens"),
        (budget.max_cost_usd, "${:,g}"),
        (budget.max_duration, "{:,} ms"),
    )
    return ", ".join(text.format(value) for value, text in parts if value is not None) or "no limit"


def _snapshots(kept: SnapshotSettings) -> str:
    if not kept.enabled:
        return "off"
    listed = ", ".join(printable(pattern, longest=40) for pattern in kept.exclude) or "nothing"
    return f"up to {kept.max_files:,} files of {kept.max_file_bytes:,} bytes, without {listed}"


def _exec(exec_: ExecSettings) -> str:
    if exec_.sandbox == "none":
        return "no sandbox"
    return f"{exec_.sandbox}, {'with' if exec_.network else 'without'} network"


def _consensus(rules: ConsensusSettings) -> str:
    if not rules.enabled:
        return "off: no delegation waits for a person"
    levels = ", ".join(rules.require_for_risk_levels) or "no"
    alone = rules.reviewer_may_approve
    reviewed = ""
    if rules.reviewer_strategy != "human":
        reviewed = f"; a reviewing Expert may approve {f'up to {alone} risk' if alone else 'none'}"
    return f"on: {levels} risk waits, and what is deeper than {rules.max_depth}{reviewed}"


def _coordination_lines(settings: CoordinationSettings) -> Iterator[str]:
    agents, vectors = settings.agents, settings.memory.vector_search
    yield _row("agents", f"{agents.max_concurrent} at a time, {agents.default_timeout} s each")
    meaning = "words alone"
    if vectors.enabled:
        by = vectors.provider or "what is there without a vendor"
        meaning = printable(f"meaning, by {by}{f' ({vectors.model})' if vectors.model else ''}")
    namespace = printable(settings.memory.default_namespace)
    yield _row("memory", f"namespace {namespace}, searched by {meaning}")
    yield _row("drift", _drift(settings.drift))
    yield _row("resources", _resources(settings.resources))
    told = ("Slack", settings.slack.enabled), ("GitHub", settings.github.enabled)
    yield _row("reaches", ", ".join(name for name, on in told if on) or "neither Slack nor GitHub")


def _drift(drift: DriftSettings) -> str:
    if not drift.enabled:
        return "off: tasks may repeat what they descend from"
    told = f", from {drift.warning_threshold:g} told" if drift.warning_threshold else ""
    does = "refused" if drift.behavior == "prevent" else "warned of"
    return f"on: from a likeness of {drift.threshold:g} {does}{told}"


def _resources(resources: ResourceSettings) -> str:
    if not resources.enabled:
        return "off: no agent is stopped for what it uses"
    most = resources.thresholds
    does = "stopped for good" if resources.auto_terminate else "stopped for a person to look"
    return (
        f"on: {does} after {most.max_files_accessed:,} files, {most.max_api_calls:,} model calls, "
        f"{most.max_subtasks_spawned} subtasks or {most.max_tokens_consumed:,} tokens"
    )


def _expert_lines(expert: Expert, tools: KnownTools) -> Iterator[str]:
    if expert.runtime is not None:
        yield _row("  runtime", expert.runtime)
    if tools.delegates:
        yield _row("  delegates", ", ".join(map(printable, expert.delegates)))
    if expert.provider_tools:
        yield _row("  provider", ", ".join(map(printable, expert.provider_tools)))
    for name, skill in expert.skills.items():
        yield f"  {printable(name)} ({_how(skill)})"
        yield f"    {_listed(skill, tools.by_skill[name])}"
        if not isinstance(skill, InteractiveSkill) and skill.require_approval:
            yield f"    wait for approval: {', '.join(map(printable, skill.require_approval))}"


def _listed(skill: SkillSpec, names: tuple[str, ...] | None) -> str:
    if names is None:
        return "its tools are known once it was asked, or from perstack.lock"
    if isinstance(skill, BaseSkill) and not skill.pick and not skill.omit:
        return f"all {len(names)} base tools"
    return printable(", ".join(names)) or "no tools"


def _how(skill: SkillSpec) -> str:
    match skill:
        case BaseSkill():
            return "built in"
        case MemorySkill():
            where = f", namespace {printable(skill.namespace)}" if skill.namespace else ""
            return f"built in{where}"
        case InteractiveSkill():
            return "asks the user"
        case McpStdioSkill():
            command, args = server_command(skill)
            return printable(" ".join([command, *args]), longest=120)
        case _:
            kind = "SSE" if isinstance(skill, McpSseSkill) else "HTTP"
            address, asks, _ = skill.endpoint.partition("?")
            return printable(f"{kind} {address}{asks and '?…'}", longest=120)


def _expert_json(expert: Expert, tools: KnownTools) -> Json:
    return {
        "key": expert.key,
        "version": expert.version,
        "description": expert.description,
        "runtime": expert.runtime,
        "delegates": list(expert.delegates),
        "delegateTools": list(tools.delegates),
        "providerTools": list(expert.provider_tools),
        "skills": {
            name: {
                "type": skill.type,
                "tools": None if (known := tools.by_skill[name]) is None else list(known),
            }
            for name, skill in expert.skills.items()
        },
    }


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _dump(model: Model) -> Json:
    dumped: Json = model.model_dump(mode="json")
    return dumped
