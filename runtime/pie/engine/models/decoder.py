"""The one lean decoder: all families as one flow of operations over flat rows, in torch.

The residual stream and everything between the matrix products is f32; the products run in the weights' dtype.
"""

from __future__ import annotations

import torch

from pie.engine.attention import Scores
from pie.engine.linear import linear
from pie.engine.models.mlp import Mlp, project
from pie.engine.models.step import StepAdapters, StepAttention
from pie.engine.rope import rope_tables
from pie.engine.weights import LoadedModel

__all__ = ["Decoder"]


class Decoder:
    """A model's layers, run over rows on the device where the weights are."""

    def __init__(self, model: LoadedModel) -> None:
        """Take the weights as they are; nothing is copied."""
        self._config = model.config
        self._weights = model.weights
        self._embedding_scale = model.embedding_scale
        self._ropes = {
            rope: tuple(t.to(model.weights.embedding.device) for t in rope_tables(rope, model.config.max_positions))
            for rope in {layer.rope for layer in model.config.layers}
        }

    def run(
        self, token_ids: torch.Tensor, positions: torch.Tensor, attention: StepAttention, adapted: StepAdapters
    ) -> torch.Tensor:
        """The stream [R, hidden] f32 after all layers, of rows with these ids and positions [R] i32."""
        config, weights = self._config, self._weights
        rotations = {rope: tuple(t[positions][:, None] for t in tables) for rope, tables in self._ropes.items()}
        stream = weights.embedding[token_ids].float() * self._embedding_scale
        for index, (does, layer) in enumerate(zip(config.layers, weights.layers, strict=True)):
            query, key, value = self._project(index, stream, rotations[does.rope], adapted)
            attention.append(index, key, value)
            mixed = attention.attend(index, query, Scores(does.window, does.soft_cap))
            onto = None if does.post_norms else stream
            out = project(mixed, layer.output, onto)
            adapted.add(index, "o", mixed, out)
            stream = self._join(stream, out, layer.attention_post_norm)
            normed = rms_norm(stream, layer.mlp_norm, config.norm_epsilon)
            out = Mlp(does.mlp, layer, index, adapted).run(normed, None if does.post_norms else stream)
            stream = self._join(stream, out, layer.mlp_post_norm)
        return stream

    def head(self, stream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What `Outputs` holds of some rows of the stream [L, hidden]: the normed rows and their logits."""
        hidden = rms_norm(stream, self._weights.final_norm, self._config.norm_epsilon)
        logits = linear(hidden, self._weights.head)
        if self._config.logit_cap is not None:
            logits = self._config.logit_cap * torch.tanh(logits / self._config.logit_cap)
        return hidden, logits

    def _project(
        self, index: int, stream: torch.Tensor, rotation: tuple[torch.Tensor, ...], adapted: StepAdapters
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query (scaled), key and value `[R, heads, head_dim]` of a layer, normed and rotated."""
        config, layer = self._config, self._weights.layers[index]
        normed = rms_norm(stream, layer.input_norm, config.norm_epsilon)
        qkv = linear(normed, layer.qkv)
        keys = config.num_kv_heads * config.head_dim
        for name, part in zip("qkv", qkv.split((qkv.shape[1] - 2 * keys, keys, keys), dim=1), strict=True):
            adapted.add(index, name, normed, part)
        if layer.qkv_bias is not None:
            qkv = qkv + layer.qkv_bias.float()
        qkv = qkv.view(len(qkv), -1, config.head_dim)
        query, key, value = qkv.split((config.num_heads, config.num_kv_heads, config.num_kv_heads), dim=1)
        if layer.q_norm is not None and layer.k_norm is not None:
            query = rms_norm(query, layer.q_norm, config.norm_epsilon)
            key = rms_norm(key, layer.k_norm, config.norm_epsilon)
        return rotate(query, rotation) * config.query_scale, rotate(key, rotation), value

    def _join(self, stream: torch.Tensor, out: torch.Tensor, post_norm: torch.Tensor | None) -> torch.Tensor:
        """The stream with `out`, which is the sum already if there is no norm between them."""
        return out if post_norm is None else stream + rms_norm(out, post_norm, self._config.norm_epsilon)


def rms_norm(rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root-mean-square norm over the last dimension, f32 (Zhang and Sennrich, 2019)."""
    mean_square = rows.square().mean(dim=-1, keepdim=True)
    return rows * torch.rsqrt(mean_square + epsilon) * weight.float()


def rotate(heads: torch.Tensor, rotation: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Apply RoPE to `[R, heads, head_dim]`: of the part that is turned, the first half pairs with the second."""
    cosine, sine = rotation
    pairs = cosine.shape[-1]
    first, second, rest = heads.split((pairs, pairs, heads.shape[-1] - 2 * pairs), dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine, rest), dim=-1)
