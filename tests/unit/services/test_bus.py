"""The message bus: order, who is told, and subscribers that fail."""

from __future__ import annotations

import anyio
import pytest
from pydantic import JsonValue

from perstack.errors import LimitError
from perstack.integrations.slack_text import mrkdwn_of
from perstack.ports.announcements import Announcement
from perstack.services import bus as bus_module
from perstack.services.bus import Message, MessageBus, get_message_bus
from perstack.services.bus_announcements import announce_bus
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def bus() -> MessageBus:
    return MessageBus(clock=SetClock())


async def test_a_message_reaches_its_target_and_those_who_hear_all(bus: MessageBus) -> None:
    heard: list[tuple[str, str]] = []
    bus.subscribe("ana", lambda message: heard.append(("ana", message.id)))
    bus.subscribe("ben", lambda message: heard.append(("ben", message.id)))
    bus.subscribe_all(lambda message: heard.append(("all", message.id)))
    sent = await bus.send("main", "ana", "task:assign", {"task": "t1"})
    assert sent.model_dump(mode="json") == {
        "id": "msg-1",
        "from": "main",
        "to": "ana",
        "type": "task:assign",
        "payload": {"task": "t1"},
        "timestamp": NOW_MS,
    }
    assert heard == [("ana", "msg-1"), ("all", "msg-1")]


async def test_a_broadcast_reaches_everybody_the_sender_included(bus: MessageBus) -> None:
    heard: list[str] = []

    async def later(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        heard.append(f"later {message.to}")

    bus.subscribe("ana", lambda _: heard.append("ana"))
    bus.subscribe("ben", later)
    await bus.broadcast("ana", "status:update", {"status": "ready"})
    assert heard == ["ana", "later None"]


async def test_agentstack_row_129_one_subscriber_throws_and_the_others_are_still_called(
    bus: MessageBus,
) -> None:
    heard: list[str] = []
    errors: list[tuple[str, str]] = []

    def throws(_: Message) -> None:
        raise ValueError("no")

    async def throws_later(_: Message) -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("later")

    bus.subscribe("ana", throws)
    bus.subscribe("ana", throws_later)
    bus.subscribe("ana", lambda _: heard.append("third"))
    bus.on_error(lambda error, message: errors.append((type(error).__name__, message.id)))
    await bus.send("main", "ana", "x", {})
    assert heard == ["third"]
    assert errors == [("ValueError", "msg-1"), ("KeyError", "msg-1")]


async def test_a_listener_to_errors_that_throws_stops_nobody(bus: MessageBus) -> None:
    heard: list[str] = []

    def throws(*_: object) -> None:
        raise ValueError("no")

    bus.subscribe("ana", throws)
    bus.subscribe("ana", lambda _: heard.append("second"))
    bus.on_error(throws)
    bus.on_error(lambda _error, _message: heard.append("told"))
    await bus.send("main", "ana", "x", {})
    assert heard == ["told", "second"]


async def test_a_subscriber_that_hangs_is_given_up_and_told() -> None:
    bus = MessageBus(handler_s=0.01)
    errors: list[Exception] = []
    heard: list[str] = []

    async def hangs(_: Message) -> None:
        await anyio.sleep_forever()

    bus.subscribe("ana", hangs)
    bus.subscribe("ana", lambda _: heard.append("second"))
    bus.on_error(lambda error, _: errors.append(error))
    await bus.send("main", "ana", "x", {})
    assert heard == ["second"]
    assert [type(one) for one in errors] == [TimeoutError]


async def test_events_tell_direct_messages_from_broadcasts(bus: MessageBus) -> None:
    heard: list[str] = []
    bus.on("direct", lambda message: heard.append(f"direct {message.type}"))
    bus.on("broadcast", lambda message: heard.append(f"broadcast {message.type}"))
    stop = bus.on("message", lambda message: heard.append(f"message {message.type}"))
    await bus.send("a", "b", "one", {})
    await bus.broadcast("a", "two", {})
    stop()
    await bus.emitter("queue")("three", {})
    assert heard == [
        "direct one",
        "message one",
        "broadcast two",
        "message two",
        "broadcast three",
    ]


async def test_who_unsubscribed_is_not_called_and_counts_are_kept(bus: MessageBus) -> None:
    heard: list[str] = []
    first = bus.subscribe("ana", lambda _: heard.append("first"))
    bus.subscribe("ana", lambda _: heard.append("second"))
    everyone = bus.subscribe_all(lambda _: heard.append("all"))
    assert (bus.subscriber_count(), bus.subscriber_count("ana")) == (3, 2)
    first()
    first()
    everyone()
    await bus.send("main", "ana", "x", {})
    assert heard == ["second"]
    assert (bus.unsubscribe("ana"), bus.unsubscribe("ana")) == (True, False)
    assert (bus.subscriber_count(), bus.message_count()) == (0, 1)
    bus.clear()
    assert bus.message_count() == 0
    assert (await bus.send("main", "ana", "x", {})).id == "msg-2"


async def test_handlers_that_answer_each_other_without_end_are_stopped(bus: MessageBus) -> None:
    errors: list[Exception] = []

    async def answers(message: Message) -> None:
        await bus.send("ana", "ana", message.type, {})

    bus.subscribe("ana", answers)
    bus.on_error(lambda error, _: errors.append(error))
    await bus.send("main", "ana", "ping", {})
    assert bus.message_count() == bus_module.MAX_DEPTH
    assert [type(one) for one in errors] == [LimitError]


async def test_subscribers_are_bounded(bus: MessageBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "MAX_SUBSCRIBERS", 2)
    bus.subscribe("ana", lambda _: None)
    bus.subscribe_all(lambda _: None)
    with pytest.raises(LimitError, match="2 subscribers"):
        bus.subscribe("ben", lambda _: None)


def test_there_is_one_bus_for_programs_that_ask_for_it() -> None:
    assert get_message_bus() is get_message_bus()


async def test_tasks_that_handlers_start_may_go_on_telling_each_other(bus: MessageBus) -> None:
    heard: list[Message] = []
    nothing: dict[str, JsonValue] = {}
    async with anyio.create_task_group() as group:

        def next_one(message: Message) -> None:
            heard.append(message)
            if len(heard) < 2 * bus_module.MAX_DEPTH:
                group.start_soon(bus.send, "a", "b", "next", nothing)

        bus.subscribe("b", next_one)
        await bus.send("a", "b", "first", nothing)
    assert len(heard) == 2 * bus_module.MAX_DEPTH


class Told:
    """An `Announcer` that remembers."""

    def __init__(self) -> None:
        self.said: list[Announcement] = []

    def announce(self, said: Announcement) -> None:
        self.said.append(said)


async def test_loops_workflows_and_tasks_are_announced_once(bus: MessageBus) -> None:
    told = Told()
    stop = announce_bus(bus, told)
    approved: dict[str, JsonValue] = {"status": "approved", "iteration": 2}
    for event in ("loop:start", "loop:review", "loop:approved", "loop:complete"):
        await bus.broadcast("review-loop:l1", event, {"state": approved})
    await bus.broadcast("workflow:w1", "workflow:error", {"error": "no vendor"})
    await bus.broadcast("queue", "task:completed", {"taskId": "t1", "agentType": "coder"})
    await bus.send("worker", "coordinator", "task:completed", {"taskId": "t1"})
    assert told.said == [
        Announcement(
            "review_started", "review-loop:l1", (("Status", "approved"), ("Iteration", "2"))
        ),
        Announcement(
            "review_approved", "review-loop:l1", (("Status", "approved"), ("Iteration", "2"))
        ),
        Announcement("workflow_error", "workflow:w1", text="no vendor"),
        Announcement("task_completed", "task:t1", (("Agent type", "coder"),)),
    ]
    stop()
    await bus.broadcast("review-loop:l1", "loop:start", {})
    assert len(told.said) == 4


async def test_a_secret_in_a_long_name_reaches_the_announcer_whole(bus: MessageBus) -> None:
    told, name = Told(), "w" * 195 + "token-abcdefgh"
    announce_bus(bus, told)
    await bus.broadcast(name, "workflow:start", {"config": {"id": name}})
    (said,) = told.said
    assert "token-" not in mrkdwn_of(said, lambda text: text.replace("token-abcdefgh", "***"))
