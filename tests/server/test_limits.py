"""Limits of accounts: requests and tokens in a minute, and requests at a time."""

from __future__ import annotations

import math
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.server.limits import MAX_LIMIT, Limiter, Limits, RateLimited


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def asked(limiter: Limiter, **bounds: Limits) -> RateLimited | None:
    """Why a request that is answered at once is not let in; None if it is."""
    try:
        with limiter.admitted(bounds):
            return None
    except RateLimited as error:
        return error


def test_so_many_requests_are_answered_at_a_time_and_other_accounts_do_not_notice() -> None:
    limiter, limits = Limiter(clock=Clock()), Limits(concurrent_requests=2)
    with limiter.admitted({"a": limits}):
        with limiter.admitted({"a": limits}):
            refused = asked(limiter, a=limits)
            assert refused is not None
            assert (refused.code, refused.retry_after_s) == ("rate-limit-exceeded", 1)
            assert asked(limiter, b=limits) is None
        assert asked(limiter, a=limits) is None


def test_what_fails_gives_its_place_back() -> None:
    limiter, bounds = Limiter(clock=Clock()), {"a": Limits(concurrent_requests=1)}
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), limiter.admitted(bounds):
            raise ValueError("x")


def test_without_limits_everybody_is_let_in() -> None:
    limiter = Limiter(clock=Clock())
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(limiter.admitted({"a": Limits()}))
        limiter.spend({"a": Limits()}, MAX_LIMIT)
        assert asked(limiter, a=Limits(tokens_per_minute=1)) is None


def test_a_request_counts_for_all_its_accounts_or_for_none() -> None:
    limiter = Limiter(clock=Clock())
    user, token = Limits(requests_per_minute=3), Limits(requests_per_minute=1)
    assert asked(limiter, user=user, token=token) is None
    refused = [asked(limiter, user=user, token=token) for _ in range(10)]
    assert all(error is not None and error.retry_after_s == 60 for error in refused)
    assert [asked(limiter, user=user) is None for _ in range(3)] == [True, True, False]


def test_tokens_are_owed_and_paid_back() -> None:
    limiter, limits = Limiter(clock=(clock := Clock())), Limits(tokens_per_minute=60)
    limiter.spend({"a": limits}, 59)
    assert asked(limiter, a=limits) is None
    limiter.spend({"a": limits}, 101)
    refused = asked(limiter, a=limits)
    assert refused is not None
    assert refused.cause.startswith("tokens per minute of a are limited to 60,")
    assert refused.retry_after_s == 101
    clock.now_s += 100.5
    assert asked(limiter, a=limits) is not None
    clock.now_s += 0.5
    assert asked(limiter, a=limits) is None


def test_a_limit_that_changes_holds_from_then_on() -> None:
    limiter = Limiter(clock=Clock())
    assert [asked(limiter, a=Limits(requests_per_minute=2)) for _ in range(2)] == [None, None]
    assert asked(limiter, a=Limits(requests_per_minute=2)) is not None
    assert asked(limiter, a=Limits()) is None
    assert [asked(limiter, a=Limits(requests_per_minute=3)) is None for _ in range(2)] == [True, False]
    limiter.spend({"a": Limits(tokens_per_minute=1)}, 1000)
    assert asked(limiter, a=Limits(tokens_per_minute=1000)) is not None
    assert asked(limiter, a=Limits(tokens_per_minute=1001)) is None


def test_own_limits_win_over_others_one_by_one() -> None:
    own = Limits(requests_per_minute=5)
    others = Limits(requests_per_minute=9, concurrent_requests=2)
    assert own.over(others) == Limits(requests_per_minute=5, concurrent_requests=2)
    assert Limits().over(others) == others
    assert own.over(Limits()).told() == {"requests_per_minute": 5}


@given(st.integers(1, 90), st.lists(st.floats(0, 90), max_size=80))
def test_who_waits_as_told_is_let_in_and_who_waits_less_is_not(limit: int, waits_s: list[float]) -> None:
    limiter, limits = Limiter(clock=(clock := Clock())), Limits(requests_per_minute=limit)
    let_in_s: list[float] = []
    for wait_s in waits_s:
        clock.now_s += wait_s
        refused = asked(limiter, a=limits)
        if refused is not None:
            clock.now_s += refused.retry_after_s - 1.001
            assert refused.retry_after_s == 1 or asked(limiter, a=limits) is not None
            clock.now_s += 1.001
            assert asked(limiter, a=limits) is None
        let_in_s.append(clock.now_s)
    for index, first_s in enumerate(let_in_s):  # of any stretch of time: a full bucket and what came in since
        for number, last_s in enumerate(let_in_s[index:], 1):
            assert number <= limit + (last_s - first_s) * limit / 60 + 1e-3


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5000)), max_size=60),
)
def test_in_the_long_run_no_more_tokens_are_spent_than_there_are(limit: int, asks: list[tuple[float, int]]) -> None:
    limiter, limits = Limiter(clock=(clock := Clock())), Limits(tokens_per_minute=limit)
    spent, num_refused, num_waited_s = 0, 0, 0.0
    for wait_s, num_tokens in asks:
        clock.now_s += wait_s
        refused = asked(limiter, a=limits)
        if refused is None:
            limiter.spend({"a": limits}, num_tokens)
            spent += num_tokens
        else:
            num_refused += 1
            num_waited_s += refused.retry_after_s
            assert refused.retry_after_s <= math.ceil(spent * 60 / limit)
        assert spent <= limit + (clock.now_s - 1000) * limit / 60 + 5000
    assert num_refused == 0 or spent >= limit
    assert num_waited_s >= num_refused


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["come", "come too", "leave"]), st.integers(0, 9)), max_size=60),
)
def test_places_are_those_of_whoever_is_there(of_user: int, of_token: int, acts: list[tuple[str, int]]) -> None:
    limiter = Limiter(clock=Clock())
    user, token = Limits(concurrent_requests=of_user), Limits(concurrent_requests=of_token)
    there: list[tuple[ExitStack, bool]] = []
    for act, index in acts:
        if act == "leave":
            if there:
                there.pop(index % len(there))[0].close()
            continue
        shows_token = act == "come too"
        has_room = len(there) < of_user and (not shows_token or sum(shown for _, shown in there) < of_token)
        stack = ExitStack()
        try:
            stack.enter_context(limiter.admitted({"user": user, "token": token} if shows_token else {"user": user}))
        except RateLimited:
            assert not has_room
        else:
            assert has_room
            there.append((stack, shows_token))
