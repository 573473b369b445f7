"""GitHub by the `gh` program: an argument vector, never a shell; bodies on standard input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteReceiveStream, Process
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.domain.github import Issue, IssueState, PullRequest, PullState, Repository
from perstack.errors import ProviderError
from perstack.integrations.github.failures import failed
from perstack.ports.github import NewIssue, NewPullRequest, RepositoryName

BOUND_S: Final = 30.0
MOST_BYTES: Final = 16 * 1024 * 1024
_CREATED: Final = "number,url,title"
_ISSUES: Final = "number,url,title,state,author,labels,createdAt"
_ISSUE: Final = f"{_ISSUES},body,assignees,closedAt"
_PULLS: Final = "number,url,title,state,author,headRefName,baseRefName,createdAt"
_PULL: Final = f"{_PULLS},body,isDraft,mergeable,closedAt,mergedAt"
_REPOSITORY: Final = (
    "name,description,owner,url,defaultBranchRef,stargazerCount,forkCount,isPrivate,"
    "createdAt,pushedAt"
)
_NUMBER: Final = re.compile(r"https?://\S+/(?:issues|pull)/(\d+)\s*$")
_PASSED: Final = frozenset(
    {
        "APPDATA", "DBUS_SESSION_BUS_ADDRESS", "GH_CONFIG_DIR", "HOME", "HTTPS_PROXY", "HTTP_PROXY",
        "LANG", "NO_PROXY", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "USER",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "http_proxy",
        "https_proxy", "no_proxy",
    }
)  # fmt: skip
_OWN_TOKENS: Final = ("GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")

M = TypeVar("M", bound=Model)


class GhCli:
    """Implements `ports.github.GithubApi`; each call of `gh` gets `bound_s` seconds.

    `token` is in the environment of `gh` alone. Without one `gh` finds its own, as in a terminal.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        token: str | None,
        base_url: str | None = None,
        program: str = "gh",
        bound_s: float = BOUND_S,
    ) -> None:
        self._token = token
        self._program = program
        self._bound_s = bound_s
        self._env = _environment(env, token, base_url)

    async def create_issue(self, repository: RepositoryName, new: NewIssue) -> Issue:
        """Open an issue. `gh` prints its address only, so it is looked up then."""
        args = [f"--title={new.title}", "--body-file=-"]
        args += [f"--label={_one_of_list(label)}" for label in new.labels]
        args += [f"--assignee={_one_of_list(login)}" for login in new.assignees]
        number = await self._create(repository, "issue", args, new.body)
        return await self._view(repository, "issue", number, _CREATED, Issue)

    async def list_issues(
        self,
        repository: RepositoryName,
        *,
        state: IssueState,
        labels: Sequence[str],
        limit: int,
    ) -> Sequence[Issue]:
        """Return issues, newest first."""
        args = [f"--state={state}", f"--limit={limit}"]
        args += [f"--label={_one_of_list(label)}" for label in labels]
        return await self._list(repository, "issue", args, _ISSUES, Issue)

    async def get_issue(self, repository: RepositoryName, number: int) -> Issue:
        """Return an issue."""
        return await self._view(repository, "issue", number, _ISSUE, Issue)

    async def create_pull(self, repository: RepositoryName, new: NewPullRequest) -> PullRequest:
        """Open a pull request."""
        args = [f"--title={new.title}", "--body-file=-", f"--head={new.head}", f"--base={new.base}"]
        args += ["--draft"] if new.draft else []
        number = await self._create(repository, "pr", args, new.body)
        return await self._view(repository, "pr", number, _CREATED, PullRequest)

    async def list_pulls(
        self, repository: RepositoryName, *, state: PullState, limit: int
    ) -> Sequence[PullRequest]:
        """Return pull requests, newest first."""
        args = [f"--state={state}", f"--limit={limit}"]
        return await self._list(repository, "pr", args, _PULLS, PullRequest)

    async def get_pull(self, repository: RepositoryName, number: int) -> PullRequest:
        """Return a pull request."""
        return await self._view(repository, "pr", number, _PULL, PullRequest)

    async def get_repository(self, repository: RepositoryName) -> Repository:
        """Return what is known of a repository."""
        out = await self._run(["repo", "view", str(repository), f"--json={_REPOSITORY}"])
        return self._read(out, Repository)

    async def is_authenticated(self) -> bool:
        """Say whether `gh` has a login that GitHub takes."""
        host = self._env.get("GH_HOST", "github.com")
        try:
            await self._run(["auth", "status", f"--hostname={host}"])
        except ProviderError:
            return False
        return True

    async def aclose(self) -> None:
        """Nothing is open between calls."""

    # ------------------------------------------------------------- internals

    async def _create(
        self, repository: RepositoryName, kind: str, args: Sequence[str], body: str
    ) -> int:
        out = await self._run([kind, "create", "-R", str(repository), *args], body)
        found = _NUMBER.search(out)
        if found is None:
            raise self._failed("gh did not say what it created")
        return int(found[1])

    async def _view(
        self, repository: RepositoryName, kind: str, number: int, fields: str, model: type[M]
    ) -> M:
        args = [kind, "view", str(number), "-R", str(repository), f"--json={fields}"]
        return self._read(await self._run(args), model)

    async def _list(
        self,
        repository: RepositoryName,
        kind: str,
        args: Sequence[str],
        fields: str,
        model: type[M],
    ) -> Sequence[M]:
        out = await self._run([kind, "list", "-R", str(repository), *args, f"--json={fields}"])
        found = self._json(out)
        if not isinstance(found, list):
            raise self._failed("gh printed something else than was asked for")
        return [self._shaped(one, model) for one in cast("list[object]", found)]

    def _read(self, out: str, model: type[M]) -> M:
        return self._shaped(self._json(out), model)

    def _json(self, out: str) -> object:
        try:
            return json.loads(out)
        except (ValueError, RecursionError) as error:
            raise self._failed("gh printed no JSON") from error

    def _shaped(self, found: object, model: type[M]) -> M:
        try:
            return model.model_validate(_trimmed(found, model))
        except ValidationError as error:
            raise self._failed("gh printed something else than was asked for") from error

    def _failed(self, what: str, *, hint: str | None = None) -> ProviderError:
        return failed(what, token=self._token, hint=hint)

    async def _run(self, args: Sequence[str], body: str = "") -> str:
        """Run `gh` and return what it printed.

        Raises:
            ProviderError: it is not there, failed, printed too much or took too long.
        """
        try:
            process = await anyio.open_process(
                [self._program, *args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._env,
                # A repository's git configuration may name programs; none is found here.
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            hint = "install it, or write useGhCli = false and give a token"
            raise self._failed(f"{self._program} cannot be started", hint=hint) from error
        try:
            with anyio.fail_after(self._bound_s):
                return await self._talk(process, body)
        except TimeoutError:
            raise self._failed(f"gh took longer than {self._bound_s:g} s") from None
        finally:
            await _end(process)

    async def _talk(self, process: Process, body: str) -> str:
        out, err = bytearray(), bytearray()
        async with anyio.create_task_group() as group:
            group.start_soon(_feed, process, body.encode())
            group.start_soon(_drain, process.stdout, out)
            group.start_soon(_drain, process.stderr, err)
        status = await process.wait()
        if status != 0:
            said = err.decode("utf-8", "replace").strip()
            raise self._failed(said or f"gh ended with {status}")
        if len(out) >= MOST_BYTES:
            raise self._failed(f"gh printed more than {MOST_BYTES >> 20} MiB")
        return out.decode("utf-8", "replace")


def _environment(env: Mapping[str, str], token: str | None, base_url: str | None) -> dict[str, str]:
    """Return what `gh` needs of the user's environment, with the one token that it is to use."""
    passed = {name: env[name] for name in _PASSED if name in env}
    passed |= {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
    host = urlsplit(base_url).hostname if base_url else None
    elsewhere = host not in (None, "api.github.com", "github.com")
    if host is not None and elsewhere:
        passed["GH_HOST"] = host
    if token is not None:
        passed["GH_ENTERPRISE_TOKEN" if elsewhere else "GH_TOKEN"] = token
    else:
        passed |= {name: env[name] for name in _OWN_TOKENS if name in env}
    return passed


def _one_of_list(value: str) -> str:
    """Return a value for a flag that takes a list as CSV, such that it stays one value."""
    return '"' + value.replace('"', '""') + '"'


def _trimmed(found: object, model: type[Model]) -> object:
    """Leave out what `gh` adds to what it was asked for: ids of people, colours of labels."""
    if not isinstance(found, dict):
        return found
    table = cast("dict[str, object]", found)
    kept: dict[str, object] = {}
    for name, one in table.items():
        if name in ("author", "owner"):
            kept[name] = _only(one, "login")
        elif name == "assignees" and isinstance(one, list):
            kept[name] = [_only(each, "login") for each in cast("list[object]", one)]
        elif name == "labels" and isinstance(one, list):
            kept[name] = [_only(each, "name") for each in cast("list[object]", one)]
        elif name == "defaultBranchRef":
            branch = _only(one, "name")
            # An empty repository's has no name.
            kept[name] = None if branch == {"name": ""} else branch
        else:
            kept[name] = one
    return kept


def _only(found: object, name: str) -> object:
    return {name: cast("dict[str, object]", found).get(name)} if isinstance(found, dict) else found


async def _feed(process: Process, body: bytes) -> None:
    if process.stdin is None:
        return
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.send(body)
    with suppress(OSError):
        await process.stdin.aclose()


async def _drain(stream: ByteReceiveStream | None, into: bytearray) -> None:
    """Read to the end; what is too much is read and dropped."""
    if stream is None:
        return
    async for chunk in stream:
        into += chunk[: MOST_BYTES - len(into)]


async def _end(process: Process) -> None:
    """Kill what is left of the process group and collect it."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await process.aclose()
