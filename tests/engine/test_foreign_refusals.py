"""What transformers has and cannot run over pages is refused before it could give a wrong token, by its own error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.engine.batches import Held, row_logits
from tests.engine.foreign_models import SIZES, make_foreign, write_foreign

from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.engine.fallback.attention import NAME, CausalMask
from pie.engine.fallback.decoder import TransformersDecoder
from pie.engine.fallback.facts import read_transformers_config
from pie.engine.fallback.library import library
from pie.engine.fallback.self_check import check_model
from pie.errors import AdapterError, ModelError
from pie.forward import AdapterFiles
from pie.testing import write_random_model

Damage = Callable[[Path], object]
REFUSED: Mapping[str, tuple[str, dict[str, object], str]] = {
    "a bias by distance (ALiBi)": ("bloom", {}, "computes its attention or masks by itself"),
    "another such bias": ("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}, "by itself"),
    "a bias that is learned": ("xlnet", {}, "by itself"),
    "attention functions of its own": ("falcon", {}, "its attention functions are its own"),
    "no attention function": ("openai-gpt", {}, "no layer of it calls an attention function"),
    "states in the place of attention": ("mamba", {}, "layers of type linear_attention"),
    "states that no layer's type tells": ("rwkv", {}, "keeps a state beside keys and values"),
    "states beside attention": ("jamba", {}, "layers of type linear_attention"),
    "linear attention beside attention": ("qwen3_5_text", {}, "layers of type linear_attention"),
    "sinks": ("gpt_oss", {"layer_types": ["full_attention"] * 2}, "its attention takes s_aux"),
    "attention to both sides": ("bert", {}, "its masks are neither causal nor sliding windows"),
    "attention in chunks": ("llama4_text", {}, "layers of type chunked_attention"),
}


def config_of(kind: str, keys: Mapping[str, object]) -> dict[str, object]:
    """What config.json of an architecture says; without weights."""
    sizes = SIZES if kind not in ("mpt", "xlnet") else {"vocab_size": 320}
    config = transformers.CONFIG_MAPPING[kind](**{**sizes, **keys})
    name = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].__name__
    content: dict[str, object] = json.loads(json.dumps(config.to_dict(), default=str))
    return content | {"architectures": [name]}


@pytest.mark.parametrize("what", REFUSED)
def test_an_architecture_that_pages_cannot_hold_is_refused_from_its_configuration(what: str) -> None:
    kind, keys, cause = REFUSED[what]
    raw = config_of(kind, keys)
    with pytest.raises(ModelError) as caught:
        read_transformers_config(raw)
    assert (caught.value.code, cause in caught.value.cause) == ("unsupported-architecture", True), caught.value
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("T5ForConditionalGeneration", "t5"),
        ("GPT2ForSequenceClassification", "gpt2"),
        ("WombatForCausalLM", "wombat"),
        ("GPT2LMHeadModel", None),
    ],
)
def test_what_is_no_causal_model_of_transformers_is_unknown(architecture: str, kind: str | None) -> None:
    with pytest.raises(ModelError, match=f"unknown-architecture: {architecture}"):
        read_transformers_config({"architectures": [architecture], "model_type": kind, **SIZES})


@pytest.mark.parametrize(("kind", "key"), [("gpt2", "n_layer"), ("mixtral", "num_hidden_layers")])
def test_layers_without_end_are_refused_before_one_is_made(kind: str, key: str) -> None:
    with pytest.raises(ModelError, match=r"bad-config: .* layers must be 1,000 at most, not 1000000000"):
        read_transformers_config(config_of(kind, {}) | {key: 10**9, "layer_types": None})


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    (path / "wombat.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((path / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "wombat.Config", "AutoModelForCausalLM": "wombat.Model"}}
    (path / "config.json").write_text(json.dumps(config | own | {"transformers_weights": "pytorch_model.bin"}))
    assert Engine(path, num_pages=4, threads=1).backend == "transformers"
    (path / "config.json").write_text(json.dumps(config | own | {"model_type": "wombat"}))
    with pytest.raises(ModelError, match="unknown-architecture"):
        Engine(path, num_pages=4, threads=1)
    assert not (tmp_path / "ran").exists()


def test_a_rule_is_a_window_only_if_it_is_one_at_every_edge() -> None:
    masks: Any = transformers.masking_utils
    assert CausalMask(None, masks.causal_mask_function).holds()
    assert CausalMask(7, masks.sliding_window_causal_mask_function(7)).holds()
    assert not CausalMask(8, masks.sliding_window_causal_mask_function(7)).holds()
    assert not CausalMask(None, masks.sliding_window_causal_mask_function(7)).holds()
    assert not CausalMask(None, masks.bidirectional_mask_function).holds()
    assert not CausalMask(7, masks.chunked_causal_mask_function(7, torch.zeros(1, dtype=torch.int64))).holds()


def checked(decoding: Any, eager: Any, dtype: torch.dtype = torch.float32) -> None:
    """Check a decoder of one module against the eager attention of another one."""
    library("GPT2LMHeadModel")
    for module in (decoding, eager):
        module.to(dtype).set_attn_implementation(NAME)
    config = read_transformers_config(decoding.config.to_dict() | {"architectures": [type(decoding).__name__]})
    check_model(eager, TransformersDecoder(decoding, config), config, dtype)


@pytest.mark.parametrize(("dtype", "factor"), [(torch.float32, 1.1), (torch.bfloat16, 6.0)])
def test_a_model_that_gives_other_logits_than_eager_attention_is_refused(dtype: torch.dtype, factor: float) -> None:
    checked(make_foreign("gpt2"), make_foreign("gpt2"), dtype)
    other = make_foreign("gpt2")
    other.transformer.h[1].attn.scaling *= factor
    with pytest.raises(ModelError, match=r"unsupported-architecture: .* differ by .* from those of eager attention"):
        checked(make_foreign("gpt2"), other, dtype)


def test_a_mixture_that_roundings_lead_to_other_experts_is_not_refused(tmp_path: Path) -> None:
    many = {"num_hidden_layers": 16, "n_routed_experts": 32, "num_experts_per_tok": 4}
    path = write_foreign(tmp_path / "model", "deepseek_v3", many)
    assert Engine(path, dtype="bfloat16", num_pages=4, threads=1).backend == "transformers"


def test_a_model_whose_rows_depend_on_each_other_is_refused() -> None:
    module = make_foreign("gpt2")
    module.transformer.h[0].mlp.register_forward_hook(lambda _part, _rows, out: out + 1e-4 * out.mean(1, keepdim=True))
    with pytest.raises(ModelError, match=r"unsupported-architecture: .* depends on the step that the token is in"):
        checked(module, module)


def test_a_model_that_counts_positions_by_itself_is_refused(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "roberta", "roberta", {"is_decoder": True, "pad_token_id": 1})
    with pytest.raises(ModelError, match=r"unsupported-architecture: .*it counts positions by itself"):
        Engine(path, num_pages=4)


def test_a_table_of_positions_is_as_long_as_the_context(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "biogpt")
    edit_config(max_position_embeddings=530)(path)
    with pytest.raises(ModelError, match=r"wrong-shape: .*embed_positions"):
        Engine(path, num_pages=4)


def edit_config(**changes: object) -> Damage:
    def damage(path: Path) -> None:
        config = json.loads((path / "config.json").read_text()) | changes
        (path / "config.json").write_text(
            json.dumps({key: value for key, value in config.items() if value is not None})
        )

    return damage


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        change(tensors)
        save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})

    return damage


def cut_short(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[:-100])


def damaged_header(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[:40] + b"\xff" * 40 + content[80:])


def only_pickles(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def lost_shard(path: Path) -> None:
    names = load_file(path / "model.safetensors")
    placed = dict.fromkeys(names, "model.safetensors") | {next(iter(names)): "model-2.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


NORM, WEIGHT = "transformer.ln_f.weight", "transformer.h.1.mlp.c_fc.weight"
BROKEN: Mapping[str, tuple[str, Damage]] = {
    "cut short": ("bad-weights", cut_short),
    "a damaged header": ("bad-weights", damaged_header),
    "numbers that are none": ("bad-weights", edit_weights(lambda t: t[NORM].fill_(torch.nan))),
    "a missing tensor": ("missing-tensor", edit_weights(lambda t: t.pop(WEIGHT))),
    "a missing shard": ("no-weights", lost_shard),
    "another shape": ("wrong-shape", edit_weights(lambda t: t.update({WEIGHT: t[WEIGHT][:-1].clone()}))),
    "another number of layers": ("missing-tensor", edit_config(n_layer=3)),
    "weights in eight bits": ("unsupported-dtype", edit_weights(lambda t: t.update({WEIGHT: t[WEIGHT].char()}))),
    "a dtype that nobody computes in": ("unsupported-dtype", edit_config(dtype="float8")),
    "quantized by others": ("unsupported-feature", edit_config(quantization_config={"quant_method": "gptq"})),
    "pickled weights alone": ("pickle-weights", only_pickles),
    "no weights": ("no-weights", lambda path: (path / "model.safetensors").unlink()),
    "no context length": ("bad-config", edit_config(n_positions=0)),
    "a size that is text": ("bad-config", edit_config(n_embd="many")),
    "heads that do not fit": ("unsupported-architecture", edit_config(n_head=5)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_unusable_directory_of_such_a_model_is_refused_with_cause_and_remedy(tmp_path: Path, kind: str) -> None:
    code, damage = BROKEN[kind]
    path = write_foreign(tmp_path / "model", "gpt2")
    damage(path)
    with pytest.raises(ModelError) as caught:
        Engine(path, num_pages=4)
    assert (caught.value.code, bool(caught.value.cause), bool(caught.value.remedy)) == (code, True, True), caught.value
    assert "\n" not in caught.value.cause


def test_experts_that_do_not_fit_together_are_told_as_weights(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "mixtral")
    name = next(name for name in load_file(path / "model.safetensors") if "experts.1.w2" in name)
    edit_weights(lambda t: t.update({name: t[name][:-1].clone()}))(path)
    with pytest.raises(ModelError, match="bad-weights: the weights do not fit MixtralForCausalLM"):
        Engine(path, num_pages=4)


def test_sharded_weights_are_the_same_model(tmp_path: Path) -> None:
    whole, parts = (write_foreign(tmp_path / name, "mixtral") for name in ("whole", "parts"))
    tensors = load_file(parts / "model.safetensors")
    (parts / "model.safetensors").unlink()
    placed = {name: f"model-{index % 3}.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(placed.values()):
        save_file({name: tensors[name] for name in tensors if placed[name] == file}, parts / file, {"format": "pt"})
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    one, other = (row_logits(Engine(path, num_pages=4), Held([0, 1]), list(range(20))) for path in (whole, parts))
    np.testing.assert_array_equal(one, other)


def test_what_our_families_alone_can_do_is_refused_by_name(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    with pytest.raises(ModelError, match=r"unsupported-feature: GPT2LMHeadModel .* cannot be quantized to int8"):
        Engine(path, weights="int8", num_pages=4)
    with pytest.raises(ModelError, match="no-native-backend"):
        Engine(path, backend="native", num_pages=4)
    with pytest.raises(AdapterError, match="adapters-not-supported: GPT2LMHeadModel") as caught:
        _ = Engine(path, num_pages=4).config
    assert "Llama" in caught.value.remedy


@pytest.mark.asyncio
async def test_adapters_of_such_a_model_are_refused(tmp_path: Path) -> None:
    device = DeviceThread(Engine(write_foreign(tmp_path / "model", "gpt2"), num_pages=4, threads=1))
    try:
        with pytest.raises(AdapterError, match="adapters-not-supported"):
            await device.load_adapter(AdapterFiles(b"", None))
    finally:
        device.close()


def test_without_transformers_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    ours = write_random_model(tmp_path / "ours")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ModelError, match=r"transformers-not-installed: GPT2LMHeadModel") as caught:
            Engine(path, num_pages=4)
        assert 'pip install "pie[transformers]"' in caught.value.remedy
        assert Engine(ours, num_pages=4).backend in ("native", "torch")
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "4.57.1")
    with pytest.raises(ModelError, match=r"transformers-not-installed: .* 4\.57\.1, which is too old"):
        Engine(path, num_pages=4)
