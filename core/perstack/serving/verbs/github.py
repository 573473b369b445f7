"""The verbs of GitHub: the seed's seven. Every failure of theirs is an error of the call."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perstack.domain.github import IssueState, PullState
from perstack.domain.github_views import (
    IssueCreated,
    IssueList,
    IssueReport,
    PullCreated,
    PullList,
    PullReport,
    RepositoryReport,
)
from perstack.services.github import (
    BODY_LENGTH,
    MOST_LISTED,
    MOST_NAMES,
    NAME_LENGTH,
    TITLE_LENGTH,
    USUAL_LISTED,
    GithubService,
)
from perstack.serving.verbs.verb import Asked, Call, Verb

Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
Title = Annotated[str, Field(min_length=1, max_length=TITLE_LENGTH)]
Body = Annotated[str, Field(max_length=BODY_LENGTH)]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Field(ge=1, le=MOST_LISTED)]
Names = Annotated[tuple[Name, ...], Field(max_length=MOST_NAMES)]


class WhichRepository(Asked):
    """A repository."""

    owner: Annotated[str, Field(min_length=1, max_length=100)]
    """Owner of the repository"""
    repo: Annotated[str, Field(min_length=1, max_length=100)]
    """Name of the repository"""


class WhichNumber(WhichRepository):
    """An issue or a pull request."""

    number: Number
    """Its number"""


class CreateIssue(WhichRepository):
    """A new issue."""

    title: Title
    """Title, one line"""
    body: Body | None = None
    """Text in Markdown"""
    labels: Names = ()
    """Labels"""
    assignees: Names = ()
    """Who is to see to it"""


class ListIssues(WhichRepository):
    """Which issues."""

    state: IssueState = "open"
    """Filter by state"""
    labels: Annotated[str | None, Field(max_length=BODY_LENGTH)] = None
    """Labels that it has, separated by commas"""
    limit: Limit = USUAL_LISTED
    """Max issues to return"""


class CreatePull(WhichRepository):
    """A new pull request."""

    title: Title
    """Title, one line"""
    head: Name
    """Branch with changes"""
    base: Name
    """Target branch"""
    body: Body | None = None
    """Text in Markdown"""
    draft: bool = False
    """Whether it is a draft"""


class ListPulls(WhichRepository):
    """Which pull requests."""

    state: PullState = "open"
    """Filter by state"""
    limit: Limit = USUAL_LISTED
    """Max pull requests to return"""


def _hub(call: Call) -> GithubService:
    return call.coordination.github


def ready(call: Call) -> None:
    """Refuse every call while GitHub is not enabled, whatever its arguments.

    Raises:
        UsageError: it is not.
    """
    _hub(call).check_enabled()


async def create_issue(call: Call, asked: CreateIssue) -> IssueCreated:
    """Open an issue."""
    made = await _hub(call).create_issue(
        asked.owner,
        asked.repo,
        asked.title,
        body=asked.body,
        labels=asked.labels,
        assignees=asked.assignees,
    )
    return IssueCreated(issue=made)


async def list_issues(call: Call, asked: ListIssues) -> IssueList:
    """Return issues."""
    found = await _hub(call).list_issues(
        asked.owner, asked.repo, state=asked.state, labels=asked.labels, limit=asked.limit
    )
    return IssueList(count=len(found), issues=tuple(found))


async def get_issue(call: Call, asked: WhichNumber) -> IssueReport:
    """Return an issue."""
    return IssueReport(issue=await _hub(call).get_issue(asked.owner, asked.repo, asked.number))


async def create_pull(call: Call, asked: CreatePull) -> PullCreated:
    """Open a pull request."""
    made = await _hub(call).create_pull(
        asked.owner,
        asked.repo,
        asked.title,
        head=asked.head,
        base=asked.base,
        body=asked.body,
        draft=asked.draft,
    )
    return PullCreated(pr=made)


async def list_pulls(call: Call, asked: ListPulls) -> PullList:
    """Return pull requests."""
    found = await _hub(call).list_pulls(
        asked.owner, asked.repo, state=asked.state, limit=asked.limit
    )
    return PullList(count=len(found), prs=tuple(found))


async def get_pull(call: Call, asked: WhichNumber) -> PullReport:
    """Return a pull request."""
    return PullReport(pr=await _hub(call).get_pull(asked.owner, asked.repo, asked.number))


async def repo_info(call: Call, asked: WhichRepository) -> RepositoryReport:
    """Return what is known of a repository."""
    return RepositoryReport(repo=await _hub(call).get_repository(asked.owner, asked.repo))


GITHUB_VERBS = (
    Verb(
        "github_issue_create",
        "Create a GitHub issue.",
        CreateIssue,
        IssueCreated,
        create_issue,
        effect="writes",
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_issue_list",
        "List repository issues.",
        ListIssues,
        IssueList,
        list_issues,
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_issue_get",
        "Get issue details.",
        WhichNumber,
        IssueReport,
        get_issue,
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_pr_create",
        "Create a pull request.",
        CreatePull,
        PullCreated,
        create_pull,
        effect="writes",
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_pr_list",
        "List pull requests.",
        ListPulls,
        PullList,
        list_pulls,
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_pr_get",
        "Get PR details.",
        WhichNumber,
        PullReport,
        get_pull,
        outside=True,
        ready=ready,
    ),
    Verb(
        "github_repo_info",
        "Get repository information.",
        WhichRepository,
        RepositoryReport,
        repo_info,
        outside=True,
        ready=ready,
    ),
)
