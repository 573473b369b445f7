"""Agents in the database: their drivers write them in batches, orders are taken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import sqlalchemy as sa

from perstack.domain.agents import Agent, AgentStatus, DriverProcess, Order
from perstack.domain.identities import Identity, why_unspawnable
from perstack.domain.ids import AgentId
from perstack.errors import ConflictError, LimitError, NotFoundError
from perstack.ports.agents import AgentFilter, AgentMove
from perstack.ports.identities import Deed
from perstack.ports.system import Ids
from perstack.storage.database import agent_rows as rows
from perstack.storage.database import identities, task_runs
from perstack.storage.database.agent_rows import AGENT_COLUMNS, AGENTS, ORDERS, PROCESSES
from perstack.storage.database.engine import Database
from perstack.storage.database.text import safe_text


class SqlAgentStore:
    """Implements `ports.agents.AgentStore` over a handle that others share."""

    def __init__(self, database: Database, *, ids: Ids) -> None:
        self._database = database
        self._new_id = ids.new

    async def add(
        self, agent: Agent, *, max_spawned: int | None = None, identity: Identity | None = None
    ) -> None:
        """Write a new agent, in one transaction with the checks."""
        await self._database.write(
            partial(_add, agent=agent, most=max_spawned, identity=identity, new_id=self._new_id)
        )

    async def record(self, agents: Sequence[Agent]) -> None:
        """Write agents as their driver sees them, new or not, in one transaction."""
        if agents:
            await self._database.write(partial(_record, agents=agents))

    async def get(self, agent_id: AgentId) -> Agent:
        """Return it."""
        return await self._database.read(partial(_get, agent_id=agent_id))

    async def find_by_name(self, name: str) -> Agent | None:
        """Return the agent of that name that is not stopped."""
        query = (
            sa.select(*AGENT_COLUMNS)
            .where(AGENTS.c.name == safe_text(name))
            .where(sa.or_(AGENTS.c.status != "stopped", rows.is_live()))
            .order_by((AGENTS.c.origin == "run").asc(), AGENTS.c.number.desc())
            .limit(1)
        )
        found = await self._database.read(partial(_all, query=query))
        return found[0] if found else None

    async def list(
        self, wanted: AgentFilter, *, limit: int = 1_000, offset: int = 0
    ) -> Sequence[Agent]:
        """Return agents, oldest first."""
        query = (
            sa.select(*AGENT_COLUMNS)
            .where(*rows.conditions(wanted))
            .order_by(AGENTS.c.created_at, AGENTS.c.number)
            .limit(limit)
            .offset(offset)
        )
        return await self._database.read(partial(_all, query=query))

    async def count_by_status(self, wanted: AgentFilter) -> dict[AgentStatus, int]:
        """Return how many agents have each status."""
        query = (
            sa.select(AGENTS.c.status, sa.func.count())
            .where(*rows.conditions(wanted))
            .group_by(AGENTS.c.status)
        )
        return await self._database.read(partial(_counts, query=query))

    async def update(self, agent: Agent, *, expected: Sequence[AgentStatus]) -> bool:
        """Replace an agent whose stored status is among `expected`; say whether it was."""
        change = _with_status(agent.id, expected).values(rows.to_row(agent))
        return await self._database.write(partial(_changes_one, change=change))

    async def move(
        self, agent_id: AgentId, move: AgentMove, *, expected: Sequence[AgentStatus]
    ) -> bool:
        """Change the status of an agent whose stored status is among `expected`."""
        change = _with_status(agent_id, expected).values(
            status=move.status,
            updated_at=move.at,
            current_task=None if move.current_task is None else safe_text(move.current_task),
            last_error=None if move.last_error is None else safe_text(move.last_error),
            process_id=None if move.process_id is None else safe_text(move.process_id),
            lost=0,
        )
        if move.job_id is not None:
            change = change.values(job_id=safe_text(move.job_id))
        let_go = agent_id if move.process_id is None else None
        return await self._database.write(partial(_move, change=change, let_go=let_go))

    async def beat(self, process: DriverProcess) -> bool:
        """Say that a process lives, and return whether that was known."""
        return await self._database.write(partial(_beat, process=process))

    async def end(self, process_id: str) -> None:
        """Forget a process that ends in an orderly way, and that it drives anything."""
        await self._database.write(partial(_forget, process_ids=[safe_text(process_id)]))

    async def processes(self) -> Sequence[DriverProcess]:
        """Return the processes that did not end."""
        query = sa.select(PROCESSES).order_by(PROCESSES.c.id)
        return await self._database.read(
            lambda connection: [
                rows.to_process(row) for row in connection.execute(query).mappings()
            ]
        )

    async def mark_lost(self, dead: Sequence[DriverProcess], *, now_ms: int) -> Sequence[Agent]:
        """Mark what dead processes drove as lost, forget them; return those agents."""
        if not dead:
            return ()
        return await self._database.write(partial(_mark_lost, dead=dead, now=now_ms))

    async def order(self, order: Order) -> int:
        """Write an order for the process that drives the agent; return its number."""
        return await self._database.write(partial(_order, order=order))

    async def take_orders(
        self, process_id: str, agent_ids: Sequence[AgentId] | None = None
    ) -> Sequence[Order]:
        """Return the orders for agents of the process, each once."""
        mine = sa.select(AGENTS.c.id).where(AGENTS.c.process_id == safe_text(process_id))
        if agent_ids is not None:
            mine = mine.where(AGENTS.c.id.in_([safe_text(one) for one in agent_ids]))
        waiting = sa.select(ORDERS.c.id).where(ORDERS.c.agent_id.in_(mine)).limit(1)
        if await self._database.read(lambda connection: connection.scalar(waiting)) is None:
            return ()
        taken = ORDERS.delete().where(ORDERS.c.agent_id.in_(mine)).returning(*ORDERS.c)

        def work(connection: sa.Connection) -> Sequence[Order]:
            found = [rows.to_order(row) for row in connection.execute(taken).mappings()]
            return sorted(found, key=lambda order: order.id)

        return await self._database.write(work)


def _add(
    connection: sa.Connection,
    *,
    agent: Agent,
    most: int | None,
    identity: Identity | None,
    new_id: Callable[[], str],
) -> None:
    if agent.origin == "spawned":
        identities.lock_names(connection)
        _refuse_too_many(connection, agent, most)
    if identity is not None:
        _add_identity(connection, identity, new_id)
    if agent.identity_id is not None:
        _spawn_identity(connection, agent, new_id)
    connection.execute(AGENTS.insert().values(rows.to_row(agent)))


def _refuse_too_many(connection: sa.Connection, agent: Agent, most: int | None) -> None:
    spawned = sa.and_(AGENTS.c.origin == "spawned", AGENTS.c.status != "stopped")
    named = sa.select(AGENTS.c.number).where(spawned, AGENTS.c.name == safe_text(agent.name))
    if connection.scalar(named.limit(1)) is not None:
        raise ConflictError(
            f"Agent with name '{agent.name}' already exists",
            hint="stop that agent, or choose another name",
        )
    # What has a parent works for a review loop or a coordinator, which have bounds of their own.
    explicit = sa.and_(spawned, AGENTS.c.parent_id.is_(None))
    there = sa.select(sa.func.count()).select_from(AGENTS).where(explicit)
    if most is not None and (connection.scalar(there) or 0) >= most:
        raise LimitError(
            f"Maximum number of concurrent agents reached ({most})."
            " Stop some agents before spawning more.",
            hint="perstack agent list shows them, perstack agent stop -n NAME stops one",
        )


def _add_identity(connection: sa.Connection, identity: Identity, new_id: Callable[[], str]) -> None:
    name = identity.display_name
    if name is not None and identities.display_name_taken(connection, name):
        # An earlier agent of that name left its identity: two people may share a first name.
        name = f"{name[:91]}-{identity.agent_id[:8]}"
        identity = identity.model_copy(update={"display_name": name})
    identities.insert(connection, identity=identity, actor_id=None, new_id=new_id)


def _spawn_identity(connection: sa.Connection, agent: Agent, new_id: Callable[[], str]) -> None:
    if agent.identity_id is None:
        return
    carried = identities.get(connection, agent.identity_id)
    if (why := why_unspawnable(carried)) is not None:
        raise ConflictError(why)
    deed = Deed(at=agent.created_at)
    identities.note_spawn(connection, carried, agent.id, deed, new_id)


def _record(connection: sa.Connection, *, agents: Sequence[Agent]) -> None:
    connection.execute(_upsert(connection), [rows.to_row(agent) for agent in agents])
    undriven = [safe_text(agent.id) for agent in agents if agent.process_id is None]
    if undriven:
        connection.execute(ORDERS.delete().where(ORDERS.c.agent_id.in_(undriven)))


def _upsert(connection: sa.Connection) -> sa.Insert:
    """Return the statement that writes an agent, new or not."""
    # The two dialects' statements are alike, but SQLAlchemy has no common one; the other's need not
    # be loaded, which takes a while.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        lite = sqlite.insert(AGENTS)
        return lite.on_conflict_do_update(index_elements=["id"], set_=_replacing(lite.excluded))
    from sqlalchemy.dialects import postgresql

    big = postgresql.insert(AGENTS)
    return big.on_conflict_do_update(index_elements=["id"], set_=_replacing(big.excluded))


def _replacing(
    new: sa.ColumnCollection[str, sa.ColumnElement[object]],
) -> dict[str, sa.ColumnElement[object]]:
    kept = ("id", "origin", "created_at")
    values = {column.name: new[column.name] for column in AGENT_COLUMNS if column.name not in kept}
    values["status"] = sa.case(
        (AGENTS.c.origin == "run", new["status"]),
        (AGENTS.c.status == "stopped", AGENTS.c.status),
        (new["process_id"].is_not(None), "running"),
        (sa.or_(AGENTS.c.status == "running", AGENTS.c.lost == 1), "idle"),
        else_=AGENTS.c.status,
    )
    # A run that goes on is not asked anew.
    values["current_task"] = sa.func.coalesce(new["current_task"], AGENTS.c.current_task)
    # Whoever has a spawned agent run may have said already how that ended.
    told = sa.and_(AGENTS.c.origin == "spawned", AGENTS.c.lost == 0, new["last_error"].is_(None))
    values["last_error"] = sa.case((told, AGENTS.c.last_error), else_=new["last_error"])
    return values


def _get(connection: sa.Connection, *, agent_id: AgentId) -> Agent:
    query = sa.select(*AGENT_COLUMNS).where(AGENTS.c.id == safe_text(agent_id))
    found = _all(connection, query=query)
    if not found:
        raise NotFoundError(f"Agent not found: {agent_id}", hint="perstack agent list shows them")
    return found[0]


def _all(connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]) -> Sequence[Agent]:
    return [rows.from_row(row) for row in connection.execute(query)]


def _counts(
    connection: sa.Connection, *, query: sa.Select[AgentStatus, int]
) -> dict[AgentStatus, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _with_status(agent_id: AgentId, expected: Sequence[AgentStatus]) -> sa.Update:
    return AGENTS.update().where(AGENTS.c.id == safe_text(agent_id), AGENTS.c.status.in_(expected))


def _changes_one(connection: sa.Connection, *, change: sa.Update) -> bool:
    return connection.execute(change).rowcount == 1


def _move(connection: sa.Connection, *, change: sa.Update, let_go: AgentId | None) -> bool:
    moved = _changes_one(connection, change=change)
    if moved and let_go is not None:
        # What came too late for its work is not for what it does next.
        connection.execute(ORDERS.delete().where(ORDERS.c.agent_id == safe_text(let_go)))
    return moved


def _beat(connection: sa.Connection, *, process: DriverProcess) -> bool:
    row = rows.process_row(process)
    mine = PROCESSES.c.id == row["id"]
    known = connection.execute(PROCESSES.update().where(mine).values(row)).rowcount > 0
    if not known:
        connection.execute(PROCESSES.insert().values(row))
    return known


def _forget(connection: sa.Connection, *, process_ids: Sequence[str]) -> None:
    driven = AGENTS.c.process_id.in_(process_ids)
    orphaned = ORDERS.c.agent_id.in_(sa.select(AGENTS.c.id).where(driven))
    connection.execute(ORDERS.delete().where(orphaned))
    # As in `record`: who has nobody any more does nothing, also where that could not be written.
    at_work = sa.and_(driven, AGENTS.c.origin == "spawned", AGENTS.c.status == "running")
    connection.execute(AGENTS.update().where(at_work).values(status="idle", current_task=None))
    connection.execute(AGENTS.update().where(driven).values(process_id=None))
    connection.execute(PROCESSES.delete().where(PROCESSES.c.id.in_(process_ids)))


def _mark_lost(
    connection: sa.Connection, *, dead: Sequence[DriverProcess], now: int
) -> Sequence[Agent]:
    silent = sa.or_(
        *(
            sa.and_(PROCESSES.c.id == safe_text(one.id), PROCESSES.c.beat_at <= one.beat_at)
            for one in dead
        )
    )
    query = sa.select(PROCESSES.c.id).where(silent).with_for_update()
    process_ids = list(connection.scalars(query))
    if not process_ids:
        return ()
    driven = AGENTS.c.process_id.in_(process_ids)
    ids = list(connection.scalars(sa.select(AGENTS.c.id).where(driven)))
    at_work = AGENTS.update().where(driven, AGENTS.c.status == "running")
    connection.execute(
        at_work.values(status="failed", lost=1, last_error=rows.LOST, updated_at=now)
    )
    task_runs.fail_those_of(connection, ids, now=now)
    ids += _dismiss(connection, driven=ids, now=now)
    _forget(connection, process_ids=process_ids)
    marked = sa.select(*AGENT_COLUMNS).where(AGENTS.c.id.in_(ids), AGENTS.c.lost == 1)
    return _all(connection, query=marked.order_by(AGENTS.c.created_at, AGENTS.c.number))


def _dismiss(connection: sa.Connection, *, driven: Sequence[str], now: int) -> Sequence[str]:
    """Stop what dead processes drove for a loop or a coordinator, and whom a coordinator took on.

    Nobody gives them work any more; their names are free. Returns their ids.
    """
    there = sa.and_(AGENTS.c.origin == "spawned", AGENTS.c.status != "stopped")
    hired = sa.and_(AGENTS.c.id.in_(driven), AGENTS.c.parent_id.is_not(None))
    gone = sa.and_(there, sa.or_(hired, AGENTS.c.parent_id.in_(driven)))
    ids = list(connection.scalars(sa.select(AGENTS.c.id).where(gone)))
    stopped = AGENTS.update().where(AGENTS.c.id.in_(ids))
    connection.execute(
        stopped.values(status="stopped", lost=1, last_error=rows.LOST, updated_at=now)
    )
    return ids


def _order(connection: sa.Connection, *, order: Order) -> int:
    agent = _get(connection, agent_id=order.agent_id)
    if agent.process_id is None:
        raise ConflictError(f"agent {agent.name} is not at work now")
    written = ORDERS.insert().values(rows.order_row(order)).returning(ORDERS.c.id)
    return connection.execute(written).scalar_one()
