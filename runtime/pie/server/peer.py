"""One connected client, as its processes see it."""

from __future__ import annotations

from pie.server.outbox import Outbox
from pie.server.relay import Relay

__all__ = ["Peer"]


class Peer:
    """Where events go, and where MCP servers are. Two peers are equal only if they are one connection.

    Attributes:
        outbox: what is to be sent.
        relay: the client's MCP servers.
    """

    def __init__(self) -> None:
        """A client that has just connected."""
        self.outbox = Outbox()
        self.relay = Relay(self.outbox.send)

    def close(self) -> None:
        """The client has left."""
        self.relay.close()
