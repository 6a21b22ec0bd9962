"""The arguments of the command line. Only what `--help` needs is imported here; commands import the rest themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from deadstop.client.errors import ClientError
from supervisor import __version__
from supervisor.cli.arguments import read_job_id, read_job_ids, read_timeout
from supervisor.cli.connect import talk
from supervisor.cli.exits import CommandError, report
from supervisor.cli.serve import ServeCommand, serve
from supervisor.errors import StartupError

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
    typer.Option(
        "--url", metavar="URL", help="URL of the server; else DEADSTOP_URL, else the server that runs on this machine."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The ID of the job.", callback=read_job_id)]
JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="The IDs of one or more jobs.", callback=read_job_ids)]
Text = Annotated[
    str | None,
    typer.Argument(metavar="TEXT", help="The task's command, prompt or url, else its first text field."),
]
InputText = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON", help="The input as a JSON object, @FILE, or - for stdin."),
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", "-t", metavar="S", help="Stop the job after this many seconds.", callback=read_timeout),
]


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
    task: Annotated[str, typer.Argument(metavar="TASK", help="The name of a task; `deadstop tasks` lists them.")],
    text: Text = None,
    input_: InputText = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Print the job's ID and leave it running.")] = False,
    timeout: Timeout = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="ID", help="An ID of your own for the job.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label; may be repeated.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print plain lines on a terminal, too, as in a pipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every event as a line of JSON.")] = False,
    url: Url = None,
) -> None:
    """Run a task and stay until it ends. Ctrl-C cancels it and shows the proof; a second one kills, a third one leaves.

    Exit: 0 succeeded, 1 failed, 2 bad input, 3 not proven gone, 4 no server or wrong token, 124 timed out,
    130 cancelled and proven gone.
    """
    from deadstop.client.submission import Submission, new_id  # noqa: PLC0415
    from supervisor.cli import commands  # noqa: PLC0415
    from supervisor.cli.arguments import current_directory, read_input, read_labels  # noqa: PLC0415

    submission = Submission(task, read_input(input_), id_ or new_id(), timeout, read_labels(label or []))
    talk(
        url or context.obj,
        lambda client: commands.run_task(
            client, submission, text, current_directory(), detached=detach, as_json=as_json, plain=plain
        ),
    )


@app.command()
def ps(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List finished jobs, too.")] = False,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE[,STATE]", help="List only jobs in these states.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="List only jobs with this label.")
    ] = None,
    as_json: JsonFlag = False,
    url: Url = None,
) -> None:
    """List jobs, newest first."""
    from supervisor.cli import commands  # noqa: PLC0415

    wanted = label.replace("=", ":", 1) if label else None
    talk(
        url or context.obj,
        lambda client: commands.ps(client, states=state, everything=everything, label=wanted, as_json=as_json),
    )


@app.command()
def show(context: typer.Context, job_id: JobId, as_json: JsonFlag = False, url: Url = None) -> None:
    """Show everything about one job: input, result, cancellation with its proof, processes."""
    from supervisor.cli import commands  # noqa: PLC0415

    talk(url or context.obj, lambda client: commands.show(client, job_id, as_json=as_json))


@app.command()
def events(
    context: typer.Context,
    job_id: JobId,
    after: Annotated[
        int, typer.Option("--after", metavar="N", min=0, help="Print only the events after number N.")
    ] = 0,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Stay until the job ends, or not.")] = True,
    as_json: JsonFlag = False,
    url: Url = None,
) -> None:
    """Print a job's events until it ends. Leaving never stops the job."""
    from supervisor.cli import commands  # noqa: PLC0415

    talk(
        url or context.obj,
        lambda client: commands.events(client, job_id, after=after, follow=follow, as_json=as_json),
    )


@app.command()
def cancel(
    context: typer.Context,
    job_ids: JobIds,
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill at once, without a grace period.")] = False,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", metavar="S", min=0, max=30, help="How long to wait for the proof; with 0 the command only asks."
        ),
    ] = 10.0,
    url: Url = None,
) -> None:
    """Cancel jobs and print the outcome. Exit: 0 gone or already finished, 2 no such job, 3 not proven gone."""
    from supervisor.cli import commands  # noqa: PLC0415

    talk(url or context.obj, lambda client: commands.cancel(client, job_ids, force=force, wait_s=wait))


@app.command()
def tasks(context: typer.Context, as_json: JsonFlag = False, url: Url = None) -> None:
    """List the tasks that the server can run, with their input."""
    from supervisor.cli import commands  # noqa: PLC0415

    talk(url or context.obj, lambda client: commands.tasks(client, as_json=as_json))


@app.command()
def health(context: typer.Context, url: Url = None) -> None:
    """Check the server and print one line. Exit, as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown."""
    from supervisor.cli import commands  # noqa: PLC0415

    try:
        talk(url or context.obj, commands.health)
    except ClientError as exc:
        print(f"DEADSTOP UNKNOWN - {exc}")
        raise typer.Exit(3) from None


@app.command()
def top(context: typer.Context, url: Url = None) -> None:
    """Watch the server's jobs, stuck ones first. Keys cancel a job and show its stack and its processes."""
    from supervisor.cli.top.top import top as watch  # noqa: PLC0415

    talk(url or context.obj, watch)


app.command(cls=ServeCommand)(serve)


def main(argv: list[str]) -> int:
    """Run the command line and return its exit code. An error that a person can correct is one line on stderr."""
    try:
        return int(app(args=argv, prog_name="deadstop", standalone_mode=False) or 0)
    except (CommandError, ClientError, StartupError, typer.TyperException) as exc:
        return report(exc)
