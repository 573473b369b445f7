"""Opening GitHub as `[github]` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perstack.config.interpolate import filled
from perstack.domain.coordination import GithubSettings
from perstack.ports.github import GithubApi

PUBLIC: Final = "https://api.github.com"


def open_github(settings: GithubSettings, env: Mapping[str, str]) -> GithubApi:
    """Return GitHub, not connected yet. `env` is the user's environment joined with env files.

    With `use_gh_cli` it is asked by the `gh` program, else by its REST interface. Without a token
    `gh` uses its own login, and REST what everybody may read.
    """
    token = filled(settings.token, env).strip() if settings.token else ""
    if settings.use_gh_cli:
        from perstack.integrations.github.cli import GhCli

        return GhCli(env, token=token or None, base_url=settings.base_url)
    from perstack.integrations.github.rest import RestGithub

    return RestGithub(token=token or None, base_url=settings.base_url or PUBLIC)
