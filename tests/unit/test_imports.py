"""What is loaded when: start-up time is a product feature, and layers hold at run time too.

A static look at imports does not see the deferred ones, so real processes are asked what they hold.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Program

SCREEN: Final = {"textual", "rich", "perstack_tui", "perstack_themes"}
VENDORS: Final = {"anthropic", "openai", "httpx2"}
SERVERS: Final = {"mcp", "jsonschema"}
TABLES: Final = {"sqlalchemy"}
HEAVY: Final = SCREEN | VENDORS | SERVERS | TABLES | {"watchfiles"}

TEAM: Final = """
[consensus]
enabled = true
[experts."solo"]
instruction = "x"
[experts."lead"]
instruction = "x"
delegates = ["solo"]
"""
SCENARIO: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "solo", args = { query = "deploy" } }]
[[turns]]
turn = 1
calls = [{ tool = "healthCheck" }]
[[turns]]
text = "Done."
"""
# What a server that was only asked for its tools has no use for yet.
ONLY_CALLS: Final = (
    "perstack.coordination",
    "perstack.runtime",
    "perstack.domain.events",
    "perstack.engine.job",
    "perstack.engine.run",
    "perstack.services.consensus",
    "perstack.services.runs",
    "perstack.services.tasks",
    "perstack.storage.history",
)
INITIALIZE: Final = (
    '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion":'
    ' "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}\n'
)
# Standard error is the one stream that neither help nor events use. Looking for garbage among
# modules, and taking them apart in the end, would take a third of the time.
ASK: Final = """
import gc, os, sys
gc.disable()
{first}
print("LOADED", *sys.modules, file=sys.stderr, flush=True)
os._exit(0)
"""
MAIN: Final = """
from perstack.cli.main import main
try:
    main()
except SystemExit as ended:
    assert ended.code in (0, None, 3), ended.code
"""


def loaded_by(
    first: str, *args: str, cwd: Path, env: dict[str, str] | None = None, given: str = ""
) -> set[str]:
    """Return the modules that a fresh interpreter holds after `first`; `given` is its input."""
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(first=first), *args],
        cwd=cwd,
        env=env,
        input=given,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("LOADED ")]
    return set(line.split())


def loaded_by_program(program: Program, *args: str, given: str = "") -> set[str]:
    """Return the modules that the program holds when it ends."""
    return loaded_by(MAIN, *args, cwd=program.workspace, env=dict(program.env), given=given)


def ran(program: Program, *args: str) -> None:
    """Run the program for what it leaves behind, however it is started."""
    assert anyio.run(program.run, *args).code in (0, 3)


def own(modules: set[str], begin: tuple[str, ...]) -> list[str]:
    """Return the modules whose names begin so."""
    return sorted(name for name in modules if name.startswith(begin))


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path, SCRIPTED + TEAM, scenario=SCENARIO)


def test_importing_perstack_loads_next_to_nothing(tmp_path: Path) -> None:
    own = {name for name in loaded_by("import perstack", cwd=tmp_path) if "perstack" in name}
    assert own == {"perstack"}


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("log", "--help"),
        ("agent", "--help"),
        ("agent", "exec", "--help"),
    ],
)
def test_help_loads_neither_models_nor_an_event_loop(
    program: Program, args: tuple[str, ...]
) -> None:
    modules = loaded_by_program(program, *args)
    # typer brings pydantic itself when a command has options; our models are not made with it.
    assert packages(modules) & (HEAVY | {"anyio", "asyncio", "psutil"}) == set()
    assert [name for name in modules if name.startswith("perstack.domain")] == []


def test_a_scripted_run_loads_the_tables_that_it_is_recorded_in_and_nothing_else(
    program: Program,
) -> None:
    modules = loaded_by_program(program, "run", "solo", "go")
    assert packages(modules) & HEAVY == TABLES


def test_tables_are_loaded_when_a_gate_opens(program: Program) -> None:
    modules = loaded_by_program(program, "run", "lead", "go", "--no-wait")
    assert packages(modules) & HEAVY == TABLES


def test_log_loads_no_engine(program: Program) -> None:
    ran(program, "run", "solo", "go")
    modules = loaded_by_program(program, "log", "--json")
    assert packages(modules) & HEAVY == set()


def test_deciding_loads_the_tables_alone(program: Program) -> None:
    modules = loaded_by_program(program, "consensus", "list")
    assert packages(modules) & HEAVY == set()
    ran(program, "run", "lead", "go", "--no-wait")
    modules = loaded_by_program(program, "consensus", "list")
    assert packages(modules) & HEAVY == TABLES


def test_looking_at_agents_loads_the_tables_alone(program: Program) -> None:
    modules = loaded_by_program(program, "agent", "list")
    assert packages(modules) & HEAVY == set()
    modules = loaded_by_program(program, "agent", "spawn", "-t", "lead")
    assert packages(modules) & HEAVY == TABLES
    modules = loaded_by_program(program, "agent", "list", "--json")
    assert packages(modules) & HEAVY == TABLES
    assert [name for name in modules if name.startswith("perstack.providers")] == []


def test_a_tool_server_begins_with_nothing_that_only_a_call_needs(program: Program) -> None:
    modules = loaded_by_program(program, "mcp", "start", given=INITIALIZE)
    assert "perstack.serving.mcp.server" in modules
    assert own(modules, ONLY_CALLS) == []
    assert packages(modules) & (TABLES | SCREEN | {"jsonschema", "fastapi", "argon2"}) == set()


def test_listing_the_tools_loads_what_they_take_and_give_alone(tmp_path: Path) -> None:
    first = (
        "from perstack.serving.mcp.server import tool_of\n"
        "from perstack.serving.verbs.catalog import verbs\n"
        "print(len([tool_of(verb) for verb in verbs(reviews=True).values()]))\n"
    )
    modules = loaded_by(first, cwd=tmp_path)
    assert own(modules, (*ONLY_CALLS, "perstack.wiring")) == []
    assert packages(modules) & (TABLES | SCREEN | {"jsonschema"}) == set()


def test_the_cockpits_state_loads_no_toolkit(tmp_path: Path) -> None:
    first = (
        "import importlib, pkgutil, perstack_tui.state as state\n"
        "for found in pkgutil.walk_packages(state.__path__, state.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
    )
    modules = loaded_by(first, cwd=tmp_path)
    assert packages(modules) & {"textual"} == set()


def test_no_module_of_the_core_loads_the_screen(tmp_path: Path) -> None:
    first = (
        "import importlib, pkgutil, perstack\n"
        "for found in pkgutil.walk_packages(perstack.__path__, 'perstack.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
    )
    modules = loaded_by(first, cwd=tmp_path)
    assert packages(modules) & SCREEN == set()


def test_the_cockpit_paints_before_it_loads_models_or_the_runtime(tmp_path: Path) -> None:
    modules = loaded_by("import perstack_tui.app", cwd=tmp_path)
    late = ("perstack.domain.base", "perstack.runtime", "perstack.engine", "perstack.storage")
    assert [name for name in modules if name.startswith(late)] == []
