"""The words of `serve`: every setting of the server as an option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one. [8700]")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Journal, token, workspaces. [the user's state folder]")
    ] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A deadstop.toml.")] = None,
    tasks: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="Task modules, comma separated or repeated.")
    ] = None,
    tasks_off: Annotated[list[str] | None, typer.Option(metavar="TASK", help="Tasks to switch off, by name.")] = None,
    warm: Annotated[int | None, typer.Option(metavar="N", help="Process sets kept ready. [2]")] = None,
    max_running: Annotated[int | None, typer.Option(metavar="N", help="Jobs at a time. [64]")] = None,
    max_queued: Annotated[int | None, typer.Option(metavar="N", help="Jobs that may wait. [1000]")] = None,
    cancel_budget_s: Annotated[
        float | None,
        typer.Option("--cancel-budget-s", "--cancel-budget", metavar="S", help="From cancel to proof. [2.0]"),
    ] = None,
    containment: Annotated[str | None, typer.Option(metavar="LEVEL", help="Containment level. [auto]")] = None,
    engine: Annotated[str | None, typer.Option(metavar="NAME", help="What starts attempts. [local]")] = None,
    run_as: Annotated[
        str | None, typer.Option(metavar="USER", help="User that jobs run as, when the server is root.")
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="More Host headers to accept, comma separated or repeated.")
    ] = None,
    pass_env: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Variables that jobs inherit, comma separated or repeated.")
    ] = None,
    keep_jobs: Annotated[int | None, typer.Option(metavar="N", help="Finished jobs to keep. [10000]")] = None,
    keep_s: Annotated[float | None, typer.Option(metavar="S", help="How long to keep them. [604800]")] = None,
    keep_bytes: Annotated[int | None, typer.Option(metavar="N", help="Size of the journal. [1073741824]")] = None,
    vanished_after_s: Annotated[
        float | None, typer.Option(metavar="S", help="When a silent peer counts as vanished. [1.0]")
    ] = None,
    frozen_after_s: Annotated[
        float | None, typer.Option(metavar="S", help="When a stuck reader is cut, at the earliest. [30]")
    ] = None,
    stuck_after_s: Annotated[
        str | None, typer.Option(metavar="S", help="When a silent runner counts as stuck, or off. [30]")
    ] = None,
    import_s: Annotated[
        float | None, typer.Option(metavar="S", help="How long a task module may take to import. [30]")
    ] = None,
    agent_model: Annotated[str | None, typer.Option(metavar="PROVIDER:NAME", help="Model of agents. [demo]")] = None,
    agent_base_url: Annotated[str | None, typer.Option(metavar="URL", help="Where its provider is.")] = None,
    agent_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The server's variable that holds the provider's key.")
    ] = None,
    agent_max_steps: Annotated[int | None, typer.Option(metavar="N", help="Steps of one agent. [100]")] = None,
    agent_max_tokens: Annotated[int | None, typer.Option(metavar="N", help="Tokens of one agent. [2000000]")] = None,
    agent_time_s: Annotated[float | None, typer.Option(metavar="S", help="Time of one agent. [1800]")] = None,
    agent_silence_s: Annotated[
        float | None, typer.Option(metavar="S", help="Longest silence of a provider. [120]")
    ] = None,
    stuck_no_event_s: Annotated[
        str | None, typer.Option(metavar="S", help="When a silent task does, or off. [off]")
    ] = None,
    stuck_action: Annotated[
        str | None, typer.Option(metavar="report|cancel", help="What happens to a stuck job. [report]")
    ] = None,
) -> None:
    """Start the server. Every option is also a variable, DEADSTOP_PORT for --port, and a line in deadstop.toml."""
    from supervisor.api.server import serve as serve_until_stopped  # noqa: PLC0415  # half a second of imports
    from supervisor.config import load_settings  # noqa: PLC0415

    settings = load_settings(
        config,
        host=host,
        port=port,
        state_dir=state_dir,
        tasks=_joined(tasks),
        tasks_off=_joined(tasks_off),
        warm=warm,
        max_running=max_running,
        max_queued=max_queued,
        cancel_budget_s=cancel_budget_s,
        containment=containment,
        engine=engine,
        run_as=run_as,
        allowed_hosts=_joined(allowed_hosts),
        pass_env=_joined(pass_env),
        keep_jobs=keep_jobs,
        keep_s=keep_s,
        keep_bytes=keep_bytes,
        vanished_after_s=vanished_after_s,
        frozen_after_s=frozen_after_s,
        stuck_after_s=stuck_after_s,
        import_s=import_s,
        agent_model=agent_model,
        agent_base_url=agent_base_url,
        agent_key_env=agent_key_env,
        agent_max_steps=agent_max_steps,
        agent_max_tokens=agent_max_tokens,
        agent_time_s=agent_time_s,
        agent_silence_s=agent_silence_s,
        stuck_no_event_s=stuck_no_event_s,
        stuck_action=stuck_action,
    )
    raise typer.Exit(serve_until_stopped(settings))


def _joined(values: list[str] | None) -> str | None:
    return ",".join(values) if values else None
