"""What of runtimes, keys and local models `perstack create` can offer, looked for at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import httpx2
from pydantic import BaseModel, ValidationError

from perstack.config.provider_keys import credentialed
from perstack.config.urls import fault_of_any_host
from perstack.domain.settings import Settings, VendorName
from perstack.ports.programs import Installed
from perstack.runtime import look_for_runtimes

OLLAMA: Final = "http://127.0.0.1:11434"
_OLLAMA_S: Final = 1.0
_RUNTIMES_S: Final = 8.0
_MOST_BYTES: Final = 1_000_000
_MODELS: Final = 30


class _Model(BaseModel):
    name: str


class _Tags(BaseModel):
    models: list[_Model] = []


@dataclass(frozen=True, slots=True)
class Found:
    """`programs` can execute Experts; `vendors` have their keys; `models` are Ollama's.

    `models` None: nobody answers there.
    """

    programs: tuple[Installed, ...]
    vendors: tuple[VendorName, ...]
    models: tuple[str, ...] | None


async def detect(env: Mapping[str, str], workspace: Path) -> Found:
    """Look for everything at once, in at most 8 s."""
    programs: list[Installed] = []
    models: list[tuple[str, ...] | None] = []

    async def look() -> None:
        # What does not answer in time is as good as not there; usual commands, not a file's.
        with anyio.move_on_after(_RUNTIMES_S):
            programs.extend(await look_for_runtimes(Settings(), env, workspace))

    async def ask() -> None:
        models.append(await local_models(env))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        group.start_soon(ask)
    usable = [one for one in programs if one.name != "perstack" and one.problem is None]
    vendors: tuple[VendorName, ...] = tuple(name for name in credentialed(env) if name != "ollama")
    return Found(tuple(usable), vendors, models[0])


async def local_models(env: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the models that Ollama has, None where it does not answer within a second."""
    url = env.get("OLLAMA_BASE_URL", "").strip().rstrip("/") or OLLAMA
    if fault_of_any_host(url) is not None:
        return None
    url = url.removesuffix("/v1").removesuffix("/api")
    with anyio.move_on_after(_OLLAMA_S):
        try:
            return _names(await _answer(f"{url}/api/tags"))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValidationError, ValueError):
            return None
    return None


async def _answer(url: str) -> bytes:
    """Return what is answered.

    Raises:
        ValueError: it is no success, or too much.
    """
    said = bytearray()
    async with (
        # No proxy, no redirects: it is this machine, or one that the user named.
        httpx2.AsyncClient(timeout=_OLLAMA_S, trust_env=False) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code != 200:
            raise ValueError(response.status_code)
        async for piece in response.aiter_bytes():
            said += piece
            if len(said) > _MOST_BYTES:
                raise ValueError("too much")
    return bytes(said)


def _names(said: bytes) -> tuple[str, ...]:
    models: Sequence[_Model] = _Tags.model_validate_json(said).models
    return tuple(one.name for one in models if one.name.isprintable() and one.name)[:_MODELS]
