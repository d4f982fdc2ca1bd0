"""How much of a server one account may use: requests and tokens in a minute, and requests at a time.

Each bound of a minute is a bucket that holds a minute's worth and is filled evenly. A request is let in while there is
something in each bucket of each of its accounts; the tokens that it took are known when it ends and are taken out then,
so a bucket may owe some. Knows neither users nor HTTP, and nothing of time but its clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from pie.errors import RequestError

__all__ = ["MAX_LIMIT", "UNLIMITED", "Accounts", "Limiter", "Limits", "RateLimited"]

MAX_LIMIT = 1_000_000_000
MINUTE_S = 60.0
TURN_S = 1.0
"""When to look again for a place among the requests at a time: nobody knows when one ends."""

SLACK_S = 1e-6
"""What times may be wrong by, as sums of floating point are."""

Bound = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account may use; None is without a bound.

    Attributes:
        requests_per_minute: that are let in.
        tokens_per_minute: of prompts and of what is generated.
        concurrent_requests: that are answered at a time.
    """

    requests_per_minute: Bound | None = None
    tokens_per_minute: Bound | None = None
    concurrent_requests: Bound | None = None

    def over(self, others: Limits) -> Limits:
        """These, and those of the others where there are none here."""
        return Limits(**{**others.told(), **self.told()})

    def told(self) -> dict[str, int]:
        """Those that there are, by name."""
        return {name: bound for name in Limits.__struct_fields__ if (bound := getattr(self, name)) is not None}


UNLIMITED = Limits()
Accounts = Mapping[str, Limits]
"""The accounts for which a request counts, by name, and the limits of each."""


class RateLimited(RequestError):
    """An account has used what it may for now.

    Attributes:
        retry_after_s: after so many seconds there is something again, if nobody else takes it.
    """

    def __init__(self, cause: str, *, remedy: str, wait_s: float) -> None:
        """Say what was used up, and for how long."""
        super().__init__("rate-limit-exceeded", cause, remedy=remedy)
        self.retry_after_s = max(1, math.ceil(wait_s - SLACK_S))


class Bucket:
    """Holds `limit` at most, which may change, and gets so many in a minute."""

    __slots__ = ("_seen_s", "_taken")

    def __init__(self) -> None:
        """Begin full."""
        self._taken = 0.0  # what is missing to a full one
        self._seen_s = 0.0

    def wait_s(self, limit: int, now_s: float) -> float:
        """How long until one can be taken; 0 if it can be now."""
        self._fill(limit, now_s)
        wait_s = (self._taken + 1 - limit) * MINUTE_S / limit
        return wait_s if wait_s > SLACK_S else 0.0

    def take(self, number: int, limit: int, now_s: float) -> None:
        """Take so many, more than there are if need be."""
        self._fill(limit, now_s)
        self._taken += number

    def _fill(self, limit: int, now_s: float) -> None:
        self._taken = max(0.0, self._taken - (now_s - self._seen_s) * limit / MINUTE_S)
        self._seen_s = now_s


@dataclass(slots=True, eq=False)
class _Account:
    num_running: int = 0
    requests: Bucket = field(default_factory=Bucket)
    tokens: Bucket = field(default_factory=Bucket)


class Limiter:
    """What accounts have used, by their names; those without limits are not kept."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing has been used; `clock` tells seconds, which only go up."""
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    @contextmanager
    def admitted(self, accounts: Accounts) -> Iterator[None]:
        """Let a request in, which is answered until the block is left; one that is not let in uses nothing.

        Raises:
            RateLimited: `rate-limit-exceeded`.
        """
        now_s = self._clock()
        entered = [(name, self._account(name), limits) for name, limits in accounts.items() if limits.told()]
        for name, account, limits in entered:
            _check(name, account, limits, now_s)
        for _name, account, limits in entered:
            account.num_running += 1
            if limits.requests_per_minute is not None:
                account.requests.take(1, limits.requests_per_minute, now_s)
        try:
            yield
        finally:
            for _name, account, _limits in entered:
                account.num_running -= 1

    def spend(self, accounts: Accounts, num_tokens: int) -> None:
        """Take the tokens that a request took."""
        now_s = self._clock()
        for name, limits in accounts.items():
            if limits.tokens_per_minute is not None:
                self._account(name).tokens.take(num_tokens, limits.tokens_per_minute, now_s)

    def _account(self, name: str) -> _Account:
        return self._accounts.setdefault(name, _Account())


def _check(name: str, account: _Account, limits: Limits, now_s: float) -> None:
    """Raise unless an account may have one more request."""
    at_a_time = limits.concurrent_requests
    if at_a_time is not None and account.num_running >= at_a_time:
        raise RateLimited(
            f"requests at a time of {name} are limited to {at_a_time}, and as many are answered now",
            remedy="Wait until one has been answered.",
            wait_s=TURN_S,
        )
    buckets = ((account.requests, limits.requests_per_minute), (account.tokens, limits.tokens_per_minute))
    for (bucket, limit), what in zip(buckets, ("requests", "tokens"), strict=True):
        if limit is not None and (wait_s := bucket.wait_s(limit, now_s)):
            raise RateLimited(
                f"{what} per minute of {name} are limited to {limit}, and used up for {math.ceil(wait_s)} s",
                remedy="Wait as long as Retry-After says.",
                wait_s=wait_s,
            )
