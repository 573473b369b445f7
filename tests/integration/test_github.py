"""GitHub over real HTTP on loopback, and by a real process that stands for `gh`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.coordination import GithubSettings
from perstack.errors import ConfigError, ProviderError, UsageError
from perstack.integrations.github.cli import GhCli
from perstack.integrations.github.opener import open_github
from perstack.integrations.github.rest import RestGithub
from perstack.ports.github import GithubApi, RepositoryName
from perstack.services.github import GithubService
from tests.fakes.github import AT, TOKEN, FakeGh, FakeGithub, fake_gh, fake_github, issue, pull

pytestmark = pytest.mark.anyio

SITE = RepositoryName("ana", "site")


@pytest.fixture
def hub() -> Generator[FakeGithub]:
    with fake_github() as hub:
        yield hub


@pytest.fixture
async def github(hub: FakeGithub) -> AsyncGenerator[GithubService]:
    found = GithubSettings(enabled=True, token="${GITHUB_TOKEN}", base_url=hub.url)
    service = GithubService(found, partial(open_github, found, {"GITHUB_TOKEN": TOKEN}))
    yield service
    await service.aclose()


@pytest.fixture
def gh(tmp_path: Path) -> FakeGh:
    return fake_gh(tmp_path / "home")


def by_gh(gh: FakeGh) -> GithubService:
    """The service over a `gh`."""
    found = GithubSettings(enabled=True, use_gh_cli=True, token="${GITHUB_TOKEN}")
    return GithubService(found, partial(open_github, found, gh.env | {"GITHUB_TOKEN": TOKEN}))


async def test_an_issue_is_opened_and_looked_up(github: GithubService, hub: FakeGithub) -> None:
    made = await github.create_issue(
        "ana", "site", "It's $(broken)", body="`rm -rf`", labels=["bug"], assignees=["bo"]
    )
    assert made.model_dump(mode="json", exclude_none=True) == {
        "number": 1,
        "title": "It's $(broken)",
        "url": "https://github.com/ana/site/issues/1",
    }
    method, path, headers, body = hub.seen[0]
    assert (method, path) == ("POST", "/repos/ana/site/issues")
    assert headers["authorization"] == f"token {TOKEN}"
    assert body == {
        "title": "It's $(broken)",
        "body": "`rm -rf`",
        "labels": ["bug"],
        "assignees": ["bo"],
    }
    hub.issues = [issue(5, user=None)]
    assert (await github.get_issue("ana", "site", 5)).model_dump(mode="json") == {
        "number": 5,
        "title": "Issue 5",
        "url": "https://github.com/ana/site/issues/5",
        "state": "OPEN",
        "author": {"login": "ghost"},
        "labels": [{"name": "bug"}],
        "createdAt": AT,
        "body": "It broke.",
        "assignees": [{"login": "bo"}],
        "closedAt": None,
    }


async def test_issues_are_listed_over_pages_without_pull_requests(
    github: GithubService, hub: FakeGithub
) -> None:
    hub.issues = [
        issue(number, **({"pull_request": {}} if number % 3 == 0 else {}))
        for number in range(1, 251)
    ]
    found = await github.list_issues("ana", "site", state="all", limit=100)
    assert [one.number for one in found] == [n for n in range(1, 251) if n % 3][:100]
    assert len(hub.seen) == 2
    assert len(await github.list_issues("ana", "site", labels=" bug ,")) == 30
    assert await github.list_issues("ana", "site", labels="bug,other") == []
    assert await github.list_issues("ana", "site", state="closed") == []


async def test_pull_requests_are_opened_listed_by_state_and_looked_up(
    github: GithubService, hub: FakeGithub
) -> None:
    made = await github.create_pull("ana", "site", "T", head="bo:topic", base="main", draft=True)
    assert (made.number, hub.seen[0][3]["head"], hub.seen[0][3]["draft"]) == (1, "bo:topic", True)
    hub.pulls = [pull(1), pull(2, state="closed", merged_at=AT), pull(3, state="closed")]
    listed = {
        state: [one.number for one in await github.list_pulls("ana", "site", state=state)]
        for state in ("open", "closed", "merged", "all")
    }
    assert listed == {"open": [1], "closed": [2, 3], "merged": [2], "all": [1, 2, 3]}
    found = await github.get_pull("ana", "site", 2)
    assert (found.state, found.mergeable, found.is_draft, found.body) == (
        "MERGED",
        "UNKNOWN",
        True,
        "",
    )
    assert (found.head_ref_name, found.base_ref_name, found.merged_at) == ("topic", "main", AT)


async def test_a_repository_is_described(github: GithubService) -> None:
    assert (await github.get_repository("ana", "site")).model_dump(mode="json") == {
        "name": "site",
        "owner": {"login": "ana"},
        "url": "https://github.com/ana/site",
        "description": None,
        "defaultBranchRef": {"name": "main"},
        "stargazerCount": 3,
        "forkCount": 1,
        "isPrivate": True,
        "createdAt": AT,
        "pushedAt": AT,
    }


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (404, {}, b'{"message": "Not Found"}', "Not Found"),
        (401, {}, json.dumps({"message": f"Bad token {TOKEN}"}).encode(), "Bad token"),
        (422, {}, b'{"message": "Bad", "errors": [{"field": "t", "code": "missing"}]}', "'t'"),
        (403, {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"},
         b'{"message": "rate limit exceeded"}', "rate limit"),
        (301, {"Location": "https://elsewhere.example/"}, b"{}", "redirect"),
        (500, {"Content-Type": "text/html"}, b"<html>oops", "Internal Server Error"),
        (500, {}, b"<html>oops", "cannot be read"),
        (200, {}, b"[]", "cannot be read"),
        (200, {}, b'{"number": "x"}', "cannot be read"),
        (200, {}, b"{", "cannot be read"),
    ],
)  # fmt: skip
async def test_a_failure_says_what_and_holds_no_token(
    github: GithubService,
    hub: FakeGithub,
    status: int,
    headers: dict[str, str],
    body: bytes,
    said: str,
) -> None:
    hub.refusal = (status, {"Content-Type": "application/json"} | headers, body)
    with pytest.raises(ProviderError) as raised:
        await github.get_issue("ana", "site", 1)
    assert raised.value.message.startswith("GitHub command failed: ")
    assert said in raised.value.message
    assert TOKEN not in raised.value.message


async def test_the_token_follows_no_page_to_another_host(
    github: GithubService, hub: FakeGithub
) -> None:
    with fake_github() as other:
        hub.next_page = f"{other.url}/repos/ana/site/issues?state=open&per_page=100&page=2"
        hub.issues = [issue(number, pull_request={}) for number in range(1, 150)]
        with pytest.raises(ProviderError, match="leads to another host"):
            await github.list_issues("ana", "site")
        assert other.seen == []


async def test_an_answer_that_never_ends_is_cut_off(hub: FakeGithub) -> None:
    hub.refusal = (200, {"Content-Type": "application/json"}, b" " * (17 * 1024 * 1024))
    api = RestGithub(token=None, base_url=hub.url)
    with pytest.raises(ProviderError, match="larger than 16 MiB"):
        await api.get_repository(SITE)
    await api.aclose()


async def test_github_that_is_not_there_or_silent_is_a_failure() -> None:
    api = RestGithub(token=None, base_url="http://127.0.0.1:9")
    with pytest.raises(ProviderError, match=r"127\.0\.0\.1 cannot be reached"):
        await api.get_repository(SITE)
    await api.aclose()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as silent:
        port = silent.extra_attributes[anyio.abc.SocketAttribute.local_port]()
        api = RestGithub(token=None, base_url=f"http://127.0.0.1:{port}", bound_s=0.2)
        with pytest.raises(ProviderError, match=r"no answer within 0\.2 s|cannot be reached"):
            await api.get_repository(SITE)
        await api.aclose()


@pytest.mark.parametrize("url", ["https://hub.example:port/v3", "https://[hub.example/v3"])
async def test_a_base_url_that_is_none_is_told_without_what_it_holds(url: str) -> None:
    with pytest.raises(ConfigError, match="base URL is no address") as raised:
        await RestGithub(token=None, base_url=url).get_repository(SITE)
    assert "hub.example" not in f"{raised.value} {raised.value.__cause__}"
    assert "baseUrl" in (raised.value.hint or "")


async def test_who_asks_is_known_only_with_a_token_that_github_takes(
    github: GithubService, hub: FakeGithub, gh: FakeGh
) -> None:
    assert await github.is_authenticated()
    assert await by_gh(gh).is_authenticated()
    assert not await RestGithub(token=None, base_url=hub.url).is_authenticated()
    assert not await GithubService(GithubSettings(), unreachable).is_authenticated()
    hub.refusal = (401, {}, b"{}")
    gh.answers(fail="not logged in")
    assert not await github.is_authenticated()
    assert not await by_gh(gh).is_authenticated()


# ------------------------------------------------------------------------- gh


async def test_gh_creates_then_looks_up_with_the_token_in_its_own_environment(gh: FakeGh) -> None:
    gh.answers(
        issue_view={"number": 7, "url": "https://github.com/ana/site/issues/7", "title": "T"}
    )
    made = await by_gh(gh).create_issue(
        "ana", "site", "--json", body="-body\n$(id)", labels=['a,b "c"', "-d"], assignees=["@me"]
    )
    assert (made.number, made.title) == (7, "T")
    create, view = gh.calls
    assert (create["verb"], create["repo"], create["args"]) == ("issue create", "ana/site", [])
    assert create["flags"] == {
        "--title": "--json",
        "--body-file": "-",
        "--label": ['a,b "c"', "-d"],
        "--assignee": ["@me"],
    }
    assert (create["body"], create["cwd"]) == ("-body\n$(id)", "/")
    assert (view["verb"], view["args"], view["flags"]) == (
        "issue view",
        ["7"],
        {"--json": "number,url,title"},
    )
    assert create["env"]["GH_TOKEN"] == TOKEN
    assert create["env"]["GH_PROMPT_DISABLED"] == "1"
    assert "SECRET_KEY" not in create["env"]


async def test_gh_lists_and_shows_what_it_prints(gh: FakeGh) -> None:
    author = {"login": "ana", "is_bot": False}
    found = {"number": 1, "url": "u", "title": "t", "state": "OPEN", "author": author}
    labels = [{"id": "L", "name": "bug", "description": "", "color": "f00"}]
    branch = {"headRefName": "x", "baseRefName": "main"}
    gh.answers(
        issue_list=[found | {"labels": labels, "createdAt": AT}],
        issue_view=found | {"assignees": [author], "body": "b", "closedAt": None},
        pr_list=[found | branch],
        pr_view=found | branch | {"mergeable": "MERGEABLE", "isDraft": False},
        repo_view={"name": "site", "owner": {"id": "1", "login": "ana"}, "url": "u",
                   "defaultBranchRef": {"name": ""}},
    )  # fmt: skip
    service = by_gh(gh)
    [listed] = await service.list_issues("ana", "site", state="closed", labels="bug, x", limit=5)
    assert listed.labels is not None
    assert [label.name for label in listed.labels] == ["bug"]
    assert (await service.get_issue("ana", "site", 1)).body == "b"
    [pulled] = await service.list_pulls("ana", "site", state="merged")
    assert pulled.head_ref_name == "x"
    assert (await service.get_pull("ana", "site", 1)).mergeable == "MERGEABLE"
    assert (await service.get_repository("ana", "site")).default_branch_ref is None
    assert gh.calls[0]["flags"]["--label"] == ["bug", "x"]
    assert gh.calls[0]["flags"]["--limit"] == "5"
    assert gh.calls[2]["flags"]["--state"] == "merged"
    assert gh.calls[4]["args"] == ["ana/site"]


async def test_gh_for_another_host_gets_that_host_and_its_own_kind_of_token(gh: FakeGh) -> None:
    gh.answers(fail="no")
    api = GhCli(gh.env, token=TOKEN, base_url="https://github.example.com/api/v3")
    with pytest.raises(ProviderError):
        await api.get_repository(SITE)
    env = gh.calls[0]["env"]
    assert (env["GH_HOST"], env["GH_ENTERPRISE_TOKEN"]) == ("github.example.com", TOKEN)
    assert "GH_TOKEN" not in env


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"fail": f"HTTP 401: Bad credentials {TOKEN}"}, "HTTP 401: Bad credentials"),
        ({"text": "no json"}, "gh printed no JSON"),
        ({"repo_view": {"name": 1}}, "something else than was asked for"),
        ({"repo_view": [1]}, "something else than was asked for"),
        ({"sleep": 30}, "gh took longer than 1 s"),
    ],
)
async def test_a_failure_of_gh_says_what_and_holds_no_token(
    gh: FakeGh, answers: dict[str, object], said: str
) -> None:
    gh.answers(**answers)
    api = GhCli(gh.env, token=TOKEN, bound_s=1.0)
    with pytest.raises(ProviderError, match="GitHub command failed: ") as raised:
        await api.get_repository(SITE)
    assert said in raised.value.message
    assert TOKEN not in raised.value.message


async def test_a_gh_that_is_not_installed_is_a_failure_with_a_remedy(tmp_path: Path) -> None:
    api = GhCli({"PATH": str(tmp_path)}, token=None)
    with pytest.raises(ProviderError, match="gh cannot be started") as raised:
        await api.get_repository(SITE)
    assert "install it" in str(raised.value.hint)


LINES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(list("-\"'$`;|&\\,=")),
    min_size=1,
    max_size=40,
).filter(str.strip)


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.long)])
def test_no_argument_can_become_another_one(tmp_path: Path, examples: int) -> None:
    homes = count()

    @settings(max_examples=examples, deadline=None)
    @given(title=LINES, body=st.text(max_size=60), label=LINES, head=LINES)
    def holds(title: str, body: str, label: str, head: str) -> None:
        check_arguments(fake_gh(tmp_path / str(next(homes))), title, body, label, head)

    holds()


def check_arguments(gh: FakeGh, title: str, body: str, label: str, head: str) -> None:
    """Hold what `gh` understood against what was meant."""
    seen = {"number": 7, "url": "u", "title": "t"}
    gh.answers(issue_view=seen, pr_view=seen)

    async def work() -> None:
        service = by_gh(gh)
        await service.create_issue("ana", "site", title, body=body, labels=[label, title])
        await service.create_pull("ana", "site", title, head=head, base=label, body=body)

    anyio.run(work)
    opened, _, pulled, _ = gh.calls
    assert (opened["args"], opened["repo"], opened["flags"]) == (
        [],
        "ana/site",
        {"--title": title, "--body-file": "-", "--label": [label, title]},
    )
    sent = body.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    assert opened["body"] == pulled["body"] == sent
    assert pulled["flags"] == {
        "--title": title,
        "--body-file": "-",
        "--head": head,
        "--base": label,
    }


# ----------------------------------------------------------------- the service


def unreachable() -> GithubApi:
    raise AssertionError("nothing may be asked")


def checked() -> GithubService:
    return GithubService(GithubSettings(enabled=True), unreachable)


async def test_a_disabled_github_is_refused_before_anything_is_looked_at() -> None:
    service = GithubService(GithubSettings(), unreachable)
    said = r"^GitHub integration is disabled\. Enable it in perstack\.toml$"
    for attempt in (
        lambda: service.create_issue("..", "/", ""),
        lambda: service.list_issues("..", "/"),
        lambda: service.get_issue("..", "/", 0),
        lambda: service.create_pull("..", "/", "", head="", base=""),
        lambda: service.list_pulls("..", "/"),
        lambda: service.get_pull("..", "/", 0),
        lambda: service.get_repository("..", "/"),
    ):
        with pytest.raises(UsageError, match=said):
            await attempt()


@pytest.mark.parametrize(
    ("owner", "repo"),
    [("-R", "x"), ("a/b", "x"), ("a", ".."), ("a", "b/c"), ("", "x"), ("a", ""), ("a\n", "b"),
     ("evil.com/a", "b"), ("a", "b c"), ("a" * 101, "b")],
)  # fmt: skip
async def test_a_name_that_is_none_on_github_is_refused(owner: str, repo: str) -> None:
    with pytest.raises(UsageError, match="is not the name of"):
        await checked().get_repository(owner, repo)


async def test_bounds_are_checked_before_anything_leaves() -> None:
    service = checked()
    for attempt in (
        lambda: service.create_issue("a", "b", ""),
        lambda: service.create_issue("a", "b", "x" * 257),
        lambda: service.create_issue("a", "b", "x\ny"),
        lambda: service.create_issue("a", "b", "x", body="x" * 65_537),
        lambda: service.create_issue("a", "b", "x", labels=["\0"]),
        lambda: service.create_issue("a", "b", "x", assignees=["x"] * 101),
        lambda: service.create_pull("a", "b", "x", head="", base="main"),
        lambda: service.list_issues("a", "b", limit=0),
        lambda: service.list_issues("a", "b", limit=101),
        lambda: service.list_issues("a", "b", state="merged"),
        lambda: service.list_pulls("a", "b", state="odd"),
        lambda: service.get_pull("a", "b", 0),
    ):
        with pytest.raises(UsageError):
            await attempt()
