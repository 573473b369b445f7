"""The tools of GitHub over MCP, against a small GitHub on loopback."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.github import TOKEN, FakeGithub, fake_github, issue, pull
from tests.fakes.mcp_door import McpDoor, door, text_of
from tests.fixtures.seed_responses.github import GITHUB_RESPONSES
from tests.fixtures.seed_responses.shape import misfits

pytestmark = pytest.mark.anyio

SITE = {"owner": "ana", "repo": "site"}


@pytest.fixture
def hub() -> Generator[FakeGithub]:
    with fake_github() as hub:
        yield hub


def configured(hub: FakeGithub, folder: Path) -> str:
    """Return a perstack.toml that leads to the small GitHub, with a token in a file beside it."""
    (folder / ".env").write_text(f"GITHUB_TOKEN={TOKEN}\n")
    return (
        'envPath = [".env"]\n[github]\nenabled = true\n'
        f'token = "${{GITHUB_TOKEN}}"\nbaseUrl = "{hub.url}"\n'
    )


async def ask(it: McpDoor, name: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and hold its answer against what must be there."""
    answer = await it.call(name, SITE | arguments)
    assert misfits(answer, GITHUB_RESPONSES[name]) == [], answer
    return answer


async def test_every_tool_of_github_answers_as_the_seed_has_it(
    tmp_path: Path, hub: FakeGithub
) -> None:
    async with door(tmp_path, configured(hub, tmp_path)) as it:
        made = await ask(it, "github_issue_create", title="It broke", labels=["bug"])
        assert made["issue"]["number"] == 1
        assert hub.seen[0][3] == {"title": "It broke", "labels": ["bug"]} | {
            name: hub.seen[0][3][name] for name in hub.seen[0][3] if name in ("body", "assignees")
        }
        hub.issues = [issue(5), issue(6)]
        assert (await ask(it, "github_issue_list", limit=1))["count"] == 1
        assert (await ask(it, "github_issue_get", number=5))["issue"]["number"] == 5
        opened = await ask(
            it, "github_pr_create", title="Mend it", head="topic", base="main", draft=True
        )
        assert opened["pr"]["title"] == "Mend it"
        hub.pulls = [pull(7)]
        assert (await ask(it, "github_pr_list", state="open"))["count"] == 1
        assert (await ask(it, "github_pr_get", number=7))["pr"]["isDraft"] is True
        assert (await ask(it, "github_repo_info"))["repo"]["defaultBranchRef"] == {"name": "main"}


@pytest.mark.parametrize("name", sorted(GITHUB_RESPONSES))
async def test_disabled_every_tool_says_so_before_it_looks_at_its_arguments(
    tmp_path: Path, name: str
) -> None:
    async with door(tmp_path) as it:
        refused = await it.result(name, {"nonsense": 1})
        assert refused.is_error
        told = json.loads(text_of(refused))
        assert told["error"] == "GitHub integration is disabled. Enable it in perstack.toml"
        assert told["code"] == "usage"


async def test_whatever_github_refuses_is_an_error_of_the_call_without_the_token(
    tmp_path: Path, hub: FakeGithub
) -> None:
    async with door(tmp_path, configured(hub, tmp_path)) as it:
        missing = await it.result("github_issue_get", SITE | {"number": 404})
        assert missing.is_error
        hub.refusal = (500, {}, f"boom {TOKEN}".encode())
        broken = await it.result("github_repo_info", SITE)
        assert broken.is_error
        assert TOKEN not in text_of(missing) + text_of(broken)
        unfit = await it.result("github_issue_get", SITE | {"number": 0})
        assert unfit.is_error
        assert "number must be at least 1" in text_of(unfit)
