"""What a run says and prints right now, until its whole stands in the transcript."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from perstack.domain.events import Delta
from perstack.domain.ids import ToolCallId

LIVE_CHARACTERS: Final = 20_000
OUTPUT_CHARACTERS: Final = 4_000
_CALLS_HEARD: Final = 32


@dataclass(frozen=True, slots=True)
class LiveText:
    """What a model is saying right now, and what running calls print.

    At least the last `LIVE_CHARACTERS` of each and at most twice as many, `OUTPUT_CHARACTERS` of a
    call; "" when silent.
    """

    reasoning: str = ""
    text: str = ""
    output: Mapping[ToolCallId, str] = field(default_factory=dict[ToolCallId, str])


SILENT: Final = LiveText()


class Speech:
    """Joins the deltas of one run to `live`; what its events told already is not taken in."""

    def __init__(self) -> None:
        self.live = SILENT
        self._step = 0
        self._told_step = 0

    def hear(
        self, delta: Delta, answered: Container[ToolCallId]
    ) -> Literal["thinking", "answering"] | None:
        """Take in a delta; return what the model does by it, None for what says nothing of it.

        `answered` are the calls whose whole output is known.
        """
        if delta.stream == "tool":
            self._print(delta, answered)
            return None
        if delta.stream != "result" and delta.step_number <= self._told_step:
            return None
        self._step = delta.step_number
        old = self.live.reasoning if delta.stream == "reasoning" else self.live.text
        new = {"start": "", "delta": old + delta.text, "end": delta.text or old}[delta.kind]
        if len(new) > 2 * LIVE_CHARACTERS:
            # Seldom, and then by half: whoever shows it begins anew when its beginning goes.
            new = new[-LIVE_CHARACTERS:]
        if delta.stream == "reasoning":
            self.live = replace(self.live, reasoning=new)
            return "thinking"
        self.live = replace(self.live, text=new)
        return "answering"

    def _print(self, delta: Delta, answered: Container[ToolCallId]) -> None:
        """Take in what a call prints; its result will hold the whole."""
        call_id = delta.tool_call_id
        if call_id is None or call_id in answered:
            return
        output = dict(self.live.output)
        output[call_id] = (output.pop(call_id, "") + delta.text)[-OUTPUT_CHARACTERS:]
        while len(output) > _CALLS_HEARD:
            output.pop(next(iter(output)))
        self.live = replace(self.live, output=output)

    def silence(self) -> None:
        """Forget what was said and printed."""
        self.live = SILENT

    def begin(self, step: int) -> None:
        """Make room for a generation of that step, which may be speaking already."""
        if self._step < step:
            self.live = SILENT
        self.live = replace(self.live, output={})

    def told(self, step: int) -> None:
        """Take in no more of what is said up to that step."""
        self._told_step = step

    def settle(self, step: int) -> None:
        """Forget what was said up to that step; the next one may already be speaking."""
        if self._step <= step:
            self.live = replace(self.live, reasoning="", text="")

    def printed(self, call_id: ToolCallId) -> None:
        """Forget what a call printed, whose result is known now."""
        if call_id in self.live.output:
            kept = {id_: text for id_, text in self.live.output.items() if id_ != call_id}
            self.live = replace(self.live, output=kept)
