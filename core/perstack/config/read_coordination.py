"""Agents, memory and what stands around them, as `perstack.toml` says it."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.interpolate import is_reference, variables_in
from perstack.config.read_gates import read_drift, read_resources
from perstack.config.table import Table, given
from perstack.config.urls import fault_of_url
from perstack.config.vocabulary import VECTOR_PROVIDERS
from perstack.domain.coordination import (
    AgentsSettings,
    CoordinationSettings,
    DispatcherSettings,
    GithubSettings,
    HookSettings,
    McpSettings,
    MemorySettings,
    PluginSettings,
    ServerSettings,
    SlackSettings,
    VectorSearchSettings,
)


def read_coordination(top: Table) -> CoordinationSettings:
    """Read all of it; what is not written has its usual value."""
    return CoordinationSettings(
        agents=_read_agents(top),
        memory=_read_memory(top),
        drift=read_drift(top),
        resources=read_resources(top),
        dispatcher=_read_dispatcher(top),
        slack=_read_slack(top),
        github=_read_github(top),
        hooks=_read_hooks(top),
        plugins=_read_plugins(top),
        mcp=_read_mcp(top),
        server=_read_server(top),
    )


def _read_agents(top: Table) -> AgentsSettings:
    table = top.table("agents")
    usual = AgentsSettings()
    if table is None:
        return usual
    read = AgentsSettings(
        max_concurrent=given(table.integer("maxConcurrent", limits.AGENTS), usual.max_concurrent),
        default_timeout=given(
            table.integer("defaultTimeout", limits.AGENT_TIMEOUT_S), usual.default_timeout
        ),
    )
    table.close()
    return read


def _read_memory(top: Table) -> MemorySettings:
    table = top.table("memory")
    usual = MemorySettings()
    if table is None:
        return usual
    if table.text("path") is not None:
        table.warn(
            "path",
            "is not taken: memory is in the workspace's perstack/perstack.db",
            "remove it; another database is named by PERSTACK_DATABASE_URL",
        )
    namespace = table.text(
        "defaultNamespace",
        shortest=1,
        longest=limits.NAMESPACE_LENGTH,
        rule=limits.NAMESPACE,
    )
    read = MemorySettings(
        default_namespace=given(namespace, usual.default_namespace),
        vector_search=_read_vector_search(table),
    )
    table.close()
    return read


def _read_vector_search(memory: Table) -> VectorSearchSettings:
    table = memory.table("vectorSearch")
    usual = VectorSearchSettings()
    if table is None:
        return usual
    read = VectorSearchSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        provider=table.choice("provider", VECTOR_PROVIDERS),
        model=table.text("model", shortest=1, longest=limits.NAME_LENGTH),
    )
    if read.model is not None and read.provider not in ("openai", "ollama"):
        table.warn("model", "names a vendor's model", 'write provider = "openai" or "ollama"')
    table.close()
    return read


def _read_dispatcher(top: Table) -> DispatcherSettings:
    table = top.table("smartDispatcher")
    usual = DispatcherSettings()
    if table is None:
        return usual
    confidence = table.number("confidenceThreshold", limits.COSINE)
    longest = table.integer("maxDescriptionLength", limits.DISPATCH_LENGTH)
    read = DispatcherSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        cache_enabled=given(table.flag("cacheEnabled"), usual.cache_enabled),
        cache_ttl_ms=given(
            table.integer("cacheTTLMs", limits.DISPATCH_CACHE_MS), usual.cache_ttl_ms
        ),
        confidence_threshold=given(confidence, usual.confidence_threshold),
        fallback_agent_type=table.text("fallbackAgentType", shortest=1, longest=limits.NAME_LENGTH)
        or usual.fallback_agent_type,
        max_description_length=given(longest, usual.max_description_length),
        dispatch_model=table.text("dispatchModel", shortest=1, longest=limits.NAME_LENGTH),
    )
    table.close()
    return read


def _read_slack(top: Table) -> SlackSettings:
    table = top.table("slack")
    usual = SlackSettings()
    if table is None:
        return usual

    def told(key: str, default: bool) -> bool:
        return given(table.flag(key), default)

    def named(key: str) -> str | None:
        return table.text(key, shortest=1, longest=limits.NAME_LENGTH)

    read = SlackSettings(
        enabled=told("enabled", usual.enabled),
        webhook_url=_read_webhook(table),
        channel=named("channel"),
        username=given(named("username"), usual.username),
        icon_emoji=given(named("iconEmoji"), usual.icon_emoji),
        notify_on_agent_spawn=told("notifyOnAgentSpawn", usual.notify_on_agent_spawn),
        notify_on_workflow_complete=told(
            "notifyOnWorkflowComplete", usual.notify_on_workflow_complete
        ),
        notify_on_errors=told("notifyOnErrors", usual.notify_on_errors),
        notify_on_review_loop=told("notifyOnReviewLoop", usual.notify_on_review_loop),
        notify_on_resource_warning=told(
            "notifyOnResourceWarning", usual.notify_on_resource_warning
        ),
        notify_on_resource_intervention=told(
            "notifyOnResourceIntervention", usual.notify_on_resource_intervention
        ),
    )
    if read.enabled and read.webhook_url is None:
        table.warn("enabled", "has no effect without webhookUrl", "add webhookUrl")
    table.close()
    return read


def _read_github(top: Table) -> GithubSettings:
    table = top.table("github")
    usual = GithubSettings()
    if table is None:
        return usual
    token = table.text("token", shortest=1)
    if token is not None and not (token.isascii() and token.isprintable()):
        table.problem("token", "must be printable ASCII text", 'write token = "${GITHUB_TOKEN}"')
    elif token is not None and not is_reference(token):
        _warn_secret(table, "token", "${GITHUB_TOKEN}")
    read = GithubSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        use_gh_cli=given(table.flag("useGhCli"), usual.use_gh_cli),
        token=token,
        base_url=_read_base_url(table),
    )
    table.close()
    return read


def _read_hooks(top: Table) -> HookSettings:
    table = top.table("hooks")
    usual = HookSettings()
    if table is None:
        return usual
    read = HookSettings(
        session_start=given(table.flag("sessionStart"), usual.session_start),
        session_end=given(table.flag("sessionEnd"), usual.session_end),
        pre_task=given(table.flag("preTask"), usual.pre_task),
        post_task=given(table.flag("postTask"), usual.post_task),
    )
    table.close()
    return read


def _read_plugins(top: Table) -> PluginSettings:
    table = top.table("plugins")
    usual = PluginSettings()
    if table is None:
        return usual
    directory = table.text("directory", shortest=1, rule=limits.PATH)
    read = PluginSettings(
        enabled=given(table.flag("enabled"), usual.enabled),
        directory=given(directory, usual.directory),
    )
    table.close()
    return read


def _read_mcp(top: Table) -> McpSettings:
    table = top.table("mcp")
    usual = McpSettings()
    if table is None:
        return usual
    read = McpSettings(
        review_loop_tools=given(table.flag("reviewLoopTools"), usual.review_loop_tools)
    )
    table.close()
    return read


def _read_server(top: Table) -> ServerSettings:
    table = top.table("server")
    usual = ServerSettings()
    if table is None:
        return usual
    roots = table.texts("filesystemRoots", longest=limits.TEXT_LENGTH, rule=limits.PATH)
    read = ServerSettings(filesystem_roots=given(roots, usual.filesystem_roots))
    table.close()
    return read


def _read_webhook(table: Table) -> str | None:
    """Read a URL, which is checked once more where it is used if it takes in variables."""
    key = "webhookUrl"
    url = table.text(key, shortest=1)
    if url is None:
        return None
    if variables_in(url):
        if not url.isascii() or not url.isprintable() or " " in url:
            table.problem(key, "must not hold spaces or control characters, and only ASCII")
        return url
    if fault := fault_of_url(url):
        table.problem(key, fault, "write an https:// URL")
        return None
    _warn_secret(table, key, "${SLACK_WEBHOOK_URL}")
    return url


def _read_base_url(table: Table) -> str | None:
    """Read where GitHub is: literally, so that what is accepted is where the token goes."""
    url = table.text("baseUrl", shortest=1)
    if url is not None and (fault := fault_of_url(url)):
        table.problem("baseUrl", fault, "write an https:// URL")
        return None
    return url


def _warn_secret(table: Table, key: str, instead: str) -> None:
    table.warn(
        key,
        "is a secret, which does not belong into this file",
        f'put it into the environment or a .env file and write {key} = "{instead}"',
    )
