"""What `perstack.toml` says of agents, memory, drift, resources and what stands around them.

A text that may hold a secret (`webhook_url`, `token`, `database`) is kept as it was written, with
its `${NAME}`s: they are filled in from the environment where the text is used, so that no secret
is in a run's settings.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perstack.domain.base import Model


class AgentsSettings(Model):
    """How many agents may be spawned at a time, and how long (s) one of them may work."""

    max_concurrent: int = 5
    default_timeout: int = 300


class VectorSearchSettings(Model):
    """Whether memory is searched by meaning, and who makes the vectors.

    `provider` None takes the first of these that is there: the embedded MiniLM, the embedded
    static one. `model` is a vendor's; None takes its usual one.
    """

    enabled: bool = False
    provider: Literal["openai", "ollama", "embedded", "hashed"] | None = None
    model: str | None = None


class MemorySettings(Model):
    """What Experts recall."""

    default_namespace: str = "default"
    vector_search: VectorSearchSettings = VectorSearchSettings()


class DriftSettings(Model):
    """When a task counts as a repetition of one that it descends from. Thresholds are cosines."""

    enabled: bool = False
    threshold: float = 0.95
    warning_threshold: float | None = None
    ancestor_depth: int = 3
    behavior: Literal["warn", "prevent"] = "warn"
    async_embedding: bool = True


class ResourceThresholds(Model):
    """How much one agent may use before it is stopped for a person to look."""

    max_files_accessed: int = 50
    max_api_calls: int = 100
    max_subtasks_spawned: int = 20
    max_time_without_deliverable_ms: int = 1_800_000
    max_tokens_consumed: int = 500_000


class ResourceSettings(Model):
    """What happens to an agent that uses much. `warning_threshold_percent` is a share, 0.1-0.99."""

    enabled: bool = False
    thresholds: ResourceThresholds = ResourceThresholds()
    warning_threshold_percent: float = 0.7
    check_interval_ms: int = 10_000
    auto_terminate: bool = False
    require_confirmation_on_intervention: bool = True
    pause_on_intervention: bool = True


class DispatcherSettings(Model):
    """How the type of a task that names none is chosen. `dispatch_model` None: the job's model."""

    enabled: bool = True
    cache_enabled: bool = True
    cache_ttl_ms: int = Field(
        default=3_600_000, validation_alias="cacheTTLMs", serialization_alias="cacheTTLMs"
    )
    confidence_threshold: float = 0.7
    fallback_agent_type: str = "coder"
    max_description_length: int = 1_000
    dispatch_model: str | None = None


class SlackSettings(Model):
    """What is told to a Slack channel."""

    enabled: bool = False
    webhook_url: str | None = None
    channel: str | None = None
    username: str = "AgentStack Bot"
    icon_emoji: str = ":robot_face:"
    notify_on_agent_spawn: bool = False
    notify_on_workflow_complete: bool = True
    notify_on_errors: bool = True
    notify_on_review_loop: bool = True
    notify_on_resource_warning: bool = True
    notify_on_resource_intervention: bool = True


class GithubSettings(Model):
    """How GitHub is reached: with a token, or by the `gh` program."""

    enabled: bool = False
    use_gh_cli: bool = False
    token: str | None = None
    base_url: str | None = None


class HookSettings(Model):
    """Which of the built-in hooks run."""

    session_start: bool = True
    session_end: bool = True
    pre_task: bool = True
    post_task: bool = True


class PluginSettings(Model):
    """Where plugins are looked for beside the installed packages."""

    enabled: bool = True
    directory: str = "./plugins"


class McpSettings(Model):
    """What `perstack mcp start` offers beside the tools that are always there."""

    review_loop_tools: bool = False


class ServerSettings(Model):
    """What `perstack serve` shows. `filesystem_roots` without any: the workspace alone."""

    filesystem_roots: tuple[str, ...] = ()


class CoordinationSettings(Model):
    """All of it."""

    agents: AgentsSettings = AgentsSettings()
    memory: MemorySettings = MemorySettings()
    drift: DriftSettings = DriftSettings()
    resources: ResourceSettings = ResourceSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    slack: SlackSettings = SlackSettings()
    github: GithubSettings = GithubSettings()
    hooks: HookSettings = HookSettings()
    plugins: PluginSettings = PluginSettings()
    mcp: McpSettings = McpSettings()
    server: ServerSettings = ServerSettings()
