"""The JSON Schema of the tables about agents, memory, drift, resources and notices."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.schema_parts import (
    Schema,
    choice,
    flag,
    integer,
    number,
    table,
    text,
    texts,
    url,
)
from perstack.config.vocabulary import DRIFT_BEHAVIORS, VECTOR_PROVIDERS
from perstack.domain.coordination import (
    AgentsSettings,
    DispatcherSettings,
    DriftSettings,
    GithubSettings,
    HookSettings,
    McpSettings,
    MemorySettings,
    PluginSettings,
    ResourceSettings,
    SlackSettings,
)


def coordination_schemas() -> dict[str, Schema]:
    """Return the schemas by the names of their tables."""
    return {
        "agents": _agents(),
        "memory": _memory(),
        "driftDetection": _drift(),
        "resourceExhaustion": _resources(),
        "smartDispatcher": _dispatcher(),
        "slack": _slack(),
        "github": _github(),
        "hooks": _hooks(),
        "plugins": _plugins(),
        "mcp": _mcp(),
        "server": _server(),
    }


def _agents() -> Schema:
    usual = AgentsSettings()
    return table(
        "Agents that are spawned.",
        {
            "maxConcurrent": integer(
                "How many may be there at a time.", limits.AGENTS, usual.max_concurrent
            ),
            "defaultTimeout": integer(
                "Seconds that one may work.", limits.AGENT_TIMEOUT_S, usual.default_timeout
            ),
        },
    )


def _memory() -> Schema:
    usual = MemorySettings()
    vectors = table(
        "Search by meaning.",
        {
            "enabled": flag("Whether there is any.", default=usual.vector_search.enabled),
            "provider": choice(
                "Who makes the vectors; left out, what is there without a vendor.",
                VECTOR_PROVIDERS,
            ),
            "model": _name("The vendor's model for them."),
        },
    )
    return table(
        "What Experts remember.",
        {
            "path": text("Taken from other files and not used: the workspace has the tables."),
            "defaultNamespace": text(
                "Where entries without a namespace are.",
                shortest=1,
                longest=limits.NAMESPACE_LENGTH,
                rule=limits.NAMESPACE,
                default=usual.default_namespace,
            ),
            "vectorSearch": vectors,
        },
    )


def _drift() -> Schema:
    usual = DriftSettings()
    return table(
        "When a task repeats one that it descends from.",
        {
            "enabled": flag("Whether that is looked at.", default=usual.enabled),
            "threshold": number(
                "The likeness (a cosine) that counts as a repetition.",
                limits.COSINE,
                usual.threshold,
            ),
            "warningThreshold": number(
                "The likeness that is warned of; less than threshold.", limits.COSINE
            ),
            "ancestorDepth": integer(
                "How far up the task's ancestors are compared.",
                limits.ANCESTOR_DEPTH,
                usual.ancestor_depth,
            ),
            "behavior": choice("What happens to it.", DRIFT_BEHAVIORS, usual.behavior),
            "asyncEmbedding": flag(
                "Whether a task's vector is made after it began.", default=usual.async_embedding
            ),
        },
    )


def _resources() -> Schema:
    usual = ResourceSettings()
    return table(
        "What one agent may use before a person looks.",
        {
            "enabled": flag("Whether that is watched.", default=usual.enabled),
            "thresholds": _thresholds(),
            "warningThresholdPercent": number(
                "The share of a threshold that is warned of.",
                limits.WARNING_SHARE,
                usual.warning_threshold_percent,
            ),
            "checkIntervalMs": integer(
                "Milliseconds between two looks.", limits.CHECK_MS, usual.check_interval_ms
            ),
            "autoTerminate": flag(
                "Whether the agent is stopped for good.", default=usual.auto_terminate
            ),
            "requireConfirmationOnIntervention": flag(
                "Whether a person must agree before it goes on.",
                default=usual.require_confirmation_on_intervention,
            ),
            "pauseOnIntervention": flag(
                "Whether the agent waits meanwhile.", default=usual.pause_on_intervention
            ),
        },
    )


def _thresholds() -> Schema:
    usual = ResourceSettings().thresholds
    return table(
        "How much one agent may use.",
        {
            "maxFilesAccessed": integer("Files.", limits.FILES_ACCESSED, usual.max_files_accessed),
            "maxApiCalls": integer("Model calls.", limits.API_CALLS, usual.max_api_calls),
            "maxSubtasksSpawned": integer("Subtasks.", limits.SUBTASKS, usual.max_subtasks_spawned),
            "maxTimeWithoutDeliverableMs": integer(
                "Milliseconds of work without a result.",
                limits.DELIVERABLE_MS,
                usual.max_time_without_deliverable_ms,
            ),
            "maxTokensConsumed": integer(
                "Tokens in and out.", limits.TOKENS_CONSUMED, usual.max_tokens_consumed
            ),
        },
    )


def _dispatcher() -> Schema:
    usual = DispatcherSettings()
    return table(
        "How the type of a task that names none is chosen.",
        {
            "enabled": flag("Whether a model chooses it.", default=usual.enabled),
            "cacheEnabled": flag("Whether answers are kept.", default=usual.cache_enabled),
            "cacheTTLMs": integer(
                "Milliseconds that they are kept.", limits.DISPATCH_CACHE_MS, usual.cache_ttl_ms
            ),
            "confidenceThreshold": number(
                "Below it the fallback is taken.", limits.COSINE, usual.confidence_threshold
            ),
            "fallbackAgentType": _name("The type when in doubt.", usual.fallback_agent_type),
            "maxDescriptionLength": integer(
                "Characters of the task that the model reads.",
                limits.DISPATCH_LENGTH,
                usual.max_description_length,
            ),
            "dispatchModel": _name("The model that chooses; left out, the team's."),
        },
    )


def _slack() -> Schema:
    usual = SlackSettings()

    def told(what: str, default: bool) -> Schema:
        return flag(f"Whether {what}.", default=default)

    return table(
        "What is told to a Slack channel.",
        {
            "enabled": told("anything is told", usual.enabled),
            "webhookUrl": _webhook(),
            "channel": _name("Another channel than the webhook's own."),
            "username": _name("Who it comes from.", usual.username),
            "iconEmoji": _name("The sender's picture.", usual.icon_emoji),
            "notifyOnAgentSpawn": told("new agents are told", usual.notify_on_agent_spawn),
            "notifyOnWorkflowComplete": told(
                "ended workflows are told", usual.notify_on_workflow_complete
            ),
            "notifyOnErrors": told("errors are told", usual.notify_on_errors),
            "notifyOnReviewLoop": told("review loops are told", usual.notify_on_review_loop),
            "notifyOnResourceWarning": told(
                "warnings of agents that use much are told", usual.notify_on_resource_warning
            ),
            "notifyOnResourceIntervention": told(
                "agents that were stopped for it are told", usual.notify_on_resource_intervention
            ),
        },
    )


def _github() -> Schema:
    usual = GithubSettings()
    return table(
        "How GitHub is reached.",
        {
            "enabled": flag("Whether it is.", default=usual.enabled),
            "useGhCli": flag("With the gh program rather than a token.", default=usual.use_gh_cli),
            "token": {
                **text("A token, as ${GITHUB_TOKEN}.", shortest=1),
                "pattern": "^[ -~]*$",
            },
            "baseUrl": url("Where its interface is; left out, api.github.com."),
        },
    )


def _hooks() -> Schema:
    usual = HookSettings()
    return table(
        "Which of the built-in hooks run.",
        {
            "sessionStart": flag("When a session begins.", default=usual.session_start),
            "sessionEnd": flag("When a session ends.", default=usual.session_end),
            "preTask": flag("Before a task.", default=usual.pre_task),
            "postTask": flag("After a task.", default=usual.post_task),
        },
    )


def _plugins() -> Schema:
    usual = PluginSettings()
    return table(
        "Where plugins come from.",
        {
            "enabled": flag("Whether any are loaded.", default=usual.enabled),
            "directory": text(
                "A folder with plugins, beside the installed packages.",
                shortest=1,
                rule=limits.PATH,
                default=usual.directory,
            ),
        },
    )


def _mcp() -> Schema:
    usual = McpSettings()
    return table(
        "What MCP clients are offered.",
        {
            "reviewLoopTools": flag(
                "Whether the tools of review loops are, too.", default=usual.review_loop_tools
            ),
        },
    )


def _server() -> Schema:
    return table(
        "What `perstack serve` shows.",
        {
            "filesystemRoots": texts(
                "Folders that may be looked at; left out, the workspace alone.",
                longest=limits.TEXT_LENGTH,
                rule=limits.PATH,
            ),
        },
    )


def _name(says: str, default: str | None = None) -> Schema:
    return text(says, shortest=1, longest=limits.NAME_LENGTH, default=default)


def _webhook() -> Schema:
    """Return the schema of an address that may take in variables."""
    reference = r"\$\{[A-Za-z0-9_][A-Za-z0-9_-]*\}"
    return {
        **url("The channel's webhook, as ${SLACK_WEBHOOK_URL}."),
        "pattern": f"^(?:https?://[!-~]+|[!-~]*{reference}[!-~]*)$",
    }
