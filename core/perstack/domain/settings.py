"""What a job runs with, after command line, `perstack.toml` and defaults were joined."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal, NewType

from pydantic import Field

from perstack.domain.base import Model
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.runtimes import ProgramName, RuntimeSettings, takes_model
from perstack.domain.usage import ModelFacts

DEFAULT_MODEL: Final = "claude-sonnet-5-5"
DEFAULT_MAX_STEPS: Final = 100
DEFAULT_MAX_RETRIES: Final = 5
DEFAULT_TIMEOUT_MS: Final = 300_000
DEFAULT_MAX_PARALLEL: Final = 128

DEFAULT_MAX_DEPTH: Final = 20

VendorName = Literal[
    "anthropic",
    "openai",
    "google",
    "ollama",
    "azure-openai",
    "amazon-bedrock",
    "google-vertex",
    "deepseek",
    "scripted",
]
# What stands before the name of a provider that a plugin brings.
OF_PLUGIN: Final = "plugin:"
PLUGIN_PROVIDER: Final = re.compile(r"plugin:[a-z0-9][a-z0-9_-]{0,63}")
PluginProvider = NewType("PluginProvider", str)
ProviderName = (
    VendorName | Annotated[PluginProvider, Field(pattern=rf"^{PLUGIN_PROVIDER.pattern}$")]
)
RiskLevel = Literal["low", "medium", "high"]
ReviewerStrategy = Literal["adversarial", "different-model", "human"]


def plugin_provider(text: str) -> PluginProvider | None:
    """Return `plugin:NAME` as a provider's name, None if it is not of that form."""
    return PluginProvider(text) if PLUGIN_PROVIDER.fullmatch(text) else None


def is_of_plugin(name: ProviderName) -> bool:
    """Tell whether a plugin brings the provider."""
    return name.startswith(OF_PLUGIN)


class ProviderSettings(Model):
    """Which vendor, and how to reach it. Keys are never here: they stay in the environment.

    `allow_private` lets `base_url` be an address of a private network, over http too.
    `api` is which of OpenAI's endpoints is asked: "auto" takes Responses at OpenAI's own address
    and chat completions elsewhere. `client_name` is openai's `name`. `resource_name`,
    `api_version` and `use_deployment_based_urls` are azure-openai's, `region` amazon-bedrock's,
    `location` (with `project`) google-vertex's. `scenario` is the path of a TOML scenario and
    `pace` its speed (1 as written, 0 flat out); both are read by the scripted provider alone.
    """

    name: ProviderName = "anthropic"
    base_url: str | None = None
    allow_private: bool = False
    headers: dict[str, str] = Field(default_factory=dict)
    organization: str | None = None
    project: str | None = None
    client_name: str | None = None
    api: Literal["auto", "chat", "responses"] = "auto"
    resource_name: str | None = None
    api_version: str | None = None
    use_deployment_based_urls: bool = False
    region: str | None = None
    location: str | None = None
    scenario: str | None = None
    pace: float = 1.0


class ConsensusSettings(Model):
    """When delegations wait for a decision. `timeout` is in milliseconds.

    `reviewer_may_approve` is the highest risk that a reviewing Expert may approve by itself (None:
    it approves nothing by itself); `reviewer_model` is what the strategy "different-model" asks.
    """

    enabled: bool = False
    require_for_risk_levels: tuple[RiskLevel, ...] = ("high", "medium")
    reviewer_strategy: ReviewerStrategy = "adversarial"
    timeout: int = 300_000
    max_depth: int = 5
    auto_reject: bool = False
    reviewer_may_approve: RiskLevel | None = "low"
    reviewer_model: str | None = None
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


class BudgetSettings(Model):
    """What a job may use beside its steps; None means no limit. `max_duration` is in ms.

    `max_duration` counts the time that processes drove the job, over all its continuations.
    """

    max_tokens: int | None = None
    max_cost_usd: float | None = None
    max_duration: int | None = None


class ExecSettings(Model):
    """How the base skill's `exec` is shut in. `network` has no meaning without a sandbox."""

    sandbox: Literal["none", "bubblewrap"] = "none"
    network: bool = False


class SnapshotSettings(Model):
    """What of the workspace is stored at each checkpoint. `exclude` are patterns of `.gitignore`.

    Larger files than `max_file_bytes`, and those that go beyond `max_total_bytes` of all files,
    are listed only; no snapshot is taken of a folder with more than `max_files`.
    """

    enabled: bool = True
    max_file_bytes: int = 10_000_000
    max_files: int = 50_000
    max_total_bytes: int = 1_000_000_000
    exclude: tuple[str, ...] = (".env*",)

    def leaving_out(self, patterns: Iterable[str]) -> SnapshotSettings:
        """Return these settings with more patterns of what is not stored."""
        exclude = tuple(dict.fromkeys((*self.exclude, *patterns)))
        return self.model_copy(update={"exclude": exclude})


_USUAL: Final = CoordinationSettings()
_USUAL_SNAPSHOTS: Final = SnapshotSettings()
_USUAL_RUNTIME: Final = RuntimeSettings()


def _is_usual_runtime(settings: RuntimeSettings) -> bool:
    # Nobody but another runtime asks who named the model, or it.
    return settings.model_copy(update={"model_given": False, "typed": False}) == _USUAL_RUNTIME


def _is_usually_kept(settings: SnapshotSettings) -> bool:
    return settings == _USUAL_SNAPSHOTS


def _is_usual(settings: CoordinationSettings) -> bool:
    """Every run keeps its settings: what nobody set need not be said each time."""
    return settings == _USUAL


class Settings(Model):
    """Everything a job needs besides its Experts. `timeout` (ms) bounds one generation.

    `models` is what the user states of models, by name; it wins over the shipped table.
    `base_skill_command` starts another base skill than the built-in one.
    """

    model: str = DEFAULT_MODEL
    provider: ProviderSettings = ProviderSettings()
    reasoning_budget: Literal["none", "minimal", "low", "medium", "high"] | int = "low"
    max_steps: int = DEFAULT_MAX_STEPS
    max_retries: int = DEFAULT_MAX_RETRIES
    timeout: int = DEFAULT_TIMEOUT_MS
    max_parallel: int = DEFAULT_MAX_PARALLEL
    max_depth: int = DEFAULT_MAX_DEPTH
    budget: BudgetSettings = BudgetSettings()
    exec: ExecSettings = ExecSettings()
    models: dict[str, ModelFacts] = Field(default_factory=dict[str, ModelFacts])
    base_skill_command: tuple[str, ...] = ()
    consensus: ConsensusSettings = ConsensusSettings()
    notify: NotifySettings = NotifySettings()
    snapshots: Annotated[SnapshotSettings, Field(exclude_if=_is_usually_kept)] = _USUAL_SNAPSHOTS
    coordination: Annotated[CoordinationSettings, Field(exclude_if=_is_usual)] = _USUAL
    runtime: Annotated[RuntimeSettings, Field(exclude_if=_is_usual_runtime)] = _USUAL_RUNTIME

    def model_of(self, program: ProgramName) -> str:
        """Return the model that a program is told, `NAME:default` where it takes its own.

        One that nobody wrote, and one that is none of its makers', is not told.
        """
        told = self.runtime.model_given and takes_model(program, self.model, self.provider.name)
        return self.model if told else f"{program}:default"
