"""Where a task's own processes look for modules: where its runner does.

Workers of joblib, of concurrent.futures or of `python -m` import the task's module again, by its name.
"""

from __future__ import annotations

import os
import site
import sys

BUILT_IN = "runner.tasks."


def with_import_path(environment: dict[str, str], module: str) -> dict[str, str]:
    """The environment of a job whose task is in `module`, with the folders that its imports come from.

    Commands of the built-in tasks get none: they have nothing to do with this program's modules.
    """
    if module.startswith(BUILT_IN):
        return environment
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    folders = [folder for folder in (*given, *import_folders()) if folder]
    return environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(folders))} if folders else environment


def import_folders() -> list[str]:
    """sys.path without what every Python of this installation looks through by itself."""
    own = (*site.getsitepackages(), os.path.dirname(os.__file__))  # noqa: PTH120
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    libraries = tuple(os.path.join(prefix, "lib", "python") for prefix in prefixes)  # noqa: PTH118
    return [
        os.path.abspath(folder)  # noqa: PTH100
        for folder in sys.path
        # An empty entry is the current directory: of the server before, of the job now.
        if folder
        and folder not in own
        and not os.path.realpath(folder).startswith(libraries)
        and os.pathsep not in folder
    ]
