"""The headers with which a surface says who answers."""

from __future__ import annotations

import uuid

from pie import __version__
from pie.server.service import Service

__all__ = ["new_request_id", "own_headers"]


def new_request_id() -> str:
    """An id that no other request has."""
    return uuid.uuid4().hex


def own_headers(service: Service, request_id: str) -> dict[str, str]:
    """What every response of a surface has, whatever it answers. One server is gateway and worker in one."""
    return {
        "x-sie-version": __version__,
        "x-sie-server-version": __version__,
        "x-sie-request-id": request_id,
        "x-sie-worker": service.server_id,
    }
