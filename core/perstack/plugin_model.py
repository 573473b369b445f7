"""A model of a provider that a plugin brings: `providerName = "plugin:NAME"`.

It is there before plugins were looked for, and is opened once they were.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Final

import anyio

from perstack.config.model_table import facts_of
from perstack.config.report import printable
from perstack.config.secrets import redact, secret_values
from perstack.domain.ids import RunId
from perstack.domain.plugins import PluginInfo
from perstack.domain.settings import OF_PLUGIN, Settings
from perstack.domain.usage import ModelPrice
from perstack.errors import ConfigError, PerstackError, ProviderError
from perstack.foreign import ForeignModel, is_the_programs
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken
from perstack.ports.plugins import OpenProvider
from perstack.providers.breaker import Breakers
from perstack.providers.guarded import GuardedModel
from perstack.services.foreign_calls import call_foreign
from perstack.services.plugins import PluginService

OPEN_S: Final = 30.0
CLOSE_S: Final = 3.0

_LOG: Final = logging.getLogger(__name__)
_SEE: Final = "docs/plugins.md"
_SHORT: Final = 500
_MOST_NAMED: Final = 5
_NEEDED: Final = ("stream", "forget", "aclose")


class PluginModel:
    """A `ChatModel` whose name is the settings', and whose window and price are what they state.

    `env` is what the provider is given to find its key in; its secrets are kept out of what is
    said of failures. Models with the same `breakers` leave a failing provider alone together.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        env: Mapping[str, str],
        breakers: Breakers | None = None,
        open_s: float = OPEN_S,
    ) -> None:
        self._settings = settings
        self._provider = settings.provider.name
        self._env = env
        self._breakers = breakers or Breakers()
        self._open_s = open_s
        self._facts = facts_of(settings.model, settings.models, provider=self._provider)
        self._opened: ChatModel | None = None

    @property
    def name(self) -> str:
        """The model that is asked for."""
        return self._settings.model

    @property
    def context_window(self) -> int | None:
        """The context window in tokens that the settings state, None when they state none."""
        return self._facts.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What the settings say that tokens cost, None when they do not."""
        return self._facts.price

    async def open(self, plugins: PluginService) -> None:
        """Have the provider open the model; `plugins` have been looked for.

        Raises:
            ConfigError: no plugin that is at work brings the provider, or it cannot open the model.
        """
        opening = plugins.providers.get(self._provider.removeprefix(OF_PLUGIN))
        if opening is None:
            raise self._not_there(plugins)
        given = await self._given(opening)
        model = ForeignModel(given, name=self.name)
        breaker = self._breakers.of(self._provider, "", self.name)
        timeout_s = self._settings.timeout / 1000
        self._opened = GuardedModel(model, breaker, timeout_s=timeout_s)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask once; see `ports.model.ChatModel.stream`."""
        if self._opened is None:
            raise ProviderError(f"the provider {self._provider} is not open")
        pieces = self._opened.stream(request)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        if self._opened is not None:
            self._opened.forget(run_id)

    async def aclose(self) -> None:
        """Close it, in bounded time; a second time nothing happens."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await opened.aclose()

    async def _given(self, opening: OpenProvider) -> ChatModel:
        ask = partial(opening, self.name, dict(self._env))
        try:
            return _checked(await call_foreign(ask, within_s=self._open_s))
        except TimeoutError as error:
            why = f"took longer than {self._open_s:g} s to open {self.name}"
            raise ConfigError(f"the provider {self._provider} {why}", hint=_SEE) from error
        except PerstackError as error:
            # Its plugin knows what is wrong, such as a key that is not there, and says it to us.
            said = f"the provider {self._provider}: {self._shown(error.message)}"
            raise ConfigError(said, hint=self._shown(error.hint or _SEE)) from error
        except BaseException as error:
            if is_the_programs(error):
                raise
            _LOG.exception("the provider %s failed to open", self._provider)
            said = self._shown(f"{type(error).__name__}: {error}")
            failed = f"the provider {self._provider} could not open {self.name}: {said}"
            raise ConfigError(failed, hint="the log has its traceback") from error

    def _not_there(self, plugins: PluginService) -> ConfigError:
        if not self._settings.coordination.plugins.enabled:
            return ConfigError(
                f"the provider {self._provider} is a plugin's, and plugins are turned off",
                hint="write enabled = true below [plugins] of perstack.toml",
            )
        brought = ", ".join(f"{OF_PLUGIN}{name}" for name in sorted(plugins.providers))
        idle = [one for one in plugins.list() if one.status != "loaded"]
        said = "".join(f"; {self._idle(one)}" for one in idle[:_MOST_NAMED])
        return ConfigError(
            f"no plugin at work brings the provider {self._provider}; "
            f"there are: {brought or 'none'}{said}",
            hint=_how_to_enable(idle, self._settings),
        )

    def _idle(self, plugin: PluginInfo) -> str:
        why = self._shown(plugin.reason or plugin.status)
        return f"the plugin {printable(plugin.name)} is {plugin.status}: {why}"

    def _shown(self, text: str) -> str:
        return printable(redact(str(text), secret_values(self._env)), longest=_SHORT)


def _checked(given: object) -> ChatModel:
    """Return what a provider gave, if it can be asked; what it says of itself does not count."""
    if any(not callable(getattr(given, name, None)) for name in _NEEDED):
        raise TypeError(f"it gave a {type(given).__name__}, not a ChatModel")
    return given  # pyright: ignore[reportReturnType]


def _how_to_enable(idle: list[PluginInfo], settings: Settings) -> str:
    names = [one.name for one in idle if one.status != "failed"]
    if names:
        verb = f'await team.plugins.enable("{printable(names[0])}")'
        return f"read a plugin, then enable it: {verb}, see {_SEE}"
    folder = printable(settings.coordination.plugins.directory)
    return f"put its plugin into {folder} and enable it, or install its package, see {_SEE}"
