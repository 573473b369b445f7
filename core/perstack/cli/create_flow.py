"""What `perstack create` does, from its first question to what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from perstack.cli.create_files import (
    Change,
    change_of,
    setup_changes,
    shown,
    text_of,
    write,
)
from perstack.cli.create_job import Made, Work, drive, find_progress
from perstack.cli.create_setup import (
    Key,
    Setup,
    ask_key,
    ask_setup,
    check_name,
    check_scenario,
    missing,
    typed,
    unknown_model,
    usual_setup,
    vendor_of,
)
from perstack.cli.listeners import say
from perstack.cli.printing import print_lines
from perstack.cli.prompting import CancelledError, ask, confirm, is_terminal
from perstack.cli.registry_experts import complete
from perstack.config.builtin import reachable
from perstack.config.created_files import tables_of
from perstack.config.env import read_environment
from perstack.config.find import find
from perstack.config.process_env import process_environment
from perstack.config.provider_keys import has_credentials
from perstack.config.typed import Overrides
from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.jobs import SomeLimits
from perstack.domain.settings import BudgetSettings, ProviderSettings, Settings
from perstack.errors import ConfigError, UsageError
from perstack.project import Project, accept, open_project
from perstack.projection.inert import inert
from perstack.services.answers import check_length
from perstack.services.creating import Progress
from perstack.services.creating_draft import Draft, Ground, check_draft

_ENV: Final = ".env"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed. `goes_on`: with an earlier creation, that of `job` or the latest."""

    workspace: Path
    config: str | None
    name: str | None
    wish: str | None
    over: Overrides
    yes: bool = False
    try_all: bool = False
    trials: int = 3
    trust: bool = False
    goes_on: bool = False
    job: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The options that say where the project is."""
        words: list[str] = []
        if str(self.workspace) != ".":
            words += ["--workspace", str(self.workspace)]
        if self.config is not None:
            words += ["--config", self.config]
        return tuple(words)


def run_create(wanted: Wanted) -> int:
    """Create what is wanted and return the exit code.

    Raises:
        PerstackError: it could not be done; nothing is half written.
    """
    try:
        return _run(wanted)
    except CancelledError:
        say("Cancelled")
        return 1
    except KeyboardInterrupt:
        say("")  # what comes next stands below the question
        raise


def _run(wanted: Wanted) -> int:
    if not wanted.workspace.is_dir():
        raise UsageError(f"{wanted.workspace} is not a folder")
    if wanted.name is not None:
        check_name(wanted.name)
    asks = _asks(wanted)
    source = find(wanted.workspace, wanted.config)
    if isinstance(source, str):
        raise UsageError(
            "a configuration at a URL cannot be written to", hint="name a file with --config"
        )
    job: tuple[JobId, Progress] | None = None
    if wanted.goes_on:
        job = find_progress(wanted.workspace.absolute(), wanted.job)
    if source is None and job is None:
        prepared = _begin(wanted, asks=asks)
        if prepared is None:
            return 1
        project, progress = prepared
    else:
        project = _existing(wanted, asks=asks)
        progress = job[1] if job else _progress(wanted, asks=asks)
    work = _work(wanted, project, progress, job[0] if job else None, asks=asks)
    return _finish(drive(work), work)


def _asks(wanted: Wanted) -> bool:
    """Tell whether the user is asked, as without `--yes`.

    Raises:
        UsageError: nobody can be asked, and `--yes` was not given, or not what goes with it.
    """
    if wanted.yes:
        if not wanted.goes_on and not (wanted.wish or "").strip():
            raise UsageError(
                "--yes asks nothing, so that the command has to say what the Expert is to do",
                hint='perstack create NAME "what it should do" --yes',
            )
        return False
    if not is_terminal():
        raise UsageError(
            "perstack create asks before it writes, and there is no terminal to ask in",
            hint="say the same with --yes"
            if wanted.goes_on
            else 'perstack create NAME "what it should do" --yes',
        )
    return True


def _begin(wanted: Wanted, *, asks: bool) -> tuple[Project, Progress] | None:
    """Make the folder a project; None where the user does not want what would be written."""
    folder = wanted.workspace.absolute()
    env = read_environment(folder, (_ENV,), process_environment())
    given = typed(wanted.over.runtime, wanted.over.provider, wanted.over.model)
    if not asks:
        setup = usual_setup(given, env)
        if setup.vendor is not None and not has_credentials(setup.vendor, env):
            raise missing(setup.vendor)
    else:
        from perstack.cli.create_detect import detect

        say("Looking for runtimes, keys and local models ...")
        setup = ask_setup(given, env, anyio.run(detect, env, folder))
    if given.model is not None and setup.vendor is not None:
        provider = ProviderSettings(name=setup.vendor)
        _warn_of_model(Settings(model=given.model, provider=provider), env)
    check_scenario(setup.vendor, folder, wanted.over.scenario)
    progress = _progress(wanted, asks=asks)
    if not _written(folder, setup_changes(folder, setup, setup.key), asks=asks):
        return None
    if setup.vendor is None:
        raise _no_model(setup)
    project = _opened(wanted)
    # What the file asks for was typed or chosen a moment ago; an env file may be a stranger's.
    accept(project, project.config.demands())
    return _opened(wanted), progress


def _existing(wanted: Wanted, *, asks: bool) -> Project:
    """Open the project that is there; a key that is missing is asked for."""
    project = _opened(wanted)
    if wanted.over.model is not None:
        _warn_of_model(project.config.settings, project.env)
    vendor = vendor_of(project.config.settings.provider.name)
    if vendor is None or has_credentials(vendor, project.env):
        return project
    if not asks or _ENV not in project.config.env_paths:
        raise missing(vendor)
    key: Key | None = ask_key(vendor, project.env)
    folder = project.workspace
    changes = [one for one in setup_changes(folder, None, key) if one.secret is not None]
    if not _written(folder, changes, asks=asks):
        raise missing(vendor)
    return _opened(wanted)


def _warn_of_model(settings: Settings, env: Mapping[str, str]) -> None:
    if (doubt := unknown_model(settings, env)) is not None:
        say(f"Warning: {doubt}")


def _opened(wanted: Wanted) -> Project:
    """Open the project; what creates is always the built-in runtime, whose tools can be ours."""
    over = replace(wanted.over, runtime=None)
    project = open_project(wanted.workspace, wanted.config, over, trust=wanted.trust)
    if project.config.settings.runtime.name == "perstack":
        return project
    over = replace(over, runtime="perstack")
    return open_project(wanted.workspace, wanted.config, over, trust=wanted.trust)


def _progress(wanted: Wanted, *, asks: bool) -> Progress:
    """Ask for a name and a wish, unless they were typed."""
    name, wish = wanted.name, (wanted.wish or "").strip()
    while asks and name is None and wanted.wish is None:
        said = ask("Name of the Expert", enter="one is chosen")
        try:
            name = check_name(said) if said else None
        except UsageError as error:
            say(f"{error.message}: {error.hint}")
            continue
        break
    while asks and not wish:
        wish = ask("What it should do, or do better")
    check_length("what the Expert is to do", wish)
    return Progress(name=name, wish=wish)


def _work(
    wanted: Wanted,
    project: Project,
    progress: Progress,
    job_id: JobId | None,
    *,
    asks: bool,
) -> Work:
    name = None if progress.name is None else ExpertKey(progress.name)
    known, definition = project.config.experts, ""
    if name is not None and name in known:
        # What it is now has to be there, so that it can be tried.
        project.admit(known)
        project = anyio.run(partial(complete, yes=wanted.yes), project, [name])
    ground = _ground(project, name)
    if name is not None and ground.improves:
        definition = tables_of(ground.text, list(reachable(known[name], known)))
    over = wanted.over
    budget = BudgetSettings(
        max_tokens=over.max_tokens,
        max_cost_usd=over.max_cost_usd,
        max_duration=over.max_duration_ms,
    )
    return Work(
        project=project,
        ground=ground,
        progress=progress,
        definition=definition,
        trials=wanted.trials,
        asks=asks,
        allows_all=wanted.try_all,
        words=wanted.words,
        over=replace(over, runtime=None),
        typed=SomeLimits(max_steps=over.max_steps, budget=budget),
        job_id=job_id,
    )


def _ground(project: Project, name: ExpertKey | None) -> Ground:
    # A file that could not be written in the end is refused before anything is asked of a model.
    text = text_of(project.config.path) or ""
    return Ground(project.config.path, text, project.config, name, project.fetched)


def _finish(made: Made, work: Work) -> int:
    """Show how perstack.toml would change and write it; return the exit code."""
    if made.code != 0:
        if made.draft is not None:
            say(f"The draft so far: {made.folder / 'draft.toml'}")
        return made.code
    if made.draft is None:
        say("Error: it finished without a draft that can be used, so no Expert was written.")
        say("Hint: perstack log shows why; say more of what it is to do, or try another model")
        return 1
    # The file may have been changed in the meantime; the draft is joined with what is there now.
    draft = _joined_anew(made.draft, work)
    path = work.ground.path
    change = change_of(path, draft.text)
    if not change.is_needed:
        say(f"{path.name} says all of this already.")
        return 0
    if not made.tried:
        say("Note: this draft was not tried.")
    if not _written(path.parent, [change], asks=work.asks):
        say(f"The draft is kept: {made.folder / 'draft.toml'}")
        say("perstack create --continue shows it again.")
        return 1
    print_lines(_next(draft, work))
    return 0


def _joined_anew(draft: Draft, work: Work) -> Draft:
    ground = _ground(work.project, work.ground.name)
    if ground.text == work.ground.text:
        return draft
    from perstack.config.load import load_config

    try:
        return check_draft(replace(ground, config=load_config(ground.path)), draft.toml)
    except ValueError as error:
        raise UsageError(f"{ground.path.name} has changed meanwhile: {error}") from error


def _written(folder: Path, changes: Sequence[Change], *, asks: bool) -> bool:
    """Show what would be written, and write it once the user agrees."""
    if not changes:
        return True
    say("This would be written:" if asks else "This is written:")
    for line in shown(folder, changes):
        say(f"  {line}")
    if asks and not _agrees("Write it?"):
        say("Nothing was written.")
        return False
    write(folder, changes)
    return True


def _agrees(question: str) -> bool:
    try:
        return confirm(question)
    except CancelledError:
        return False


def _next(draft: Draft, work: Work) -> list[str]:
    first = work.ground.name or draft.drafted[0]
    lines = [f"Wrote {work.ground.path}: {', '.join(draft.drafted)}", "", "Next:"]
    # Limits were for creating it.
    over = replace(
        work.over, max_steps=None, max_tokens=None, max_cost_usd=None, max_duration_ms=None
    )
    typed_again = [*over.as_arguments(), *work.words]
    words = f" {shlex.join(typed_again)}" if typed_again else ""
    lines.append(f'  perstack start {first} "..."{words}')
    lines.append(f'  perstack create {first} "what to do better"{words}')
    return [inert(line, newlines=False) for line in lines]


def _no_model(setup: Setup) -> ConfigError:
    return ConfigError(
        f"{setup.runtime} executes the Experts of this folder now, but it cannot be given the "
        "tools that creating one takes, and no key for the built-in runtime is set",
        hint="set a key such as ANTHROPIC_API_KEY and type it once more, or write the Expert "
        "yourself: AGENTS.md says how",
    )
