"""The registry of Experts in lines: searched, read out, added from."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from typing import TYPE_CHECKING, Final

from perstack.domain.ids import ExpertKey
from perstack_tui.linear.commands import Command
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.lists import NEWEST, Listing
from perstack_tui.ports.gateway import Gateway
from perstack_tui.text import crop, flat

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryExpert
    from perstack_tui.ports.registry import Draft, Shown

ASKING: Final = "Asking the registry. Ctrl+C gives it up."
_HEADLINE: Final = 200
_SIGNS: Final = {"+": "new: ", "-": "gone: ", " ": "stays: "}


class Shelves:
    """Commands about Experts of the registry, by their keys or the numbers of the last list."""

    def __init__(self, doing: Doing) -> None:
        self._doing = doing

    async def search(self, command: Command) -> None:
        """List Experts of the registry."""
        doing, words = self._doing, f"{command.what} {command.text}".strip()
        doing.talk.say(ASKING)

        async def search(gateway: Gateway) -> None:
            shown = await doing.wait(gateway.registry.search(words, take=NEWEST))
            doing.listing = Listing("registry", tuple(one.key for one in shown.experts))
            doing.talk.say(*_listed(shown, words))

        await doing.do(search)

    async def read(self, command: Command) -> None:
        """Read all of an Expert out."""
        doing, key = self._doing, self._key(command.what)
        doing.talk.say(ASKING)

        async def read(gateway: Gateway) -> None:
            from perstack.projection.expert_card import card_lines

            card = await doing.wait(gateway.registry.read(key))
            await doing.talk.read_out("\n".join(card_lines(card.expert, card.versions)))

        await doing.do(read)

    async def add(self, command: Command) -> None:
        """Show what adding a delegate changes, ask, and save it."""
        doing, expert = self._doing, ExpertKey(command.text)
        if not expert:
            experts = doing.hearing.pump.definitions.experts
            names = ", ".join(flat(one.key) for one in experts)
            doing.talk.say(f"Say to which of yours: add KEY EXPERT. There are: {names or 'none'}.")
            return
        delegate = self._key(command.what)

        listed = delegate != command.what
        if not listed:
            doing.talk.say(ASKING)

        async def add(gateway: Gateway) -> None:
            if not listed:
                # Typed, not chosen: what the registry does not have is refused, a number, too.
                await doing.wait(gateway.registry.read(delegate))
            draft = await gateway.registry.draft(expert, delegate)
            if not await doing.talk.read_lines([*_change(draft)]):
                doing.talk.say("Nothing was changed.")
                return
            if await doing.talk.ask("Type yes to save it, or Enter to change nothing: ") != "yes":
                doing.talk.say("Nothing was changed.")
                return
            await gateway.registry.save(draft)
            doing.talk.say(f"Saved: {flat(expert)} delegates to {flat(delegate)}.")

        await doing.do(add)

    def _key(self, word: str) -> str:
        listing = self._doing.listing
        return (listing.id_of(word) if listing.kind == "registry" else None) or word


def _listed(shown: Shown, words: str) -> Iterator[str]:
    for at, expert in enumerate(shown.experts, 1):
        yield f"{at} {_words(expert)}"
    if not shown.experts:
        yield f"Nothing in the registry has {flat(words)}." if words else "The registry is empty."
    elif shown.total > len(shown.experts):
        yield f"{shown.total} in all: registry WORDS lists those that have the words."


def _words(expert: RegistryExpert) -> str:
    status = "" if expert.status == "available" else f", {expert.status}"
    about = crop(flat(expert.description or "no description"), _HEADLINE)
    return f"{flat(expert.key)} of {flat(expert.owned_by)}{status}: {about}"


def _change(draft: Draft) -> Iterator[str]:
    how = "this version stays" if "@" in draft.delegate[1:] else "it follows the tag latest"
    yield f"{flat(draft.delegate)}: {how}. {draft.path.name} would change:"
    before, after = draft.before.splitlines(), draft.after.splitlines()
    for at, said in enumerate(unified_diff(before, after, n=1, lineterm="")):
        if at >= 2 and said[:1] in _SIGNS:
            yield f"{_SIGNS[said[:1]]}{flat(said[1:])}"
