"""Prompts: the built-in Experts' ways of working, for the client's own model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp import MCPError
from mcp.types import (
    INVALID_PARAMS,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from perstack.config.builtin import builtin_experts
from perstack.config.limits import QUERY_LENGTH
from perstack.domain.ids import ExpertKey

TASK: Final = "task"


def list_prompts() -> ListPromptsResult:
    """Return a prompt for each of the core types."""
    return ListPromptsResult(
        prompts=[
            Prompt(
                name=expert.key,
                title=expert.name,
                description=expert.description,
                arguments=[
                    PromptArgument(name=TASK, title="Task", description="What to do", required=True)
                ],
            )
            for expert in builtin_experts().values()
        ]
    )


def get_prompt(name: str, arguments: Mapping[str, str]) -> GetPromptResult:
    """Return what makes the client's model work like that Expert.

    Raises:
        MCPError: no such prompt, an argument that it does not take, or no task.
    """
    expert = builtin_experts().get(ExpertKey(name))
    if expert is None:
        raise MCPError(INVALID_PARAMS, "there is no such prompt")
    task = arguments.get(TASK, "").strip()
    if not task or arguments.keys() - {TASK}:
        raise MCPError(INVALID_PARAMS, f"the prompt takes one argument, {TASK}")
    if len(task) > QUERY_LENGTH:
        raise MCPError(INVALID_PARAMS, f"a task may have up to {QUERY_LENGTH:,} characters")
    text = f"{expert.instruction.strip()}\n\nYour task:\n\n{task}"
    return GetPromptResult(
        description=expert.description,
        messages=[PromptMessage(role="user", content=TextContent(type="text", text=text))],
    )
