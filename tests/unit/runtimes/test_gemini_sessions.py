"""What each answer used, as the Gemini CLI's own record of a session tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.usage import NO_USAGE, Usage
from perstack.ports.programs import Began, Finished, Report, Turn
from perstack.runtimes.gemini_records import GeminiReader
from perstack.runtimes.gemini_sessions import Counting, Ledger, Used, own_folder, session_file

SESSION: Final = "a30a3b14-5071-44e5-b03a-7b73d8f08cf2"
SINCE: Final = "2026-11-22T08:41:10.500Z"
BEFORE: Final = "2026-11-22T08:41:10.499Z"
AFTER: Final = "2026-11-22T08:41:10.705Z"
CALL: Final = ToolCallPart(tool_call_id=ToolCallId("a"), tool_name="t", args={})


def answer(id_: str, tokens: int, at: str = AFTER, **more: Any) -> dict[str, Any]:
    told = {"input": tokens, "output": 1, "cached": 0, "thoughts": 2, "tool": 0}
    used = {**told, "total": tokens + 3}
    return {"id": id_, "type": "gemini", "timestamp": at, "tokens": used, "model": "m", **more}


def keep(folder: Path, *records: Any, session: str = SESSION) -> Path:
    """Write or go on with the record of a session."""
    chats = folder / "tmp" / "work" / "chats"
    chats.mkdir(parents=True, exist_ok=True)
    path = chats / f"session-2026-11-22T08-41-{session[:8]}.jsonl"
    first = not path.exists()
    with path.open("a") as file:
        for record in ({"sessionId": session}, *records) if first else records:
            file.write(record if isinstance(record, str) else json.dumps(record) + "\n")
    return path


def ledger(folder: Path | None) -> Ledger:
    made = Ledger(folder)
    made.begin(SESSION, SINCE)
    return made


def used(tokens: int) -> Used:
    return Used(
        Usage(input_tokens=tokens, output_tokens=3, reasoning_tokens=2, total_tokens=tokens + 3),
        "m",
    )


def test_each_answer_is_told_once_in_order_as_it_is_written(tmp_path: Path) -> None:
    told = ledger(tmp_path)
    assert told.next(is_last=False) == Used()

    keep(tmp_path, {"id": "u", "type": "user"}, answer("1", 10), answer("2", 20))
    assert told.next(is_last=False) == used(10)
    keep(tmp_path, answer("2", 20, toolCalls=[]), answer("3", 30))
    assert told.next(is_last=False) == used(20)
    assert told.next(is_last=False) == used(30)
    assert told.next(is_last=True) == Used()


def test_the_last_turn_takes_all_that_is_left(tmp_path: Path) -> None:
    keep(tmp_path, answer("1", 10), answer("2", 20))

    assert ledger(tmp_path).next(is_last=True).usage.input_tokens == 30


def test_answers_of_before_and_without_tokens_are_not_counted(tmp_path: Path) -> None:
    uncounted = {"id": "2", "type": "gemini", "timestamp": AFTER, "content": "hm"}

    keep(tmp_path, answer("1", 10, BEFORE), uncounted, answer("3", 30))

    assert ledger(tmp_path).next(is_last=True) == used(30)


def test_half_a_record_waits_for_its_rest(tmp_path: Path) -> None:
    told = ledger(tmp_path)
    whole = json.dumps(answer("1", 10)) + "\n"
    keep(tmp_path, whole[:40])
    assert told.next(is_last=True) == Used()

    keep(tmp_path, whole[40:])
    assert told.next(is_last=True) == used(10)


def test_without_a_home_or_a_record_nothing_is_counted(tmp_path: Path) -> None:
    assert own_folder({}) is None
    assert ledger(None).next(is_last=True) == Used()
    assert ledger(tmp_path / "nowhere").next(is_last=True) == Used()


def test_its_own_home_counts_before_the_users() -> None:
    env = {"HOME": "/home/ada", "GEMINI_CLI_HOME": "/elsewhere"}

    assert own_folder(env) == Path("/elsewhere/.gemini")
    assert own_folder({"HOME": "/home/ada"}) == Path("/home/ada/.gemini")


@given(st.lists(st.binary(max_size=60), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_stands_in_the_record_is_passed_over(tmp_path: Path, lines: list[bytes]) -> None:
    path = keep(tmp_path, "")
    path.write_bytes(json.dumps({"sessionId": SESSION}).encode() + b"\n" + b"\n".join(lines))

    assert session_file(tmp_path, SESSION) == path
    assert ledger(tmp_path).next(is_last=True).usage == NO_USAGE


class Told:
    """A `Hearing` that tells what it was given, and nothing more."""

    def __init__(self, *reports: Report) -> None:
        self._reports = list(reports)

    async def next(self) -> Report:
        return self._reports.pop(0)


@pytest.mark.anyio
async def test_turns_tell_what_they_used_and_the_model_that_was_chosen(tmp_path: Path) -> None:
    keep(tmp_path, answer("1", 10), answer("2", 20))
    reader = GeminiReader({})
    began = {"type": "init", "session_id": SESSION, "model": "auto", "timestamp": SINCE}
    (first,) = reader.read(began)
    said = TextPart(text="Done.")
    heard = Counting(
        Told(first, Turn((CALL,)), Turn((said,)), Finished("")), Ledger(tmp_path), reader
    )

    found = [await heard.next() for _ in range(5)]

    assert found == [
        Began(SESSION, "auto"),
        Began(SESSION, "m"),
        Turn((CALL,), used(10).usage),
        Turn((said,), used(20).usage),
        Finished(""),
    ]


@pytest.mark.anyio
async def test_a_turn_whose_counting_is_cut_off_is_not_lost(tmp_path: Path) -> None:
    keep(tmp_path, answer("1", 10))
    reader = GeminiReader({})
    reader.since = SINCE
    heard = Counting(Told(Began(SESSION, "m"), Turn((CALL,))), Ledger(tmp_path), reader)
    await heard.next()

    with anyio.CancelScope() as cut_off:
        cut_off.cancel()
        await heard.next()

    assert await heard.next() == Turn((CALL,), used(10).usage)
