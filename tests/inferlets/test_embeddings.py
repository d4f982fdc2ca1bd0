"""The example embeddings, run for real on the embedded model."""

from __future__ import annotations

import base64

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_text_has_the_same_embedding_whatever_is_embedded_beside_it(run_inferlet: RunInferlet) -> None:
    inputs = ["Oslo is the capital of Norway.", "Rain " * 100, [1, 2, 3]]
    alone = [(await run_inferlet("embeddings", {"inputs": [one]})).value for one in inputs]
    together = (await run_inferlet("embeddings", {"inputs": inputs})).value
    assert together["embeddings"] == [one["embeddings"][0] for one in alone]
    assert together["prompt_tokens"] == sum(one["prompt_tokens"] for one in alone)
    assert len({len(base64.b64decode(text)) for text in together["embeddings"]}) == 1
