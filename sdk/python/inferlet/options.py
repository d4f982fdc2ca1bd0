"""The options of a generation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from inferlet.errors import Error

if TYPE_CHECKING:
    from inferlet.adapter import Adapter
    from inferlet.constraints import Constraint, Schema
    from inferlet.speculator import Speculator
    from inferlet.window import Window

__all__ = ["GenerateOptions", "check"]

_MAX_STOP_TEXTS, _MAX_STOP_LENGTH = 64, 1024
_MAX_LOGPROBS = 20


class GenerateOptions(TypedDict, total=False):
    """What `Context.generate` takes beside the sampler; everything may be left out.

    Attributes:
        max_tokens: stop after so many tokens.
        stop: tokens that end the generation, and are not part of it. With `auto_flush` the default is the template's.
        stop_texts: texts that end the generation: what is shown ends before the first of them. At most 64.
        repetition_penalty: makes tokens of prompt and output less likely if above 1; from 0.01 to 100.
        frequency_penalty: makes tokens less likely the more often they are in the output; from -2 to 2.
        presence_penalty: makes tokens less likely that are in the output; from -2 to 2.
        logit_bias: what is added to the logits of tokens; from -100 to 100.
        logprobs: tell how likely each token was, and so many of the most likely ones, 0 to 20, in `Generator.logprobs`.
        constrain: what restricts the tokens; several hold together.
        logit_mask: BRLE of the tokens that may be drawn in every step.
        speculator: guesses tokens, several of which are then checked in one step.
        system_speculation: let the server guess. Not together with `speculator`.
        window: attend to the last tokens and the first ones only. The pages between them are given back, so that later
            passes of the context must have such a window too.
        adapter: apply an adapter.
        zo_seed: perturb the adapter by the noise of this seed.
        horizon: how many tokens are expected, for the bid of the context.
        auto_flush: add the template's cue first, so that the model answers. True unless said otherwise.
        seed: makes the draws repeatable: token i is drawn with entry i of the random stream `seed`.
    """

    max_tokens: int | None
    stop: Iterable[int] | None
    stop_texts: Sequence[str] | None
    repetition_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    logit_bias: Mapping[int, float] | None
    logprobs: int | None
    constrain: Schema | Constraint | Sequence[Schema | Constraint] | None
    logit_mask: Sequence[int] | None
    speculator: Speculator | None
    system_speculation: bool | None
    window: Window | None
    adapter: Adapter | None
    zo_seed: int | None
    horizon: int | None
    auto_flush: bool
    seed: int | None


def check(options: Mapping[str, object]) -> None:
    """Refuse unknown options and those that contradict each other.

    Raises:
        Error: `bad-option`.
    """
    known = GenerateOptions.__annotations__
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise Error("bad-option", f"generate() has no option {name}{hint}")
    if options.get("speculator") is not None and options.get("system_speculation"):
        raise Error("bad-option", "speculator and system_speculation exclude each other")
    _check_stop_texts(options.get("stop_texts"))
    count = options.get("logprobs")
    if count is not None and (type(count) is not int or not 0 <= count <= _MAX_LOGPROBS):
        raise Error("bad-option", f"logprobs is {count!r}, not a whole number from 0 to {_MAX_LOGPROBS}")


def _check_stop_texts(texts: object) -> None:
    if texts is None:
        return
    if not isinstance(texts, Sequence) or isinstance(texts, str) or len(texts) > _MAX_STOP_TEXTS:
        raise Error("bad-option", f"stop_texts is no list of at most {_MAX_STOP_TEXTS} texts")
    for text in texts:
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_STOP_LENGTH:
            cause = f"{text!r:.60} in stop_texts is no text of 1 to {_MAX_STOP_LENGTH} characters"
            raise Error("bad-option", cause)
