"""The environment that children get: a list of allowed variables, never the server's own environment.

The server's environment may contain keys, and processes of the same user can read the initial environment of every
process in /proc. So the forkserver itself is executed with the short list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

ALLOWED = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "SHELL", "USER", "LOGNAME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
_ALLOWED_PREFIX = "LC_"
COOKIE = "DEADSTOP_COOKIE"
"""The marker of the server: everything below the forkserver has this variable, unless it removed it."""
JOB_ID = "DEADSTOP_JOB_ID"
"""The marker of a job: everything that the job has started has this variable, which its runner sets."""
_FOR_PYTHON = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8"})
"""The variables that the forkserver's interpreter may need to find our own modules. Jobs do not get these."""


def passed_environment(pass_env: Iterable[str] = ()) -> dict[str, str]:
    """Return the server's variables that jobs get: the allowed ones, and those named in `pass_env`."""
    wanted = ALLOWED | set(pass_env)
    return {name: value for name, value in os.environ.items() if name in wanted or name.startswith(_ALLOWED_PREFIX)}


def with_python(environment: dict[str, str]) -> dict[str, str]:
    """Return `environment` with the variables that Python needs, for an interpreter of ours that is executed."""
    return {name: value for name, value in os.environ.items() if name in _FOR_PYTHON} | environment
