"""What can be spawned: the core types, the project's Experts, and those that were registered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from perstack.config.builtin import CORE_TYPES
from perstack.domain.agents import AgentType
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import parse_key
from perstack.errors import RegistryMissingError, RegistryUnreachableError, UsageError
from perstack.ports.experts import ExpertCatalog, FetchExperts

_LOG: Final = logging.getLogger(__name__)


class AgentTypes:
    """The types of `catalog`'s Experts, and others registered for as long as the process lives.

    An Expert of `perstack.toml` under a core type's key takes its place, since a person wrote it
    there. What programs and plugins register never does. `fetch` gives Experts of a registry.
    """

    def __init__(self, catalog: ExpertCatalog, fetch: FetchExperts | None = None) -> None:
        self._catalog = catalog
        self._fetch = fetch
        self._registered: dict[ExpertKey, Expert] = {}
        self._fetched: set[ExpertKey] = set()

    async def learn(self, agent_type: str) -> None:
        """Fetch a type that only a registry can mean: its organisation, version or tag is said.

        Each time anew, since a tag moves and a version may be disabled meanwhile.

        Raises:
            UsageError: `Unknown agent type: …`: no registry gives it.
            RegistryError: it, or what it delegates to, cannot be had or must not be run.
            ConfigError: the user has not accepted what it would do.
        """
        key = ExpertKey(agent_type)
        known = key in self._catalog.experts or key in self._registered.keys() - self._fetched
        if self._fetch is None or known or not _is_of_registry(key):
            return
        try:
            found = await self._fetch([key])
        except (RegistryMissingError, RegistryUnreachableError) as error:
            raise _unknown(agent_type, error.message) from error
        self._registered[key] = found[key]
        self._fetched.add(key)

    def list(self) -> Sequence[AgentType]:
        """Return all types: core first, then the project's, then registered ones."""
        experts = self._catalog.experts
        own = [key for key in experts if key not in CORE_TYPES]
        others = [key for key in self._registered if key not in experts]
        core = [key for key in CORE_TYPES if key in experts]
        return [describe(self.expert(key)) for key in (*core, *own, *others)]

    def find(self, agent_type: str) -> AgentType | None:
        """Return the type, or None."""
        expert = self._find(agent_type)
        return None if expert is None else describe(expert)

    def expert(self, agent_type: str) -> Expert:
        """Return the Expert that agents of a type are.

        Raises:
            UsageError: `Unknown agent type: …`.
        """
        found = self._find(agent_type)
        if found is None:
            raise _unknown(agent_type)
        return found

    def to_run(self, agent_type: str) -> Expert | ExpertKey:
        """Return what a request for the type names: a key, or a registered type's definition.

        Raises:
            UsageError: `Unknown agent type: …`.
        """
        expert = self.expert(agent_type)
        return expert.key if expert.key in self._catalog.experts else expert

    def register(self, expert: Expert) -> bool:
        """Add a type, or replace one that was registered; False for the core's and the project's.

        Raises:
            UsageError: the key is empty.
        """
        if not expert.key:
            raise UsageError("type must not be empty")
        if expert.key in CORE_TYPES or expert.key in self._catalog.experts:
            _LOG.warning("the agent type %s is there already and is kept", expert.key)
            return False
        self._registered[expert.key] = expert
        return True

    def unregister(self, agent_type: str) -> bool:
        """Remove a type that was registered; False for any other."""
        return self._registered.pop(ExpertKey(agent_type), None) is not None

    def _find(self, agent_type: str) -> Expert | None:
        key = ExpertKey(agent_type)
        return self._catalog.experts.get(key) or self._registered.get(key)


def _is_of_registry(key: ExpertKey) -> bool:
    try:
        return "@" in key and bool(parse_key(key))
    except UsageError:
        return False


def _unknown(agent_type: str, why: str | None = None) -> UsageError:
    listed = "perstack agent types lists what there is"
    return UsageError(
        f"Unknown agent type: {agent_type[:100]}", hint=f"{listed}; {why}" if why else listed
    )


def describe(expert: Expert) -> AgentType:
    """Return an Expert as an agent type: its tags are the capabilities."""
    return AgentType(
        type=expert.key,
        name=expert.name,
        description=expert.description or "",
        capabilities=expert.tags,
        system_prompt=expert.instruction,
        custom=expert.key not in CORE_TYPES,
    )


def define(
    agent_type: str,
    *,
    name: str,
    description: str,
    system_prompt: str,
    capabilities: Sequence[str] = (),
) -> Expert:
    """Return the Expert of a definition as the seed writes one; it has the base tools."""
    return Expert(
        key=ExpertKey(agent_type),
        name=name,
        description=description,
        instruction=system_prompt,
        skills={BASE_SKILL: BaseSkill()},
        tags=tuple(capabilities),
    )
