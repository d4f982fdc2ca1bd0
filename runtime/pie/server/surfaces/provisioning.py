"""What clients of SIE are answered while a model is loaded: 202, which any other client would take for the answer."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.types import Scope

from pie.errors import PieError
from pie.server.cluster.machine import BUNDLE, PROFILE
from pie.server.surfaces.refusal import RETRY_AFTER_S
from pie.server.surfaces.replies import Provisioning

__all__ = ["is_sie_client", "provisioning"]

MAX_VERSION = 64
"""Characters of a client's version; what is longer is none."""


def is_sie_client(scope: Scope) -> bool:
    """Whether a client knows the answers that are for clients of SIE alone."""
    return 0 < len(Headers(scope=scope).get("x-sie-sdk-version", "")) <= MAX_VERSION


def provisioning(error: PieError) -> dict[str, Any]:
    """The body that tells to ask again."""
    told = Provisioning("provisioning", PROFILE, BUNDLE, RETRY_AFTER_S, f"{error.cause}. {error.remedy}")
    return msgspec.structs.asdict(told)
