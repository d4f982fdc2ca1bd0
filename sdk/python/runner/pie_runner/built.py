"""A built program: its code is part of the component, and its top-level code has run already.

A program that defines `handle` exports `wasi:http/incoming-handler` as well; its component imports what that takes.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from pie_runner import guard, heap, preload, rehearsal
from pie_runner.build import BUILD, PROGRAM
from pie_runner.finder import ProgramFinder
from pie_runner.launching import Launcher

__all__ = ["IncomingHandler", "Run"]

_PROGRAM = json.loads(PROGRAM)
preload.run()
guard.install()
_LAUNCHER = Launcher()
# Imported while the component is made. Modules that the program imports later, in a function, come from here too.
ProgramFinder(_PROGRAM["files"], code={}, build=BUILD, save=None).install()
_MODULE = importlib.import_module(_PROGRAM["entry"])


class Run:
    """The export `pie:<name>/run`."""

    def run(self, input: str) -> str:
        """Run the program."""
        return _LAUNCHER.run(lambda: _MODULE, _PROGRAM["files"], input)


class IncomingHandler:
    """The export `wasi:http/incoming-handler`, of programs that have it."""

    def handle(self, request: Any, response_out: Any) -> None:
        """Answer one request."""
        from pie_runner.handling import answer

        _LAUNCHER.answer(lambda: answer(_MODULE.handle, request, response_out), _PROGRAM["files"])


if hasattr(_MODULE, "handle"):
    import pie_runner.handling  # noqa: F401 - it becomes part of the snapshot
rehearsal.run(_LAUNCHER)
_FILLING = heap.settle()  # as in `pie_runner.app`
