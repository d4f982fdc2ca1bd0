"""docs/errors.md lists every error code in the source, once, and nothing else."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.docs.error_codes import Raised, read_sources

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `(?P<code>[^`]+)` \| (?P<meaning>[^|]+) \| (?P<remedy>[^|]+) \|$", re.MULTILINE)
KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SENTENCE = re.compile(r"[A-Z][^\n]*[.?]")
SAID = read_sources()
SDK = Path(__file__).parents[2] / "sdk"
THROWN = re.compile(r"new (?:InferletError|ClientError|ConnectionLost|BadTransfer)\('([^']+)'")


def text(said: ast.expr | None) -> str | None:
    """A literal, with x in the place of what is filled in at run time; None if it is not one."""
    match said:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=parts):
            return "".join(text(part) or "x" for part in parts)
    return None


def codes_in_source() -> set[str]:
    in_javascript = {
        code
        for folder in ("javascript/src", "javascript/runner", "client-javascript/src")
        for file in (SDK / folder).glob("*.ts")
        for code in THROWN.findall(file.read_text())
    }
    return {code for one in SAID for code in one.codes} | in_javascript


def test_every_code_in_the_source_is_documented_once() -> None:
    documented = Counter(match["code"] for match in ROW.finditer(PAGE.read_text()))
    assert codes_in_source() - documented.keys() == set()
    assert [code for code, count in documented.items() if count > 1] == []


def test_every_documented_code_is_in_the_source() -> None:
    documented = {match["code"] for match in ROW.finditer(PAGE.read_text())}
    assert documented - codes_in_source() == set()


def test_every_row_of_a_table_is_a_code_with_a_meaning_and_a_remedy() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(lines) > 100
    assert [line for line in lines if not ROW.fullmatch(line)] == []


def test_codes_are_kebab_case() -> None:
    assert [code for code in codes_in_source() if not KEBAB_CASE.fullmatch(code)] == []


WITH_CAUSE = [one for one in SAID if text(one.cause)]
WITH_REMEDY = [one for one in SAID if text(one.remedy)]


@pytest.mark.parametrize("one", WITH_REMEDY, ids=lambda one: one.place)
def test_a_remedy_is_one_sentence(one: Raised) -> None:
    remedy = text(one.remedy) or ""
    assert SENTENCE.fullmatch(remedy)
    assert ". " not in remedy


@pytest.mark.parametrize("one", WITH_CAUSE, ids=lambda one: one.place)
def test_a_cause_is_one_line_without_a_full_stop(one: Raised) -> None:
    cause = text(one.cause) or ""
    assert "\n" not in cause
    assert not cause.endswith(".")
