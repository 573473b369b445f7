"""What a cockpit remembers of a folder from one opening to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack_tui.state.inbox import ItemKey
from perstack_tui.state.layout import PaneName, SizeClass, Zoom
from perstack_tui.state.sorting import SortColumn

if TYPE_CHECKING:
    from perstack_tui.state.cockpit import CockpitState

VERSION: Final = 1
MOST_DRAFTS: Final = 50
MOST: Final = 200
LONGEST: Final = 20_000

Text = Annotated[str, Field(max_length=LONGEST)]
Id = Annotated[str, Field(max_length=200)]
ItemKind = Literal["gate", "ask", "input", "pause", "decided"]
DraftKey: TypeAlias = "tuple[Id, ...]"
# What is typed into a tool server's form may be a password: it never reaches the disk.
_IN_MEMORY: Final = "form"


class Item(BaseModel):
    """An item of the inbox."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ItemKind
    id: Id
    run_id: Id | None = None


class Session(BaseModel):
    """All of it. `theme_over` is the theme of the settings when `theme` was chosen over it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = VERSION
    theme: Id | None = None
    theme_over: Id | None = None
    pane: PaneName = "tree"
    run_id: Id | None = None
    point: Id | None = None
    item: Item | None = None
    filters: dict[PaneName, Text] = {}
    sort: SortColumn = "state"
    zooms: dict[SizeClass, Zoom] = {}
    peek: bool = True
    wrap: bool = True
    show_times: bool = False
    cost_of_subtree: bool = False
    whole: tuple[Id, ...] = Field(default=(), max_length=MOST)
    folded: dict[Id, bool] = Field(default={}, max_length=MOST)
    recalled: tuple[Text, ...] = Field(default=(), max_length=MOST)
    recents: tuple[Id, ...] = Field(default=(), max_length=MOST)
    following: bool = True
    tops: dict[PaneName, Annotated[int, Field(ge=0)]] = {}
    drafts: tuple[tuple[DraftKey, Text], ...] = Field(default=(), max_length=MOST_DRAFTS)


def session_of(
    state: CockpitState,
    *,
    pane: PaneName,
    tops: Mapping[PaneName, int],
    following: bool,
    theme: tuple[str, str] | None,
) -> Session:
    """Return what is to be remembered. `theme` is the chosen one and that of the settings."""
    key = state.item_key
    return Session.model_construct(
        theme=theme[0] if theme else None,
        theme_over=theme[1] if theme else None,
        pane=pane,
        run_id=state.run_id,
        point=state.point,
        item=Item(kind=key.kind, id=key.id, run_id=key.run_id) if key else None,
        filters={name: text[:LONGEST] for name, text in state.filters.items() if text},
        sort=state.sort,
        zooms=dict(state.zooms),
        peek=state.peek,
        wrap=state.wrap,
        show_times=state.show_times,
        cost_of_subtree=state.cost_of_subtree,
        whole=tuple(islice(sorted(state.whole), MOST)),
        folded=dict(islice(state.folded.items(), MOST)),
        recalled=tuple(state.recalled[-MOST:]),
        recents=tuple(state.recents[-MOST:]),
        following=following,
        tops=dict(tops),
        drafts=tuple(_drafts(state.drafts)),
    )


def _drafts(drafts: Mapping[Hashable, str]) -> Iterable[tuple[DraftKey, str]]:
    kept = [(draft_key(key), text[:LONGEST]) for key, text in drafts.items() if text]
    return [(key, text) for key, text in kept if key is not None][-MOST_DRAFTS:]


def draft_key(key: Hashable) -> DraftKey | None:
    """Return a draft's key as texts, None for one that is not kept: answers stay in memory."""
    if isinstance(key, tuple):
        parts: tuple[object, ...] = key  # pyright: ignore[reportUnknownVariableType]
        if all(isinstance(part, str) for part in parts) and parts[:1] != (_IN_MEMORY,):
            return tuple(str(part) for part in parts)
    return None


def apply(session: Session, state: CockpitState, *, selection: bool) -> None:
    """Put the state back as it was; what is selected only with `selection`."""
    state.filters.update(session.filters)
    state.sort = session.sort
    state.zooms.update(session.zooms)
    state.peek, state.wrap = session.peek, session.wrap
    state.show_times, state.cost_of_subtree = session.show_times, session.cost_of_subtree
    state.whole.update(RunId(run_id) for run_id in session.whole)
    state.folded.update({JobId(job_id): closed for job_id, closed in session.folded.items()})
    state.recalled[:], state.recents[:] = session.recalled, session.recents
    for key, text in session.drafts:
        state.drafts.setdefault(key, text)
    if not selection:
        return
    state.run_id = RunId(session.run_id) if session.run_id else None
    state.point = CheckpointId(session.point) if session.point else None
    if (item := session.item) is not None:
        run_id = RunId(item.run_id) if item.run_id else None
        state.item_key = ItemKey(item.kind, item.id, run_id)


def redacted(session: Session, redact: Callable[[str], str]) -> Session:
    """Return the session as it may be written: what was typed without secrets."""
    return session.model_copy(
        update={
            "filters": {name: redact(text) for name, text in session.filters.items()},
            "recalled": tuple(redact(text) for text in session.recalled),
            "drafts": tuple((key, redact(text)) for key, text in session.drafts),
        }
    )
