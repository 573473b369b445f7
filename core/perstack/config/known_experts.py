"""The Experts that work can be handed to in a project, as others see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perstack.config.builtin import builtin_experts
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.job_views import ExpertList, ExpertView, expert_view
from perstack.errors import NotFoundError


class KnownExperts(Mapping[ExpertKey, ExpertView]):
    """The project's own Experts, then the built-in ones that it defines none of the same key for.

    A built-in Expert gives way to one of the project.
    """

    def __init__(self, own: Mapping[ExpertKey, Expert]) -> None:
        views = {key: expert_view(one, "project") for key, one in own.items()}
        for key, one in builtin_experts().items():
            views.setdefault(key, expert_view(one, "builtin"))
        self._views = views

    def find(self, key: str) -> ExpertView:
        """Return one.

        Raises:
            NotFoundError: there is none of that key.
        """
        found = self._views.get(ExpertKey(key))
        if found is None:
            raise NotFoundError(
                "Expert not found", hint="expert_list and GET /api/v1/experts list them"
            )
        return found

    def listed(self) -> ExpertList:
        """Return all of them."""
        return ExpertList(count=len(self._views), experts=tuple(self._views.values()))

    def __getitem__(self, key: ExpertKey) -> ExpertView:
        return self._views[key]

    def __iter__(self) -> Iterator[ExpertKey]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)
