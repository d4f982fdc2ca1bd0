"""Files of a JavaScript program: in `/scratch`, and nowhere else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.running import RunProgram

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]


async def test_a_file_is_written_read_and_added_to(run_javascript: RunProgram) -> None:
    source = """
        import { files } from 'inferlet';

        export const main = () => {
          files.writeText('/scratch/a.txt', 'a long first text');
          files.writeText('/scratch/a.txt', 'grün');
          files.append('a.txt', '!');
          files.append('b', Uint8Array.of(0, 255));
          const bytes = files.readBytes('/scratch/b');
          return [files.readText('a.txt'), bytes instanceof Uint8Array, [...bytes], files.readText('b'), files.list()];
        };
    """
    assert (await run_javascript(source)).value == ["grün!", True, [0, 255], "\0\ufffd", ["a.txt", "b"]]


async def test_a_file_may_be_larger_than_what_crosses_at_once(run_javascript: RunProgram) -> None:
    source = """
        import { files } from 'inferlet';

        export const main = () => {
          const data = Uint8Array.from({ length: 5_000_001 }, (_, index) => index % 251);
          files.writeBytes('large', data.subarray(1));
          const read = files.readBytes('large');
          return [read.length, files.stat('large').size, read.every((byte, index) => byte === (index + 1) % 251)];
        };
    """
    assert (await run_javascript(source)).value == [5_000_000, 5_000_000, True]


async def test_directories_are_made_listed_renamed_and_removed(run_javascript: RunProgram) -> None:
    source = """
        import { files } from 'inferlet';

        export const main = () => {
          const before = Date.now();
          files.mkdir('/scratch/x/y', { recursive: true });
          files.mkdir('x/y', { recursive: true });
          files.writeText('x/y/f', 'four');
          files.writeText('x/e', '');
          files.rename('x/y/f', '/scratch/x/d');
          const { isFile, isDirectory, size, modified } = files.stat('x/d');
          const names = files.list('x');
          files.remove('x/e');
          files.remove('x/y');
          const left = files.list('/scratch/x/');
          files.remove('x', { recursive: true });
          return [names, left, isFile, isDirectory, size, Math.abs(modified.getTime() - before) < 60_000,
                  files.stat('/scratch').isDirectory, files.exists('x'), files.exists('x/d')];
        };
    """
    value = (await run_javascript(source)).value
    assert value == [["d", "e", "y"], ["d"], True, False, 4, True, True, False, False]


CODES = {
    "files.readText('b')": "file-not-found",
    "files.list('b')": "file-not-found",
    "files.remove('b')": "file-not-found",
    "files.rename('b', 'c')": "file-not-found",
    "files.writeText('b/c', '')": "file-not-found",
    "files.readText('')": "file-not-found",
    "files.mkdir('folder')": "file-exists",
    "files.mkdir('a/b', { recursive: true })": "file-exists",
    "files.readText('folder')": "is-a-directory",
    "files.writeText('folder', '')": "is-a-directory",
    "files.list('a')": "not-a-directory",
    "files.readText('a/b')": "not-a-directory",
    "files.remove('folder')": "directory-not-empty",
    "files.readText('/etc/passwd')": "file-not-allowed",
    "files.readText('/scratchy')": "file-not-allowed",
    "files.readText('../a')": "file-not-allowed",
    "files.readText('folder/../../a')": "file-not-allowed",
    "files.readText('a\\0b')": "file-failed",
    "files.readText('a'.repeat(300))": "file-failed",
    "files.remove('/scratch', { recursive: true })": "file-failed",
}


@pytest.mark.parametrize(("call", "code"), CODES.items())
async def test_what_cannot_be_done_is_refused_with_a_code(run_javascript: RunProgram, call: str, code: str) -> None:
    source = f"""
        import {{ InferletError, files }} from 'inferlet';

        export const main = () => {{
          files.writeText('a', 'kept');
          files.mkdir('folder');
          files.writeText('folder/f', '');
          try {{ {call}; }} catch (error) {{ return error instanceof InferletError ? error.code : String(error); }}
        }};
    """
    assert (await run_javascript(source)).value == code


async def test_what_does_not_fit_is_refused_and_the_rest_stays(run_javascript: RunProgram) -> None:
    source = """
        import { files } from 'inferlet';

        export const main = () => {
          const code = (call: () => void) => { try { call(); } catch (error: any) { return error.code; } };
          files.writeText('kept', 'kept');
          const data = new Uint8Array(32 << 20);
          const full = code(() => { for (;;) files.append('large', data); });
          files.remove('large');
          files.writeText('again', 'again');
          return [full, files.readText('kept'), files.list()];
        };
    """
    assert (await run_javascript(source)).value == ["scratch-full", "kept", ["again", "kept"]]


async def test_the_files_are_gone_with_their_program(run_javascript: RunProgram) -> None:
    def folders() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob("pie-scratch-*/mark-of-this-test"))

    source = """
        import { files } from 'inferlet';

        export const main = () => { files.writeText('mark-of-this-test', ''); return files.list(); };
    """
    assert (await run_javascript(source)).value == ["mark-of-this-test"]
    assert folders() == set()
    assert (
        await run_javascript("import { files } from 'inferlet';\nexport const main = () => files.list();")
    ).value == []


async def test_the_calls_of_node_fs_promises_work_in_the_folder(run_javascript: RunProgram) -> None:
    source = """
        import fs, { readFile, stat } from 'node:fs/promises';
        import { access } from 'fs/promises';

        const code = (call: Promise<unknown>) => call.then(() => 'no error', (error) => error.code);

        export async function main() {
          await fs.mkdir('/scratch/x/y', { recursive: true });
          await fs.writeFile('/scratch/x/a', 'grün', 'utf8');
          await fs.appendFile('/scratch/x/a', Uint8Array.of(33));
          await fs.copyFile('/scratch/x/a', '/scratch/x/b');
          await fs.rename('/scratch/x/b', '/scratch/x/c');
          const [bytes, text] = await Promise.all([readFile('/scratch/x/c'), readFile('x/c', { encoding: 'utf-8' })]);
          const info = await stat('/scratch/x/c');
          await access('/scratch/x/c');
          const names = await fs.readdir('/scratch/x');
          const refused = await Promise.all([
            code(fs.readFile('/scratch/none')), code(fs.unlink('/scratch/x/y')), code(fs.rmdir('/scratch/x/a')),
            code(fs.readFile('/etc/passwd')), code(fs.readFile('/scratch/x/a', 'latin1')), code(fs.rm('none')),
          ]);
          await fs.unlink('/scratch/x/a');
          await fs.rmdir('/scratch/x/y');
          await fs.rm('/scratch/none', { force: true });
          const left = await fs.readdir('/scratch/x');
          await fs.rm('/scratch/x', { recursive: true });
          return [
            (bytes as Uint8Array).length, text, info.size, info.isFile(), info.isDirectory(),
            info.mtime.getTime() === info.mtimeMs, names, left, await fs.readdir('/scratch'), refused,
          ];
        }
    """
    assert (await run_javascript(source)).value == [
        *(6, "grün!", 6, True, False, True, ["a", "c", "y"], ["c"], []),
        ["file-not-found", "is-a-directory", "not-a-directory", "file-not-allowed", "bad-option", "file-not-found"],
    ]
