"""Runs a module of transformers over flat rows whose keys and values live in our pages.

All rows of a step are one sequence to the module; only attention knows which belongs to which, and that is ours.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn import functional

from pie.engine.attention import AttentionPlan, Scores, attend, plan_attention
from pie.engine.backend import HostOutputs, Outputs, Rows
from pie.engine.fallback.attention import AttentionCall, CausalMask, place
from pie.engine.fallback.facts import TransformersConfig
from pie.engine.fallback.fixed_shapes import FixedShapes
from pie.engine.kv_cache import KVCache

__all__ = ["TransformersDecoder"]


class TransformersDecoder:
    """A causal model of transformers, run over rows whose keys and values live in a `KVCache`."""

    def __init__(self, module: Any, config: TransformersConfig) -> None:
        """Take the module, whose attention is computed here from now on."""
        self._module = module
        self._config = config
        self._picks_rows = "logits_to_keep" in inspect.signature(module.forward).parameters
        self._step: _Step | None = None
        self._hidden = torch.zeros(0)
        place(module, self)
        module.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)

    def forward(self, rows: Rows, cache: KVCache) -> Outputs:
        """Append the rows' keys and values to `cache` and give the outputs of the logit rows."""
        wanted = torch.from_numpy(rows.logit_rows).long()
        tokens = torch.from_numpy(rows.token_ids).long()[None]
        choice = {"logits_to_keep": wanted} if self._picks_rows else {}
        self._step = _Step(self._config, plan_attention(rows, cache.page_size), cache)
        try:
            with FixedShapes():
                logits = self._module(
                    input_ids=tokens,
                    attention_mask=torch.ones_like(tokens),
                    position_ids=torch.from_numpy(rows.positions).long()[None],
                    use_cache=False,
                    return_dict=True,
                    **choice,
                ).logits[0]
            hidden = self._hidden
            if not len(hidden):
                raise RuntimeError("the module makes its logits without calling its head")
        finally:
            self._step, self._hidden = None, torch.zeros(0)
        if not self._picks_rows:
            logits, hidden = logits[wanted], hidden[wanted]
        return HostOutputs(hidden.float().numpy(), logits.float().numpy())

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Attention of the next layer of the step that runs, [1, R, heads, value_dim]."""
        if self._step is None:
            raise RuntimeError("attention was called outside a step")
        return self._step.attend(call)

    def _keep_hidden(self, _module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        self._hidden = arguments[0][0]


class _Step:
    """The attention of one pass; layers are counted as they come, which is the same in all passes."""

    def __init__(self, config: TransformersConfig, plan: AttentionPlan, cache: KVCache) -> None:
        self._config = config
        self._plan = plan
        self._cache = cache
        self._layer = 0

    def attend(self, call: AttentionCall) -> torch.Tensor:
        layer, self._layer = self._layer, self._layer + 1
        query, key, value = (self._rows(heads) for heads in (call.query, call.key, call.value))
        self._cache.append(layer, self._plan.slots, key, value)
        window = call.mask.window if isinstance(call.mask, CausalMask) else None
        rules = Scores(window, call.soft_cap)
        mixed = attend(query.float() * call.scale, self._cache, layer, self._plan, rules)
        mixed = mixed.view(*query.shape)[..., : call.value.shape[3]]
        return mixed.to(call.query.dtype)[None]

    def _rows(self, heads: torch.Tensor) -> torch.Tensor:
        """[R, heads, head_dim] of [1, heads, R, dim], with zeros where a head is narrower than the cache."""
        return functional.pad(heads[0].transpose(0, 1), (0, self._config.head_dim - heads.shape[3]))
