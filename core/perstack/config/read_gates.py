"""The safeguards of `perstack.toml`: `[consensus]`, `[budget]` and `[exec]`.

A key that is misspelt in one of them is refused, not warned of: it would be off without a word.
"""

from __future__ import annotations

from typing import Final

from perstack.config import limits
from perstack.config.table import Table, given
from perstack.config.vocabulary import RISKS, SANDBOXES, STRATEGIES
from perstack.domain.settings import BudgetSettings, ConsensusSettings, ExecSettings

CONSENSUS_KEYS: Final = (
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
BUDGET_KEYS: Final = ("maxTokens", "maxCostUsd", "maxDuration")
EXEC_KEYS: Final = ("sandbox", "network")


def read_consensus(top: Table) -> ConsensusSettings:
    """Read when delegations wait for a decision."""
    table = top.table("consensus")
    usual = ConsensusSettings()
    if table is None:
        return usual
    read = ConsensusSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        require_for_risk_levels=given(
            table.choices("requireForRiskLevels", RISKS), usual.require_for_risk_levels
        ),
        reviewer_strategy=table.choice("reviewerStrategy", STRATEGIES) or usual.reviewer_strategy,
        timeout=given(table.integer("timeout", limits.CONSENSUS_TIMEOUT_MS), usual.timeout),
        max_depth=given(table.integer("maxDepth", limits.CONSENSUS_DEPTH), usual.max_depth),
        auto_reject=given(table.flag("autoReject"), usual.auto_reject),
        high_risk_agent_types=given(table.texts("highRiskAgentTypes"), usual.high_risk_agent_types),
        medium_risk_agent_types=given(
            table.texts("mediumRiskAgentTypes"), usual.medium_risk_agent_types
        ),
        high_risk_patterns=given(table.texts("highRiskPatterns"), usual.high_risk_patterns),
        medium_risk_patterns=given(table.texts("mediumRiskPatterns"), usual.medium_risk_patterns),
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
