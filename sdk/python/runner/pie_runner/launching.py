"""One launch of a program inside its component: from the input text to the result text or the error text."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import ModuleType
from typing import Any

from componentize_py_types import Err

from inferlet.errors import Error
from inferlet.loop import EventLoop
from pie_runner.calling import call_main, drain, to_json
from pie_runner.tracebacks import describe

__all__ = ["Launcher"]


class Launcher:
    """Runs programs on an event loop that is part of the snapshot."""

    def __init__(self) -> None:
        self._loop = EventLoop()
        asyncio.new_event_loop = asyncio.events.new_event_loop = EventLoop  # asyncio.run in a program uses it

    def run(self, load: Callable[[], ModuleType], files: Mapping[str, Sequence[str]], input: str) -> str:
        """Load the program, call its `main` and return the JSON of what that returned.

        Raises:
            Err: the program failed; for a person to read.
        """
        try:
            _forget_snapshot()
            return self._run(load, input)
        except SystemExit as end:
            if end.code is None or end.code == 0:
                return "null"
            raise Err(f"exit: the program ended with {end.code}") from None
        except BaseException as error:  # noqa: BLE001 - whatever leaves here would end the component without a word
            raise Err(_tell(error, files)) from None
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def answer(self, make: Callable[[], Coroutine[Any, Any, None]], files: Mapping[str, Sequence[str]]) -> None:
        """Run a coroutine that answers a request to its end; if it raises, stderr says what and where."""
        try:
            _forget_snapshot()
            try:
                self._loop.run_until_complete(make())
            finally:
                drain(self._loop)
        except BaseException as error:  # noqa: BLE001 - whatever leaves here would end the component without a word
            sys.stderr.write(_tell(error, files).rstrip() + "\n")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _run(self, load: Callable[[], ModuleType], input: str) -> str:
        module = load()
        main = getattr(module, "main", None)
        if not callable(main):
            raise Error("no-main", f"{module.__spec__.origin if module.__spec__ else 'the program'} defines no main()")
        value = json.loads(input) if input.strip() else None
        try:
            return to_json(call_main(main, value, self._loop))
        finally:
            drain(self._loop)


def _tell(error: BaseException, files: Mapping[str, Sequence[str]]) -> str:
    text = describe(error, files)
    # An error of the surroundings (bad-input, not-json) has no frame in the program: its line says it all.
    return str(error) if isinstance(error, Error) and "\n" not in text else text


def _forget_snapshot() -> None:
    """Drop values that all instances would otherwise share: they were drawn when the snapshot was made."""
    for name, attributes in (("uuid", ("_node", "_last_timestamp")), ("tempfile", ("_name_sequence",))):
        module = sys.modules.get(name)
        if module is not None:
            for attribute in attributes:
                setattr(module, attribute, None)
