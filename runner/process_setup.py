"""Prepare the process for the job's code: replace everything that was inherited from the guardian.

A job must not see the server's environment, signals, descriptors or directory; it starts like a login shell.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterable
from multiprocessing import process
from pathlib import Path

from runner.posix import close_all_but

OOM_SCORE_ADJ = 500
"""Under memory pressure the kernel should kill a job before the server that supervises it."""

_KEPT_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these in every program, and reports the error where it happens instead."""


def reset_signals() -> None:
    """Restore default actions and an empty mask, whatever the server was started with (nohup ignores SIGHUP)."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):  # glibc reserves two signals
            signal.signal(number, signal.SIG_DFL)
    for number in _KEPT_IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # So that Ctrl-C in a terminal of the job, or its own kill, raises KeyboardInterrupt as in any Python program.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def close_inherited(output_fds: tuple[int, int], keep: Iterable[int]) -> None:
    """Close every descriptor except stdio and `keep`. stdin becomes empty; `output_fds` become stdout and stderr."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((null, 0), (output_fds[0], 1), (output_fds[1], 2)):
        os.dup2(source, number)
    close_all_but(*keep)


def enter_workspace(workspace: Path, environment: dict[str, str]) -> None:
    """Create the workspace and make it the place of the process: directory, environment, temporary files, clock,
    limits.

    The workspace is the current directory, with `.home`, `.tmp` and `.run` for HOME, TMPDIR and XDG_RUNTIME_DIR.
    """
    workspace.mkdir(mode=0o700)
    for name in (".home", ".tmp", ".run"):
        (workspace / name).mkdir(mode=0o700)
    (workspace / "out").mkdir()
    os.chdir(workspace)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None
    _reset_multiprocessing()
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # not on macOS, and not where /proc is read-only
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ), encoding="ascii")


def _reset_multiprocessing() -> None:
    """Make multiprocessing what it is in a new program, although this process is a child of the server.

    With the server's key, any job could connect to the managers and listeners of all others. The temporary folder is
    the server's too: the job's sockets in it would outlive the job.
    """
    multiprocessing.set_start_method(None, force=True)  # Python's own default instead of the server's method
    current = multiprocessing.current_process()
    current.authkey = os.urandom(32)
    current.name = "MainProcess"
    # These have no public interface. A new temporary folder is created in TMPDIR when the job first needs one.
    current._config.pop("tempdir", None)  # type: ignore[attr-defined]
    current._identity = ()
    process._parent_process = None  # type: ignore[attr-defined]


def job_environment(passed: dict[str, str], workspace: Path, short_path: Path, job_id: str) -> dict[str, str]:
    """Return the whole environment of a job: the allowed variables of the server and the workspace's own.

    `short_path` leads to the workspace as well, and leaves room for the name of a socket.
    """
    return {
        **passed,
        "HOME": str(short_path / ".home"),
        "TMPDIR": str(short_path / ".tmp"),
        "XDG_RUNTIME_DIR": str(short_path / ".run"),
        "PWD": str(workspace),
        "DEADSTOP_JOB_ID": job_id,
    }
