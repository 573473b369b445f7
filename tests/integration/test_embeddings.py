"""Vendors of vectors over real HTTP."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest

from perstack.embeddings import ollama, openai
from perstack.embeddings.http import Endpoint
from perstack.embeddings.remote import RemoteEmbedder
from perstack.errors import ProviderError
from tests.fakes.embedding_server import EmbeddingServer, Reply, embedding_server

pytestmark = pytest.mark.anyio

KEY = "sk-canary-0123456789"


@pytest.fixture
def server() -> Generator[EmbeddingServer]:
    with embedding_server() as served:
        yield served


def of_openai(
    server: EmbeddingServer, *, bound_s: float = 20.0, model: str = "m"
) -> RemoteEmbedder:
    endpoint = Endpoint(
        "OpenAI",
        server.url + "/v1" + openai.PATH,
        KEY,
        "OPENAI_API_KEY",
        bound_s=bound_s,
        pause_s=0.001,
    )
    return RemoteEmbedder(openai.OPENAI, endpoint, model=model)


async def refusal(embedder: RemoteEmbedder, *texts: str) -> ProviderError:
    try:
        with pytest.raises(ProviderError) as caught:
            await embedder.embed(texts or ("a",))
    finally:
        await embedder.aclose()
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


async def test_openai_is_sent_texts_and_the_key_and_gives_rows_in_order(
    server: EmbeddingServer,
) -> None:
    embedder = of_openai(server)
    assert (embedder.name, embedder.dimensions) == ("openai:m", None)
    rows = await embedder.embed(["abc", "", "abcdefg"])
    await embedder.aclose()
    assert server.paths == ["/v1/embeddings"]
    assert server.keys == [f"Bearer {KEY}"]
    assert server.bodies == [
        {"model": "m", "input": ["abc", " ", "abcdefg"], "encoding_format": "float"}
    ]
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.allclose(rows[:, 0] / rows[:, 1], [3, 1, 7])
    assert embedder.dimensions == 2


async def test_ollama_is_sent_texts_without_a_key(server: EmbeddingServer) -> None:
    embedder = RemoteEmbedder(
        ollama.OLLAMA, Endpoint("Ollama", server.url + ollama.PATH), model="other"
    )
    rows = await embedder.embed(["abc", "a"])
    await embedder.aclose()
    assert embedder.name == "ollama:other"
    assert server.paths == ["/api/embed"]
    assert server.keys == [None]
    assert server.bodies == [{"model": "other", "input": ["abc", "a"], "truncate": True}]
    assert np.allclose(rows[:, 0] / rows[:, 1], [3, 1])


async def test_many_texts_go_in_groups_and_long_ones_are_cut(server: EmbeddingServer) -> None:
    embedder = of_openai(server)
    texts = ["a" * (1 + at % 5) for at in range(600)]
    rows = await embedder.embed([*texts, "é" * 20_000, "\ud800"])
    await embedder.aclose()
    assert [len(body["input"]) for body in server.bodies] == [256, 256, 90]
    assert np.allclose(rows[:600, 0] / rows[:600, 1], [len(text) for text in texts])
    assert [len(text) for text in server.bodies[-1]["input"][-2:]] == [6_000, 1]


async def test_no_texts_ask_nobody(server: EmbeddingServer) -> None:
    embedder = of_openai(server, model="text-embedding-3-small")
    assert (await embedder.embed([])).shape == (0, 1_536)
    assert server.bodies == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_pass_is_asked_again(server: EmbeddingServer, status: int) -> None:
    server.replies += [Reply(status=status), Reply(status=status, headers={"retry-after": "0"})]
    embedder = of_openai(server)
    assert (await embedder.embed(["abc"])).shape == (1, 2)
    await embedder.aclose()
    assert len(server.bodies) == 3


async def test_after_three_tries_it_is_an_error(server: EmbeddingServer) -> None:
    server.replies += [Reply({"error": {"message": f"down {KEY}"}}, status=503)] * 3
    error = await refusal(of_openai(server))
    assert error.message == "OpenAI refused or failed (HTTP 503): down ***"
    assert (error.retryable, error.status) == (True, 503)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("reply", "says", "hint"),
    [
        (
            Reply({"error": {"message": "Incorrect API key provided: sk-canary-01****6789"}}, 401),
            "OpenAI refused or failed (HTTP 401): Incorrect API key provided: ***",
            "check OPENAI_API_KEY",
        ),
        (
            Reply({"error": "model not found"}, 404),
            "OpenAI refused or failed (HTTP 404): model not found",
            "check memory.vectorSearch.model in perstack.toml",
        ),
        (Reply(b"<html>\x1b[2J", 400), "OpenAI refused or failed (HTTP 400)", None),
        (
            Reply(status=302, headers={"location": "http://127.0.0.1:1/canary"}),
            (
                "OpenAI refused or failed (HTTP 302): "
                "it redirects to another address, which is not followed"
            ),
            None,
        ),
    ],
)
async def test_a_refusal_is_told_once_in_words(
    server: EmbeddingServer, reply: Reply, says: str, hint: str | None
) -> None:
    server.replies.append(reply)
    error = await refusal(of_openai(server))
    assert (error.message, error.hint, error.retryable) == (says, hint, False)
    assert len(server.bodies) == 1


def data(*vectors: object) -> Reply:
    items = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return Reply({"data": items})


@pytest.mark.parametrize(
    "reply",
    [
        Reply({}),
        Reply({"data": "x"}),
        Reply({"data": [1, None]}),
        Reply(b"[]"),
        data([1, 2]),
        data([1, 2], [3]),
        data([1, 2], [3, "x"]),
        data([1, 2], [3, None]),
        data([1, 2], []),
        data([], []),
        data([1, 2], [3, float("nan")]),
        data([1, 2], [3, 1e300]),
        data([[1], [2]], [[3], [4]]),
        Reply({"data": [{"index": 0, "embedding": [1, 2]}] * 2}),
        Reply({"data": [{"index": [], "embedding": [1, 2]}] * 2}),
    ],
)
@pytest.mark.filterwarnings("error")
async def test_an_answer_without_vectors_is_refused(server: EmbeddingServer, reply: Reply) -> None:
    server.replies.append(reply)
    error = await refusal(of_openai(server), "a", "b")
    assert error.message == "OpenAI answered with something that is no vector for each text"


@pytest.mark.parametrize("said", [b"", b"no json", b"[" * 100_000, b"\xff\xfe"])
async def test_an_answer_that_is_no_json_is_refused(server: EmbeddingServer, said: bytes) -> None:
    server.replies.append(Reply(said))
    error = await refusal(of_openai(server))
    assert error.message == "OpenAI sent an answer that cannot be read"


async def test_a_compressed_answer_is_not_unpacked(server: EmbeddingServer) -> None:
    server.replies.append(Reply(b"x", headers={"content-encoding": "gzip"}))
    error = await refusal(of_openai(server))
    assert error.message == "OpenAI sent a compressed answer unasked"


async def test_another_number_of_dimensions_than_the_models_is_refused(
    server: EmbeddingServer,
) -> None:
    error = await refusal(of_openai(server, model="text-embedding-3-small"))
    assert "no vector for each text" in error.message


async def test_silence_is_bounded(server: EmbeddingServer) -> None:
    server.replies += [Reply(hang=True)] * 3
    error = await refusal(of_openai(server, bound_s=0.3))
    assert error.retryable
    assert error.message.startswith("OpenAI did not answer ")


async def test_a_closed_port_is_told() -> None:
    with embedding_server() as served:
        embedder = of_openai(served)
    error = await refusal(embedder)
    assert error.retryable
    assert error.message.startswith("the connection to OpenAI failed")
