"""`deadstop serve`. Its options are made from the fields of `Settings`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from supervisor.settings import Option

CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Option(metavar="FILE", help="A deadstop.toml.")],
)


def serve() -> None:
    """Start the server. Every option is also a variable, DEADSTOP_PORT for --port, and a line in deadstop.toml."""


class ServeCommand(TyperCommand):
    """Gets its options when it is used: the other commands should not wait for pydantic."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        made = typer.Typer(add_completion=False)
        made.command()(_start_with_options())
        command = typer.main.get_command(made)
        self.params, self.callback = command.params, command.callback
        return super().make_context(*args, **kwargs)


def _start_with_options() -> Any:
    """Return a function that starts the server, with the options as its signature for typer to read."""

    def start(config: Path | None = None, **given: Any) -> None:
        from supervisor.config import load_settings  # noqa: PLC0415
        from supervisor.server import serve as serve_until_stopped  # noqa: PLC0415  # half a second of imports

        flags = {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}
        raise typer.Exit(serve_until_stopped(load_settings(config, **flags)))

    start.__signature__ = options()  # type: ignore[attr-defined]
    return start


def options() -> inspect.Signature:
    """Return a parameter for each setting that may be given on the command line, and one for the file of settings."""
    from supervisor.settings import Settings, option_of  # noqa: PLC0415

    fields = {name: (field, option_of(field)) for name, field in Settings.model_fields.items()}
    parameters = [_parameter(name, field, option) for name, (field, option) in fields.items() if option is not None]
    return inspect.Signature([CONFIG, *parameters])


def _parameter(name: str, field: FieldInfo, option: Option) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    default = _shown_default(field, option)
    spelled = typer.Option(
        flag,
        *option.aliases,
        metavar=option.metavar,
        help=f"{field.description} [{default}]" if default else field.description,
        show_default=False,
    )
    kind = _type_on_command_line(field, option)
    annotation = Annotated[kind, spelled]  # type: ignore[valid-type]  # typer reads it, no checker does
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown_default(field: FieldInfo, option: Option) -> str:
    """Return the default as a user would write it, or nothing if the setting is then not set."""
    if option.default is not None:
        return option.default
    if field.default is None or field.default == ():
        return ""
    if option.may_be_off and field.default == 0:
        return "off"
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _type_on_command_line(field: FieldInfo, option: Option) -> Any:
    """Return what typer should make of the text. The value's limits are checked by `Settings`, for all sources."""
    if get_origin(field.annotation) is tuple:
        return list[str] | None
    for known in (int, float, Path):
        if field.annotation is known or known in get_args(field.annotation):
            return str | None if option.may_be_off else known | None
    return str | None
