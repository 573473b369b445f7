"""What is told of GitHub, in the seed's shapes."""

from __future__ import annotations

from typing import Literal

from perstack.domain.base import Model
from perstack.domain.github import Issue, PullRequest, Repository


class IssueCreated(Model):
    """A new issue."""

    success: Literal[True] = True
    issue: Issue


class IssueList(Model):
    """Issues, newest first."""

    count: int
    issues: tuple[Issue, ...]


class IssueReport(Model):
    """An issue."""

    found: Literal[True] = True
    issue: Issue


class PullCreated(Model):
    """A new pull request."""

    success: Literal[True] = True
    pr: PullRequest


class PullList(Model):
    """Pull requests, newest first."""

    count: int
    prs: tuple[PullRequest, ...]


class PullReport(Model):
    """A pull request."""

    found: Literal[True] = True
    pr: PullRequest


class RepositoryReport(Model):
    """A repository."""

    found: Literal[True] = True
    repo: Repository
