"""Create pydantic-ai's Model for a model's name, without a key in any environment."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from runner.errors import TaskFailed
from runner.tasks.agent.options import DEMO, Options

if TYPE_CHECKING:
    from pydantic_ai.models import Model

INSTALL = "run: pip install 'deadstop[agent]'"


def make_model(options: Options, key: str | None) -> Model:
    """Raise TaskFailed (kind load), which names what to install or to set."""
    try:
        from pydantic_ai.exceptions import UserError  # noqa: PLC0415
        from pydantic_ai.models import infer_model  # noqa: PLC0415
    except ImportError:
        raise TaskFailed("load", f"cannot run an agent: pydantic-ai is not installed; {INSTALL}") from None
    if options.model == DEMO:
        from runner.tasks.agent.demo.model import demo_model  # noqa: PLC0415

        return demo_model()
    name = options.model
    if options.provider == "openai" and options.base_url is not None:
        # Other servers offer OpenAI's older protocol, chat completions; the newer one exists at OpenAI alone.
        name = "openai-chat:" + name.partition(":")[2]
    try:
        return infer_model(name, lambda provider: _provider(provider, options, key))
    except (UserError, ValueError) as exc:
        raise TaskFailed("load", f"cannot use model {options.model!r}: {_first_line(exc)}{_hint(key)}") from None
    except ImportError as exc:
        raise TaskFailed("load", f"cannot use model {options.model!r}: {_first_line(exc)}") from None


def _provider(name: str, options: Options, key: str | None) -> Any:
    from pydantic_ai.providers import infer_provider_class  # noqa: PLC0415

    made = infer_provider_class(name)
    takes = inspect.signature(made.__init__).parameters
    given = {"api_key": key, "base_url": options.base_url}
    for field, setting in (("api_key", "DEADSTOP_AGENT_KEY_ENV"), ("base_url", "DEADSTOP_AGENT_BASE_URL")):
        if given[field] is not None and field not in takes:
            raise TaskFailed(
                "load", f"cannot use model {options.model!r}: provider {name} takes no {setting}; unset it"
            )
    return made(**{field: value for field, value in given.items() if value is not None})


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)


def _hint(key: str | None) -> str:
    # The provider's message names variables that a job does not get.
    return "" if key else " (on this server: set DEADSTOP_AGENT_KEY_ENV to the name of the variable with the key)"
