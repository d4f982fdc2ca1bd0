"""What the runner of Python programs knows of the sizes of numbers is what the contract says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.wit.contract import ours

GUARD = Path(__file__).parents[2] / "sdk" / "python" / "runner" / "pie_runner" / "guard.py"
NUMBER = re.compile(r"([\w-]+):(?:\w+<)*([us]64)>*(?=[,)}])")


def test_the_guard_knows_all_numbers_of_64_bits_that_a_program_hands_over() -> None:
    wide = {
        (interface.partition("/")[2], name.replace("-", "_")): kind
        for interface, members in ours().items()
        if interface.startswith("pie:")
        for member in members
        for name, kind in NUMBER.findall(member.partition("->")[0])
    }
    unchecked = {place for place in wide if place[0] == "wait"}
    assert unchecked
    assert {place: kind for place, kind in wide.items() if place not in unchecked} == known()


def known() -> dict[tuple[str, str], str]:
    """The guard's own table, read without running it: it runs in components only."""
    for node in ast.parse(GUARD.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "WIDE":
            table: dict[tuple[str, str], str] = ast.literal_eval(node.value)
            return table
    raise ValueError(f"{GUARD} has no WIDE")
