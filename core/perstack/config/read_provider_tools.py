"""What the provider itself is to offer an Expert: its tools, their options, its skills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perstack.config import limits
from perstack.config.positions import KeyPath
from perstack.config.read_servers import read_allowed_domains
from perstack.config.report import listed, shown
from perstack.config.table import Table
from perstack.config.vocabulary import DOCUMENT_SKILLS, PROVIDER_TOOLS
from perstack.domain.expert import (
    Expert,
    FileSearchOptions,
    ProviderSkill,
    ProviderToolOptions,
    WebFetchOptions,
    WebSearchOptions,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import ProviderName, is_of_plugin


def read_provider_tool_options(expert: Table) -> ProviderToolOptions | None:
    """Read the bounds of the provider's tools."""
    table = expert.table("providerToolOptions")
    if table is None:
        return None
    read = ProviderToolOptions(
        web_search=_read_web_search(table),
        web_fetch=_read_web_fetch(table),
        file_search=_read_file_search(table),
    )
    table.close(gates=("webSearch", "webFetch", "fileSearch"))
    return read


def read_provider_skills(expert: Table) -> tuple[ProviderSkill, ...]:
    """Read the skills that run in the provider's container."""
    read = [_read_skill(entry) for entry in expert.list_of_tables("providerSkills")]
    return tuple(skill for skill in read if skill is not None)


def doubts_about_tools(
    experts: Mapping[ExpertKey, Expert], provider: ProviderName
) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield the key, the fault and the remedy of tools and skills that the provider has not."""
    known = PROVIDER_TOOLS.get(provider, ())
    remedy = f"{provider} has: {listed(known) or 'none'}"
    fault = "is no tool of the provider"
    if is_of_plugin(provider):
        fault, remedy = "may be no tool of the provider", "only its plugin knows what it offers"
    for expert in experts.values():
        at = ("experts", expert.key)
        for name in expert.provider_tools:
            if name not in known:
                message = f"{shown(name)} {fault} {provider}"
                yield (*at, "providerTools"), message, remedy
        if expert.provider_skills and provider != "anthropic":
            message = f"have no effect with the provider {provider}"
            yield (*at, "providerSkills"), message, "they are for the provider anthropic"


def _read_web_search(options: Table) -> WebSearchOptions | None:
    table = options.table("webSearch")
    if table is None:
        return None
    read = WebSearchOptions(
        max_uses=table.integer("maxUses", limits.TOOL_USES),
        allowed_domains=read_allowed_domains(table),
    )
    # Both are bounds: misspelt, they would let the provider search without any.
    table.close(gates=("maxUses", "allowedDomains"))
    return read


def _read_web_fetch(options: Table) -> WebFetchOptions | None:
    table = options.table("webFetch")
    if table is None:
        return None
    read = WebFetchOptions(max_uses=table.integer("maxUses", limits.TOOL_USES))
    table.close(gates=("maxUses",))
    return read


def _read_file_search(options: Table) -> FileSearchOptions | None:
    table = options.table("fileSearch")
    if table is None:
        return None
    read = FileSearchOptions(
        vector_store_ids=table.texts("vectorStoreIds") or (),
        max_num_results=table.integer("maxNumResults", limits.SEARCH_RESULTS),
    )
    table.close()
    return read


def _read_skill(entry: Table) -> ProviderSkill | None:
    kind = entry.choice("type", ("builtin", "custom"))
    if "type" not in entry:
        entry.problem("type", "must be given: builtin or custom")
    needed = {"builtin": ("skillId",), "custom": ("name", "definition")}.get(kind or "", ())
    for key in needed:
        if key not in entry:
            entry.problem(key, f"must be given for a {kind} skill")
    read = {
        "skillId": entry.choice("skillId", DOCUMENT_SKILLS),
        "name": entry.text("name", shortest=1, longest=limits.NAME_LENGTH),
        "definition": entry.text("definition", shortest=1, longest=limits.INSTRUCTION_LENGTH),
    }
    for key in read:
        if kind is not None and key in entry and key not in needed:
            entry.problem(key, f"does not belong to a {kind} skill", "remove it")
    entry.close()
    if kind is None:
        return None
    return ProviderSkill(
        type=kind, skill_id=read["skillId"], name=read["name"], definition=read["definition"]
    )
