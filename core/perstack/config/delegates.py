"""Who may call whom: every delegate exists, is another Expert, and has a tool name of its own."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from perstack.config.builtin import CORE_TYPES
from perstack.config.limits import DELEGATE_NAME_LENGTH
from perstack.config.report import Report, listed, meant, printable
from perstack.domain.coordination import DispatcherSettings
from perstack.domain.expert import Expert, delegate_tool_name
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import parse_key
from perstack.errors import UsageError

_RINGS_TOLD: Final = 5
_RING_SHOWN: Final = 6


def check_delegates(
    experts: Mapping[ExpertKey, Expert], *, declared: Sequence[str], report: Report
) -> None:
    """Report delegates that cannot be called, and warn of rings.

    `declared` are all Expert names of the file, those with problems of their own included.
    """
    for expert in experts.values():
        for fault, hint in _faults(expert, declared):
            report.problem(("experts", expert.key, "delegates"), fault, hint)
    for expert in experts.values():
        for key in foreign_keys(expert, declared):
            if _can_be_fetched(key) and (guess := _guess(key, declared)):
                report.warn(
                    ("experts", expert.key, "delegates"),
                    f"delegate {key} is not defined here: it is looked for in the registry",
                    f"did you mean {printable(guess)}?",
                )
    for ring in islice(_rings(experts), _RINGS_TOLD):
        first = ring[0]
        report.warn(
            ("experts", first, "delegates"),
            f"Experts delegate in a ring: {_ring_text(ring)}",
            "it ends only when a step limit is reached; remove one of the delegates",
        )


def foreign_keys(expert: Expert, declared: Container[str]) -> tuple[ExpertKey, ...]:
    """Return the delegates that are neither `declared` nor built in: the registry's."""
    return tuple(key for key in expert.delegates if key not in declared and key not in CORE_TYPES)


def check_fallback(
    dispatcher: DispatcherSettings, *, declared: Sequence[str], report: Report
) -> None:
    """Warn of a fallback that is nobody: a plugin may bring it, so that it is no problem yet."""
    key = dispatcher.fallback_agent_type
    if key not in declared and key not in CORE_TYPES:
        report.warn(
            ("smartDispatcher", "fallbackAgentType"),
            f"{printable(key)} is no Expert of this file and not built in",
            _remedy(key, declared),
        )


def _faults(expert: Expert, declared: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    by_tool: dict[str, str] = {}
    for key in expert.delegates:
        tool = delegate_tool_name(key)
        if key == expert.key:
            yield f"delegate {key} of {printable(expert.key)} is itself", "remove it"
        elif key not in declared and key not in CORE_TYPES and not _can_be_fetched(key):
            yield f"delegate {key} of {printable(expert.key)} not found", _remedy(key, declared)
        elif by_tool.get(tool) == key:
            yield f"delegate {key} of {printable(expert.key)} is listed twice", "remove one"
        elif tool in by_tool:
            both = f"{by_tool[tool]} and {key}"
            yield (
                f"delegates {both} of {printable(expert.key)} would both be the tool {tool}",
                "rename one of the two Experts",
            )
        elif len(tool) > DELEGATE_NAME_LENGTH:
            yield (
                f"delegate {key} of {printable(expert.key)} has too long a name for a tool",
                f"rename the Expert: at most {DELEGATE_NAME_LENGTH} characters",
            )
        by_tool.setdefault(tool, key)


def _can_be_fetched(key: str) -> bool:
    try:
        parse_key(key)
    except UsageError:
        return False
    return True


def _guess(key: str, declared: Sequence[str]) -> str | None:
    unversioned = key[:1] + key[1:].partition("@")[0]
    return meant(unversioned, (*CORE_TYPES, *declared))


def _remedy(key: str, declared: Sequence[str]) -> str:
    if guess := _guess(key, declared):
        return f"did you mean {printable(guess)}?"
    return f"this file defines: {listed(sorted(declared)[:20])}; built in: {listed(CORE_TYPES)}"


def _rings(experts: Mapping[ExpertKey, Expert]) -> Iterator[list[ExpertKey]]:
    """Find a ring for every delegation that leads back to an Expert on the way to it."""
    done: set[ExpertKey] = set()
    for start in experts:
        way: list[ExpertKey] = []
        place: dict[ExpertKey, int] = {}
        pending: list[tuple[ExpertKey, bool]] = [(start, False)]
        while pending:
            key, leaving = pending.pop()
            if leaving:
                place.pop(way.pop())
                done.add(key)
            elif key in place:
                yield way[place[key] :]
            elif key not in done and key in experts:
                place[key] = len(way)
                way.append(key)
                pending.append((key, True))
                pending.extend((each, False) for each in experts[key].delegates if each != key)


def _ring_text(ring: Sequence[ExpertKey]) -> str:
    shown = [*ring, ring[0]]
    if len(shown) > _RING_SHOWN:
        shown = [*shown[:3], ExpertKey(f"… {len(ring) - 4} more …"), *shown[-2:]]
    return " → ".join(printable(key) for key in shown)
