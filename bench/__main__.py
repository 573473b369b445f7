"""python -m bench [--rounds N] [--only SECTION] [--quick]"""

from __future__ import annotations

import argparse

from bench import (
    agents,
    cockpit,
    consensus,
    doors_feed,
    doors_mcp,
    history,
    load,
    memory,
    programs,
    recall,
    registry,
    runs,
    skills,
    snapshots,
    tasks,
)
from bench.measure import compile_all


def main() -> None:
    """Measure what was asked for and print it."""
    asked = _parser().parse_args()
    rounds: int = 1 if asked.quick else asked.rounds
    compile_all()
    print(f"Medians of {rounds} after one that is not counted; each beside its floor.", flush=True)
    if asked.only in {None, "start"}:
        runs.start_up(rounds)
    if asked.only in {None, "skills"}:
        skills.first_generation(rounds)
    if asked.only in {None, "steps"}:
        runs.steps(rounds, 400)
    _other_experts(asked.only, rounds, quick=asked.quick)
    if asked.only in {None, "delegates"}:
        runs.delegates(rounds)
    if asked.only in {None, "memory"}:
        memory.concurrent_runs(rounds)
    if asked.only == "recall":
        recall.recall(rounds, recall.SIZES[:3] if asked.quick else recall.SIZES)
    if asked.only == "tasks":
        tasks.tasks(rounds)
    if asked.only in {None, "consensus"}:
        consensus.consensus(rounds)
    if asked.only in {None, "agents"}:
        agents.agents(rounds)
    _doors(asked.only, rounds, quick=asked.quick)
    _on_disk(asked.only, rounds)
    if asked.only in {None, "cockpit"}:
        cockpit.first_paint(rounds)
        cockpit.key_to_paint(40 if asked.quick else 200)
        load.goals(40 if asked.quick else 200)


def _other_experts(only: str | None, rounds: int, *, quick: bool) -> None:
    if only in {None, "programs"}:
        programs.programs(rounds, 2_000 if quick else 10_000)
    if only in {None, "registry"}:
        registry.registry(rounds)


def _doors(only: str | None, rounds: int, *, quick: bool) -> None:
    if only in {None, "doors-mcp"}:
        doors_mcp.doors_mcp(rounds, doors_mcp.SIZES[:1] if quick else doors_mcp.SIZES)
    if only in {None, "doors-feed"}:
        doors_feed.doors_feed(doors_feed.SIZES[:1] if quick else doors_feed.SIZES)


def _on_disk(only: str | None, rounds: int) -> None:
    if only in {None, "snapshots"}:
        snapshots.snapshots(rounds)
    if only in {None, "log"}:
        history.log(rounds)
        history.jobs(rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Perstack.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only",
        choices=[
            "start",
            "skills",
            "steps",
            "programs",
            "registry",
            "delegates",
            "memory",
            "recall",
            "snapshots",
            "log",
            "cockpit",
            "tasks",
            "agents",
            "consensus",
            "doors-mcp",
            "doors-feed",
        ],
    )
    parser.add_argument("--quick", action="store_true", help="one round, fewer keys")
    return parser


if __name__ == "__main__":
    main()
