"""Tools that OpenAI and Azure run themselves, over Responses: Perstack's names to the wire's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perstack.domain.expert import ProviderToolOptions
from perstack.errors import ProviderError
from perstack.ports.model import ProviderTools
from perstack.providers.offers import no_skills, not_offered

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class ToolSet:
    """What a vendor offers, and what the wire calls its web search."""

    vendor: str
    names: tuple[str, ...]
    web_search: str


OPENAI_TOOLS: Final = ToolSet(
    "OpenAI", ("webSearch", "fileSearch", "codeInterpreter", "imageGeneration"), "web_search"
)
AZURE_TOOLS: Final = ToolSet(
    "Azure OpenAI",
    ("webSearchPreview", "fileSearch", "codeInterpreter", "imageGeneration"),
    "web_search_preview",
)


def server_tools(asked: ProviderTools, offered: ToolSet) -> list[Json]:
    """Return the tools for the wire, each once.

    Raises:
        ProviderError: one is not offered, or an option that it needs is missing.
    """
    if asked.skills:
        raise no_skills(offered.vendor)
    options = asked.options or ProviderToolOptions()
    return [_tool(name, options, offered) for name in dict.fromkeys(asked.names)]


def _tool(name: str, options: ProviderToolOptions, offered: ToolSet) -> Json:
    if name not in offered.names:
        raise not_offered(offered.vendor, name, offered.names)
    match name:
        case "fileSearch":
            return _file_search(options)
        case "codeInterpreter":
            return {"type": "code_interpreter", "container": {"type": "auto"}}
        case "imageGeneration":
            return {"type": "image_generation"}
        case _:
            domains = options.web_search.allowed_domains if options.web_search else ()
            filters: Json = {"filters": {"allowed_domains": list(domains)}} if domains else {}
            return {"type": offered.web_search, **filters}


def max_calls(asked: ProviderTools) -> int | None:
    """Return how often the tools may be used in one answer; this vendor bounds them together."""
    options = asked.options
    return options.web_search.max_uses if options and options.web_search else None


def _file_search(options: ProviderToolOptions) -> Json:
    found = options.file_search
    if found is None or not found.vector_store_ids:
        raise ProviderError(
            "the provider tool fileSearch has nothing to search",
            hint="set providerToolOptions.fileSearch.vectorStoreIds",
        )
    tool: Json = {"type": "file_search", "vector_store_ids": list(found.vector_store_ids)}
    if found.max_num_results is not None:
        tool["max_num_results"] = found.max_num_results
    return tool
