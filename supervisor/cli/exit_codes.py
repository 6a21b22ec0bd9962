"""What the command's exit status says. Scripts depend on these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    """The job succeeded, or the command did what it was asked to."""
    FAILED = 1
    """The job ended as `failed`, or our own output could not be written."""
    USAGE = 2
    """Wrong usage, bad input, unknown task or unknown job."""
    UNPROVEN = 3
    """Nobody has shown that the job's processes are gone: survivors, `lost`, or we left before the verdict."""
    UNREACHABLE = 4
    """The server cannot be reached, refused the token, or takes no jobs now."""
    TIMED_OUT = 124
    """The job ran out of its time and is gone, as with timeout(1)."""
    CANCELLED = 130
    """The job was cancelled and is proven gone, whoever asked for it."""
    PIPE_CLOSED = 141
    """The reader of our output left (`| head`): what a shell shows for a program that SIGPIPE ended. The job was
    cancelled for it, and is proven gone."""


_BY_STATE = {
    "succeeded": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
    "timed_out": ExitCode.TIMED_OUT,
    "lost": ExitCode.UNPROVEN,
}

_PROVEN_ENDS = {"cancelled", "timed_out"}


def for_end(state: str, proof: str | None) -> ExitCode:
    """The status for a job that ended in `state`; `proof` is its cancellation's, None when it was never cancelled.

    A stop without a proof is 3 whatever the state claims, and so is a state that this version does not know.
    """
    if state in _PROVEN_ENDS and proof in {None, "none"}:
        return ExitCode.UNPROVEN
    return _BY_STATE.get(state, ExitCode.UNPROVEN)
