"""Experts of the registry that a job of this process needs: asked for, shown, accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from anyio import to_thread

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.ids import ExpertKey
from perstack.fetching import accept_fetched, fetched, foreign
from perstack.project import Project
from perstack_tui.local.registry import with_cards
from perstack_tui.ports.gateway import Trouble


class Fetching:
    """`yes`: the user accepted what Experts of the registry would do as the cockpit was opened."""

    def __init__(self, tell: Callable[[Trouble], Awaitable[None]], *, yes: bool) -> None:
        self._tell = tell
        self._yes = yes
        self._shown: dict[frozenset[Demand], Project] = {}

    async def complete(self, project: Project, keys: Iterable[ExpertKey]) -> Project:
        """Return the project with the Experts of the registry that `keys` lead to, all accepted.

        Raises:
            UntrustedError: the configuration, or one of them, is not accepted yet.
            RegistryError: what is needed cannot be had.
        """
        wanted = tuple(keys)
        if not foreign(project, wanted):
            return project
        # The file says which registry is asked, and is judged before that.
        await to_thread.run_sync(project.admit, project.config.experts)
        whole = await fetched(project, wanted)
        if self._yes:
            await to_thread.run_sync(partial(accept_fetched, whole, by="yes"))
        try:
            await to_thread.run_sync(whole.admit, whole.fetched)
        except UntrustedError as error:
            # By what is asked for: several may be shown at once, and one of them refused.
            self._shown[_of_experts(error.demands)] = whole
            raise with_cards(whole, error) from error
        return whole

    async def accept(self, demands: Sequence[Demand]) -> None:
        """Note in the lock file that what was shown with exactly these demands was accepted."""
        shown = self._shown.pop(_of_experts(demands), None)
        if shown is not None:
            await to_thread.run_sync(partial(accept_fetched, shown, by="asked"))

    async def tell(self, project: Project) -> None:
        """Tell what is to be known of what was fetched: what is deprecated, what is old."""
        for warning in project.fetch_warnings:
            await self._tell(Trouble(warning, is_warning=True))


def _of_experts(demands: Iterable[Demand]) -> frozenset[Demand]:
    return frozenset(demand for demand in demands if demand.kind == "expert")
