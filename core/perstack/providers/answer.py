"""Putting an answer together while it streams, the same for every vendor."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from perstack.domain.ids import ToolCallId
from perstack.domain.messages import (
    ExpertPart,
    ProviderPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from perstack.ports.model import FinishReason
from perstack.providers.http_rules import too_large
from perstack.providers.wire import clean, encode, parse_args, storable

MOST_CHARS: Final = 20_000_000
MOST_BLOCKS: Final = 2000


@dataclass(slots=True)
class Block:
    """One block of an answer while it grows.

    A `prefilled` call came with its arguments; pieces that follow replace them. An "opaque" block
    is its `payload`, with its pieces as `input`; `provider` is who understands it. A call's
    payload is what has to go back with it.
    """

    kind: Literal["thinking", "redacted", "text", "call", "opaque"]
    pieces: list[str] = field(default_factory=list[str])
    signature: str = ""
    call_id: str = ""
    name: str = ""
    prefilled: bool = False
    provider: str = ""
    payload: Mapping[str, object] = field(default_factory=dict[str, object])

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
        """Add a block.

        Raises:
            ProviderError: the answer is beyond all bounds.
        """
        if len(self.blocks) >= MOST_BLOCKS:
            raise too_large()
        payload = len(encode(block.payload)) if block.payload else 0
        self._count(sum(map(len, block.pieces)) + payload + 64)
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

    def keep(self, block: Block, payload: Mapping[str, object], provider: str) -> None:
        """Keep what has to go back with a block; the first counts. Nobody's is dropped."""
        if provider and not block.payload:
            self._count(len(encode(payload)))
            block.payload, block.provider = payload, provider

    def replace(self, block: Block, payload: Mapping[str, object]) -> None:
        """Take an opaque block as `payload` has it."""
        self._count(len(encode(payload)))
        block.payload = payload

    def before(self, block: Block, added: Block) -> None:
        """Put one block before another."""
        self._count(64)
        self.blocks.insert(self.blocks.index(block), added)

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
            found.extend(_parts(block, taken, cut_off=cut_off))
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


def _parts(block: Block, taken: set[str], *, cut_off: bool) -> Iterator[ExpertPart]:
    whole, signature = clean(block.whole), clean(block.signature)
    match block.kind:
        case "text":
            if whole:
                yield TextPart(text=whole)
        case "thinking":
            if whole or signature:
                yield ThinkingPart(thinking=whole, signature=signature or None)
        case "redacted":
            yield ThinkingPart(thinking="", signature=signature)
        case "opaque":
            yield from _opaque(block, block.payload)
        case "call":
            call_id = _free_id(block.call_id, taken)
            if block.payload:
                yield from _opaque(block, {"call_id": call_id, **block.payload}, whole=True)
            yield _call(block, call_id, cut_off=cut_off)


def _opaque(
    block: Block, payload: Mapping[str, object], *, whole: bool = False
) -> Iterator[ProviderPart]:
    """Return the block for its provider alone; one that cannot be read is left out."""
    if not payload:
        return
    try:
        kept = dict(storable(payload))
    except ValueError:
        return
    if block.pieces and not whole:
        args = parse_args(block.whole)
        if args is None:
            return
        kept["input"] = args
    yield ProviderPart(provider=block.provider, payload=kept)


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
