"""The example hierarchical-attention, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTIONS = {
    "Where does Eva live?": "Eva lives in Oslo.",
    "What does Ben like?": "Ben likes green.",
    "What is the job of Mia?": "Mia is a painter.",
    "How old is Max?": "Max is 61 years old.",
}


@pytest.mark.parametrize(("question", "answer"), QUESTIONS.items(), ids=["lives", "likes", "is", "age"])
async def test_the_document_that_fits_is_kept_and_answers(
    run_inferlet: RunInferlet, question: str, answer: str
) -> None:
    result = (await run_inferlet("hierarchical-attention", {"question": question})).value
    [kept] = result["kept"]
    assert answer in kept
    assert result["answer"] == answer
    assert result["pages_at_the_end"] < result["pages_read"]


async def test_all_documents_kept_answer_as_all_do_and_give_no_page_back(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("hierarchical-attention", {"keep": 4})).value
    assert result["answer"] == result["answer_from_all"]
    assert len(result["kept"]) == 4
    assert result["pages_at_the_end"] > result["pages_read"]


async def test_what_was_not_kept_has_no_influence(run_inferlet: RunInferlet) -> None:
    # Other words of the same number of tokens, so that every place stays the same.
    kept = "Nora lives in Cairo."
    answers = []
    for other in ("Tom lives in Lima. Eva lives in Oslo.", "Sam lives in Rome. Tom lives in Oslo."):
        request = {"documents": f"{other}|{kept}", "question": "Where does Nora live?"}
        result = (await run_inferlet("hierarchical-attention", request)).value
        assert result["kept"] == [kept]
        answers.append(result["answer"])
    assert answers == [kept, kept]
