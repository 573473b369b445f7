"""Paths made of anything at all lead to something of the workspace, or nowhere (S1)."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.skills.base.failure import ToolFailure
from perstack.skills.base.paths import Workspace

LINKS: Final = {
    "out": "../outside",
    "top": "/",
    "up": "..",
    "here": ".",
    "sub/back": "../sub",
    "sub/away": "../../outside",
    "data": "perstack",
    "sub/data": "../perstack/jobs",
    "loop": "loop",
    "gone": "nothing/there",
    "chain": "sub/away",
}
PARTS: Final = st.sampled_from(
    [
        *("..", ".", "", "sub", "deep", "file", "perstack", "Perstack", "jobs", "outside"),
        *("out", "top", "up", "here", "back", "away", "data", "loop", "gone", "chain", "~"),
        *("desk", "proc", "self", "root", "cwd", "\0", "\udcff", "x" * 300),
    ]
)
STARTS: Final = st.sampled_from(["", "", "/", "~/", "{desk}/", "{desk}/../desk/", "{outside}/"])


class Site:
    """A workspace with links of all kinds, and the identities of all that may be reached."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "desk"
        self.outside = folder / "outside"
        for made in ("sub/deep", "perstack/jobs", "sub/perstack"):
            (self.root / made).mkdir(parents=True)
        self.outside.mkdir()
        for file in ("file", "sub/file", "perstack/file", "perstack/jobs/file", "../outside/file"):
            (self.root / file).write_text(file)
        for name, target in LINKS.items():
            (self.root / name).symlink_to(target)
        self.workspace = Workspace(self.root, home=str(self.outside))
        within = [self.root, *self.root.rglob("*")]
        data = self.root / "perstack"
        self.allowed = {
            _identity(path.lstat()) for path in within if path != data and data not in path.parents
        }


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    made = Site(tmp_path_factory.mktemp("wild"))
    yield made
    made.workspace.close()


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=STARTS, parts=st.lists(PARTS, max_size=7), follow=st.booleans())
def test_whatever_a_path_is_made_of_what_it_leads_to_is_the_workspaces(
    site: Site, start: str, parts: list[str], follow: bool
) -> None:
    path = start.format(desk=site.root, outside=site.outside) + "/".join(parts)
    try:
        with site.workspace.locate(path, follow=follow) as place:
            found = place.found
    except ToolFailure:
        return
    if found is not None:
        assert _identity(found) in site.allowed
        expanded = path.replace("~", str(site.outside), 1) if path.startswith("~/") else path
        assert _identity(found) == _identity((site.root / expanded).stat())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(detours=st.lists(st.sampled_from(["here", ".", "sub/..", "sub/back/.."]), max_size=7))
def test_what_leads_nowhere_else_is_found_whatever_the_detours(
    site: Site, detours: list[str]
) -> None:
    with site.workspace.locate("/".join([*detours, "sub/deep"])) as place:
        assert place.is_directory
        assert place.relative == "sub/deep"
