"""The words of the command line. Only what `--help` needs is imported here; each command imports the rest itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deadstop.client.address import find_server
from supervisor import __version__
from supervisor.cli import formatting
from supervisor.cli.exit_codes import ExitCode
from supervisor.cli.exits import CommandError
from supervisor.cli.job_ids import read_job_id, read_job_ids
from supervisor.cli.serve import ServeCommand, serve
from supervisor.errors import StartupError

if TYPE_CHECKING:
    from deadstop.client.client import Client

app = typer.Typer(
    name="deadstop",
    help="The job server where cancel means stopped: whatever a job started is gone within two seconds, with a proof.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Rich's help would triple the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Server; else DEADSTOP_URL, else the one running on this machine."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.", callback=read_job_id)]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="One or more jobs.", callback=read_job_ids)]


@app.callback()
def _options(
    context: typer.Context,
    url: Url = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    context.obj = url
    if version:
        print(f"deadstop {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name; `deadstop tasks` lists them.")],
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="Its command, prompt or url, else its first text field."),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="JSON", help="The input as a JSON object, @FILE, or - for stdin."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's id and leave it running.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", "-t", metavar="S", help="Stop it after so many seconds.")
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="Your own id for the job.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines on a terminal too, as in a pipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every event as a line of JSON.")] = False,
    url: Url = None,
) -> None:
    """Run a task and stay with it. Ctrl-C cancels and shows the proof; again kills; again leaves.

    Exit: 0 succeeded, 1 failed, 2 bad input, 3 not proven gone, 4 no server or wrong token, 124 timed out,
    130 cancelled and proven gone.
    """
    from supervisor.cli import commands  # noqa: PLC0415
    from supervisor.cli.arguments import current_directory, read_input, read_labels  # noqa: PLC0415
    from supervisor.cli.run.run import Submission, new_id  # noqa: PLC0415

    if timeout is not None and timeout <= 0:
        raise CommandError("--timeout must be more than 0 seconds")
    submission = Submission(task, read_input(input_), id_ or new_id(), timeout, read_labels(label or []))
    _talk(
        url or context.obj,
        lambda client: commands.run_task(
            client, submission, text, current_directory(), detached=detach, as_json=as_json, plain=plain
        ),
    )


@app.command()
def ps(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Finished jobs, too.")] = False,
    state: Annotated[str | None, typer.Option("--state", metavar="STATE[,STATE]", help="Only these states.")] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", metavar="KEY=VALUE")] = None,
    as_json: JsonFlag = False,
    url: Url = None,
) -> None:
    """List jobs, newest first."""
    from supervisor.cli import commands  # noqa: PLC0415

    wanted = label.replace("=", ":", 1) if label else None
    _talk(
        url or context.obj,
        lambda client: commands.ps(client, states=state, everything=everything, label=wanted, as_json=as_json),
    )


@app.command()
def show(context: typer.Context, job_id: JobId, as_json: JsonFlag = False, url: Url = None) -> None:
    """Show everything about one job: input, result, cancellation with its proof, processes."""
    from supervisor.cli import commands  # noqa: PLC0415

    _talk(url or context.obj, lambda client: commands.show(client, job_id, as_json=as_json))


@app.command()
def events(
    context: typer.Context,
    job_id: JobId,
    after: Annotated[int, typer.Option("--after", metavar="N", min=0, help="Only those behind number N.")] = 0,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Stay until the job ends.")] = True,
    as_json: JsonFlag = False,
    url: Url = None,
) -> None:
    """Print a job's events and follow it to its end. Leaving never stops the job."""
    from supervisor.cli import commands  # noqa: PLC0415

    _talk(
        url or context.obj,
        lambda client: commands.events(client, job_id, after=after, follow_on=follow, as_json=as_json),
    )


@app.command()
def cancel(
    context: typer.Context,
    job_ids: JobIds,
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill at once, no grace.")] = False,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="S", min=0, max=30, help="How long to wait for the proof; 0: only ask."),
    ] = 10.0,
    url: Url = None,
) -> None:
    """Cancel jobs and say how it went. Exit: 0 gone or already finished, 2 no such job, 3 not proven gone."""
    from supervisor.cli import commands  # noqa: PLC0415

    _talk(url or context.obj, lambda client: commands.cancel(client, job_ids, force=force, wait_s=wait))


@app.command()
def tasks(context: typer.Context, as_json: JsonFlag = False, url: Url = None) -> None:
    """List the tasks that the server can run, and their input."""
    from supervisor.cli import commands  # noqa: PLC0415

    _talk(url or context.obj, lambda client: commands.tasks(client, as_json=as_json))


@app.command()
def health(context: typer.Context, url: Url = None) -> None:
    """Check the server in one line. Exit, as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown."""
    from supervisor.cli import commands  # noqa: PLC0415

    try:
        _talk(url or context.obj, commands.health)
    except CommandError as exc:
        print(f"DEADSTOP UNKNOWN - {exc}")
        raise typer.Exit(3) from None


@app.command()
def top(context: typer.Context, url: Url = None) -> None:
    """Watch the server's jobs: stuck ones first, with keys to cancel and to see stack and tree."""
    from supervisor.cli.top.top import top as watch  # noqa: PLC0415

    _talk(url or context.obj, watch)


app.command(cls=ServeCommand)(serve)


def main(argv: list[str]) -> int:
    """Run the command line and return its exit code. Every error that a person can mend is one line on stderr."""
    try:
        return int(app(args=argv, prog_name="deadstop", standalone_mode=False) or 0)
    except CommandError as exc:
        return _fail(str(exc), exc.code)
    except StartupError as exc:
        return _fail(str(exc), ExitCode.FAILED)
    except typer.TyperException as exc:
        return _fail(_usage(exc), _usage_code(exc))


def _talk(url: str | None, command: Callable[[Client], Coroutine[Any, Any, ExitCode]]) -> None:
    """Run `command` with a client of the server at `url`, and exit with its code."""
    from deadstop.client.client import Client  # noqa: PLC0415

    async def talk() -> ExitCode:
        async with Client(find_server(url)) as client:
            return await command(client)

    try:
        code = int(asyncio.run(talk()))
        sys.stdout.flush()
    except BrokenPipeError:
        code = _pipe_closed()
    raise typer.Exit(code)


def _usage(exc: typer.TyperException) -> str:
    message = " ".join(exc.format_message().split()).rstrip(".")
    if message.startswith("Got unexpected extra argument"):
        message = f"{message}: put a TEXT with spaces in quotes"
    return f"{message}; see {_command_path(exc)} --help"


def _usage_code(exc: typer.TyperException) -> int:
    """2, but 3 for `health`: a monitor would take 2 for a server in trouble."""
    return 3 if _command_path(exc).endswith(" health") else ExitCode.USAGE


def _command_path(exc: typer.TyperException) -> str:
    context = getattr(exc, "ctx", None)
    return str(context.command_path) if context is not None else "deadstop"


def _fail(message: str, code: int) -> int:
    print(f"deadstop: {formatting.one_line(message)}", file=sys.stderr)
    return int(code)


def _pipe_closed() -> int:
    """Python flushes stdout once more at exit and would complain there; give it a place that takes everything."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.PIPE_CLOSED)
