"""wasi:sockets for the linker: programs import it, used or not. All of it is refused."""

from __future__ import annotations

from typing import Any

from pie.wasm.imports import Imports
from pie.wasm.values import Err

__all__ = ["define"]

_SOCKET_TYPES = {
    "wasi:sockets/network": ("network",),
    "wasi:sockets/tcp": ("tcp-socket",),
    "wasi:sockets/udp": ("udp-socket", "incoming-datagram-stream", "outgoing-datagram-stream"),
    "wasi:sockets/ip-name-lookup": ("resolve-address-stream",),
}


class Network:
    """wasi:sockets/network.network: the network, to which no door leads."""


class Refused:
    """A socket; a guest never gets one."""


def _access_denied(_guest: Any, *_arguments: Any) -> None:
    raise Err("access-denied")


def define(imports: Imports) -> None:
    """Offer wasi:sockets, closed."""
    for interface, names in _SOCKET_TYPES.items():
        imports.stub(interface, "sockets are not available to programs")
        for name in names:
            imports.resource(interface, name, Network if name == "network" else Refused)
    imports.function("wasi:sockets/instance-network", "instance-network", lambda _guest: Network())
    for protocol in ("tcp", "udp"):
        imports.function(f"wasi:sockets/{protocol}-create-socket", f"create-{protocol}-socket", _access_denied)
    imports.function("wasi:sockets/ip-name-lookup", "resolve-addresses", _access_denied)
