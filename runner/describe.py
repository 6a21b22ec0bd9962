"""Importing a module of tasks to say what it offers, or why it offers nothing."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import NoReturn

from runner.cancellation import JobCancelled
from runner.identity import become
from runner.loading import load
from runner.protocol import MAX_MESSAGE, Describe, Described
from runner.reporter import Reporter
from runner.text import words_of
from runner.tracebacks import traceback_of
from runner.watcher import Watch

_SLEEP = ("/bin/sh", "-c", "PATH=$PATH:/usr/bin:/bin; exec sleep 60")  # any user can run that, with any PATH


def describe(order: Describe, watch: Watch, reporter: Reporter) -> NoReturn:
    """Report it, then wait: the supervisor stops this process by the same road as a job, which is its self-test."""
    os.environ.clear()
    os.environ.update(order.environment)
    if order.user is not None:
        become(order.user)
    watch.start()
    described = _imported(order.module)
    # A child that has left the session is what a plain kill of the process group would miss.
    escaped = subprocess.Popen(_SLEEP, stdin=subprocess.DEVNULL, start_new_session=True)
    reporter.send(described)
    escaped.wait()
    while True:
        threading.Event().wait()


def _imported(module: str) -> Described:
    try:
        tasks = [task.describe() for task in load(module).values()]
        return Described(module, tasks, None if tasks else "it has no tasks: mark its functions with @task")
    except JobCancelled:
        raise
    except BaseException as exc:  # sys.exit() in a module is a mistake in it like any other
        return Described(module, [], words_of(exc)[:MAX_MESSAGE], traceback_of(exc))
