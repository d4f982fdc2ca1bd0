"""Whatever a process calls, in whatever order: it is told what a plain-Python model foresees, and nothing is left over.

`python -m tests.random_calls --sequences 10000` runs more of them.
"""

from __future__ import annotations

from tests.random_calls.running import run


def test_random_calls_do_and_are_told_what_a_plain_model_foresees() -> None:
    tally = run(num_sequences=150, seed=0)
    assert tally.sequences >= 150
    assert tally.errors_by_code.keys() >= {"context-destroyed", "not-committable", "bad-mask", "snapshot-not-found"}
    assert (tally.untyped, tally.leaked_pages) == (0, 0)
