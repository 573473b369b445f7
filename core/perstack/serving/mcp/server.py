"""An MCP server over the verbs, on the SDK's low-level server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from mcp.server import Server, ServerRequestContext
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from perstack import __version__
from perstack.serving.backend import Backend
from perstack.serving.failures import as_json, failure_of
from perstack.serving.jobs import ServedJobs
from perstack.serving.verbs.answering import Answer, answer
from perstack.serving.verbs.schemas import input_schema, output_schema
from perstack.serving.verbs.verb import AnyVerb, Call, Client

NAME: Final = "agentstack"


class ToolServer:
    """Offers verbs as tools to one client. `client` is who is at the other end."""

    def __init__(
        self, backend: Backend, jobs: ServedJobs, verbs: Mapping[str, AnyVerb], client: Client
    ) -> None:
        self._backend = backend
        self._jobs = jobs
        self._verbs = verbs
        self._client = client

    def build(self) -> Server[dict[str, Any]]:
        """Return the SDK's server, which calls this one."""
        return Server(NAME, version=__version__, on_list_tools=self._list, on_call_tool=self._call)

    async def _list(
        self,
        context: ServerRequestContext[dict[str, Any]],
        params: PaginatedRequestParams | None,
    ) -> ListToolsResult:
        return ListToolsResult(tools=[tool_of(verb) for verb in self._verbs.values()])

    async def _call(
        self, context: ServerRequestContext[dict[str, Any]], params: CallToolRequestParams
    ) -> CallToolResult:
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
                call = Call(served, self._jobs, self._client, progress)
                return _result(await answer(verb, call, params.arguments or {}))
        except Exception as error:  # noqa: BLE001  services that cannot be opened are an answer
            return _result(Answer(as_json(failure_of(error)), is_error=True))


def tool_of(verb: AnyVerb) -> Tool:
    """Return a verb as clients see it listed."""
    return Tool(
        name=verb.name,
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
