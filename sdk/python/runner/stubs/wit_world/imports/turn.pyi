# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Union, Optional, Tuple, List, Self
from types import TracebackType
from dataclasses import dataclass
from wit_world.imports import model
from wit_world.imports import inference
from wit_world.imports import chat

@dataclass
class Said_Text:
    value: str

@dataclass
class Said_Call:
    value: str

@dataclass
class Said_Arguments:
    value: str

@dataclass
class Said_Called:
    ...
Said = Union[Said_Text, Said_Call, Said_Arguments, Said_Called]

class Reader:

    @classmethod
    def start(cls, model: model.Model, stop_texts: List[str]) -> Self:
        ...

    def feed(self, tokens: List[int]) -> List[Said]:
        ...

    def finish(self) -> List[Said]:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

def calls(model: model.Model, tokens: List[int]) -> List[Tuple[str, str]]:
    ...

def call_grammar(model: model.Model, tools: List[str]) -> Optional[inference.Grammar]:
    ...

def calls_grammar(model: model.Model, tools: List[str]) -> Optional[inference.Grammar]:
    ...

def answer_decoder(model: model.Model) -> chat.Decoder:
    ...
