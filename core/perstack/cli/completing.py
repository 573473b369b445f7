"""What a shell offers for names that only this folder knows: Experts, jobs, agents, checkpoints.

Completing never speaks, never fails aloud, makes nothing and trusts nothing: a file is only read
for its names, and a name that a shell might act on is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import typer

if TYPE_CHECKING:
    from perstack.ports.stores import Stores

T = TypeVar("T")

MOST: Final = 50
_CONFIG_BYTES: Final = 2_000_000
_WITHIN_S: Final = 2.0
_CLOSE_S: Final = 1.0
_HARMLESS: Final = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._/+-]{0,199}")


def experts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the Experts that `perstack.toml` defines, and the built-in ones."""
    return _offered(lambda: _experts(_workspace(context)), incomplete)


def own_experts(context: typer.Context, incomplete: str) -> list[str]:
    """Return the Experts that `perstack.toml` defines."""
    return _offered(lambda: _defined(_workspace(context)), incomplete)


def published(context: typer.Context, incomplete: str) -> list[str]:
    """Return the keys that the Experts of `perstack.toml` have in a registry."""
    return _offered(lambda: _keys(_workspace(context)), incomplete)


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Return ids of jobs, the newest first."""
    return _offered(lambda: _jobs(_workspace(context)), incomplete)


def agent_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of agents that are spawned or at work."""
    return _offered(lambda: [name for name, _ in _agents(_workspace(context))], incomplete)


def agent_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of agents that are spawned or at work."""
    return _offered(lambda: [agent_id for _, agent_id in _agents(_workspace(context))], incomplete)


def checkpoints(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of what waits for a decision."""

    async def ask(stores: Stores) -> list[str]:
        page = await stores.consensus.page(statuses=("pending",), limit=MOST, offset=0)
        return [one.id for one in page.checkpoints]

    return _offered(lambda: _asked(_workspace(context), ask), incomplete)


def sessions(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of active sessions."""

    async def ask(stores: Stores) -> list[str]:
        return [one.id for one in await stores.sessions.list(status="active", limit=MOST)]

    return _offered(lambda: _asked(_workspace(context), ask), incomplete)


def one_of(*words: str) -> Callable[[typer.Context, str], list[str]]:
    """Return what offers these words."""

    def offer(context: typer.Context, incomplete: str) -> list[str]:
        return _offered(lambda: words, incomplete)

    return offer


def _offered(look: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        found = (name for name in look() if name.startswith(incomplete))
        return [name for name in found if _HARMLESS.fullmatch(name)][:MOST]
    except Exception:  # noqa: BLE001  a shell's line must not fill with errors
        return []


def _workspace(context: typer.Context) -> Path:
    given: object = context.params.get("workspace")
    return (given if isinstance(given, Path) else Path()).absolute()


def _experts(workspace: Path) -> list[str]:
    from perstack.core_types import CORE_TYPE_NAMES

    own = list(_defined(workspace))
    return [*own, *(name for name in CORE_TYPE_NAMES if name not in own)]


def _keys(workspace: Path) -> list[str]:
    found: list[str] = []
    for name, said in _defined(workspace).items():
        table = cast("dict[str, object]", said) if isinstance(said, dict) else {}
        found.append(f"{name}@{table.get('version', '1.0.0')}")
    return found


def _defined(workspace: Path) -> dict[str, object]:
    import tomllib

    from perstack.config.find import find_config

    path = find_config(workspace)
    if path is None or path.stat().st_size > _CONFIG_BYTES:
        return {}
    try:
        table: object = tomllib.loads(path.read_text("utf-8")).get("experts")
    except ValueError:
        return {}
    return cast("dict[str, object]", table) if isinstance(table, dict) else {}


def _jobs(workspace: Path) -> list[str]:
    folder = workspace / "perstack" / "jobs"
    if not folder.is_dir():
        return []
    newest = sorted(folder.iterdir(), key=_changed_at, reverse=True)
    return [path.name for path in newest]


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it is deleted just now
        return 0.0


def _agents(workspace: Path) -> list[tuple[str, str]]:
    async def ask(stores: Stores) -> list[tuple[str, str]]:
        from perstack.ports.agents import AgentFilter
        from perstack.ports.system import SystemClock

        here = AgentFilter(ended_before=SystemClock().now_ms() + 1)
        found = await stores.agents.list(here, limit=MOST, offset=0)
        return [(agent.name, agent.id) for agent in found]

    return _asked(workspace, ask)


def _asked(workspace: Path, ask: Callable[[Stores], Awaitable[list[T]]]) -> list[T]:
    """Return what the tables say, nothing where there are none or they take long."""
    import anyio

    from perstack.wiring import has_database, open_tables

    async def run() -> list[T]:
        tables = open_tables(workspace)
        try:
            with anyio.move_on_after(_WITHIN_S):
                return await tables.stores.ask(ask)
        finally:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await tables.aclose()
        return []

    return anyio.run(run) if has_database(workspace) else []
