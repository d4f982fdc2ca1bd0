"""Commands against a running server: how they enter it, run programs on it, find them again and end them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.shell import LONG_S, Left, Pie, Shell, read_until, wait_for
from tests.cli.test_serve import ready
from tests.server.keys import KEYS, public_text
from tests.server.running import TALKER

from pie_client import Client

MANIFEST = '[package]\nname = "{name}"\nversion = "0.1.0"\n'


@pytest.fixture(scope="module")
def served(runner_wasm: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and home of one server for all tests here; it knows alice by a key."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    users = home / "authorized_users.toml"
    users.write_text(f'[users.alice.keys]\nlaptop = "{public_text("ed25519")}"\n')
    users.chmod(0o600)
    environment = {**os.environ, "PIE_HOME": str(home), "PIE_CACHE": str(cache_dir)}
    with Shell(temporary, environment).start("serve", "--port", "0") as process:
        url, _ = ready(process)
        yield url, home
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)


@pytest.fixture
def url(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, pie: Pie) -> Iterator[str]:
    """The server, whose port is configured and whose token file is ours; afterwards nothing runs on it."""
    url, home = served
    monkeypatch.setenv("PIE_HOME", str(home))
    monkeypatch.setattr(sys, "stdin", None)  # pytest's own has no descriptor
    monkeypatch.setenv("PIE_SERVER_PORT", url.rpartition(":")[2])
    monkeypatch.delenv("PIE_TOKEN", raising=False)
    yield url
    monkeypatch.delenv("PIE_TOKEN", raising=False)
    assert pie("stop", "--all", "--server", url).code == 0
    wait_for(lambda: json.loads(pie("ps", "--json", "--server", url).out) == [])


@pytest.fixture
def talker(tmp_path: Path) -> str:
    return write(tmp_path, "talker", TALKER)


def write(folder: Path, name: str, text: str) -> str:
    """Write a program folder, and return its path."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "main.py").write_text(text)
    (folder / name / "Pie.toml").write_text(MANIFEST.format(name=name))
    return str(folder / name)


def launch(pie: Pie, program: str, value: object) -> str:
    left = pie("run", "--server", "--detach", program, "--input", json.dumps(value))
    assert left.code == 0, left.err
    return left.out.strip()


def test_a_program_that_lies_here_runs_there_as_it_would_here(url: str, pie: Pie, talker: str) -> None:
    words = (talker, "--input", json.dumps({"say": ["hello"], "print": "printed", "value": [1]}))
    there, here = pie("run", "--server", *words), pie("run", *words)
    assert (there.code, there.out, there.err) == (0, here.out, here.err)
    assert there.out == "hello\nprinted\n[\n  1\n]\n"
    assert pie("run", f"--server={url}", *words, "--json").out == pie("run", *words, "--json").out


def test_a_program_that_raises_ends_both_in_the_same_way(url: str, pie: Pie, talker: str) -> None:
    words = (talker, "--input", '{"fail": "not today"}')
    there, here = pie("run", "--server", url, *words), pie("run", *words)
    assert (there.code, there.out, there.err) == (1, here.out, here.err)
    assert "not today" in there.err


def test_a_changed_program_is_uploaded_again_and_runs_by_its_name_too(url: str, pie: Pie, tmp_path: Path) -> None:
    for answer in ("one", "two"):
        path = write(tmp_path, "changing", f"async def main(input):\n    return '{answer}'\n")
        assert pie("run", "--server", path).out == f"{answer}\n"
    (tmp_path / "changing").rename(tmp_path / "elsewhere")
    assert pie("run", "--server", "changing").out == "two\n"
    left = pie("run", "--server", "chagning")
    assert left.code == 1
    assert left.err.startswith("error[program-not-found]: ")
    assert "Did you mean changing?" in left.err


def test_a_detached_process_is_listed_attached_to_and_heard_from_its_beginning(
    url: str, shell: Shell, pie: Pie, talker: str
) -> None:
    process_id = launch(pie, talker, {"say": ["before"], "hear": 1, "value": "done"})
    [row] = json.loads(pie("ps", "--json").out)
    assert (row["id"], row["program"], row["username"]) == (process_id, "talker@0.1.0", "internal")
    assert pie("ps").out.splitlines()[1].startswith(f"{process_id[:8]}  talker@0.1.0  internal")
    shell = replace(shell, environment=dict(os.environ))
    with shell.start("attach", process_id[:6]) as attached:
        assert read_until(attached, b"\n") == b"before\n"
        out, err = attached.communicate(b"a line\n", timeout=LONG_S)
    assert (attached.returncode, out, err) == (0, b"heard a line\ndone\n", b"")
    assert pie("attach", process_id).out == "done\n", "how it ended is told again"


def test_ctrl_c_detaches_and_the_process_goes_on(url: str, shell: Shell, pie: Pie, talker: str) -> None:
    process_id = launch(pie, talker, {"say": ["up"], "hear": 1})
    shell = replace(shell, environment=dict(os.environ))
    with shell.start("attach", process_id) as attached:
        read_until(attached, b"up\n")
        attached.send_signal(signal.SIGINT)
        _, err = attached.communicate(timeout=LONG_S)
    assert attached.returncode == 130
    assert err.decode() == f"Detached. It goes on: pie attach {process_id}\n"
    assert [row["id"] for row in json.loads(pie("ps", "--json").out)] == [process_id]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_process_on_the_server(
    number: int, code: int, url: str, shell: Shell, pie: Pie, talker: str
) -> None:
    shell = replace(shell, environment=dict(os.environ))
    words = ("run", "--server", url, talker, "--input", '{"say": ["up"], "hear": 1}')
    with shell.start(*words) as running:
        read_until(running, b"up\n")
        running.send_signal(number)
        _, err = running.communicate(timeout=LONG_S)
    assert (running.returncode, err) == (code, b"")
    wait_for(lambda: json.loads(pie("ps", "--json").out) == [])
    shell.everything_is_gone(running)


def test_a_reader_that_leaves_ends_the_process_on_the_server(url: str, shell: Shell, pie: Pie, tmp_path: Path) -> None:
    path = write(tmp_path, "endless", "async def main(input):\n    while True: print('x' * 1000)\n")
    shell = replace(shell, environment=dict(os.environ))
    with shell.start("run", "--server", path) as running:
        read_until(running, b"x")
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(LONG_S) == 1
    wait_for(lambda: json.loads(pie("ps", "--json").out) == [])


def test_stopped_processes_are_gone_and_their_listeners_told(url: str, shell: Shell, pie: Pie, talker: str) -> None:
    first, second, third = (launch(pie, talker, {"hear": 1}) for _ in range(3))
    assert pie("stop", first[:8], first).out == f"Stopped {first}.\n"
    assert json.loads(pie("stop", second, "--json").out) == [second]
    assert pie("stop", "--all").out == f"Stopped {third}.\n"
    assert pie("attach", first).err.startswith("error[terminated]: the process was ended.")
    assert pie("stop", "--all").out == "Nothing of yours runs.\n"
    assert pie("ps").err == "Nothing of yours runs.\n"


def test_an_id_must_be_of_one_process(url: str, pie: Pie, talker: str) -> None:
    ids = [launch(pie, talker, {"hear": 1}) for _ in range(17)]
    digits = [process_id[0] for process_id in ids]
    twice = max(digits, key=digits.count)
    assert pie("stop", ids[0], twice).err.startswith(f"error[ambiguous-process]: {digits.count(twice)} processes")
    assert len(json.loads(pie("ps", "--json").out)) == 17, "nothing is stopped if a word is wrong"
    assert pie("attach", "xyz").err.startswith("error[process-not-found]: no process of yours begins with 'xyz'.")


def test_a_key_lets_in_and_shows_only_ones_own_processes(
    url: str, pie: Pie, talker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(pie, talker, {"hear": 1})
    (tmp_path / "key").write_text(KEYS["ed25519"])
    (tmp_path / "other").write_text(KEYS["p256"])
    assert json.loads(pie("ps", "--json", "--user", "alice", "--key", "key").out) == []
    assert pie("ps", "--user", "alice", "--key", "other").err.startswith("error[not-let-in]: ")
    assert pie("ps", "--user", "bob").err.startswith("error[not-let-in]: ")
    assert pie("ps", "--user", "alice", "--key", "none").err.startswith("error[key-unreadable]: none: ")
    monkeypatch.setenv("PIE_TOKEN", "wrong")
    left = pie("ps")
    assert left.code == 1
    assert left.err == f"error[not-let-in]: {url}: Invalid token. Give --key and --user, or set PIE_TOKEN to a " + (
        "token that the server knows.\n"
    )


def test_a_running_server_lets_in_who_is_added_and_no_more_who_is_removed(
    url: str, pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(KEYS["p384"])
    (tmp_path / "key.pub").write_text(public_text("p384"))
    assert pie("auth", "add", "carol", "--key", "key.pub").code == 0
    assert json.loads(pie("ps", "--json", "--user", "carol", "--key", "key").out) == []
    monkeypatch.setenv("PIE_TOKEN", pie("auth", "token", "carol").out.strip())
    assert pie("ps", "--json").out == "[]\n"
    assert pie("auth", "remove", "carol").code == 0
    assert pie("ps").err.startswith("error[not-let-in]: ")
    assert pie("ps", "--user", "carol", "--key", "key").err.startswith("error[not-let-in]: ")


def test_logs_and_texts_leave_the_process_to_whoever_attaches(
    url: str, shell: Shell, pie: Pie, talker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_id = launch(pie, talker, {"say": ["before"], "hear": 2, "files": 1, "print": "printed", "value": {"a": 1}})
    wait_for(lambda: pie("logs", process_id[:6]).out == "before\n")
    assert pie("logs", process_id, "--json").out == '{"event": "message", "value": "before"}\n'
    (tmp_path / "file").write_bytes(bytes(5))
    with replace(shell, environment=dict(os.environ)).start("logs", "-f", process_id) as following:
        read_until(following, b"before\n")
        assert pie("send", process_id[:6], "go", "on") == Left(0, "", "")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines\n")))
        assert pie("send", process_id, "-").code == 0
        monkeypatch.setattr(sys, "stdin", None)
        assert pie("send", process_id, "--file", "file").code == 0
        out, err = following.communicate(timeout=LONG_S)
    rest = 'heard go on\nheard two\nlines\n[file of 6 bytes]\nprinted\n{\n  "a": 1\n}\n'
    assert (following.returncode, out.decode(), err) == (0, rest, b"")
    assert pie("logs", process_id[:13]).out == "before\n" + rest
    assert pie("attach", process_id).out == "before\n" + rest
    assert pie("ps", "--all").out.splitlines()[1].split()[:2] == ["ended", process_id[:8]]
    assert pie("send", process_id, "x").err == "error[process-ended]: the process has ended. Launch it again.\n"


def test_the_log_of_a_process_that_failed_tells_its_error(url: str, pie: Pie, talker: str) -> None:
    process_id = launch(pie, talker, {"fail": "not today"})
    wait_for(lambda: json.loads(pie("ps", "--json").out) == [])
    left = pie("logs", process_id)
    assert (left.code, left.out) == (0, "")
    assert "not today" in left.err
    [line] = pie("logs", process_id, "--json").out.splitlines()
    assert json.loads(line)["event"] == "error"
    assert "not today" in json.loads(line)["cause"]


def test_ctrl_c_ends_logs_and_a_reader_may_leave(url: str, shell: Shell, pie: Pie, talker: str) -> None:
    process_id = launch(pie, talker, {"say": ["x" * 200_000] * 3, "hear": 1})
    shell = replace(shell, environment=dict(os.environ))
    with shell.start("logs", "-f", process_id) as following:
        read_until(following, b"\n")
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=LONG_S)
    assert (following.returncode, err) == (130, b"")
    with shell.start("logs", "-f", process_id) as following:
        read_until(following, b"x")
        assert following.stdout is not None
        following.stdout.close()
        assert following.wait(LONG_S) == 1
    assert [row["id"] for row in json.loads(pie("ps", "--json").out)] == [process_id]


def test_processes_that_are_not_ones_own_are_told_so(url: str, pie: Pie, talker: str, tmp_path: Path) -> None:
    process_id = launch(pie, talker, {"hear": 1})
    (tmp_path / "key").write_text(KEYS["ed25519"])
    alice = ("--user", "alice", "--key", "key")
    for words in (["logs", process_id], ["send", process_id, "x"], ["stop", process_id], ["attach", process_id]):
        assert pie(*words, *alice).err.startswith("error[not-yours]: ")
        assert pie(words[0], process_id[:8], *words[2:], *alice).err.startswith("error[process-not-found]: ")
        assert pie(words[0], "0" * 36, *words[2:]).err.startswith("error[process-not-found]: ")
    assert pie("send", process_id, "--file", "nowhere").err.startswith("error[io-error]: nowhere: ")


def test_ids_are_completed_from_the_server(url: str, pie: Pie, talker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process_id = launch(pie, talker, {"hear": 1})
    for command in ("attach", "stop", "logs", "send"):
        assert completed(f"pie {command} {process_id[:3]}", 2) == (0, f"plain,{process_id}", "")
    assert completed(f"pie attach --server {url} ", 4)[1] == f"plain,{process_id}"
    pie("stop", process_id)
    wait_for(lambda: completed(f"pie attach {process_id[:8]}", 2)[1] == "")
    assert completed(f"pie logs {process_id[:8]}", 2)[1] == f"plain,{process_id}"
    assert completed("pie attach --user nobody --key nowhere ", 6) == (0, "", "")


def test_a_daemon_is_told_from_a_process_that_talks(
    url: str, served: tuple[str, Path], pie: Pie, answering_wasm: Path
) -> None:
    async def launch_daemon() -> None:
        async with Client(url) as client:
            await client.authenticate(token=next(served[1].glob("server-*.token")).read_text().strip())
            await client.install_program(answering_wasm, MANIFEST.format(name="answering"))
            await client.launch_daemon("answering", 0)

    asyncio.run(launch_daemon())
    [row] = json.loads(pie("ps", "--json").out)
    for words in (["logs", row["id"]], ["attach", row["id"][:6]], ["send", row["id"], "x"]):
        left = pie(*words)
        assert (left.code, left.out) == (1, "")
        assert left.err.startswith(f"error[is-a-daemon]: {row['id']} is a daemon, which answers HTTP requests at port ")
        assert completed(f"pie {words[0]} {row['id']}", 2) == (0, "", "")
    assert completed("pie stop ", 2) == (0, f"plain,{row['id']}", "")
    assert pie("stop", row["id"][:6]).out == f"Stopped {row['id']}.\n"


def test_a_server_that_does_not_answer_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert completed(f"pie attach --server ws://127.0.0.1:{port} ", 4) == (0, "", "")
    assert completed(f"pie attach --server ws://127.0.0.1:{port} ", 4) == (0, "", "")
    assert completed("pie attach --server nonsense ", 4) == (0, "", "")


def completed(line: str, number: int) -> tuple[int, str, str]:
    """What bash is told of the word of that number: exit code, stdout and stderr."""
    environment = {**os.environ, "_PIE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(number)}
    words = [sys.executable, "-m", "pie"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=LONG_S, check=False)
    return done.returncode, done.stdout.strip(), done.stderr


def test_no_server_is_told_with_what_to_do(pie: Pie) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for words in (["ps"], ["attach", "x"], ["stop", "x"], ["logs", "x"], ["send", "x", "y"]):
        left = pie(*words, "--server", f"ws://127.0.0.1:{port}")
        assert left.code == 1
        assert left.err.startswith(f"error[no-server]: no server answers: ws://127.0.0.1:{port}: ")
        assert left.err.endswith("Start one with `pie serve`.\n")


@pytest.mark.parametrize("server", ["127.0.0.1:8080", "http://127.0.0.1", "ws://", "ws://x:y", "ws://x:99999"])
def test_what_is_no_address_is_told(server: str, pie: Pie) -> None:
    assert pie("ps", "--server", server).err.startswith(f"error[bad-server-url]: '{server}' is no server's address.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--server", "--seed", "1", "x"], "--seed cannot be given with --server"),
        (["run", "--detach", "x"], "--detach, --user and --key go with --server."),
        (["send", "x"], "give a text, or a file with --file."),
        (["send", "x", "y", "--file", "z"], "give a text, or a file with --file."),
        (["stop"], "give the ids of processes, or --all."),
        (["stop", "x", "--all"], "give the ids of processes, or --all."),
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_told(words: list[str], said: str, pie: Pie) -> None:
    left = pie(*words)
    assert left.code == 1
    assert left.err.startswith("error[usage]: ")
    assert said in left.err
