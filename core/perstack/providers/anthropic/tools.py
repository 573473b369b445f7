"""Tools that Anthropic runs itself: Perstack's names to the wire's.

Type strings are those of the pinned SDK. The newer search and fetch filter what they find by
running code, which models from 4.6 on can; the newest code execution came with the 5.0 models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from perstack.domain.expert import ProviderToolOptions
from perstack.ports.model import ProviderTools
from perstack.providers.models import parse_claude
from perstack.providers.offers import not_offered

Json = dict[str, object]

ALL: Final = ("webSearch", "webFetch", "codeExecution")
SKILLS_BETA: Final = "skills-2025-10-02"
_FILTERING_SINCE: Final[tuple[int, int]] = (4, 6)
_REPL_SINCE: Final[tuple[int, int]] = (5, 0)


@dataclass(frozen=True, slots=True)
class ToolSet:
    """What a platform offers. `basic` holds back what filters with code; `skills` come too."""

    vendor: str
    names: tuple[str, ...] = ()
    basic: bool = False
    skills: bool = False


EVERYTHING: Final = ToolSet("Anthropic", ALL, skills=True)


def server_tools(asked: ProviderTools, model: str, offered: ToolSet) -> list[Json]:
    """Return the tools for the wire, each once.

    Raises:
        ProviderError: one is not offered.
    """
    names = list(dict.fromkeys(asked.names))
    for name in names:
        if name not in offered.names:
            raise not_offered(offered.vendor, name, offered.names)
    if asked.skills and "codeExecution" not in names:  # What skills run on.
        names.append("codeExecution")
    version = _version(model)
    filtering = version >= _FILTERING_SINCE and not offered.basic
    options = asked.options or ProviderToolOptions()
    return [
        _tool(name, options, filtering=filtering, repl=version >= _REPL_SINCE) for name in names
    ]


def _version(model: str) -> tuple[int, int]:
    claude = parse_claude(model)
    return claude.version if claude else (0, 0)


def _tool(name: str, options: ProviderToolOptions, *, filtering: bool, repl: bool) -> Json:
    if name == "webSearch":
        kind = "web_search_20260318" if filtering else "web_search_20250305"
        bounds = options.web_search
        uses = bounds.max_uses if bounds else None
        domains = bounds.allowed_domains if bounds else ()
        return {"type": kind, "name": "web_search", **_bounds(uses, domains)}
    if name == "webFetch":
        kind = "web_fetch_20260318" if filtering else "web_fetch_20250910"
        uses = options.web_fetch.max_uses if options.web_fetch else None
        return {"type": kind, "name": "web_fetch", **_bounds(uses, ())}
    kind = "code_execution_20260521" if repl else "code_execution_20250825"
    return {"type": kind, "name": "code_execution"}


def _bounds(max_uses: int | None, domains: Sequence[str]) -> Mapping[str, object]:
    found: Json = {}
    if max_uses is not None:
        found["max_uses"] = max_uses
    if domains:
        found["allowed_domains"] = list(domains)
    return found
