"""GitHub's issues, pull requests and repositories, in the shapes of `gh --json`.

Times are GitHub's own texts (ISO 8601, UTC). What was not asked for is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from perstack.domain.base import Model

IssueState = Literal["open", "closed", "all"]
PullState = Literal["open", "closed", "merged", "all"]
Mergeable = Literal["MERGEABLE", "CONFLICTING", "UNKNOWN"]

ISSUE_STATES: Final[tuple[IssueState, ...]] = ("open", "closed", "all")
PULL_STATES: Final[tuple[PullState, ...]] = ("open", "closed", "merged", "all")
MERGEABLE: Final[Mapping[bool | None, Mergeable]] = {
    True: "MERGEABLE",
    False: "CONFLICTING",
    None: "UNKNOWN",
}


class GithubUser(Model):
    """Somebody."""

    login: str


class GithubLabel(Model):
    """A label."""

    name: str


class GithubBranch(Model):
    """A branch."""

    name: str


class Issue(Model):
    """An issue. `state` is OPEN or CLOSED."""

    number: int
    title: str
    url: str
    state: str | None = None
    author: GithubUser | None = None
    labels: tuple[GithubLabel, ...] | None = None
    created_at: str | None = None
    body: str | None = None
    assignees: tuple[GithubUser, ...] | None = None
    closed_at: str | None = None


class PullRequest(Model):
    """A pull request. `state` is OPEN, CLOSED or MERGED."""

    number: int
    title: str
    url: str
    state: str | None = None
    author: GithubUser | None = None
    head_ref_name: str | None = None
    base_ref_name: str | None = None
    created_at: str | None = None
    body: str | None = None
    is_draft: bool | None = None
    mergeable: Mergeable | None = None
    closed_at: str | None = None
    merged_at: str | None = None


class Repository(Model):
    """A repository. `default_branch_ref` is None for an empty one."""

    name: str
    owner: GithubUser
    url: str
    description: str | None = None
    default_branch_ref: GithubBranch | None = None
    stargazer_count: int = 0
    fork_count: int = 0
    is_private: bool = False
    created_at: str | None = None
    pushed_at: str | None = None
