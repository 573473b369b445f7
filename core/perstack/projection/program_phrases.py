"""What to say of another agent's program that executes a run. Raw text: it is made inert later."""

from __future__ import annotations

from collections.abc import Iterator

from perstack.domain.program_events import BeginSession, ProgramEvent, StartProgram
from perstack.domain.runtimes import PROGRAMS, is_program
from perstack.domain.settings import Settings
from perstack.projection.run_state import RunState


def program_phrases(body: ProgramEvent) -> Iterator[str]:
    """Say that a program took up the run, what it cannot honour, which model it asks."""
    for words, listed in program_notes(body):
        yield f"{words}: {', '.join(listed)}" if listed else words


def program_notes(body: ProgramEvent) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the same as words with what they list, for a reader with room for a line each."""
    match body:
        case StartProgram(continued=None):
            yield f"runs on {body.runtime}", ()
            if body.dropped:
                yield f"{body.runtime} cannot honour", body.dropped
        case StartProgram():
            # What it cannot honour was said when it began.
            yield f"goes on in its session of {body.runtime}", ()
        case BeginSession() if body.model:
            yield f"{body.runtime} asks {body.model}", ()
        case BeginSession():
            return


def model_of(state: RunState, begun_with: str) -> str:
    """Return which model a run generates with: one that was wished for, or that its program told.

    `begun_with` is the one that the runtime took the run up with.
    """
    if state.model is not None:
        return state.model
    told = state.session.model if state.session else None
    return told or begun_with


def model_of_settings(settings: Settings) -> tuple[str, str]:
    """Return which model a job under `settings` will ask, and whose it is."""
    runtime = settings.runtime
    if not is_program(runtime.name):
        return settings.model, settings.provider.name
    return settings.model_of(runtime.name), runtime.name


def vendor_of(runtime: str, provider_name: str) -> str:
    """Return whose model a run asks: the provider's of the settings, or the program's own."""
    return runtime if runtime in PROGRAMS else provider_name
