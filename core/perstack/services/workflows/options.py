"""Reading the options of a built-in workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from perstack.domain.base import Model
from perstack.errors import UsageError

M = TypeVar("M", bound=Model)


def read_options(model: type[M], workflow: str, options: Mapping[str, JsonValue]) -> M:
    """Return a workflow's options as a model.

    Raises:
        UsageError: they cannot be used.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in wrong["loc"])
        raise UsageError(f"{workflow}'s option {place}: {wrong['msg']}") from error
