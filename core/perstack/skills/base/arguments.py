"""What each base tool takes, as the model writes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter
from pydantic.alias_generators import to_camel

MAX_EXEC_MS: Final = 600_000

FilePath = Annotated[str, Field(description="A path below the workspace.")]


class Arguments(BaseModel):
    """Arguments are taken as they are: no text becomes a number, and nothing unknown is ignored."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        defer_build=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
    )

    @classmethod
    def take(cls, args: Mapping[str, JsonValue]) -> Self:
        """Check what a model wrote; null means left out, as many models write it.

        Raises:
            ValidationError: something is missing, of the wrong type, or unknown.
        """
        return cls.model_validate({key: value for key, value in args.items() if value is not None})


class NoArguments(Arguments):
    """Nothing."""


class PathArguments(Arguments):
    """A path."""

    path: FilePath


class TodoArguments(Arguments):
    """Changes to the todo list."""

    new_todos: Annotated[list[str], Field(description="Titles of todos to add.")] = []
    completed_todos: Annotated[list[int], Field(description="Ids of todos that are done.")] = []


class ReadArguments(PathArguments):
    """Which lines to read."""

    from_: Annotated[
        int, Field(alias="from", ge=0, description="The first line to read, counted from 0.")
    ] = 0
    to: Annotated[
        int | None, Field(ge=0, description="The line to stop before; the end if left out.")
    ] = None


class TextArguments(PathArguments):
    """Text for a file."""

    text: str


class EditArguments(PathArguments):
    """A replacement."""

    old_text: Annotated[str, Field(min_length=1, description="The exact text to replace.")]
    new_text: Annotated[str, Field(description="What to put there, taken literally.")]


class DeleteDirectoryArguments(PathArguments):
    """Which directory to delete."""

    recursive: Annotated[bool, Field(description="Delete what is in it, too.")] = False


class MoveArguments(Arguments):
    """From where to where."""

    source: FilePath
    destination: FilePath


class ExecArguments(Arguments):
    """A command."""

    command: Annotated[str, Field(min_length=1, description="The program; no shell is used.")]
    args: Annotated[list[str], Field(description="Its arguments.")] = []
    env: Annotated[dict[str, str], Field(description="Variables to set for it.")] = {}
    cwd: Annotated[str, Field(description="The directory to run it in, below the workspace.")] = "."
    stdout: Annotated[bool, Field(description="Return its standard output.")] = True
    stderr: Annotated[bool, Field(description="Return its standard error.")] = True
    timeout: Annotated[
        int, Field(gt=0, le=MAX_EXEC_MS, description="When to end it, in milliseconds.")
    ] = 60_000


_OBJECT: Final[TypeAdapter[dict[str, JsonValue]]] = TypeAdapter(dict[str, JsonValue])


@cache
def schema_of(arguments: type[Arguments]) -> dict[str, JsonValue]:
    """Return the JSON Schema of `arguments`, without titles and the like."""
    schema = _OBJECT.validate_python(arguments.model_json_schema(by_alias=True))
    schema.pop("description", None)
    schema.pop("title", None)
    properties = schema.get("properties")
    if isinstance(properties, dict):
        schema["properties"] = {name: _plain(each) for name, each in properties.items()}
    return schema


def _plain(field: JsonValue) -> JsonValue:
    """Say "may be left out" by leaving it out of `required` only, and drop generated titles."""
    if not isinstance(field, dict):
        return field
    kept = {
        key: value
        for key, value in field.items()
        if key not in ("title", "anyOf") and not (key == "default" and value is None)
    }
    options = field.get("anyOf")
    for option in options if isinstance(options, list) else []:
        if isinstance(option, dict) and option != {"type": "null"}:
            kept |= option
    return kept
