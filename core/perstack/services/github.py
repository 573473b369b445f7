"""GitHub: issues, pull requests and repositories, asked for by front doors and Experts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from perstack.domain.coordination import GithubSettings
from perstack.domain.github import (
    ISSUE_STATES,
    PULL_STATES,
    Issue,
    PullRequest,
    Repository,
)
from perstack.errors import UsageError
from perstack.ports.github import GithubApi, NewIssue, NewPullRequest, RepositoryName
from perstack.services.bounds import check_number, check_text, check_word

TITLE_LENGTH: Final = 256
BODY_LENGTH: Final = 65_536
NAME_LENGTH: Final = 255
MOST_LISTED: Final = 100
USUAL_LISTED: Final = 30
MOST_NAMES: Final = 100
_MOST_NUMBER: Final = 2**31 - 1
_OWNER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class GithubService:
    """The seven operations, checked before anything leaves this machine.

    `open_api` is called at the first use. Every operation raises `UsageError` when GitHub is not
    enabled or an argument is out of its bounds, and `ProviderError` when GitHub says no.
    """

    def __init__(self, settings: GithubSettings, open_api: Callable[[], GithubApi]) -> None:
        self._settings = settings
        self._open_api = open_api
        self._opening = anyio.Lock()
        self._api: GithubApi | None = None

    async def create_issue(
        self,
        owner: str,
        repo: str,
        title: str,
        *,
        body: str | None = None,
        labels: Sequence[str] = (),
        assignees: Sequence[str] = (),
    ) -> Issue:
        """Open an issue."""
        self.check_enabled()
        repository = _repository(owner, repo)
        new = NewIssue(
            title=_line(title, "title", TITLE_LENGTH),
            body=_body(body),
            labels=_names(labels, "label"),
            assignees=_names(assignees, "assignee"),
        )
        return await (await self._opened()).create_issue(repository, new)

    async def list_issues(
        self,
        owner: str,
        repo: str,
        *,
        state: str = "open",
        labels: str | None = None,
        limit: int = USUAL_LISTED,
    ) -> Sequence[Issue]:
        """Return issues, newest first. `labels` are separated by commas; an issue has them all."""
        self.check_enabled()
        repository = _repository(owner, repo)
        wanted = check_word(state, "state", ISSUE_STATES)
        parts = [part.strip() for part in (labels or "").split(",")]
        names = _names([part for part in parts if part], "label")
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        api = await self._opened()
        return await api.list_issues(repository, state=wanted, labels=names, limit=limit)

    async def get_issue(self, owner: str, repo: str, number: int) -> Issue:
        """Return an issue."""
        self.check_enabled()
        repository = _repository(owner, repo)
        check_number(number, "number", least=1, most=_MOST_NUMBER)
        return await (await self._opened()).get_issue(repository, number)

    async def create_pull(
        self,
        owner: str,
        repo: str,
        title: str,
        *,
        head: str,
        base: str,
        body: str | None = None,
        draft: bool = False,
    ) -> PullRequest:
        """Open a pull request that is to bring the branch `head` into `base`."""
        self.check_enabled()
        repository = _repository(owner, repo)
        new = NewPullRequest(
            title=_line(title, "title", TITLE_LENGTH),
            head=_line(head, "head", NAME_LENGTH),
            base=_line(base, "base", NAME_LENGTH),
            body=_body(body),
            draft=draft,
        )
        return await (await self._opened()).create_pull(repository, new)

    async def list_pulls(
        self, owner: str, repo: str, *, state: str = "open", limit: int = USUAL_LISTED
    ) -> Sequence[PullRequest]:
        """Return pull requests, newest first."""
        self.check_enabled()
        repository = _repository(owner, repo)
        wanted = check_word(state, "state", PULL_STATES)
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        return await (await self._opened()).list_pulls(repository, state=wanted, limit=limit)

    async def get_pull(self, owner: str, repo: str, number: int) -> PullRequest:
        """Return a pull request."""
        self.check_enabled()
        repository = _repository(owner, repo)
        check_number(number, "number", least=1, most=_MOST_NUMBER)
        return await (await self._opened()).get_pull(repository, number)

    async def get_repository(self, owner: str, repo: str) -> Repository:
        """Return what is known of a repository."""
        self.check_enabled()
        repository = _repository(owner, repo)
        return await (await self._opened()).get_repository(repository)

    async def is_authenticated(self) -> bool:
        """Say whether GitHub is enabled, can be reached and knows who asks. Raises nothing."""
        return self._settings.enabled and await (await self._opened()).is_authenticated()

    async def aclose(self) -> None:
        """Close connections; a later operation opens them again."""
        api, self._api = self._api, None
        if api is not None:
            await api.aclose()

    def check_enabled(self) -> None:
        """Refuse while GitHub is not enabled.

        Raises:
            UsageError: it is not.
        """
        if not self._settings.enabled:
            raise UsageError(
                "GitHub integration is disabled. Enable it in perstack.toml",
                hint="write enabled = true into its [github] table",
            )

    async def _opened(self) -> GithubApi:
        async with self._opening:
            if self._api is None:
                self._api = self._open_api()
            return self._api


def _repository(owner: str, name: str) -> RepositoryName:
    if not _OWNER.fullmatch(owner):
        raise UsageError(f"{owner[:40]!a} is not the name of an owner on GitHub")
    if not _REPOSITORY.fullmatch(name) or name in (".", ".."):
        raise UsageError(f"{name[:40]!a} is not the name of a repository on GitHub")
    return RepositoryName(owner, name)


def _line(value: str, what: str, longest: int) -> str:
    check_text(value, what, shortest=1, longest=longest)
    if _CONTROL.search(value):
        raise UsageError(f"{what} must be one line of text")
    return value


def _body(value: str | None) -> str:
    text = check_text(value or "", "body", longest=BODY_LENGTH)
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _names(values: Sequence[str], what: str) -> tuple[str, ...]:
    if len(values) > MOST_NAMES:
        raise UsageError(f"at most {MOST_NAMES} of {what} can be given")
    return tuple(_line(value, what, NAME_LENGTH) for value in values)
