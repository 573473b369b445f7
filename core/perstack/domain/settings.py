"""What a job runs with, after command line, `perstack.toml` and defaults were joined."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from perstack.domain.base import Model

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
DEFAULT_MAX_STEPS: Final = 100
DEFAULT_MAX_RETRIES: Final = 5
DEFAULT_TIMEOUT_MS: Final = 300_000
DEFAULT_MAX_PARALLEL: Final = 128

ProviderName = Literal["anthropic", "openai", "scripted"]
RiskLevel = Literal["low", "medium", "high"]
ReviewerStrategy = Literal["adversarial", "different-model", "human"]


class ProviderSettings(Model):
    """Which vendor, and how to reach it. Keys are never here: they stay in the environment.

    `scenario` is the path of a TOML scenario and `pace` its speed (1 as written, 0 flat out);
    both are read by the scripted provider alone.
    """

    name: ProviderName = "anthropic"
    base_url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    organization: str | None = None
    project: str | None = None
    scenario: str | None = None
    pace: float = 1.0


class ConsensusSettings(Model):
    """When delegations wait for a decision. `timeout` is in milliseconds."""

    enabled: bool = False
    require_for_risk_levels: tuple[RiskLevel, ...] = ("high", "medium")
    reviewer_strategy: ReviewerStrategy = "adversarial"
    timeout: int = 300_000
    max_depth: int = 5
    auto_reject: bool = False
    high_risk_agent_types: tuple[str, ...] = ("coder", "devops", "security-auditor")
    medium_risk_agent_types: tuple[str, ...] = ("architect", "coordinator", "analyst")
    high_risk_patterns: tuple[str, ...] = (
        "delete",
        "remove",
        "drop",
        "deploy",
        "production",
        "credentials",
        "secret",
        "password",
        "token",
        "api key",
    )
    medium_risk_patterns: tuple[str, ...] = ("modify", "update", "change", "configure", "install")


class NotifySettings(Model):
    """What is called when something waits for a person.

    `command` is an argument vector and gets the notice as JSON on its standard input; `webhook`
    is a URL that the same JSON is posted to.
    """

    command: tuple[str, ...] = ()
    webhook: str | None = None


class Settings(Model):
    """Everything a job needs besides its Experts. `timeout` (ms) bounds one generation."""

    model: str = DEFAULT_MODEL
    provider: ProviderSettings = ProviderSettings()
    reasoning_budget: Literal["none", "minimal", "low", "medium", "high"] | int = "low"
    max_steps: int = DEFAULT_MAX_STEPS
    max_retries: int = DEFAULT_MAX_RETRIES
    timeout: int = DEFAULT_TIMEOUT_MS
    max_parallel: int = DEFAULT_MAX_PARALLEL
    consensus: ConsensusSettings = ConsensusSettings()
    notify: NotifySettings = NotifySettings()
