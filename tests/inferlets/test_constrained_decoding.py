"""The example constrained-decoding, run for real on the embedded model."""

from __future__ import annotations

import json
import re

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


FORMS = ["Lima|Paris|Rome", "[0-9]+", "[a-z]+, [a-z]+ and [a-z]+", None, "[a-df-z]+(, [a-df-z]+){4}"]


async def test_every_answer_fits_its_constraint_where_the_free_one_does_not(run_inferlet: RunInferlet) -> None:
    results = (await run_inferlet("constrained-decoding", {})).value
    for form, result in zip(FORMS, results, strict=True):
        if form is None:
            assert set(json.loads(result["constrained"])) == {"name", "city"} < set(json.loads(result["free"]))
        else:
            assert re.fullmatch(form, result["constrained"])
            assert not re.fullmatch(form, result["free"])


@pytest.mark.parametrize("letters", ["e", "or", "w"])
async def test_constraints_of_ones_own_hold_together(run_inferlet: RunInferlet, letters: str) -> None:
    demands = {"prompt": "Name four colors.", "regex": "[a-z]+(, [a-z]+){3}", "without": letters}
    [result] = (await run_inferlet("constrained-decoding", demands)).value
    assert re.fullmatch("[a-z]+(, [a-z]+){3}", result["constrained"])
    assert not set(letters) & set(result["constrained"])
