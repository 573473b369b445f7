"""The floors: the least that could be done with the same library, as programs of their own.

python -m bench.floors help
python -m bench.floors anthropic|openai URL      one request at a time until no tool is called
python -m bench.floors paint                     a bare Textual app of five panes
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any


def bare_help() -> None:
    import typer

    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command()
    def run(expert: str, query: str) -> None:
        """Run an Expert."""

    @app.command()
    def start(expert: str, query: str) -> None:
        """Start a session."""

    assert run is not start
    app(["--help"])


async def loop(vendor: str, url: str) -> None:
    """Post ready-made bodies through the SDK; append each step to a synced log."""
    ask = await _anthropic(url) if vendor == "anthropic" else await _openai(url)
    log = os.open("floor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    while True:
        step, again = await ask(Path("notes.txt"))
        os.write(log, json.dumps(step).encode() + b"\n")
        os.fsync(log)
        if not again:
            return


async def _anthropic(url: str) -> Any:
    import anthropic
    from anthropic.types import RawMessageStreamEvent

    client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "go"}]

    async def ask(file: Path) -> tuple[Any, bool]:
        body = {"model": "m", "max_tokens": 1000, "messages": messages, "stream": True}
        stream = await client.post(
            "/v1/messages",
            body=body,
            cast_to=RawMessageStreamEvent,  # pyright: ignore[reportArgumentType]
            stream=True,
            stream_cls=anthropic.AsyncStream[RawMessageStreamEvent],
        )
        blocks: list[Any] = []
        async for event in stream:
            if event.type == "content_block_start":
                blocks.append(event.content_block.model_dump(exclude_none=True))
            elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                blocks[-1]["text"] += event.delta.text
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        step: list[Any] = [{"role": "assistant", "content": blocks}]
        if calls:
            text = file.read_text()
            results = [{"type": "tool_result", "tool_use_id": c, "content": text} for c in calls]
            step.append({"role": "user", "content": results})
        messages.extend(step)
        return step, bool(calls)

    return ask


async def _openai(url: str) -> Any:
    import openai
    from openai.types.chat import ChatCompletionChunk

    client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "go"}]

    async def ask(file: Path) -> tuple[Any, bool]:
        stream = await client.post(
            "/chat/completions",
            body={"model": "m", "messages": messages, "stream": True},
            cast_to=ChatCompletionChunk,
            stream=True,
            stream_cls=openai.AsyncStream[ChatCompletionChunk],
        )
        text, calls = "", list[Any]()
        async for chunk in stream:
            for choice in chunk.choices or []:
                text += choice.delta.content or ""
                calls += [c.model_dump(exclude_none=True) for c in choice.delta.tool_calls or []]
        ids = [call["id"] for call in calls if call.get("id")]
        said = [
            {"id": i, "type": "function", "function": {"name": "t", "arguments": "{}"}} for i in ids
        ]
        step: list[Any] = [
            {"role": "assistant", "content": text, **({"tool_calls": said} if said else {})}
        ]
        step += [{"role": "tool", "tool_call_id": i, "content": file.read_text()} for i in ids]
        messages.extend(step)
        return step, bool(ids)

    return ask


def paint() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            for number in range(5):
                yield Static(f"Delegation {number}")

    Bare().run()


if __name__ == "__main__":
    match sys.argv[1]:
        case "help":
            bare_help()
        case "paint":
            paint()
        case vendor:
            asyncio.run(loop(vendor, sys.argv[2]))
