"""One generation: the model is asked, what it says is shown, and failures are named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import anyio

from perstack.domain.events import Delta
from perstack.domain.ids import MessageId
from perstack.domain.messages import ExpertMessage
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken

StreamName = Literal["reasoning", "text", "result"]


@dataclass(slots=True)
class Speech:
    """Turns pieces of text into deltas, each stream opened and closed once, in order."""

    blank: Delta
    say: Callable[[Delta], None]
    final: bool
    _open: StreamName | None = None
    _heard: str = ""

    def hear(self, spoken: Spoken) -> None:
        """Show one piece."""
        stream: StreamName = "reasoning" if spoken.stream == "reasoning" else "text"
        if stream == "text" and self.final:
            stream = "result"
        if stream != self._open:
            self.close()
            self._open = stream
            self._send("start", "")
        self._heard += spoken.text
        self._send("delta", spoken.text)

    def close(self) -> None:
        """End the stream that is open."""
        if self._open is not None:
            self._send("end", self._heard)
        self._open, self._heard = None, ""

    def _send(self, kind: Literal["start", "delta", "end"], text: str) -> None:
        update = {"stream": self._open, "kind": kind, "text": text}
        self.say(self.blank.model_copy(update=update))


async def generate(
    model: ChatModel, request: ModelRequest, speech: Speech, *, timeout_s: float
) -> Generation:
    """Ask once.

    Raises:
        ProviderError: the vendor failed, or took longer than `timeout_s` seconds.
    """
    try:
        with anyio.fail_after(timeout_s):
            async with aclosing(model.stream(request)) as stream:
                async for piece in stream:
                    if isinstance(piece, Generation):
                        return piece
                    speech.hear(piece)
    except TimeoutError as error:
        raise ProviderError(
            f"{model.name} gave no complete answer within {timeout_s:g} s", retryable=True
        ) from error
    finally:
        speech.close()
    raise ProviderError(f"{model.name} ended its answer early", retryable=True)


def as_message(generation: Generation, message_id: str) -> ExpertMessage:
    """Return the generation as a message of the history."""
    return ExpertMessage(id=MessageId(message_id), contents=generation.parts)
