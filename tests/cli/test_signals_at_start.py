"""A signal while `pie` starts or leaves: the exit code tells of it, whatever Python was doing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.shell import LONG_S, Shell, wait_for

SEND = """
import os, sys
from pie.cli import main
number, moment, sent = int(sys.argv[1]), sys.argv[2], False
def send(event, arguments):
    global sent
    if event == "exec" and not sent and arguments[0].co_filename.endswith(moment):
        sent = True
        os.kill(os.getpid(), number)
sys.addaudithook(send)
main(sys.argv[3:])
"""
"""Modules too are executed by `exec`, by which they are known."""
SERVE = ("serve", "--port", "0", "--no-auth")
MOMENTS = {
    "a library of the command line is imported": ("/click/__init__.py", SERVE),
    "the command is imported": ("/pie/cli/serve.py", SERVE),
    "the command has begun": ("/pie/server/settings.py", SERVE),
    "a class is made": ("<string>", SERVE),
    "a class is made for a command that cleans up": ("<string>", ("list",)),
    "a command that cleans up has begun": ("/pie/process/store.py", ("list",)),
    "the runtime is imported": ("/pie/runtime.py", SERVE),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_while_it_starts_is_told_by_the_exit_code(moment: str, number: signal.Signals, shell: Shell) -> None:
    event, words = MOMENTS[moment]
    script = [sys.executable, "-c", SEND, str(int(number)), event, *words]
    done = subprocess.run(script, capture_output=True, env=shell.environment, timeout=LONG_S)
    assert done.returncode == 128 + number
    assert [line for line in done.stderr.splitlines() if line and not line.startswith(b"Loading")] == []


def test_a_signal_while_python_ends_changes_nothing() -> None:
    script = (
        "import os, signal, sys; from pie.cli.signals import Signals\n"
        "class Late:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "Signals().take()\n"
        "sys.late = Late()\n"
        "sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=LONG_S)
    assert (done.returncode, done.stderr) == (7, b"")


def test_a_second_signal_ends_a_command_that_cleans_up() -> None:
    script = (
        "import os, signal; from pie.cli.signals import Signals\n"
        "signals = Signals()\n"
        "signals.take()\n"
        "with signals.raising():\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=LONG_S)
    assert (done.returncode, done.stderr) == (143, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_signal_at_any_moment_ends_a_server(number: signal.Signals, shell: Shell) -> None:
    rng = random.Random(number)
    for _ in range(30):
        with shell.start(*SERVE) as process:
            wait_for(lambda pid=process.pid: takes_signals(pid))  # type: ignore[misc]
            time.sleep(rng.uniform(0, 3))
            process.send_signal(number)
            assert process.wait(LONG_S) in (128 + number, 0)  # 0 if it was ready
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
            shell.everything_is_gone(process)


def takes_signals(pid: int) -> bool:
    """Whether a process has come so far that SIGTERM does not simply kill it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)
