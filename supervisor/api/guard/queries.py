"""Parse query parameters and headers. Each function raises InvalidRequest, which names the parameter, for bad input."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re

from starlette.requests import Request

from supervisor.api.schemas.bodies import JOB_ID_PATTERN, LABEL_KEY_PATTERN, MAX_LABEL_VALUE, MAX_LABELS
from supervisor.core.jobs.model import State
from supervisor.core.journal.reader import Wanted
from supervisor.errors import InvalidRequest

MAX_LIMIT = 500
DEFAULT_LIMIT = 50
MAX_WAIT_S = 30.0
MAX_EVENT_ID = 2**63 - 1
MAX_KEY_LENGTH = 255
STATE_SPELLINGS = {state.value: state for state in State} | {"canceled": State.CANCELLED}

MAX_ASKED = MAX_LABELS
"""How many labels or states a list may be filtered by. This is also how many labels a job may have."""

_JOB_ID = re.compile(JOB_ID_PATTERN)
_LABEL_KEY = re.compile(LABEL_KEY_PATTERN)
_KEY = re.compile(r"[\x21-\x7e]+")
_TRUE = frozenset({"true", "1", "yes", ""})
_FALSE = frozenset({"false", "0", "no"})


def job_id(request: Request) -> str:
    """Return the job ID in the path."""
    given: str = request.path_params["id"]
    if not _JOB_ID.fullmatch(given):
        raise InvalidRequest.at("id", "a job id is 1 to 64 letters, digits, _ or -")
    return given


def idempotency_key(request: Request) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0].strip()
    if len(given) > 1 or len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise InvalidRequest.at(
            "Idempotency-Key", f"must be one key of 1 to {MAX_KEY_LENGTH} printable ASCII characters without spaces"
        )
    return key


def resume_after(request: Request) -> int:
    """Return the number of the last event that the client has: `Last-Event-ID`, else `after`, else 0."""
    asked = (
        ("Last-Event-ID", request.headers.get("last-event-id")),
        ("after", request.query_params.get("after")),
    )
    numbers = [_event_number(name, given) for name, given in asked if given is not None]
    # An EventSource repeats its URL with the header when it reconnects, so the header is the newer of the two.
    return numbers[0] if numbers else 0


def _event_number(name: str, given: str) -> int:
    if not (given.isascii() and given.isdigit()) or len(given) > 19 or int(given) > MAX_EVENT_ID:
        raise InvalidRequest.at(name, "must be an integer, 0 or more: the number of the last event that you have")
    return int(given)


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Return the value of a boolean parameter. A `?name` without a value means true."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if given.lower() in _TRUE:
        return True
    if given.lower() in _FALSE:
        return False
    raise InvalidRequest.at(name, "must be true or false")


def holds_life(request: Request) -> bool:
    """Return whether the reader asked for `on_disconnect=cancel`."""
    given = request.query_params.get("on_disconnect", "continue")
    if given not in {"cancel", "continue"}:
        raise InvalidRequest.at("on_disconnect", "must be cancel or continue")
    return given == "cancel"


def wait_s(request: Request) -> float:
    """Return how many seconds the answer may wait for the job's end."""
    given = request.query_params.get("wait", "0")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT_S:
        raise InvalidRequest.at("wait", f"must be a number of seconds from 0 to {MAX_WAIT_S:g}")
    return seconds


# --- the list of jobs


def wanted_jobs(request: Request) -> Wanted:
    """Return which jobs the page of the list should have."""
    return Wanted(
        states=_states(request),
        labels=_labels(request),
        stuck=flag(request, "stuck", default=False) if "stuck" in request.query_params else None,
        before=_position(request),
        limit=_limit(request),
    )


def cursor(before: int) -> str:
    """Return the cursor that a client sends to get the jobs created before that number."""
    return base64.urlsafe_b64encode(json.dumps([before]).encode("ascii")).decode("ascii").rstrip("=")


def _states(request: Request) -> frozenset[State] | None:
    names = [name.strip() for given in request.query_params.getlist("state") for name in given.split(",")]
    names = [name for name in names if name]
    if len(names) > MAX_ASKED:
        raise InvalidRequest.at("state", f"is given {len(names)} times; there are {', '.join(State)}")
    for name in names:
        if name not in STATE_SPELLINGS:
            raise InvalidRequest.at("state", f"{name[:80]!r} is not a state; use one of {', '.join(State)}")
    return frozenset(STATE_SPELLINGS[name] for name in names) if names else None


def _labels(request: Request) -> tuple[tuple[str, str], ...]:
    labels = []
    asked = request.query_params.getlist("label")
    if len(asked) > MAX_ASKED:
        raise InvalidRequest.at("label", f"is given {len(asked)} times, at most {MAX_ASKED} are allowed")
    for given in asked:
        key, colon, value = given.partition(":")
        if not colon or not _LABEL_KEY.fullmatch(key):
            raise InvalidRequest.at("label", "must be key:value, the key of 1 to 64 letters, digits, _ . / or -")
        if len(value) > MAX_LABEL_VALUE:
            raise InvalidRequest.at(
                "label", f"its value has {len(value)} characters; labels have at most {MAX_LABEL_VALUE}"
            )
        labels.append((key, value))
    return tuple(labels)


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (given.isascii() and given.isdigit()) or len(given) > 9 or not 1 <= int(given) <= MAX_LIMIT:
        raise InvalidRequest.at("limit", f"must be an integer from 1 to {MAX_LIMIT}")
    return int(given)


def _position(request: Request) -> int | None:
    given = request.query_params.get("cursor")
    if given is None:
        return None
    try:
        (before,) = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        if type(before) is int and 0 <= before <= MAX_EVENT_ID:
            return before
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise InvalidRequest.at("cursor", "is not one that this server gave out; start again without it")
