"""`/v1/embeddings`: the mean of the final hidden states, in numbers or base64."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openai
import pytest
import pytest_asyncio
import torch
from tests.server.surfaces.client import address, post
from transformers import AutoModel
from transformers.utils import logging

from pie.config import ModelSettings, Settings, embedded_model
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.testing import write_random_model

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/v1/embeddings"
TEXTS = ["Oslo", "The capital of Norway is Oslo. " * 30, "Rain, rain, and no umbrella"]
Vectors = npt.NDArray[np.float64]


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


@dataclass(frozen=True, slots=True)
class Small:
    """A server with a small random model in f32 beside the embedded one, and where both models are."""

    server: Server
    folders: dict[str, Path]


@pytest_asyncio.fixture(loop_scope="session")
async def small(tmp_path: Path, cache_dir: Path) -> AsyncIterator[Small]:
    folders = {"embedded_model": embedded_model(), "small": write_random_model(tmp_path / "random", seed=3)}
    more = (ModelSettings(folders["small"], name="small", kv_pages=64),)
    settings = Settings(tmp_path / "home", cache_dir, folders["embedded_model"], kv_pages=64, more_models=more)
    options = ServerSettings(port=0, authentication=False, grace_s=0)
    async with Runtime(settings) as runtime:
        with listen(options) as listening:
            async with serve(runtime, options, listening, home=tmp_path) as server:
                yield Small(server, folders)


def expected(folder: Path, tokens: list[int]) -> Vectors:
    """The mean of the last hidden states of transformers, in f32."""
    logging.disable_progress_bar()
    reference: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        mean: Vectors = reference(torch.tensor([tokens])).last_hidden_state[0].double().mean(dim=0).numpy()
    return mean


@pytest.mark.parametrize(("name", "tolerance"), [("small", 1e-5), ("embedded_model", 2e-2)])
async def test_an_embedding_is_the_mean_of_transformers_last_hidden_states(
    small: Small, name: str, tolerance: float
) -> None:
    reply = await post(small.server, PATH, {"model": name, "input": TEXTS})
    tokenizer = small.server.service.runtime.models[name].tokenizer
    assert reply.status == 200, reply.content
    assert reply.body["usage"]["prompt_tokens"] == sum(len(tokenizer.encode(text)) for text in TEXTS)
    for text, entry in zip(TEXTS, reply.body["data"], strict=True):
        wanted = expected(small.folders[name], list(tokenizer.encode(text)))
        assert np.abs(np.array(entry["embedding"]) - wanted).max() <= tolerance * np.abs(wanted).max()


async def test_texts_tokens_and_base64_give_the_same(server: Server, model: str) -> None:
    tokenizer = server.service.runtime.model.tokenizer
    tokens = [list(tokenizer.encode(text)) for text in TEXTS]
    several = (await post(server, PATH, {"model": model, "input": TEXTS})).body
    assert [entry["index"] for entry in several["data"]] == [0, 1, 2]
    vectors = [entry["embedding"] for entry in several["data"]]
    told = (await post(server, PATH, {"model": model, "input": tokens, "encoding_format": "base64"})).body["data"]
    assert [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4").tolist() for entry in told] == vectors
    for one in (TEXTS[0], tokens[0], [TEXTS[0]], [tokens[0]]):
        (entry,) = (await post(server, PATH, {"model": model, "input": one})).body["data"]
        assert entry["embedding"] == vectors[0]


async def test_the_openai_package_reads_them(server: Server, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        answer = await client.embeddings.create(model=model, input=TEXTS)
    assert len(answer.data) == len(TEXTS)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > len(TEXTS)
    assert len({len(entry.embedding) for entry in answer.data}) == 1


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": ""}, "bad_value", "input"),
        ({"input": []}, "bad_value", "input"),
        ({"input": [""]}, "bad_value", "input[0]"),
        ({"input": [[]]}, "bad_value", "input[0]"),
        ({"input": [1, "a"]}, "bad_value", "input"),
        ({"input": [-1]}, "bad_value", "input[0]"),
        ({"input": [[1, 999_999]]}, "bad_value", "input"),
        ({"input": ["a"] * 129}, "bad_value", "input"),
        ({"input": "a" * (1 << 20) + "a"}, "bad_value", "input"),
        ({"input": [1] * 9000}, "context_exceeded", None),
        ({"input": "word " * 9000}, "context_exceeded", None),
        ({"dimensions": 8}, "unsupported_field", "dimensions"),
        ({"encoding_format": "hex"}, "bad_value", "encoding_format"),
        ({"stream": True}, "unsupported_field", "stream"),
    ],
)
async def test_what_does_not_fit_is_refused(
    server: Server, model: str, fields: dict[str, Any], code: str, param: str | None
) -> None:
    reply = await post(server, PATH, {"model": model, "input": "a", **fields})
    assert reply.error == (400, code, param)
    assert (await post(server, PATH, {"model": "gpt-9", "input": "a"})).error == (404, "model_not_found", "model")
