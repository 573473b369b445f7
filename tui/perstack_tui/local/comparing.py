"""Comparisons that the cockpit starts: each in a process of its own, which outlives the cockpit."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.comparing import open_comparisons, wish_of
from perstack.config.process_env import process_environment
from perstack.config.typed import Overrides
from perstack.domain.comparisons import ComparisonId, contestants_of
from perstack.errors import NotFoundError, PerstackError, StorageError
from perstack.ports.system import RandomIds
from perstack.project import Project, accept

_BEGINS_WITHIN_S: Final = 30.0
_LOOKED_EVERY_S: Final = 0.1
_SAID: Final = 2_000
_ID: Final = 12


async def compare_headless(
    project: Project, overrides: Overrides, expert: str, query: str, typed: Sequence[str]
) -> ComparisonId:
    """Start a comparison of this project and return once it is recorded; bounded in time.

    One that takes longer to begin, since the folder is large, is returned as well.

    `overrides` hold for each contestant, but for runtime and model, which they name themselves.

    Raises:
        UsageError: query, Expert or contestants cannot be used.
        UntrustedError: a contestant would do what was not accepted yet.
        PerstackError: the process ended before it began.
    """
    shared = replace(overrides, runtime=None, model=None)
    contestants = contestants_of(typed)
    check = partial(wish_of, named=project.trust.named, at_once=1)
    await anyio.to_thread.run_sync(partial(check, project, shared, expert, query, contestants))
    comparison_id = ComparisonId(RandomIds().new()[:_ID])
    words = [expert, query, *(word for one in contestants for word in ("--on", one.typed))]
    arguments = [*words, "--id", comparison_id, *shared.as_arguments()]
    log, child = await anyio.to_thread.run_sync(_spawn, project, comparison_id, arguments)
    # Reaped if this process is still here when it ends; it does not depend on that.
    threading.Thread(target=child.wait, name=f"compare:{comparison_id}", daemon=True).start()
    await _begun(project, comparison_id, log, child)
    return comparison_id


def _spawn(
    project: Project, comparison_id: ComparisonId, arguments: Sequence[str]
) -> tuple[Path, subprocess.Popen[bytes]]:
    # The other process reads the file as it is then; what is compared with here is accepted.
    accept(project, project.config.demands())
    named = ("--config", project.config.argument) if project.trust.named else ()
    logs = project.workspace / "perstack" / "logs"
    log = logs / f"compare-{comparison_id}.log"
    workspace = ("--workspace", str(project.workspace))
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as said:
            child = subprocess.Popen(
                [sys.executable, "-m", "perstack", "compare", *arguments, *workspace, *named],
                cwd=project.workspace,
                env=process_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError(f"the comparison cannot be started: {error.strerror}") from error
    return log, child


async def _begun(
    project: Project, comparison_id: ComparisonId, log: Path, child: subprocess.Popen[bytes]
) -> None:
    store = open_comparisons(project.workspace)
    with anyio.move_on_after(_BEGINS_WITHIN_S):
        while True:
            ended = child.returncode is not None
            try:
                await anyio.to_thread.run_sync(store.get, comparison_id)
            except NotFoundError:
                if ended:
                    break
            else:
                return
            await anyio.sleep(_LOOKED_EVERY_S)
    if child.returncode is None:
        return
    said = await anyio.to_thread.run_sync(_said, log)
    raise PerstackError(said or "the comparison did not begin", hint=f"see {log}")


def _said(log: Path) -> str:
    """Return what the process said, its first error if there is one."""
    try:
        text = log.read_bytes()[-_SAID:].decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    error = next((line for line in lines if line.startswith("Error: ")), None)
    return error.removeprefix("Error: ") if error else " ".join(lines)
