"""Row A2: whatever a tool is given, it answers; what its schema takes is exactly what it takes."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.types import CallToolResult
from pydantic import JsonValue, field_validator

from perstack.serving.verbs.answering import answer
from perstack.serving.verbs.catalog import verbs
from perstack.serving.verbs.schemas import Schema, input_schema
from perstack.serving.verbs.verb import AnyVerb, Asked, Call, Nothing, Verb
from tests.fakes.mcp_door import McpDoor, door, text_of
from tests.fakes.wild_arguments import Arguments, arguments
from tests.fixtures.seed_responses.shape import misfits

SCHEMAS: Final = {name: input_schema(verb.takes) for name, verb in verbs(reviews=True).items()}
HUGE: Final = "x" * 10_000_000
MOST_TOLD: Final = 100_000


class Wild:
    """A door that is called from outside its event loop, as hypothesis wants it."""

    def __init__(self, portal: BlockingPortal, it: McpDoor, schemas: Mapping[str, Schema]) -> None:
        self._portal = portal
        self._it = it
        self._schemas = schemas
        self.known = self._made()

    def call(self, tool: str, given: Arguments) -> CallToolResult:
        """Call a tool. What it answers fits its output schema, or the SDK's client raises."""
        return self._portal.call(self._it.result, tool, given)

    def judge(self, tool: str, given: Arguments) -> None:
        """Call a tool; fail unless its answer says what its schema says of the arguments."""
        result = self.call(tool, given)
        told = json.loads(text_of(result))
        assert told.get("code") != "internal", (tool, given, told)
        present = {name: value for name, value in given.items() if value is not None}
        wrong = misfits(present, self._schemas[tool])
        if wrong:
            assert result.is_error, (tool, given, wrong, told)
        if result.is_error:
            assert told["error"], (tool, told)
            assert told["code"], (tool, told)
        if not wrong:
            assert not told.get("hint", "").startswith("it takes"), (tool, given, told)

    def _made(self) -> list[str]:
        """Make one of each kind, and return their ids."""
        agent = self._structured("agent_spawn", {"type": "coder", "name": "ada"})["agent"]["id"]
        identity = self._structured("identity_create", {"agentType": "coder"})["identity"]
        session = self._structured("session_start", {})["session"]["id"]
        self._structured("memory_store", {"key": "plan", "content": "apple"})
        task = self._structured("task_create", {"agentType": "coder"})["task"]["id"]
        return [agent, identity["agentId"], session, task, "plan", "ada", "tester", "default"]

    def _structured(self, tool: str, given: Arguments) -> dict[str, Any]:
        told = self.call(tool, given).structured_content
        assert told is not None
        return told


@contextmanager
def opened(folder: Path, *more: AnyVerb) -> Generator[Wild]:
    """Open a door with every tool and `more`, without a key for a model and without GitHub."""
    offered = {**verbs(reviews=True), **{verb.name: verb for verb in more}}
    schemas = {name: input_schema(verb.takes) for name, verb in offered.items()}
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(door(folder, offered=offered)) as it,
    ):
        yield Wild(portal, it, schemas)


class Even(Asked):
    """An input that is refused although its schema takes it."""

    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


async def break_down(call: Call, asked: Asked) -> Nothing:
    raise ValueError("nobody meant this")


async def do_nothing(call: Call, asked: Asked) -> Nothing:
    return Nothing()


BROKEN: Final[AnyVerb] = Verb("broken", "Break.", Asked, Nothing, break_down)
NARROW: Final[AnyVerb] = cast("AnyVerb", Verb("narrow", "Narrow.", Even, Nothing, do_nothing))


def check_wildly(folder: Path, examples: int) -> None:
    """Call every tool with made-up arguments, some of which name something that is there."""
    with opened(folder) as wild:
        made = {name: arguments(schema, wild.known) for name, schema in SCHEMAS.items()}

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(st.data())
        def check(data: st.DataObject) -> None:
            for tool, one in made.items():
                wild.judge(tool, data.draw(one, label=tool))

        check()


def test_no_tool_breaks_and_each_takes_what_its_schema_says(tmp_path: Path) -> None:
    check_wildly(tmp_path, examples=5)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_no_tool_breaks_in_many_more_tries(tmp_path: Path) -> None:
    check_wildly(tmp_path, examples=40)


def test_the_judge_objects_to_what_breaks_and_to_what_its_schema_does_not_say(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, BROKEN, NARROW) as wild:
        wild.judge("narrow", {"number": 2})
        wild.judge("narrow", {"number": "two"})
        with pytest.raises(AssertionError, match="narrow"):
            wild.judge("narrow", {"number": 3})
        with pytest.raises(AssertionError, match="broken"):
            wild.judge("broken", {})


def test_texts_of_ten_million_characters_are_answered_shortly(tmp_path: Path) -> None:
    with opened(tmp_path) as wild:
        for tool, schema in SCHEMAS.items():
            given: Arguments = {}
            properties: Any = schema["properties"]
            for name, one in properties.items():
                if one.get("type") == "string" and "enum" not in one:
                    given[name] = HUGE
                    break
            result = wild.call(tool, given)
            told = text_of(result)
            assert len(told) < MOST_TOLD, tool
            assert json.loads(told).get("code") != "internal", (tool, told)


def nested(levels: int) -> dict[str, Any]:
    """Return an object that is so deep."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    return deep


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("\ud800", "half a character"),
        ({"\udfff": 1}, "half a character"),
        (float("nan"), "no number"),
        ({"a": float("inf")}, "no number"),
        ({"a": [0] * 200_000}, "more than 100,000 values"),
        (nested(65), "nested deeper than 64 levels"),
        (nested(900), "nested deeper than 64 levels"),
    ],
)
async def test_what_no_program_could_read_again_is_refused_by_every_tool(
    tmp_path: Path, value: JsonValue, why: str
) -> None:
    # The SDK's client sends none of this as it is, so the verbs are called without it.
    async with door(tmp_path) as it, it.backend.use() as served:
        call = Call(served, it.jobs, it.who)
        for verb in verbs(reviews=True).values():
            if verb.ready is not None:
                continue
            told = await answer(verb, call, {"metadata": value})
            assert told.is_error, verb.name
            assert why in str(told.content["error"]), verb.name


@pytest.mark.anyio
async def test_half_a_character_that_was_kept_otherwise_breaks_no_answer(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        async with it.backend.use() as served:
            memory = served.coordination.memory
            await memory.store(it.who_as_caller, "k", "c", metadata={"half": "a\ud800"})
        told = await it.call("memory_get", {"key": "k"})
    assert told["entry"]["metadata"] == {"half": "a\ufffd\ufffd\ufffd"}
