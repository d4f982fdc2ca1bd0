"""Runs the state machine a number of times."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.random_calls.machine import RandomCalls
from tests.random_calls.server import Tally, Texts

from pie.config import embedded_model

__all__ = ["run"]

NUM_STEPS = 20


def run(*, num_sequences: int, seed: int) -> Tally:
    """Run sequences of up to 20 rules, each of several calls; what they came to.

    Raises:
        AssertionError: a call did something else than it must; the sequence is the shortest that shows it.
    """
    texts, tally = Texts.load(embedded_model()), Tally()

    def machine() -> RandomCalls:
        return RandomCalls(texts, tally)

    machine._hypothesis_internal_use_seed = seed  # type: ignore[attr-defined] # what `hypothesis.seed` sets on a test
    chosen = settings(
        max_examples=num_sequences,
        stateful_step_count=NUM_STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(cast(Any, machine), settings=chosen)  # it takes any factory
    return tally
