"""The HTTP server: who may come in, what it listens on, and how it ends."""

from __future__ import annotations

import logging
import secrets
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import TaskGroup
from fastapi import FastAPI

from perstack.engine.groups import unwrapped
from perstack.errors import UsageError
from perstack.ports.system import SystemClock, Uuids
from perstack.services.users import UserService
from perstack.services.whoami import whoami
from perstack.serving.backend import Place, open_backend
from perstack.serving.feed.hub import open_feed
from perstack.serving.http.listening import Server, bound, server_of
from perstack.serving.http.rules import LOOPBACK_NAMES
from perstack.serving.jobs import ServedJobs, open_jobs
from perstack.serving.rest.app import API, create_app
from perstack.serving.rest.context import Doorkeeper, RestState
from perstack.serving.rest.doorkeeping import LEAST_TOKEN, SERVER_TOKEN, OpenDoor, TokenDoor
from perstack.serving.rest.limits import LoginLimits
from perstack.serving.rest.passwords import Argon2Passwords
from perstack.serving.rest.rules import Rules
from perstack.serving.rest.sign_in import SignIn
from perstack.serving.rest.signing import Signer, secret_of

PORT: Final = 3001
_ANY: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  refused without users

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens and whom it lets in, as it was asked for.

    `say` is told, line by line, what the person at the terminal has to know.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    origins: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    no_auth: bool = False
    open_registration: bool = False
    open_metrics: bool = False

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK_NAMES

    def rules(self) -> Rules:
        """Return what it lets through.

        Raises:
            UsageError: the options do not fit together, or an origin is none.
        """
        if self.no_auth and not self.loopback:
            raise UsageError(
                f"--no-auth is for this machine alone, not for {self.host!a}",
                hint="leave --host out, or add users: perstack user add NAME --email ADDRESS",
            )
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise UsageError(f"{origin!a} is no origin", hint="write https://HOST:PORT")
        own = frozenset({self.host.lower()} - _ANY)
        return Rules(
            hosts=LOOPBACK_NAMES | own | frozenset(name.lower() for name in self.names),
            any_address=not self.loopback,
            origins=self.origins,
            open_metrics=self.open_metrics,
            open_registration=self.open_registration,
        )


async def serve(place: Place, asked: Listening, env: Mapping[str, str], say: Say) -> None:
    """Serve until SIGINT or SIGTERM; then jobs are stopped at a checkpoint.

    Raises:
        ConfigError: the place cannot be served.
        UsageError: the options do not fit together, or nobody could sign in.
        ConflictError: the port is taken.
    """
    rules, signer = asked.rules(), Signer(secret_of(env), clock=SystemClock())
    with unwrapped():
        async with (
            bound(asked.host, asked.port) as listener,
            open_backend(place) as backend,
            open_jobs(backend) as jobs,
            open_feed(backend) as feed,
        ):
            users = UserService(
                backend.tables.stores,
                passwords=Argon2Passwords(),
                clock=SystemClock(),
                ids=Uuids(),
            )
            keeper = await _doorkeeper(asked, users, signer, env, say)
            entry = SignIn(users, signer, LoginLimits())
            state = RestState(backend, jobs, keeper, entry, feed, rules)
            _tell(listener, asked, say)
            await _run(create_app(state), listener, state)


def _is_news(record: logging.LogRecord) -> bool:
    # A WebSocket that is refused is answered as HTTP is, which uvicorn takes for no answer.
    return "without completing handshake" not in record.getMessage()


async def _run(app: FastAPI, listener: socket.socket, state: RestState) -> None:
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = server_of(app)
    async with anyio.create_task_group() as group:
        group.start_soon(_watch_signals, server, state, group)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()


async def _watch_signals(server: Server, state: RestState, group: TaskGroup) -> None:
    """End the server at the first signal, at once at the second."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            again = server.should_exit
            server.should_exit = True
            server.force_exit = again
            state.feed.close()
            group.start_soon(_stop_jobs, state.jobs, again)


async def _stop_jobs(jobs: ServedJobs, now: bool) -> None:
    await jobs.stop_all(now=now)


async def _doorkeeper(
    asked: Listening, users: UserService, signer: Signer, env: Mapping[str, str], say: Say
) -> Doorkeeper:
    """Return who asks whom, having said what a person needs to be let in."""
    if asked.no_auth:
        say("Nobody is asked who they are: every program of this machine may do everything.")
        return OpenDoor(whoami())
    token = env.get(SERVER_TOKEN, "").strip() or None
    if token is not None and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"{SERVER_TOKEN} must have at least {LEAST_TOKEN} characters",
            hint="openssl rand -hex 32 makes one",
        )
    if token is None and not await users.has_admin():
        if not asked.loopback:
            raise UsageError(
                f"nobody could sign in at {asked.host!a}: there is no admin",
                hint="perstack user add NAME --email ADDRESS --role admin",
            )
        token = secrets.token_urlsafe(LEAST_TOKEN)
        say(f"Token, for this start of the server alone: {token}")
    return TokenDoor(users=users, signer=signer, name=whoami(), server_token=token)


def _tell(listener: socket.socket, asked: Listening, say: Say) -> None:
    port = listener.getsockname()[1]
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    base = f"http://{host}:{port}"
    say(f"Perstack API:  {base}{API}")
    say(f"Description:   {base}/openapi.json")
    say(f"Events:        {base}/events   WebSocket: ws://{host}:{port}/ws")
    say(f"Metrics:       {base}/metrics")
    say("Ctrl-C stops it; jobs stop at a checkpoint.")
