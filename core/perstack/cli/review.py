"""`perstack review`: one Expert writes code, another tries to break it, until it cannot."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.cli.service_driving import Driven
    from perstack.coordination import Coordination
    from perstack.domain.reviews import LoopId, ReviewLoop
    from perstack.services.bus import Message

T = TypeVar("T")

Id = Annotated[str, typer.Argument(metavar="ID", help="The loop's id.")]
Code = Annotated[
    str,
    typer.Argument(metavar="TEXT", help="Code to be reviewed, or what is to be written; @FILE."),
]
Iterations = Annotated[
    int, typer.Option("--max-iterations", metavar="N", help="Reviews it may take, 1 to 10.")
]
Wait = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="Drive it to its end; else only write it, to resume."),
]
Coder = Annotated[str, typer.Option("--coder", metavar="EXPERT", help="Who writes the code.")]
Adversary = Annotated[
    str, typer.Option("--adversarial", metavar="EXPERT", help="Who tries to break it.")
]
All = Annotated[bool, typer.Option("--all", help="Also those that have ended.")]
Session = Annotated[
    str | None, typer.Option("-s", "--session", metavar="ID", help="Only those of a session.")
]


def review_app() -> typer.Typer:
    """Return the `review` commands."""
    return s.noun(
        "review",
        "Review loops: code is written, attacked and fixed until it stands.",
        (start, status, list_, issues, code, abort, resume),
    )


def start(
    text: Code,
    max_iterations: Iterations = 3,
    wait: Wait = True,
    coder: Coder = "coder",
    adversarial: Adversary = "adversarial",
    model: o.Model = None,
    session: a.Session = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Have code written and reviewed until it is approved, or the reviews are used up.

    Exit codes: 0 approved, 1 rejected, failed or aborted, 5 storage, 6 a limit was reached,
    129/130/143 stopped by a signal; review resume goes on.
    """
    from perstack.cli.agent_work import text_of
    from perstack.domain.ids import ExpertKey

    place, given = a.Place(workspace, config, trust), text_of(text, "File")

    async def create(made: Coordination) -> ReviewLoop:
        return await made.reviews.create(
            given,
            max_iterations=max_iterations,
            session_id=s.session_of(session),
            coder=ExpertKey(coder),
            adversarial=ExpertKey(adversarial),
            model=model,
        )

    if wait:
        _drive(place, as_json, lambda made: _id_of(create(made)))
    else:
        _show(as_json, s.with_services(place, create, writes=True))


def resume(
    loop_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Go on with a loop that nobody drives; one that has ended is only shown.

    Exit codes: as review start.
    """
    place = a.Place(workspace, config, trust)
    # Looked for first: a loop that is not there is said before a key that is not there.
    found = _get(place, loop_id)

    async def wanted() -> LoopId:
        return found.id

    _drive(place, as_json, lambda _: wanted())


def status(
    loop_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show how a loop stands, and its latest review."""
    _show(as_json, _get(a.Place(workspace, config, trust), loop_id))


def list_(
    everything: All = False,
    session: Session = None,
    limit: s.Limit = 100,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List the loops that have not ended, newest first."""
    from typing import get_args

    from perstack.domain.review_views import loop_list
    from perstack.domain.reviews import ACTIVE, LoopStatus
    from perstack.projection.review_text import loop_rows
    from perstack.services.bounds import check_number

    check_number(limit, "limit", least=1, most=1_000)
    statuses = get_args(LoopStatus) if everything else ACTIVE

    async def ask(made: Coordination) -> list[ReviewLoop]:
        session_id = s.session_of(session)
        return list(await made.reviews.list(statuses=statuses, session_id=session_id, limit=limit))

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(loop_list(found)), lambda: loop_rows(found))


def issues(
    loop_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show what each review of a loop found."""
    from perstack.domain.review_views import loop_issues
    from perstack.projection.review_text import issue_lines

    found = _get(a.Place(workspace, config, trust), loop_id)
    s.show(as_json, lambda: s.json_of_one(loop_issues(found)), lambda: issue_lines(found))


def code(
    loop_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Print the coder's latest code."""
    from perstack.domain.review_views import loop_code
    from perstack.projection.review_text import code_lines

    found = _get(a.Place(workspace, config, trust), loop_id)
    s.show(as_json, lambda: s.json_of_one(loop_code(found)), lambda: code_lines(found))


def abort(
    loop_id: Id,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End a loop, whoever drives it; its Experts stop within a second."""
    from perstack.domain.review_views import loop_summary

    async def ask(made: Coordination) -> ReviewLoop:
        return await made.reviews.abort(_loop_id(loop_id))

    place = _there(a.Place(workspace, config, trust))
    ended = s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(loop_summary(ended)), lambda: ["Review loop aborted."])


# ----------------------------------------------------------------------- internals


async def _id_of(made: Awaitable[ReviewLoop]) -> LoopId:
    return (await made).id


def _drive(
    place: a.Place, as_json: bool, begin: Callable[[Coordination], Awaitable[LoopId]]
) -> None:
    from perstack.cli.service_driving import drive, tell
    from perstack.domain.review_views import loop_outcome
    from perstack.projection.review_text import outcome_lines, progress_line

    async def work(made: Coordination, driven: Driven[ReviewLoop]) -> ReviewLoop:
        loop_id = await begin(made)
        driven.what = loop_id
        quiet = tell(made, f"review-loop:{loop_id}", line)
        try:
            return await made.reviews.resume(loop_id)
        finally:
            quiet()

    def line(message: Message) -> str | None:
        return progress_line(message.type, message.payload)

    def again(loop_id: str) -> str:
        return f"{shlex.join(['perstack', 'review', 'resume', loop_id])}{s.where(place)}"

    loop = drive(place, work, runs=True, again=again)
    if isinstance(loop, int):
        raise typer.Exit(loop)
    s.show(as_json, lambda: s.json_of_one(loop_outcome(loop)), lambda: outcome_lines(loop))
    raise typer.Exit(0 if loop.status == "approved" else 1)


def _get(place: a.Place, loop_id: str) -> ReviewLoop:
    async def ask(made: Coordination) -> ReviewLoop:
        return await made.reviews.get(_loop_id(loop_id))

    return s.with_services(_there(place), ask, writes=False)


def _show(as_json: bool, loop: ReviewLoop) -> None:
    from perstack.domain.review_views import loop_report
    from perstack.projection.review_text import loop_lines

    s.show(as_json, lambda: s.json_of_one(loop_report(loop)), lambda: loop_lines(loop))


def _there(place: a.Place) -> a.Place:
    s.refuse_empty(place, "Review loop not found")
    return place


def _loop_id(text: str) -> LoopId:
    from perstack.domain.reviews import LoopId

    return LoopId(text)
