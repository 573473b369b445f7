"""A stand-in for `cursor-agent`, which no registry has: it replays Cursor's documented format.

It runs no model and no tool. What it says stands in `cursor-script.json` of the folder that it is
started in: `"talks"`, a list with an entry a talk, each a list of steps:

    {"think": "Hm."}              a thought, in pieces
    {"say": "I look."}            words of the model
    {"tool": "shell", "args": {"command": "ls"}, "result": {"success": {"stdout": "a"}}}
    {"function": "grep", "arguments": "{\\"q\\": 1}", "result": {"success": {}}}
    {"both": [TOOL, TOOL]}        two tools at once, the second of which returns first
    {"write": "note.txt", "text": "hello"}   its tool for writing, and the file
    {"wait": true}                nothing more is said
    {"fail": "words", "code": 1}  it ends like this, without a result, as documented
    {"is_error": "words"}         its result is an error
    {"raw": "words"}              a line that is no record

How it was started is added to `cursor-calls.jsonl`. A session that it was not told to know, in the
script's `"known"`, cannot be resumed. It imports nothing of ours: it is started as a program.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]
VERSION: Final = "2026.01.23-standin"
SESSION: Final = "c6b62c6f-7ead-4fd6-9922-e952131177ff"


class _Talk:
    """Says one talk the way the documentation shows it."""

    def __init__(self, session: str, *, partial: bool) -> None:
        self._session = session
        self._partial = partial
        self._said: list[str] = []
        self._unsaid = ""
        self._times = itertools.count(1_700_000_000_000)
        self._ids = itertools.count(1)

    def say(self, record: Json) -> None:
        sys.stdout.write(json.dumps({**record, "session_id": self._session}) + "\n")
        sys.stdout.flush()

    def begin(self, prompt: str, model: str) -> None:
        self.say(
            {
                "type": "system",
                "subtype": "init",
                "apiKeySource": "env",
                "cwd": str(Path.cwd()),
                "model": model,
                "permissionMode": "default",
            }
        )
        self.say({"type": "user", "message": _message("user", prompt)})

    def words(self, text: str) -> None:
        self._said.append(text)
        if not self._partial:
            self.say({"type": "assistant", "message": _message("assistant", text)})
            return
        for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
            self._assistant(piece, timestamp_ms=next(self._times))
        self._unsaid = text

    def thought(self, text: str) -> None:
        for piece in (text[:1], text[1:]):
            at = next(self._times)
            self.say({"type": "thinking", "subtype": "delta", "text": piece, "timestamp_ms": at})
        self.say({"type": "thinking", "subtype": "completed", "timestamp_ms": next(self._times)})

    def tools(self, *steps: Json) -> None:
        if self._unsaid:
            # Once more and whole, before tools are called.
            self._assistant(self._unsaid, timestamp_ms=next(self._times), model_call_id="m-1")
            self._unsaid = ""
        named = [(f"toolu_{next(self._ids)}\nfc_{next(self._ids)}", step) for step in steps]
        for id_, step in named:
            self._tool("started", id_, step)
        for id_, step in reversed(named):
            self._tool("completed", id_, step)

    def end(self, error: str | None) -> None:
        if error is None and self._partial:
            self._assistant("".join(self._said))
        self.say(
            {
                "type": "result",
                "subtype": "success" if error is None else "error",
                "duration_ms": 1234,
                "duration_api_ms": 1234,
                "is_error": error is not None,
                "result": "".join(self._said) if error is None else error,
            }
        )

    def _assistant(self, text: str, **more: object) -> None:
        self.say({"type": "assistant", "message": _message("assistant", text), **more})

    def _tool(self, subtype: str, id_: str, step: Json) -> None:
        over = {"result": step["result"]} if subtype == "completed" else {}
        if "function" in step:
            called = {"name": step["function"], "arguments": step["arguments"], **over}
            tool_call: Json = {"function": called}
        else:
            tool_call = {f"{step['tool']}ToolCall": {"args": step["args"], **over}}
        self.say({"type": "tool_call", "subtype": subtype, "call_id": id_, "tool_call": tool_call})


def _message(role: str, text: str) -> Json:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _written(step: Json) -> Json:
    text: str = step["text"]
    Path(step["write"]).write_text(text)
    args = {"path": step["write"], "fileText": text}
    done = {"path": step["write"], "linesCreated": 1, "fileSize": len(text)}
    return {"tool": "write", "args": args, "result": {"success": done}}


def _play(talk: _Talk, step: Json) -> None:
    does: dict[str, Callable[[], object]] = {
        "think": lambda: talk.thought(step["think"]),
        "say": lambda: talk.words(step["say"]),
        "tool": lambda: talk.tools(step),
        "function": lambda: talk.tools(step),
        "both": lambda: talk.tools(*step["both"]),
        "write": lambda: talk.tools(_written(step)),
        "raw": lambda: sys.stdout.write(step["raw"] + "\n"),
        "wait": signal.pause,
        "fail": lambda: _fail(step["fail"], step.get("code", 1)),
    }
    next(does[word] for word in step if word in does)()


def _fail(words: str, code: int) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
    os._exit(code)


def _after(argv: list[str], option: str) -> str | None:
    found = [word.partition("=")[2] for word in argv if word.startswith(f"{option}=")]
    return found[0] if found else None


def _earlier(file: Path) -> Iterator[str]:
    if file.exists():
        yield from file.read_text().splitlines()


def main(argv: list[str]) -> None:
    """Be `cursor-agent` once."""
    if argv == ["--version"]:
        sys.stdout.write(VERSION + "\n")
        return
    prompt = sys.stdin.read()
    calls = Path("cursor-calls.jsonl")
    number = len(list(_earlier(calls)))
    with calls.open("a") as file:
        file.write(json.dumps({"argv": argv, "prompt": prompt, "env": dict(os.environ)}) + "\n")
    script: Json = json.loads(Path("cursor-script.json").read_text())
    resumed = _after(argv, "--resume")
    if resumed is not None and resumed not in script["known"]:
        _fail("Cannot resume this chat", 1)
    steps: list[Json] = script["talks"][min(number, len(script["talks"]) - 1)]
    talk = _Talk(resumed or SESSION, partial="--stream-partial-output" in argv)
    talk.begin(prompt, _after(argv, "--model") or "Auto")
    error = None
    for step in steps:
        error = step.get("is_error", error)
        if "is_error" not in step:
            _play(talk, step)
    talk.end(error)


if __name__ == "__main__":
    main(sys.argv[1:])
