"""Import a task module to report its tasks, or the reason why it has none."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import NoReturn

from runner.errors import JobCancelled
from runner.identity import become
from runner.loading import load
from runner.protocol import MAX_MESSAGE, Describe, Described
from runner.reporter import Reporter
from runner.text import describe_exception
from runner.tracebacks import traceback_of
from runner.watcher import Watch

_SLEEP = ("/bin/sh", "-c", "PATH=$PATH:/usr/bin:/bin; exec sleep 60")  # any user can run that, with any PATH


def describe(order: Describe, watch: Watch, reporter: Reporter) -> NoReturn:
    """Report the module, then wait. The supervisor stops this process in the same way as a job: that is its
    self-test.
    """
    os.environ.clear()
    os.environ.update(order.environment)
    if order.user is not None:
        become(order.user)
    watch.start()
    described = _imported(order.module)
    # A plain kill of the process group would miss a child that has left the session.
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
        return Described(module, [], describe_exception(exc)[:MAX_MESSAGE], traceback_of(exc))
