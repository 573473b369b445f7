"""/api/v1/filesystem: confined to the configured roots."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.serving.folders import REFUSED
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
FILES = "/api/v1/filesystem"


async def test_the_workspace_is_the_root_unless_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    async with rest(tmp_path) as client:
        told = (await client.get(f"{FILES}/roots")).json()["data"]
        assert told == {"count": 1, "roots": [{"name": tmp_path.name, "path": str(tmp_path)}]}
    async with rest(tmp_path, '[server]\nfilesystemRoots = ["src"]\n') as client:
        told = (await client.get(f"{FILES}/roots")).json()["data"]
        assert [one["path"] for one in told["roots"]] == [str(tmp_path / "src")]
        outside = await client.get(f"{FILES}/browse", params={"path": str(tmp_path)})
        assert outside.status_code == 403


async def test_a_folder_is_browsed(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "a.txt").touch()
    (tmp_path / ".env").touch()
    async with rest(tmp_path) as client:
        home = (await client.get(f"{FILES}/browse")).json()["data"]
        names = [one["name"] for one in home["entries"] if one["name"] != "perstack"]
        assert names == ["src", "a.txt"]
        assert (home["parent"], home["truncated"]) == (None, False)
        query = {"path": "home", "showHidden": "true", "showFiles": "true"}
        hidden = (await client.get(f"{FILES}/browse", params=query)).json()["data"]
        assert ".env" in [one["name"] for one in hidden["entries"]]
        above = (await client.get(f"{FILES}/parent", params={"path": "src"})).json()["data"]
        assert above == {"path": str(tmp_path / "src"), "parent": str(tmp_path), "isRoot": False}
        report = (await client.post(f"{FILES}/validate", json={"path": "src"})).json()["data"]
        assert (report["valid"], report["isDirectory"], report["errors"]) == (True, True, [])


async def test_outside_is_403_whether_it_is_there_or_not(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    async with rest(work) as client:
        for path in ("/etc/passwd", "/etc/nothing-here", "../", "%2e%2e/%2e%2e", str(tmp_path)):
            for answer in (
                await client.get(f"{FILES}/browse", params={"path": path}),
                await client.get(f"{FILES}/parent", params={"path": path}),
                await client.post(f"{FILES}/validate", json={"path": path}),
            ):
                if "%" in path:
                    assert answer.status_code in (200, 404)  # a name like any other
                    continue
                assert (answer.status_code, answer.json()["error"]) == (403, REFUSED)


async def test_a_path_that_is_no_text_is_400(tmp_path: Path) -> None:
    async with rest(tmp_path) as client:
        refused = await client.post(
            f"{FILES}/validate",
            content=b'{"path": "\\udcff"}',
            headers={"Content-Type": "application/json"},
        )
        assert refused.status_code == 400


async def test_viewers_see_no_files(tmp_path: Path) -> None:
    async with rest(tmp_path, role="viewer") as client:
        assert (await client.get(f"{FILES}/roots")).status_code == 403
