"""The 17 tools of `@perstack/base`, one by one: names, inputs, outputs and errors as published.

What they do beyond that is in tests/integration/test_skills_*.py.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from perstack.domain.expert import BaseSkill
from perstack.domain.messages import FileInlinePart, ImageInlinePart
from perstack.ports.skills import ToolOutcome
from perstack.skills.base.skill import OpenBaseSkill
from tests.unit.skills.support import context_for, failure, result

pytestmark = pytest.mark.anyio

PATH: Final = {"path": "string"}
TEXT: Final = PATH | {"text": "string"}
# What each tool takes: its keys with their types; those that must be given.
INPUTS: Final[dict[str, tuple[dict[str, str], set[str]]]] = {
    "attemptCompletion": ({}, set()),
    "todo": ({"newTodos": "array", "completedTodos": "array"}, set()),
    "clearTodo": ({}, set()),
    "healthCheck": ({}, set()),
    # Upstream all but `timeout` must be given; every call that is right there is right here.
    "exec": (
        {
            "command": "string",
            "args": "array",
            "env": "object",
            "cwd": "string",
            "stdout": "boolean",
            "stderr": "boolean",
            "timeout": "integer",
        },
        {"command"},
    ),
    "readTextFile": (PATH | {"from": "integer", "to": "integer"}, {"path"}),
    "writeTextFile": (TEXT, {"path", "text"}),
    "appendTextFile": (TEXT, {"path", "text"}),
    "editTextFile": (
        PATH | {"newText": "string", "oldText": "string"},
        {"path", "newText", "oldText"},
    ),
    "readImageFile": (PATH, {"path"}),
    "readPdfFile": (PATH, {"path"}),
    "listDirectory": (PATH, {"path"}),
    "createDirectory": (PATH, {"path"}),
    "deleteDirectory": (PATH | {"recursive": "boolean"}, {"path"}),
    "deleteFile": (PATH, {"path"}),
    "moveFile": ({"source": "string", "destination": "string"}, {"source", "destination"}),
    "getFileInfo": (PATH, {"path"}),
}
Json = dict[str, JsonValue]


@pytest.fixture
def base(tmp_path: Path) -> Generator[OpenBaseSkill]:
    opened = OpenBaseSkill(context_for(tmp_path), BaseSkill())
    yield opened
    opened.close()


async def _call(base: OpenBaseSkill, name: str, **args: JsonValue) -> ToolOutcome:
    return await base.call(name, args)


async def _result(base: OpenBaseSkill, name: str, **args: JsonValue) -> Json:
    return result(await base.call(name, args))


async def _message(base: OpenBaseSkill, name: str, **args: JsonValue) -> str:
    told = failure(await base.call(name, args))
    assert set(told) == {"error", "message"}
    return str(told["message"])


def test_the_17_tools_have_their_published_names(base: OpenBaseSkill) -> None:
    assert sorted(spec.name for spec in base.specs()) == sorted(INPUTS)
    assert len(INPUTS) == 17
    assert {spec.skill_name for spec in base.specs()} == {"@perstack/base"}


@pytest.mark.parametrize("name", INPUTS)
async def test_each_tool_takes_its_published_input_and_nothing_else(
    base: OpenBaseSkill, name: str
) -> None:
    properties, required = INPUTS[name]
    (schema,) = (spec.input_schema for spec in base.specs() if spec.name == name)
    told = schema["properties"]
    assert isinstance(told, dict)
    assert {key: field["type"] for key, field in told.items() if isinstance(field, dict)} == (
        properties
    )
    assert set(_words(schema.get("required"))) == required
    assert schema["additionalProperties"] is False
    for key in required:
        given: Json = dict.fromkeys(required - {key}, "x")
        assert (await _refused(base, name, **given)).startswith(f"{key}: ")
    assert (await _refused(base, name, unknown=1)).count("unknown: ") == 1


def _words(value: JsonValue) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


async def _refused(base: OpenBaseSkill, name: str, **args: JsonValue) -> str:
    told = failure(await base.call(name, args))
    assert told["error"] == "InvalidArguments"
    return str(told["message"])


def test_think_is_gone_and_tolerated_where_it_is_named(tmp_path: Path) -> None:
    opened = OpenBaseSkill(context_for(tmp_path), BaseSkill(pick=("think", "todo")))
    assert [spec.name for spec in opened.specs()] == ["todo"]
    opened.close()


async def test_tool_attempt_completion(base: OpenBaseSkill) -> None:
    assert await _result(base, "attemptCompletion") == {}
    await _call(base, "todo", newTodos=["plan"])
    open_todo: JsonValue = {"id": 0, "title": "plan", "completed": False}
    assert await _result(base, "attemptCompletion") == {"remainingTodos": [open_todo]}


async def test_tool_todo(base: OpenBaseSkill) -> None:
    told = await _result(base, "todo", newTodos=["plan", "write"])
    assert told == {
        "todos": [
            {"id": 0, "title": "plan", "completed": False},
            {"id": 1, "title": "write", "completed": False},
        ]
    }
    done = await _result(base, "todo", completedTodos=[0])
    assert isinstance(done["todos"], list)
    assert done["todos"][0] == {"id": 0, "title": "plan", "completed": True}


async def test_tool_clear_todo(base: OpenBaseSkill) -> None:
    await _call(base, "todo", newTodos=["plan"])
    assert await _result(base, "clearTodo") == {"todos": []}


async def test_tool_health_check(base: OpenBaseSkill, tmp_path: Path) -> None:
    told = await _result(base, "healthCheck")
    assert (told["status"], told["workspace"], told["pid"]) == ("ok", str(tmp_path), os.getpid())
    assert re.fullmatch(r"\d+s", str(told["uptime"]))
    memory = told["memory"]
    assert isinstance(memory, dict)
    assert set(memory) == {"heapUsed", "heapTotal"}
    assert all(re.fullmatch(r"\d+MB", str(size)) for size in memory.values())


async def test_tool_exec(base: OpenBaseSkill) -> None:
    every: Json = {"env": {"MINE": "yes"}, "cwd": ".", "stdout": True, "stderr": True}
    told = await _result(base, "exec", command="sh", args=["-c", "echo $MINE"], **every)
    assert told == {"output": "yes\n"}
    silent = await _result(base, "exec", command="true", args=[], **every)
    assert silent == {"output": "Command executed successfully, but produced no output."}
    failed = failure(await _call(base, "exec", command="sh", args=["-c", "echo no >&2; exit 3"]))
    assert failed == {
        "error": "Command 'sh' ended with exit code 3.",
        "stdout": "",
        "stderr": "no\n",
    }
    late = failure(await _call(base, "exec", command="sleep", args=["600"], timeout=50))
    assert late == {"error": "Command timed out after 50ms.", "stdout": "", "stderr": ""}
    away = await _message(base, "exec", command="true", cwd="..")
    assert away == "Access denied - path outside the workspace"


async def test_tool_exec_says_how_much_of_its_output_was_cut(base: OpenBaseSkill) -> None:
    told = await _result(base, "exec", command="sh", args=["-c", "seq 1 200000"])
    found = re.search(r"… ([\d,]+) bytes left out …", str(told["output"]))
    assert found is not None
    shown = len(str(told["output"]).encode()) - len(found.group().encode()) - 1
    assert shown + int(found.group(1).replace(",", "")) == len(
        "".join(f"{number}\n" for number in range(1, 200_001))
    )


async def test_tool_read_text_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0\n1\n2\n3\n")
    told = await _result(base, "readTextFile", path="a", **{"from": 1}, to=3)
    assert told == {"path": "a", "content": "1\n2\n", "from": 1, "to": 3}
    assert await _message(base, "readTextFile", path="b") == "File b does not exist."


async def test_tool_read_text_file_says_where_a_huge_file_was_cut(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    (tmp_path / "huge").write_text("x" * 99 + "\n")
    with (tmp_path / "huge").open("a") as file:
        file.writelines("x" * 99 + "\n" for _ in range(500_000))
    told = await _result(base, "readTextFile", path="huge")
    assert len(str(told["content"])) == 200_000
    assert told["note"] == "Cut at 200,000 characters. To read on, ask from 2000."


async def test_tool_write_text_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    assert await _result(base, "writeTextFile", path="a", text="one") == {
        "path": "a",
        "text": "one",
    }
    assert await _result(base, "writeTextFile", path="a", text="") == {"path": "a", "text": ""}
    assert (tmp_path / "a").read_bytes() == b""
    (tmp_path / "a").chmod(0o444)
    assert "not writable" in await _message(base, "writeTextFile", path="a", text="x")


async def test_tool_append_text_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    told = await _result(base, "appendTextFile", path="a", text=" two")
    assert told == {"path": "a", "text": " two"}
    assert (tmp_path / "a").read_text() == "one two"
    assert await _message(base, "appendTextFile", path="b", text="x") == "File b does not exist."


async def test_tool_edit_text_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\none\r\n")
    told = await _result(base, "editTextFile", path="a", oldText="one\n", newText="$& $1\n")
    assert told == {"path": "a", "oldText": "one\n", "newText": "$& $1\n"}
    assert (tmp_path / "a").read_bytes() == b"$& $1\r\none\r\n"
    missing = await _message(base, "editTextFile", path="a", oldText="two", newText="")
    assert missing.startswith("Could not find exact match for oldText in file a")


async def test_tool_read_image_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    magic = {
        "image/png": b"\x89PNG\r\n\x1a\n",
        "image/jpeg": b"\xff\xd8\xff\xe0",
        "image/gif": b"GIF89a",
        "image/webp": b"RIFF\0\0\0\0WEBP",
    }
    for mime_type, data in magic.items():
        (tmp_path / "a").write_bytes(data)
        outcome = await _call(base, "readImageFile", path="a")
        encoded = base64.b64encode(data).decode()
        assert outcome.parts == (ImageInlinePart(encoded_data=encoded, mime_type=mime_type),)
    with (tmp_path / "a").open("ab") as file:
        file.truncate(15_000_001)
    assert "larger than" in await _message(base, "readImageFile", path="a")


async def test_tool_read_pdf_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    outcome = await _call(base, "readPdfFile", path="a.pdf")
    encoded = base64.b64encode(b"%PDF-1.7").decode()
    assert outcome.parts == (FileInlinePart(encoded_data=encoded, mime_type="application/pdf"),)
    with (tmp_path / "a.pdf").open("ab") as file:
        file.truncate(30_000_001)
    assert "larger than" in await _message(base, "readPdfFile", path="a.pdf")


async def test_tool_list_directory(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("four")
    (tmp_path / "perstack").mkdir()
    told = await _result(base, "listDirectory", path=".")
    assert isinstance(told["items"], list)
    assert told["path"] == "."
    first, second = told["items"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert set(first) == {"name", "path", "type", "size", "modified"}
    assert (first["name"], first["path"], first["type"], first["size"]) == ("a", "a", "file", 4)
    assert (second["name"], second["type"]) == ("b", "directory")
    assert await _message(base, "listDirectory", path="c") == "Directory c does not exist."


@pytest.mark.long
async def test_tool_list_directory_says_what_was_left_out_of_50_000_entries(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    for number in range(50_000):
        (tmp_path / f"{number:05}").touch()
    told = await _result(base, "listDirectory", path=".")
    assert isinstance(told["items"], list)
    assert len(told["items"]) == 1_000
    assert told["note"] == "Only the first 1,000 of 50,000 entries are shown."


async def test_tool_create_directory(base: OpenBaseSkill, tmp_path: Path) -> None:
    assert await _result(base, "createDirectory", path="a/b") == {"path": "a/b"}
    assert (tmp_path / "a" / "b").is_dir()
    assert await _message(base, "createDirectory", path="a") == "a already exists."


async def test_tool_delete_directory(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert "not empty" in await _message(base, "deleteDirectory", path="a")
    assert await _result(base, "deleteDirectory", path="a", recursive=True) == {"path": "a"}
    assert list(tmp_path.iterdir()) == []
    assert await _message(base, "deleteDirectory", path="a") == "Directory a does not exist."


async def test_tool_delete_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert await _result(base, "deleteFile", path="a") == {"path": "a"}
    assert not (tmp_path / "a").exists()
    assert await _message(base, "deleteFile", path="a") == "File a does not exist."
    (tmp_path / "b").mkdir()
    assert await _message(base, "deleteFile", path="b") == "b is a directory."


async def test_tool_move_file(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    told = await _result(base, "moveFile", source="a", destination="b/c")
    assert told == {"source": "a", "destination": "b/c"}
    assert (tmp_path / "b" / "c").read_text() == "a"
    (tmp_path / "a").touch()
    assert "already exists" in await _message(base, "moveFile", source="a", destination="b/c")
    missing = await _message(base, "moveFile", source="x", destination="y")
    assert missing == "File x does not exist."


async def test_tool_get_file_info(base: OpenBaseSkill, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("four")
    told = await _result(base, "getFileInfo", path="a.txt")
    assert set(told) == {
        *("exists", "path", "absolutePath", "name", "directory", "extension", "type", "mimeType"),
        *("size", "sizeFormatted", "created", "modified", "accessed", "permissions"),
    }
    assert told["permissions"] == {"readable": True, "writable": True, "executable": False}
    assert (told["exists"], told["type"], told["mimeType"]) == (True, "file", "text/plain")
    assert (told["size"], told["sizeFormatted"]) == (4, "4 B")
    assert (told["path"], told["absolutePath"]) == ("a.txt", str(tmp_path / "a.txt"))
    assert (told["name"], told["directory"], told["extension"]) == ("a.txt", str(tmp_path), ".txt")
    for key in ("created", "modified", "accessed"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(told[key]))
    nothing = await _result(base, "getFileInfo", path="b")
    assert nothing["exists"] is False
    assert set(nothing) == {"exists", "path", "absolutePath", "name", "directory", "extension"}


async def test_paths_outside_and_the_data_directory_are_denied_in_the_published_words(
    base: OpenBaseSkill, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("target")
    denied = "Access denied - perstack directory is not allowed"
    assert await _message(base, "readTextFile", path="PERSTACK/jobs") == denied
    linked = await _message(base, "writeTextFile", path="link", text="x")
    assert linked == "Operation denied: target is a symbolic link"
    assert (await _message(base, "readTextFile", path="../x")).startswith("Access denied")
