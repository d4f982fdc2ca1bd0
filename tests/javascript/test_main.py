"""How a JavaScript program is entered and left: input, result, errors as its author reads them, imports."""

from __future__ import annotations

from typing import Any

import pytest
from tests.running import RunProgram

from pie.errors import PieError
from pie.process.process import ProgramFailed

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]


@pytest.mark.parametrize("value", [None, 5, "text", [1, {"a": None}], {"a": [True, 1.5]}])
async def test_main_gets_the_input_and_its_result_is_the_outcome(run_javascript: RunProgram, value: Any) -> None:
    assert (await run_javascript("export async function main(input: unknown) { return input; }", value)).value == value
    assert (await run_javascript("export const main = (input: unknown) => input;", value)).value == value


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("export default async function (input: string) { return input + '!'; }", "a!"),
        ("export async function main() {}", None),
        ("export function main() { return { a: undefined, b: [undefined] }; }", {"b": [None]}),
    ],
)
async def test_main_may_be_the_default_export_and_may_return_nothing(
    run_javascript: RunProgram, program: str, value: Any
) -> None:
    assert (await run_javascript(program, "a")).value == value


async def test_plain_javascript_runs_too(run_javascript: RunProgram) -> None:
    assert (await run_javascript({"main.js": "export const main = ({ n }) => n + 1;"}, {"n": 1})).value == 2


async def test_a_program_may_have_several_files_and_data(run_javascript: RunProgram) -> None:
    run = await run_javascript(
        {
            "javascript/main.ts": "import { shout } from './text/shout';\nimport data from './data.json';\n"
            "enum Mark { Bang = 33 }\n"
            "export const main = (): string => shout(data.word) + String.fromCharCode(Mark.Bang);",
            "javascript/text/shout.ts": "export const shout = (text: string): string => text.toUpperCase();",
            "javascript/data.json": '{"word": "hey"}',
        }
    )
    assert run.value == "HEY!"


ERRORS = {
    "an error with its frames": (
        "import { bad } from './helper';\n\nexport async function main(input: unknown) {\n  return bad(input);\n}\n",
        ["TypeError: can't access property \"field\", x.missing is undefined",
         "    at bad (helper.ts:2:3)",
         "        return x.missing.field;",
         "    at main (main.ts:4:10)"],
    ),
    "after an await": (
        "export async function main() {\n  await new Promise((r) => setTimeout(r, 1));\n"
        "  null!.x;\n}\ndeclare global { interface Null { x: 1 } }",
        ["TypeError: can't access property \"x\" of null", "    at main (main.ts:3:3)", "        null!.x;"],
    ),
    "its cause first": (
        "export const main = () => {\n  try { JSON.parse('{'); }\n"
        "  catch (e) { throw new Error('outer', { cause: e }); }\n};",
        ["SyntaxError: JSON.parse: end of data while reading object contents at line 1 column 2 of the JSON data",
         "    at main (main.ts:2:14)",
         "        try { JSON.parse('{'); }",
         "",
         "which led to:",
         "",
         "Error: outer",
         "    at main (main.ts:3:21)",
         "        catch (e) { throw new Error('outer', { cause: e }); }"],
    ),
    "a text": ("export const main = () => { throw 'just text'; };", ["Uncaught just text"]),
    "an object": ("export const main = () => { throw { a: 1 }; };", ['Uncaught {"a":1}']),
    "no main": ("export const x = 1;", ["InferletError: no-main: main.ts exports no function main"]),
    "several errors": (
        "export const main = () => Promise.any([Promise.reject(new Error('a')), Promise.reject(new Error('b'))]);",
        ["Error: a", "Error: b", "AggregateError: "],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("program", "lines"), ERRORS.values(), ids=ERRORS.keys())
async def test_errors_show_the_authors_lines_and_nobody_elses(
    run_javascript: RunProgram, program: str, lines: list[str]
) -> None:
    helper = "export function bad(x: any) {\n  return x.missing.field;\n}\n"
    with pytest.raises(ProgramFailed) as caught:
        await run_javascript({"main.ts": program, "helper.ts": helper}, {})
    shown = caught.value.traceback.splitlines()
    if program.startswith("export const main = () => Promise.any"):
        assert [line for line in lines if not any(line in one for one in shown)] == []
    else:
        assert shown == lines


@pytest.mark.parametrize(
    ("program", "code", "cause"),
    [
        ("import { Model } from 'inferlet';\nexport const main = () => Model.load('nobody');",
         "model-not-served", "no model named 'nobody' is served here.*\\(main.ts:2\\)"),
        ("import { InferletError } from 'inferlet';\n"
         "export async function main() { throw new InferletError('my-code', 'why'); }",
         "my-code", "why \\(main.ts:2\\)"),
        ("export function main(): number { return main() + 1; }",
         "program-failed", "InternalError: too much recursion"),
        ("export function main() { const a: any = {}; a.a = a; return a; }", "not-json", "cyclic object value"),
        ("export const main = () => 1n;", "not-json", "BigInt"),
        ("export const main = () => main;", "not-json", "a function"),
        ("export async function main() { await new Promise(() => {}); }", "deadlock", "every task waits"),
        ("export async function main() { return await fetch('http://localhost/'); }",
         "http-not-allowed", "localhost at port 80 is not open"),
    ],
)  # fmt: skip
async def test_an_error_that_ends_a_program_keeps_its_code_and_tells_its_line(
    run_javascript: RunProgram, program: str, code: str, cause: str
) -> None:
    with pytest.raises(PieError, match=cause) as caught:
        await run_javascript(program)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("export async function main() {\n  return (1 +;\n}", 'main.ts:2:13: Unexpected ";"'),
        ("import fs from 'node:fs';\nexport const main = () => fs;", 'main.ts:1:15: Could not resolve "node:fs"'),
        ("import { x } from './nowhere';\nexport const main = x;", 'main.ts:1:18: Could not resolve "./nowhere"'),
        (
            "const x = await 1;\nexport const main = () => x;",
            "main.ts:1:10: Top-level await is not available",
        ),
    ],
)
async def test_a_source_that_cannot_be_bundled_is_told_by_line(
    run_javascript: RunProgram, program: str, cause: str
) -> None:
    with pytest.raises(PieError) as caught:
        await run_javascript(program)
    assert caught.value.code == "bad-source"
    assert cause in caught.value.cause


async def test_random_sources_differ_between_launches_and_globals_are_not_shared(run_javascript: RunProgram) -> None:
    source = """
        export function main() {
          const seen = (globalThis as any).mark ?? 0;
          (globalThis as any).mark = 1;
          return [seen, Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint8Array(8)).join()];
        }
    """
    first, second = [(await run_javascript(source)).value for _ in range(2)]
    assert first[0] == second[0] == 0
    assert [i for i in range(1, 4) if first[i] == second[i]] == []


async def test_text_goes_to_stdout(run_javascript: RunProgram) -> None:
    run = await run_javascript("export const main = () => { console.log('a', { b: 1 }); console.log('é'); };")
    assert run.stdout.startswith("a ")
    assert run.stdout.endswith("é\n")
