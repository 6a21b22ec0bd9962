"""Job ids on the command line. They become part of a path, where `../tasks` would be another question."""

from __future__ import annotations

import re

from supervisor.cli.exits import CommandError

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_job_id(given: str) -> str:
    """The id as given. Raises CommandError for what no job can be called."""
    if not _JOB_ID.fullmatch(given):
        raise CommandError(f"{given!r} is no job id: it is 1 to 64 letters, digits, _ or -")
    return given


def read_job_ids(given: list[str]) -> list[str]:
    """Some of them."""
    return [read_job_id(job_id) for job_id in given]
