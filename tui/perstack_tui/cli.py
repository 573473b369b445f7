"""The cockpit as a front end of the `perstack` command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from perstack.errors import UsageError
from perstack.ports.frontend import IN_BROWSER, CockpitRequest, WebRequest

if TYPE_CHECKING:
    from pathlib import Path

    from textual.driver import Driver

    from perstack_tui.ports.gateway import Gateway
    from perstack_tui.settings import Settings
    from perstack_tui.state.pump import Fold

SIGNAL_CODES: Final = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}


def open_cockpit(request: CockpitRequest) -> int:
    """Show the cockpit until the user leaves; return the program's exit code.

    Raises:
        UsageError: there is no terminal that could show it, or no theme of that name.
    """
    if request.web is not None:
        return _serve(request.web)

    async def open_gateway() -> Gateway:
        # Half a second of imports: in a thread, so that keys are answered meanwhile.
        await anyio.to_thread.run_sync(import_module, "perstack_tui.local.gateway")
        from perstack_tui.local.gateway import open_local_gateway

        return await open_local_gateway(request)

    if IN_BROWSER not in os.environ and (request.linear or _prefers_lines(request.workspace)):
        return converse_over(request, open_gateway, _make_fold)
    return show(request, open_gateway, _make_fold)


def _prefers_lines(workspace: Path) -> bool:
    """Tell whether the user's settings ask for lines instead of a screen."""
    return _settings(workspace).screen_reader


def _settings(workspace: Path) -> Settings:
    from perstack.config.process_env import process_environment
    from perstack.errors import ConfigError
    from perstack_tui.places import places_of
    from perstack_tui.settings import Settings, read_settings

    environ = process_environment()
    try:
        return read_settings(places_of(workspace, environ).settings, environ)
    except ConfigError:
        return Settings()


def converse_over(
    request: CockpitRequest,
    open_gateway: Callable[[], Awaitable[Gateway]],
    make_fold: Callable[[], Fold],
) -> int:
    """Hold a conversation in lines over any gateway; return the program's exit code.

    Raises:
        UsageError: there is no terminal that somebody could type at.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a conversation needs a terminal",
            hint="perstack run EXPERT QUERY prints its progress anywhere",
        )
    from perstack.config.process_env import process_environment
    from perstack_tui.linear.front import Front, converse

    front = Front(
        request,
        open_gateway,
        make_fold,
        environ=process_environment(),
        reviewer=reviewer_name(),
        end_after=_end_after,
        rings=_settings(request.workspace).notify,
    )
    return converse(front)


def show(
    request: CockpitRequest,
    open_gateway: Callable[[], Awaitable[Gateway]],
    make_fold: Callable[[], Fold],
) -> int:
    """Show the cockpit over any gateway; both factories are called after the first paint."""
    in_browser = os.environ.pop(IN_BROWSER, None) is not None
    if not in_browser:
        _require_terminal()
    from perstack_tui import collecting

    collecting.hold()
    from perstack.config.process_env import process_environment
    from perstack_tui.app import Cockpit
    from perstack_tui.driver import SturdyDriver
    from perstack_tui.opening import Opening
    from perstack_tui.restoring import recall

    environ = process_environment()
    kept = recall(request.workspace, request.theme, environ)
    opening = Opening(
        workspace=request.workspace,
        open_gateway=open_gateway,
        make_fold=make_fold,
        theme=kept.theme,
        settings=kept.settings,
        places=kept.places,
        own_palettes=kept.own_palettes,
        session=kept.session,
        trouble=kept.trouble,
        environ=environ,
        expert_key=request.expert_key,
        query=request.query,
        job_id=request.job_id,
        goes_on=request.goes_on,
        answers=request.answers,
        observing=request.observe,
        reviewer=reviewer_name(),
        signals=_signals(),
        end_after=_end_after,
        open_log=partial(_open_log, request.workspace, environ),
        loaded=collecting.resume,
    )
    app = Cockpit(opening, _web_driver() if in_browser else SturdyDriver)
    app.run(mouse=kept.settings.mouse)
    return app.return_code or 0


def _web_driver() -> type[Driver]:
    from perstack_tui.web.driver import SturdyWebDriver

    return SturdyWebDriver


def _serve(request: WebRequest) -> int:
    try:
        from perstack_tui.web.server import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            "the browser's server is not installed", hint='pip install "perstack[web]"'
        ) from error
    return serve(request)


def reviewer_name() -> str:
    """Return who sits here, as decisions record it: `ana@pi`."""
    from perstack.services.whoami import whoami

    return whoami()


def _open_log(workspace: Path, environ: Mapping[str, str]) -> None:
    from perstack.config.secrets import secret_values
    from perstack.runtime import log_to_file

    log_to_file(workspace, tuple(secret_values(environ)))


def _make_fold() -> Fold:
    from perstack.projection.workspace import WorkspaceFold

    return WorkspaceFold()


def _signals() -> dict[int, int]:
    return {int(getattr(signal, name)): code for name, code in SIGNAL_CODES.items()}


def _end_after(code: int, seconds: float) -> None:
    """End the process `seconds` from now, if it has not ended by itself.

    Threads that hang (a terminal, a network folder) would otherwise keep it. Ending it hard costs
    nothing that was recorded: records are made durable as they are written, a torn one is cut off,
    and the locks go with the process. Only the terminal may be left as it is.
    """
    last_resort = threading.Timer(seconds, os._exit, (code,))
    last_resort.daemon = True
    last_resort.start()


def _require_terminal() -> None:
    dumb = os.environ.get("TERM", "") in ("", "dumb")
    if dumb or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the cockpit needs a terminal",
            hint="perstack run EXPERT QUERY prints its progress anywhere",
        )
