"""The pools of a server: each user's own, and the one that is always there.

They are kept in memory: a client that makes a pool makes it anew, or as it is, each time it starts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from starlette.datastructures import Headers
from starlette.types import Scope

from pie.errors import RequestError
from pie.server.cluster.machine import PROFILE
from pie.server.surfaces.refusal import Refusal

__all__ = ["DEFAULT", "Pool", "Pools"]

DEFAULT = "default"
MAX_POOLS = 64
"""Of one user."""

NUM_WORKERS = 1
"""That this server has: itself."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A part of the machine by a name.

    Attributes:
        name: in lower case.
        gpus: how many workers of each machine profile it needs.
        gpu_caps: how many it may have.
        models: those that requests of the pool may ask for; empty are all.
        created_at: in seconds since 1970.
        last_renewed: when somebody last said that it is in use; it never expires.
    """

    name: str
    gpus: Mapping[str, int] = field(default_factory=dict)
    gpu_caps: Mapping[str, int] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    created_at: float = 0.0
    last_renewed: float = 0.0

    def check_model(self, model: str) -> None:
        """Raise unless requests of the pool may ask for a model.

        Raises:
            Refusal: `model-not-in-pool`.
        """
        if self.models and model not in self.models:
            raise Refusal(
                "model-not-in-pool",
                f"pool {self.name!r} has the models {', '.join(self.models)}, not {model!r}",
                remedy="Take one of them, or another pool.",
            ).at("model")


class Pools:
    """All of them, by user and name."""

    def __init__(self) -> None:
        """Nobody has one yet."""
        now_s = time.time()
        self._default = Pool(DEFAULT, created_at=now_s, last_renewed=now_s)
        self._of_user: dict[str, dict[str, Pool]] = {}

    def put(self, pool: Pool, *, owner: str) -> Pool:
        """Make a user's pool, or change it; when it was made stays.

        Raises:
            RequestError: `default-pool`, `too-many-pools`.
            Refusal: `unknown-machine-profile`.
        """
        name = pool.name.lower()
        _check_own(name)
        needed, caps = _lowered(pool.gpus), _lowered(pool.gpu_caps)
        for profile in (*needed, *caps):
            _check_profile(profile)
            _check_count(needed.get(profile, 0), caps.get(profile, NUM_WORKERS))
        own = self._of_user.setdefault(owner, {})
        if name not in own and len(own) >= MAX_POOLS:
            raise RequestError(
                "too-many-pools", f"there are {len(own)} pools of yours", remedy="Delete those that are not used."
            )
        now_s = time.time()
        before = own.get(name)
        made_s = now_s if before is None else before.created_at
        own[name] = replace(pool, name=name, gpus=needed, gpu_caps=caps, created_at=made_s, last_renewed=now_s)
        return own[name]

    def find(self, name: str, *, owner: str) -> Pool:
        """A user's pool, or the one that is everybody's.

        Raises:
            RequestError: `pool-not-found`.
        """
        name = name.lower()
        if name == DEFAULT:
            return self._default
        try:
            return self._of_user[owner][name]
        except KeyError:
            raise RequestError(
                "pool-not-found", f"you have no pool {name[:100]!r}", remedy="Make it with POST /v1/pools."
            ) from None

    def all(self, *, owner: str) -> list[Pool]:
        """Those that a user can name."""
        return [self._default, *self._of_user.get(owner, {}).values()]

    def renew(self, name: str, *, owner: str) -> None:
        """Note that a pool is in use.

        Raises:
            RequestError: `pool-not-found`, `default-pool`.
        """
        pool = self.find(name, owner=owner)
        _check_own(pool.name)
        self._of_user[owner][pool.name] = replace(pool, last_renewed=time.time())

    def delete(self, name: str, *, owner: str) -> None:
        """Forget a pool; what its requests do goes on.

        Raises:
            RequestError: `pool-not-found`, `default-pool`.
        """
        pool = self.find(name, owner=owner)
        _check_own(pool.name)
        del self._of_user[owner][pool.name]
        if not self._of_user[owner]:
            del self._of_user[owner]

    def of_request(self, scope: Scope, *, owner: str) -> Pool:
        """The pool that a request names by `X-SIE-POOL`, or by `pool/profile` in `X-SIE-MACHINE-PROFILE`.

        Raises:
            RequestError: `pool-not-found`.
            Refusal: `unknown-machine-profile`.
        """
        headers = Headers(scope=scope)
        pool, _, profile = headers.get("x-sie-machine-profile", "").rpartition("/")
        if profile:
            _check_profile(profile)
        return self.find(headers.get("x-sie-pool") or pool or DEFAULT, owner=owner)


def _lowered(counts: Mapping[str, int]) -> dict[str, int]:
    return {profile.lower(): count for profile, count in counts.items()}


def _check_own(name: str) -> None:
    if name == DEFAULT:
        raise RequestError(
            "default-pool", f"the pool {DEFAULT!r} is the server's own", remedy="Take another name for one of yours."
        )


def _check_profile(profile: str) -> None:
    if profile.lower() != PROFILE:
        raise Refusal(
            "unknown-machine-profile",
            f"there is no machine of the profile {profile[:100]!r} here, and none will come",
            remedy=f"Take {PROFILE!r}, which is what this server computes on.",
        )


def _check_count(needed: int, cap: int) -> None:
    there = min(cap, NUM_WORKERS)
    if needed > there:
        raise Refusal(
            "unknown-machine-profile",
            f"{needed} machines are needed, and the pool can have {there}",
            remedy=f"Ask for {NUM_WORKERS} at most, and for no more than the cap.",
        )
