"""Tasks that hang, each in its own way: TASKS=tests.children.hung. Each line that hangs is marked, for the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time

from runner import Context, task


@task
def gil_hog(ctx: Context, seconds: int) -> dict[str, float]:
    """Sleep in C with the interpreter lock held; say how much of the sleep a signal took away."""
    library = ctypes.PyDLL(None)
    print("HUNG", flush=True)
    began = time.monotonic()
    unslept = library.sleep(seconds)  # gil_hog hangs here
    return {"unslept_s": float(unslept), "elapsed_s": time.monotonic() - began}


@task
def c_sleep(ctx: Context, seconds: int) -> dict[str, float]:
    """The same without the lock."""
    library = ctypes.CDLL(None)
    print("HUNG", flush=True)
    began = time.monotonic()
    unslept = library.sleep(seconds)  # c_sleep hangs here
    return {"unslept_s": float(unslept), "elapsed_s": time.monotonic() - began}


@task
def busy_python(ctx: Context) -> None:
    """Run Python code without end, with deep stacks that grow and shrink."""
    print("HUNG", flush=True)
    while not ctx.cancelled:
        _fall(200)


def _fall(depth: int) -> int:
    return 0 if depth == 0 else 1 + _fall(depth - 1)


@task
def deadlock(ctx: Context) -> None:
    """Two threads that take two locks in opposite order."""
    first, second = threading.Lock(), threading.Lock()
    both = threading.Barrier(2)

    def other() -> None:
        with second:
            both.wait()
            with first:  # the other thread hangs here
                pass

    threading.Thread(target=other, name="other", daemon=True).start()
    with first:
        both.wait()
        print("HUNG", flush=True)
        with second:  # the main thread hangs here
            pass


@task
def silent_socket(ctx: Context) -> None:
    """Read from a peer that never answers."""
    ours, theirs = socket.socketpair()
    print("HUNG", flush=True)
    ours.recv(1)  # the read hangs here
    theirs.close()


@task
def stopped_child(ctx: Context) -> None:
    """Wait for a child that has stopped itself."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        print("HUNG", flush=True)
        child.wait()  # the wait hangs here


@task
def stopped_self(ctx: Context) -> None:
    """Stop the runner itself."""
    print("HUNG", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
