"""The base tools on real files."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BaseSkill
from perstack.domain.messages import FileInlinePart, ImageInlinePart
from perstack.errors import ConfigError
from perstack.ports.skills import Todo
from perstack.skills.base.files import MAX_READ_CHARS
from perstack.skills.base.skill import NAMES, OpenBaseSkill
from tests.unit.skills.support import context_for, failure, result

pytestmark = pytest.mark.anyio

PIXEL = "R0lGODlhAQABAAAAACw="


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def base(workspace: Path) -> Generator[OpenBaseSkill, None, None]:
    opened = OpenBaseSkill(context_for(workspace), BaseSkill())
    yield opened
    opened.close()


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def _items(base: OpenBaseSkill, path: str) -> list[dict[str, JsonValue]]:
    items = result(await base.call("listDirectory", {"path": path}))["items"]
    assert isinstance(items, list)
    return [item for item in items if isinstance(item, dict)]


async def test_text_is_written_appended_edited_and_read_back(
    base: OpenBaseSkill, workspace: Path
) -> None:
    path = "new/notes.txt"
    written = await base.call("writeTextFile", {"path": path, "text": "one\ntwo\n"})
    assert result(written) == {"path": path, "text": "one\ntwo\n"}
    assert not (await base.call("appendTextFile", {"path": path, "text": "three\n"})).is_error
    edited = await base.call("editTextFile", {"path": path, "oldText": "two", "newText": "2"})
    assert result(edited) == {"path": path, "oldText": "two", "newText": "2"}

    read = result(await base.call("readTextFile", {"path": path}))
    assert read == {"path": path, "content": "one\n2\nthree\n", "from": 0, "to": 3}
    assert _names(workspace / "new") == ["notes.txt"]


async def test_some_lines_are_read(base: OpenBaseSkill, workspace: Path) -> None:
    (workspace / "x").write_text("a\nb\nc\nd")

    middle = result(await base.call("readTextFile", {"path": "x", "from": 1, "to": 3}))
    rest = result(await base.call("readTextFile", {"path": "x", "from": 3, "to": None}))
    beyond = result(await base.call("readTextFile", {"path": "x", "from": 9}))

    assert (middle["content"], middle["from"], middle["to"]) == ("b\nc\n", 1, 3)
    assert (rest["content"], rest["to"]) == ("d", 4)
    assert beyond["content"] == ""


async def test_a_long_file_is_cut_at_a_line_and_can_be_read_on_from_there(
    base: OpenBaseSkill, workspace: Path
) -> None:
    lines = [f"{number:09}\n" for number in range(MAX_READ_CHARS // 10 + 5)]
    (workspace / "x").write_text("".join(lines))

    first = result(await base.call("readTextFile", {"path": "x"}))
    assert "To read on, ask from" in str(first["note"])
    rest = result(await base.call("readTextFile", {"path": "x", "from": first["to"]}))

    assert f"{first['content']}{rest['content']}" == "".join(lines)
    assert "note" not in rest


async def test_reading_on_to_a_line_far_down_can_be_stopped(
    base: OpenBaseSkill, workspace: Path
) -> None:
    with (workspace / "x").open("w") as file:
        file.writelines("line\n" for _ in range(2_000_000))
    with anyio.move_on_after(0.05) as scope:
        await base.call("readTextFile", {"path": "x", "from": 1_999_999})
    assert scope.cancelled_caught


async def test_a_line_that_is_too_long_is_cut_within(base: OpenBaseSkill, workspace: Path) -> None:
    (workspace / "x").write_text("a\n" + "y" * (MAX_READ_CHARS * 2) + "\nend\n")

    cut = result(await base.call("readTextFile", {"path": "x", "from": 1}))
    end = result(await base.call("readTextFile", {"path": "x", "from": cut["to"]}))

    assert cut["content"] == "y" * MAX_READ_CHARS
    assert "Line 1 is longer" in str(cut["note"])
    assert end["content"] == "end\n"


async def test_replacement_is_literal_and_only_of_the_first_place(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "x").write_text("a.c $1 abc $1")
    args: dict[str, JsonValue] = {"path": "x", "oldText": "$1", "newText": r"\g<0>$&\1$$"}
    assert not (await base.call("editTextFile", args)).is_error
    assert (workspace / "x").read_text() == r"a.c \g<0>$&\1$$ abc $1"


async def test_editing_matches_either_line_end_and_keeps_that_of_the_file(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "x").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    args: dict[str, JsonValue] = {"path": "x", "oldText": "one\ntwo\n", "newText": "1\n2\n"}
    assert not (await base.call("editTextFile", args)).is_error
    assert (workspace / "x").read_bytes() == b"1\r\n2\r\nthree\r\n"


async def test_editing_a_file_of_mixed_line_ends_keeps_those_of_the_place(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "x").write_bytes(b"one\ntwo\r\nthree\r\n")
    for old, new in (("one\n", "1\n1\n"), ("two\n", "2\n2\n")):
        args: dict[str, JsonValue] = {"path": "x", "oldText": old, "newText": new}
        assert not (await base.call("editTextFile", args)).is_error
    assert (workspace / "x").read_bytes() == b"1\n1\n2\r\n2\r\nthree\r\n"


async def test_text_that_is_not_there_is_told_and_changes_nothing(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "x").write_text("abc")
    args: dict[str, JsonValue] = {"path": "x", "oldText": "a.c", "newText": "no"}
    told = failure(await base.call("editTextFile", args))
    assert told["message"] == "Could not find exact match for oldText in file x"
    assert (workspace / "x").read_text() == "abc"


async def test_writing_keeps_the_mode_and_leaves_nothing_beside(
    base: OpenBaseSkill, workspace: Path
) -> None:
    script = workspace / "run.sh"
    script.write_text("old")
    script.chmod(0o750)
    await base.call("writeTextFile", {"path": "run.sh", "text": "new"})
    assert (script.read_text(), stat.S_IMODE(script.stat().st_mode)) == ("new", 0o750)
    assert _names(workspace) == ["run.sh"]


async def test_a_write_protected_file_is_refused(base: OpenBaseSkill, workspace: Path) -> None:
    (workspace / "x").write_text("old")
    (workspace / "x").chmod(0o444)
    for tool in ("writeTextFile", "appendTextFile"):
        told = failure(await base.call(tool, {"path": "x", "text": "new"}))
        assert told["message"] == "File x is not writable."
    assert (workspace / "x").read_text() == "old"


@pytest.mark.parametrize(
    "tool", ["readTextFile", "appendTextFile", "editTextFile", "deleteFile", "readPdfFile"]
)
async def test_a_missing_file_is_told_as_missing(base: OpenBaseSkill, tool: str) -> None:
    args: dict[str, JsonValue] = {"path": "nowhere.txt"}
    args |= {"text": "x"} if tool == "appendTextFile" else {}
    args |= {"oldText": "x", "newText": "y"} if tool == "editTextFile" else {}
    told = failure(await base.call(tool, args))
    assert told == {"error": "NotFound", "message": "File nowhere.txt does not exist."}


async def test_what_is_no_text_is_not_read_as_text(base: OpenBaseSkill, workspace: Path) -> None:
    (workspace / "binary").write_bytes(b"\x7fELF\x00\x00")
    (workspace / "latin").write_bytes(b"caf\xe9")
    assert failure(await base.call("readTextFile", {"path": "binary"}))["error"] == "NotText"
    assert result(await base.call("readTextFile", {"path": "latin"}))["content"] == "caf�"
    args: dict[str, JsonValue] = {"path": "latin", "oldText": "caf", "newText": "x"}
    assert failure(await base.call("editTextFile", args))["error"] == "NotText"


async def test_half_a_character_is_refused_and_never_stored(
    base: OpenBaseSkill, workspace: Path
) -> None:
    told = await base.call("writeTextFile", {"path": "x", "text": "\ud800"})
    assert failure(told)["error"] == "NotText"
    odd = await base.call("readTextFile", {"path": "\udcff\ud800"})
    json.dumps(failure(odd), ensure_ascii=False).encode()
    (workspace / os.fsdecode(b"caf\xe9")).mkdir()
    listed = await base.call("listDirectory", {"path": "."})
    json.dumps(result(listed), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("readTextFile", {}),
        ("readTextFile", {"path": 7}),
        ("readTextFile", {"path": "x", "from": "1"}),
        ("readTextFile", {"path": "x", "from": -1}),
        ("readTextFile", {"path": "x", "lines": 3}),
        ("writeTextFile", {"path": "x", "text": ["a"]}),
        ("writeTextFile", {"path": "x"}),
        ("exec", {"command": "touch", "args": "x"}),
        ("exec", {"command": "touch", "args": ["x"], "timeout": 600_001}),
        ("exec", {"command": "touch", "args": ["x"], "timeout": True}),
        ("exec", {"command": "touch", "args": ["x"], "stdout": "yes"}),
        ("todo", {"completedTodos": ["0"]}),
    ],
)
async def test_arguments_of_the_wrong_type_are_told_and_nothing_is_done(
    base: OpenBaseSkill, workspace: Path, tool: str, args: dict[str, JsonValue]
) -> None:
    assert failure(await base.call(tool, args))["error"] == "InvalidArguments"
    assert _names(workspace) == []


async def test_two_edits_at_once_lose_nothing(base: OpenBaseSkill, workspace: Path) -> None:
    names = [f"<{number}>" for number in range(20)]
    (workspace / "x").write_text("".join(names))

    async def edit(name: str) -> None:
        await base.call("editTextFile", {"path": "x", "oldText": name, "newText": "."})

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(edit, name)
    assert (workspace / "x").read_text() == "." * 20


async def test_edits_of_parallel_runs_in_the_same_workspace_lose_nothing(
    workspace: Path,
) -> None:
    names = [f"<{number}>" for number in range(100)]
    (workspace / "x").write_text("".join(names))
    runs = [OpenBaseSkill(context_for(workspace), BaseSkill()) for _ in range(4)]

    async def edit(base: OpenBaseSkill, name: str) -> None:
        await base.call("editTextFile", {"path": "x", "oldText": name, "newText": "."})

    async with anyio.create_task_group() as group:
        for number, name in enumerate(names):
            group.start_soon(edit, runs[number % 4], name)
    for base in runs:
        base.close()
    assert (workspace / "x").read_text() == "." * 100


async def test_directories_are_made_listed_moved_and_deleted(
    base: OpenBaseSkill, workspace: Path
) -> None:
    assert not (await base.call("createDirectory", {"path": "a/b"})).is_error
    assert failure(await base.call("createDirectory", {"path": "a"}))["error"] == "AlreadyExists"
    (workspace / "a" / "two.txt").write_text("22")
    (workspace / "a" / "one.txt").symlink_to("two.txt")
    items = await _items(base, "a")
    assert [(item["name"], item["type"]) for item in items] == [
        ("b", "directory"),
        ("one.txt", "symlink"),
        ("two.txt", "file"),
    ]
    assert items[2]["size"] == 2
    assert items[2]["path"] == "a/two.txt"

    args: dict[str, JsonValue] = {"source": "a/two.txt", "destination": "c/d/2.txt"}
    assert not (await base.call("moveFile", args)).is_error
    assert (workspace / "c" / "d" / "2.txt").read_text() == "22"

    assert failure(await base.call("deleteDirectory", {"path": "c"}))["error"] == "NotEmpty"
    assert not (await base.call("deleteDirectory", {"path": "a/b"})).is_error
    assert not (await base.call("deleteDirectory", {"path": "c", "recursive": True})).is_error
    assert _names(workspace) == ["a"]


async def test_moving_overwrites_nothing(base: OpenBaseSkill, workspace: Path) -> None:
    (workspace / "x").write_text("x")
    (workspace / "y").write_text("y")
    told = failure(await base.call("moveFile", {"source": "x", "destination": "y"}))
    assert told["error"] == "AlreadyExists"
    assert (workspace / "y").read_text() == "y"


async def test_the_workspace_itself_stays(base: OpenBaseSkill, workspace: Path) -> None:
    for tool, args in (
        ("deleteDirectory", {"path": ".", "recursive": True}),
        ("moveFile", {"source": ".", "destination": "x"}),
        ("writeTextFile", {"path": ".", "text": "x"}),
    ):
        assert (await base.call(tool, args)).is_error
    assert workspace.is_dir()


async def test_a_full_directory_is_cut_and_says_so(base: OpenBaseSkill, workspace: Path) -> None:
    for number in range(1_005):
        (workspace / f"{number:05}").touch()
    listed = result(await base.call("listDirectory", {"path": "."}))
    assert listed["note"] == "Only the first 1,000 of 1,005 entries are shown."
    assert len(await _items(base, ".")) == 1_000


async def test_file_info_tells_what_is_there_and_that_nothing_is(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "a.json").write_text("{}" * 1_000)
    info = result(await base.call("getFileInfo", {"path": "a.json"}))
    expected = {
        "exists": True,
        "name": "a.json",
        "extension": ".json",
        "type": "file",
        "mimeType": "application/json",
        "size": 2_000,
        "sizeFormatted": "2.0 KB",
        "directory": str(workspace),
        "absolutePath": str(workspace / "a.json"),
        "permissions": {"readable": True, "writable": True, "executable": False},
    }
    assert {key: info[key] for key in expected} == expected
    assert result(await base.call("getFileInfo", {"path": "b"}))["exists"] is False


async def test_pictures_and_documents_come_as_inline_parts(
    base: OpenBaseSkill, workspace: Path
) -> None:
    (workspace / "pixel.dat").write_bytes(base64.b64decode(PIXEL))
    (workspace / "paper.pdf").write_bytes(b"%PDF-1.7 ...")
    (workspace / "fake.png").write_text("not a picture")

    image = await base.call("readImageFile", {"path": "pixel.dat"})
    document = await base.call("readPdfFile", {"path": "paper.pdf"})

    assert image.parts == (ImageInlinePart(encoded_data=PIXEL, mime_type="image/gif"),)
    assert isinstance(document.parts[0], FileInlinePart)
    assert document.parts[0].mime_type == "application/pdf"
    assert failure(await base.call("readImageFile", {"path": "fake.png"}))["error"] == "WrongType"


async def test_a_picture_that_is_too_large_is_refused(base: OpenBaseSkill, workspace: Path) -> None:
    with (workspace / "huge.png").open("wb") as file:
        file.truncate(15_000_001)
    assert failure(await base.call("readImageFile", {"path": "huge.png"}))["error"] == "TooLarge"


async def test_todos_are_kept_per_run_and_hold_up_completion(tmp_path: Path) -> None:
    before = (Todo(0, "plan", completed=True), Todo(1, "write", completed=False))
    one = OpenBaseSkill(context_for(tmp_path, todos=before), BaseSkill())
    other = OpenBaseSkill(context_for(tmp_path), BaseSkill())

    write: JsonValue = {"id": 1, "title": "write", "completed": False}
    assert result(await one.call("attemptCompletion", {})) == {"remainingTodos": [write]}
    assert result(await other.call("attemptCompletion", {})) == {}

    added = await one.call("todo", {"newTodos": ["test"], "completedTodos": [1, 2]})
    assert result(added)["todos"] == [
        {"id": 0, "title": "plan", "completed": True},
        {"id": 1, "title": "write", "completed": True},
        {"id": 2, "title": "test", "completed": True},
    ]
    assert result(await one.call("attemptCompletion", {})) == {}
    assert failure(await one.call("todo", {"completedTodos": [9]}))["error"] == "NotFound"
    assert result(await one.call("clearTodo", {})) == {"todos": []}
    assert result(await other.call("todo", {})) == {"todos": []}
    for opened in (one, other):
        opened.close()


async def test_health_check_answers(base: OpenBaseSkill, workspace: Path) -> None:
    told = result(await base.call("healthCheck", {}))
    assert told["status"] == "ok"
    assert told["workspace"] == str(workspace)


def test_pick_omit_and_approval_shape_what_is_offered(tmp_path: Path) -> None:
    settings = BaseSkill(
        pick=("think", "todo", "exec", "readTextFile"),
        omit=("exec",),
        require_approval=("todo",),
    )
    opened = OpenBaseSkill(context_for(tmp_path), settings)
    offered = {spec.name: (spec.gated, spec.repeatable) for spec in opened.specs()}
    opened.close()
    assert offered == {"todo": (True, False), "readTextFile": (False, True)}


def test_what_only_reads_is_repeatable_and_nothing_else(base: OpenBaseSkill) -> None:
    repeatable = {spec.name for spec in base.specs() if spec.repeatable}
    assert repeatable == {
        "readTextFile",
        "readImageFile",
        "readPdfFile",
        "listDirectory",
        "getFileInfo",
        "healthCheck",
    }
    assert {spec.name for spec in base.specs()} == NAMES


def test_schemas_are_plain_objects(base: OpenBaseSkill) -> None:
    for spec in base.specs():
        written = json.dumps(spec.input_schema)
        assert spec.input_schema["type"] == "object"
        assert not any(word in written for word in ("$defs", "$ref", "anyOf", "title"))


def test_a_workspace_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used: No such file"):
        OpenBaseSkill(context_for(tmp_path / "nowhere"), BaseSkill())
