"""What a `config.json` of each family says, as real ones write it, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from pie.engine.models.config import Experts, ModelConfig
from pie.engine.models.config_file import parse_config
from pie.engine.models.rope_config import LinearScaling, LongScaling, YarnScaling
from pie.errors import ModelError

SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 320,
    "max_position_embeddings": 4096,
}
LONG = {"type": "su", "short_factor": [1.5] * 8, "long_factor": [9.0] * 8}


def parse(architecture: str, **keys: Any) -> ModelConfig:
    return parse_config({"architectures": [architecture + "ForCausalLM"], **SIZES, **keys})


def windows(config: ModelConfig) -> list[int | None]:
    return [layer.window for layer in config.layers]


def test_all_layers_of_mistral_have_the_window_or_none() -> None:
    assert windows(parse("Mistral")) == [4096] * 7
    assert windows(parse("Mistral", sliding_window=None)) == [None] * 7


def test_a_window_that_qwen_has_switched_off_is_none() -> None:
    assert windows(parse("Qwen2", sliding_window=32768, use_sliding_window=False)) == [None] * 7


def test_layers_of_gemma_alternate_by_period_or_as_listed() -> None:
    assert windows(parse("Gemma2", sliding_window=8)) == [8, None] * 3 + [8]
    assert windows(parse("Gemma3", sliding_window=8)) == [8] * 5 + [None, 8]
    listed = ["full_attention"] * 6 + ["sliding_attention"]
    assert windows(parse("Gemma3", sliding_window=8, layer_types=listed)) == [None] * 6 + [8]


def test_gemma_takes_what_its_files_leave_out_from_its_family() -> None:
    config = parse("Gemma2")
    assert (config.head_dim, config.query_scale, config.embedding_scale) == (256, 256**-0.5, 8.0)
    assert (config.logit_cap, config.layers[0].soft_cap, config.tied_embeddings) == (30.0, 50.0, True)
    assert config.layers[0].post_norms
    assert config.layers[0].mlp.activation == "gelu_tanh"
    assert parse("Gemma3").layers[0].soft_cap is None


OLD = {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
NEW = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 5e5, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }
}


@pytest.mark.parametrize("keys", [OLD, NEW], ids=["old keys", "new keys"])
def test_sliding_layers_of_gemma_3_have_a_rope_of_their_own(keys: dict[str, Any]) -> None:
    layers = parse("Gemma3", **keys).layers
    assert (layers[0].rope.theta, layers[0].rope.scaling) == (2e4, None)
    assert (layers[5].rope.theta, layers[5].rope.scaling) == (5e5, LinearScaling(8.0))


def test_longrope_holds_up_to_the_original_context() -> None:
    keys = {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096, "rope_scaling": LONG}
    config = parse("Phi3", **keys)
    assert config.max_positions == 4096
    assert config.layers[0].rope.scaling == LongScaling((1.5,) * 8, 4096)
    assert config.layers[0].rope.amplitude == pytest.approx((1 + 5 / 12) ** 0.5)  # log 32 / log 4096


def test_yarn_has_its_defaults_and_amplitude() -> None:
    rope = parse("Qwen3", rope_scaling={"rope_type": "yarn", "factor": 4.0}).layers[0].rope
    assert rope.scaling == YarnScaling(4.0, 32.0, 1.0, 4096, truncate=True)
    assert rope.amplitude == pytest.approx(1.1386294)
    given = parse("Qwen3", rope_scaling={"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5})
    assert given.layers[0].rope.amplitude == 1.5


def test_layers_with_experts_are_those_that_the_keys_leave() -> None:
    keys = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}
    config = parse("Qwen3Moe", **keys, decoder_sparse_step=2, mlp_only_layers=[3])
    experts = Experts(8, 2, normed=True)
    assert [layer.mlp.experts for layer in config.layers] == [None, experts, None, None, None, experts, None]
    assert [layer.mlp.size for layer in config.layers] == [96, 32, 96, 96, 96, 32, 96]


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 5, "moe_intermediate_size": 32}
REFUSED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "rope of no name": ("unsupported-feature", "'spiral'", "Phi3", {"rope_scaling": {"type": "spiral"}}),
    "part of each head": ("unsupported-feature", "partial_rotary", "Llama", {"partial_rotary_factor": 0.5}),
    "odd part of each head": ("unsupported-feature", "partial_rotary", "Phi3", {"partial_rotary_factor": 0.2}),
    "quantized": ("unsupported-feature", "quantization", "Mistral", {"quantization_config": {"bits": 4}}),
    "another activation": ("unsupported-feature", "'relu'", "Gemma2", {"hidden_activation": "relu"}),
    "layers of another kind": (
        "unsupported-feature",
        "'chunked'",
        "Gemma3",
        {"layer_types": ["full_attention"] * 6 + ["chunked"]},
    ),
    "a cap that is not applied": ("unsupported-feature", "softcapping", "Gemma3", {"attn_logit_softcapping": 50.0}),
    "attention to both sides": (
        "unsupported-feature",
        "bidirectional",
        "Gemma3",
        {"use_bidirectional_attention": True},
    ),
    "a window of nothing": ("bad-config", "sliding_window", "Gemma2", {"sliding_window": 0}),
    "a cap of nothing": ("bad-config", "final_logit", "Gemma2", {"final_logit_softcapping": -1}),
    "too few kinds of layers": ("bad-config", "layer_types", "Gemma3", {"layer_types": ["full_attention"]}),
    "factors of another number": ("bad-config", "8 numbers", "Phi3", {"rope_scaling": LONG | {"short_factor": [1.0]}}),
    "rope that is no table": ("bad-config", "table", "Gemma3", {"rope_parameters": {"full_attention": [1]}}),
    "more experts than there are": ("bad-config", "5 of 4 experts", "Qwen3Moe", EXPERTS),
    "experts of no width": ("bad-config", "moe_intermediate", "Qwen3Moe", {"num_experts": 8, "num_experts_per_tok": 1}),
    "layers without end": ("bad-config", "1,000 at most", "Llama", {"num_hidden_layers": 10**9}),
    "experts without end": (
        "bad-config",
        "`num_experts` is 1000000000",
        "Qwen3Moe",
        EXPERTS | {"num_experts": 10**9},
    ),
    "a size that no kernel counts to": ("bad-config", "2,147,483,647 at most", "Qwen3", {"hidden_size": 2**31}),
    "a size of many digits": ("bad-config", "a number of 401 digits", "Gemma2", {"hidden_size": 10**400}),
    "a context without end": ("bad-config", "max_position", "Qwen3", {"max_position_embeddings": 10**30}),
    "an epsilon of many digits": ("bad-config", "range of float32", "Qwen3", {"rms_norm_eps": 10**400}),
    "a scale that float32 makes infinite": (
        "bad-config",
        "range of float32",
        "Gemma2",
        {"query_pre_attn_scalar": 1e-320},
    ),
    "a base that float32 lacks": ("bad-config", "range of float32", "Llama", {"rope_theta": float("inf")}),
    "a base whose logarithm is zero": (
        "bad-config",
        "must exceed 1",
        "Qwen3",
        {"rope_theta": 1.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    ),
    "an original context of one": (
        "bad-config",
        "must exceed 1",
        "Phi3",
        {"rope_scaling": LONG | {"factor": 4.0}, "original_max_position_embeddings": 1},
    ),
    "an activation that is a list": ("unsupported-feature", "['silu']", "Llama", {"hidden_act": ["silu"]}),
    "dense layers that are no list": ("bad-config", "mlp_only", "Qwen3Moe", EXPERTS | {"mlp_only_layers": 3}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_this_engine_does_not_run_is_refused_by_name(name: str) -> None:
    code, told, architecture, keys = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        parse(architecture, **keys)
    assert caught.value.code == code
    assert told in caught.value.cause
    assert caught.value.remedy
