"""What stands for the model of a run whose steps another agent's program generates."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from perstack.config.model_table import facts_of
from perstack.domain.ids import RunId
from perstack.domain.runtimes import is_program, takes_model
from perstack.domain.settings import Settings
from perstack.domain.usage import ModelPrice
from perstack.engine.opening import executed_by
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver


class ProgramModel:
    """A `ChatModel` in name, window and price alone: nobody but the program asks it."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self._facts = facts_of(name, settings.models)

    @property
    def context_window(self) -> int | None:
        """The context window in tokens, None when unknown."""
        return self._facts.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What tokens cost, None when no source states it."""
        return self._facts.price

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Refuse.

        Raises:
            ProviderError: always.
        """
        del request
        raise ProviderError(f"{self.name} is asked by the program that executes the run")
        yield Spoken("text", "")

    def forget(self, run_id: RunId) -> None:
        """Nothing was kept."""

    async def aclose(self) -> None:
        """Nothing is open."""


def model_of(run: RunDriver) -> ChatModel:
    """Return the model of a run: the job's, or what stands for that of the program."""
    name = executed_by(run)
    if not is_program(name):
        return run.job.deps.model
    settings = run.job.plan.settings
    return ProgramModel(settings.model_of(name), settings)


def refusal(run: RunDriver, name: str) -> str | None:
    """Return why the run cannot go on with another model, None where nothing speaks against it."""
    program, provider = executed_by(run), run.job.plan.settings.provider.name
    if is_program(program) and not takes_model(program, name, provider):
        return f"{program} cannot be told to ask {name}"
    return None


async def opened(run: RunDriver, name: str) -> ChatModel:
    """Return another model for the run, by name.

    Raises:
        ConfigError: it cannot be had.
    """
    if is_program(executed_by(run)):
        return model_of(run) if refusal(run, name) else ProgramModel(name, run.job.plan.settings)
    return await run.job.deps.open_model(name)
