"""A process that a task forks is ended by SIGTERM from its first instruction on, as any other program is."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, socket, sys, threading, time
from runner.cancellation import Cancellation
from runner.forks import ForkHooks
from runner.reporter import Reporter

ours, theirs = socket.socketpair()
cancellation = Cancellation(lambda: None)
reporter = Reporter(ours, cancellation)
cancellation.install()
if sys.argv[1] == "with":
    ForkHooks(cancellation, reporter).install()
else:
    os.register_at_fork(after_in_child=cancellation.reset_after_fork)

def fork(number):
    pid = os.fork()
    if pid == 0:
        time.sleep(2)  # what lives so long has lost the signal
        os._exit(0)
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    for _ in range(int(sys.argv[2])):
        ended = fork(signal.SIGTERM)
        if ended != -signal.SIGTERM:
            print("lives", ended)
            return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    print("ends", sorted(before), signal.getsignal(signal.SIGTERM) == cancellation.on_sigterm)


if sys.argv[3] == "thread":
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
else:
    main()
"""


def run(*arguments: str) -> str:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@pytest.mark.parametrize("thread", ["main", "thread"])
def test_a_forked_process_is_ended_by_sigterm_at_any_moment(thread: str) -> None:
    """The parent keeps its handler, and no signal stays blocked in it."""
    assert run("with", "300", thread) == "ends [] True"


def test_without_the_mask_some_signal_is_lost() -> None:
    """The control."""
    assert run("without", "5000", "main").startswith("lives")
