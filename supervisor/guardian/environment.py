"""The environment that children get: an allow-list, never the server's own.

The server's environment may hold keys, and the initial environment of every process is readable in /proc by
processes of the same user. So the forkserver itself is exec'd with the short list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

ALLOWED = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "SHELL", "USER", "LOGNAME", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
_ALLOWED_PREFIX = "LC_"
COOKIE = "DEADSTOP_COOKIE"
"""The server's mark: everything below the forkserver has this variable, unless it took it out."""
JOB_ID = "DEADSTOP_JOB_ID"
"""The same for everything that a job has started; its runner puts it there."""
_FOR_PYTHON = frozenset({"PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8"})
"""What the forkserver's interpreter may need to find our own modules. Jobs do not get these."""


def passed_environment(pass_env: Iterable[str] = ()) -> dict[str, str]:
    """The server's variables that jobs get: the allow-list, and the names in `pass_env`."""
    wanted = ALLOWED | set(pass_env)
    return {name: value for name, value in os.environ.items() if name in wanted or name.startswith(_ALLOWED_PREFIX)}


def with_python(environment: dict[str, str]) -> dict[str, str]:
    """`environment` and what Python itself needs, for an interpreter of ours that is exec'd."""
    return {name: value for name, value in os.environ.items() if name in _FOR_PYTHON} | environment
