"""Perstack for the terminal: run, record, watch and gate teams of small LLM agents.

What is listed in `__all__` is the library (docs/library.md); it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from perstack.chat import Provider, create_provider
    from perstack.config.typed import Overrides
    from perstack.config_file import save_config, validate_config
    from perstack.coordination import Coordination
    from perstack.domain.events import Delta, Event
    from perstack.domain.memory import Caller
    from perstack.engine.plan import JobOutcome
    from perstack.errors import PerstackError
    from perstack.library import Job, Parts, as_json, decide, go_on, load_project, run, start
    from perstack.ports.history import History
    from perstack.ports.model import ChatModel
    from perstack.ports.skills import SkillOpener
    from perstack.services.task_creation import NewTask
    from perstack.team import coordinate

__version__ = "0.1.0"

__all__ = [
    "Caller",
    "ChatModel",
    "Coordination",
    "Delta",
    "Event",
    "History",
    "Job",
    "JobOutcome",
    "NewTask",
    "Overrides",
    "Parts",
    "PerstackError",
    "Provider",
    "SkillOpener",
    "__version__",
    "as_json",
    "coordinate",
    "create_provider",
    "decide",
    "go_on",
    "load_project",
    "run",
    "save_config",
    "start",
    "validate_config",
]

_HOMES: Final = {
    "Caller": "perstack.domain.memory",
    "ChatModel": "perstack.ports.model",
    "Coordination": "perstack.coordination",
    "Delta": "perstack.domain.events",
    "Event": "perstack.domain.events",
    "History": "perstack.ports.history",
    "JobOutcome": "perstack.engine.plan",
    "NewTask": "perstack.services.task_creation",
    "Overrides": "perstack.config.typed",
    "PerstackError": "perstack.errors",
    "Provider": "perstack.chat",
    "SkillOpener": "perstack.ports.skills",
    "coordinate": "perstack.team",
    "create_provider": "perstack.chat",
    "save_config": "perstack.config_file",
    "validate_config": "perstack.config_file",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "perstack.library")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
