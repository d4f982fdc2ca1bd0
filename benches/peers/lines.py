"""The protocol between a benchmark and one engine in a process of its own: a line of JSON asks, a line answers.

Imports the standard library alone, since some engines live in an environment of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["CONTEXT", "answer_lines", "prompt"]

CONTEXT = 128
"""Tokens that each sequence holds before its decode is measured."""


def prompt(row: int, length: int) -> list[int]:
    """The prompt of a row; no two are equal."""
    return [(7 * position + 131 * row) % 50_000 + 300 for position in range(length)]


def answer_lines(decode: Callable[[int, int], Any], prefill: Callable[[int], Any], logits: Callable[[], Any]) -> None:
    """Answer until stdin ends.

    Args:
        decode: make that many sequences of `CONTEXT` tokens, and return what makes that many steps of one token each.
        prefill: return what computes a prompt of so many tokens.
        logits: the logits after the first prompt of `CONTEXT` tokens, as a list.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints is no answer
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["what"] == "logits":
            answer: Any = {"logits": logits()}
        else:
            run = decode(ask["batch"], ask["steps"]) if ask["what"] == "decode" else prefill(ask["tokens"])
            started_s = time.process_time()
            run()
            answer = {"cpu_s": time.process_time() - started_s}
        out.write(json.dumps(answer) + "\n")
        out.flush()
