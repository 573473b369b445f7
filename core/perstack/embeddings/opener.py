"""Which embedder is used, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perstack.config.urls import fault_of_any_host, fault_of_url
from perstack.domain.coordination import VectorSearchSettings
from perstack.embeddings import ollama, openai
from perstack.embeddings.http import Endpoint, proxy_for
from perstack.embeddings.minilm import INSTALL, NAME, MiniLmEmbedder, find_minilm
from perstack.embeddings.remote import RemoteEmbedder
from perstack.errors import ProviderError
from perstack.ports.embeddings import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Choice:
    """An embedder, and in a few words why it is this one."""

    embedder: Embedder
    why: str

    def __str__(self) -> str:
        return f"{self.embedder.name}: {self.why}"


class AbsentEmbedder:
    """One that was asked for and cannot be had: whoever needs a vector is told why."""

    def __init__(self, name: str, why: str, hint: str) -> None:
        self.name = name
        self.dimensions: int | None = None
        self._why = why
        self._hint = hint

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Refuse.

        Raises:
            ProviderError: always; it says what is missing.
        """
        raise ProviderError(self._why, hint=self._hint)

    async def aclose(self) -> None:
        """Nothing is held."""


def open_embedder(
    settings: VectorSearchSettings, env: Mapping[str, str], *, always: bool = False
) -> Embedder | None:
    """Return the embedder of the settings, None where there is no search by meaning.

    `always`: one is needed anyway, as drift detection does. Light: weights are read, and vendors
    asked, when a vector is first wanted. What is missing (a key, a package) is told then.
    """
    choice = choose_embedder(settings, env, always=always)
    return choice.embedder if choice else None


def choose_embedder(
    settings: VectorSearchSettings, env: Mapping[str, str], *, always: bool = False
) -> Choice | None:
    """Return what `open_embedder` would, with the reason."""
    if not settings.enabled and not always:
        return None
    match settings.provider:
        case "openai":
            return _openai(settings, env)
        case "ollama":
            return _ollama(settings, env)
        case "embedded":
            return _embedded()
        case "hashed":
            return _hashed("memory.vectorSearch.provider says so")
        case None:
            found = _embedded()
            if not isinstance(found.embedder, AbsentEmbedder):
                return Choice(found.embedder, "its package is installed")
            return _hashed(f"it needs nothing; for meaning rather than words: {INSTALL}")


def describe(
    settings: VectorSearchSettings, env: Mapping[str, str], *, always: bool = False
) -> str:
    """Return one line for people: the embedder's name, and why it is this one."""
    choice = choose_embedder(settings, env, always=always)
    return str(choice) if choice else "none: memory.vectorSearch.enabled is false"


def _openai(settings: VectorSearchSettings, env: Mapping[str, str]) -> Choice:
    model = settings.model or openai.MODEL
    url = env.get("OPENAI_BASE_URL", "").strip().rstrip("/") or openai.URL
    key = env.get("OPENAI_API_KEY", "").strip()
    name = f"openai:{model}"
    if fault := fault_of_url(url):
        return _absent(name, f"OPENAI_BASE_URL {fault}", "use https://host/path")
    if not key:
        return _absent(
            name, "OPENAI_API_KEY is not set", "export OPENAI_API_KEY=... or put it into .env"
        )
    if not (key.isascii() and key.isprintable()):
        return _absent(
            name, "OPENAI_API_KEY holds a character that cannot be sent", "set OPENAI_API_KEY again"
        )
    endpoint = Endpoint(
        "OpenAI", url + openai.PATH, key, "OPENAI_API_KEY", proxy=proxy_for(url, env)
    )
    return Choice(
        RemoteEmbedder(openai.OPENAI, endpoint, model=model),
        "memory.vectorSearch.provider says so; texts are sent to OpenAI",
    )


def _ollama(settings: VectorSearchSettings, env: Mapping[str, str]) -> Choice:
    model = settings.model or ollama.MODEL
    url = env.get("OLLAMA_BASE_URL", "").strip().rstrip("/") or ollama.URL
    if fault := fault_of_any_host(url):
        return _absent(f"ollama:{model}", f"OLLAMA_BASE_URL {fault}", "use http://host:port")
    endpoint = Endpoint("Ollama", url.removesuffix("/v1").removesuffix("/api") + ollama.PATH)
    return Choice(
        RemoteEmbedder(ollama.OLLAMA, endpoint, model=model),
        f"memory.vectorSearch.provider says so; texts are sent to {url}",
    )


def _embedded() -> Choice:
    folder = find_minilm()
    if folder is None:
        return _absent(NAME, "its package is not installed", INSTALL)
    return Choice(MiniLmEmbedder(folder), "memory.vectorSearch.provider says so")


def _hashed(why: str) -> Choice:
    from perstack.embeddings.hashed import HashedEmbedder

    return Choice(HashedEmbedder(), why)


def _absent(name: str, why: str, hint: str) -> Choice:
    return Choice(AbsentEmbedder(name, f"{name}: {why}", hint), f"{why} ({hint})")
