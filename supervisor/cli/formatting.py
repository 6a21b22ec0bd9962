"""Numbers, times and ends in words for people: the same in the live view, in a pipe and in `show`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

Json = Any

REASONS = {
    "api": "on request",
    "client_disconnected": "client disconnected",
    "timeout": "out of time",
    "lease": "lease ran out",
    "shutdown": "server shutting down",
    "stuck": "stuck",
}


def duration(seconds: float) -> str:
    """Return text such as `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 03 min`, `4 d 6 h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"


def milliseconds(ms: float) -> str:
    """Return text such as `0.9 ms`, `48 ms` and `1,203 ms`."""
    return f"{ms:.1f} ms" if 0 < ms < 10 else f"{ms:,.0f} ms"


def count(number: int, noun: str) -> str:
    """Return text such as `1 process` and `3 processes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def age(since: str | None, now: datetime | None = None) -> str:
    """Return the time from an RFC 3339 time until now, nothing if there is no such time."""
    moment = when(since)
    if moment is None:
        return ""
    return duration(((now or datetime.now(UTC)) - moment).total_seconds())


def between(start: str | None, end: str | None) -> str:
    first, last = when(start), when(end)
    return duration((last - first).total_seconds()) if first and last else ""


def when(text: str | None) -> datetime | None:
    """Return the moment that an RFC 3339 string names, None if it is not one."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def compact(value: Json) -> str:
    """Return JSON on one line, with letters of all alphabets readable, and nothing in it that a terminal obeys."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def one_line(text: str) -> str:
    """Return foreign text as one line with nothing in it that a terminal obeys."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
_PICTURES |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# Characters that turn the direction of the text behind them: with them, a line can read as another one.
_PICTURES |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


def pictured(text: str) -> str:
    """Return text with a visible character for each control character except tab and newline."""
    return text.translate(_PICTURES)


def lines(text: str) -> str:
    """Return foreign text, whose lines and indentation matter, with nothing in it that a terminal obeys."""
    kept = text.expandtabs(4).rstrip()
    return "".join(char if char.isprintable() or char == "\n" else " " for char in kept)


def end(state: str, job: dict[str, Json]) -> str:
    """Return how a job ended. `job` has `result`, `error` or `cancellation`, as the state implies."""
    match state:
        case "succeeded":
            result = job.get("result")
            interesting = result is not None and result != {"exit_code": 0}
            return f"succeeded: {compact(result)}" if interesting else "succeeded"
        case "failed":
            error = job.get("error") or {}
            return f"failed: {one_line(str(error.get('message') or error.get('kind') or 'no reason given'))}"
        case "cancelled" | "timed_out":
            record = job.get("cancellation") or {}
            return f"{state.replace('_', ' ')} ({reason(record)}): {stop_facts(record)}"
        case "lost":
            return "lost: its server ended before it did"
        case _:
            return state


def reason(record: dict[str, Json]) -> str:
    """Return why a cancellation was requested."""
    return REASONS.get(str(record.get("reason")), str(record.get("reason")))


def stop_facts(record: dict[str, Json]) -> str:
    """Describe a finished cancellation with its proof."""
    if record.get("proof") == "never_started":
        return "never started, nothing to stop"
    facts = [f"proof {record.get('proof')}"]
    if record.get("method"):
        facts.append(str(record["method"]))
    facts.append(f"{count(int(record.get('processes_seen') or 0), 'process')} seen")
    if record.get("workspace_removed"):
        facts.append("workspace removed")
    return f"{_gone(record)}; {', '.join(facts)}"


def _gone(record: dict[str, Json]) -> str:
    gone_ms, budget_s = record.get("gone_ms"), record.get("budget_s")
    if gone_ms is None:
        return "everything gone"
    budget = f" of {budget_s * 1000:,.0f}" if budget_s else ""
    late = ", later than its budget" if record.get("within_budget") is False else ""
    return f"everything gone after {milliseconds(gone_ms)}{budget}{late}"


def survivors(found: list[dict[str, Json]]) -> str:
    """Return text such as `1 survivor: 4711 ping (D)`."""
    names = ", ".join(
        f"{one.get('pid')} {one_line(str(one.get('name')))} ({one_line(str(one.get('status')))})" for one in found
    )
    return f"{count(len(found), 'survivor')}: {names}" if found else "no survivor named"


def log_line(data: dict[str, Json]) -> str:
    """Return the message and the fields of a `job.log` event."""
    fields = data.get("fields")
    pairs = [f"{key}={compact(value)}" for key, value in fields.items()] if isinstance(fields, dict) else []
    return one_line(" ".join([str(data.get("message", "")), *pairs]))


def progress(data: dict[str, Json]) -> str:
    """Return text such as `3/10 resizing`; without a total `3 resizing`."""
    total = data.get("total")
    done = f"{_number(data.get('done'))}/{_number(total)}" if total else _number(data.get("done"))
    message = one_line(str(data.get("message") or ""))
    return f"{done} {message}".rstrip()


def _number(value: Json) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
