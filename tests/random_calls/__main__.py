"""Random sequences of calls against the host, beside a plain-Python model of contexts and pages.

python -m tests.random_calls --sequences 10000 [--seed N]

It prints one line of JSON: how many sequences and calls there were, how often each error was told, how many errors had
no code, and how many pages were left over. It ends with an error, and the shortest sequence that shows it, as soon as a
call does something else than it must.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from tests.random_calls.running import run

__all__ = ["main"]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10_000, help="how many to run")
    parser.add_argument("--seed", type=int, default=0, help="of the choices")
    arguments = parser.parse_args()
    tally = run(num_sequences=arguments.sequences, seed=arguments.seed)
    told = dataclasses.asdict(tally) | {"errors_by_code": dict(tally.errors_by_code.most_common())}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
