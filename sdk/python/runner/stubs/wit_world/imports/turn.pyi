# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Optional, Tuple, List
from wit_world.imports import model
from wit_world.imports import inference
from wit_world.imports import chat

def calls(model: model.Model, tokens: List[int]) -> List[Tuple[str, str]]:
    ...

def call_grammar(model: model.Model, tools: List[str]) -> Optional[inference.Grammar]:
    ...

def answer_decoder(model: model.Model) -> chat.Decoder:
    ...
