"""Holds decisions for a moment in which they can be undone, then writes each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.state.held import Choice, Held, held_choice
from perstack_tui.state.inbox import gate_headline
from perstack_tui.state.review import objected_to
from perstack_tui.state.wording import count_of, outcome_of
from perstack_tui.text import flat
from perstack_tui.timers import after

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint
    from perstack.domain.ids import ConsensusId
    from perstack_tui.app import Cockpit

_LEAST_S: Final = 0.05
_NAMED: Final = 5

Failed = Callable[[PerstackError], None]


class Holding:
    """The decisions of this cockpit between the key and the database.

    A crash, a signal or a terminal that goes away drops what is held: the gate still waits then.
    """

    def __init__(self, app: Cockpit) -> None:
        self._app = app

    def decide(
        self,
        choices: Sequence[Choice],
        done: Callable[[], None] | None = None,
        failed: Failed | None = None,
    ) -> bool:
        """Hold what can be held and write the rest at once; say whether all of it is held.

        What would expire meanwhile is not held. `done` and `failed` are for what is written at
        once; of what was held the user is told.
        """
        app = self._app
        hold_s, now_ms = app.settings.hold_s, app.clock.now_ms()
        until_ms = now_ms + round(hold_s * 1000)

        def can_wait(gate: ConsensusCheckpoint) -> bool:
            return hold_s > 0 and (gate.expires_at is None or gate.expires_at > until_ms)

        waiting = tuple(choice for choice in choices if can_wait(choice.gate))
        at_once = tuple(choice for choice in choices if choice not in waiting)
        if waiting:
            held = Held(waiting, app.monotonic() + hold_s, until_ms)
            app.state.held = (*app.state.held, held)
            after(app, hold_s, self.look)
            app.tell(f"{_what(waiting)} in {hold_s:g} s; u undoes", "good")
        if at_once:
            self._send(at_once, done, failed)
        return not at_once

    def undo(self, consensus_id: ConsensusId | None = None) -> bool:
        """Take the newest back, or what is held for one checkpoint; say whether there was any."""
        state = self._app.state
        if consensus_id is None:
            choices = state.held[-1].choices if state.held else ()
        else:
            found = held_choice(state.held, consensus_id)
            choices = () if found is None else (found,)
        if not choices:
            return False
        self._drop(choices)
        self._app.tell(f"undone, nothing was decided: {gate_headline(choices[0].gate)}")
        return True

    def _drop(self, choices: Sequence[Choice]) -> None:
        state = self._app.state
        left = (
            replace(held, choices=tuple(one for one in held.choices if one not in choices))
            for held in state.held
        )
        state.held = tuple(held for held in left if held.choices)

    def look(self) -> None:
        """Write what was held long enough."""
        app, now = self._app, self._app.monotonic()
        due = [held for held in app.state.held if held.until <= now]
        app.state.held = tuple(held for held in app.state.held if held.until > now)
        for held in due:
            self._send(held.choices)
        if app.state.held:
            after(app, max(_LEAST_S, app.state.held[0].until - now), self.look)

    def note_news(self) -> None:
        """Drop what somebody else decided meanwhile, and what a reviewer now objects to."""
        if self._app.state.held:
            self._drop_decided()
        if self._app.state.held:
            self._drop_objected()

    def _drop_decided(self) -> None:
        state = self._app.state
        over = {gate.id: gate for gate in state.index.view.inbox.decided}
        lost = [choice for held in state.held for choice in held.choices if choice.gate.id in over]
        if not lost:
            return
        self._drop(lost)
        _, word, _ = outcome_of(over[lost[0].gate.id])
        by = over[lost[0].gate.id].reviewer_id or "nobody"
        notes = [self._keep_note(one) for one in lost]
        kept = "; your note is kept" if any(notes) else ""
        self._app.tell(f"not sent, {word} by {flat(by)} meanwhile{kept}", "bad")

    def _drop_objected(self) -> None:
        """An approval that a verdict came upon is not sent: who approved had not read it."""
        state = self._app.state
        now = {gate.id: gate for gate in state.index.view.inbox.pending}
        for choice in [choice for held in state.held for choice in held.choices]:
            gate = now.get(choice.gate.id)
            if gate is None or not choice.decision.approved:
                continue
            known = objected_to(choice.gate) | set(choice.decision.rejected_subtask_ids)
            if fresh := objected_to(gate) - known:
                self._drop((choice,))
                self._keep_note(choice)
                names = ", ".join(sorted(map(flat, fresh)))
                self._app.tell(f"not sent: the reviewer objects to {names}; it waits again", "bad")

    def in_words(self) -> str:
        """Return what is held, empty when nothing is: `approve: deploy; reject: push`."""
        choices = [choice for held in self._app.state.held for choice in held.choices]
        if not choices:
            return ""
        named = "; ".join(_what((choice,)) for choice in choices[:_NAMED])
        more = f"; and {len(choices) - _NAMED} more" if len(choices) > _NAMED else ""
        return named + more

    async def flush(self, gateway: Gateway) -> str | None:
        """Write all that is held; return what kept the last of those that were not written."""
        state, trouble = self._app.state, None
        held, state.held = state.held, ()
        for choice in (choice for one in held for choice in one.choices):
            try:
                await gateway.decide(choice.gate.id, choice.decision, standing=choice.standing)
            except PerstackError as error:
                trouble = flat(error.message)
            else:
                state.drafts.pop(("feedback", choice.gate.id), None)
        return trouble

    def _send(
        self,
        choices: Sequence[Choice],
        done: Callable[[], None] | None = None,
        failed: Failed | None = None,
    ) -> None:
        async def send(gateway: Gateway) -> None:
            made: list[ConsensusCheckpoint] = []
            trouble: PerstackError | None = None
            for choice in choices:
                try:
                    made.append(
                        await gateway.decide(
                            choice.gate.id, choice.decision, standing=choice.standing
                        )
                    )
                except PerstackError as error:
                    trouble = error
                    self._keep_note(choice)
                else:
                    self._app.state.drafts.pop(("feedback", choice.gate.id), None)
            if trouble is not None and not made:
                self._tell_failed(choices[-1], trouble, failed)
            elif trouble is not None:
                self._tell_in_part(made, len(choices) - len(made), trouble)
            else:
                self._tell_decided(made[0], choices[0], len(choices))
            if made and done is not None:
                done()

        self._app.command(send, failed)

    def _tell_in_part(
        self, made: Sequence[ConsensusCheckpoint], lost: int, trouble: PerstackError
    ) -> None:
        _, word, _ = outcome_of(made[0])
        told = f"{word}: {count_of(len(made), 'item')}; {lost} not: {flat(trouble.message)}"
        self._app.tell(told, "bad")

    def _tell_failed(self, choice: Choice, error: PerstackError, failed: Failed | None) -> None:
        if failed is not None:
            failed(error)
            return
        kept = choice.decision.feedback is not None
        self._app.tell(flat(error.message) + ("; your note is kept" if kept else ""), "bad")

    def _keep_note(self, choice: Choice) -> bool:
        """Have the note stand in the review when it is opened again; say whether there is one."""
        note = choice.decision.feedback
        if note is not None:
            self._app.state.drafts.setdefault(("feedback", choice.gate.id), note)
        return note is not None

    def _tell_decided(self, decided: ConsensusCheckpoint, choice: Choice, count: int) -> None:
        state, gate = self._app.state, choice.gate
        _, word, _ = outcome_of(decided)
        job = state.index.jobs.get(gate.job_id) if gate.job_id else None
        if job is not None and not state.is_driven(job):
            self._app.tell(f"{word}; nothing runs this job: i goes on with it", "good")
        elif count > 1:
            self._app.tell(f"{word}: {count_of(count, 'item')}", "good")
        else:
            ever = ", and so for the rest of the job" if choice.standing else ""
            self._app.tell(f"{word}{ever}: {_kept_words(choice)}", "good")


def _what(choices: Sequence[Choice]) -> str:
    word = choices[0].word
    if len(choices) > 1:
        return f"{word} {count_of(len(choices), 'item')}"
    return f"{word}: {_kept_words(choices[0])}"


def _kept_words(choice: Choice) -> str:
    """Return what the decision is about: of what is approved in part, the first that is kept."""
    tasks, dropped = choice.gate.proposed_subtasks, choice.decision.rejected_subtask_ids
    kept = tuple(task for task in tasks if task.id not in dropped)
    if not choice.decision.approved or not dropped or not kept:
        return gate_headline(choice.gate)
    first = gate_headline(choice.gate.model_copy(update={"proposed_subtasks": kept}))
    return f"{len(kept)} of {len(tasks)} kept: {first}"
