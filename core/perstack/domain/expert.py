"""What `perstack.toml` defines: Experts and their skills."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Origin
from perstack.domain.runtimes import ProgramName

BASE_SKILL: Final = "@perstack/base"
MEMORY_SKILL: Final = "@perstack/memory"


class ToolServer(Model):
    """A skill that serves tools. `pick` keeps only those named, `omit` drops those named."""

    pick: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()

    def offers(self, tool: str) -> bool:
        """Tell whether `pick` and `omit` leave the tool, by the server's own name for it."""
        return (not self.pick or tool in self.pick) and tool not in self.omit


class BaseSkill(ToolServer):
    """The tools every Expert has."""

    type: Literal["baseSkill"] = "baseSkill"
    rule: str | None = None
    require_approval: tuple[str, ...] = ()


class MemorySkill(ToolServer):
    """What is remembered beyond a run. `namespace` None: the session's, or the configured one."""

    type: Literal["memorySkill"] = "memorySkill"
    description: str | None = None
    rule: str | None = None
    namespace: str | None = None
    require_approval: tuple[str, ...] = ()


Consent = Literal["deny", "ask", "allow"]


class McpSkill(ToolServer):
    """What all MCP skills share.

    `require_approval` names tools that always wait for a person. `lazy_init`: the run does not
    wait for the connection before its first generation. `sampling` says whether the server may
    ask the run's model, `elicitation` whether it may ask the user. `allowed_domains` is for the
    docker runtime.
    """

    description: str | None = None
    rule: str | None = None
    required_env: tuple[str, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    lazy_init: bool = False
    require_approval: tuple[str, ...] = ()
    sampling: Consent = "ask"
    elicitation: Literal["deny", "ask"] = "ask"


class McpStdioSkill(McpSkill):
    """An MCP server started as `command package_name` or `command *args`.

    Exactly one of `package_name` and `args` is given.
    """

    type: Literal["mcpStdioSkill"] = "mcpStdioSkill"
    command: str
    package_name: str | None = None
    args: tuple[str, ...] = ()


class RemoteSkill(McpSkill):
    """An MCP server at an address.

    `headers` are sent as they are; `header_env` names variables whose values are sent as headers,
    `bearer_token_env` one whose value is sent as `Authorization: Bearer`. `allow_private` lets the
    address be one of this machine or of a private network, over http too.
    """

    endpoint: str
    headers: dict[str, str] = Field(default_factory=dict)
    header_env: dict[str, str] = Field(default_factory=dict)
    bearer_token_env: str | None = None
    allow_private: bool = False


class McpSseSkill(RemoteSkill):
    """A server that speaks the older transport, HTTP with server-sent events."""

    type: Literal["mcpSseSkill"] = "mcpSseSkill"


class McpHttpSkill(RemoteSkill):
    """A server that speaks streamable HTTP."""

    type: Literal["mcpHttpSkill"] = "mcpHttpSkill"


class InteractiveTool(Model):
    """A question to the user, declared as a tool."""

    description: str | None = None
    input_schema: dict[str, JsonValue]


class InteractiveSkill(Model):
    """Tools that stop the run until the user has answered."""

    type: Literal["interactiveSkill"] = "interactiveSkill"
    description: str | None = None
    rule: str | None = None
    tools: dict[str, InteractiveTool]


AnyMcpSkill = McpStdioSkill | McpSseSkill | McpHttpSkill
SkillSpec = Annotated[
    BaseSkill | MemorySkill | McpStdioSkill | McpSseSkill | McpHttpSkill | InteractiveSkill,
    Field(discriminator="type"),
]


class WebSearchOptions(Model):
    """Bounds of the provider's web search."""

    max_uses: int | None = None
    allowed_domains: tuple[str, ...] = ()


class WebFetchOptions(Model):
    """Bounds of the provider's web fetch."""

    max_uses: int | None = None


class FileSearchOptions(Model):
    """What the provider's file search looks through."""

    vector_store_ids: tuple[str, ...] = ()
    max_num_results: int | None = None


class ProviderToolOptions(Model):
    """Options of the tools that the provider itself runs."""

    web_search: WebSearchOptions | None = None
    web_fetch: WebFetchOptions | None = None
    file_search: FileSearchOptions | None = None


class ProviderSkill(Model):
    """A skill that runs in the provider's container: a builtin by id, or a custom definition."""

    type: Literal["builtin", "custom"]
    skill_id: str | None = None
    name: str | None = None
    definition: str | None = None


# A container is made for a job, never for one of its Experts.
ExpertRuntime = Literal["perstack"] | ProgramName


def _is_none(value: object) -> bool:
    return value is None


class Expert(Model):
    """One Expert. `description` is public, `instruction` private to it.

    `runtime` is what executes it, None for what executes the job. `origin` is the registry's that
    it came from, None for one of the project or built in.
    """

    key: ExpertKey
    name: str
    version: str = "1.0.0"
    description: str | None = None
    instruction: str
    skills: dict[str, SkillSpec]
    delegates: tuple[ExpertKey, ...] = ()
    tags: tuple[str, ...] = ()
    min_runtime_version: str | None = None
    provider_tools: tuple[str, ...] = ()
    provider_tool_options: ProviderToolOptions | None = None
    provider_skills: tuple[ProviderSkill, ...] = ()
    runtime: Annotated[ExpertRuntime | None, Field(exclude_if=_is_none)] = None
    origin: Annotated[Origin | None, Field(exclude_if=_is_none)] = None


class ExpertRef(Model):
    """Which Expert, as recorded in the history."""

    key: ExpertKey
    name: str
    version: str


def ref(expert: Expert) -> ExpertRef:
    """Return what the history records of `expert`."""
    return ExpertRef(key=expert.key, name=expert.name, version=expert.version)


def delegate_tool_name(key: ExpertKey) -> str:
    """Return the name under which an Expert is offered as a tool: its last path segment."""
    scope_end = key.rfind("/") + 1
    return key[scope_end:].split("@")[0]
