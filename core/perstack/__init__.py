"""Perstack for the terminal: run, record, watch and gate teams of small LLM agents.

What is listed in `__all__` is the library (docs/library.md); it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from perstack.config.typed import Overrides
    from perstack.domain.events import Delta, Event
    from perstack.engine.plan import JobOutcome
    from perstack.errors import PerstackError
    from perstack.library import Job, Parts, as_json, decide, go_on, load_project, run, start
    from perstack.ports.history import History
    from perstack.ports.model import ChatModel
    from perstack.ports.skills import SkillOpener

__version__ = "0.1.0"

__all__ = [
    "ChatModel",
    "Delta",
    "Event",
    "History",
    "Job",
    "JobOutcome",
    "Overrides",
    "Parts",
    "PerstackError",
    "SkillOpener",
    "__version__",
    "as_json",
    "decide",
    "go_on",
    "load_project",
    "run",
    "start",
]

_HOMES: Final = {
    "ChatModel": "perstack.ports.model",
    "Delta": "perstack.domain.events",
    "Event": "perstack.domain.events",
    "History": "perstack.ports.history",
    "JobOutcome": "perstack.engine.plan",
    "Overrides": "perstack.config.typed",
    "PerstackError": "perstack.errors",
    "SkillOpener": "perstack.ports.skills",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "perstack.library")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
