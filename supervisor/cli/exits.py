"""How a command ends: its exit status, on which scripts depend, and the error that ends it early."""

from __future__ import annotations

import sys
from enum import IntEnum

import typer

from deadstop.client.errors import ClientError, JobForgotten, NotConfigured, Rejected, Unreachable
from supervisor.errors import StartupError


class ExitCode(IntEnum):
    OK = 0
    """The job succeeded, or the command did what it was asked to do."""
    FAILED = 1
    """The job ended as `failed`, or our own output could not be written."""
    USAGE = 2
    """Wrong usage, bad input, unknown task or unknown job."""
    UNPROVEN = 3
    """There is no proof that the job's processes are gone: survivors, `lost`, or we left before the verdict."""
    UNREACHABLE = 4
    """The server cannot be reached, refused the token, or takes no jobs now."""
    TIMED_OUT = 124
    """The job ran out of time and is gone, as with timeout(1)."""
    CANCELLED = 130
    """The job was cancelled, here or elsewhere, and is proven gone."""
    PIPE_CLOSED = 141
    """The reader of our output left (`| head`): what a shell shows for a program that SIGPIPE ended. The job was
    cancelled for that reason, and is proven gone."""


_BY_STATE = {
    "succeeded": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
    "timed_out": ExitCode.TIMED_OUT,
    "lost": ExitCode.UNPROVEN,
}

_PROVEN_ENDS = {"cancelled", "timed_out"}


class CommandError(Exception):
    """Ends the command. The message is one line, without the leading `deadstop:`."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        self.code = code
        super().__init__(message)


def for_end(state: str, proof: str | None) -> ExitCode:
    """Return the status for a job that ended in `state`. `proof` is its cancellation's, None if it was not cancelled.

    A stop without a proof is 3 whatever the state claims, and so is a state that this version does not know.
    """
    if state in _PROVEN_ENDS and proof in {None, "none"}:
        return ExitCode.UNPROVEN
    return _BY_STATE.get(state, ExitCode.UNPROVEN)


def for_error(exc: ClientError) -> ExitCode:
    """Return the status for an error between us and the server."""
    match exc:
        case JobForgotten():
            return ExitCode.UNPROVEN
        case Unreachable() | NotConfigured(type="invalid-token"):
            return ExitCode.UNREACHABLE
        case Rejected(unavailable=True):
            return ExitCode.UNREACHABLE
        case _:
            return ExitCode.USAGE


def report(exc: CommandError | ClientError | StartupError | typer.TyperException) -> int:
    """Print the error that ended the command on one line, and return the exit code."""
    match exc:
        case CommandError():
            message, code = str(exc), int(exc.code)
        case ClientError():
            message, code = str(exc), int(for_error(exc))
        case StartupError():
            message, code = str(exc), int(ExitCode.FAILED)
        case _:
            message, code = _usage(exc), _usage_code(exc)
    from supervisor.cli.formatting import one_line  # noqa: PLC0415

    print(f"deadstop: {one_line(message)}", file=sys.stderr)
    return code


def _usage(exc: typer.TyperException) -> str:
    message = " ".join(exc.format_message().split()).rstrip(".")
    if message.startswith("Got unexpected extra argument"):
        message = f"{message}: put a TEXT with spaces in quotes"
    return f"{message}; see {_command_path(exc)} --help"


def _usage_code(exc: typer.TyperException) -> int:
    """Return 2, but 3 for `health`: a monitor would take 2 for a server in trouble."""
    return 3 if _command_path(exc).endswith(" health") else ExitCode.USAGE


def _command_path(exc: typer.TyperException) -> str:
    context = getattr(exc, "ctx", None)
    return str(context.command_path) if context is not None else "deadstop"
