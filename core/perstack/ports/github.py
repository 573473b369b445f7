"""What services ask of GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.github import Issue, IssueState, PullRequest, PullState, Repository


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """`owner/name`. Both were checked: neither can be read as an option, a path or a host."""

    owner: str
    name: str

    def __str__(self) -> str:
        """Return `owner/name`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class NewIssue:
    """An issue to be opened."""

    title: str
    body: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewPullRequest:
    """A pull request to be opened: `head` is to be merged into `base`."""

    title: str
    head: str
    base: str
    body: str = ""
    draft: bool = False


class GithubApi(Protocol):
    """The seven operations, and who asks. Each is bounded in time and raises `ProviderError` alone.

    The message begins with `GitHub command failed: ` and never holds a token.
    """

    async def create_issue(self, repository: RepositoryName, new: NewIssue) -> Issue:
        """Open an issue; return its number, title and address."""
        ...

    async def list_issues(
        self,
        repository: RepositoryName,
        *,
        state: IssueState,
        labels: Sequence[str],
        limit: int,
    ) -> Sequence[Issue]:
        """Return issues that have all of `labels`, newest first, pull requests not among them."""
        ...

    async def get_issue(self, repository: RepositoryName, number: int) -> Issue:
        """Return an issue with its body."""
        ...

    async def create_pull(self, repository: RepositoryName, new: NewPullRequest) -> PullRequest:
        """Open a pull request; return its number, title and address."""
        ...

    async def list_pulls(
        self, repository: RepositoryName, *, state: PullState, limit: int
    ) -> Sequence[PullRequest]:
        """Return pull requests, newest first."""
        ...

    async def get_pull(self, repository: RepositoryName, number: int) -> PullRequest:
        """Return a pull request with its body."""
        ...

    async def get_repository(self, repository: RepositoryName) -> Repository:
        """Return what is known of a repository."""
        ...

    async def is_authenticated(self) -> bool:
        """Say whether GitHub knows who asks; False where it cannot be reached."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
