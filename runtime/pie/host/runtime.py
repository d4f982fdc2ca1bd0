"""pie:core/runtime: facts about the runtime and the process, and programs launched by programs."""

from __future__ import annotations

import pie
from pie.host.interface import Interface
from pie.host.state import Launched, state_of
from pie.wasm.guest import Guest
from pie.wasm.values import Result
from pie.wasm.wasi.poll import Pollable

__all__ = ["INTERFACE", "Child"]

INTERFACE = Interface("pie:core/runtime")


class Child:
    """A guest's handle of a program that it launched; dropping it lets the program run on."""

    def __init__(self, launched: Launched) -> None:
        """Wrap a child."""
        self._launched = launched

    def pollable(self) -> Pollable:
        """Ready once the child is over."""
        return Pollable(self._launched.future)

    def get(self) -> Result | None:
        """What it returned, or its error; None while it runs."""
        return self._launched.answer()

    def pid(self) -> str:
        """Identifies the process."""
        return self._launched.process_id

    def cancel(self) -> None:
        """End it; unless it was over, its error is `cancelled`."""
        self._launched.cancel()


INTERFACE.resource("child", Child, ["pollable", "get", "pid", "cancel"])


@INTERFACE.function("version")
def version(_guest: Guest) -> str:
    """Version of this runtime."""
    return pie.__version__


@INTERFACE.function("instance-id")
def instance_id(guest: Guest) -> str:
    """Unique identifier of this process."""
    return state_of(guest).process_id


@INTERFACE.function("username")
def username(guest: Guest) -> str:
    """Who launched this process."""
    return state_of(guest).username


@INTERFACE.function("models")
def models(guest: Guest) -> list[str]:
    """Names of the models served here; the default one is first, also where it could not be loaded."""
    state = state_of(guest)
    return list(dict.fromkeys([state.models.names[0], *state.own_models]))


@INTERFACE.function("launch")
async def launch(guest: Guest, program: str, input_json: str) -> Child:
    """Start a program by its name. The seed of the child is a stream of the parent, so that a run can be repeated."""
    state = state_of(guest)
    return Child(await state.children.launch(program, input_json, state.new_stream()))
