"""What GitHub's REST interface says, in the shapes of `gh --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from perstack.domain.github import (
    MERGEABLE,
    GithubBranch,
    GithubLabel,
    GithubUser,
    Issue,
    PullRequest,
    Repository,
)

Found = Mapping[str, object]


def table(found: object) -> Found:
    """Return `found` if it is a JSON object.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(found, dict):
        raise TypeError("no JSON object")
    return cast("Found", found)


def created_issue(found: Found) -> Issue:
    """Return a new issue: number, title, address."""
    return Issue.model_validate(_named(found))


def listed_issue(found: Found) -> Issue | None:
    """Return an issue of a list, None for a pull request."""
    return None if "pull_request" in found else Issue.model_validate(_issue(found))


def whole_issue(found: Found) -> Issue:
    """Return an issue with its body."""
    more = {
        "body": found.get("body") or "",
        "assignees": [_user(one) for one in _list(found.get("assignees"))],
        "closed_at": found.get("closed_at"),
    }
    return Issue.model_validate(_issue(found) | more)


def created_pull(found: Found) -> PullRequest:
    """Return a new pull request: number, title, address."""
    return PullRequest.model_validate(_named(found))


def listed_pull(found: Found) -> PullRequest:
    """Return a pull request of a list."""
    return PullRequest.model_validate(_pull(found))


def whole_pull(found: Found) -> PullRequest:
    """Return a pull request with its body."""
    can = found.get("mergeable")
    more = {
        "body": found.get("body") or "",
        "is_draft": found.get("draft"),
        "mergeable": MERGEABLE[can if isinstance(can, bool) else None],
        "closed_at": found.get("closed_at"),
        "merged_at": found.get("merged_at"),
    }
    return PullRequest.model_validate(_pull(found) | more)


def repository(found: Found) -> Repository:
    """Return a repository."""
    branch = found.get("default_branch")
    return Repository.model_validate(
        {
            "name": found["name"],
            "owner": _user(found["owner"]),
            "url": found["html_url"],
            "description": found.get("description"),
            "default_branch_ref": GithubBranch(name=branch) if isinstance(branch, str) else None,
            "stargazer_count": found.get("stargazers_count", 0),
            "fork_count": found.get("forks_count", 0),
            "is_private": found.get("private", False),
            "created_at": found.get("created_at"),
            "pushed_at": found.get("pushed_at"),
        }
    )


def _named(found: Found) -> dict[str, object]:
    return {"number": found["number"], "title": found["title"], "url": found["html_url"]}


def _issue(found: Found) -> dict[str, object]:
    return _named(found) | {
        "state": str(found["state"]).upper(),
        "author": _user(found.get("user")),
        "labels": [_label(one) for one in _list(found.get("labels"))],
        "created_at": found.get("created_at"),
    }


def _pull(found: Found) -> dict[str, object]:
    merged = found.get("merged_at") is not None
    return _named(found) | {
        "state": "MERGED" if merged else str(found["state"]).upper(),
        "author": _user(found.get("user")),
        "head_ref_name": table(found["head"])["ref"],
        "base_ref_name": table(found["base"])["ref"],
        "created_at": found.get("created_at"),
    }


def _user(found: object) -> GithubUser:
    # Who deleted their account is nobody to REST, and "ghost" to people.
    return GithubUser(login="ghost" if found is None else str(table(found)["login"]))


def _label(found: object) -> GithubLabel:
    return GithubLabel(name=found if isinstance(found, str) else str(table(found)["name"]))


def _list(found: object) -> list[object]:
    return cast("list[object]", found) if isinstance(found, list) else []
