"""What happens when another agent's program executes a run."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.runtimes import RuntimeName


class StartProgram(Model):
    """A program begins, or takes up, the run: once each time that it is started.

    `continued` is its own session that it goes on with. `dropped` says in short phrases what of
    the Expert's definition it cannot honour.
    """

    type: Literal["startProgram"] = "startProgram"
    runtime: RuntimeName
    continued: str | None = None
    dropped: tuple[str, ...] = ()


class BeginSession(Model):
    """The program said which session of its own this is, and which model it asks."""

    type: Literal["beginSession"] = "beginSession"
    runtime: RuntimeName
    session_id: str
    model: str | None = None


ProgramEvent = StartProgram | BeginSession
