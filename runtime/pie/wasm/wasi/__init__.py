"""WASI 0.2 for guests, in Python, so that nothing a guest waits for blocks the event loop.

Complete for what Python and JavaScript components import: poll, streams, clocks, stdio, environment, random numbers and
a file system at `/scratch`; and HTTP for those that answer requests. Sockets and outgoing HTTP are there for the linker
and refuse.
"""

from __future__ import annotations

from pie.wasm.imports import Imports
from pie.wasm.wasi import cli, clocks, filesystem, http, network, poll, random, streams
from pie.wasm.wasi.environment import Sink, WasiEnvironment
from pie.wasm.wasi.poll import Pollable

__all__ = ["Pollable", "Sink", "WasiEnvironment", "define_wasi"]


def define_wasi(imports: Imports) -> None:
    """Offer WASI to programs; what each guest sees of the outside is its `WasiEnvironment`."""
    for part in (poll, streams, clocks, cli, random, filesystem, network, http):
        part.define(imports)
