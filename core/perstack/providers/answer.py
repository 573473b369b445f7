"""Putting an answer together while it streams, the same for every vendor."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final, Literal

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ExpertPart, TextPart, ThinkingPart, ToolCallPart
from perstack.ports.model import FinishReason
from perstack.providers.http_rules import too_large
from perstack.providers.wire import clean, parse_args

MOST_CHARS: Final = 20_000_000


@dataclass(slots=True)
class Block:
    """One block of an answer while it grows.

    A `prefilled` call came with its arguments; pieces that follow replace them.
    """

    kind: Literal["thinking", "redacted", "text", "call"]
    pieces: list[str] = field(default_factory=list[str])
    signature: str = ""
    call_id: str = ""
    name: str = ""
    prefilled: bool = False

    @property
    def whole(self) -> str:
        """All of it."""
        return "".join(self.pieces)


class Answer:
    """The blocks of one answer, in the vendor's order, bounded in size."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._chars = 0

    def begin(self, block: Block) -> Block:
        """Add a block."""
        self._count(sum(map(len, block.pieces)) + 64)
        self.blocks.append(block)
        return block

    def grow(self, block: Block, piece: str) -> None:
        """Add to a block.

        Raises:
            ProviderError: the answer is beyond all bounds.
        """
        self._count(len(piece))
        block.pieces.append(piece)

    def grow_args(self, block: Block, piece: str) -> None:
        """Add to a call's arguments."""
        if block.prefilled and piece:
            block.pieces.clear()
            block.prefilled = False
        self.grow(block, piece)

    def sign(self, block: Block, piece: str) -> None:
        """Add to a thinking block's signature."""
        self._count(len(piece))
        block.signature += piece

    def parts(self, finish: FinishReason) -> tuple[ExpertPart, ...]:
        """Return what was said; tool calls have ids of their own.

        A call that the length limit cut off before its arguments is marked as invalid.
        """
        taken: set[str] = set()
        found: list[ExpertPart] = []
        for block in self.blocks:
            cut_off = finish == "length" and block is self.blocks[-1]
            part = _part(block, taken, cut_off=cut_off)
            if part is not None:
                found.append(part)
        return tuple(found)

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > MOST_CHARS:
            raise too_large()


def settle(said: FinishReason, parts: tuple[ExpertPart, ...]) -> FinishReason:
    """Return why the answer ended, where what the vendor says contradicts what it sent."""
    calls = any(isinstance(part, ToolCallPart) for part in parts)
    if said == "stop" and calls:
        return "toolCalls"
    if said == "toolCalls" and not calls:
        return "other"
    return said


def _part(block: Block, taken: set[str], *, cut_off: bool) -> ExpertPart | None:
    whole = clean(block.whole)
    if block.kind == "text":
        return TextPart(text=whole) if whole else None
    if block.kind == "thinking":
        seen = whole or block.signature
        return ThinkingPart(thinking=whole, signature=block.signature or None) if seen else None
    if block.kind == "redacted":
        return ThinkingPart(thinking="", signature=block.signature)
    return _call(block, _free_id(block.call_id, taken), cut_off=cut_off)


def _call(block: Block, call_id: str, *, cut_off: bool) -> ToolCallPart:
    raw = block.whole
    args = None if cut_off and not raw else parse_args(raw or "{}")
    return ToolCallPart(
        tool_call_id=ToolCallId(call_id),
        tool_name=clean(block.name),
        args=args if args is not None else {},
        invalid_args=None if args is not None else clean(raw),
    )


def _free_id(said: str, taken: set[str]) -> str:
    wanted = clean(said) or f"call_{secrets.token_hex(8)}"
    free, number = wanted, 2
    while free in taken:
        free, number = f"{wanted}-{number}", number + 1
    taken.add(free)
    return free
