"""The example beam-search, run for real on the embedded model and compared with a beam search over transformers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.running import RunInferlet
from transformers import AutoModelForCausalLM, AutoTokenizer

from pie.config import embedded_model

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True, slots=True)
class Answer:
    """A beginning of an answer and the sum of its log probabilities."""

    tokens: tuple[int, ...]
    score: float


def reference(prompt: str, *, width: int, max_tokens: int = 60) -> tuple[str, float]:
    """What a beam search finds that computes each beam whole, in float32."""
    path = embedded_model()
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    message = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    start = tokenizer.encode(text, add_special_tokens=False)
    beams, over = [Answer((), 0.0)], []
    for _ in range(max_tokens):
        with torch.inference_mode():
            logits = model(torch.tensor([[*start, *beam.tokens] for beam in beams])).logits[:, -1]
        best = torch.log_softmax(logits, dim=-1).topk(width)
        grown = [
            Answer((*beam.tokens, token), beam.score + logprob)
            for beam, tokens, logprobs in zip(beams, best.indices.tolist(), best.values.tolist(), strict=True)
            for token, logprob in zip(tokens, logprobs, strict=True)
        ]
        kept = sorted(grown, key=lambda beam: -beam.score)[:width]
        over += [beam for beam in kept if beam.tokens[-1] == tokenizer.eos_token_id]
        beams = [beam for beam in kept if beam.tokens[-1] != tokenizer.eos_token_id]
        if not beams:
            break
    answer = max([*over, *beams], key=lambda beam: beam.score)
    return tokenizer.decode(answer.tokens, skip_special_tokens=True), answer.score


@pytest.mark.parametrize(("prompt", "width"), [("Tell me a joke.", 4), ("Write a poem.", 3)])
async def test_the_answer_is_that_of_a_beam_search_over_transformers(
    run_inferlet: RunInferlet, prompt: str, width: int
) -> None:
    result = (await run_inferlet("beam-search", {"prompt": prompt, "width": width})).value
    text, score = reference(prompt, width=width)
    assert result["best"]["text"] == text
    assert result["best"]["logprob"] == pytest.approx(score, abs=0.1)
    assert result["best"]["logprob"] > result["greedy"]["logprob"]


@pytest.mark.parametrize(
    "prompt", ["What is 47 + 38?", "Tell me a short story.", "Name three animals.", "Write a poem."]
)
async def test_the_answer_is_never_less_likely_than_the_greedy_one(run_inferlet: RunInferlet, prompt: str) -> None:
    for max_tokens in (1, 12):
        result = (await run_inferlet("beam-search", {"prompt": prompt, "width": 3, "max_tokens": max_tokens})).value
        assert result["best"]["logprob"] >= result["greedy"]["logprob"]


async def test_a_single_beam_is_greedy_decoding(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("beam-search", {"prompt": "Write a poem.", "width": 1})).value
    greedy = await run_inferlet("text-completion", {"prompt": "Write a poem.", "temperature": 0})
    assert result["best"] == result["greedy"]
    assert result["greedy"]["text"] == greedy.stdout
