"""The safeguards of `perstack.toml`: consensus, budget, exec, drift and resources.

A key that is misspelt in one of them is refused, not warned of: it would be off without a word.
"""

from __future__ import annotations

from typing import Final

from perstack.config import limits
from perstack.config.report import key_text, listed, meant
from perstack.config.table import TOP_KEYS, Table, given
from perstack.config.vocabulary import (
    DRIFT_BEHAVIORS,
    MAY_APPROVE,
    RISKS,
    SANDBOXES,
    STRATEGIES,
)
from perstack.domain.coordination import DriftSettings, ResourceSettings, ResourceThresholds
from perstack.domain.settings import BudgetSettings, ConsensusSettings, ExecSettings

CONSENSUS_KEYS: Final = (
    "enabled",
    "requireForRiskLevels",
    "reviewerStrategy",
    "timeout",
    "maxDepth",
    "autoReject",
    "reviewerMayApprove",
    "reviewerModel",
    "highRiskAgentTypes",
    "mediumRiskAgentTypes",
    "highRiskPatterns",
    "mediumRiskPatterns",
)
BUDGET_KEYS: Final = ("maxTokens", "maxCostUsd", "maxDuration")
EXEC_KEYS: Final = ("sandbox", "network")
DRIFT_KEYS: Final = (
    "enabled",
    "threshold",
    "warningThreshold",
    "ancestorDepth",
    "behavior",
    "asyncEmbedding",
)
RESOURCE_KEYS: Final = (
    "enabled",
    "thresholds",
    "warningThresholdPercent",
    "checkIntervalMs",
    "autoTerminate",
    "requireConfirmationOnIntervention",
    "pauseOnIntervention",
)
THRESHOLD_KEYS: Final = (
    "maxFilesAccessed",
    "maxApiCalls",
    "maxSubtasksSpawned",
    "maxTimeWithoutDeliverableMs",
    "maxTokensConsumed",
)


def read_consensus(top: Table) -> ConsensusSettings:
    """Read when delegations wait for a decision."""
    table = top.table("consensus")
    usual = ConsensusSettings()
    if table is None:
        return usual
    may_approve = table.choice("reviewerMayApprove", MAY_APPROVE)
    read = ConsensusSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        require_for_risk_levels=given(
            table.choices("requireForRiskLevels", RISKS), usual.require_for_risk_levels
        ),
        reviewer_strategy=table.choice("reviewerStrategy", STRATEGIES) or usual.reviewer_strategy,
        timeout=given(table.integer("timeout", limits.CONSENSUS_TIMEOUT_MS), usual.timeout),
        max_depth=given(table.integer("maxDepth", limits.CONSENSUS_DEPTH), usual.max_depth),
        auto_reject=given(table.flag("autoReject"), usual.auto_reject),
        reviewer_may_approve=None
        if may_approve == "none"
        else given(may_approve, usual.reviewer_may_approve),
        reviewer_model=table.text("reviewerModel", shortest=1, longest=limits.NAME_LENGTH),
        high_risk_agent_types=given(table.texts("highRiskAgentTypes"), usual.high_risk_agent_types),
        medium_risk_agent_types=given(
            table.texts("mediumRiskAgentTypes"), usual.medium_risk_agent_types
        ),
        high_risk_patterns=given(table.texts("highRiskPatterns"), usual.high_risk_patterns),
        medium_risk_patterns=given(table.texts("mediumRiskPatterns"), usual.medium_risk_patterns),
    )
    if read.enabled and read.reviewer_strategy == "different-model" and not read.reviewer_model:
        table.problem(
            "reviewerStrategy",
            'is "different-model", which needs reviewerModel, and none is named',
            'add reviewerModel = "…", a model other than the project\'s',
        )
    table.close(gates=CONSENSUS_KEYS)
    return read


def read_budget(top: Table) -> BudgetSettings:
    """Read what a job may use."""
    table = top.table("budget")
    if table is None:
        return BudgetSettings()
    read = BudgetSettings(
        max_tokens=table.integer("maxTokens", limits.BUDGET_TOKENS),
        max_cost_usd=table.number("maxCostUsd", limits.BUDGET_USD),
        max_duration=table.integer("maxDuration", limits.BUDGET_MS),
    )
    table.close(gates=BUDGET_KEYS)
    return read


def read_exec(top: Table) -> ExecSettings:
    """Read how the base skill's `exec` is shut in."""
    table = top.table("exec")
    usual = ExecSettings()
    if table is None:
        return usual
    read = ExecSettings(
        sandbox=table.choice("sandbox", SANDBOXES) or usual.sandbox,
        network=given(table.flag("network"), usual.network),
    )
    if "network" in table and read.sandbox == "none":
        table.warn("network", "has no effect without a sandbox", 'write sandbox = "bubblewrap"')
    table.close(gates=EXEC_KEYS)
    return read


def read_drift(top: Table) -> DriftSettings:
    """Read when a task counts as a repetition of one that it descends from."""
    table = top.table("driftDetection")
    usual = DriftSettings()
    if table is None:
        return usual
    threshold = given(table.number("threshold", limits.COSINE), usual.threshold)
    warning = table.number("warningThreshold", limits.COSINE)
    if warning is not None and warning >= threshold:
        table.problem(
            "warningThreshold",
            f"must be less than threshold, which is {threshold:g}; it is {warning:g}",
            "lower warningThreshold, or leave it out",
        )
    read = DriftSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        threshold=threshold,
        warning_threshold=warning,
        ancestor_depth=given(
            table.integer("ancestorDepth", limits.ANCESTOR_DEPTH), usual.ancestor_depth
        ),
        behavior=table.choice("behavior", DRIFT_BEHAVIORS) or usual.behavior,
        async_embedding=given(table.flag("asyncEmbedding"), usual.async_embedding),
    )
    table.close(gates=DRIFT_KEYS)
    return read


def read_resources(top: Table) -> ResourceSettings:
    """Read how much one agent may use before it is stopped for a person to look."""
    table = top.table("resourceExhaustion")
    usual = ResourceSettings()
    if table is None:
        return usual
    share = table.number("warningThresholdPercent", limits.WARNING_SHARE)
    read = ResourceSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        thresholds=_read_thresholds(table),
        warning_threshold_percent=given(share, usual.warning_threshold_percent),
        check_interval_ms=given(
            table.integer("checkIntervalMs", limits.CHECK_MS), usual.check_interval_ms
        ),
        auto_terminate=given(table.flag("autoTerminate"), usual.auto_terminate),
        require_confirmation_on_intervention=given(
            table.flag("requireConfirmationOnIntervention"),
            usual.require_confirmation_on_intervention,
        ),
        pause_on_intervention=given(table.flag("pauseOnIntervention"), usual.pause_on_intervention),
    )
    _refuse_misplaced(table)
    table.close(gates=RESOURCE_KEYS)
    return read


def _refuse_misplaced(resources: Table) -> None:
    """Refuse every other key: whatever stands here was to be a limit, and would be none."""
    for key in resources.keys:
        if key in RESOURCE_KEYS or meant(key, RESOURCE_KEYS):
            continue
        resources.raw(key)
        if limit := meant(key, THRESHOLD_KEYS):
            hint = f"write {limit} into [resourceExhaustion.thresholds]"
        elif key in TOP_KEYS:
            hint = f"move {key_text((key,))} above the first [table] of the file"
        else:
            hint = f"known here: {listed(RESOURCE_KEYS)}"
        resources.problem(key, "unknown key: it would limit nothing here", hint)


def _read_thresholds(resources: Table) -> ResourceThresholds:
    table = resources.table("thresholds")
    usual = ResourceThresholds()
    if table is None:
        return usual
    files = table.integer("maxFilesAccessed", limits.FILES_ACCESSED)
    calls = table.integer("maxApiCalls", limits.API_CALLS)
    subtasks = table.integer("maxSubtasksSpawned", limits.SUBTASKS)
    idle_ms = table.integer("maxTimeWithoutDeliverableMs", limits.DELIVERABLE_MS)
    tokens = table.integer("maxTokensConsumed", limits.TOKENS_CONSUMED)
    table.close(gates=THRESHOLD_KEYS)
    return ResourceThresholds(
        max_files_accessed=given(files, usual.max_files_accessed),
        max_api_calls=given(calls, usual.max_api_calls),
        max_subtasks_spawned=given(subtasks, usual.max_subtasks_spawned),
        max_time_without_deliverable_ms=given(idle_ms, usual.max_time_without_deliverable_ms),
        max_tokens_consumed=given(tokens, usual.max_tokens_consumed),
    )
