"""Jobs as they were at their checkpoints: a made-up past that is the same every time.

Checkpoint `writer-3` is the third of its run. Messages and files grow from one to the next, and
`notes.txt` was changed on the disk since. With `slow` every look waits until it is let go.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio

from perstack.domain.ids import CheckpointId, JobId
from perstack.domain.usage import Cost, Usage
from perstack.errors import NotFoundError, PerstackError
from perstack_tui.ports.travel import (
    Comparison,
    FileChange,
    FileView,
    ForkWish,
    MessageView,
    Moment,
    MomentView,
    RestorePlan,
)

BEGAN = 1_789_999_500_000


@dataclass(slots=True)
class FakeTravel:
    """`asked` is all that was asked for, `record` is given what changes something.

    `refuse` makes the next look fail, `unknown` are checkpoints that are not recorded, `bare` has
    no snapshots, `moments` and `plan` override what is made up.
    """

    record: Callable[..., None]
    asked: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    moments: dict[CheckpointId, MomentView] = field(default_factory=dict[CheckpointId, MomentView])
    files: dict[str, str] = field(default_factory=dict[str, str])
    plan: RestorePlan = field(
        default_factory=lambda: RestorePlan(
            written=("CHANGELOG.md", "docs/index.md"), removed=("draft.md",), kept=("notes.txt",)
        )
    )
    why_not: str | None = None
    wants: str | None = None
    refuse: PerstackError | None = None
    unknown: frozenset[CheckpointId] = frozenset()
    bare: bool = False
    slow: bool = False
    held: list[anyio.Event] = field(default_factory=list[anyio.Event])
    given: int = 0

    async def _asked(self, *call: object) -> None:
        self.asked.append(call)
        if self.slow:
            self.held.append(anyio.Event())
            await self.held[-1].wait()
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        for part in call:
            if isinstance(part, Moment) and part.checkpoint_id in self.unknown:
                raise NotFoundError(f"no checkpoint {part.checkpoint_id}")
        self.given += 1

    def let_go(self) -> None:
        """Answer everything that waits, and what comes later at once."""
        self.slow = False
        for event in self.held:
            event.set()

    async def look(self, moment: Moment) -> MomentView:
        await self._asked("look", moment)
        return self._moment(moment)

    def _moment(self, moment: Moment) -> MomentView:
        made = self.moments.get(moment.checkpoint_id)
        if made is not None:
            return made
        name, number = named(moment)
        view = moment_view(moment, name, number)
        if self.files:
            files = tuple(FileView(path, len(text), "d") for path, text in self.files.items())
            view = replace(view, files=files)
        return replace(view, files=None) if self.bare else view

    async def compare(self, before: Moment, after: Moment) -> Comparison:
        await self._asked("compare", before, after)
        old, new = self._moment(before), self._moment(after)
        same = 0
        while same < min(len(old.messages), len(new.messages)):
            if old.messages[same] != new.messages[same]:
                break
            same += 1
        without = old.files is None or new.files is None
        return Comparison(
            before,
            after,
            new.messages[same:],
            len(old.messages) - same,
            None if without else changes_of(named(before)[1], named(after)[1]),
            new.usage.total_tokens - old.usage.total_tokens,
            round(new.cost.usd - old.cost.usd, 6),
        )

    async def file_diff(self, before: Moment, after: Moment, path: str) -> Sequence[str]:
        await self._asked("file_diff", before, after, path)
        old, new = texts_at(named(before)[1]), texts_at(named(after)[1])
        return tuple(
            difflib.unified_diff(
                old.get(path, "").split("\n"),
                new.get(path, "").split("\n"),
                f"a/{path}",
                f"b/{path}",
                lineterm="",
            )
        )

    async def file_text(self, moment: Moment, path: str) -> str:
        await self._asked("file_text", moment, path)
        return self.files.get(path) or texts_at(named(moment)[1])[path]

    async def plan_restore(self, moment: Moment) -> RestorePlan:
        await self._asked("plan_restore", moment)
        return self.plan

    async def restore(self, moment: Moment, *, also: Sequence[str] = ()) -> RestorePlan:
        self.record("restore", moment.checkpoint_id, tuple(also))
        return self.plan

    async def why_not_resume(self, moment: Moment) -> str | None:
        await self._asked("why_not_resume", moment)
        return self.why_not

    async def wants_text(self, moment: Moment) -> str | None:
        await self._asked("wants_text", moment)
        return self.wants

    async def resume(self, moment: Moment, text: str | None = None) -> JobId:
        self.record("resume", moment.checkpoint_id, text)
        return moment.job_id

    async def fork(self, moment: Moment, wish: ForkWish) -> JobId:
        self.record("fork", moment.checkpoint_id, wish)
        return JobId("job-forked")


def named(moment: Moment) -> tuple[str, int]:
    """Return the run's name and the number of its checkpoint."""
    name, _, number = moment.checkpoint_id.rpartition("-")
    return name, int(number)


def moment_view(moment: Moment, name: str, number: int) -> MomentView:
    """Return what is known of the `number`th checkpoint of a run."""
    messages = [
        MessageView("m0", "instruction", "instruction", f"You are {name}.\nGroup by theme."),
        MessageView("m1", "user", "query", "Write the release notes"),
    ]
    for step in range(1, number + 1):
        messages.append(
            MessageView(
                f"a{step}",
                "assistant",
                "assistant",
                f"Step {step}: I grouped by package because the repository has one changelog "
                "per package.\n\n- core\n- tui",
            )
        )
        messages.append(
            MessageView(
                f"t{step}",
                "tool",
                "writeTextFile CHANGELOG.md",
                '{"path": "CHANGELOG.md"}\n64 lines written',
                is_error=step == 2,
            )
        )
    used = Usage(
        input_tokens=1_100 * number, output_tokens=100 * number, total_tokens=1_200 * number
    )
    texts = texts_at(number)
    files = [FileView(path, len(text), f"d{number}") for path, text in texts.items()]
    files.append(FileView("big.bin", 41_000_000, None, "larger than 10 MB"))
    return MomentView(
        moment,
        number,
        BEGAN + number * 10_000,
        tuple(messages),
        used,
        Cost(usd=0.0048 * number),
        min(1.0, 0.03 * number),
        tuple(files),
    )


def texts_at(number: int) -> dict[str, str]:
    """Return the files of a checkpoint: one grows, one comes at 2, one changes at 3."""
    changelog = "\n".join(
        ["# Changelog", "", *(f"- entry {at} of the release" for at in range(1, 4 * number))]
    )
    texts = {"CHANGELOG.md": changelog, "notes.txt": f"seen at {max(1, number - 1)}\n"}
    if number >= 2:
        texts["docs/index.md"] = "# Docs\n" if number < 3 else "# Docs\n\nRead the changelog.\n"
    return texts


def changes_of(before: int, after: int) -> tuple[FileChange, ...]:
    """Return how the files of two checkpoints differ."""
    old, new = texts_at(before), texts_at(after)
    found: list[FileChange] = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            continue
        lines = list(difflib.ndiff(old.get(path, "").split("\n"), new.get(path, "").split("\n")))
        found.append(
            FileChange(
                path,
                "added" if path not in old else "removed" if path not in new else "modified",
                sum(line.startswith("+ ") for line in lines),
                sum(line.startswith("- ") for line in lines),
                on_disk=path == "notes.txt",
            )
        )
    return tuple(found)
