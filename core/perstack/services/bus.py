"""The message bus of one process: who tells whom, at once and without a queue."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import cache
from itertools import count
from typing import Final, Literal

import anyio
from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.errors import LimitError
from perstack.ports.system import Clock, SystemClock

MAX_SUBSCRIBERS: Final = 10_000
MAX_DEPTH: Final = 32
HANDLER_S: Final = 30.0

_LOG: Final = logging.getLogger(__name__)
# Of which task, and how deep. A task that a handler started begins anew: nobody waits for it.
_DEPTH: Final[ContextVar[tuple[int, int]]] = ContextVar("message_bus_depth", default=(0, 0))

BusEvent = Literal["direct", "broadcast", "message"]


class Message(Model):
    """What was said; `to` is None for a broadcast, `timestamp` in Unix ms.

    In JSON, `sender` is `from`.
    """

    id: str
    sender: str = Field(serialization_alias="from")
    to: str | None = None
    type: str
    payload: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    timestamp: int = 0


Handler = Callable[[Message], Awaitable[object] | object]
ErrorListener = Callable[[Exception, Message], Awaitable[object] | object]
Unsubscribe = Callable[[], None]


class MessageBus:
    """Calls subscribers in the order in which they subscribed; nothing is kept for absent ones.

    Subscribers may be plain functions, which must be quick, or coroutine functions, which get
    `handler_s` seconds. One that raises or is too slow is told to the error listeners, and the
    others are called all the same. Messages sent by handlers of handlers go `MAX_DEPTH` deep.
    """

    def __init__(self, *, clock: Clock | None = None, handler_s: float = HANDLER_S) -> None:
        self._clock = clock or SystemClock()
        self._handler_s = handler_s
        self._numbers = count(1)
        self._sent = 0
        self._keys = count()
        self._targets: dict[str, dict[int, Handler]] = {}
        self._everyone: dict[int, Handler] = {}
        self._listeners: dict[BusEvent, dict[int, Handler]] = {}
        self._errors: dict[int, ErrorListener] = {}

    # ------------------------------------------------------------- sending

    async def send(
        self, sender: str, to: str, message_type: str, payload: Mapping[str, JsonValue]
    ) -> Message:
        """Tell `to`; its subscribers, those to all, and listeners to `direct` are called.

        Raises:
            LimitError: handlers answer each other without end.
        """
        message = self._message(sender, to, message_type, payload)
        called = [*self._targets.get(to, {}).values(), *self._everyone.values()]
        return await self._deliver(message, "direct", called)

    async def broadcast(
        self, sender: str, message_type: str, payload: Mapping[str, JsonValue]
    ) -> Message:
        """Tell every subscriber, the sender included.

        Raises:
            LimitError: as `send`.
        """
        message = self._message(sender, None, message_type, payload)
        targets = [handler for each in self._targets.values() for handler in each.values()]
        return await self._deliver(message, "broadcast", [*targets, *self._everyone.values()])

    def emitter(self, sender: str) -> Callable[[str, Mapping[str, JsonValue]], Awaitable[None]]:
        """Return `emit(event, payload)`, which broadcasts in the name of `sender`."""

        async def emit(event: str, payload: Mapping[str, JsonValue]) -> None:
            await self.broadcast(sender, event, payload)

        return emit

    # ---------------------------------------------------------- subscribing

    def subscribe(self, agent_id: str, handler: Handler) -> Unsubscribe:
        """Call `handler` with what is sent to `agent_id`, and with broadcasts.

        Raises:
            LimitError: there are `MAX_SUBSCRIBERS` already.
        """
        key = self._place()
        self._targets.setdefault(agent_id, {})[key] = handler

        def unsubscribe() -> None:
            handlers = self._targets.get(agent_id, {})
            handlers.pop(key, None)
            if not handlers:
                self._targets.pop(agent_id, None)

        return unsubscribe

    def subscribe_all(self, handler: Handler) -> Unsubscribe:
        """Call `handler` with every message.

        Raises:
            LimitError: as `subscribe`.
        """
        key = self._place()
        self._everyone[key] = handler
        return lambda: _forget(self._everyone, key)

    def unsubscribe(self, agent_id: str) -> bool:
        """Forget all subscriptions of `agent_id`; say whether there was one."""
        return self._targets.pop(agent_id, None) is not None

    def on(self, event: BusEvent, listener: Handler) -> Unsubscribe:
        """Call `listener` with direct messages, broadcasts, or both (`message`)."""
        key = self._place()
        listeners = self._listeners.setdefault(event, {})
        listeners[key] = listener
        return lambda: _forget(listeners, key)

    def on_error(self, listener: ErrorListener) -> Unsubscribe:
        """Call `listener` with what a subscriber raised, and with the message it was given."""
        key = self._place()
        self._errors[key] = listener
        return lambda: _forget(self._errors, key)

    # ------------------------------------------------------------- counting

    def subscriber_count(self, agent_id: str | None = None) -> int:
        """Return how many subscriptions there are: to all, or those of one agent."""
        if agent_id is not None:
            return len(self._targets.get(agent_id, {}))
        return sum(map(len, self._targets.values())) + len(self._everyone)

    def message_count(self) -> int:
        """Return how many messages were sent since the bus was made or cleared."""
        return self._sent

    def clear(self) -> None:
        """Forget all subscribers, listeners and the count; numbers of messages go on."""
        self._targets.clear()
        self._everyone.clear()
        self._listeners.clear()
        self._errors.clear()
        self._sent = 0

    # ------------------------------------------------------------ internals

    def _place(self) -> int:
        listeners = sum(map(len, self._listeners.values())) + len(self._errors)
        if self.subscriber_count() + listeners >= MAX_SUBSCRIBERS:
            raise LimitError(f"the message bus has {MAX_SUBSCRIBERS} subscribers already")
        return next(self._keys)

    def _message(
        self, sender: str, to: str | None, message_type: str, payload: Mapping[str, JsonValue]
    ) -> Message:
        return Message(
            id=f"msg-{next(self._numbers)}",
            sender=sender,
            to=to,
            type=message_type,
            payload=dict(payload),
            timestamp=self._clock.now_ms(),
        )

    async def _deliver(
        self, message: Message, event: BusEvent, subscribers: list[Handler]
    ) -> Message:
        task = anyio.get_current_task().id
        begun_in, depth = _DEPTH.get()
        depth = depth if begun_in == task else 0
        if depth >= MAX_DEPTH:
            raise LimitError(f"messages answer each other without end: {message.type!a}")
        self._sent += 1
        heard = [
            handler
            for name in (event, "message")
            for handler in self._listeners.get(name, {}).values()
        ]
        token = _DEPTH.set((task, depth + 1))
        try:
            for handler in [*heard, *subscribers]:
                await self._call(handler, message)
        finally:
            _DEPTH.reset(token)
        return message

    async def _call(self, handler: Handler, message: Message) -> None:
        try:
            await self._settle(handler(message))
        except Exception as error:  # noqa: BLE001 - a subscriber's own code may raise anything
            await self._tell(error, message)

    async def _settle(self, result: Awaitable[object] | object) -> None:
        if inspect.isawaitable(result):
            with anyio.fail_after(self._handler_s):
                await result

    async def _tell(self, error: Exception, message: Message) -> None:
        _LOG.warning("a subscriber to %s failed: %s", message.type, type(error).__name__)
        for listener in list(self._errors.values()):
            try:
                await self._settle(listener(error, message))
            except Exception as second:  # noqa: BLE001 - as above
                _LOG.warning("a listener to errors failed: %s", type(second).__name__)


def _forget(handlers: dict[int, Handler] | dict[int, ErrorListener], key: int) -> None:
    handlers.pop(key, None)


@cache
def get_message_bus() -> MessageBus:
    """Return the bus that all callers of this function share; the runtime's own is another."""
    return MessageBus()
