"""TypeScript programs that were packed into one file start without the tools that bundled them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.running import run_to_end

from pie.build.packed import pack_program
from pie.process.process import ProgramFailed
from pie.runtime import Runtime

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]


async def test_a_packed_program_runs_and_shows_its_authors_lines(
    javascript_runtime: Runtime, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "adding.ts").write_text(
        "export function add(a: number, b: number) {\n  if (a < 0) throw new Error('low');\n  return a + b;\n}\n"
    )
    main = tmp_path / "main.ts"
    main.write_text(
        "import { add } from './adding';\n"
        "export const main = (input: { a: number; b: number }): number => add(input.a, input.b);\n"
    )
    packed = tmp_path / "packed" / "sum.source"
    packed.parent.mkdir()
    packed.write_bytes(pack_program(tmp_path))
    main.unlink()
    assert (await run_to_end(runtime, packed, {"a": 1, "b": 2}, seed=1)).value == 3
    with pytest.raises(ProgramFailed) as caught:
        await run_to_end(runtime, packed, {"a": -1, "b": 2}, seed=1)
    assert "adding.ts:2" in caught.value.cause
