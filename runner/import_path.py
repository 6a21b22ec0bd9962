"""The import path for processes that a task starts: the same as its runner's.

Workers of joblib, of concurrent.futures or of `python -m` import the task's module again by its name.
"""

from __future__ import annotations

import os
import site
import sys

BUILT_IN = "runner.tasks."


def with_import_path(environment: dict[str, str], module: str) -> dict[str, str]:
    """Return the environment of a job whose task is in `module`, with the folders that its imports come from.

    Commands of the built-in tasks get none, because they do not use this program's modules.
    """
    if module.startswith(BUILT_IN):
        return environment
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    folders = [folder for folder in (*given, *import_folders()) if folder]
    return environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))} if folders else environment


def import_folders() -> list[str]:
    """Return sys.path without the folders that every Python of this installation searches anyway."""
    own = (*site.getsitepackages(), os.path.dirname(os.__file__))  # noqa: PTH120
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    libraries = tuple(os.path.join(prefix, "lib", "python") for prefix in prefixes)  # noqa: PTH118
    return [
        os.path.abspath(folder)  # noqa: PTH100
        for folder in sys.path
        # An empty entry is the current directory, which was the server's before and is the job's now.
        if folder
        and folder not in own
        and not os.path.realpath(folder).startswith(libraries)
        and os.pathsep not in folder
    ]
