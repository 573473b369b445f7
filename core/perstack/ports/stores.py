"""The tables that all processes of a workspace share, opened together over one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from perstack.ports.agents import AgentStore
    from perstack.ports.consensus import ConsensusStore
    from perstack.ports.glimpses import GlimpseStore
    from perstack.ports.identities import IdentityStore
    from perstack.ports.plugins import PluginStore
    from perstack.ports.projects import ProjectStore
    from perstack.ports.registry_ledger import RegistryStore
    from perstack.ports.resources import ResourceStore
    from perstack.ports.reviews import ReviewStore, WorkflowStore
    from perstack.ports.sessions import SessionStore
    from perstack.ports.tasks import DriftStore, TaskQueueStore, TaskStore
    from perstack.ports.users import UserStore


class Stores(Protocol):
    """A store for each area. Memory has a connection of its own: its searches may take long."""

    @property
    def consensus(self) -> ConsensusStore:
        """Consensus checkpoints and their audit log."""
        ...

    @property
    def agents(self) -> AgentStore:
        """Agents, the processes that drive them, and orders."""
        ...

    @property
    def identities(self) -> IdentityStore:
        """Identities and their audit trail."""
        ...

    @property
    def projects(self) -> ProjectStore:
        """Projects, their tasks and specifications."""
        ...

    @property
    def plugins(self) -> PluginStore:
        """Which plugins a person enabled or disabled."""
        ...

    @property
    def reviews(self) -> ReviewStore:
        """Review loops."""
        ...

    @property
    def workflows(self) -> WorkflowStore:
        """Runs of workflows and their reports."""
        ...

    @property
    def tasks(self) -> TaskStore:
        """Tasks and how they relate."""
        ...

    @property
    def task_queue(self) -> TaskQueueStore:
        """The queue of tasks."""
        ...

    @property
    def drift(self) -> DriftStore:
        """Vectors of tasks and the log of drift checks."""
        ...

    @property
    def resources(self) -> ResourceStore:
        """What agents use, and when they came near their limits."""
        ...

    @property
    def sessions(self) -> SessionStore:
        """Sessions."""
        ...

    @property
    def glimpses(self) -> GlimpseStore:
        """What changed in any of them since a moment."""
        ...

    @property
    def users(self) -> UserStore:
        """Users of servers, and what renews their access."""
        ...

    @property
    def registry(self) -> RegistryStore:
        """A registry of Experts that is hosted here."""
        ...

    async def version(self) -> str:
        """Return a value that is another one whenever anything changed. Cheap: made for polling."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...
