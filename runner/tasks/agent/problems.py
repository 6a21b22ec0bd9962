"""Errors between an agent and its model, as messages that say what to change."""

from __future__ import annotations

from typing import Any

from runner.errors import TaskFailed
from runner.tasks.agent.options import Options

_MAX_QUOTED = 300


def explain(exc: Exception, options: Options) -> TaskFailed:
    return TaskFailed("raised", _message(exc, options))


def _message(exc: Exception, options: Options) -> str:
    from pydantic_ai import exceptions as ai  # noqa: PLC0415

    where, model = options.where, options.model
    match exc:
        case ai.UsageLimitExceeded():
            return (
                f"the agent reached its limit: {exc}; it had {options.max_steps} steps and {options.max_tokens} tokens "
                "(max_steps in the input; DEADSTOP_AGENT_MAX_STEPS, DEADSTOP_AGENT_MAX_TOKENS)"
            )
        case ai.ModelAuthenticationError():
            return f"{where} refused the key: check the variable that DEADSTOP_AGENT_KEY_ENV names{_quoted(exc)}"
        case ai.ModelNotFoundError():
            return f"{where} has no model {model!r}, or DEADSTOP_AGENT_BASE_URL is wrong{_quoted(exc)}"
        case ai.ModelQuotaExceededError():
            return f"the account at {where} has no credit left{_quoted(exc)}"
        case ai.ModelRateLimitError():
            when = "later" if exc.retry_after is None else f"after {exc.retry_after:g} s"
            return f"{where} takes no more requests for now (HTTP 429): try again {when}{_quoted(exc)}"
        case ai.ModelTimeoutError() | ai.ModelRequestTimeout():
            return f"{where} said nothing for {options.silence_s:g} s (DEADSTOP_AGENT_SILENCE_S)"
        case ai.ModelConnectionError(phase="connect" | "pool"):
            return f"cannot reach {where}: {_cause(exc)}"
        case ai.ModelConnectionError(phase=None):
            return f"cannot talk to {where}: {_cause(exc)}"
        case ai.ModelConnectionError():
            return f"the connection to {where} broke off: {_cause(exc)}"
        case ai.ModelHTTPError():
            return f"{where} answered HTTP {exc.status_code}{_quoted(exc)}"
        case ai.ContentFilterError():
            return f"{where} did not want to answer: {exc.message[:_MAX_QUOTED]}"
        case _:
            kind = "" if isinstance(exc, ai.AgentRunError) else f"{type(exc).__name__}: "
            return f"{where} answered what is not understood: {kind}{str(exc)[:_MAX_QUOTED]}"


def _quoted(exc: Any) -> str:
    """Return the message of the provider itself, if there is one."""
    body: Any = exc.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("error") or body
    if isinstance(body, dict):
        body = body.get("message") or body
    return f": {str(body)[:_MAX_QUOTED]}" if body else ""


def _cause(exc: BaseException) -> str:
    """Return the deepest cause, which says what happened; the exceptions around it say less."""
    while (inner := exc.__cause__ or exc.__context__) is not None:
        exc = inner
    return f"{exc or type(exc).__name__}"[:_MAX_QUOTED]
