"""The options that give a job again what it was started with."""

from __future__ import annotations

from dataclasses import replace

from perstack.config.typed import Overrides
from perstack.domain.runtimes import is_program
from perstack.domain.settings import Settings


def options_before(given: Overrides, was: Settings, now: Settings) -> Overrides:
    """Return `given` with the provider, model and runtime that a job was started with.

    `was` are the job's settings, `now` what the file and `given` come to today.
    """
    scripted = was.provider.name == "scripted"
    # In a container, the name is that of what was in there, and the variables are left out.
    contained = was.runtime.contained
    name = "docker" if contained else was.runtime.name
    return replace(
        given,
        provider=was.provider.name,
        model=None if scripted else _model(given, was, now),
        scenario=was.provider.scenario if scripted else None,
        pace=was.provider.pace if scripted else None,
        # Typed, it would be that of every Expert: only where the file says another.
        runtime=given.runtime if name == now.runtime.name else name,
        pass_env=given.pass_env if contained else was.runtime.env,
    )


def _model(given: Overrides, was: Settings, now: Settings) -> str | None:
    """Return the model to type: programs are told one only where somebody named it."""
    if (was.provider.name, was.model) == (now.provider.name, now.model):
        return given.model
    named = was.runtime.model_given or not is_program(was.runtime.name)
    return was.model if named else None
