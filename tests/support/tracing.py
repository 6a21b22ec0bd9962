"""strace(1): look at system calls from outside, make them fail or take long, without a seam in the product."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest


@functools.cache
def why_no_tracing() -> str | None:
    """Return why this user cannot trace a program that it starts, or None. Try it."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-D", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else done.stderr.strip()


needs_tracing = pytest.mark.skipif(why_no_tracing() is not None, reason=f"no tracing: {why_no_tracing()}")
needs_attaching = pytest.mark.skipif(
    why_no_tracing() is not None or os.geteuid() != 0, reason="only root may trace a server that hides its memory"
)
