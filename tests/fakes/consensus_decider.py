"""Tries to decide a checkpoint from a process of its own: `DIR ID`; prints what came of it.

Given `--shed`, it drops the marks of a run from its environment first and starts over, as an
Expert that wants to approve its own work would; given `--below DIR`, it says that it drives a job
of that folder and lets a child of its do the deciding.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio

from perstack.domain.ids import ConsensusId
from perstack.errors import PerstackError
from perstack.ports.system import SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.storage.database.opener import database_path, open_stores

MARKS = ("PERSTACK_RUN_ID", "PERSTACK_JOB_ID")


def main(argv: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in MARKS}
    again = [sys.executable, "-m", "tests.fakes.consensus_decider"]
    match argv:
        case ["--shed", *rest]:
            subprocess.run([*again, *rest], env=clean, check=True)
        case ["--below", workspace, *rest]:
            claim_to_drive(Path(workspace))
            subprocess.run([*again, *rest], env=clean, check=True)
        case ["--self", workspace, name, allow]:
            claim_to_drive(Path(workspace))
            anyio.run(decide, Path(workspace), name, allow == "allow")
        case [workspace, name]:
            anyio.run(decide, Path(workspace), name, False)
        case _:
            raise SystemExit(2)


def claim_to_drive(workspace: Path) -> None:
    live = workspace / "perstack" / "live"
    live.mkdir(parents=True, exist_ok=True)
    header = {"pid": os.getpid(), "host": socket.gethostname(), "startedAt": int(time.time() * 1e3)}
    (live / "job1.jsonl").write_text(json.dumps(header) + "\n")


async def decide(workspace: Path, name: str, allow_self: bool) -> None:
    clock = SystemClock()
    service = ConsensusService(
        Handle(lambda: open_stores(database_path(workspace), clock=clock, ids=Uuids())),
        clock=clock,
        workspace=workspace,
    )
    try:
        decided = await service.decide(ConsensusId(name), approved=True, allow_self=allow_self)
        said = decided.status
    except PerstackError as error:
        said = f"{error.code}: {error.message}"
    await service.aclose()
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
