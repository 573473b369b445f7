"""Why a base tool did not do what it was asked; reaches the model as an error result."""

from __future__ import annotations


class ToolFailure(Exception):  # noqa: N818  an outcome, raised only to leave a tool early
    """`name` is a word for the model to tell failures apart by, `message` a sentence."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
