"""An Expert's todo list, as the base skill's answers give it."""

from __future__ import annotations

from typing import Final

from pydantic import ConfigDict, ValidationError

from perstack.domain.base import Model
from perstack.domain.events import ToolResult
from perstack.domain.expert import BASE_SKILL
from perstack.domain.messages import text_of
from perstack.ports.skills import Todo

_TODO_TOOLS: Final = ("todo", "clearTodo")


class _TodoItem(Model):
    model_config = ConfigDict(extra="ignore")

    id: int
    title: str
    completed: bool


class _TodoAnswer(Model):
    model_config = ConfigDict(extra="ignore")

    todos: tuple[_TodoItem, ...]


def todos_after(todos: tuple[Todo, ...], result: ToolResult) -> tuple[Todo, ...]:
    """Return the list as the base skill's answer gives it.

    An answer of another shape changes nothing.
    """
    if result.skill_name != BASE_SKILL or result.tool_name not in _TODO_TOOLS or result.is_error:
        return todos
    try:
        answer = _TodoAnswer.model_validate_json(text_of(result.result))
    except ValidationError:
        return todos
    return tuple(Todo(item.id, item.title, item.completed) for item in answer.todos)
