# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from wit_world.imports import context

def discard(context: context.Context, first: int, count: int) -> None:
    ...

def held(context: context.Context) -> int:
    ...

def reused(context: context.Context) -> int:
    ...
