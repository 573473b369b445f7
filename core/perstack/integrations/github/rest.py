"""GitHub by its REST interface."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Final, TypeVar, cast

import anyio
from anyio import to_thread
from pydantic import JsonValue, ValidationError

from perstack.domain.github import Issue, IssueState, PullRequest, PullState, Repository
from perstack.errors import ConfigError, ProviderError
from perstack.integrations.github import rest_shapes as shapes
from perstack.integrations.github.failures import failed
from perstack.ports.github import NewIssue, NewPullRequest, RepositoryName

if TYPE_CHECKING:
    from perstack.integrations.github.client import Client

BOUND_S: Final = 30.0
MOST_PAGES: Final = 20
_MOST_A_PAGE: Final = 100
_REPOSITORY: Final = "/repos/{owner}/{repo}"

T = TypeVar("T")


class RestGithub:
    """Implements `ports.github.GithubApi`; each operation gets `bound_s` seconds."""

    def __init__(self, *, token: str | None, base_url: str, bound_s: float = BOUND_S) -> None:
        self._token = token
        self._base_url = base_url
        self._bound_s = bound_s
        self._opening = anyio.Lock()
        self._client: Client | None = None

    async def create_issue(self, repository: RepositoryName, new: NewIssue) -> Issue:
        """Open an issue."""
        data: dict[str, JsonValue] = {
            "title": new.title,
            "body": new.body,
            "labels": list(new.labels),
            "assignees": list(new.assignees),
        }
        return await self._post(repository, "issues", data, shapes.created_issue)

    async def list_issues(
        self,
        repository: RepositoryName,
        *,
        state: IssueState,
        labels: Sequence[str],
        limit: int,
    ) -> Sequence[Issue]:
        """Return issues, newest first; GitHub lists pull requests among them, we do not."""
        wanted = {"state": state, "labels": ",".join(labels)} if labels else {"state": state}
        return await self._list(repository, "issues", wanted, shapes.listed_issue, limit)

    async def get_issue(self, repository: RepositoryName, number: int) -> Issue:
        """Return an issue."""
        return await self._get(repository, f"/issues/{number}", shapes.whole_issue)

    async def create_pull(self, repository: RepositoryName, new: NewPullRequest) -> PullRequest:
        """Open a pull request."""
        data: dict[str, JsonValue] = {
            "title": new.title,
            "body": new.body,
            "head": new.head,
            "base": new.base,
            "draft": new.draft,
        }
        return await self._post(repository, "pulls", data, shapes.created_pull)

    async def list_pulls(
        self, repository: RepositoryName, *, state: PullState, limit: int
    ) -> Sequence[PullRequest]:
        """Return pull requests, newest first; merged ones are among GitHub's closed ones."""
        wanted = {"state": "closed" if state == "merged" else state}

        def shape(found: shapes.Found) -> PullRequest | None:
            pull = shapes.listed_pull(found)
            return pull if state != "merged" or pull.state == "MERGED" else None

        return await self._list(repository, "pulls", wanted, shape, limit)

    async def get_pull(self, repository: RepositoryName, number: int) -> PullRequest:
        """Return a pull request."""
        return await self._get(repository, f"/pulls/{number}", shapes.whole_pull)

    async def get_repository(self, repository: RepositoryName) -> Repository:
        """Return what is known of a repository."""
        return await self._get(repository, "", shapes.repository)

    async def is_authenticated(self) -> bool:
        """Say whether GitHub takes the token."""
        if self._token is None:
            return False

        async def ask(client: Client) -> None:
            await client.getitem("/user")

        try:
            await self._ask(ask)
        except ProviderError:
            return False
        return True

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # ------------------------------------------------------------- internals

    async def _get(
        self, repository: RepositoryName, path: str, shape: Callable[[shapes.Found], T]
    ) -> T:
        async def ask(client: Client) -> T:
            found: object = await client.getitem(_REPOSITORY + path, _variables(repository))
            return shape(shapes.table(found))

        return await self._ask(ask)

    async def _post(
        self,
        repository: RepositoryName,
        kind: str,
        data: Mapping[str, JsonValue],
        shape: Callable[[shapes.Found], T],
    ) -> T:
        async def ask(client: Client) -> T:
            url = f"{_REPOSITORY}/{kind}"
            found: object = await client.post(url, _variables(repository), data=dict(data))
            return shape(shapes.table(found))

        return await self._ask(ask)

    async def _list(
        self,
        repository: RepositoryName,
        kind: str,
        wanted: Mapping[str, str],
        shape: Callable[[shapes.Found], T | None],
        limit: int,
    ) -> Sequence[T]:
        async def ask(client: Client) -> Sequence[T]:
            found: list[T] = []
            url = f"{_REPOSITORY}/{kind}{{?state,labels,per_page}}"
            variables = {**_variables(repository), **wanted, "per_page": str(_MOST_A_PAGE)}
            seen = 0
            async with aclosing(client.getiter(url, variables)) as items:
                async for item in items:
                    shaped = shape(shapes.table(cast("object", item)))
                    seen += 1
                    if shaped is not None:
                        found.append(shaped)
                    if len(found) >= limit or seen >= MOST_PAGES * _MOST_A_PAGE:
                        break
            return found

        return await self._ask(ask)

    async def _ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        """Ask in bounded time; whatever goes wrong is a `ProviderError` without the token."""
        client = await self._opened()
        try:
            with anyio.fail_after(self._bound_s):
                return await question(client)
        except TimeoutError:
            why = f"no answer within {self._bound_s:g} s"
            raise failed(why, token=self._token) from None
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            why = f"its answer cannot be read ({type(error).__name__})"
            raise failed(why, token=self._token) from error
        except client.failures as error:
            raise client.explained(error) from error

    async def _opened(self) -> Client:
        async with self._opening:
            if self._client is None:
                # The library takes a moment to load.
                await to_thread.run_sync(import_module, "perstack.integrations.github.client")
                from perstack.integrations.github.client import Client

                try:
                    self._client = Client(self._base_url, self._token, timeout_s=self._bound_s)
                except ValueError:
                    # The address may hold a secret, so neither it nor the cause is told.
                    raise ConfigError(
                        "GitHub's base URL is no address",
                        hint='give one as [github] baseUrl = "https://github.example/api/v3"',
                    ) from None
            return self._client


def _variables(repository: RepositoryName) -> dict[str, str]:
    return {"owner": repository.owner, "repo": repository.name}
