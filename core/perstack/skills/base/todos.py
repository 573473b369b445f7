"""The todo list of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from pydantic import JsonValue

from perstack.ports.skills import Todo
from perstack.skills.base.arguments import NoArguments, TodoArguments
from perstack.skills.base.failure import ToolFailure

Json = dict[str, JsonValue]


class TodoList:
    """What an Expert wants to do. Ids count from 0 and are not used again until all is cleared."""

    def __init__(self, todos: Sequence[Todo] = ()) -> None:
        self._todos = list(todos)

    def change(self, args: TodoArguments) -> Json:
        """Add and complete; return the whole list."""
        known = {todo.id for todo in self._todos}
        next_id = max(known, default=-1) + 1
        added = [
            Todo(next_id + offset, title, completed=False)
            for offset, title in enumerate(args.new_todos)
        ]
        done = set(args.completed_todos)
        if missing := done - known - {todo.id for todo in added}:
            listed = ", ".join(str(number) for number in sorted(missing))
            raise ToolFailure("NotFound", f"There is no todo with id {listed}.")
        self._todos = [
            replace(todo, completed=todo.completed or todo.id in done)
            for todo in [*self._todos, *added]
        ]
        return {"todos": _listed(self._todos)}

    def clear(self, _args: NoArguments) -> Json:
        """Forget all."""
        self._todos = []
        return {"todos": []}

    def attempt_completion(self, _args: NoArguments) -> Json:
        """Return the todos that keep the run from being complete, nothing if none does."""
        remaining = [todo for todo in self._todos if not todo.completed]
        return {"remainingTodos": _listed(remaining)} if remaining else {}


def _listed(todos: Sequence[Todo]) -> list[JsonValue]:
    return [asdict(todo) for todo in todos]
