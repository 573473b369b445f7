"""The floors: the least that could be done with the same library, as programs of their own.

python -m bench.floors help
python -m bench.floors anthropic|openai URL      steps until no tool is called; delegates at once
python -m bench.floors paint                     a bare Textual app of five panes
python -m bench.floors parse FILE                each line of a log as JSON
python -m bench.floors list FOLDER               each job's record looked at once

A floor's requests are those of the run it stands beside, byte for byte up to the messages' ids:
`first.json` in its folder holds the first request that `perstack run` made (and a delegate's),
with system prompt and tools. Bodies are put together from parts that are JSON already, and the
SDK is used as thinly as it can be: one `post`, its events as plain JSON.
"""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def bare_help() -> None:
    import typer

    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    def run(expert: str, query: str) -> None:
        """Run an Expert."""

    def start(expert: str, query: str) -> None:
        """Start a session."""

    app.command()(run)
    app.command()(start)
    app(["--help"])


class Vendor(ABC):
    @abstractmethod
    def post(self, body: bytes) -> AsyncIterator[Json]: ...

    @abstractmethod
    async def ask(self, body: bytes) -> tuple[str, list[str]]:
        """Return the text and the ids of the calls."""

    @abstractmethod
    def messages(self, text: str, calls: list[str], results: list[str]) -> list[Json]:
        """Return what the step adds to the conversation."""


class Conversation:
    """A request's JSON that messages are added to."""

    def __init__(self, first: Json) -> None:
        head = {key: value for key, value in first.items() if key != "messages"}
        self._head = _encode(head)[:-1] + b',"messages":['
        self._messages = [_encode(message) for message in first["messages"]]

    def body(self) -> bytes:
        return self._head + b",".join(self._messages) + b"]}"

    def add(self, messages: list[Json]) -> bytes:
        added = [_encode(message) for message in messages]
        self._messages += added
        return b"[" + b",".join(added) + b"]\n"


async def loop(vendor: Vendor) -> None:
    """Post ready-made bodies through the SDK; append each step to a synced log."""
    first, *child = json.loads(Path("first.json").read_bytes())
    log = os.open("floor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    talk = Conversation(first)
    while True:
        text, calls = await vendor.ask(talk.body())
        if child:
            results = await _delegated(vendor, child[0], len(calls), log)
        else:
            results = [Path("notes.txt").read_text() for _ in calls]
        _append(log, talk.add(vendor.messages(text, calls, results)))
        if not calls:
            return


async def _delegated(vendor: Vendor, first: Json, number: int, log: int) -> list[str]:
    import anyio

    results = [""] * number

    async def one(place: int) -> None:
        talk = Conversation(first)
        results[place], _ = await vendor.ask(talk.body())
        _append(log, talk.add(vendor.messages(results[place], [], [])))

    async with anyio.create_task_group() as group:
        for place in range(number):
            group.start_soon(one, place)
    return results


def _append(log: int, line: bytes) -> None:
    os.write(log, line)
    os.fsync(log)


class Anthropic(Vendor):
    def __init__(self, url: str) -> None:
        import anthropic

        self._stream = anthropic.AsyncStream[object]
        self._client = anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)

    async def post(self, body: bytes) -> AsyncIterator[Json]:
        stream: Any = await self._client.post(
            "/v1/messages",
            content=body,
            cast_to=object,
            options={"headers": {"content-type": "application/json"}},
            stream=True,
            stream_cls=self._stream,
        )
        async for event in stream:
            yield event

    async def ask(self, body: bytes) -> tuple[str, list[str]]:
        text, calls = "", list[str]()
        async for event in self.post(body):
            match event:
                case {"content_block": {"type": "tool_use", "id": str(call)}}:
                    calls.append(call)
                case {"delta": {"type": "text_delta", "text": str(piece)}}:
                    text += piece
                case _:
                    pass
        return text, calls

    def messages(self, text: str, calls: list[str], results: list[str]) -> list[Json]:
        uses: list[Json] = [
            {"type": "tool_use", "id": call, "name": "t", "input": {}} for call in calls
        ]
        said: Json = {
            "role": "assistant",
            "content": [{"type": "text", "text": text or "-"}, *uses],
        }
        if not calls:
            return [said]
        content = [
            {"type": "tool_result", "tool_use_id": call, "content": result}
            for call, result in zip(calls, results, strict=True)
        ]
        return [said, {"role": "user", "content": content}]


class OpenAI(Vendor):
    def __init__(self, url: str) -> None:
        import openai

        self._stream = openai.AsyncStream[object]
        self._client = openai.AsyncOpenAI(base_url=url + "/v1", api_key="k", max_retries=0)

    async def post(self, body: bytes) -> AsyncIterator[Json]:
        stream: Any = await self._client.post(
            "/chat/completions",
            content=body,
            cast_to=object,
            options={"headers": {"content-type": "application/json"}},
            stream=True,
            stream_cls=self._stream,
        )
        async for event in stream:
            yield event

    async def ask(self, body: bytes) -> tuple[str, list[str]]:
        text, calls = "", list[str]()
        async for chunk in self.post(body):
            for choice in chunk["choices"] or ():
                text += choice["delta"].get("content") or ""
                found = choice["delta"].get("tool_calls") or ()
                calls += [call["id"] for call in found if "id" in call]
        return text, calls

    def messages(self, text: str, calls: list[str], results: list[str]) -> list[Json]:
        function = {"name": "t", "arguments": "{}"}
        said: Json = {"role": "assistant", "content": text}
        if calls:
            said["tool_calls"] = [
                {"id": call, "type": "function", "function": function} for call in calls
            ]
        return [
            said,
            *(
                {"role": "tool", "tool_call_id": call, "content": result}
                for call, result in zip(calls, results, strict=True)
            ),
        ]


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def paint() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            for number in range(5):
                yield Static(f"Delegation {number}")

    Bare().run()


def parse(path: Path) -> None:
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


def list_jobs(folder: Path) -> None:
    sorted((each / "job.json").stat().st_mtime_ns for each in folder.iterdir())


def steps(vendor: str, url: str) -> None:
    import asyncio

    asyncio.run(loop(Anthropic(url) if vendor == "anthropic" else OpenAI(url)))


if __name__ == "__main__":
    match sys.argv[1]:
        case "help":
            bare_help()
        case "paint":
            paint()
        case "parse":
            parse(Path(sys.argv[2]))
        case "list":
            list_jobs(Path(sys.argv[2]))
        case vendor:
            steps(vendor, sys.argv[2])
