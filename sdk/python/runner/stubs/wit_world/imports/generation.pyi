# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Optional, Tuple, List, Self
from types import TracebackType
from enum import Enum
from dataclasses import dataclass
from wit_world.imports import poll
from wit_world.imports import adapter
from wit_world.imports import context
from wit_world.imports import inference

@dataclass
class Window:
    size: int
    sink: int

@dataclass
class Adjustment:
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: List[Tuple[int, float]]

@dataclass
class Options:
    tokens: List[int]
    sampler: inference.Sampler
    logprobs: Optional[int]
    adjustment: Optional[Adjustment]
    max_tokens: Optional[int]
    stop: List[int]
    stop_texts: List[str]
    logit_mask: Optional[List[int]]
    speculate: bool
    seed: Optional[int]
    counter: int
    adapter_seed: Optional[int]
    window: Optional[Window]
    notify_every: int
    pipe: bool
    hide_reasoning: bool

class Finish(Enum):
    STOP = 0
    LENGTH = 1

@dataclass
class TokenLogprobs:
    logprob: float
    top: List[Tuple[int, float]]

@dataclass
class Progress:
    tokens: List[int]
    logprobs: List[TokenLogprobs]
    finish: Optional[Finish]

class Generation:

    @classmethod
    def start(cls, context: context.Context, options: Options, matchers: List[inference.Matcher], adapter: Optional[adapter.Adapter]) -> Self:
        ...

    def pollable(self) -> poll.Pollable:
        ...

    def get(self) -> Optional[Progress]:
        ...

    def text(self) -> str:
        ...

    def reasoning_tokens(self) -> int:
        ...

    def cancel(self) -> None:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...
