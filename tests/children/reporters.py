"""Tasks that report a result to the server and do not end: TASKS=tests.children.reporters.

Each writes the frame of a result to its runner's channel, as the runner itself would, says READY through the same
channel and goes on. Bounded to a minute.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time

from runner import Context, task

LONG_S = 60

_STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
print("DAEMON", flush=True)
time.sleep(60)
"""
_STEAL = """
import ctypes, json, os, signal, socket, stat, sys, time
libc = ctypes.CDLL(None, use_errno=True)
runner = libc.syscall(434, os.getppid(), 0)  # pidfd_open
for number in range(3, 64):
    fd = libc.syscall(438, runner, number, 0)  # pidfd_getfd
    if fd >= 0 and stat.S_ISSOCK(os.fstat(fd).st_mode):
        os.write(fd, b'{"type":"result","result":"stolen"}\\n')
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


def say(*frames: dict[str, object]) -> None:
    """Write frames to the runner's channel, which is the one socket among its descriptors."""
    data = b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            is_channel = fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue
        if is_channel:
            channel = socket.socket(fileno=os.dup(fd))
            with channel:
                channel.sendall(data)


def report(result: object = 1) -> None:
    say({"type": "result", "result": result})


@task
def goes_on(ctx: Context) -> None:
    report()
    time.sleep(LONG_S)


@task
def ignores_sigterm(ctx: Context) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report()
    while True:
        time.sleep(1)


@task
def holds_the_interpreter_lock(ctx: Context) -> None:
    report()
    ctypes.PyDLL(None).sleep(LONG_S)


@task
def leaves_a_stubborn_daemon(ctx: Context) -> None:
    daemon = subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    daemon.stdout.readline()
    report()
    time.sleep(LONG_S)


@task
def steals_the_channel(ctx: Context) -> None:
    """A program that the task starts takes the channel out of the runner, as a shell command can."""
    subprocess.run([sys.executable, "-c", _STEAL], check=False)


@task
def reports_twice(ctx: Context) -> str:
    say(
        {"type": "result", "result": "first"},
        {"type": "result", "result": "second"},
        {"type": "failure", "kind": "raised", "message": "third"},
        {"type": "phase", "phase": "tool", "detail": "fourth"},
        {"type": "running"},
    )
    return "fifth"
