"""The runner: a component that runs any program, whose text it receives when it is launched."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType

from wit_world.imports import source

from pie_runner import guard, heap, preload, rehearsal
from pie_runner.build import BUILD
from pie_runner.finder import ProgramFinder
from pie_runner.launching import Launcher

__all__ = ["Run"]

preload.run()
guard.install()
_LAUNCHER = Launcher()


class Run:
    """The export `pie:runner/run`."""

    def run(self, input: str) -> str:
        """Run the program that the host hands over."""
        program = json.loads(source.load())
        files = program["files"]

        def load() -> ModuleType:
            sys.argv = [files[program["entry"]][0]]
            save = source.save_code if program.get("keep") else None
            ProgramFinder(files, code=program.get("code", {}), build=BUILD, save=save).install()
            return importlib.import_module(program["entry"])

        return _LAUNCHER.run(load, files, input)


rehearsal.run(_LAUNCHER)
_FILLING = heap.settle()  # all of the above is in the snapshot
