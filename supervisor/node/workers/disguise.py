"""The short environment and the empty `__main__` that multiprocessing sees while it starts something.

multiprocessing starts its forkserver with the current os.environ, and its children would import the program that hosts
us again as `__mp_main__`, with all its imports and effects.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

from supervisor.guardian.environment import with_python


class _Disguise:
    """The first user puts it on and the last one takes it off: a start that hangs may still be using it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._variables: dict[str, str] = {}
        self._main: types.ModuleType | None = None

    def put_on(self, environment: dict[str, str]) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._variables, self._main = dict(os.environ), sys.modules["__main__"]
            _become(with_python(environment))
            sys.modules["__main__"] = types.ModuleType("__main__")

    def take_off(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            _become(self._variables)
            if self._main is not None:
                sys.modules["__main__"] = self._main


def _become(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


_disguise = _Disguise()


@contextmanager
def disguised(environment: dict[str, str]) -> Iterator[None]:
    """During the block, os.environ is `environment` with what Python needs, and `__main__` is empty.

    Only the starter's threads use this, and nothing in the server reads variables once it runs.
    """
    _disguise.put_on(environment)
    try:
        yield
    finally:
        _disguise.take_off()
