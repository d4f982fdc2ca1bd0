"""`generate` of transformers, greedy, with its own cache."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benches.peers.lines import CONTEXT, answer_lines, prompt


class WithTransformers:
    """A causal model of a directory."""

    def __init__(self, model: str) -> None:
        """Load it in the dtype of its weights."""
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True).eval()

    def decode(self, num_rows: int, num_steps: int) -> Callable[[], object]:
        """Prefill now, all but the last token; the call makes the steps."""
        tokens = torch.tensor([prompt(row, CONTEXT) for row in range(num_rows)])
        with torch.inference_mode():
            cache = self._model(tokens[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
        options = GenerationConfig(
            max_new_tokens=num_steps, min_new_tokens=num_steps, do_sample=False, use_cache=True, pad_token_id=0
        )

        def run() -> object:
            with torch.inference_mode():
                return self._model.generate(tokens, generation_config=options, past_key_values=cache)

        return run

    def prefill(self, num_tokens: int) -> Callable[[], object]:
        """The call computes one prompt."""
        tokens = torch.tensor([prompt(0, num_tokens)])

        def run() -> object:
            with torch.inference_mode():
                return self._model(tokens, use_cache=True, logits_to_keep=1)

        return run

    def logits(self) -> list[float]:
        """After the first prompt."""
        with torch.inference_mode():
            logits = self._model(torch.tensor([prompt(0, CONTEXT)]), logits_to_keep=1).logits[0, -1]
        return [float(logit) for logit in logits]


if __name__ == "__main__":
    torch.set_num_threads(1)
    peer = WithTransformers(sys.argv[1])
    answer_lines(peer.decode, peer.prefill, peer.logits)
