"""All stores over one database handle, each loaded when it is asked for."""

from __future__ import annotations

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
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import DriftStore, TaskQueueStore, TaskStore
from perstack.ports.users import UserStore
from perstack.storage.database.engine import Database


class SqlStores:
    """Implements `ports.stores.Stores`; owns its database handle. `ids` gives UUIDs."""

    def __init__(self, database: Database, *, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids

    @property
    def consensus(self) -> ConsensusStore:
        """Consensus checkpoints and their audit log."""
        from perstack.storage.database.consensus import SqlConsensusStore

        return SqlConsensusStore(self._database, clock=self._clock)

    @property
    def agents(self) -> AgentStore:
        """Agents, the processes that drive them, and orders."""
        from perstack.storage.database.agents import SqlAgentStore

        return SqlAgentStore(self._database, ids=self._ids)

    @property
    def identities(self) -> IdentityStore:
        """Identities and their audit trail."""
        from perstack.storage.database.identities import SqlIdentityStore

        return SqlIdentityStore(self._database, ids=self._ids)

    @property
    def projects(self) -> ProjectStore:
        """Projects, their tasks and specifications."""
        from perstack.storage.database.projects import SqlProjectStore

        return SqlProjectStore(self._database)

    @property
    def plugins(self) -> PluginStore:
        """Which plugins a person enabled or disabled."""
        from perstack.storage.database.plugins import SqlPluginStore

        return SqlPluginStore(self._database)

    @property
    def reviews(self) -> ReviewStore:
        """Review loops."""
        from perstack.storage.database.reviews import SqlReviewStore

        return SqlReviewStore(self._database)

    @property
    def workflows(self) -> WorkflowStore:
        """Runs of workflows and their reports."""
        from perstack.storage.database.workflows import SqlWorkflowStore

        return SqlWorkflowStore(self._database)

    @property
    def tasks(self) -> TaskStore:
        """Tasks and how they relate."""
        from perstack.storage.database.tasks import SqlTaskStore

        return SqlTaskStore(self._database, ids=self._ids)

    @property
    def task_queue(self) -> TaskQueueStore:
        """The queue of tasks."""
        from perstack.storage.database.task_queue import SqlTaskQueueStore

        return SqlTaskQueueStore(self._database)

    @property
    def drift(self) -> DriftStore:
        """Vectors of tasks and the log of drift checks."""
        from perstack.storage.database.task_drift import SqlDriftStore

        return SqlDriftStore(self._database)

    @property
    def resources(self) -> ResourceStore:
        """What agents use, and when they came near their limits."""
        from perstack.storage.database.resources import SqlResourceStore

        return SqlResourceStore(self._database)

    @property
    def sessions(self) -> SessionStore:
        """Sessions."""
        from perstack.storage.database.sessions import SqlSessionStore

        return SqlSessionStore(self._database)

    @property
    def glimpses(self) -> GlimpseStore:
        """What changed in any of them since a moment."""
        from perstack.storage.database.glimpses import SqlGlimpseStore

        return SqlGlimpseStore(self._database)

    @property
    def users(self) -> UserStore:
        """Users of servers, and what renews their access."""
        from perstack.storage.database.users import SqlUserStore

        return SqlUserStore(self._database)

    @property
    def registry(self) -> RegistryStore:
        """A registry of Experts that is hosted here."""
        from perstack.storage.database.registry import SqlRegistryStore

        return SqlRegistryStore(self._database)

    async def version(self) -> str:
        """Return a value that is another one whenever anything was committed."""
        return await self._database.version()

    async def aclose(self) -> None:
        """Close the database."""
        await self._database.aclose()
