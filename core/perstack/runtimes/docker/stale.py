"""What processes left behind that were killed while a container of theirs drove a job."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

import anyio.to_thread
import psutil

from perstack.domain.ids import JobId
from perstack.runtimes.docker.engine import Engine
from perstack.runtimes.docker.news import LOG

PROJECT: Final = "perstack.project"
PID: Final = "perstack.pid"
BORN: Final = "perstack.born"
HOST: Final = "perstack.host"
JOB: Final = "perstack.job"

_FIELDS: Final = 5
_STOP_WITHIN_S: Final = 10.0
# The clock may be set meanwhile, which moves all births.
_BORN_WITHIN_S: Final = 60.0


def labels_of(project: str, job_id: str) -> Mapping[str, str]:
    """Return what tells whose a container or a network is. Blocks on /proc."""
    return {
        PROJECT: project,
        PID: str(os.getpid()),
        BORN: str(round(psutil.Process().create_time())),
        HOST: socket.gethostname(),
        JOB: job_id,
    }


async def clear_away(engine: Engine) -> frozenset[JobId]:
    """Remove containers and networks whose process is dead; return whose jobs they were.

    What still runs in one is asked to stop first, so that its job stands at a checkpoint. What
    fails is only logged.
    """
    shown = "\t".join(f'{{{{.Label "{name}"}}}}' for name in (PROJECT, JOB, PID, BORN, HOST))
    words = ("ps", "--all", "--filter", f"label={PROJECT}", "--format", shown)
    listed = await engine.run(*words)
    networks = await engine.run("network", "ls", *words[2:])
    dead: dict[str, JobId] = {}
    for line in (*listed.out.splitlines(), *networks.out.splitlines()):
        fields = line.split("\t")
        if len(fields) != _FIELDS or not fields[0]:
            continue
        project, job_id, pid, born, host = fields
        if await anyio.to_thread.run_sync(_is_dead, pid, born, host):
            dead[project] = JobId(job_id)
    for project in sorted(dead):
        LOG.info("clearing away what %s left behind", project)
        await _remove(engine, project)
    return frozenset(dead.values())


async def _remove(engine: Engine, project: str) -> None:
    of_it = ("--filter", f"label={PROJECT}={project}")
    running = (await engine.run("ps", "--quiet", *of_it)).out.split()
    if running:
        await engine.run("kill", "--signal", "INT", f"{project}-runtime")
        await engine.run("wait", f"{project}-runtime", within_s=_STOP_WITHIN_S)
    if found := (await engine.run("ps", "--all", "--quiet", *of_it)).out.split():
        await engine.run("rm", "--force", "--volumes", *found)
    if found := (await engine.run("network", "ls", "--quiet", *of_it)).out.split():
        await engine.run("network", "rm", *found)


def _is_dead(pid: str, born: str, host: str) -> bool:
    """Tell whether the process that made something is gone; what is unclear is let be."""
    if host != socket.gethostname() or not (pid.isdecimal() and born.isdecimal()):
        return False
    try:
        return abs(psutil.Process(int(pid)).create_time() - int(born)) > _BORN_WITHIN_S
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OverflowError):
        return False
