"""What putting a workspace's files back would do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from perstack.domain.snapshots import Entry, Manifest
from perstack.domain.travel import RestorePlan


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is to be done: `wanted` by path, None to remove; `plan` says it for a person."""

    plan: RestorePlan
    wanted: Mapping[str, Entry | None]


def plan_restoration(
    target: Manifest,
    now: Manifest,
    newest: Manifest,
    *,
    also: Collection[str] = (),
    only: Collection[str] = (),
) -> Restoration:
    """Return how to get from `now` to `target` without what changed since the `newest` snapshot.

    Of what changed since, only what `also` names is touched. With `only`, these files and folders
    alone are restored, though they changed since. What is listed only, so that nobody could bring
    it back, is neither removed nor overwritten, whoever names it.
    """
    if only:
        target, now = _within(target, only), _within(now, only)
        also = (*target, *now)
    written: list[str] = []
    removed: list[str] = []
    kept: list[str] = []
    missing: list[str] = []
    wanted: dict[str, Entry | None] = {}
    for path in sorted(target.keys() | now.keys()):
        goal, there = target.get(path), now.get(path)
        if goal == there or (goal is None and there is not None and not there.is_stored):
            continue
        if goal is not None and not goal.is_stored:
            if there is None and goal.kind == "file":
                missing.append(path)
            continue
        if goal is None and there is not None and there.kind == "folder" and _holds(target, path):
            continue
        if there is not None and not there.is_stored:
            kept.append(path)
            continue
        if _is_of_others(there, newest.get(path)) and path not in also:
            kept.append(path)
            continue
        wanted[path] = goal
        if goal is None:
            removed.append(path)
        elif goal.kind != "folder":
            written.append(path)
    plan = RestorePlan(tuple(written), tuple(removed), tuple(kept), tuple(missing))
    return Restoration(plan, wanted)


def _is_of_others(there: Entry | None, newest: Entry | None) -> bool:
    """Tell whether somebody left it as it is since the newest snapshot."""
    if there is None or there.kind == "folder":
        return False
    return there != newest


def _holds(target: Manifest, folder: str) -> bool:
    return any(path.startswith(f"{folder}/") for path in target)


def _within(manifest: Manifest, only: Collection[str]) -> Manifest:
    named = [path.rstrip("/") for path in only]
    return {
        path: entry
        for path, entry in manifest.items()
        if any(path == each or path.startswith(f"{each}/") for each in named)
    }
