"""An MCP server over the verbs, on the SDK's low-level server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from mcp import MCPError
from mcp.server import Server
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    SetLevelRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from perstack import __version__
from perstack.serving.failures import as_json, failure_of
from perstack.serving.mcp.clients import Context
from perstack.serving.mcp.completions import complete
from perstack.serving.mcp.prompts import get_prompt, list_prompts
from perstack.serving.mcp.resources import list_resources, list_templates, read_resource
from perstack.serving.verbs.answering import Answer, answer
from perstack.serving.verbs.catalog import verbs
from perstack.serving.verbs.schemas import input_schema, output_schema
from perstack.serving.verbs.verb import AnyVerb, Call, Client

if TYPE_CHECKING:
    from perstack.serving.backend import Backend, Served
    from perstack.serving.jobs import ServedJobs

NAME: Final = "agentstack"
INSTRUCTIONS: Final = (
    "Tools over one project folder: a team of Experts that work can be handed to (expert_list,"
    " expert_run), and what agents share: tasks, memory, sessions, decisions. What is risky waits"
    " for a person, who decides in the cockpit; whoever proposed it cannot."
)


class ToolServer:
    """Offers verbs as tools, jobs and Experts as resources, core types as prompts.

    `client` is who is at the other end, or tells it of each request.
    """

    def __init__(
        self,
        backend: Backend,
        jobs: ServedJobs,
        offered: Mapping[str, AnyVerb],
        client: Client | Callable[[Context], Client],
    ) -> None:
        self._backend = backend
        self._jobs = jobs
        self._verbs = offered
        self._client = client

    def build(self) -> Server[dict[str, Any]]:
        """Return the SDK's server, which calls this one."""
        server = Server(
            NAME,
            version=__version__,
            title="Perstack",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_list_resources=self._list_resources,
            on_list_resource_templates=_list_templates,
            on_read_resource=self._read_resource,
            on_list_prompts=_list_prompts,
            on_get_prompt=_get_prompt,
            on_completion=self._complete,
        )
        # Clients of the older protocol set a level and expect no error; nothing is logged to them.
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, _set_level)
        return server

    @cached_property
    def _tools(self) -> list[Tool]:
        return [tool_of(verb) for verb in self._verbs.values()]

    async def _list(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        self._backend.prepare()
        return ListToolsResult(tools=self._tools)

    async def _call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        verb = self._verbs.get(params.name)
        if verb is None:
            shown = params.name[:80]
            return _result(Answer({"error": f"Unknown tool: {shown}"}, is_error=True))

        async def progress(done: float, total: float | None, message: str | None) -> None:
            # A client that went away meanwhile ends no job.
            with suppress(Exception):
                await context.session.report_progress(done, total, message)

        try:
            async with self._backend.use() as served:
                call = Call(served, self._jobs, self._who(context), progress)
                return _result(await answer(verb, call, params.arguments or {}))
        except Exception as error:  # noqa: BLE001  services that cannot be opened are an answer
            return _result(Answer(as_json(failure_of(error)), is_error=True))

    def _who(self, context: Context) -> Client:
        return self._client if isinstance(self._client, Client) else self._client(context)

    async def _list_resources(
        self, _: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        async with self._services() as served:
            return await list_resources(served, params.cursor if params is not None else None)

    async def _read_resource(
        self, _: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        async with self._services() as served:
            return await read_resource(served, str(params.uri))

    async def _complete(self, _: Context, params: CompleteRequestParams) -> CompleteResult:
        async with self._services() as served:
            return await complete(served, params)

    @asynccontextmanager
    async def _services(self) -> AsyncGenerator[Served]:
        """Give the services to what answers no tool's call; its errors are the protocol's."""
        try:
            async with self._backend.use() as served:
                yield served
        except MCPError:
            raise
        except Exception as error:
            told = failure_of(error)
            raise MCPError(INTERNAL_ERROR, told.error, as_json(told)) from error


async def _list_templates(
    _: Context, __: PaginatedRequestParams | None
) -> ListResourceTemplatesResult:
    return list_templates()


async def _list_prompts(_: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
    return list_prompts()


async def _get_prompt(_: Context, params: GetPromptRequestParams) -> GetPromptResult:
    return get_prompt(params.name, params.arguments or {})


async def _set_level(_: Context, __: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


def offered(backend: Backend, *, reviews: bool = False) -> Mapping[str, AnyVerb]:
    """Return the verbs that a server of the project offers; `reviews` adds those of reviews."""
    settings = backend.project.facts.settings.mcp
    return verbs(reviews=reviews or settings.review_loop_tools)


def tool_of(verb: AnyVerb) -> Tool:
    """Return a verb as clients see it listed."""
    return Tool(
        name=verb.name,
        title=verb.name.replace("_", " ").capitalize(),
        description=verb.about,
        input_schema=input_schema(verb.takes),
        output_schema=output_schema(verb),
        annotations=ToolAnnotations(
            read_only_hint=verb.effect == "reads",
            destructive_hint=verb.effect == "destroys",
            idempotent_hint=verb.repeatable or verb.effect == "reads",
            open_world_hint=verb.outside,
        ),
    )


def _result(told: Answer) -> CallToolResult:
    text = json.dumps(told.content, indent=2, ensure_ascii=False)
    return CallToolResult(
        content=[TextContent(type="text", text=text)],
        structured_content=None if told.is_error else told.content,
        is_error=told.is_error,
    )
