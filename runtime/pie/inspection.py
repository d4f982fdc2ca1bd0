"""What is known of a model directory without loading it: its sizes, its formats, and whether Pie can run it.

Joins what the engine and the texts know of a directory; with `runtime` the only one that knows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pie.engine.control_group import num_usable_cores
from pie.engine.description import PAGE_SIZE, ModelDescription, describe_model
from pie.engine.flashinfer_backend.availability import check_flashinfer, describe_gpu
from pie.engine.memory import available_bytes
from pie.engine.reading import read_facts
from pie.engine.weight_files import read_config
from pie.errors import ModelError
from pie.text.markers import REASONING
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

__all__ = ["Gpu", "Summary", "check_configuration", "inspect_gpu", "inspect_model", "machine_room", "summarize"]

FAMILIES = {
    "<|im_start|>": "ChatML",
    "<|start_header_id|>": "Llama 3",
    "<|start|>": "Harmony",
    "<｜Assistant｜>": "DeepSeek",
    "<|assistant|>": "Phi or GLM",
    "[INST]": "Mistral",
}
"""What a turn of a chat begins with, and what that way of writing chats is called."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A model in a listing; `problem` says why it cannot be run, None if it can."""

    architecture: str
    family: str
    size_bytes: int
    problem: ModelError | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """What computes beside the processor: `found` if it can be used, else `problem` says why not."""

    found: str
    problem: ModelError | None


def inspect_gpu() -> Gpu:
    """Whether this machine has a GPU that Pie can use."""
    try:
        check_flashinfer()
    except ModelError as error:
        return Gpu("", error)
    return Gpu(describe_gpu(), None)


def machine_room() -> tuple[int, int]:
    """Bytes of memory that models may still take, and how many threads can compute, by the limits of this process."""
    return available_bytes(), num_usable_cores()


def check_configuration(model_dir: Path) -> None:
    """See whether config.json alone tells that a model cannot be run.

    Raises:
        ModelError: `unknown-architecture`, `unsupported-architecture`, `unsupported-feature`, `bad-config`,
            `transformers-not-installed`.
    """
    read_facts(read_config(model_dir))


def summarize(model_dir: Path) -> Summary:
    """The little that a listing shows, quick for large models too."""
    found = describe_model(model_dir)
    problem = found.problem
    if problem is None and not (model_dir / "tokenizer.json").is_file():
        problem = ModelError("no-tokenizer", f"{model_dir} has no tokenizer.json", remedy="Choose another model.")
    return Summary(found.architecture or "unknown", _family(found), found.size_bytes, problem)


def inspect_model(model_dir: Path) -> dict[str, Any]:
    """All that `pie model inspect` tells of a directory, for JSON; what could not be found out is None."""
    found = describe_model(model_dir)
    problem = found.problem
    formats: dict[str, Any] = {"chat_template": None, "reasoning": None, "tools": None, "notes": []}
    try:
        formats = _formats(model_dir)
    except ModelError as error:
        problem = problem or error
    config = found.config
    reason = None
    if problem is not None:
        reason = {"code": problem.code, "cause": problem.cause, "remedy": problem.remedy}
    return {
        "name": found.name,
        "path": str(model_dir.resolve()),
        "architecture": found.architecture or None,
        "family": _family(found),
        "parameters": found.parameters or None,
        "size_bytes": found.size_bytes,
        "dtypes": list(found.dtypes),
        "computes_in": found.compute_dtype or None,
        "weight_bytes": found.weight_bytes or None,
        "context_length": None if config is None else config.max_positions,
        "vocab_size": None if config is None else config.vocab_size,
        "layers": None if config is None else config.num_layers,
        "kv_bytes_per_token": found.kv_bytes_per_token or None,
        "kv_bytes_per_page": found.kv_bytes_per_token * PAGE_SIZE or None,
        **formats,
        "can_run": reason is None,
        "why_not": reason,
    }


def _family(found: ModelDescription) -> str:
    return found.architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel").lower() or "unknown"


def _formats(model_dir: Path) -> dict[str, Any]:
    tokenizer = Tokenizer.load(model_dir)
    template = ChatTemplate.load(model_dir, tokenizer)
    opening = tokenizer.decode([*template.first_user(""), *template.cue()])
    reasoning = [row.family for row in REASONING if (row.start, row.end) == template.markers.reasoning]
    return {
        "chat_template": next((name for mark, name in FAMILIES.items() if mark in opening), "its own"),
        "reasoning": next(iter(reasoning), None),
        "tools": None if template.markers.tools is None else template.markers.tools.family,
        "notes": list(template.notes),
    }
