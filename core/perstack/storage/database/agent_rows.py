"""Agents, the processes that drive them and orders as rows, and back."""

from __future__ import annotations

import json
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from perstack.domain.agents import Agent, DriverProcess, Order
from perstack.errors import CorruptRecordError
from perstack.ports.agents import AgentFilter
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | float | None]

_SHARED: Final = sa.MetaData()
_AT_WORK: Final = ("idle", "running")

AGENTS: Final = sa.Table(
    "agents",
    _SHARED,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("type", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("origin", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("identity_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("job_id", sa.Text),
    sa.Column("run_id", sa.Text),
    sa.Column("process_id", sa.Text),
    sa.Column("memory_namespace", sa.Text),
    sa.Column("current_task", sa.Text),
    sa.Column("last_error", sa.Text),
    sa.Column("step_number", sa.BigInteger),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("cost_usd", sa.Double),
    sa.Column("cost_partial", sa.Integer),
    sa.Column("lost", sa.Integer),
    sa.Column("paused_at", sa.BigInteger),
    sa.Column("pause_reason", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("updated_at", sa.BigInteger),
    sa.Column("metadata", sa.Text),
)
PROCESSES: Final = sa.Table(
    "agent_processes",
    _SHARED,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pid", sa.BigInteger),
    sa.Column("host", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("beat_at", sa.BigInteger),
)
ORDERS: Final = sa.Table(
    "agent_orders",
    _SHARED,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("agent_id", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("given_by", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)
LOST: Final = "The process that ran it died."
AGENT_COLUMNS: Final = tuple(column for column in AGENTS.c if column.name != "number")

_NAMES: Final = tuple(column.name for column in AGENT_COLUMNS)
_ID_AT: Final = _NAMES.index("id")
_COUNTS: Final = ("step_number", "input_tokens", "output_tokens")
_MOST: Final = 2**63 - 1
_METADATA_AT: Final = _NAMES.index("metadata")


def to_row(agent: Agent) -> Row:
    """Return the column values of an agent; counts that no column holds are cut."""
    row: Row = {}
    for name in _NAMES[:_METADATA_AT]:
        value = getattr(agent, name)
        row[name] = safe_text(value) if isinstance(value, str) else value
    # Other programs may have written what a run's past used.
    row |= {name: min(getattr(agent, name), _MOST) for name in _COUNTS}
    row["cost_partial"], row["lost"] = int(agent.cost_partial), int(agent.lost)
    row["metadata"] = json_text(agent.metadata)
    return row


def from_row(row: sa.Row[tuple[object, ...]]) -> Agent:
    """Return the agent that a row of `AGENT_COLUMNS` holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        values: dict[str, object] = dict(zip(_NAMES, row, strict=True))
        metadata = str(row[_METADATA_AT])
        values["metadata"] = {} if metadata == "{}" else json.loads(metadata)
        return Agent.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored agent {str(row[_ID_AT])[:40]!a} is damaged"
        ) from error


def process_row(process: DriverProcess) -> Row:
    """Return the column values of a process."""
    return {
        "id": safe_text(process.id),
        "pid": process.pid,
        "host": safe_text(process.host),
        "started_at": process.started_at,
        "beat_at": process.beat_at,
    }


def to_process(row: sa.RowMapping) -> DriverProcess:
    """Return the process that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        return DriverProcess.model_validate(dict(row))
    except ValidationError as error:
        raise CorruptRecordError("a stored process that drives agents is damaged") from error


def order_row(order: Order) -> Row:
    """Return the column values of an order, but for its number."""
    return {
        "agent_id": safe_text(order.agent_id),
        "kind": order.kind,
        "text": None if order.text is None else safe_text(order.text),
        "given_by": safe_text(order.by),
        "created_at": order.created_at,
    }


def to_order(row: sa.RowMapping) -> Order:
    """Return the order that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        values = {str(name): value for name, value in row.items() if name != "given_by"}
        return Order.model_validate({**values, "by": row["given_by"]})
    except ValidationError as error:
        raise CorruptRecordError("a stored order is damaged") from error


def is_live() -> sa.ColumnElement[bool]:
    """Whether an agent uses its name and identity: spawned and not stopped, or a run at work.

    A paused run is "stopped", and driven all the same.
    """
    spawned = sa.and_(AGENTS.c.origin == "spawned", AGENTS.c.status != "stopped")
    at_work = sa.or_(AGENTS.c.status.in_(_AT_WORK), AGENTS.c.process_id.is_not(None))
    return sa.or_(spawned, sa.and_(AGENTS.c.origin == "run", at_work))


def conditions(wanted: AgentFilter) -> list[sa.ColumnElement[bool]]:
    """Return what rows must fulfil to be `wanted`."""
    given = (
        (AGENTS.c.session_id, wanted.session_id),
        (AGENTS.c.identity_id, wanted.identity_id),
        (AGENTS.c.job_id, wanted.job_id),
        (AGENTS.c.run_id, wanted.run_id),
        (AGENTS.c.parent_id, wanted.parent_id),
        (AGENTS.c.type, wanted.type),
        (AGENTS.c.origin, wanted.origin),
    )
    found = [column == safe_text(value) for column, value in given if value is not None]
    if wanted.statuses:
        found.append(AGENTS.c.status.in_(wanted.statuses))
    if "stopped" not in wanted.statuses:
        found.append(sa.or_(AGENTS.c.status != "stopped", AGENTS.c.origin == "run"))
    if wanted.ended_before is not None:
        found.append(AGENTS.c.number.in_(_not_ended_before(wanted.ended_before)))
    return found


def _not_ended_before(moment: int) -> sa.CompoundSelect[tuple[int]]:
    """Return the numbers of agents that are at work, spawned, or written since.

    Each part has an index, so that old runs cost nothing, however many there are.
    """
    at_work = sa.and_(AGENTS.c.origin == "run", AGENTS.c.status.in_(_AT_WORK))
    parts = (
        AGENTS.c.updated_at >= moment,
        AGENTS.c.origin == "spawned",
        at_work,
        AGENTS.c.process_id.is_not(None),
    )
    return sa.union(*(sa.select(AGENTS.c.number).where(part) for part in parts))
